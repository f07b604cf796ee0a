"""The cells of a job, with the keys of their steps."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from models.config import ModelConfig, TrainingConfig
from tasks.data_specs import CorruptSpec, PrepareSpec
from tasks.digests import canonical_json
from tasks.dotted import flat
from tasks.errors import InputError
from tasks.execution import Execution
from tasks.keys import code_digest, step_key
from tasks.snapshots import Snapshot
from tasks.sources.logs import Log, identity
from tasks.sources.shelved import as_made
from tasks.specs import CellSpec, InjectedNoise, effective_filter

TRAIN_CODE = ("tasks.train", "models.__main__")
GROUP_CODE = (*TRAIN_CODE, "models.group")
EVALUATE_CODE = ("tasks.evaluate", "models.__main__")
DETECT_CODE = ("tasks.detect", "models.detect")


@dataclass(frozen=True)
class Data:
    """What a cell's log became.

    clean: without injected noise and unfiltered, whose protocol counts; trained_on, and histories, whose histories are
    ranked with (None for those of what is trained on): each with the noise that the cell has there, less what its
    filter leaves out.
    """

    clean: Snapshot
    trained_on: Snapshot
    histories: Snapshot | None = None


@dataclass(frozen=True)
class Cell:
    """One training and its evaluation. The keys cover all that can change a figure.

    snapshot: trained on; histories: whose histories the targets are ranked with; clean: without injected noise and
    unfiltered, whose protocol counts. Cells with the same `train_key` share a training, with the same `evaluate_key` a
    ranking. stacked: with at most so many others of its `kind`, itself among them, it is trained as one stacked model.
    compiled: its training's steps are.
    """

    spec: CellSpec
    label: str
    snapshot: Snapshot
    histories: Snapshot
    clean: Snapshot
    train_key: str
    stacked: int = 1
    compiled: bool = False

    @property
    def kind(self) -> str:
        """What the cells of one stacked model have in common."""
        settings = {"model": self.model.effective(), "training": self.training.to_dict()}
        return canonical_json(settings | {"clean": self.clean.digest})

    @property
    def dataset(self) -> str:
        return self.spec.dataset

    @property
    def method(self) -> str:
        return self.spec.method

    @property
    def model(self) -> ModelConfig:
        return self.spec.model

    @property
    def training(self) -> TrainingConfig:
        return self.spec.training

    @property
    def epochs(self) -> int:
        """So many at most."""
        return self.training.of(self.model).epochs

    @property
    def ratio(self) -> float:
        return self.spec.noise.ratio

    @property
    def seed(self) -> int:
        return self.spec.seed

    @property
    def evaluation_seed(self) -> int:
        return self.spec.evaluation_seed

    @property
    def evaluate_key(self) -> str:
        inputs = {
            "training": self.train_key,
            "histories": self.histories.digest,
            "clean": self.clean.digest,
            "evaluation_seed": self.evaluation_seed,
        }
        return step_key(EVALUATE_CODE, inputs)

    @property
    def detect_key(self) -> str | None:
        """Of the step that measures how well noise is told in what was trained on; None where none of that is labelled
        as noise, or all of it is. Ranking takes no part in it: cells with the same `train_key` share it.
        """
        counts = self.snapshot.counts
        if not 0 < counts.noisy < counts.training:
            return None
        return step_key(DETECT_CODE, {"training": self.train_key, "snapshot": self.snapshot.digest})

    @property
    def on_clean_histories(self) -> "Cell":
        """The same training, ranked with the histories of the log as it was: this cell where it ranks with those."""
        if self.histories.digest == self.clean.digest:
            return self
        return replace(self, histories=self.clean, label=f"{self.label}, clean histories")


def plan(specs: Iterable[CellSpec], data: Callable[[CellSpec], Data], execution: Execution) -> tuple[Cell, ...]:
    """A cell for each spec, on the snapshots that `data` gives of it."""
    return tuple(cell_of(spec, data(spec), execution) for spec in specs)


def refuse_untimed(spec: CellSpec, clean: Snapshot) -> None:
    """Raise `InputError` where a cell's method reads the times of events, and its log has none."""
    if spec.model.needs_times and not clean.manifest.has_times:
        raise InputError(
            f"the method {spec.method} reads the times of events, which the log does not have: name their column "
            "(--time-col, or columns: {time: …} of a study's source), or leave the method out"
        )


