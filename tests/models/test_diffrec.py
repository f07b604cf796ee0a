"""DiffRec: its loss, its reverse chain and its windows against a plain second implementation in float64."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.catalogue import build
from models.config import ModelConfig, TrainingConfig
from models.engine.batches import Batch
from models.engine.detection import MASKED_EVERY, suspicions
from models.engine.ranking import Protocol, rank
from models.engine.sequences import InteractionLog, Sequences, Targets
from models.engine.training import Training
from models.networks import diffrec
from models.networks.diffrec import DiffRec
from tests.models.builders import draws_for, shown
from tests.models.conftest import MakeLog
from tests.models.references import weights_of

ITEMS = 12
LENGTH = 5
LENGTHS = [4, 3, 9, 6, 8, 3, 7]
SMALL = {"backbone": "diffrec", "length": LENGTH, "diffrec_hidden": 4, "dropout": 0.0}
NOISY = {"diffrec_scale": 0.5, "diffrec_least": 0.1, "diffrec_most": 0.9}
"""Noise that is no detail, so that what is done with it shows."""
Vector = NDArray[np.float64]


def model_of(**settings: object) -> DiffRec:
    model = build(ModelConfig.from_dict(SMALL | NOISY | settings), ITEMS, seed=4)
    assert isinstance(model, DiffRec)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.4, generator=torch.Generator().manual_seed(parameter.numel()))
    return model.eval()


def asked(*histories: list[int]) -> Batch:
    return shown(*histories, length=LENGTH, item_count=ITEMS)


def training_batch(model: DiffRec, sequences: Sequences) -> Batch:
    order, draws = torch.Generator().manual_seed(0), draws_for(sequences)
    return next(iter(model.training_batches(sequences, batch_size=99, generator=order, draws=draws)))


def vector_by_hand(history: list[int], *, oldest: float = 1.0) -> Vector:
    """x_0 of a history's last events, 0 of which is hidden: later ones overwrite earlier ones."""
    vector, shown = np.zeros(ITEMS), history[-LENGTH:]
    for place, item in enumerate(shown):
        if item:
            vector[item - 1] = 1.0 if len(shown) == 1 else np.linspace(oldest, 1.0, len(shown))[place]
    return vector


def predicted_by_hand(weights: dict[str, Vector], noisy: Vector, step: int) -> Vector:
    """x̂_0 of one window, a neuron at a time."""
    rates = [10_000 ** (-wave / 4) for wave in range(5)]
    waves = np.array([*(math.sin(step * rate) for rate in rates), *(math.cos(step * rate) for rate in rates)])
    joint = np.concatenate([noisy, weights["step.weight"] @ waves + weights["step.bias"]])
    reader, predictor = weights["reader.weight"], weights["predictor.weight"]
    hidden = [math.tanh(row @ joint + bias) for row, bias in zip(reader, weights["reader.bias"], strict=True)]
    return np.array([row @ hidden + bias for row, bias in zip(predictor, weights["predictor.bias"], strict=True)])


def variances_by_hand(steps: int) -> list[float]:
    """1 − ᾱ of each step."""
    least, most = 0.5 * 0.1, 0.5 * 0.9
    return [least + (most - least) * step / max(1, steps - 1) for step in range(steps)]


