"""What came of a study's cells, put together as `tasks.study.result` says it."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain, count
from pathlib import Path
from typing import Any, Protocol, Self

from tasks.data_specs import NO_FILTER
from tasks.detect import Detected, detection_folder
from tasks.dotted import differing
from tasks.errors import InputError, RunFailed
from tasks.evaluate import Evaluated, evaluation_folder
from tasks.execution import Execution
from tasks.gates import gate_layers
from tasks.home import Home
from tasks.locks import locked
from tasks.plan import Cell
from tasks.reporting.analysis import Ranks, analysed, place_of, variant
from tasks.reporting.page import PAGE, TABLES, write_report
from tasks.scratch import publish_over, working_folder
from tasks.snapshots import Snapshot
from tasks.specs import StudyRequest
from tasks.study.expand import Study, StudyCell
from tasks.study.result import CellResult, Dataset, Detection, Epoch, Figures, Noise, SourceFile, StudyResult
from tasks.track import reason
from tasks.train import Trained, training_folder

RESULT_FILE = "study.json"
TUNE_FILE = "tune.json"
RESULTS = {RESULT_FILE: "study", TUNE_FILE: "search"}
"""What lies under a name, and what left it there."""

FILES = (RESULT_FILE, PAGE, TABLES)
"""What a study's folder may hold."""

TOLD_ALONE = ("question", "execution")
"""What may be other in two results of the same settings: what it is said to be asked for, and how it was run."""

ORACLE = "oracle"
"""The method that knows what is noise, where a study has one of that name."""


class Told(Protocol):
    """A result of a study or of a search."""

    @property
    def name(self) -> str: ...

    @property
    def spec(self) -> dict[str, Any]: ...

    @property
    def started(self) -> str: ...

    @classmethod
    def from_json(cls, text: str) -> Self: ...


@dataclass(frozen=True)
class Ended:
    """How cells ended, by their numbers in the study. `runs` are their MLflow runs."""

    cells: Mapping[int, Cell]
    runs: Mapping[int, str]
    metrics: Mapping[int, Mapping[str, float]]
    failures: Mapping[int, Exception]


@dataclass(frozen=True)
class Earlier:
    """A result of other settings that had a name before: where it is kept, and which settings those are."""

    folder: Path
    settings: tuple[str, ...]

    def __str__(self) -> str:
        others = ", ".join(self.settings)
        return f"the earlier result of this name, of other settings ({others}), is kept in {self.folder}"


@dataclass(frozen=True)
class Published:
    """A study's folder, the result in it, why it has no report where it has none, and what had its place before."""

    folder: Path
    result: StudyResult
    failure: Exception | None
    earlier: Earlier | None


def result_of(
    study: Study,
    ended: Ended,
    *,
    request: StudyRequest,
    docs: Mapping[str, str],
    code: Mapping[str, str],
    execution: Execution,
    started: str,
    seconds: float,
    home: Home,
) -> StudyResult:
    """The result before it is analysed. `docs` gives the pages of a snapshot's checks, by its digest."""
    methods = {cell.spec.method for cell in study.cells}
    result = StudyResult(
        name=study.spec.name,
        question=study.spec.question,
        reference=study.spec.reference,
        spec=study.spec.model_dump(mode="json"),
        axes={axis: tuple(values) for axis, values in study.axes.items()},
        code=dict(code),
        execution=execution.to_dict(),
        started=started,
        seconds=seconds,
        datasets=datasets_of(ended.cells.values(), docs),
        cells=tuple(_cell_result(cell, number, ended, home) for number, cell in enumerate(study.cells)),
        oracle=ORACLE if ORACLE in methods else None,
        file=request.file,
        overrides=request.shown,
    )
    return replace(result, detection=tuple(_detection(result, ended, home)))


def study_folder(name: str, *, home: Home) -> Path:
    """Where the result of the study of that name is kept."""
    return home.root / "studies" / name


