"""What came of a study, as `study.json` holds it: the interface between the flow, the report and whoever reads on."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from tasks.detect import Verdict
from tasks.gates import GateLayer
from tasks.statistics.comparison import Table
from tasks.statistics.relative import GapClosed, Retention
from tasks.statistics.slices import Sliced

AxisValue = str | int | float | bool | None
Setting = dict[str, AxisValue]
"""By axis, the value."""

DIGITS = 5
"""Decimals that the points of an ROC curve are kept with."""


@dataclass(frozen=True)
class Noise:
    """Noise put in on purpose. `seed` is None where it does not matter which draw it was."""

    kind: str
    ratio: float
    where: str
    seed: int | None = None

    @property
    def without_seed(self) -> "Noise":
        return Noise(self.kind, self.ratio, self.where)


@dataclass(frozen=True)
class SourceFile:
    """A file of the raw log."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Dataset:
    """A snapshot that cells used. clean: the digest of the one without injected noise; docs: its checks' pages.

    taken_out, filter: what was left out of it, as `CellResult` has them.
    """

    name: str
    digest: str
    clean: str
    counts: dict[str, int]
    sources: tuple[SourceFile, ...]
    noise: Noise | None
    docs: str | None
    taken_out: bool = False
    filter: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Figures:
    """What a training cost and came to. seconds: of training; parameters: trained numbers; None where it was not
    measured. gate: the layers of its gate, where it has one; collapsed: in some epoch it closed in a layer or in all,
    and the attention there with it, or a generative model's items had become alike.
    """

    best_epoch: int | None = None
    epochs: int | None = None
    seconds: float | None = None
    parameters: int | None = None
    peak_memory_bytes: int | None = None
    gate: tuple[GateLayer, ...] = ()
    collapsed: bool = False

    def without_curves(self) -> "Figures":
        """Less what a gate keeps at each distance."""
        return replace(self, gate=tuple(replace(layer, keep_by_distance=()) for layer in self.gate))


@dataclass(frozen=True)
class Epoch:
    """An epoch's metrics by name; None for what was no finite number."""

    epoch: int
    metrics: dict[str, float | None]


@dataclass(frozen=True)
class CellResult:
    """One experiment. `ranks` is a path relative to the state folder; `failure` says why there are none.

    taken_out: it is told, as an oracle, which part of its log is noise, and that is left out; filter: the settings of
    its filter, empty where it has none. A result of before has neither.
    """

    axes: Setting
    label: str
    dataset: str
    method: str
    noise: Noise | None
    model: dict[str, Any]
    training: dict[str, Any]
    seed: int
    status: Literal["done", "failed"]
    failure: str | None
    snapshot: str | None
    histories: str | None
    train_key: str | None
    evaluate_key: str | None
    ranks: str | None
    mlflow_run: str | None
    figures: Figures
    history: tuple[Epoch, ...]
    metrics: dict[str, float]
    taken_out: bool = False
    filter: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """Where methods are compared: on one dataset, at one noise, under one value of each axis that is not compared."""

    dataset: str
    noise: Noise | None
    setting: Setting


@dataclass(frozen=True)
class Comparison:
    """A comparison's table at one place; the table names its metric and its reference."""

    place: Place
    table: Table


@dataclass(frozen=True)
class Retained:
    """What noise leaves of each method's metric at a place."""

    place: Place
    metric: str
    retentions: tuple[Retention, ...]


@dataclass(frozen=True)
class Gaps:
    """How much of the distance to the oracle each method closes at a place."""

    place: Place
    metric: str
    gaps: tuple[GapClosed, ...]


@dataclass(frozen=True)
class SlicedMetric:
    """A metric at a place by parts of the targets."""

    place: Place
    metric: str
    sliced: Sliced


