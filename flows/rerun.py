"""A run made again as a flow: from what MLflow holds of it, without the cache, and compared metric by metric."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, runtime
from prefect.artifacts import create_table_artifact

from flows.data import checked_snapshot, noisy_snapshot
from flows.server import ensure_limits, leased
from tasks import job as jobs
from tasks import rerun as again
from tasks.detect import Detected
from tasks.errors import InputError
from tasks.evaluate import Evaluated
from tasks.execution import Execution
from tasks.gates import gate_layers, gate_metrics
from tasks.home import Home
from tasks.kept import kept_snapshot
from tasks.leases import Lease
from tasks.paths import path_named
from tasks.plan import Cell, Data, cell_of, corruptions
from tasks.provenance import Provenance, provenance
from tasks.runs import SHOWN, HeldRun, check_ranked, read_run
from tasks.scratch import working_folder
from tasks.side_by_side import Steps
from tasks.snapshots import Snapshot
from tasks.sources.source import obtain_log
from tasks.specs import RerunSpec
from tasks.steps import detect_again_step, evaluate_again_step, fetch_step, train_again_step
from tasks.track import TAG_PREFECT, TAG_RERUN_OF, Tracker, job_key
from tasks.train import Trained

STUDY = "rerun"


def _run_name() -> str:
    return f"rerun {RerunSpec.model_validate(runtime.flow_run.parameters['spec']).run[:SHOWN]}"


@flow(name="rerun", flow_run_name=_run_name)
def rerun(spec: RerunSpec) -> dict[str, Any]:
    """Find a run's data, train and rank again under its execution record, and compare with what the run holds."""
    home = Home.from_environment()
    ensure_limits()
    with leased(home) as held, _work_in(spec.folder, home) as folder:
        tracker = Tracker(home)
        run = read_run(spec.run, home=home)
        check_ranked(run)
        execution = again.execution_like(run.provenance)
        cell = cell_of(run.spec, _data(run, home), execution)
        again.check_data(cell, run)
        now = provenance(cell, execution, code=tracker.code)
        told = again.warnings(run.provenance, now)
        for warning in told:
            get_run_logger().warning("%s", warning)
        with _recorded(run, cell, execution, tracker, held) as run_id:
            trained = train_again_step(
                cell,
                execution=execution,
                time_limit_minutes=again.time_limit(run),
                tracker=tracker,
                run_id=run_id,
                folder=folder,
                label=cell.label,
            )
            ranked = evaluate_again_step(cell, execution=execution, folder=folder, label=cell.label)
            detected = _detected_again(run, cell, execution, folder)
            outcome = _compared(run, now, run_id, cell, trained, ranked, detected, home) | {
                "warnings": list(told),
                "expected_identical": again.is_expected_identical(run.provenance, now),
            }
            _record(outcome, run_id, cell, trained, ranked, detected, tracker)
    create_table_artifact(
        table=[figure | {"identical": figure["before"] == figure["after"]} for figure in outcome["figures"]],
        key="rerun",
        description=f"{run.name}, run {run.run_id}, made again as {run_id}",
    )
    return outcome


@contextmanager
def _work_in(folder: str | None, home: Home) -> Iterator[Path]:
    """The folder of the new training and ranking: one that is empty, so that nothing in it is taken for a result."""
    if folder is None:
        with working_folder(home.steps / "rerun") as work:
            yield work / "home"
        return
    path = path_named(folder, by="--home").resolve()
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"--home: {path} is not an empty folder, and a rerun takes nothing from an earlier one")
    yield path


def _data(run: HeldRun, home: Home) -> Data:
    """The run's snapshots: those in the state folder, or made again from its source."""
    made_from = run.provenance
    steps = Steps(home)
    clean = kept_snapshot(made_from.clean, home=home) or _clean_again(run, steps, home)
    found = {clean.digest: clean}
    for record, put_in in zip((made_from.trained_on, made_from.histories), corruptions(run.spec.noise), strict=True):
        if record.digest not in found:
            kept = kept_snapshot(record, home=home)
            found[record.digest] = kept or noisy_snapshot(clean, put_in, run.spec.filter, steps=steps)
    return Data(clean, found[made_from.trained_on.digest], found[made_from.histories.digest])


def _clean_again(run: HeldRun, steps: Steps, home: Home) -> Snapshot:
    source = again.source_of(run)
    dataset = run.spec.dataset
    again.refuse_shelved(source, run)
    get_run_logger().info("the snapshot of %s is gone: it is made again from its source", run.name)
    log = obtain_log(source, home=home, fetch=lambda remote: fetch_step(remote, label=dataset))
    again.check_source(log, run)
    clean = checked_snapshot(source, run.spec.prepare, dataset=dataset, steps=steps, home=home)
    again.check_snapshot(clean, run.provenance.clean, what="the log")
    return clean


@contextmanager
def _recorded(run: HeldRun, cell: Cell, execution: Execution, tracker: Tracker, held: Lease) -> Iterator[str]:
    """The MLflow run of the rerun, which is left open by no end."""
    flow_run = str(runtime.flow_run.id)
    run_id = tracker.open_run(
        job_key((run.run_id, flow_run)),
        name=f"{run.name}, again",
        tags={TAG_PREFECT: flow_run, TAG_RERUN_OF: run.run_id, "study": STUDY, **jobs.cell_tags(cell)},
    )
    held.note(mlflow_run=run_id)
    with tracker.closing(run_id):
        jobs.describe(tracker, run_id, cell, execution)
        yield run_id


def _detected_again(run: HeldRun, cell: Cell, execution: Execution, folder: Path) -> Detected | None:
    """The noise detection of the new training, where the run has one: an older run has none to compare it with."""
    key = cell.detect_key
    if key is None or run.provenance.detect_key is None:
        return None
    return detect_again_step(cell, execution=execution, folder=folder, key=key, label=cell.label)


def _compared(
    run: HeldRun,
    now: Provenance,
    run_id: str,
    cell: Cell,
    trained: Trained,
    ranked: Evaluated,
    detected: Detected | None,
    home: Home,
) -> dict[str, Any]:
    import pandas as pd

    metrics = ranked.metrics() | jobs.told_noise(cell, detected) | gate_metrics(gate_layers(trained))
    found = again.came_out(run, now, trained.result(), metrics, run.ranks(home=home), pd.read_parquet(ranked.ranks))
    return {"rerun_of": run.run_id, "run": run_id, "name": run.name, **found.to_dict()}


def _record(
    outcome: dict[str, Any],
    run_id: str,
    cell: Cell,
    trained: Trained,
    ranked: Evaluated,
    detected: Detected | None,
    tracker: Tracker,
) -> None:
    tracker.log_text(run_id, {"rerun.json": json.dumps(outcome, indent=1)})
    tracker.set_tags(run_id, {"rec_denoiser.identical": str(outcome["identical"]).lower()})
    job = jobs.Job(tracker, (cell,), parent=run_id, children=(run_id,), tags={})
    jobs.record(job, 0, trained, ranked, detected)
