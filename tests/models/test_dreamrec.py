"""DreamRec: what it is trained on, against a plain second implementation, and what it generates, against its steps."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from models.catalogue import build
from models.config import ModelConfig, TrainingConfig
from models.engine.batches import Batch, training_batches
from models.engine.ranking import Protocol, rank
from models.engine.sequences import InteractionLog, Sequences, Targets
from models.engine.training import Training
from models.networks.dreamrec import DreamRec, normals_of
from tests.models.builders import draws_for, shown
from tests.models.conftest import MakeLog
from tests.models.references import BLOCKS, normed, weights_of

ITEMS = 30
LENGTH = 5
SMALL = {"backbone": "dreamrec", "dim": 6, "blocks": 1, "heads": 2, "length": LENGTH, "dropout": 0.0}
LENGTHS = [4, 3, 9, 5, 6]


def model_of(sequences: Sequences, **settings: object) -> DreamRec:
    model = build(ModelConfig.from_dict(SMALL | {"diffusion_steps": 20} | settings), sequences.item_count, seed=4)
    assert isinstance(model, DreamRec)
    model.prepare(sequences)
    return model.eval()


def mean_of(model: DreamRec) -> DreamRec:
    """The same, which generates the mean of all that it could."""
    model.generated = 0
    return model


def asked(*histories: list[int], item_count: int = ITEMS) -> Batch:
    return shown(*histories, length=LENGTH, item_count=item_count)


def random_histories(count: int, *, size: int = LENGTH) -> list[list[int]]:
    return np.random.default_rng(3).integers(1, ITEMS + 1, (count, size)).tolist()  # type: ignore[no-any-return]


def training_batch(sequences: Sequences) -> Batch:
    order = torch.Generator().manual_seed(0)
    return next(training_batches(sequences, length=LENGTH, batch_size=len(LENGTHS) * 4, generator=order))


def history_by_hand(weights: dict[str, np.ndarray], items: list[int]) -> np.ndarray:
    """[dim]: what the encoder makes of the last events of a history."""
    items = items[-LENGTH:]
    x = weights["encoder.items.weight"][items] + weights["encoder.positions.weight"][LENGTH - len(items) :]
    own = {name.removeprefix("encoder."): value for name, value in weights.items()}
    states: np.ndarray = normed(BLOCKS["authors"](x, own, "blocks.0", heads=2), own, "last_norm", 1e-8)
    return states[-1]


def denoised_by_hand(weights: dict[str, np.ndarray], noisy: np.ndarray, history: np.ndarray, step: int) -> np.ndarray:
    """x_0 as one linear layer tells it of [x_t, h, step]."""
    half = len(noisy) // 2
    angles = [step * math.exp(-math.log(10_000) * wave / (half - 1)) for wave in range(half)]
    waves = np.array([*map(math.sin, angles), *map(math.cos, angles)])
    inner = weights["step.network.0.weight"] @ waves + weights["step.network.0.bias"]
    inner = np.array([value * 0.5 * (1 + math.erf(value / math.sqrt(2))) for value in inner])
    embedded = weights["step.network.2.weight"] @ inner + weights["step.network.2.bias"]
    joint = np.concatenate([noisy, history, embedded])
    predicted: np.ndarray = weights["denoiser.weight"] @ joint + weights["denoiser.bias"]
    return predicted


@pytest.mark.parametrize("schedule", ["linear", "cosine", "exponential"])
def test_the_loss_is_that_of_a_plain_implementation(make_log: MakeLog, schedule: str) -> None:
    sequences = make_log(lengths=LENGTHS * 4).sequences
    model = model_of(sequences, diffusion_schedule=schedule, unconditional=0.3)
    batch = training_batch(sequences)
    terms = model.loss(batch, draws_for(sequences)).terms
    assert terms.shape == (int((sequences.train_lengths - 1).clamp(0, LENGTH).sum()),)

    count, dim, draws = len(terms), 6, draws_for(sequences)
    unknown, steps = draws.fractions(count) < 0.3, draws.whole_numbers(20, count)
    noise = draws.normals(count, dim).double().numpy()
    weights, kept = weights_of(model), np.cumprod(1 - model.diffusion.betas.numpy())
    expected = []
    rows, columns = batch.cells // LENGTH, batch.cells % LENGTH
    assert batch.targets is not None
    for event, (row, column) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
        own = batch.segments[row, : column + 1] == batch.segments[row, column]
        items = batch.items[row, : column + 1][own].tolist()
        # A window's positions are those of its right end, which the position of its last event says.
        place = int(batch.positions[row, column])
        shifted = weights | {
            "encoder.positions.weight": np.roll(weights["encoder.positions.weight"], LENGTH - 1 - place, axis=0)
        }
        history = weights["nobody"] if unknown[event] else history_by_hand(shifted, items)
        start, step = weights["encoder.items.weight"][int(batch.targets[row, column])], int(steps[event])
        noisy = math.sqrt(kept[step]) * start + math.sqrt(1 - kept[step]) * noise[event]
        expected.append(np.mean((start - denoised_by_hand(weights, noisy, history, step)) ** 2))
    assert terms.tolist() == pytest.approx(expected, rel=1e-4)
    assert 0 < int(unknown.sum()) < count


def test_the_target_learns_too(make_log: MakeLog) -> None:
    """An item that no history has still moves where it is a target."""
    log = make_log(lengths=[4] * 8)
    items = torch.tensor([1, ITEMS, 2, 3] * 8, dtype=torch.int32)
    sequences = replace(log.sequences, items=items)
    model = model_of(sequences)
    model.loss(training_batch(sequences), draws_for(sequences)).objective().backward()
    gradient = model.item_table().grad
    assert gradient is not None
    assert bool((gradient[ITEMS] != 0).all())
    assert not bool(gradient[0].any())


@pytest.mark.parametrize("share", [0.1, 0.4])
def test_histories_give_way_to_nobody_at_their_rate(make_log: MakeLog, share: float) -> None:
    sequences = make_log(lengths=[40] * 60).sequences
    model = model_of(sequences, unconditional=share, length=LENGTH)
    with torch.no_grad():
        model.nobody.fill_(1e4)
    batch = next(training_batches(sequences, length=LENGTH, batch_size=60, generator=torch.Generator()))
    draws = draws_for(sequences)
    terms = torch.cat([model.loss(batch, draws).terms.detach() for _ in range(20)])
    found, count = float((terms > 1e4).double().mean()), len(terms)
    assert abs(found - share) < 4 * math.sqrt(share * (1 - share) / count)


def test_what_is_generated_has_the_moments_of_the_chain_step_by_step(make_log: MakeLog) -> None:
    """Many chains as the paper has them, each step with its own noise and its guided prediction."""
    sequences = make_log(lengths=LENGTHS).sequences
    model = model_of(sequences, guidance=1.5, diffusion_schedule="cosine")
    batch = asked([3, 9, 4])
    chains, generator = 100_000, torch.Generator().manual_seed(1)
    with torch.no_grad():
        model.denoiser.weight.mul_(1.3)
        history = model.encoder.encode(batch).flatten(0, 1)[batch.ends].expand(chains, -1)
        nobody = model.nobody.expand(chains, -1)
        x = torch.randn(chains, 6, generator=generator)
        for step in reversed(range(20)):
            steps = torch.full((chains,), step)
            guided, alone = (model.denoised(x, given, steps) for given in (history, nobody))
            start = 2.5 * guided - 1.5 * alone
            x = float(model.diffusion.of_start[step]) * start + float(model.diffusion.of_noisy[step]) * x
            if step:
                x += float(model.diffusion.variances[step]) ** 0.5 * torch.randn(chains, 6, generator=generator)
        mean = mean_of(model).query(batch)[0]
        chain = model.reverse_chain()
    x = x.double()
    spread = chain.covariance.diag().sqrt()
    assert bool(((x.mean(0) - mean).abs() < 5 * spread / math.sqrt(chains) + 1e-5).all())
    scale = spread[:, None] * spread
    assert float(((x.T.cov() - chain.covariance) / scale).abs().max()) < 5 * math.sqrt(2 / chains)


@pytest.mark.parametrize("count", [1, 4])
def test_as_many_vectors_as_asked_are_drawn_and_averaged(make_log: MakeLog, count: int) -> None:
    sequences = make_log(lengths=LENGTHS).sequences
    batch = asked(*random_histories(4_000))
    with torch.no_grad():
        model = model_of(sequences, generated=count)
        away = (model.query(batch) - mean_of(model).query(batch)).double()
        expected = model.reverse_chain().covariance / count
    scale = expected.diag().sqrt()
    assert bool((away.mean(0).abs() < 5 * scale / math.sqrt(4_000)).all())
    assert float(((away.T.cov() - expected) / (scale[:, None] * scale)).abs().max()) < 5 * math.sqrt(2 / 4_000)


def test_normal_numbers_are_normal_and_a_historys_own() -> None:
    numbers = normals_of(asked(*random_histories(3_000)), 2, 3).flatten(1)
    assert numbers.shape == (3_000, 6)
    assert float((numbers.T.cov() - torch.eye(6)).abs().max()) < 0.1
    for level in (0.5, 1.0, 2.0, 3.0):
        share = math.erfc(level / math.sqrt(2))
        found = float((numbers.abs() > level).double().mean())
        assert abs(found - share) < 5 * math.sqrt(share / numbers.numel())
    first, again, turned, shorter, longer = normals_of(
        asked([1, 2, 3], [1, 2, 3], [2, 1, 3], [2, 3], [9, 9, 7, 8, 1, 2, 3]), 1, 4
    )
    assert torch.equal(first, again)
    assert not any(bool((first == other).any()) for other in (turned, shorter, longer))
    assert torch.equal(longer, normals_of(asked([7, 8, 1, 2, 3]), 1, 4)[0]), "of what the window holds"


def test_later_items_and_other_windows_have_no_influence(make_log: MakeLog) -> None:
    sequences = make_log(lengths=LENGTHS).sequences
    model = model_of(sequences)

    @torch.no_grad()
    def scores(*histories: list[int]) -> Tensor:
        return model.scorer()(asked(*histories))

    alone = scores([5, 6, 7])[0]
    for others in ([[1, 2]], [[8], [9, 9, 9, 9, 9], [4, 4]]):
        torch.testing.assert_close(scores(*others, [5, 6, 7])[-1], alone, rtol=1e-5, atol=1e-5)
    batch = asked([5, 6, 7, 8])
    within = replace(batch, ends=batch.ends - 1)
    changed = asked([5, 6, 7, 30])
    with torch.no_grad():
        earlier = model.query(within)
        assert torch.equal(earlier, model.query(replace(changed, ends=changed.ends - 1)))
        assert not torch.allclose(model.query(batch), model.query(changed))
        assert torch.isfinite(scores([], [1])).all()


def test_training_draws_no_part_in_what_is_ranked(make_log: MakeLog) -> None:
    """Dropout and the histories left out are training's: two passes give the same bits."""
    sequences = make_log(lengths=LENGTHS).sequences
    model = model_of(sequences, dropout=0.5, unconditional=0.9)
    with torch.no_grad():
        assert torch.equal(model.query(asked([5, 6, 7])), model.train().query(asked([5, 6, 7])))


