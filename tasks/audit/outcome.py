"""The folder of an audit: report, Parquet files and numbers."""

import json
import shutil
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tasks.audit.findings import Findings, findings, write_groups
from tasks.audit.gain import Gain
from tasks.audit.judge import INTERACTIONS_FILE, Judged
from tasks.audit.specs import AuditSpec
from tasks.home import Home
from tasks.reporting.audit import PAGE, sentence, write_page
from tasks.scratch import publish_over, working_folder
from tasks.snapshots import Snapshot, snapshot_name
from tasks.sources.shelved import address_of
from tasks.wording import counted

RESULT_FILE = "audit.json"


@dataclass(frozen=True)
class AuditOutcome:
    """A finished audit. cleaned: the snapshot without what lies below the spec's `clean_below`, which is the log's own
    where nothing does; None where none was asked for. gains: what it gains on validation, where that was measured.
    """

    folder: Path
    spec: AuditSpec
    snapshot: Snapshot
    cleaned: Snapshot | None
    found: Findings
    gains: tuple[Gain, ...]

    @property
    def report(self) -> Path:
        return self.folder / PAGE

    @property
    def sentence(self) -> str:
        return sentence(self.found, self.spec.dataset)

    def to_dict(self) -> dict[str, Any]:
        cleaned = self.cleaned
        return {
            "dataset": self.spec.dataset,
            "spec": self.spec.model_dump(mode="json"),
            "snapshot": str(self.snapshot.path),
            "digest": self.snapshot.digest,
            "found": self.found.to_dict(),
            "cleaned": None
            if cleaned is None
            else {
                "snapshot": str(cleaned.path),
                "source": address_of(cleaned),
                "digest": cleaned.digest,
                "below": self.spec.clean_below,
                "left_out": self.snapshot.counts.interactions - cleaned.counts.interactions,
            },
            "gains": [asdict(each) for each in self.gains],
            "folder": str(self.folder),
            "report": str(self.report),
        }


def publish_audit(
    judged: Judged,
    snapshot: Snapshot,
    cleaned: Snapshot | None,
    spec: AuditSpec,
    *,
    gains: tuple[Gain, ...],
    home: Home,
) -> AuditOutcome:
    """Write the audit's folder, in the place of an earlier one of the same data set once it is whole."""
    found = findings(judged, interactions=snapshot.counts.interactions, top=spec.top)
    final = home.audits / spec.dataset
    outcome = AuditOutcome(final, spec, snapshot, cleaned, found, gains)
    with working_folder(final.parent) as work:
        content = work / "content"
        content.mkdir()
        shutil.copyfile(judged.interactions, content / INTERACTIONS_FILE)
        write_groups(judged, content)
        text = json.dumps(outcome.to_dict(), ensure_ascii=False, indent=1)
        (content / RESULT_FILE).write_text(text + "\n", encoding="utf-8")
        write_page(found, spec.dataset, content, gains=gains, facts=_facts(outcome))
        publish_over(content, final)
    return outcome


def audited(names: Collection[str], *, home: Home) -> list[Path]:
    """The judged interactions, one Parquet file an audit, of the audits of snapshots with these names."""
    results = sorted(home.audits.glob(f"*/{RESULT_FILE}"))
    digests = {path.parent: json.loads(path.read_text(encoding="utf-8"))["digest"] for path in results}
    return [folder / INTERACTIONS_FILE for folder, digest in digests.items() if snapshot_name(digest) in names]


def _facts(outcome: AuditOutcome) -> list[tuple[str, str]]:
    facts = [
        ("snapshot", outcome.snapshot.name),
        ("files", ", ".join(file.name for file in outcome.snapshot.manifest.sources) or "none: the log is generated"),
    ]
    if outcome.cleaned is not None:
        left_out = outcome.snapshot.counts.interactions - outcome.cleaned.counts.interactions
        below = f"{counted(left_out, 'interaction')} less likely genuine than {outcome.spec.clean_below:g}"
        facts.append(("cleaned snapshot", f"{outcome.cleaned.name}, without {below}"))
    return facts
