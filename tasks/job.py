"""A job in MLflow, the main one or a study: a parent run, a child a cell, and what each of them holds."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from models.config import FULL_PRECISION
from models.engine.metrics import SELECTION_METRIC
from tasks import compare, report
from tasks.detect import Detected
from tasks.digests import canonical_json
from tasks.errors import InputError, RunFailed
from tasks.evaluate import Evaluated
from tasks.execution import Execution
from tasks.filter import filter_metrics
from tasks.gates import gate_csv, gate_layers, gate_metrics
from tasks.home import Home
from tasks.leases import Lease, sole_holder
from tasks.plan import Cell, parameters
from tasks.provenance import provenance
from tasks.register import Registered
from tasks.snapshots import Snapshot
from tasks.specs import RobustnessSpec
from tasks.track import CHOSEN, TAG_NOTE, TAG_PREFECT, DatasetNote, Tracker, job_key, reason
from tasks.train import RESULT_FILE, Trained
from tasks.watching import SYSTEM_FILE, samples_in
from tasks.wording import counted

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel

TRAINING_FIGURES = ("best_epoch", "epochs", "seconds", "parameters")
PROMOTION_METRIC = SELECTION_METRIC.replace("validation", "promotion")
DETECTION = "detection/"
"""The folder of a run's artifacts about noise detection."""

LONGEST_TOLD = 5000
"""How many characters of a tag are kept: as many as any MLflow server takes."""


@dataclass(frozen=True)
class Heading:
    """What a job says of itself in MLflow. `study` is the tag that its runs are found by, `name` that of the parent
    run, `note` what is told of it in Markdown, `spec` is JSON; jobs of one `identity` and the same cells are the same
    job.
    """

    study: str
    name: str
    note: str
    spec: str
    identity: tuple[str, ...] = ()

    @classmethod
    def of(cls, spec: RobustnessSpec) -> "Heading":
        """That of the main job."""
        worst = max(spec.noise.ratios)
        noise = f"noise up to {spec.noise.described(worst)}" if worst else "no noise"
        note = (
            f"How {', '.join(method.name for method in spec.methods)} does on {spec.dataset} with {noise}: "
            "the table is in `comparison.md`; the best on validation is registered."
        )
        name = f"{spec.dataset}: {counted(len(spec.methods), 'method')}, {noise}"
        return cls(study="robustness", name=name, note=note, spec=spec.model_dump_json(indent=1))


@dataclass(frozen=True)
class Job:
    """An open job: the parent's run id and each cell's, in the order of the cells, and the tags of all of them."""

    tracker: Tracker
    cells: tuple[Cell, ...]
    parent: str
    children: tuple[str, ...]
    tags: Mapping[str, str]


@contextmanager
def tracked_job(
    cells: tuple[Cell, ...],
    heading: Heading,
    *,
    execution: Execution,
    flow_run: str,
    held: Lease,
    home: Home,
) -> Iterator[Job]:
    """Open the runs, or take up those of an earlier start of the same job; no run is left open at the end.

    `flow_run` is the id of the Prefect flow run. Raises `InputError` where another process is at the same job.
    """
    key = job_key([*heading.identity, *map(_run_key, cells)])
    with sole_holder(key, home=home):
        tracker = Tracker(home)
        tags = {TAG_PREFECT: flow_run, "study": heading.study}
        datasets = ", ".join(dict.fromkeys(cell.dataset for cell in cells))
        parent = tracker.open_run(key, name=heading.name, tags={**tags, "dataset": datasets, TAG_NOTE: heading.note})
        held.note(mlflow_run=parent)
        with tracker.closing(parent):
            children = tuple(_open_child(tracker, cell, parent, tags, execution) for cell in cells)
            if not tracker.is_finished(parent):
                by_log = {cell.clean.digest: cell for cell in cells}.values()
                tracker.log_datasets(parent, *(_note(cell, cell.clean, context="clean") for cell in by_log))
                tracker.log_text(parent, {"spec.json": heading.spec})
            yield Job(tracker, cells, parent, children, tags)


