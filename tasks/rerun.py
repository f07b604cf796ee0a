"""A run made again from what MLflow holds of it, and whether the same came out."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from models.engine.metrics import PROTOCOLS
from tasks.data_specs import SourceSpec
from tasks.errors import InputError
from tasks.execution import Execution
from tasks.job import final_figures
from tasks.machine import resolve
from tasks.plan import Cell
from tasks.provenance import Changes, Provenance, SnapshotRecord, code_changes, machine_changes, package_changes
from tasks.runs import SHOWN, HeldRun
from tasks.snapshots import Snapshot, snapshot_name
from tasks.sources.addresses import scheme_of
from tasks.sources.logs import Log
from tasks.sources.shelved import is_shelved
from tasks.sources.source import matching
from tasks.specs import ExecutionSpec

if TYPE_CHECKING:
    import pandas as pd

UNREPEATED = ("training.seconds", "time.", "system/")
"""What names of figures begin with that are of the machine's hour and not of the model."""

LONGER = 3.0
MINUTE = 60.0


@dataclass(frozen=True)
class Figure:
    """A metric as the run holds it and as it came out again; None where one of them has none. `unknown`: where they are
    of two versions of the project, the one of them that does not know it.
    """

    name: str
    before: float | None
    after: float | None
    unknown: Literal["then", "now"] | None = None

    @property
    def identical(self) -> bool:
        return self.before == self.after

    @property
    def differs(self) -> bool:
        return not self.identical and self.unknown is None


@dataclass(frozen=True)
class Again:
    """What came out. `ranks_differ`: of how many of the `targets` any rank differs, None where they are not the same
    targets.
    """

    figures: tuple[Figure, ...]
    targets: int
    ranks_differ: int | None

    @property
    def identical(self) -> bool:
        return self.ranks_differ == 0 and not any(figure.differs for figure in self.figures)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"identical": self.identical}


def execution_like(held: Provenance) -> Execution:
    """The execution record of the run, as far as this machine can: its threads, and a GPU where it had one and one is
    here; compiled where it was, and in its precision where that is one of this machine's. It is trained alone.
    """
    on_gpu = held.execution["device"] == "cuda"
    here = resolve(ExecutionSpec(device="auto" if on_gpu else "cpu", threads=held.execution["threads"], stacked=1))
    precision = held.execution["precision"]
    return replace(
        here,
        compiled=held.execution.get("compiled", False),
        precision=here.precision if precision == "tf32" and here.device == "cpu" else precision,
    )


def time_limit(held: HeldRun) -> float:
    """Minutes: the usual limit, or more where the training had more."""
    return max(ExecutionSpec().time_limit_minutes, LONGER * held.metrics.get("training.seconds", 0.0) / MINUTE)


def source_of(held: HeldRun) -> SourceSpec:
    """The run's source, its path relative to where the run was started."""
    source = held.spec.source
    if source.path is None or scheme_of(source.path) is not None:
        return source
    beside = Path(held.provenance.folder) / Path(source.path).expanduser()
    return source.model_copy(update={"path": str(beside)}) if any(_there(beside)) else source


def refuse_shelved(source: SourceSpec, held: HeldRun) -> None:
    """Raises `InputError` where the run's source is the snapshot that is gone, so that no log makes it again."""
    if is_shelved(source):
        raise InputError(
            f"the run {held.run_id[:SHOWN]} was given the snapshot {snapshot_name(held.provenance.clean.digest)} in "
            "the place of a log, and it is gone: bring it back"
        )


def check_source(log: Log, held: HeldRun) -> None:
    """Raises `InputError` where the log's files are not those that the run's snapshot was made of."""
    expected = [file.sha256 for file in held.provenance.clean.sources]
    if [file.sha256 for file in log.files] != expected:
        names = ", ".join(str(file.path) for file in log.files)
        raise InputError(
            f"the snapshot {snapshot_name(held.provenance.clean.digest)} of the run {held.run_id[:SHOWN]} is gone, and "
            f"{names} is not what it was made of any more (another SHA-256): bring the old file or the snapshot back"
        )


