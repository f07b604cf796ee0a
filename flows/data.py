"""From a log to a checked snapshot: what every flow that reads one begins with, and a flow of its own."""

from typing import Any

from prefect import flow, get_run_logger, runtime
from prefect.artifacts import create_markdown_artifact

from flows.server import leased
from tasks.data_specs import NO_FILTER, CorruptSpec, FilterSpec, PrepareSpec, SourceSpec, Spec
from tasks.filter import filter_key
from tasks.home import Home
from tasks.ingest import origin_of
from tasks.keys import step_key
from tasks.plan import Data, corrupt_key, corruptions, ingest_key, refuse_untimed
from tasks.side_by_side import Steps
from tasks.snapshots import Snapshot
from tasks.sources.layouts import described, untimed
from tasks.sources.logs import Log, identity
from tasks.sources.shelved import shelved
from tasks.sources.source import obtain_log
from tasks.specs import CellSpec, IngestSpec, in_percent
from tasks.splits import refuse_unranked
from tasks.steps import (
    corrupt_step,
    fetch_step,
    filter_step,
    ingest_step,
    snapshot_named,
    validate_log_step,
    validate_step,
)


def _run_name() -> str:
    return f"ingest {IngestSpec.model_validate(runtime.flow_run.parameters['spec']).dataset}"


@flow(name="ingest", flow_run_name=_run_name)
def ingest(spec: IngestSpec = IngestSpec()) -> dict[str, Any]:
    """Make a checked snapshot of a log; a critical fault in it fails the run."""
    home = Home.from_environment()
    with leased(home):
        snapshot = checked_snapshot(spec.source, spec.prepare, dataset=spec.dataset, steps=Steps(home), home=home)
    return {"snapshot": str(snapshot.path), "digest": snapshot.digest, "counts": snapshot.counts.model_dump()}


def checked_snapshot(source: SourceSpec, prepare: PrepareSpec, *, dataset: str, steps: Steps, home: Home) -> Snapshot:
    """Fetch what lies elsewhere, check the log, ingest, and check the snapshot; a snapshot that the source names is
    checked alone.
    """
    named = shelved(source, prepare, home=home)
    if named is not None:
        get_run_logger().info("the snapshot %s is taken as it is", named.name)
        check_snapshot(named, steps, label=dataset)
        return named
    log = obtain_log(source, home=home, fetch=lambda remote: fetch_step(remote, label=dataset))
    paths = [file.path for file in log.files]
    get_run_logger().info("read as %s", described(paths, log.source))
    if unread := untimed(paths, log.source):
        get_run_logger().warning("%s", unread)
    _check_log(log, steps, label=dataset)
    key = ingest_key(log, prepare)
    snapshot = snapshot_named(steps.run(ingest_step, log, prepare, key=key, label=dataset))
    check_snapshot(snapshot, steps, label=dataset)
    return snapshot.asked_as(origin_of(log, prepare))


class Snapshots:
    """Makes cells' snapshots, each once. docs: by digest the page of a snapshot's checks."""

    def __init__(self, steps: Steps, home: Home) -> None:
        self.docs: dict[str, str] = {}
        self._steps = steps
        self._home = home
        # By the specs themselves: written out, an address loses its query, which may choose the file.
        self._made: dict[tuple[Spec, ...], Snapshot | Exception] = {}

    def of(self, spec: CellSpec) -> Data:
        """What a cell stands on. Raises, for every cell that needs it, what making one of them did, and as
        `refuse_untimed` does.
        """
        clean = self._once(spec, CorruptSpec(), FilterSpec())
        refuse_untimed(spec, clean)
        left_out = FilterSpec() if spec.filter.by == NO_FILTER else spec.filter
        trained_on, histories = (self._once(spec, put_in, left_out) for put_in in corruptions(spec.noise))
        return Data(clean, trained_on, histories)

    def _once(self, spec: CellSpec, put_in: CorruptSpec, left_out: FilterSpec) -> Snapshot:
        key = (spec.source, spec.prepare, put_in, left_out)
        if key not in self._made:
            try:
                self._made[key] = snapshot = self._make(spec, put_in, left_out)
                self.docs.setdefault(snapshot.digest, self._steps.reports[-1]["docs"])
            except Exception as failure:
                self._made[key] = failure
        made = self._made[key]
        if isinstance(made, Exception):
            raise made
        return made

    def _make(self, spec: CellSpec, put_in: CorruptSpec, left_out: FilterSpec) -> Snapshot:
        if (put_in, left_out) == (CorruptSpec(), FilterSpec()):
            made = checked_snapshot(spec.source, spec.prepare, dataset=spec.dataset, steps=self._steps, home=self._home)
            refuse_unranked(made)
            return made
        clean = self._once(spec, CorruptSpec(), FilterSpec())
        return noisy_snapshot(clean, put_in, left_out, steps=self._steps)


def corrupted_snapshot(clean: Snapshot, corruption: CorruptSpec, *, steps: Steps) -> Snapshot:
    """Corrupt and validate; at ratio 0 the clean snapshot itself."""
    if corruption.ratio == 0:
        return clean
    label = f"{corruption.kind} {in_percent(corruption.ratio)}%" + (", taken out" if corruption.taken_out else "")
    key = corrupt_key(clean, corruption)
    snapshot = snapshot_named(steps.run(corrupt_step, clean, corruption, key=key, label=label))
    check_snapshot(snapshot, steps, label=label)
    return snapshot


def noisy_snapshot(clean: Snapshot, put_in: CorruptSpec, left_out: FilterSpec, *, steps: Steps) -> Snapshot:
    """The clean snapshot with noise, less what a filter leaves out of that."""
    return filtered_snapshot(corrupted_snapshot(clean, put_in, steps=steps), left_out, steps=steps)


def filtered_snapshot(snapshot: Snapshot, spec: FilterSpec, *, steps: Steps) -> Snapshot:
    """Filter and validate; without a filter the snapshot itself."""
    if spec.by == NO_FILTER:
        return snapshot
    label = f"{snapshot.name} by {spec.by}, below {spec.below:g}"
    left = snapshot_named(steps.run(filter_step, snapshot, spec, key=filter_key(snapshot, spec), label=label))
    check_snapshot(left, steps, label=label)
    return left


def check_snapshot(snapshot: Snapshot, steps: Steps, *, label: str) -> None:
    """Run Great Expectations on a snapshot; a critical fault fails the run."""
    key = step_key(("tasks.validate",), {"snapshot": snapshot.digest})
    _link(steps.run(validate_step, snapshot, key=key, label=label), steps, label=label)


def _check_log(log: Log, steps: Steps, *, label: str) -> None:
    key = step_key(("tasks.validate",), {"log": identity(log)})
    _link(steps.run(validate_log_step, log, key=key, label=f"{label} log"), steps, label=label)


def _link(report: dict[str, Any], steps: Steps, *, label: str) -> None:
    """Put a report's Data Docs in reach of the flow run, and keep it for the job."""
    docs = Home.from_environment().docs / report["docs"]
    steps.reports.append(report | {"docs": str(docs)})
    met = sum(expectation["success"] for expectation in report["expectations"])
    warnings = "".join(f"\n- {warning}" for warning in report["warnings"])
    # The path as text too: browsers follow no link from a server's page to a file.
    create_markdown_artifact(
        f"{met} of {len(report['expectations'])} expectations met by {report['subject']} ({label}).\n{warnings}\n\n"
        f"[Data Docs]({docs.as_uri()}): `{docs}`",
        key=f"data-docs-{docs.parent.name}",
    )