def with_cells(job: Job, cells: Sequence[Cell], tags: Sequence[Mapping[str, str]], execution: Execution) -> Job:
    """The same job with other cells, whose runs are opened, or taken up again, under its parent with tags of their
    own.
    """
    shared = job.tags
    children = tuple(
        _open_child(job.tracker, cell, job.parent, {**shared, **own}, execution)
        for cell, own in zip(cells, tags, strict=True)
    )
    return replace(job, cells=tuple(cells), children=children)


def record_checks(job: Job, reports: Sequence[Mapping[str, Any]]) -> None:
    """Put what was found of the log and the snapshots into the parent run: each report with its Data Docs as artifacts,
    and as tags how many expectations were not met.
    """
    if job.tracker.is_finished(job.parent):
        return
    for found in reports:
        docs = Path(found["docs"]).parent
        job.tracker.log_folder(job.parent, docs, under=f"checks/{found['suite']}-{docs.name}")
    warnings = [f"{found['subject']}: {warning}" for found in reports for warning in found["warnings"]]
    job.tracker.log_text(job.parent, {"checks/warnings.txt": "".join(f"{line}\n" for line in warnings)})
    expectations = sum(len(found["expectations"]) for found in reports)
    job.tracker.set_tags(job.parent, {"checks.expectations": str(expectations), "checks.warnings": str(len(warnings))})


def record_folder(job: Job, heading: Heading, folder: Path, *, names: Collection[str]) -> None:
    """Put files about the job as a whole into the parent run, in the place of those of an earlier start; `names` are
    those that there may be. What a finished job came to may be told anew, of another question, beside another reference
    or by newer code: its run says the same, and what was asked.
    """
    job.tracker.replace_folder(job.parent, folder, names=names)
    job.tracker.log_text(job.parent, {"spec.json": heading.spec})
    job.tracker.set_tags(job.parent, {TAG_NOTE: heading.note})


def record_headlines(job: Job, figures: Mapping[str, float], tags: Mapping[str, str], *, come_of: Path) -> None:
    """Put into the parent run a few figures of the job as a whole, which come of a file, and what is said of it, as
    `record_folder` does over those of an earlier start.
    """
    job.tracker.log_figures(job.parent, final=figures, timestamp=_moment(come_of))
    job.tracker.set_tags(job.parent, {name: told[:LONGEST_TOLD] for name, told in tags.items()})


def record(
    job: Job, number: int, trained: Trained, evaluated: Evaluated, detected: Detected | None = None
) -> dict[str, float]:
    """Put a finished training's figures and files into its run, and close it; its metrics."""
    cell, run_id, tracker = job.cells[number], job.children[number], job.tracker
    metrics = evaluated.metrics() | told_noise(cell, detected)
    if tracker.is_finished(run_id):
        return metrics
    layers = gate_layers(trained)
    if layers:
        tracker.log_text(run_id, {"gate/keep_by_distance.csv": gate_csv(layers)})
    for path in evaluated.files:
        tracker.log_files(run_id, {"": path})
    ranked_with = _note(cell, cell.histories, context="evaluation")
    figures = metrics | gate_metrics(layers)
    _record_training(job, number, trained, figures, detected, dataset=ranked_with, come_of=evaluated.ranks)
    return metrics


def record_trial(
    job: Job, number: int, trained: Trained, metrics: Mapping[str, float], detected: Detected | None = None
) -> None:
    """Put the figures of a training that is not ranked into its run, and close it. `metrics` are those of validation at
    the epoch that was chosen.
    """
    if job.tracker.is_finished(job.children[number]):
        return
    cell = job.cells[number]
    trained_on = _note(cell, cell.snapshot, context="training")
    figures = {**metrics, **told_noise(cell, detected)}
    result = trained.folder / RESULT_FILE
    _record_training(job, number, trained, figures, detected, dataset=trained_on, come_of=result)


def told_noise(cell: Cell, detected: Detected | None) -> dict[str, float]:
    """How well a cell's model tells the labelled noise that it was trained on, where that was measured, and how well
    the cell's filter told what it left out.
    """
    return ({} if detected is None else detected.metrics()) | filter_metrics(cell.snapshot)


