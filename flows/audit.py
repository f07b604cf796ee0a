"""How noisy is a log, and where: a report, Parquet files, and a cleaned snapshot where one is asked for."""

from typing import Any

from prefect import flow, runtime
from prefect.artifacts import create_markdown_artifact

from flows.data import check_snapshot, checked_snapshot
from flows.server import artifact_key, leased
from tasks.audit.clean import clean_key
from tasks.audit.judge import Judged, judge_key, judged_folder
from tasks.audit.outcome import AuditOutcome, publish_audit
from tasks.audit.specs import AuditSpec
from tasks.home import Home
from tasks.snapshots import Snapshot
from tasks.steps import Steps, clean_step, judge_step, snapshot_named


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
        cleaned = None if spec.clean_below is None else _cleaned(snapshot, judged, spec, steps=steps)
        outcome = publish_audit(judged, snapshot, cleaned, spec, home=home)
        create_markdown_artifact(_artifact(outcome), key=artifact_key("audit", spec.dataset))
        return outcome.to_dict() | {"steps": {"done": steps.done, "cached": steps.cached}}


def _cleaned(snapshot: Snapshot, judged: Judged, spec: AuditSpec, *, steps: Steps) -> Snapshot:
    assert spec.clean_below is not None
    key = clean_key(snapshot, judged=judged.folder.name, below=spec.clean_below)
    label = f"{spec.dataset} below {spec.clean_below:g}"
    cleaned = snapshot_named(steps.run(clean_step, snapshot, judged, spec.clean_below, key=key, label=label))
    check_snapshot(cleaned, steps, label=label)
    return cleaned


def _artifact(outcome: AuditOutcome) -> str:
    return f"{outcome.sentence}\n\n[Report]({outcome.report.as_uri()}): `{outcome.report}`"