def check_snapshot(snapshot: Snapshot, record: SnapshotRecord, *, what: str) -> None:
    """Raises `InputError` where a snapshot that was made again says something else than the run's."""
    if snapshot.digest != record.digest:
        raise InputError(
            f"{what} was made again as {snapshot.name}, and the run's was {snapshot_name(record.digest)}: the code "
            "that prepares logs has changed since; use the version of the project that the run names"
        )


def warnings(before: Provenance, after: Provenance) -> tuple[str, ...]:
    """Where code, packages or machine differ, a sentence each."""
    return tuple(_warnings(before, after))


def is_expected_identical(before: Provenance, after: Provenance) -> bool:
    """Do the keys of the steps agree, and is it a CPU? Then every bit should."""
    same = (before.train_key, before.evaluate_key) == (after.train_key, after.evaluate_key)
    if before.detect_key is not None:
        same = same and before.detect_key == after.detect_key
    return same and after.execution["device"] == "cpu"


def came_out(
    held: HeldRun,
    now: Provenance,
    result: Mapping[str, Any],
    metrics: Mapping[str, float],
    before: "pd.DataFrame",
    after: "pd.DataFrame",
) -> Again:
    """What came out again, beside what the run holds. `now` says by what code it did, `result` is `result.json` of the
    new training, `metrics` those of its ranks `after`, its gate and, where the run has some, its noise detection;
    `before` are the run's ranks.

    Settings and data are the run's. So what one of the two has alone is a difference where the code is the same, and
    elsewhere a figure that the other version does not know.
    """
    other_version = bool(code_changes(held.provenance, now))
    last = {name: value for record in result["history"] for name, value in record["metrics"].items()}
    again = last | final_figures(result, metrics)
    figures = tuple(
        _figure(name, held.metrics.get(name), again.get(name), other_version=other_version)
        for name in sorted(held.metrics.keys() | again.keys())
        if not name.startswith(UNREPEATED)
    )
    keys, columns = ["target", "split", "user", "item"], [f"rank_{name}" for name in PROTOCOLS]
    if not before[keys].equals(after[keys]):
        return Again(figures, len(after), None)
    differ = (before[columns].to_numpy() != after[columns].to_numpy()).any(axis=1)
    return Again(figures, len(after), int(differ.sum()))


def check_data(cell: Cell, held: HeldRun) -> None:
    """Raises `InputError` where the cell is not on the run's snapshots."""
    check_snapshot(cell.snapshot, held.provenance.trained_on, what="what is trained on")
    check_snapshot(cell.histories, held.provenance.histories, what="the histories that are ranked with")


def _figure(name: str, before: float | None, after: float | None, *, other_version: bool) -> Figure:
    if not other_version or (before is None) == (after is None):
        return Figure(name, before, after)
    return Figure(name, before, after, unknown="then" if before is None else "now")


def _there(path: Path) -> Iterator[Path]:
    """The file, or those that the pattern stands for."""
    yield from (path,) if path.exists() else matching(path)


def _warnings(before: Provenance, after: Provenance) -> Iterator[str]:
    code = code_changes(before, after)
    for name, (was, now) in code.items():
        yield f"code: {_CODE.get(name, name)}: {_short(was)}, now {_short(now)}"
    if code and not {"train", "evaluate"} & code.keys():
        yield "code: what a training and a ranking run is the same all the same"
    for kind, found in (("package", package_changes(before, after)), ("machine", machine_changes(before, after))):
        yield from _said(kind, found)


_CODE = {
    "train": "what a training runs has changed",
    "evaluate": "what a ranking runs has changed",
    "detect": "what a noise detection runs has changed",
    "rec_denoiser.code": "commit",
    "mlflow.source.git.commit": "commit without changes",
    "rec_denoiser.lock_sha256": "requirements.lock",
}


def _said(kind: str, found: Changes) -> Iterator[str]:
    for name, (was, now) in found.items():
        yield f"{kind}: {name}: {_known(was)}, now {_known(now)}"


def _known(value: Any) -> str:
    return "none" if value is None else str(value)


def _short(digest: str | None) -> str:
    if digest is None:
        return "not known"
    commit, plus, rest = digest.partition("+")
    return f"{commit[:12]}{plus}{rest}"