def final_figures(result: Mapping[str, Any], metrics: Mapping[str, float]) -> dict[str, float]:
    """The figures of a training's `result.json` and of its chosen weights, as a run holds them. Validation has curves
    by epoch; its final figures go under a name of their own, so that the curves keep one value an epoch and do not end
    in another figure than they show.
    """
    chosen = {CHOSEN + name if name.startswith("validation.") else name: value for name, value in metrics.items()}
    return chosen | {f"training.{name}": value for name, value in _training_figures(result).items()}


def describe(tracker: Tracker, run_id: str, cell: Cell, execution: Execution) -> None:
    """Put into a run what it takes to make it again: `spec.json`, a `CellSpec`, and `provenance.json`, a
    `tasks.provenance.Provenance`; and its parameters and datasets, by which it is found.
    """
    tracker.log_params(run_id, parameters(cell))
    trained_on = _note(cell, cell.snapshot, context="training")
    ranked_with = _note(cell, cell.histories, context="evaluation")
    tracker.log_datasets(run_id, trained_on, *([ranked_with] if ranked_with.digest != trained_on.digest else ()))
    made_from = provenance(cell, execution, code=tracker.code)
    tracker.log_text(
        run_id,
        {"spec.json": cell.spec.model_dump_json(indent=1), "provenance.json": made_from.model_dump_json(indent=1)},
    )


def cell_tags(cell: Cell) -> dict[str, str]:
    """What runs of a cell are grouped by, beside the study."""
    return {"dataset": cell.dataset, "method": cell.method, "noise_kind": cell.spec.noise.kind_put_in}


def record_failure(job: Job, number: int, failure: Exception) -> None:
    """Close the run of a training that failed, or whose ranking did, and have it say why; one that had finished before
    stays as it is.
    """
    if not job.tracker.is_finished(job.children[number]):
        job.tracker.close_run(job.children[number], "FAILED", failure=reason(failure))


def failure_of(labels: Sequence[str], failures: Mapping[int, Exception]) -> Exception:
    """What a job ends with, some of whose cells failed (by number): a sentence that names them. Where all failed for
    input that cannot be used, that is what is wrong with the job. `labels` are those of all cells.
    """
    first = next(iter(failures.values()))
    if len(failures) == len(labels) and all(isinstance(failure, InputError) for failure in failures.values()):
        return first
    by_reason: dict[str, list[str]] = {}
    for number, failure in sorted(failures.items()):
        by_reason.setdefault(reason(failure), []).append(labels[number])
    told = "; ".join(f"{' / '.join(named)}: {why}" for why, named in by_reason.items())
    others = "" if len(failures) == len(labels) else "the others are recorded, and "
    return RunFailed(
        f"{len(failures)} of {counted(len(labels), 'training')} failed; {others}the same command goes on from here. "
        f"Failed: {told}"
    )


def comparison(
    job: Job, metrics: Mapping[int, Mapping[str, float]], failures: Mapping[int, Exception]
) -> tuple[compare.Row, ...]:
    """The table of the job's finished cells, also put into the parent run with why the others failed. Both are by the
    cells' numbers.
    """
    ended = [(job.cells[number], values) for number, values in sorted(metrics.items())]
    rows = compare.compare(
        (
            compare.Cell(cell.method, cell.ratio, cell.spec.noise.described, cell.seed, dict(values))
            for cell, values in ended
        ),
        least=min(cell.ratio for cell in job.cells),
    )
    if not job.tracker.is_finished(job.parent):
        content = json.dumps([row.to_dict() for row in rows], indent=1)
        told = report.markdown(rows, failed(job, failures))
        job.tracker.log_text(job.parent, {"comparison.md": told, "comparison.json": content})
    return rows


def failed(job: Job, failures: Mapping[int, Exception]) -> dict[str, str]:
    """By a cell's label why it failed."""
    return {job.cells[number].label: reason(failure) for number, failure in sorted(failures.items())}