def scores_by_hand(model: DiffRec, start: Vector, *, steps: int) -> Vector:
    """The chain in the space of items, each step by Bayes' rule: the precisions of q(x_t | x_{t−1}) and of
    q(x_{t−1} | x_0) add up.
    """
    weights, variances, x = weights_of(model), variances_by_hand(steps), start
    for step in reversed(range(1, steps)):
        predicted = predicted_by_hand(weights, x, step)
        before, after = 1 - variances[step - 1], 1 - variances[step]
        alpha = after / before
        precision = alpha / (1 - alpha) + 1 / (1 - before)
        x = (math.sqrt(alpha) / (1 - alpha) * x + math.sqrt(before) / (1 - before) * predicted) / precision
    return predicted_by_hand(weights, x, 0)


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("weights", ["snr", "equal"])
@pytest.mark.parametrize("oldest", [1.0, 0.1])
def test_the_loss_is_that_of_a_plain_implementation(make_log: MakeLog, steps: int, weights: str, oldest: float) -> None:
    sequences = make_log(lengths=LENGTHS * 3, item_count=ITEMS).sequences
    model = model_of(diffrec_steps=steps, diffrec_weights=weights, diffrec_oldest=oldest)
    batch = training_batch(model, sequences)
    terms = model.loss(batch, draws_for(sequences)).terms
    users = batch.users.flatten()[batch.ends].tolist()
    assert sorted(users) == [user for user, size in enumerate(sequences.train_lengths.tolist()) if size > 1]

    draws = draws_for(sequences)
    drawn = draws.whole_numbers(steps, len(users)).tolist()
    noise = draws.normals(len(users), ITEMS).double().numpy()
    assert set(drawn) == set(range(steps))
    variances, own = variances_by_hand(steps), weights_of(model)
    ratios = [(1 - variance) / variance for variance in variances]
    expected = []
    for user, step, drawn_noise in zip(users, drawn, noise, strict=True):
        begin, size = int(sequences.offsets[user]), int(sequences.train_lengths[user])
        start = vector_by_hand(sequences.items[begin : begin + size].tolist(), oldest=oldest)
        noisy = math.sqrt(1 - variances[step]) * start + math.sqrt(variances[step]) * drawn_noise
        wrong = start - predicted_by_hand(own, noisy, step)
        weight = ratios[step - 1] - ratios[step] if weights == "snr" and step else 1.0
        expected.append(weight * np.mean(wrong**2))
    assert terms.tolist() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("oldest", [1.0, 0.1])
def test_scores_are_what_the_chain_comes_to_step_by_step(steps: int, oldest: float) -> None:
    model = model_of(diffrec_steps=steps, diffrec_oldest=oldest)
    histories = [[3], [1, 2, 3, 4, 5, 6, 7], [4, 4], [9, 1, 9, 2], []]
    with torch.no_grad():
        batch = asked(*histories)
        scores = model.scorer()(batch)
        torch.testing.assert_close(model.query(batch) @ model.item_table()[1:].T, scores)
    for history, own in zip(histories, scores, strict=True):
        expected = scores_by_hand(model, vector_by_hand(history, oldest=oldest), steps=steps)
        assert own.tolist() == pytest.approx(expected.tolist(), rel=1e-4, abs=1e-5)


def test_dropout_falls_on_what_is_read_and_on_nothing_that_is_ranked() -> None:
    model = model_of(dropout=0.5, diffrec_scale=1e-9)
    batch, seen = asked(*[[1, 2, 3, 4, 5]] * 64), []
    model.reader.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].detach()))
    model.loss(batch, draws_for(Sequences(torch.ones(2).int(), torch.tensor([0, 2]), torch.tensor([2]), ITEMS)))
    (read,) = seen
    kept = read[:, :5]
    assert 0.3 < float((kept == 0).float().mean()) < 0.7
    torch.testing.assert_close(kept[kept > 1], torch.full_like(kept[kept > 1], 2.0), rtol=1e-3, atol=1e-3)
    assert float(read[:, 5:ITEMS].abs().max()) < 1e-2
    with torch.no_grad():
        assert torch.equal(model.train().query(batch), model.eval().query(batch))


def test_windows_are_read_whole_and_weighed_by_their_order() -> None:
    histories = [[8, 1, 2, 3, 4, 5], [6], [7, 7, 2], [2, 9, 2, 1], []]
    for oldest in (1.0, 0.5, 0.0):
        model = model_of(diffrec_oldest=oldest)
        batch = asked(*histories)
        vectors = model.vectors(batch, batch.ends)
        expected = [vector_by_hand(history, oldest=oldest) for history in histories]
        np.testing.assert_allclose(vectors.numpy(), expected, atol=1e-6)
    assert float(vectors[3, 1]) == pytest.approx(2 / 3), "an item that comes twice weighs as when it came last"
    assert float(vectors[1, 5]) == 1.0, "an only event is the newest"


