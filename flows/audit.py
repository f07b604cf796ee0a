"""How noisy is a log, and where: a report, Parquet files, and a cleaned snapshot where one is asked for."""

from typing import Any

from prefect import flow, get_run_logger, runtime
from prefect.artifacts import create_markdown_artifact

from flows.artifacts import artifact_key
from flows.cells import train_rank_and_record
from flows.data import checked_snapshot, filtered_snapshot
from flows.server import ensure_limits, leased
from tasks import job as jobs
from tasks.audit.gain import Gain, compared_cells, filter_of, gains
from tasks.audit.judge import Judged, judge_key, judged_folder
from tasks.audit.outcome import AuditOutcome, publish_audit
from tasks.audit.specs import AuditSpec
from tasks.home import Home
from tasks.leases import Lease
from tasks.machine import resolve
from tasks.side_by_side import Steps
from tasks.snapshots import Snapshot
from tasks.specs import ExecutionSpec
from tasks.splits import refuse_unranked
from tasks.steps import evaluated_by, judge_step


def _run_name() -> str:
    return f"audit {AuditSpec.model_validate(runtime.flow_run.parameters['spec']).dataset}"


@flow(name="audit", flow_run_name=_run_name)
def audit(spec: AuditSpec = AuditSpec()) -> dict[str, Any]:
    """Judge every interaction of a log that may be trained on."""
    home = Home.from_environment()
    ensure_limits()
    with leased(home) as held:
        steps = Steps(home)
        snapshot = checked_snapshot(spec.source, spec.prepare, dataset=spec.dataset, steps=steps, home=home)
        if spec.gain_epochs is not None:
            refuse_unranked(snapshot)
        key = judge_key(snapshot)
        steps.run(judge_step, snapshot, key=key, label=spec.dataset)
        judged = Judged(judged_folder(snapshot, key=key, home=home))
        cleaned: Snapshot | None = None
        found: tuple[Gain, ...] = ()
        if spec.clean_below is not None:
            cleaned = filtered_snapshot(snapshot, filter_of(spec), steps=steps)
        if cleaned is not None and spec.gain_epochs is not None:
            if cleaned.digest == snapshot.digest:
                get_run_logger().info("nothing is below %g, so that there is no gain to measure", spec.clean_below)
            else:
                found = _gains(spec, snapshot, cleaned, steps, held=held, home=home)
        outcome = publish_audit(judged, snapshot, cleaned, spec, gains=found, home=home)
        create_markdown_artifact(_artifact(outcome), key=artifact_key("audit", spec.dataset))
        return outcome.to_dict() | {"steps": {"done": steps.done, "cached": steps.cached}}


def _gains(
    spec: AuditSpec, snapshot: Snapshot, cleaned: Snapshot, steps: Steps, *, held: Lease, home: Home
) -> tuple[Gain, ...]:
    """Train on both, and compare."""
    execution = resolve(ExecutionSpec())
    cells = compared_cells(spec, snapshot, cleaned, execution)
    heading = jobs.Heading(
        study="audit",
        name=f"{spec.dataset}: as it is, and cleaned",
        note=f"What leaving out interactions less likely genuine than {spec.clean_below:g} gains on validation.",
        spec=spec.model_dump_json(indent=1),
        identity=("audit", spec.dataset),
    )
    flow_run = str(runtime.flow_run.id)
    with jobs.tracked_job(cells, heading, execution=execution, flow_run=flow_run, held=held, home=home) as job:
        outcomes = train_rank_and_record(job, ExecutionSpec(), execution, steps, expected={})
        if outcomes.failures:
            raise jobs.failure_of([cell.label for cell in cells], outcomes.failures)
    return gains(*(evaluated_by(cell) for cell in cells))


def _artifact(outcome: AuditOutcome) -> str:
    return f"{outcome.sentence}\n\n[Report]({outcome.report.as_uri()}): `{outcome.report}`"