def test_surprise_is_what_the_mean_vector_says(make_log: MakeLog) -> None:
    sequences = make_log(lengths=LENGTHS).sequences
    model, items = model_of(sequences), torch.tensor([3, 30, 1])
    batch = asked([1, 2], [4], [5, 6, 7, 8, 9])
    with torch.no_grad():
        found = model.surprises(batch, items)
        scores = mean_of(model).scorer()(batch)
    torch.testing.assert_close(found, -scores.log_softmax(1)[torch.arange(3), items - 1])


def cycles(*, users: int = 120, size: int = 12, item_count: int = 20) -> InteractionLog:
    """Everyone walks around one circle of items, from a place of their own."""
    steps = (torch.arange(users)[:, None] * 7 + torch.arange(size)) % item_count + 1
    offsets = torch.arange(users + 1) * size
    everyone = torch.arange(users)
    targets = {
        split: Targets(everyone, steps[:, size - back], torch.full((users,), size - back))
        for split, back in (("validation", 2), ("test", 1))
    }
    lengths = torch.full((users,), size - 2)
    return InteractionLog(Sequences(steps.flatten().int(), offsets, lengths, item_count), targets)


def training_on(log: InteractionLog, *, dropout: float = 0.0, **settings: object) -> Training:
    config = ModelConfig(backbone="dreamrec", dim=16, blocks=1, heads=1, length=LENGTH, dropout=dropout)
    return Training(
        build(replace(config, diffusion_steps=100), log.sequences.item_count, seed=1),
        log,
        log,
        TrainingConfig.from_dict({"epochs": 30, "batch_size": 32, "learning_rate": 5e-3, "patience": 99} | settings),
        seed=1,
        evaluation_seed=0,
        device=torch.device("cpu"),
    )


