"""`rec-denoiser audit`: judge a log, and say what came of it."""

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flows.running import follow, refuse_unreadable, refuse_unwritable
from tasks.audit.specs import AuditSpec
from tasks.reporting.columns import columns
from tasks.statistics.estimates import Estimate
from tasks.wording import counted, moment, on_one_line

SHOWN = 10
"""How many of each the terminal shows; the report has all that were asked for."""

WIDTH = 88


def run_audit(spec: AuditSpec, *, json_path: str | None) -> int:
    """Audit a log; exit status."""
    if json_path is not None:
        refuse_unwritable(Path(json_path))
    refuse_unreadable(spec.source, spec.prepare)
    from flows.audit import audit

    outcome = follow(lambda: audit(spec))
    print("\n".join(told(outcome)))
    if json_path is not None:
        content = json.dumps(outcome, ensure_ascii=False, indent=1)
        Path(json_path).write_text(content + "\n", encoding="utf-8")
        print(f"Figures:    {json_path}")
    return 0


def told(outcome: Mapping[str, Any]) -> Iterator[str]:
    """What the terminal shows of an audit, as of `tasks.audit.outcome.AuditOutcome.to_dict`."""
    from tasks.audit.gain import Gain
    from tasks.reporting.audit import area, gain_words, percent

    found = outcome["found"]
    judged, everything = found["judged"], found["judged"] + found["left_alone"]
    yield f"\nNoise in {outcome['dataset']}: {percent(Estimate(**found['share']))}, with its 95 % interval,"
    yield f"of the {judged:,} of {everything:,} interactions that may be trained on, which were judged."
    yield "Noise that fits its neighbours cannot be told and is not in it; genuine interactions"
    yield "that look like noise are."
    if found["auroc"]:
        yield f"The log itself labels {100 * found['labelled'] / judged:.1f} % as noise, which the audit has not seen."
    for kind, value in found["auroc"].items():
        yield f"AUROC beside the log's own labels ({kind}): {area(Estimate(**value))}"
    yield ""
    suspects = found["suspects"]
    labelled = any(row["label"] for row in suspects)
    yield columns(
        ("NOISE", "USER", "ITEM", "TIME", "POSITION", *(("LABEL",) if labelled else ())),
        [
            (
                f"{row['probability']:.3f}",
                row["user"],
                row["item"],
                "–" if row["time"] is None else moment(row["time"]),
                str(row["position"]),
                *((row["label"] or "–",) if labelled else ()),
            )
            for row in suspects[:SHOWN]
        ],
        right=("NOISE", "POSITION"),
    )
    if suspects:
        yield textwrap.fill(f"The first: {on_one_line(suspects[0]['reason'])}.", WIDTH)
    for what in ("users", "items"):
        if found[f"suspicious_{what}"]:
            yield f"\n{_groups(what, found[f'suspicious_{what}'])}"
    yield ""
    if (cleaned := outcome["cleaned"]) is not None:
        yield f"Cleaned:    {cleaned['snapshot']}"
        left_out = counted(cleaned["left_out"], "interaction")
        yield f"            without {left_out} less likely genuine than {cleaned['below']:g}"
        yield f"            train on it: rec-denoiser run --source {cleaned['source']} --dataset NAME"
    for each in outcome["gains"]:
        yield textwrap.fill(gain_words(Gain(**each | {"gain": Estimate(**each["gain"])})), WIDTH)
    yield f"Report:     {outcome['report']}"
    told_of = max(len(found[what]) for what in ("suspects", "suspicious_users", "suspicious_items"))
    if told_of > SHOWN:
        yield f"            of the first {told_of} of each, {SHOWN} of which are shown here, and why each is there"
    yield f"Parquet:    {outcome['folder']}/interactions.parquet, users.parquet, items.parquet"


def _groups(what: str, groups: Sequence[Mapping[str, Any]]) -> str:
    return columns(
        ("NOISE", what.removesuffix("s").upper(), "EVENTS", "EXPECTED NOISE"),
        [
            (f"{row['probability']:.3f}", row["id"], f"{row['events']:,}", f"{row['expected_noise']:.1f}")
            for row in groups[:SHOWN]
        ],
        right=("NOISE", "EVENTS", "EXPECTED NOISE"),
    )
