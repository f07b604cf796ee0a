"""Trainings stacked as one: each is what it is alone."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from models.catalogue import build
from models.config import ModelConfig, TrainingConfig
from models.engine.replicas import Replicas
from models.engine.sequences import InteractionLog
from models.engine.training import Epoch, Running, Training
from models.errors import Diverged
from tests.models.conftest import MakeLog

pytestmark = pytest.mark.usefixtures("one_thread")

SIZES = ModelConfig(dim=8, blocks=2, heads=2, length=8, dropout=0.3)
SHORT = TrainingConfig(epochs=2, batch_size=5, learning_rate=3e-3)
LONGER = replace(SHORT, epochs=3)
SETTINGS = (
    {"loss": "bce"},
    {"loss": "bpr", "negatives": 2, "norm": "pre", "gate": "top-k", "attention_top": 3},
    {"loss": "gbce", "negatives": 4, "gate": "sparse-transformer", "sparse_stride": 3},
    {"loss": "sampled-softmax", "negatives": 6},
    {"loss": "softmax", "norm": "post", "gate": "fixed-random"},
)


@pytest.fixture
def logs(make_log: MakeLog) -> list[InteractionLog]:
    """Of the same users, whose histories differ in lengths and items, so that batches differ in rows and events."""
    lengths = [12, 5, 3, 9, 4, 11, 3, 7, 8, 3, 14, 6]
    return [make_log(lengths=sorted(lengths, reverse=bool(seed % 2)), item_count=45, seed=seed) for seed in range(3)]


def trainings(
    logs: list[InteractionLog], model: ModelConfig, config: TrainingConfig, folder: Path | None = None
) -> list[Training]:
    """One on each log, in float64, as keys' biases have gradients of 0, of whose rounding Adam makes whole steps. Their
    checkpoints are in `folder`, where there is one.
    """
    return [
        Training(
            build(model, log.sequences.item_count, seed=seed).double(), log, log, config,
            seed=seed, evaluation_seed=0, device=torch.device("cpu"),
            checkpoint=None if folder is None else folder / f"{seed}.pt",
        )
        for seed, log in enumerate(logs, start=7)
    ]  # fmt: skip


def ignore(*_: object) -> None:
    """Nobody listens."""


def run_side_by_side(group: list[Training]) -> dict[int, Diverged | None]:
    ended: dict[int, Diverged | None] = {}
    Replicas(group).run(on_epoch=ignore, on_end=ended.__setitem__)
    return ended


def assert_alike(one: Training, other: Training) -> None:
    """In what both have learned and told, and in where their generators stand."""
    for (name, ours), theirs in zip(one.model.state_dict().items(), other.model.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9, msg=partial("{}: {}".format, name))
    for ours, theirs in zip(one.progress.history, other.progress.history, strict=True):
        metrics = {name: value for name, value in ours.metrics.items() if not name.startswith("time.")}
        assert metrics == pytest.approx({name: theirs.metrics[name] for name in metrics}, rel=1e-9)
    assert one.progress.best_epoch == other.progress.best_epoch
    assert one.progress.steps == other.progress.steps
    for streams, others in ((one.streams, other.streams), (one.order, other.order)):
        states = others.state_dict()
        assert all(torch.equal(state, states[name]) for name, state in streams.state_dict().items())


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: settings["loss"])
def test_replicas_train_as_they_would_alone(settings: dict[str, object], logs: list[InteractionLog]) -> None:
    model = ModelConfig.from_dict(SIZES.to_dict() | settings)
    group, alone = trainings(logs, model, SHORT), trainings(logs, model, SHORT)
    run_side_by_side(group)
    for ours, own in zip(group, alone, strict=True):
        own.run(on_epoch=ignore)
        assert_alike(ours, own)


def test_each_stops_by_itself_under_all_that_a_training_can_be_told(logs: list[InteractionLog]) -> None:
    config = TrainingConfig(
        epochs=8,
        batch_size=5,
        learning_rate=2e-2,
        patience=1,
        min_steps=0,
        clip=0.5,
        weight_decay=0.1,
        warmup=4,
        decay=0.5,
    )
    group, alone = trainings(logs, SIZES, config), trainings(logs, SIZES, config)
    run_side_by_side(group)
    for ours, own in zip(group, alone, strict=True):
        own.run(on_epoch=ignore)
        assert_alike(ours, own)
    assert len({training.progress.epoch for training in group}) > 1


def test_replicas_interrupted_at_different_epochs_go_on_together_or_alone(
    logs: list[InteractionLog], tmp_path: Path
) -> None:
    class Cut(Exception):
        pass

    def cut(number: int, epoch: Epoch) -> None:
        if (number, epoch.epoch) == (1, 2):
            raise Cut

    with pytest.raises(Cut):
        Replicas(trainings(logs, SIZES, LONGER, tmp_path)).run(on_epoch=cut, on_end=ignore)
    heard: list[tuple[int, int]] = []
    first, *together = trainings(logs, SIZES, LONGER, tmp_path)
    Replicas(together).run(on_epoch=lambda number, epoch: heard.append((number, epoch.epoch)), on_end=ignore)
    assert heard == [(0, 1), (0, 2), (1, 1), (1, 2), (0, 3), (1, 3)]
    first.run(on_epoch=ignore)
    for ours, own in zip([first, *together], trainings(logs, SIZES, LONGER), strict=True):
        own.run(on_epoch=ignore)
        assert_alike(ours, own)


def test_one_that_diverges_takes_no_other_with_it(logs: list[InteractionLog]) -> None:
    group, alone = trainings(logs, SIZES, SHORT), trainings(logs, SIZES, SHORT)
    with torch.no_grad():
        next(group[1].model.parameters()).fill_(torch.nan)
    ended = run_side_by_side(group)
    assert {number for number, failure in ended.items() if failure is None} == {0, 2}
    assert "diverged" in str(ended[1])
    for number in (0, 2):
        alone[number].run(on_epoch=ignore)
        assert_alike(group[number], alone[number])


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"config": replace(SHORT, learning_rate=1e-2)}, "the same settings"),
        ({"config": replace(SHORT, table_rows="touched")}, "the same settings"),
        ({"model": replace(SIZES, dim=4)}, "the same shape"),
        ({"lengths": [4, 5, 6]}, "as many steps"),
    ],
)
def test_what_cannot_be_stacked_is_refused(
    logs: list[InteractionLog], make_log: MakeLog, changes: dict[str, Any], complaint: str
) -> None:
    log = make_log(lengths=changes["lengths"], item_count=45) if "lengths" in changes else logs[1]
    one = trainings(logs[:1], SIZES, SHORT)
    other = trainings([log], changes.get("model", SIZES), changes.get("config", SHORT))
    with pytest.raises(ValueError, match=complaint):
        Replicas(one + other)


def test_a_model_that_draws_otherwise_is_refused_by_its_settings_and_by_its_draws(logs: list[InteractionLog]) -> None:
    dropping = replace(SIZES, gate="head-drop")
    assert SIZES.can_be_stacked
    assert not dropping.can_be_stacked
    with pytest.raises(TypeError, match="'gate' side by side"):
        run_side_by_side(trainings(logs, dropping, SHORT))


def test_replicas_have_the_precision_of_their_trainings(logs: list[InteractionLog]) -> None:
    """Losses in bfloat16 are those of trainings alone to its precision, and not those in float32."""

    def losses(precision: str, *, stacked: bool) -> torch.Tensor:
        group = [
            Training(
                build(SIZES, 45, seed=3), log, log, SHORT,
                seed=5, evaluation_seed=0, device=torch.device("cpu"), running=Running(precision=precision),
            )
            for log in logs
        ]  # fmt: skip
        if stacked:
            return torch.tensor(Replicas(group).train_epoch(range(len(group))))
        return torch.tensor([each.train_epoch()["train.loss"] for each in group])

    lower, full = losses("bf16", stacked=False), losses("float32", stacked=False)
    stacked = losses("bf16", stacked=True)
    torch.testing.assert_close(stacked, lower, rtol=1e-2, atol=0)
    assert (stacked - full).abs().max() > 0
    assert (lower - full).abs().max() > 0


def test_compiled_trainings_and_those_of_two_precisions_are_refused(logs: list[InteractionLog]) -> None:
    def running(running: Running) -> Training:
        model = build(SIZES, 45, seed=3)
        device = torch.device("cpu")
        return Training(model, logs[0], logs[0], SHORT, seed=5, evaluation_seed=0, device=device, running=running)

    with pytest.raises(ValueError, match="not compiled"):
        Replicas([running(Running(compiled=True)) for _ in range(2)])
    with pytest.raises(ValueError, match="the same settings"):
        Replicas([running(Running()), running(Running(precision="bf16"))])