def record_choice(
    job: Job, number: int, trained: Trained, evaluated: Evaluated, metrics: Mapping[str, float], registered: Registered
) -> None:
    """Put what the job came to into the parent run: the figures of the cell of that number, which was chosen, under the
    names that its own run has them by, and as tags which cell that is and what became of its model.
    """
    if job.tracker.is_finished(job.parent):
        return
    cell = job.cells[number]
    job.tracker.log_figures(
        job.parent,
        final=final_figures(trained.result(), metrics),
        timestamp=_moment(evaluated.ranks),
    )
    job.tracker.set_tags(
        job.parent,
        {
            "best.run": job.children[number],
            "best.method": cell.method,
            "best.seed": str(cell.seed),
            "registered.name": registered.name,
            "registered.version": registered.version,
            "registered.alias": registered.alias,
            "registered.reason": registered.reason,
            "registered.told": registered.told[:LONGEST_TOLD],
            "registered.decided_on": registered.decided_on,
        },
    )


def best_cell(job: Job, metrics: Sequence[Mapping[str, float]]) -> int:
    """The number of the cell to register, chosen on validation alone.

    Only those with the least noise count, for what was corrupted on purpose belongs in no product. Of these the method
    is the one with the best mean over its seeds, because the best of several seeds of a lesser method may be better by
    luck; of the method, the seed that is best, because one model is served. Ties go to whichever comes first.
    """
    least = min(cell.ratio for cell in job.cells)
    by_method: dict[str, list[int]] = {}
    for number, cell in enumerate(job.cells):
        if cell.ratio == least:
            by_method.setdefault(cell.method, []).append(number)

    def value(number: int) -> float:
        return metrics[number][SELECTION_METRIC]

    chosen = max(by_method.values(), key=lambda numbers: fmean(map(value, numbers)))
    return max(chosen, key=value)


def decision(metrics: Mapping[str, float]) -> tuple[str, float]:
    """The split that decides on promotion, and a candidate's figure there: validation where there are no promotion
    targets. `metrics` are of histories without injected noise.
    """
    metric = PROMOTION_METRIC if PROMOTION_METRIC in metrics else SELECTION_METRIC
    return metric.split(".")[0], metrics[metric]


