"""The main job as a flow: from an interaction log to a table of methods × noise and a registered recommender."""

from typing import Any

from prefect import flow, get_run_logger, runtime
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.task_runners import ThreadPoolTaskRunner

from flows.data import checked_snapshot, corrupted_snapshot
from flows.server import artifact_key, ensure_limits, leased
from models.engine.metrics import SELECTION_METRIC
from tasks import job as jobs
from tasks.execution import Execution, resolve, side_by_side
from tasks.home import Home
from tasks.plan import plan
from tasks.report import markdown, table
from tasks.specs import RobustnessSpec
from tasks.steps import Steps, evaluate_step, evaluated_by, register_step, train_step, trained_by


def _run_name() -> str:
    spec = RobustnessSpec.model_validate(runtime.flow_run.parameters["spec"])
    ratios = ", ".join(f"{ratio:.0%}" for ratio in spec.noise.ratios)
    methods = "1 method" if len(spec.methods) == 1 else f"{len(spec.methods)} methods"
    return f"{spec.dataset}: {methods} at noise {ratios}"


@flow(name="robustness", flow_run_name=_run_name)
def robustness(spec: RobustnessSpec = RobustnessSpec()) -> dict[str, Any]:
    """Ingest and check a log, corrupt it, train every method, rank, compare, and register the best."""
    home = Home.from_environment()
    execution = resolve(spec.execution)
    steps = Steps(home)
    ensure_limits()
    with leased(home) as held:
        clean = checked_snapshot(spec.source, spec.prepare, dataset=spec.dataset, steps=steps, home=home)
        noisy = {
            ratio: corrupted_snapshot(clean, spec.noise.corruption(ratio), steps=steps) for ratio in spec.noise.ratios
        }
        cells = plan(spec, clean, noisy, execution)
        flow_run = str(runtime.flow_run.id)
        with jobs.tracked_job(spec, cells, clean, execution=execution, flow_run=flow_run, held=held, home=home) as job:
            _train_and_rank(job, execution, steps)
            trained = [trained_by(cell) for cell in cells]
            metrics = [
                jobs.record(job, number, trained[number], evaluated_by(cell)) for number, cell in enumerate(cells)
            ]
            rows = jobs.comparison(job, metrics)
            best = jobs.best_cell(job, metrics)
            registered = register_step(
                cells[best],
                dataset=spec.dataset,
                value=metrics[best][SELECTION_METRIC],
                tags={"method": cells[best].method, "dataset": spec.dataset, "prefect.flow_run_id": flow_run},
                tracker=job.tracker,
                run_id=job.children[best],
                label=cells[best].label,
            )
            outcome = jobs.summary(job, rows, metrics, trained, registered, clean=clean, execution=execution, best=best)

    create_table_artifact(
        table=table(rows), key=artifact_key("comparison", spec.dataset), description=f"Robustness on {spec.dataset}"
    )
    create_markdown_artifact(markdown(rows), key=artifact_key("comparison-text", spec.dataset))
    create_link_artifact(
        link=job.tracker.run_url(job.parent),
        link_text="This job in MLflow",
        key=artifact_key("mlflow-run", spec.dataset),
        description="Opens once `.venv/bin/rec-denoiser ui mlflow` runs.",
    )
    return outcome | {"steps": {"done": steps.done, "cached": steps.cached}}


def _train_and_rank(job: jobs.Job, execution: Execution, steps: Steps) -> None:
    """Train every cell, then rank, several at a time."""
    spec = job.spec
    at_a_time = side_by_side(spec.execution, execution)
    get_run_logger().info("%s trainings, %s at a time, on %s", len(job.cells), at_a_time, execution.processor)
    runner: ThreadPoolTaskRunner[Any]
    with ThreadPoolTaskRunner(max_workers=at_a_time) as runner:
        trainings = [
            steps.submit(
                train_step,
                runner=runner,
                key=cell.train_key,
                label=cell.label,
                cell=cell,
                training=spec.training,
                evaluation_seed=spec.evaluation_seed,
                execution=execution,
                time_limit_minutes=spec.execution.time_limit_minutes,
                tracker=job.tracker,
                run_id=run_id,
            )
            for cell, run_id in zip(job.cells, job.children, strict=True)
        ]
        steps.collect(trainings)
        rankings = [
            steps.submit(
                evaluate_step,
                runner=runner,
                key=cell.evaluate_key,
                label=cell.label,
                cell=cell,
                evaluation_seed=spec.evaluation_seed,
                execution=execution,
            )
            for cell in job.cells
        ]
        steps.collect(rankings)
