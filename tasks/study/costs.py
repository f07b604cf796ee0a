"""What trainings will presumably cost in time and memory, from those that were measured.

A training's time is taken to be its epochs × real positions × the work at a position, times a rate in seconds. Rates
are those of the finished trainings in the state folder, by kind of model and of running; for a kind that has none
there, one that comes with the project, times what the kind's parts were measured to take beside SASRec with BCE. Gates,
estimators and the Jacobian's term take time that the multiplications do not show: they make a model a kind of its own.
Where a log is not here yet, its sizes are taken from what is known of it. To rank, and to judge by its own score what
it was trained on, takes most models seconds and is not counted; V-SKNN, which looks for neighbours anew for each event
that it judges, it takes longer than all else.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from statistics import median
from typing import Any, NamedTuple

import pandas as pd

from models.config import CO_TEACHING, COUNT_BASED, FULL_PRECISION, KEPT_ANSWERS, NO_GATE, ModelConfig, TrainingConfig
from models.description import described
from tasks.data_specs import SourceSpec
from tasks.execution import Execution
from tasks.home import Home
from tasks.plan import Cell, corruptions
from tasks.snapshots import Snapshot
from tasks.sources.datasets import GENERATED, known
from tasks.specs import CellSpec, InjectedNoise
from tasks.train import RESULT_FILE

READ = {"device", "threads", "positions", "users", "max_epochs", "peak_memory_bytes"}
"""What is read of a training's result, beside what every one has."""


class Kind(NamedTuple):
    """What trainings share that take about as long for the same multiplications. A recommender of a person's own is
    known by what makes it.
    """

    backbone: str
    loss: str | None
    gate: str
    estimator: str | None
    passes: str | None
    jacobian_every: int | None
    noise_model: str
    robust: str
    contrasted: bool
    pooled: bool
    device: str
    threads: int
    compiled: bool
    precision: str


class Sizes(NamedTuple):
    """Of a log: its items and users, the interactions that may be trained on, the real positions of an epoch, and the
    targets of all splits.
    """

    items: int
    users: int
    interactions: int
    positions: int
    targets: int


SHIPPED = 1.3e-10
"""Seconds per unit of work of SASRec with BCE, validation included: one thread on one core of an AMD EPYC server. What
follows was measured there too, for the most part by `benchmarks.losses` and `benchmarks.denoising`."""

LOSSES: Mapping[str, float] = {"softmax": 0.4, "sampled-softmax": 1.0, "gbce-shared": 1.1, "bpr-max": 1.5}
"""Units of work that a multiplication of the loss takes, where it is one of whole matrices."""

OF_A_ROW = 16.0
"""The same of the other losses, which fetch rows of the item table one by one."""
BACKBONES: Mapping[str, float] = {
    "sasrec": 1.0,
    "tisasrec": 1.86,
    "bert4rec": 1.1,
    "sse-pt": 2.23,
    "gru4rec": 1.7,
    "caser": 2.1,
    "fpmc": 0.25,
    "fmlp-rec": 2.2,
    "fmlp-rec-causal": 0.93,
    "dreamrec": 1.25,
    "diffrec": 0.8,
    **dict.fromkeys(COUNT_BASED, 1.0),
}
"""A step over SASRec's."""

TABLES: Mapping[str, int] = {"caser": 3, "fpmc": 3}
"""Item tables of the model's width, where there are more than one: an output table of twice the width is two."""

VECTORS: Mapping[str, int] = {"diffrec": 12}
"""Of backbones whose windows are vectors of the catalogue's length: how many of them a window takes in a training step
with what is made of them.
"""

FILTERED = ("fmlp-rec", "fmlp-rec-causal")
"""Backbones that compute all places of a history, those without an event as well."""

VALUES_OF_A_PLACE = 27
"""How many times its width each of their blocks keeps of a place for the way back."""

COUNTED = 4e3
"""Units of work that a position of the log takes where it is counted, and, but for V-SKNN, what has been counted
validated."""

ASKED, LOOKED_AT = 1.4e-4, 3.9e-8
"""Seconds that V-SKNN takes for a window, and as many again where its answer is ranked; and for each event of other
histories with an item of the window's. One that is voted for with the whole of its history takes half of that. As
measured by `benchmarks.judging`."""