@dataclass(frozen=True)
class Detection:
    """How well a detector tells the labelled noise in a training's data: its ROC curve and the area under it.

    kind: the noise that counts, None for all kinds together. positives, negatives: how many of the judged interactions
    are noise (of the kind), how many are not labelled as noise. low, high: of the area's interval over users.
    average_precision: by chance the positives' share. caught: the share of the noise among as many flagged as there is
    noise of all kinds. The rates [points] rise from 0 to 1; the curves of single kinds are not kept. What is None was
    not measured.
    """

    place: Place
    method: str
    seed: int
    positives: int
    negatives: int
    auroc: float
    false_positive_rates: tuple[float, ...]
    true_positive_rates: tuple[float, ...]
    detector: str = "own_score"
    kind: str | None = None
    low: float | None = None
    high: float | None = None
    average_precision: float | None = None
    caught: float | None = None

    @classmethod
    def of(cls, verdict: Verdict, *, place: Place, method: str, seed: int) -> "Detection":
        """A verdict on the training of this seed."""
        false, true = (verdict.curve.false_positive, verdict.curve.true_positive) if verdict.kind is None else ((), ())
        return cls(
            place=place,
            method=method,
            seed=seed,
            positives=verdict.positives,
            negatives=verdict.negatives,
            auroc=verdict.auroc.value or 0.0,
            false_positive_rates=tuple(round(float(rate), DIGITS) for rate in false),
            true_positive_rates=tuple(round(float(rate), DIGITS) for rate in true),
            detector=verdict.detector,
            kind=verdict.kind,
            low=verdict.auroc.low,
            high=verdict.auroc.high,
            average_precision=verdict.average_precision,
            caught=verdict.caught,
        )


@dataclass(frozen=True)
class StudyResult:
    """A study's outcome.

    reference: whom the others are compared with, a method's name or values of axes; the axes that it names are those
    compared. oracle: the method that knows what is noise, where the study has one. started: ISO 8601, UTC.
    seconds: what the start that wrote it took, which may have had trainings from the cache. file, overrides: the
    request, as a person gave it; a result of before has none. comparisons, retained, gaps and slices are made of the
    cells' ranks (`tasks.reporting.analysis.analysed`).
    """

    name: str
    question: str
    reference: str | Setting
    spec: dict[str, Any]
    axes: dict[str, tuple[AxisValue, ...]]
    code: dict[str, Any]
    execution: dict[str, Any]
    started: str
    seconds: float
    datasets: tuple[Dataset, ...]
    cells: tuple[CellResult, ...]
    comparisons: tuple[Comparison, ...] = ()
    oracle: str | None = None
    retained: tuple[Retained, ...] = ()
    gaps: tuple[Gaps, ...] = ()
    slices: tuple[SlicedMetric, ...] = ()
    detection: tuple[Detection, ...] = ()
    file: str | None = None
    overrides: tuple[str, ...] = ()

    def to_hand_on(self) -> "StudyResult":
        """The result less the points of its curves, most of its size, and less where things lie on this machine."""
        return replace(
            self,
            file=Path(self.file).name if self.file and Path(self.file).is_absolute() else self.file,
            datasets=tuple(replace(dataset, docs=None) for dataset in self.datasets),
            cells=tuple(replace(cell, history=(), figures=cell.figures.without_curves()) for cell in self.cells),
            detection=tuple(replace(one, false_positive_rates=(), true_positive_rates=()) for one in self.detection),
        )

    def to_json(self, *, indent: int | None = 1) -> str:
        """The text of `study.json`, the same for the same result; numbers that are not finite become null."""
        return json.dumps(finite(asdict(self)), ensure_ascii=False, indent=indent, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "StudyResult":
        """The result that `to_json` wrote. Raises pydantic's `ValidationError` for another text."""
        from pydantic import TypeAdapter

        return TypeAdapter(cls).validate_json(text)


def finite(value: Any) -> Any:
    """A value as strict JSON can hold it: numbers that are not finite become None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): finite(held) for name, held in value.items()}
    if isinstance(value, list | tuple):
        return [finite(held) for held in value]
    return value
