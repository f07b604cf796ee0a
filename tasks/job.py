"""The main job in MLflow: a parent run, a child a training, and what each of them holds."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from models.engine.metrics import SELECTION_METRIC
from tasks import compare, report
from tasks.digests import canonical_json
from tasks.evaluate import Evaluated
from tasks.execution import Execution
from tasks.home import Home
from tasks.leases import Lease, sole_holder
from tasks.plan import Cell, parameters
from tasks.register import Registered
from tasks.snapshots import Snapshot
from tasks.specs import RobustnessSpec
from tasks.track import TAG_PREFECT, DatasetNote, Tracker, job_key
from tasks.train import Trained

TRAINING_FIGURES = ("best_epoch", "epochs", "seconds", "parameters")


@dataclass(frozen=True)
class Job:
    """An open job: the parent's run id and each cell's, in the order of the cells."""

    tracker: Tracker
    spec: RobustnessSpec
    cells: tuple[Cell, ...]
    parent: str
    children: tuple[str, ...]


@contextmanager
def tracked_job(
    spec: RobustnessSpec,
    cells: tuple[Cell, ...],
    clean: Snapshot,
    *,
    execution: Execution,
    flow_run: str,
    held: Lease,
    home: Home,
) -> Iterator[Job]:
    """Open the runs, or take up those of an earlier start of the same job; no run is left open at the end.

    `flow_run` is the id of the Prefect flow run. Raises `InputError` where another process is at the same job.
    """
    key = job_key(_run_key(spec, cell) for cell in cells)
    with sole_holder(key, home=home):
        tracker = Tracker(home)
        tags = {TAG_PREFECT: flow_run}
        parent = tracker.open_run(
            key,
            name=f"{spec.dataset}: {len(spec.methods)} methods, noise up to {max(spec.noise.ratios):.0%}",
            tags={**tags, "study": "robustness", "dataset": spec.dataset},
        )
        held.note(mlflow_run=parent)
        try:
            children = tuple(_open_child(tracker, spec, cell, parent, tags, execution) for cell in cells)
            if not tracker.is_finished(parent):
                tracker.log_dataset(parent, _note(spec, clean, context="clean"))
                tracker.log_text(parent, {"spec.json": spec.model_dump_json(indent=1)})
            yield Job(tracker, spec, cells, parent, children)
        except Exception:
            tracker.close_open_runs(parent, "FAILED")
            raise
        except BaseException:
            tracker.close_open_runs(parent, "KILLED")
            raise
        tracker.close_open_runs(parent, "FINISHED")


def record(job: Job, number: int, trained: Trained, evaluated: Evaluated) -> dict[str, float]:
    """Put a finished training's figures and files into its run; its metrics."""
    cell, run_id, tracker = job.cells[number], job.children[number], job.tracker
    metrics = evaluated.metrics()
    if tracker.is_finished(run_id):
        return metrics
    result = trained.result()
    when = int(evaluated.ranks.stat().st_mtime * 1000)
    tracker.log_history(run_id, result["history"])
    final = _final_figures(metrics) | {f"training.{name}": value for name, value in _training_figures(result).items()}
    tracker.log_metrics(run_id, final, timestamp=when)
    curve = report.learning_curve(result["history"], title=cell.label, best_epoch=result["best_epoch"])
    tracker.log_text(run_id, {"learning_curve.svg": curve})
    tracker.log_files(run_id, {"": evaluated.ranks})
    tracker.close_run(run_id, "FINISHED")
    return metrics


def comparison(job: Job, metrics: Sequence[Mapping[str, float]]) -> tuple[compare.Row, ...]:
    """The table of the job, also put into the parent run."""
    rows = compare.compare(
        compare.Cell(cell.method, cell.ratio, cell.seed, dict(values))
        for cell, values in zip(job.cells, metrics, strict=True)
    )
    if not job.tracker.is_finished(job.parent):
        content = json.dumps([row.to_dict() for row in rows], indent=1)
        job.tracker.log_text(job.parent, {"comparison.md": report.markdown(rows), "comparison.json": content})
    return rows


def best_cell(job: Job, metrics: Sequence[Mapping[str, float]]) -> int:
    """The number of the cell to register: the best on validation among those trained on the least noisy data, for
    what was corrupted on purpose belongs in no product.
    """
    least = min(cell.ratio for cell in job.cells)
    candidates = [number for number, cell in enumerate(job.cells) if cell.ratio == least]
    return max(candidates, key=lambda number: metrics[number][SELECTION_METRIC])


def summary(
    job: Job,
    rows: Sequence[compare.Row],
    metrics: Sequence[Mapping[str, float]],
    trainings: Sequence[Trained],
    registered: Registered,
    *,
    clean: Snapshot,
    execution: Execution,
    best: int,
) -> dict[str, Any]:
    """All that a person or a file wants to know of a finished job, as JSON."""
    return {
        "dataset": job.spec.dataset,
        "spec": job.spec.model_dump(mode="json"),
        "snapshot": {"digest": clean.digest, "counts": clean.counts.model_dump()},
        "execution": execution.to_dict(),
        "code": dict(job.tracker.code),
        "rows": [row.to_dict() for row in rows],
        "cells": [
            {
                "method": cell.method,
                "noise_ratio": cell.ratio,
                "seed": cell.seed,
                "snapshot": cell.snapshot.digest,
                "mlflow_run": run_id,
                "training": _training_figures(trained.result()),
                "metrics": dict(values),
            }
            for cell, run_id, values, trained in zip(job.cells, job.children, metrics, trainings, strict=True)
        ],
        "mlflow": {"experiment_id": job.tracker.experiment_id, "run": job.parent},
        "registered": {
            "name": registered.name,
            "version": registered.version,
            "alias": registered.alias,
            "method": job.cells[best].method,
            "seed": job.cells[best].seed,
        },
    }


def _training_figures(result: Mapping[str, Any]) -> dict[str, float]:
    return {name: result[name] for name in TRAINING_FIGURES}


def _open_child(
    tracker: Tracker, spec: RobustnessSpec, cell: Cell, parent: str, tags: Mapping[str, str], execution: Execution
) -> str:
    run_id = tracker.open_run(
        _run_key(spec, cell),
        name=cell.label,
        parent=parent,
        tags={**tags, "study": "robustness", "dataset": spec.dataset, "method": cell.method},
    )
    if not tracker.is_finished(run_id):
        tracker.log_params(run_id, parameters(spec, cell))
        tracker.log_dataset(run_id, _note(spec, cell.snapshot, context="training"))
        tracker.log_text(run_id, {"execution.json": json.dumps(execution.to_dict(), indent=1)})
    return run_id


def _run_key(spec: RobustnessSpec, cell: Cell) -> str:
    """A run is known by its steps and by what it says: the same training under another name is another run."""
    return job_key((cell.train_key, cell.evaluate_key, canonical_json(parameters(spec, cell))))


def _final_figures(metrics: Mapping[str, float]) -> dict[str, float]:
    """The figures of the chosen weights. Validation has curves by epoch; its final figures go under a name of their
    own, so that the curves keep one value an epoch and do not end in another figure than they show.
    """
    return {f"chosen.{name}" if name.startswith("validation.") else name: value for name, value in metrics.items()}


def _note(spec: RobustnessSpec, snapshot: Snapshot, *, context: str) -> DatasetNote:
    return DatasetNote(
        name=spec.dataset,
        digest=snapshot.digest,
        source=str(snapshot.path),
        profile=snapshot.counts.model_dump(),
        context=context,
    )
