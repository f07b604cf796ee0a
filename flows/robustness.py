"""The main job as a flow: from an interaction log to a table of methods × noise and a registered recommender."""

from collections.abc import Mapping
from typing import Any

from prefect import flow, runtime
from prefect.artifacts import create_markdown_artifact

from flows.artifacts import artifact_key, show_table
from flows.cells import offered, train_rank_and_record
from flows.data import Snapshots
from flows.server import ensure_limits, leased
from tasks import job as jobs
from tasks.choices import check_methods
from tasks.errors import PartlyFailed
from tasks.execution import Execution
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
    """Ingest and check a log, corrupt it, train every method, rank, compare, and register the best.

    Where trainings fail, the others are compared all the same, and none is registered: `PartlyFailed` has what came of
    them.
    """
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
            metrics, failures = outcomes.metrics, outcomes.failures
            failure = jobs.failure_of([cell.label for cell in cells], failures) if failures else None
            if failure is not None and not metrics:
                raise failure
            rows = jobs.comparison(job, metrics, failures)
            about = f"Robustness on {spec.dataset}"
            show_table(job, table(rows), kind="comparison", name=spec.dataset, description=about)
            text = markdown(rows, jobs.failed(job, failures))
            create_markdown_artifact(text, key=artifact_key("comparison-text", spec.dataset))
            registered = None if failures else _registered(job, metrics, execution, steps)
            trained = {number: trained_by(cells[number]) for number in metrics}
            outcome = jobs.summary(
                spec, job, rows, metrics, failures, trained, execution=execution, registered=registered
            ) | {"steps": {"done": steps.done, "cached": steps.cached}}
            if failure is not None:
                raise PartlyFailed(str(failure), outcome)
    return outcome


def _registered(
    job: jobs.Job, metrics: Mapping[int, Mapping[str, float]], execution: Execution, steps: Steps
) -> dict[str, Any]:
    """Offer the best cell's model to the registry, and say in the parent run which that is and what became of it."""
    best = jobs.best_cell(job, [metrics[number] for number in range(len(job.cells))])
    cell = job.cells[best]
    registered = offered(cell, metrics[best], execution, steps, tracker=job.tracker, run_id=job.children[best])
    jobs.record_choice(job, best, trained_by(cell), evaluated_by(cell), metrics[best], registered)
    return jobs.registration(cell, registered)
