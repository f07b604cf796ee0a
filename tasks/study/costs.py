"""What trainings will presumably cost in time and memory, from those that were measured.

A training's time is taken to be its epochs × real positions × the work at a position, times a rate in seconds. Rates
are those of the finished trainings in the state folder, by kind of model and device; for a kind that has none there,
those that come with the project. An estimator of two passes and the Jacobian's term take time that the multiplications
do not show: they make a model a kind of its own.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from statistics import median
from typing import Any, NamedTuple

import pandas as pd

from models.config import NO_GATE, ModelConfig
from tasks.execution import Execution
from tasks.home import Home
from tasks.plan import Cell
from tasks.snapshots import Snapshot
from tasks.train import RESULT_FILE


class Kind(NamedTuple):
    """What trainings share that take about as long for the same multiplications."""

    backbone: str
    loss: str
    gate: str
    estimator: str | None
    jacobian_every: int | None
    device: str


SHIPPED: Mapping[tuple[str, str], float] = {
    ("bce", NO_GATE): 1.8e-10,
    ("softmax", NO_GATE): 1.7e-10,
    ("bce", "positional"): 2.6e-10,
    ("softmax", "positional"): 2.3e-10,
}
"""Seconds per unit of work by loss and gate: SASRec with one thread, as measured on one core of an AMD EPYC server."""

JACOBIAN = 1.5
"""What the Jacobian's term adds to a step that has it, in steps without it."""

SHIPPED_MEMORY = 1.0
STARTING_SECONDS = 12.0
"""To start the two processes that train and rank, and to read their data."""

PROCESS_BYTES = 520e6
"""Of a process that has loaded torch and nothing else."""


@dataclass(frozen=True)
class Cost:
    """Of training and ranking a cell. `measured`: from trainings of this kind in the state folder."""

    seconds: float
    memory_bytes: float
    measured: bool


@dataclass(frozen=True)
class Rates:
    """By kind of model: seconds per unit of work, the share of the epochs that were run, and how much memory was
    taken of what the sizes say.
    """

    seconds: Mapping[Kind, float]
    epochs: Mapping[Kind, float]
    memory: Mapping[Kind, float]

    def cost(self, cell: Cell, execution: Execution) -> Cost:
        """The cost of a cell with one of its kind's rates, or else with those that come with the project."""
        kind = _kind(cell.model, execution.device)
        items, users = cell.clean.counts.items, cell.snapshot.counts.users
        positions = _positions(cell.snapshot, cell.model.length)
        measured = kind in self.seconds
        rate = self.seconds[kind] if measured else _shipped(kind)
        epochs = cell.training.epochs * self.epochs.get(kind, 1.0)
        seconds = STARTING_SECONDS + epochs * positions * _work(cell.model, items) * rate
        sizes = _bytes(cell.model, items=items, positions=positions, users=users, batch_size=cell.training.batch_size)
        memory = PROCESS_BYTES + sizes * self.memory.get(kind, SHIPPED_MEMORY)
        return Cost(seconds=seconds, memory_bytes=memory, measured=measured)


def rates(home: Home) -> Rates:
    """What the finished trainings in the state folder show."""
    seconds: dict[Kind, list[float]] = {}
    epochs: dict[Kind, list[float]] = {}
    memory: dict[Kind, list[float]] = {}
    for result, model, items in _finished(home):
        kind = _kind(model, result["device"])
        done = result["epochs"] * result["positions"] * _work(model, items)
        seconds.setdefault(kind, []).append(result["seconds"] / done)
        epochs.setdefault(kind, []).append(result["epochs"] / result["max_epochs"])
        sizes = _bytes(
            model, items=items, positions=result["positions"], users=result["users"], batch_size=result["batch_size"]
        )
        stacked = max(1, len(result.get("group", ())))
        memory.setdefault(kind, []).append(max(0.0, result["peak_memory_bytes"] - PROCESS_BYTES) / stacked / sizes)
    return Rates(_medians(seconds), _medians(epochs), _medians(memory))


def expected_seconds(cells: Iterable[Cell], execution: Execution, *, home: Home) -> dict[str, float]:
    """The seconds that each training will presumably take, by its key."""
    found = rates(home)
    return {cell.train_key: found.cost(cell, execution).seconds for cell in cells}


def _finished(home: Home) -> Iterable[tuple[dict[str, Any], ModelConfig, int]]:
    """Every training's result, model and number of items; those that lack what is asked here are passed over."""
    for path in home.steps.glob(f"train/*/{RESULT_FILE}"):
        try:
            result = json.loads(path.read_text(encoding="utf-8"))
            described = json.loads((path.parent / "model.json").read_text(encoding="utf-8"))
            model = ModelConfig.from_dict(described["config"])
        except (OSError, ValueError):
            continue
        if result.keys() >= {"device", "positions", "users", "max_epochs", "peak_memory_bytes"} and result["positions"]:
            yield result, model, described["item_count"]


def _kind(model: ModelConfig, device: str) -> Kind:
    read = model.effective()
    return Kind(model.backbone, model.loss, model.gate, read.get("estimator"), read.get("jacobian_every"), device)


def _shipped(kind: Kind) -> float:
    """The rate of a kind's loss and gate, or else the slowest of the same loss, or else the slowest of all."""
    same = [rate for (loss, _), rate in SHIPPED.items() if loss == kind.loss]
    rate = SHIPPED.get((kind.loss, kind.gate), max(same or SHIPPED.values()))
    return rate if kind.jacobian_every is None else rate * (1.0 + JACOBIAN / kind.jacobian_every)


def _work(model: ModelConfig, items: int) -> float:
    """Multiplications at a position, forwards and backwards: the blocks' matrices and attention, and the loss."""
    blocks = model.blocks * (6 * model.dim**2 + 2 * model.length * model.dim)
    loss = items * model.dim if model.loss == "softmax" else (1 + model.negatives) * model.dim
    return 3.0 * (blocks + loss)


def _bytes(model: ModelConfig, *, items: int, positions: int, users: int, batch_size: int) -> float:
    """Of the log, the weights with what the optimiser keeps, and a batch's values on the way forwards and back."""
    batch = positions / max(1, users) * min(batch_size, users)
    values = model.blocks * (12 * model.dim + 3 * model.heads * model.length)
    loss = 3 * items if model.loss == "softmax" else 4 * (1 + model.negatives) * model.dim
    weights = 6 * (items * model.dim + model.blocks * 6 * model.dim**2)
    return 24.0 * positions + 4.0 * (weights + batch * (values + loss))


@cache
def _lengths(users: str) -> "pd.Series[int]":
    return pd.read_parquet(users, columns=["train_length"])["train_length"]


def _positions(snapshot: Snapshot, length: int) -> int:
    """Real positions in an epoch."""
    return int((_lengths(str(snapshot.users)) - 1).clip(0, length).sum())


def _medians(values: Mapping[Kind, list[float]]) -> dict[Kind, float]:
    return {kind: median(held) for kind, held in values.items()}