HOLDERS = 2.5
"""How many histories have an event's item, over the mean of items: what many have is asked for often."""

GATES: Mapping[str, float] = {
    NO_GATE: 1.0,
    "positional": 1.4,
    "contextual": 1.36,
    "fixed-random": 1.07,
    "head-drop": 1.05,
    "layer-drop": 1.05,
    "top-k": 1.3,
    "sparse-transformer": 1.14,
    "alpha-entmax": 4.24,
}
"""A step over one without a gate, with the estimators that gates have by default."""

ESTIMATORS: Mapping[tuple[str, str], float] = {
    ("positional", "arm"): 1.3,
    ("positional", "ar"): 1.06,
    ("positional", "reinforce"): 1.07,
    ("positional", "straight-through"): 1.16,
    ("positional", "hard-concrete"): 1.24,
    ("contextual", "arm-per-token"): 1.46,
}
"""The same with other estimators."""

STACKED_PASSES = 1.5
"""A step whose two passes are stacked over one whose passes run apart."""

JACOBIAN = 1.38
"""What the Jacobian's term adds to a step that has it, in steps of the plain backbone."""

ROBUST: Mapping[str, float] = {CO_TEACHING: 2.0}
"""A step over one that trusts every target."""

CONTRAST = 2.7
"""A step whose windows are contrasted over a plain one."""

NOISE_MODELS: Mapping[str, float] = {"popularity": 1e-6, "co-occurrence": 9e-6}
"""Seconds that a noise model takes for each interaction before the first epoch."""

OWN_SCORE = "own-score"
OWN_SCORE_EPOCHS, OWN_SCORE_STEPS = 15, 600
"""How long that noise model trains its SASRec first: so many epochs, and so many steps, at the least."""

SHOPPERS_EVENTS = 36.0
"""Of a generated shopper."""

SHIPPED_MEMORY = 1.0
STARTING_SECONDS = 12.0
"""To start the two processes that train and rank, and to read their data."""

PROCESS_BYTES = 520e6
"""Of a process that has loaded torch and nothing else."""


@dataclass(frozen=True)
class Cost:
    """Of training, judging and ranking a cell. `measured`: from trainings of this kind in the state folder; `guessed`:
    of a log that is not here yet.
    """

    seconds: float
    memory_bytes: float
    measured: bool
    guessed: bool = False


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
        counts = cell.snapshot.counts
        sizes = Sizes(
            items=cell.clean.counts.items,
            users=counts.users,
            interactions=counts.training,
            positions=_positions(cell.snapshot, cell.model.length),
            targets=counts.targets_validation + counts.targets_promotion + counts.targets_test,
        )
        judged = cell.detect_key is not None or _puts_in_labels(cell.spec.noise)
        execution = replace(execution, compiled=cell.compiled)
        return self._cost(cell.model, cell.training, sizes, execution, judged=judged)

    def guess(self, spec: CellSpec, execution: Execution) -> Cost | None:
        """The cost of a cell whose log is not here yet; None where nothing is known of its sizes."""
        sizes = sizes_of(spec)
        if sizes is None:
            return None
        execution = replace(execution, compiled=execution.compiled and spec.model.can_be_compiled(execution.device))
        labelled = _is_generated(spec.source) or spec.source.columns.noise is not None
        judged = labelled or _puts_in_labels(spec.noise)
        return replace(self._cost(spec.model, spec.training, sizes, execution, judged=judged), guessed=True)

    def _cost(
        self, model: ModelConfig, training: TrainingConfig, sizes: Sizes, execution: Execution, *, judged: bool
    ) -> Cost:
        kind = kind_of(
            model,
            device=execution.device,
            threads=execution.threads,
            compiled=execution.compiled,
            precision=execution.precision,
        )
        measured = kind in self.seconds
        rate = self.seconds[kind] if measured else SHIPPED * slower(kind)
        epochs = training.of(model).epochs * self.epochs.get(kind, 1.0)
        window = sizes.positions / max(1, sizes.users)
        seconds = epochs * sizes.positions * work(model, sizes.items, window=window) * rate + _preparing(model, sizes)
        # A rate that was measured has the validation in it, whose neighbours are asked once.
        seconds += asking(model, sizes, ranked=sizes.targets + (0 if measured else sizes.users), judged=judged)
        values = _bytes(
            model, items=sizes.items, positions=sizes.positions, users=sizes.users, batch_size=training.batch_size
        )
        memory = PROCESS_BYTES + values * self.memory.get(kind, SHIPPED_MEMORY)
        return Cost(seconds=STARTING_SECONDS + seconds, memory_bytes=memory, measured=measured)


