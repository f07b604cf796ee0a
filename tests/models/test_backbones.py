"""What every backbone does: it learns, its training repeats and resumes, it is kept, ranked with, and served."""

import json
import math
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from models import catalogue
from models.catalogue import build
from models.config import ModelConfig, TrainingConfig
from models.engine.batches import history_batches
from models.engine.ranking import Protocol, rank
from models.engine.sequences import InteractionLog
from models.engine.training import Training
from models.networks.backbone import NextItem
from models.recommender import Recommender
from models.serving import Server
from models.storage import load_model, save_model
from tests.models.builders import ATTENTIVE, draws_for

ITEMS = 20
BACKBONES = sorted(catalogue.BACKBONES)
GATED = [*product(BACKBONES, ["none"]), *product(ATTENTIVE, ["positional"])]
TRAINED = sorted({**catalogue.BACKBONES, **catalogue.GENERATIVE})


@pytest.fixture
def log(make_log) -> InteractionLog:  # type: ignore[no-untyped-def]
    """Users who walk through the catalogue, each from a place and with a stride of their own, at their own times."""
    lengths = [6, 9, 12, 7, 8, 15, 3, 10] * 6
    made = make_log(lengths=lengths, item_count=ITEMS)
    walks = [[(user + (1 + user % 2) * step) % ITEMS + 1 for step in range(n)] for user, n in enumerate(lengths)]
    items = torch.tensor([item for walk in walks for item in walk], dtype=torch.int32)
    times = torch.tensor(
        [1000 * user + 60 * step * (1 + user % 3) for user, n in enumerate(lengths) for step in range(n)]
    )
    sequences = replace(made.sequences, items=items, times=times)
    targets = {
        split: replace(rows, items=items[sequences.offsets[rows.users] + rows.histories].long())
        for split, rows in made.targets.items()
    }
    return InteractionLog(sequences, targets)


def config_of(backbone: str, gate: str = "none", **settings: object) -> ModelConfig:
    small = {"backbone": backbone, "gate": gate, "dim": 16, "user_dim": 8, "heads": 2, "length": 8, "max_interval": 9}
    small |= {"diffrec_hidden": 16}
    return ModelConfig.from_dict(small | {"loss": "softmax"} | settings)


def trained(log: InteractionLog, config: ModelConfig, *, epochs: int, checkpoint: Path | None = None) -> Training:
    model = build(config, ITEMS, seed=1, user_count=log.sequences.user_count)
    settings = TrainingConfig(epochs=epochs, batch_size=16, learning_rate=5e-3, validate_every=5, patience=50)
    device = torch.device("cpu")
    training = Training(model, log, log, settings, seed=1, evaluation_seed=0, device=device, checkpoint=checkpoint)
    training.run(on_epoch=lambda _: None)
    return training


def ranks(model: Recommender, log: InteractionLog) -> np.ndarray:
    targets = log.targets["test"]
    result: np.ndarray = rank(model, log.sequences, targets, Protocol.of(log.sequences, targets, seed=0))["full_all"]
    return result


@pytest.mark.parametrize(("backbone", "gate"), GATED)
def test_training_lowers_the_loss_and_the_ranks(log: InteractionLog, backbone: str, gate: str) -> None:
    config = config_of(backbone, gate)
    training = trained(log, config, epochs=40 if backbone == "bert4rec" and gate != "none" else 25)
    history = [epoch.metrics["train.loss"] for epoch in training.progress.history]
    assert np.mean(history[-3:]) < 0.75 * np.mean(history[:3])
    untrained = build(config, ITEMS, seed=1, user_count=log.sequences.user_count)
    assert ranks(training.model, log).mean() < 0.75 * ranks(untrained, log).mean()


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("loss", sorted(catalogue.LOSSES))
def test_every_loss_trains_every_backbone(log: InteractionLog, backbone: str, loss: str) -> None:
    training = trained(log, config_of(backbone, loss=loss, negatives=4), epochs=8)
    history = [epoch.metrics["train.loss"] for epoch in training.progress.history]
    assert history[-1] < history[0]


@pytest.mark.parametrize("backbone", BACKBONES)
def test_each_event_has_negatives_of_its_own_which_its_user_has_not_had(log: InteractionLog, backbone: str) -> None:
    """And the loss is that of its target beside them."""
    model = build(
        config_of(backbone, loss="bce", negatives=4, dropout=0.0), ITEMS, seed=1, user_count=log.sequences.user_count
    )
    assert isinstance(model, NextItem)
    model.prepare(log.sequences)
    order, draws = torch.Generator().manual_seed(0), draws_for(log.sequences)
    batch = next(iter(model.training_batches(log.sequences, batch_size=16, generator=order, draws=draws)))
    shown, negatives = model.drawn(batch, draws_for(log.sequences))
    assert negatives is not None
    assert negatives.shape == (len(batch.cells), 4)
    rows, unequal = set(), 0
    for user, own in zip(batch.events(batch.users).tolist(), negatives.tolist(), strict=True):
        first, size = int(log.sequences.offsets[user]), int(log.sequences.train_lengths[user])
        assert not set(own) & set(log.sequences.items[first : first + size].tolist())
        rows.add((user, *own))
        unequal += len(set(own)) > 1
    assert len(rows) > 0.9 * len(negatives)
    assert unequal > 0.9 * len(negatives)

    assert shown.targets is not None
    terms = model.loss(batch, draws_for(log.sequences)).terms
    with torch.no_grad():
        hidden, table = shown.events(model.backbone.encode(shown)).double(), model.item_table().double()
    for event, target in enumerate(shown.events(shown.targets).tolist()):
        own = [float(hidden[event] @ table[item]) for item in (target, *negatives[event].tolist())]
        expected = math.log1p(math.exp(-own[0])) + sum(math.log1p(math.exp(other)) for other in own[1:])
        assert float(terms[event].detach()) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("backbone", TRAINED)