def refuse_taken(name: str, writes: str, *, home: Home) -> None:
    """Raise `InputError` where what is called so would replace something of another kind: `writes` is its file."""
    for file, what in RESULTS.items():
        if file != writes and (study_folder(name, home=home) / file).exists():
            raise InputError(
                f"{study_folder(name, home=home)} holds the result of a {what}, which a {RESULTS[writes]} of that name "
                "would replace: --set name=… gives another name"
            )


def publish_result(result: StudyResult, ranks: Ranks, *, home: Home) -> Published:
    """Analyse the result and write it and its report under a temporary name, then put them in the place of earlier
    ones, as `publish_folder` does. What the trainings came to is kept whatever becomes of the analysis and the report:
    a failure of theirs is given back, and the page of an earlier result goes.
    """
    failures: list[Exception] = []
    told = [result]

    def report(folder: Path) -> None:
        told.append(analysed(result, ranks))
        write_report(told[-1], None, folder)

    def write(folder: Path) -> None:
        failures.extend(attempted(lambda: report(folder), folder))
        (folder / RESULT_FILE).write_text(told[-1].to_json(), encoding="utf-8")

    folder, earlier = publish_folder(result, RESULT_FILE, write, home=home)
    return Published(folder, told[-1], failures[0] if failures else None, earlier)


def attempted(report: Callable[[], object], folder: Path) -> tuple[Exception, ...]:
    """Let `report` fill an empty folder; where it fails, its failure, and the folder is empty again."""
    try:
        report()
    except Exception as failure:
        shutil.rmtree(folder)
        folder.mkdir()
        return (failure,)
    return ()


def publish_folder(
    result: Told, file: str, write: Callable[[Path], None], *, home: Home
) -> tuple[Path, Earlier | None]:
    """Let `write` fill an empty folder, also with the result's `file`, then put it in the place of an earlier one of
    its name. That goes where it told of the same settings, and is kept beside where it told of others. Where the folder
    is then, and the earlier one that was kept.
    """
    final = study_folder(result.name, home=home)
    with working_folder(final.parent) as work:
        content = work / "content"
        content.mkdir()
        write(content)
        with locked(final.parent):
            earlier = of_other_settings(type(result), result.spec, final / file)
            if earlier is not None:
                final.rename(earlier.folder)
        publish_over(content, final)
    return final, earlier