def rates(home: Home) -> Rates:
    """What the finished trainings in the state folder show."""
    seconds: dict[Kind, list[float]] = {}
    epochs: dict[Kind, list[float]] = {}
    memory: dict[Kind, list[float]] = {}
    for result, model, items in _finished(home):
        kind = kind_of(
            model,
            device=result["device"],
            threads=result["threads"],
            compiled=result.get("compiled", False),
            precision=result.get("precision", FULL_PRECISION),
        )
        window = result["positions"] / max(1, result["users"])
        done = result["epochs"] * result["positions"] * work(model, items, window=window)
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
            model = described(path.parent)
        except (OSError, KeyError, TypeError, ValueError):
            continue
        if result.keys() >= READ and result["positions"]:
            yield result, model.config, model.item_count


def kind_of(model: ModelConfig, *, device: str, threads: int, compiled: bool, precision: str) -> Kind:
    """The kind of a training that runs so."""
    read = model.effective()
    return Kind(
        backbone=model.own or model.backbone,
        loss=read.get("loss"),
        gate=model.gate,
        estimator=read.get("estimator"),
        passes=read.get("passes"),
        jacobian_every=read.get("jacobian_every"),
        noise_model=model.noise_model,
        robust=model.robust,
        contrasted=model.contrast > 0,
        pooled=model.neighbour_weight > 0,
        device=device,
        threads=threads,
        compiled=compiled,
        precision=precision,
    )


def slower(kind: Kind) -> float:
    """How many times as long as SASRec with BCE the kind takes for the same work, by what comes with the project."""
    gate = GATES.get(kind.gate, max(GATES.values()))
    if kind.estimator is not None:
        gate = ESTIMATORS.get((kind.gate, kind.estimator), gate)
    if kind.passes == "stacked":
        gate *= STACKED_PASSES
    jacobian = 0.0 if kind.jacobian_every is None else JACOBIAN / kind.jacobian_every
    beside = ROBUST.get(kind.robust, 1.0) * (CONTRAST if kind.contrasted else 1.0)
    return BACKBONES.get(kind.backbone, max(BACKBONES.values())) * (gate + jacobian) * beside


def work(model: ModelConfig, items: int, *, window: float | None = None) -> float:
    """Multiplications at a position, forwards and backwards: the blocks' matrices and attention, and the loss, whose
    count for as much more or less as they take; where items are masked, that share of positions has one. An objective
    of a model's own is taken for one with a negative. Where the catalogue is gone through once for each window, it is
    shared by the positions of one, `window` on average, as many as the model sees unless it is told.
    """
    if model.is_count_based:
        return COUNTED
    if model.backbone in VECTORS:
        return 3.0 * 2 * items * model.diffrec_hidden / max(1.0, window or model.length)
    read = model.effective()
    objective = read.get("loss", "")
    if model.backbone in FILTERED:
        places = _filtered_places(model, window or model.length)
        blocks = places * (8 * model.dim**2 + model.length * model.dim)
    else:
        layers: int = read.get("blocks", ModelConfig.blocks)
        blocks = layers * (6 * model.dim**2 + 2 * model.length * model.dim)
    loss = (items if objective == "softmax" else 1 + read.get("negatives", 1)) * model.dim
    masked: float = read.get("masked", 1.0)
    return 3.0 * (blocks + masked * LOSSES.get(objective, OF_A_ROW) * loss)


def asking(model: ModelConfig, sizes: Sizes, *, ranked: int, judged: bool) -> float:
    """Seconds in which V-SKNN, alone or beside a network, ranks so many targets and, where what it counted is `judged`,
    the events of that.
    """
    if model.backbone != "v-sknn" and not model.neighbour_weight:
        return 0.0
    window = sizes.positions / max(1, sizes.users)
    holders = min(model.neighbour_sample, sizes.users, HOLDERS * sizes.interactions / max(1, sizes.items))
    votes = 0.0 if model.neighbour_window else model.neighbours * sizes.interactions / max(1, sizes.users)

    def seconds(windows: int, events: float) -> float:
        return windows * (ASKED + LOOKED_AT * (events * holders + votes / 2))

    # An event is judged by those before it alone, which are half a window on average.
    return ranked * ASKED + seconds(ranked, window) + judged * seconds(sizes.positions, (window + 1) / 2)


