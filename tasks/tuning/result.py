"""What came of a search, as `tune.json` holds it."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from tasks.study.result import Dataset, Figures, finite


@dataclass(frozen=True)
class TrialCell:
    """A training of a trial. metrics: of validation, at the epoch whose weights were chosen."""

    seed: int
    status: Literal["done", "failed"]
    failure: str | None
    metrics: dict[str, float]
    figures: Figures
    train_key: str
    mlflow_run: str


@dataclass(frozen=True)
class TrialResult:
    """Settings of a method and what they gave: the mean of the metric over the seeds, None where a training failed.
    Number 0 is the method as it comes.
    """

    method: str
    number: int
    settings: dict[str, Any]
    value: float | None
    cells: tuple[TrialCell, ...]


@dataclass(frozen=True)
class MethodResult:
    """A searched method. space: in words, by setting; scales: the settings that were searched on a logarithmic scale;
    best: the number of its best trial, None where all failed; exhausted: its space held no more trials.
    """

    name: str
    space: dict[str, str]
    scales: tuple[str, ...]
    best: int | None
    exhausted: bool


@dataclass(frozen=True)
class TuneResult:
    """A search's outcome. drawn_by: the library that drew, with its version. study: the file, beside this one, of the
    study that compares the methods at their best settings; None where there is nothing to compare. file, overrides: the
    request, as a person gave it; a result of before has none.
    """

    name: str
    question: str
    metric: str
    spec: dict[str, Any]
    notes: tuple[str, ...]
    code: dict[str, Any]
    execution: dict[str, Any]
    drawn_by: str
    started: str
    seconds: float
    datasets: tuple[Dataset, ...]
    methods: tuple[MethodResult, ...]
    trials: tuple[TrialResult, ...]
    study: str | None
    file: str | None = None
    overrides: tuple[str, ...] = ()

    def of(self, method: str) -> tuple[TrialResult, ...]:
        """The trials of a method, in their order."""
        return tuple(trial for trial in self.trials if trial.method == method)

    def best(self, method: MethodResult) -> TrialResult | None:
        """The method's best trial."""
        return next((trial for trial in self.of(method.name) if trial.number == method.best), None)

    def to_hand_on(self) -> "TuneResult":
        """The result less where things lie on this machine."""
        return replace(
            self,
            file=Path(self.file).name if self.file and Path(self.file).is_absolute() else self.file,
            datasets=tuple(replace(dataset, docs=None) for dataset in self.datasets),
        )

    def to_json(self) -> str:
        """The text of `tune.json`, the same for the same result; numbers that are not finite become null."""
        return json.dumps(finite(asdict(self)), ensure_ascii=False, indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "TuneResult":
        """The result that `to_json` wrote. Raises pydantic's `ValidationError` for another text."""
        from pydantic import TypeAdapter

        return TypeAdapter(cls).validate_json(text)


def best_of(trials: tuple[TrialResult, ...]) -> int | None:
    """The number of the trial with the highest value, of equal ones the first."""
    known = [trial for trial in trials if trial.value is not None]
    return max(known, key=lambda trial: (trial.value or 0.0, -trial.number)).number if known else None
