"""A study as a flow: every cell of a file trained, ranked and recorded, compared with the reference, and reported."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, runtime

from flows.artifacts import show_grids, show_table
from flows.cells import Outcomes, train_rank_and_record
from flows.data import checked_snapshot, noisy_snapshot
from flows.server import ensure_limits, leased
from tasks import job as jobs
from tasks.digests import canonical_json
from tasks.execution import resolve
from tasks.home import Home
from tasks.plan import Cell, Data, cell_of
from tasks.reporting.analysis import ranks_in
from tasks.reporting.page import all_tables
from tasks.specs import CellSpec, FilterSpec, StudyRequest
from tasks.steps import Steps
from tasks.study.costs import expected_seconds
from tasks.study.expand import Study
from tasks.study.files import study_file
from tasks.study.outcome import RESULT_FILE, Ended, publish_result, refuse_taken, result_of, unreported
from tasks.study.terminal import table

Found = dict[int, Data | Exception]
"""By a cell's number its snapshots, or why there are none."""


def _run_name() -> str:
    request = StudyRequest.model_validate(runtime.flow_run.parameters["spec"])
    return " ".join([f"study {Path(request.file).stem}", *request.overrides])[:200]


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
        found, docs = _snapshots(asked, steps, home)
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
                docs=docs,
                code=job.tracker.code,
                execution=execution,
                started=started,
                seconds=time.monotonic() - began,
                home=home,
            )
            published = publish_result(result, ranks_in(home), home=home)
            jobs.record_folder(job, heading, published.folder)
            rows = table(published.result)
            show_table(job, rows, kind="study", name=asked.spec.name, description=asked.spec.question)
            if published.failure is None:
                show_grids(all_tables(published.result), kind="study", name=asked.spec.name)
            if ended.failures:
                raise jobs.failure_of([cell.label for cell in asked.cells], ended.failures)
            if published.failure is not None:
                get_run_logger().error("the report could not be made", exc_info=published.failure)
                raise unreported(published)
    return {"folder": str(published.folder), "steps": {"done": steps.done, "cached": steps.cached}}


def _snapshots(asked: Study, steps: Steps, home: Home) -> tuple[Found, dict[str, str]]:
    """The snapshots of every cell, each made and checked once, and by digest the pages of their checks. A log that
    cannot be used is the failure of the cells that need it, and of no other.
    """
    made: dict[str, Data | Exception] = {}
    docs: dict[str, str] = {}
    found: Found = {}
    for number, cell in enumerate(asked.cells):
        spec = cell.spec
        found[number] = made.get(_key(spec)) or _snapshot(spec, made, docs, steps, home)
    return found, docs


def _snapshot(
    spec: CellSpec, made: dict[str, Data | Exception], docs: dict[str, str], steps: Steps, home: Home
) -> Data | Exception:
    """Make a cell's snapshots, the clean one first, and remember them."""
    no_noise = spec.noise.model_copy(update={"ratio": 0.0})
    clean_spec = spec.model_copy(update={"noise": no_noise, "filter": FilterSpec()})
    try:
        if _key(clean_spec) not in made:
            clean = checked_snapshot(spec.source, spec.prepare, dataset=spec.dataset, steps=steps, home=home)
            docs[clean.digest] = steps.reports[-1]["docs"]
            made[_key(clean_spec)] = Data(clean, clean)
        base = made[_key(clean_spec)]
        if isinstance(base, Exception):
            return base
        if _key(spec) not in made:
            noisy = noisy_snapshot(base.clean, spec.noise, spec.filter, steps=steps)
            docs[noisy.digest] = steps.reports[-1]["docs"]
            made[_key(spec)] = Data(base.clean, noisy)
    except Exception as failure:
        get_run_logger().error("the data of %s cannot be used: %s", spec.label, jobs.reason(failure))
        made[_key(spec if _key(clean_spec) in made else clean_spec)] = failure
        return failure
    return made[_key(spec)]


def _key(spec: CellSpec) -> str:
    """What a cell's data depend on."""
    corruption = spec.noise.corruption.model_dump(mode="json") if spec.noise.ratio else None
    return canonical_json(
        {
            "source": spec.source.model_dump(mode="json"),
            "prepare": spec.prepare.model_dump(mode="json"),
            "corrupt": corruption,
            "filter": spec.filter.model_dump(mode="json"),
        }
    )


def _ended(cells: dict[int, Cell], job: jobs.Job, outcomes: Outcomes, failures: dict[int, Exception]) -> Ended:
    """The outcomes of a job's cells by their numbers in the study."""
    numbers = list(cells)
    return Ended(
        cells=cells,
        runs=dict(zip(numbers, job.children, strict=True)),
        metrics={numbers[at]: metrics for at, metrics in outcomes.metrics.items()},
        failures=failures | {numbers[at]: failure for at, failure in outcomes.failures.items()},
    )