def sizes_of(spec: CellSpec) -> Sizes | None:
    """About how large a cell's log will be that is not here yet, None where that is not known. Histories are taken to
    be spread as waiting times are, which films' and the generated shoppers' nearly are.
    """
    source = spec.source
    if _is_generated(source):
        users, items = source.shoppers.users, source.shoppers.items
        interactions = round(SHOPPERS_EVENTS * users)
    else:
        dataset = known(source.path or "")
        if dataset is None or dataset.users is None or dataset.items is None or dataset.rows is None:
            return None
        users, items, interactions = dataset.users, dataset.items, dataset.rows
    mean = max(1.0, interactions / users - 2)
    length = spec.model.length
    positions = round(users * mean * (1 - math.exp(-length / mean)))
    return Sizes(items, users, interactions, positions, targets=2 * users)


def _preparing(model: ModelConfig, sizes: Sizes) -> float:
    """Seconds before the first epoch."""
    if model.noise_model != OWN_SCORE:
        return NOISE_MODELS.get(model.noise_model, 0.0) * sizes.interactions
    base = ModelConfig()
    steps = math.ceil(sizes.users / TrainingConfig().batch_size)
    epochs = max(OWN_SCORE_EPOCHS, OWN_SCORE_STEPS / steps)
    return epochs * sizes.positions * work(base, sizes.items) * SHIPPED


def _is_generated(source: SourceSpec) -> bool:
    return source.path in (None, GENERATED)


def _puts_in_labels(noise: InjectedNoise) -> bool:
    """Does it leave events in what is trained on that are labelled as noise?"""
    put_in, _ = corruptions(noise)
    return put_in.ratio > 0 and put_in.kind != "delete" and not put_in.taken_out


def _bytes(model: ModelConfig, *, items: int, positions: int, users: int, batch_size: int) -> float:
    """Of the log, the weights with what the optimiser keeps, and a batch's values on the way forwards and back."""
    if model.is_count_based:
        return 24.0 * (2 * positions + items)
    if model.backbone in VECTORS:
        vectors = VECTORS[model.backbone] * min(batch_size, users) * items
        return 24.0 * positions + 4.0 * (6 * 2 * items * model.diffrec_hidden + vectors)
    batch = positions / max(1, users) * min(batch_size, users)
    if model.backbone in FILTERED:
        values = VALUES_OF_A_PLACE * model.dim * _filtered_places(model, positions / max(1, users))
    else:
        values = model.blocks * (12 * model.dim + 3 * model.heads * model.length)
    values *= 3 if model.contrast else 1
    read = model.effective()
    loss = 3 * items if read.get("loss") == "softmax" else 4 * (1 + read.get("negatives", 1)) * model.dim
    kept = min(KEPT_ANSWERS, 8.0 * users * items) if model.neighbour_weight else 0.0
    weights = 6 * (TABLES.get(model.backbone, 1) * items * model.dim + model.blocks * 6 * model.dim**2)
    return 24.0 * positions + 4.0 * (weights + batch * (values + loss)) + kept


def _filtered_places(model: ModelConfig, window: float) -> float:
    """Of all blocks, for each position of the log: FMLP-Rec reads a history anew for each of its events, and of its
    last block computes the last place alone; with causal filters it reads it once.
    """
    if model.backbone == "fmlp-rec":
        return (model.blocks - 1) * model.length + 1
    return model.blocks * model.length / max(1.0, window)


@cache
def _lengths(users: str) -> "pd.Series[int]":
    return pd.read_parquet(users, columns=["train_length"])["train_length"]


def _positions(snapshot: Snapshot, length: int) -> int:
    """Real positions in an epoch."""
    return int((_lengths(str(snapshot.users)) - 1).clip(0, length).sum())


def _medians(values: Mapping[Kind, list[float]]) -> dict[Kind, float]:
    return {kind: median(held) for kind, held in values.items()}