def test_it_learns_what_comes_next() -> None:
    log = cycles()
    training = training_on(log)
    training.run(on_epoch=lambda epoch: None)
    targets = log.targets["test"]
    ranks = rank(training.model, log.sequences, targets, Protocol.of(log.sequences, targets, seed=0))["full_all"]
    assert float((ranks == 0).mean()) > 0.6
    assert float((ranks < 4).mean()) > 0.95
    assert training.progress.collapsed_epoch is None
    assert training.progress.history[-1].warnings == []


def test_rows_that_no_step_touches_may_be_left_behind() -> None:
    tables = []
    for rows in ("all", "touched"):
        training = training_on(cycles(), epochs=3, table_rows=rows)
        assert training.touches_rows == (rows == "touched")
        training.run(on_epoch=lambda epoch: None)
        tables.append(training.model.item_table().detach())
    torch.testing.assert_close(tables[0], tables[1], rtol=1e-4, atol=1e-5)


def test_the_variance_is_that_of_the_training_targets(make_log: MakeLog) -> None:
    sequences = make_log(lengths=LENGTHS).sequences
    model = model_of(sequences)
    table = model.item_table().detach().double()
    parts = zip(sequences.offsets.tolist(), sequences.train_lengths.tolist(), strict=False)
    targets = [int(item) for begin, size in parts for item in sequences.items[begin + 1 : begin + size]]
    expected = float(table[targets].var(0, unbiased=False).mean())
    assert model.diagnostics()["items.variance"] == pytest.approx(expected, rel=1e-5)
    assert (model.collapsed(), model.warnings()) == (False, ())


def test_items_that_have_become_alike_are_told() -> None:
    """Trained fast and long, it finds that it is never wrong where every item is the same."""
    training = training_on(cycles(), epochs=120, learning_rate=3e-2, validate_every=60)
    progress = training.run(on_epoch=lambda epoch: None)
    assert progress.collapsed_epoch is not None
    last = progress.history[-1]
    assert last.metrics["items.collapsed"] == 1.0
    assert "items have become alike" in last.warnings[0]
    assert progress.history[0].metrics["items.variance"] > 0.5
    assert progress.history[0].warnings == []
