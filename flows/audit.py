"""How noisy is a log, and where: a report, Parquet files, and a cleaned snapshot where one is asked for."""

from typing import Any

from prefect import flow, runtime
from prefect.artifacts import create_markdown_artifact

from flows.data import checked_snapshot, filtered_snapshot
from flows.server import artifact_key, leased
from tasks.audit.judge import JUDGED_BY, Judged, judge_key, judged_folder
from tasks.audit.outcome import AuditOutcome, publish_audit
from tasks.audit.specs import AuditSpec
from tasks.home import Home
from tasks.steps import Steps, judge_step


def _run_name() -> str:
    return f"audit {AuditSpec.model_validate(runtime.flow_run.parameters['spec']).dataset}"


@flow(name="audit", flow_run_name=_run_name)
def audit(spec: AuditSpec = AuditSpec()) -> dict[str, Any]:
    """Judge every interaction of a log that may be trained on."""
    home = Home.from_environment()
    with leased(home):
        steps = Steps(home)
        snapshot = checked_snapshot(spec.source, spec.prepare, dataset=spec.dataset, steps=steps, home=home)
        key = judge_key(snapshot)
        steps.run(judge_step, snapshot, key=key, label=spec.dataset)
        judged = Judged(judged_folder(key, home=home))
        cleaned = None
        if spec.clean_below is not None:
            left_out = JUDGED_BY.model_copy(update={"below": spec.clean_below})
            cleaned = filtered_snapshot(snapshot, left_out, steps=steps)
        outcome = publish_audit(judged, snapshot, cleaned, spec, home=home)
        create_markdown_artifact(_artifact(outcome), key=artifact_key("audit", spec.dataset))
        return outcome.to_dict() | {"steps": {"done": steps.done, "cached": steps.cached}}


def _artifact(outcome: AuditOutcome) -> str:
    return f"{outcome.sentence}\n\n[Report]({outcome.report.as_uri()}): `{outcome.report}`"