def corruptions(noise: InjectedNoise) -> tuple[CorruptSpec, CorruptSpec]:
    """Of the log that is trained on, and of the one whose histories are ranked with: at ratio 0 where `noise.where` is
    the other.
    """
    spared = CorruptSpec()
    put_in = noise.corruption if noise.ratio else spared
    return spared if noise.where == "histories" else put_in, spared if noise.where == "training" else put_in


def cell_of(spec: CellSpec, data: Data, execution: Execution, *, label: str | None = None) -> Cell:
    """The cell of a spec; `label` is the spec's own where none is given."""
    execution = _own(execution, spec, items=data.trained_on.counts.items)
    train_key = step_key(
        TRAIN_CODE if execution.stacked == 1 else GROUP_CODE,
        {
            "snapshot": data.trained_on.digest,
            "clean": data.clean.digest,
            "model": spec.model.effective(),
            "training": spec.training.to_dict(),
            "seed": spec.seed,
            "evaluation_seed": spec.evaluation_seed,
            "execution": execution.to_dict(),
        },
    )
    return Cell(
        spec=spec,
        label=spec.label if label is None else label,
        snapshot=data.trained_on,
        histories=data.trained_on if data.histories is None else data.histories,
        clean=data.clean,
        train_key=train_key,
        stacked=execution.stacked,
        compiled=execution.compiled,
    )


def _own(execution: Execution, spec: CellSpec, *, items: int) -> Execution:
    """How a cell's training runs, which may be one that cannot be stacked or compiled."""
    whole = not spec.training.touches_rows(items, possible=not spec.model.reads_whole_table)
    return replace(
        execution,
        stacked=execution.stacked if whole and spec.model.can_be_stacked else 1,
        compiled=execution.compiled and whole and spec.model.can_be_compiled(execution.device),
    )


def parameters(cell: Cell) -> dict[str, Any]:
    """A cell's settings as flat MLflow parameters: filter by `params.noise_ratio = '0.2'`. Of the model's, those that
    it reads.
    """
    noise = cell.spec.noise
    _, prepared = as_made(cell.spec, cell.clean)
    prepare = prepared.model_dump(mode="json")
    return {
        "dataset": cell.dataset,
        "method": cell.method,
        "noise_kind": noise.kind_put_in,
        "noise_where": noise.where,
        "noise_ratio": noise.ratio,
        "noise_seed": noise.seed,
        "noise_taken_out": noise.taken_out,
        **{f"filter.{name}": value for name, value in effective_filter(cell.spec.filter).items()},
        "seed": cell.seed,
        "evaluation_seed": cell.evaluation_seed,
        "snapshot": cell.snapshot.name,
        "histories": cell.histories.name,
        **{name: "none" if value is None else value for name, value in flat({"prepare": prepare})},
        **{f"model.{name}": value for name, value in cell.model.effective().items()},
        **{f"training.{name}": value for name, value in cell.training.to_dict().items()},
    }


def ingest_key(log: Log, prepare: PrepareSpec) -> str:
    """The key of the step that makes a log's snapshot."""
    return step_key(("tasks.ingest",), identity(log) | {"prepare": prepare.model_dump(mode="json")})


def corrupt_key(clean: Snapshot, corruption: CorruptSpec) -> str:
    """The key of the step that corrupts a snapshot."""
    return step_key(("tasks.corrupt",), {"snapshot": clean.digest, "corrupt": corruption.model_dump(mode="json")})


def training_code() -> str:
    """The digest of the code that a training runs, which is part of its key."""
    return code_digest(TRAIN_CODE)