def of_other_settings(kind: type[Told], spec: Mapping[str, Any], held: Path) -> Earlier | None:
    """The result in the file `held`, with the place where it is kept once there is one of `spec`, named by when it
    began; None where it told of the same settings, and where there is none of this kind that can be read.
    """
    try:
        earlier = kind.from_json(held.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    others = tuple(differing(_settings(spec), _settings(earlier.spec)))
    if not others:
        return None
    name = f"{held.parent.name}@{datetime.fromisoformat(earlier.started):%Y-%m-%dT%H-%M-%S}"
    names = chain([name], (f"{name}-{number}" for number in count(2)))
    return Earlier(next(path for path in map(held.parent.with_name, names) if not path.exists()), others)


def unreported(name: str, failure: Exception, *, kept: Path) -> RunFailed:
    """What a study or a search ends with whose report could not be made; `kept` is the file of its result."""
    return RunFailed(
        f"the report of {name} could not be made ({reason(failure)}); every training is recorded, and what came of "
        f"them is in {kept}"
    )


def read_result(name: str, *, home: Home) -> StudyResult | None:
    """The result of the study of that name, where there is one."""
    path = study_folder(name, home=home) / RESULT_FILE
    return StudyResult.from_json(path.read_text(encoding="utf-8")) if path.exists() else None


def datasets_of(cells: Iterable[Cell], docs: Mapping[str, str]) -> tuple[Dataset, ...]:
    """Every snapshot of the cells, the clean ones first under each name."""
    found: dict[tuple[str, str], Dataset] = {}
    for cell in cells:
        spec = cell.spec.noise
        noise = Noise(spec.kind, spec.ratio, spec.where, spec.seed) if spec.ratio else None
        for snapshot in (cell.clean, cell.snapshot, cell.histories):
            injected = noise if snapshot.manifest.has_injected_noise else None
            key = (cell.dataset, snapshot.digest)
            found.setdefault(key, _dataset(cell.dataset, snapshot, cell.clean, injected, docs.get(snapshot.digest)))
    return tuple(found.values())


def _settings(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked, less what makes no other result of it."""
    return {name: value for name, value in spec.items() if name not in TOLD_ALONE}


def _dataset(name: str, snapshot: Snapshot, clean: Snapshot, noise: Noise | None, docs: str | None) -> Dataset:
    manifest = snapshot.manifest
    return Dataset(
        name=name,
        digest=snapshot.digest,
        clean=clean.digest,
        counts=snapshot.counts.model_dump(),
        sources=tuple(SourceFile(file.name, file.bytes, file.sha256) for file in manifest.sources),
        noise=noise,
        docs=docs,
        taken_out=manifest.spec.get("corrupt", {}).get("taken_out", False),
        filter=manifest.spec.get("filter", {}),
    )


def _cell_result(cell: StudyCell, number: int, ended: Ended, home: Home) -> CellResult:
    spec, planned = cell.spec, ended.cells.get(number)
    failure = ended.failures.get(number)
    trained = {} if planned is None or failure is not None else _trained(planned, home)
    ranks = None if planned is None or failure is not None else _ranks(planned, home)
    noise = spec.noise
    return CellResult(
        axes=dict(cell.axes),
        label=cell.label,
        dataset=spec.dataset,
        method=spec.method,
        noise=Noise(noise.kind, noise.ratio, noise.where, noise.seed) if noise.ratio else None,
        model=spec.model.effective(),
        training=spec.training.to_dict(),
        seed=spec.seed,
        status="done" if failure is None else "failed",
        failure=None if failure is None else reason(failure),
        snapshot=planned.snapshot.digest if planned else None,
        histories=planned.histories.digest if planned else None,
        train_key=planned.train_key if planned else None,
        evaluate_key=planned.evaluate_key if planned else None,
        ranks=ranks,
        mlflow_run=ended.runs.get(number),
        figures=Figures(
            **{name: trained.get(name) for name in ("best_epoch", "epochs", "seconds", "parameters",
                                                    "peak_memory_bytes")},
            gate=gate_layers(_training(planned, home)) if trained and planned else (),
            collapsed=trained.get("collapsed", False),
        ),
        history=tuple(Epoch(each["epoch"], each["metrics"]) for each in trained.get("history", ())),
        metrics=dict(ended.metrics.get(number, {})),
        taken_out=noise.taken_out,
        filter={} if spec.filter.by == NO_FILTER else spec.filter.model_dump(),
    )  # fmt: skip


def _detection(result: StudyResult, ended: Ended, home: Home) -> Iterator[Detection]:
    """What every finished cell's detectors say, where there are labels to measure them by; of cells that share a
    training at one place, the first.
    """
    known = set()
    for number, cell in enumerate(result.cells):
        planned = ended.cells.get(number)
        if planned is None or planned.detect_key is None or cell.status != "done":
            continue
        place, method = place_of(cell, result), variant(cell, result)
        if (repr(place), method, planned.detect_key) in known:
            continue
        known.add((repr(place), method, planned.detect_key))
        for verdict in Detected(detection_folder(planned.detect_key, home=home)).verdicts:
            yield Detection.of(verdict, place=place, method=method, seed=cell.seed)


def _trained(cell: Cell, home: Home) -> dict[str, Any]:
    return _training(cell, home).result()


def _training(cell: Cell, home: Home) -> Trained:
    return Trained(training_folder(cell.train_key, home=home))


def _ranks(cell: Cell, home: Home) -> str:
    path = Evaluated(evaluation_folder(cell.evaluate_key, home=home)).ranks
    return path.relative_to(home.root).as_posix()
