"""The main job as a flow: from an interaction log to a table of methods × noise and a registered recommender."""

from typing import Any

from prefect import flow, runtime
from prefect.artifacts import create_markdown_artifact

from flows.artifacts import artifact_key, show_table
from flows.cells import offered, train_rank_and_record
from flows.data import Snapshots
from flows.server import ensure_limits, leased
from tasks import job as jobs
from tasks.choices import check_methods
from tasks.home import Home
from tasks.machine import resolve
from tasks.plan import plan
from tasks.report import markdown, table
from tasks.side_by_side import Steps
from tasks.specs import RobustnessSpec
from tasks.steps import evaluated_by, trained_by
from tasks.study.costs import expected_seconds
from tasks.wording import counted


def _run_name() -> str:
    spec = RobustnessSpec.model_validate(runtime.flow_run.parameters["spec"])
    ratios = ", ".join(spec.noise.described(ratio) for ratio in spec.noise.ratios)
    return f"{spec.dataset}: {counted(len(spec.methods), 'method')} at noise {ratios}"


@flow(name="robustness", flow_run_name=_run_name)
def robustness(spec: RobustnessSpec = RobustnessSpec()) -> dict[str, Any]:
    """Ingest and check a log, corrupt it, train every method, rank, compare, and register the best."""
    check_methods(spec.methods)
    home = Home.from_environment()
    execution = resolve(spec.execution)
    steps = Steps(home)
    ensure_limits()
    with leased(home) as held:
        cells = plan(spec.cells(), Snapshots(steps, home).of, execution)
        flow_run = str(runtime.flow_run.id)
        heading = jobs.Heading.of(spec)
        with jobs.tracked_job(cells, heading, execution=execution, flow_run=flow_run, held=held, home=home) as job:
            jobs.record_checks(job, steps.reports)
            expected = expected_seconds(cells, execution, home=home)
            outcomes = train_rank_and_record(job, spec.execution, execution, steps, expected=expected)
            if outcomes.failures:
                raise jobs.failure_of([cell.label for cell in cells], outcomes.failures)
            metrics = [outcomes.metrics[number] for number in range(len(cells))]
            rows = jobs.comparison(job, metrics)
            best = jobs.best_cell(job, metrics)
            registered = offered(
                cells[best], metrics[best], execution, steps, tracker=job.tracker, run_id=job.children[best]
            )
            trained = [trained_by(cell) for cell in cells]
            jobs.record_choice(job, best, trained[best], evaluated_by(cells[best]), metrics[best], registered)
            outcome = jobs.summary(
                spec, job, rows, metrics, trained, registered, clean=cells[0].clean, execution=execution, best=best
            )

    show_table(job, table(rows), kind="comparison", name=spec.dataset, description=f"Robustness on {spec.dataset}")
    create_markdown_artifact(markdown(rows), key=artifact_key("comparison-text", spec.dataset))
    return outcome | {"steps": {"done": steps.done, "cached": steps.cached}}