def summary(
    spec: RobustnessSpec,
    job: Job,
    rows: Sequence[compare.Row],
    metrics: Mapping[int, Mapping[str, float]],
    failures: Mapping[int, Exception],
    trainings: Mapping[int, Trained],
    *,
    execution: Execution,
    registered: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """All that a person or a file wants to know of a job that has ended, as JSON. Metrics, failures and trainings are
    by the cells' numbers; `registered` is as of `registration`, None where no model was offered.

    Seconds and code are of each training, as it was made, and not of the start that tells of it, which may have taken
    everything from the cache.
    """
    clean = job.cells[0].clean
    ended = [(number, job.cells[number], trainings[number].result()) for number in sorted(metrics)]
    return {
        "dataset": spec.dataset,
        "spec": spec.model_dump(mode="json"),
        "snapshot": {"digest": clean.digest, "counts": clean.counts.model_dump()},
        "execution": execution.to_dict(),
        "rows": [row.to_dict() for row in rows],
        "cells": [
            {
                "method": cell.method,
                "noise_kind": cell.spec.noise.kind,
                "noise_where": cell.spec.noise.where,
                "noise_ratio": cell.ratio,
                "seed": cell.seed,
                "snapshot": cell.snapshot.digest,
                "histories": cell.histories.digest,
                "mlflow_run": job.children[number],
                "training": _training_figures(result) | {"made_by": result["made_by"]},
                "metrics": dict(metrics[number]),
            }
            for number, cell, result in ended
        ],
        "failed": failed(job, failures),
        "mlflow": {"experiment_id": job.tracker.experiment_id, "run": job.parent},
        "registered": registered,
    }


def registration(cell: Cell, registered: Registered) -> dict[str, Any]:
    """What became of the model of the cell that was chosen, as JSON."""
    return registered.to_dict() | {"method": cell.method, "seed": cell.seed}


def _log_detection(tracker: Tracker, run_id: str, detected: Detected, *, title: str) -> None:
    tracker.log_files(run_id, {DETECTION: detected.suspicions})
    if found := detected.verdicts:
        curves = {"roc.csv": report.roc_csv(found), "roc.svg": report.roc_chart(found, title=title)}
        tracker.log_text(run_id, {f"{DETECTION}{name}": text for name, text in curves.items()})


def _tell_running(tracker: Tracker, run_id: str, result: Mapping[str, Any]) -> None:
    """What of how it went is unusual: how many trainings were one stacked model with this one, itself counted, and
    their folders; that its steps were compiled; another precision than float32; and from which epoch a part of the
    model had switched itself off.
    """
    if result.get("collapsed"):
        tracker.set_tags(run_id, {"collapsed": "true", "collapsed.epoch": str(result["collapsed_epoch"])})
    if result.get("compiled"):
        tracker.set_tags(run_id, {"compiled": "true"})
    if (precision := result.get("precision", FULL_PRECISION)) != FULL_PRECISION:
        tracker.set_tags(run_id, {"precision": precision})
    if group := result.get("group"):
        tracker.set_tags(run_id, {"stacked": str(len(group)), "stacked.folders": ", ".join(group)})


def _record_training(
    job: Job,
    number: int,
    trained: Trained,
    figures: Mapping[str, float],
    detected: Detected | None,
    *,
    dataset: DatasetNote,
    come_of: Path,
) -> None:
    """Put a training's curves, model and files into its run, and the `figures` of its chosen weights on `dataset`,
    which come of a file; and close it.
    """
    cell, run_id, tracker = job.cells[number], job.children[number], job.tracker
    result = trained.result()
    tracker.log_figures(
        run_id,
        history=result["history"],
        samples=samples_in(trained.folder / SYSTEM_FILE),
        final=final_figures(result, figures),
        timestamp=_moment(come_of),
        model=_log_model(job, number, trained, result),
        dataset=dataset,
    )
    if not cell.model.is_count_based:
        curve = report.learning_curve(result["history"], title=cell.label, best_epoch=result["best_epoch"])
        tracker.log_text(run_id, {"learning_curve.svg": curve})
    _tell_running(tracker, run_id, result)
    if detected is not None:
        _log_detection(tracker, run_id, detected, title=cell.label)
    tracker.close_run(run_id, "FINISHED")


def _log_model(job: Job, number: int, trained: Trained, result: Mapping[str, Any]) -> "LoggedModel | None":
    """The model of a finished training in MLflow; None where its weights are not kept."""
    cell = job.cells[number]
    if not all(path.exists() for path in trained.model_files):
        return None
    return job.tracker.log_model(
        job.children[number],
        trained.model_files,
        called=cell.method,
        params=parameters(cell),
        step=result["best_epoch"],
    )


def _moment(file: Path) -> int:
    """When a file was written, in ms, as MLflow dates figures."""
    return int(file.stat().st_mtime * 1000)


def _training_figures(result: Mapping[str, Any]) -> dict[str, float]:
    return {name: result[name] for name in TRAINING_FIGURES}


def _open_child(tracker: Tracker, cell: Cell, parent: str, tags: Mapping[str, str], execution: Execution) -> str:
    run_id = tracker.open_run(
        _run_key(cell),
        name=cell.label,
        parent=parent,
        tags={**tags, **cell_tags(cell)},
    )
    if not tracker.is_finished(run_id):
        describe(tracker, run_id, cell, execution)
    return run_id


def _run_key(cell: Cell) -> str:
    """A run is known by its steps and by what it says: the same training under another name is another run."""
    detection = () if cell.detect_key is None else (cell.detect_key,)
    return job_key((cell.train_key, cell.evaluate_key, *detection, canonical_json(parameters(cell))))


def _note(cell: Cell, snapshot: Snapshot, *, context: str) -> DatasetNote:
    return DatasetNote(
        name=cell.dataset,
        digest=snapshot.digest,
        source=str(snapshot.path),
        profile=snapshot.counts.model_dump(),
        context=context,
    )
