"""A study as a flow: every cell of a file trained, ranked and recorded, compared with the reference, and reported."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, runtime

from flows.artifacts import show_grids, show_table
from flows.cells import Outcomes, train_rank_and_record
from flows.data import Snapshots
from flows.server import ensure_limits, leased
from tasks import job as jobs
from tasks.home import Home
from tasks.machine import resolve
from tasks.plan import Cell, Data, cell_of
from tasks.reporting.analysis import ranks_in
from tasks.reporting.page import all_tables
from tasks.side_by_side import Steps
from tasks.specs import StudyRequest
from tasks.study import headlines
from tasks.study.costs import expected_seconds
from tasks.study.expand import Study
from tasks.study.files import study_file
from tasks.study.outcome import FILES, RESULT_FILE, Ended, publish_result, refuse_taken, result_of, unreported
from tasks.study.terminal import table
from tasks.track import reason

Found = dict[int, Data | Exception]
"""By a cell's number its snapshots, or why there are none."""


def _run_name() -> str:
    request = StudyRequest.model_validate(runtime.flow_run.parameters["spec"])
    return " ".join([f"study {Path(request.file).stem}", *request.shown])[:200]


@flow(name="study", flow_run_name=_run_name)
def study(spec: StudyRequest) -> dict[str, Any]:
    """Make the snapshots that a study needs, run its cells side by side, compare them, and write the report."""
    began, started = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
    home = Home.from_environment()
    asked = study_file(spec)
    execution = resolve(asked.spec.execution)
    refuse_taken(asked.spec.name, RESULT_FILE, home=home)
    steps = Steps(home)
    ensure_limits()
    for note in asked.notes:
        get_run_logger().info("%s", note)
    with leased(home) as held:
        snapshots = Snapshots(steps, home)
        found = _found(asked, snapshots)
        failures = {number: data for number, data in found.items() if isinstance(data, Exception)}
        cells = {
            number: cell_of(asked.cells[number].spec, data, execution, label=asked.cells[number].label)
            for number, data in found.items()
            if isinstance(data, Data)
        }
        if not cells:
            raise next(iter(failures.values()))
        heading = jobs.Heading(
            study=asked.spec.name,
            name=asked.spec.name,
            note=f"{asked.spec.question} The answer is in `report.html`.",
            spec=asked.spec.model_dump_json(indent=1),
            identity=("study", asked.spec.name),
        )
        flow_run = str(runtime.flow_run.id)
        planned = tuple(cells.values())
        with jobs.tracked_job(planned, heading, execution=execution, flow_run=flow_run, held=held, home=home) as job:
            jobs.record_checks(job, steps.reports)
            expected = expected_seconds(planned, execution, home=home)
            outcomes = train_rank_and_record(job, asked.spec.execution, execution, steps, expected=expected)
            ended = _ended(cells, job, outcomes, failures)
            result = result_of(
                asked,
                ended,
                request=spec,
                docs=snapshots.docs,
                code=job.tracker.code,
                execution=execution,
                started=started,
                seconds=time.monotonic() - began,
                home=home,
            )
            published = publish_result(result, ranks_in(home), home=home)
            if published.earlier is not None:
                get_run_logger().info("%s", published.earlier)
            jobs.record_folder(job, heading, published.folder, names=FILES)
            told, kept = published.result, published.folder / RESULT_FILE
            jobs.record_headlines(job, headlines.figures(told), headlines.tags(told), come_of=kept)
            rows = table(published.result)
            show_table(job, rows, kind="study", name=asked.spec.name, description=asked.spec.question)
            if published.failure is None:
                show_grids(all_tables(published.result), kind="study", name=asked.spec.name)
            if ended.failures:
                raise jobs.failure_of([cell.label for cell in asked.cells], ended.failures)
            if published.failure is not None:
                get_run_logger().error("the report could not be made", exc_info=published.failure)
                raise unreported(asked.spec.name, published.failure, kept=published.folder / RESULT_FILE)
    return {"folder": str(published.folder), "steps": {"done": steps.done, "cached": steps.cached}}


def _found(asked: Study, snapshots: Snapshots) -> Found:
    """The snapshots of every cell. A log that cannot be used is the failure of the cells that need it, and of no
    other.
    """
    found: Found = {}
    for number, cell in enumerate(asked.cells):
        try:
            found[number] = snapshots.of(cell.spec)
        except Exception as failure:
            if failure not in found.values():
                get_run_logger().error("the data of %s cannot be used: %s", cell.spec.label, reason(failure))
            found[number] = failure
    return found


def _ended(cells: dict[int, Cell], job: jobs.Job, outcomes: Outcomes, failures: dict[int, Exception]) -> Ended:
    """The outcomes of a job's cells by their numbers in the study."""
    numbers = list(cells)
    return Ended(
        cells=cells,
        runs=dict(zip(numbers, job.children, strict=True)),
        metrics={numbers[at]: metrics for at, metrics in outcomes.metrics.items()},
        failures=failures | {numbers[at]: failure for at, failure in outcomes.failures.items()},
    )
