"""A network pooled with nearest neighbours: what it scores, what of it is trained, and what it goes with."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.catalogue import build, check
from models.config import ModelConfig, TrainingConfig, WrongChoice
from models.engine.batches import Batch, windows
from models.engine.detection import suspicions
from models.engine.ranking import Protocol, rank
from models.engine.sequences import InteractionLog
from models.engine.training import Training
from models.explaining import attended
from models.networks import pooled
from models.networks.pooled import Pooled
from models.networks.v_sknn import VSKNN, Answer
from models.recommender import Recommender
from models.storage import load_model, save_model
from tests.models.builders import ITEMS, planted_log

SMALL = ModelConfig(dim=8, heads=2, length=12, loss="softmax", neighbours=20, neighbour_sample=50, neighbour_window=3)
WEIGHT = 0.3
DENOISED = {"noise_model": "popularity", "cleaning": "sampled", "spare": 4}
PARTS: list[dict[str, Any]] = [
    {},
    DENOISED,
    {"loss": "bce"},
    {"backbone": "gru4rec"},
    {"backbone": "fmlp-rec-causal"},
    {"backbone": "tisasrec"},
    {"robust": "co-teaching"},
    {"contrast": 0.1},
]


@pytest.fixture(scope="module")
def log() -> InteractionLog:
    made, _ = planted_log(kind="uniform", share=0.2, users=60, length=14)
    times = torch.arange(len(made.sequences.items)) * 1000
    return replace(made, sequences=replace(made.sequences, times=times))


def config_of(weight: float = WEIGHT, **settings: Any) -> ModelConfig:
    return ModelConfig.from_dict({**SMALL.to_dict(), **settings, "neighbour_weight": weight})


def trained(log: InteractionLog, config: ModelConfig, *, epochs: int = 3, checkpoint: Path | None = None) -> Training:
    model = build(config, ITEMS, seed=1, user_count=log.sequences.user_count)
    training = Training(
        *(model, log, log, TrainingConfig(epochs=epochs, batch_size=16, learning_rate=5e-3)),
        seed=1,
        evaluation_seed=0,
        device=torch.device("cpu"),
        checkpoint=checkpoint,
    )
    training.run(on_epoch=lambda _: None)
    return training


def histories(log: InteractionLog, model: Recommender) -> Batch:
    targets = log.targets["test"]
    return windows(log.sequences, targets.users, targets.histories, length=model.length, with_targets=False)


@pytest.mark.parametrize("part", PARTS)
def test_its_probabilities_are_the_weighted_geometric_mean_of_both(log: InteractionLog, part: dict[str, Any]) -> None:
    model = trained(log, config_of(**part), epochs=1).model
    assert isinstance(model, Pooled)
    batch = histories(log, model)
    with torch.no_grad():
        p = model.network.scorer()(batch).double().softmax(1).numpy()
        q = model.neighbours.scorer()(batch).double().exp().numpy()
        ours = model.scorer()(batch).double().softmax(1).numpy()
        surprises = model.surprises(batch, log.targets["test"].items).numpy()
    product = p ** (1 - WEIGHT) * q**WEIGHT
    np.testing.assert_allclose(ours, product / product.sum(1, keepdims=True), rtol=1e-4)
    assert np.abs(ours - p).max() > 0.01
    rows = np.arange(len(ours))
    np.testing.assert_allclose(surprises, -np.log(ours[rows, log.targets["test"].items - 1]), rtol=1e-3)


@pytest.mark.parametrize("part", PARTS)
def test_the_network_is_trained_as_it_would_be_alone(log: InteractionLog, part: dict[str, Any]) -> None:
    pooled, alone = (trained(log, config_of(weight, **part), epochs=2) for weight in (WEIGHT, 0.0))
    losses = [[epoch.metrics["train.loss"] for epoch in each.progress.history] for each in (pooled, alone)]
    assert losses[0] == losses[1]
    assert isinstance(pooled.model, Pooled)
    for name, value in alone.optimizer.state_dict()["state"][0].items():
        assert torch.equal(value, pooled.optimizer.state_dict()["state"][0][name])
    assert [epoch.warnings for epoch in pooled.progress.history] == [e.warnings for e in alone.progress.history]
    assert pooled.progress.history[-1].metrics.keys() == alone.progress.history[-1].metrics.keys()
    assert pooled.model.trained_length == alone.model.trained_length
    assert pooled.model.length == alone.model.length


def test_validation_ranks_by_both_and_a_training_goes_on_where_it_stopped(log: InteractionLog, tmp_path: Path) -> None:
    whole = trained(log, config_of(), epochs=4)
    trained(log, config_of(), epochs=2, checkpoint=tmp_path / "half")
    resumed = trained(log, config_of(), epochs=4, checkpoint=tmp_path / "half")
    alone = trained(log, config_of(0.0), epochs=4)

    def figures(training: Training, name: str) -> list[float]:
        return [epoch.metrics[name] for epoch in training.progress.history]

    for name in ("train.loss", "validation.full_unseen.ndcg_at_10"):
        assert figures(whole, name) == figures(resumed, name)
    assert figures(whole, name) != figures(alone, name)


@pytest.mark.parametrize("part", [{}, DENOISED])
def test_kept_and_read_again_it_ranks_the_same(log: InteractionLog, part: dict[str, Any], tmp_path: Path) -> None:
    config, targets = config_of(**part), log.targets["test"]
    model = trained(log, config, epochs=2).model
    save_model(model, config, tmp_path, item_count=ITEMS, user_count=log.sequences.user_count)
    protocol = Protocol.of(log.sequences, targets, seed=0)
    ranks = [rank(each, log.sequences, targets, protocol)["full_all"] for each in (model, load_model(tmp_path))]
    np.testing.assert_array_equal(*ranks)


def test_neighbours_are_asked_once_and_keep_no_more_than_there_is_room_for(
    log: InteractionLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Batch] = []

    def figures(room: int) -> list[float]:
        monkeypatch.setattr(pooled, "KEPT_ANSWERS", room)
        asked.clear()
        history = trained(log, config_of(), epochs=4).progress.history
        return [epoch.metrics["validation.full_unseen.ndcg_at_10"] for epoch in history]

    answering = VSKNN.answering

    def counted(neighbours: VSKNN) -> Callable[[Batch], Answer]:
        answer = answering(neighbours)
        return lambda batch: (asked.append(batch), answer(batch))[1]

    monkeypatch.setattr(VSKNN, "answering", counted)
    with_room = figures(10**9)
    assert len(asked) == 1
    assert figures(0) == with_room
    assert len(asked) == 4


def test_noise_is_told_and_attention_is_shown_by_the_network_within(log: InteractionLog) -> None:
    model = trained(log, config_of(**DENOISED), epochs=2).model
    found = suspicions(model, log.sequences)
    assert {"own_score", "popularity", "noise_model"} <= found.scores.keys()
    windows_seen = attended(model, histories(log, model))
    assert len(windows_seen) == len(log.targets["test"])
    assert windows_seen[0].before.shape[:2] == (2, 2)


@pytest.mark.parametrize(
    ("settings", "setting", "said"),
    [
        ({"backbone": "bert4rec"}, "neighbour_weight", "which no neighbour has"),
        ({"gate": "positional"}, "gate", "is not pooled with nearest neighbours"),
        ({"gate": "top-k"}, "gate", "is not pooled with nearest neighbours"),
        ({"backbone": "v-sknn"}, "neighbour_weight", "counts the log"),
        ({"backbone": "dreamrec"}, "neighbour_weight", "generates what comes next"),
    ],
)
def test_what_cannot_be_pooled_is_refused(settings: dict[str, Any], setting: str, said: str) -> None:
    with pytest.raises(WrongChoice, match=said) as refused:
        check(config_of(**settings))
    assert refused.value.setting == setting


def test_a_weight_is_a_share() -> None:
    for weight in (-0.1, 1.0):
        with pytest.raises(ValueError, match=r"neighbour_weight must lie in \[0, 1\)"):
            config_of(weight)
    assert not config_of().can_be_stacked
    assert not config_of(loss="bce").can_be_compiled("cpu")