def test_a_training_repeats_and_resumes_to_the_bit(log: InteractionLog, backbone: str, tmp_path: Path) -> None:
    whole = trained(log, config_of(backbone), epochs=4)
    again = trained(log, config_of(backbone), epochs=4)
    trained(log, config_of(backbone), epochs=2, checkpoint=tmp_path / "half")
    resumed = trained(log, config_of(backbone), epochs=4, checkpoint=tmp_path / "half")
    for other in (again, resumed):
        assert [epoch.metrics["train.loss"] for epoch in other.progress.history] == [
            epoch.metrics["train.loss"] for epoch in whole.progress.history
        ]


@pytest.mark.parametrize("backbone", TRAINED)
def test_kept_and_read_again_it_ranks_the_same(log: InteractionLog, backbone: str, tmp_path: Path) -> None:
    config = config_of(backbone)
    model = trained(log, config, epochs=2).model
    save_model(model, config, tmp_path, item_count=ITEMS, user_count=log.sequences.user_count)
    np.testing.assert_array_equal(ranks(load_model(tmp_path), log), ranks(model, log))


@pytest.mark.parametrize("backbone", TRAINED)
def test_who_else_is_ranked_changes_no_rank(log: InteractionLog, backbone: str) -> None:
    model = trained(log, config_of(backbone), epochs=2).model
    targets = log.targets["test"]
    protocol = Protocol.of(log.sequences, targets, seed=0)
    one_by_one = rank(model, log.sequences, targets, protocol, batch_size=1)
    together = rank(model, log.sequences, targets, protocol)
    for name, values in together.items():
        np.testing.assert_array_equal(values, one_by_one[name])


@pytest.mark.parametrize("backbone", TRAINED)
def test_it_is_served(log: InteractionLog, backbone: str, tmp_path: Path) -> None:
    """Answers are the model's own scores: with times where it takes them, of someone it does not know."""
    config = config_of(backbone)
    model = trained(log, config, epochs=2).model.eval()
    save_model(model, config, tmp_path, item_count=ITEMS, user_count=log.sequences.user_count)
    ids = [f"i{number}" for number in range(1, ITEMS + 1)]
    (tmp_path / "catalogue.json").write_text(json.dumps({"ids": ids, "popularity": [1] * ITEMS}), encoding="utf-8")
    server = Server()
    server.load(tmp_path)

    sequences, targets = log.sequences, log.targets["test"]
    histories, times = [], []
    for user, history in zip(targets.users.tolist(), targets.histories.tolist(), strict=True):
        first = int(sequences.offsets[user])
        histories.append([ids[item - 1] for item in sequences.items[first : first + history].tolist()])
        times.append(sequences.times[first : first + history].tolist())  # type: ignore[index]
    (batch,) = history_batches(sequences, targets, length=model.length, sizes=[len(targets)], appended=model.appended)
    strangers = replace(batch, users=torch.full_like(batch.users, -1))
    for columns, asked in (
        ({"history": histories, "times": times}, strangers),
        ({"history": histories}, replace(strangers, times=None)),
    ):
        with torch.inference_mode():
            expected = model.query(asked) @ model.item_table()[1:].T
        answers = server.predict(None, pd.DataFrame(columns), {"k": ITEMS, "exclude_seen": False})
        for row, answer in enumerate(answers.to_dict("records")):
            by_id = dict(zip(answer["items"], answer["scores"], strict=True))
            assert [by_id[raw] for raw in ids] == pytest.approx(expected[row].tolist(), rel=1e-4, abs=1e-5)
    (cold,) = server.predict(None, pd.DataFrame({"history": [["new"]]}), {"k": 2}).to_dict("records")
    assert cold["basis"] == "popularity"


def test_times_that_do_not_fit_the_history_are_said(log: InteractionLog, tmp_path: Path) -> None:
    config = config_of("tisasrec")
    save_model(build(config, ITEMS, seed=1), config, tmp_path, item_count=ITEMS)
    (tmp_path / "catalogue.json").write_text(json.dumps({"ids": list(range(ITEMS)), "popularity": [1] * ITEMS}))
    server = Server()
    server.load(tmp_path)
    table = pd.DataFrame({"history": [[1], [1, 2, 3]], "times": [[5], [5, 6]]})
    with pytest.raises(ValueError, match="row 1 has 3 items in its history and 2 times"):
        server.predict(None, table)
    for wrong in (None, float("nan"), 1.5, pd.Timestamp(2020, 1, 1)):
        table = pd.DataFrame({"history": [[1], [1, 2]], "times": [[5], [5, wrong]]})
        with pytest.raises(ValueError, match=r"row 1 has .* among its times, which are whole numbers"):
            server.predict(None, table)
    assert len(server.predict(None, pd.DataFrame({"history": [[1, 2]], "times": [[5.0, np.int64(6)]]}))) == 1