def test_neither_order_nor_neighbours_nor_padding_have_a_part_in_it() -> None:
    model, ordered = model_of(), model_of(diffrec_oldest=0.1)

    @torch.no_grad()
    def scores(model: DiffRec, *histories: list[int]) -> Tensor:
        return model.scorer()(asked(*histories))

    alone = scores(model, [5, 6, 7])[0]
    for others in ([[1, 2]], [[8], [9, 9, 9, 9, 9], [4, 4]], [[]]):
        torch.testing.assert_close(scores(model, *others, [5, 6, 7])[-1], alone, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(scores(model, [7, 5, 6])[0], alone)
    torch.testing.assert_close(scores(model, [1, 5, 6, 7, 5, 6])[0], alone)
    assert not torch.allclose(scores(ordered, [7, 5, 6])[0], scores(ordered, [5, 6, 7])[0])
    batch, changed = asked([5, 6, 7, 8]), asked([5, 6, 7, 1])
    with torch.no_grad():
        within = model.query(replace(batch, ends=batch.ends - 1))
        assert torch.equal(within, model.query(replace(changed, ends=changed.ends - 1)))
        assert not torch.allclose(model.query(batch), model.query(changed))
        strangers = replace(batch, users=torch.full_like(batch.users, -1))
        assert torch.equal(model.query(batch), model.query(strangers))


def test_vectors_held_at_a_time_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = model_of(), asked([1, 2, 3], [4], [5, 6], [7, 8, 9])
    with torch.no_grad():
        whole = model.query(batch)
        monkeypatch.setattr(diffrec, "CELLS_AT_A_TIME", 3 * ITEMS)
        torch.testing.assert_close(model.query(batch), whole)


@pytest.mark.parametrize("oldest", [1.0, 0.1])
def test_an_event_does_not_vouch_for_itself(make_log: MakeLog, oldest: float) -> None:
    """Its own score is of the vector of the others, less those that are hidden in the same turn."""
    sequences = make_log(lengths=LENGTHS, item_count=ITEMS).sequences
    model = model_of(diffrec_oldest=oldest)
    found = suspicions(model, sequences, batch_size=3)
    assert len(found.users) == int(sequences.train_lengths[sequences.train_lengths > 1].clamp(max=LENGTH).sum())
    for user, position, score in zip(
        found.users.tolist(), found.positions.tolist(), found.scores["own_score"].tolist(), strict=True
    ):
        begin, size = int(sequences.offsets[user]), int(sequences.train_lengths[user])
        items = sequences.items[begin : begin + size].tolist()
        shown = [0 if (size - 1 - place) % MASKED_EVERY == (size - 1 - position) % MASKED_EVERY else item
                 for place, item in enumerate(items)]  # fmt: skip
        scores = scores_by_hand(model, vector_by_hand(shown, oldest=oldest), steps=5)
        expected = math.log(np.exp(scores).sum()) - scores[items[position] - 1]
        assert score == pytest.approx(expected, rel=1e-4)


def corners(*, users: int = 160, size: int = 10) -> InteractionLog:
    """Everyone keeps to one of four quarters of forty items, in any order and without repeats."""
    draw = np.random.default_rng(2)
    items = np.concatenate([1 + user % 4 * 10 + draw.permutation(10)[:size] for user in range(users)])
    offsets, everyone = torch.arange(users + 1) * size, torch.arange(users)
    table = torch.from_numpy(items).view(users, size)
    targets = {
        split: Targets(everyone, table[:, size - back], torch.full((users,), size - back))
        for split, back in (("validation", 2), ("test", 1))
    }
    return InteractionLog(Sequences(table.flatten().int(), offsets, torch.full((users,), size - 2), 40), targets)


@pytest.mark.parametrize("oldest", [1.0, 0.1])
def test_it_learns_what_goes_together(oldest: float) -> None:
    log = corners()
    config = ModelConfig(backbone="diffrec", length=8, dropout=0.5, diffrec_hidden=16, diffrec_oldest=oldest)
    training = Training(
        build(config, 40, seed=1),
        log,
        log,
        TrainingConfig(epochs=60, batch_size=32, learning_rate=1e-2, validate_every=10),
        seed=1,
        evaluation_seed=0,
        device=torch.device("cpu"),
    )
    training.run(on_epoch=lambda epoch: None)
    targets = log.targets["test"]
    ranks = rank(training.model, log.sequences, targets, Protocol.of(log.sequences, targets, seed=0))["full_unseen"]
    # One item of their corner is left to each.
    assert float((ranks == 0).mean()) > 0.9
