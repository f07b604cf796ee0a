"""The trainings of a job, with the keys of their steps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.config import ModelConfig
from tasks.execution import Execution
from tasks.keys import step_key
from tasks.snapshots import Snapshot
from tasks.specs import RobustnessSpec

TRAIN_CODE = ("tasks.train", "models.__main__")
EVALUATE_CODE = ("tasks.evaluate", "models.__main__")


@dataclass(frozen=True)
class Cell:
    """One training and its evaluation. The keys cover all that can change a figure."""

    method: str
    model: ModelConfig
    ratio: float
    seed: int
    snapshot: Snapshot
    clean: Snapshot
    train_key: str
    evaluate_key: str

    @property
    def label(self) -> str:
        return f"{self.method}, noise {self.ratio:.0%}, seed {self.seed}"


def plan(
    spec: RobustnessSpec, clean: Snapshot, noisy: Mapping[float, Snapshot], execution: Execution
) -> tuple[Cell, ...]:
    """Every method × ratio × seed. `noisy` gives the snapshot of each ratio."""
    return tuple(
        _cell(spec, method.name, method.model, ratio, seed, noisy[ratio], clean, execution)
        for ratio in spec.noise.ratios
        for seed in spec.seeds
        for method in spec.methods
    )


def parameters(spec: RobustnessSpec, cell: Cell) -> dict[str, Any]:
    """A cell's settings as flat MLflow parameters: filter by `params.noise_ratio = '0.2'`."""
    return {
        "dataset": spec.dataset,
        "method": cell.method,
        "noise_kind": spec.noise.kind,
        "noise_ratio": cell.ratio,
        "noise_seed": spec.noise.seed,
        "seed": cell.seed,
        "evaluation_seed": spec.evaluation_seed,
        "snapshot": cell.snapshot.name,
        **{f"model.{name}": value for name, value in cell.model.to_dict().items()},
        **{f"training.{name}": value for name, value in spec.training.to_dict().items()},
    }


def _cell(
    spec: RobustnessSpec,
    method: str,
    model: ModelConfig,
    ratio: float,
    seed: int,
    snapshot: Snapshot,
    clean: Snapshot,
    execution: Execution,
) -> Cell:
    train_key = step_key(
        TRAIN_CODE,
        {
            "snapshot": snapshot.digest,
            "clean": clean.digest,
            "model": model.to_dict(),
            "training": spec.training.to_dict(),
            "seed": seed,
            "evaluation_seed": spec.evaluation_seed,
            "execution": execution.to_dict(),
        },
    )
    evaluate_key = step_key(EVALUATE_CODE, {"training": train_key, "evaluation_seed": spec.evaluation_seed})
    return Cell(method, model, ratio, seed, snapshot, clean, train_key, evaluate_key)
