"""An audit's page: how noisy a log is, and what in it looks most like noise."""

from collections.abc import Sequence
from pathlib import Path

from tasks.audit.findings import LEAST_OF_ITEM, LEAST_OF_USER, Findings, Group
from tasks.audit.gain import Gain
from tasks.reporting.charts import Caption, Columns, column_chart
from tasks.reporting.grid import Column, Frame, Grid, Item, html
from tasks.reporting.shell import document, entries, links
from tasks.reporting.sights import signed
from tasks.reporting.svg import element, words
from tasks.statistics.estimates import Estimate

PAGE = "report.html"

READING = """\
Nobody has told which interactions are noise: the log is compared with itself. Items are put in events’ places on \
purpose, drawn evenly and by popularity, and a logistic regression learns how an event of the log differs from one \
that was put there: by how often an item stands near the items around it elsewhere in the log, and by how popular it \
is. The probability of being noise follows from that and from the share of noise, which is the largest that these \
numbers admit.

So the share is no census. Genuine interactions that look like noise, such as those with rare items, raise it; noise \
that fits its neighbours cannot be told and is not in it, nor is most of what a user does who does nothing else, and \
the estimate leans downward in a small log. Its interval says what other users would have given, and reaches as much \
further to both sides as the estimate was off where the answer is known: in this log less its suspects, with as much \
noise planted anew. It is of noise that does not fit its neighbours: of that it held the truth in all of thirteen \
generated logs whose noise is known, and of all noise, second persons in an account with it, in four.

Judged are the interactions that may be trained on. Those that are held out to rank with are not, and neither is a \
person: someone whose taste nobody shares looks like noise here.
"""


def write_page(
    found: Findings, dataset: str, folder: Path, *, gains: Sequence[Gain], facts: Sequence[tuple[str, str]]
) -> Path:
    """Write `report.html` into `folder`; its path. The same findings, the same bytes."""
    page = folder / PAGE
    page.write_text(_page(found, dataset, gains, facts), encoding="utf-8", newline="\n")
    return page


def sentence(found: Findings, dataset: str) -> str:
    """The answer in a sentence."""
    return f"About {percent(found.share)} of the {found.judged:,} judged interactions of {dataset} look like noise."


def percent(share: Estimate) -> str:
    """A share in % with its interval."""
    value = f"{100 * (share.value or 0):.1f} %"
    if share.low is None or share.high is None:
        return value
    return f"{value} ({100 * share.low:.1f} to {100 * share.high:.1f} %)"


def area(found: Estimate) -> str:
    """An area under the ROC curve with its interval."""
    limits = "" if found.low is None or found.high is None else f" ({found.low:.3f} to {found.high:.3f})"
    return f"{found.value or 0:.3f}{limits}"


def _page(found: Findings, dataset: str, gains: Sequence[Gain], facts: Sequence[tuple[str, str]]) -> str:
    counts = f"{found.judged:,} of {found.judged + found.left_alone:,} interactions judged"
    opening = (
        words("h1", f"How noisy is {dataset}?")
        + words("p", sentence(found, dataset), class_="question")
        + words("p", f"{counts} · {found.users:,} users · {found.items:,} items", class_="byline")
    )
    files = {f"{name}.csv": frame.csv() for name, frame in _frames(found).items()}
    sections = [
        ("share", "The share of noise", _share(found)),
        ("labels", "Beside the log’s own labels", _labels(found)),
        *([("gain", "What the cleaned log gains", _gains(gains))] if gains else []),
        ("interactions", "The most suspicious interactions", html(_suspects(found)) + links(files, "interactions")),
        ("users", "The most suspicious users", _ranked("users", found.suspicious_users, LEAST_OF_USER, files)),
        ("items", "The most suspicious items", _ranked("items", found.suspicious_items, LEAST_OF_ITEM, files)),
        ("reading", "How to read it", "".join(words("p", part) for part in READING.strip().split("\n\n"))),
        ("data", "Data", entries(facts)),
    ]
    return document(f"How noisy is {dataset}?", opening, sections, skip="To the share of noise")


def _share(found: Findings) -> str:
    kinds = ", ".join(f"{100 * share:.1f} % like {name} draws" for name, share in found.kinds.items())
    told = words(
        "p",
        f"The estimated share of noise is {percent(found.share)}, 95 % interval in brackets: {kinds}. "
        f"{_planted_anew(found)} The interactions’ own probabilities add up to {found.expected_noise:,.0f} noisy ones "
        f"({100 * found.expected_noise / found.judged:.1f} %).",
    )
    bins = len(found.histogram)
    caption = Caption(
        "histogram",
        "How suspicious the interactions are",
        "; ".join(
            f"{number / bins:.2f} to {(number + 1) / bins:.2f}: {n:,}" for number, n in enumerate(found.histogram)
        ),
    )
    chart = column_chart(
        Columns(found.histogram, low=0.0, high=1.0),
        caption,
        x_label="probability of being noise",
        y_label="interactions",
    )
    figure = element("figcaption", words("h3", caption.title)) + element("div", element("div", chart), class_="panels")
    return told + element("figure", figure)


def _planted_anew(found: Findings) -> str:
    """One sentence: how the estimate fared where the answer is known."""
    points = 100 * found.reads_high
    if abs(points) < 0.05:
        off = "read right"
    else:
        off = f"read {abs(points):.1f} points too {'high' if points > 0 else 'low'}"
    return f"With as much noise planted in the rest of the log, the estimate {off}, which the interval takes in."


def gain_words(found: Gain) -> str:
    """One sentence without its full stop: both values, and the gain with its interval, or why there is none."""
    among = "all unseen items" if "full" in found.metric else "100 sampled items"
    change = found.gain
    both = (
        f"NDCG@10 on validation among {among}: {found.as_it_is:.4f} on the log as it is, {found.cleaned:.4f} on the "
        "cleaned one"
    )
    if change.value is None:
        return f"{both}; what is gained cannot be said: {change.reason}"
    if change.low is None or change.high is None:
        return f"{both}, {signed(change.value)} %, without an interval: {change.reason}"
    return f"{both}, {signed(change.value)} % ({signed(change.low)} to {signed(change.high)} %)"


def _gains(gains: Sequence[Gain]) -> str:
    told = words(
        "p",
        "SASRec with BCE, trained with one seed on the log as it is and on the cleaned one, each ranked with its own "
        "histories; 95 % intervals over users in brackets, which know nothing of other seeds.",
    )
    return told + "".join(words("p", f"{gain_words(each)}.") for each in gains)


def _labels(found: Findings) -> str:
    if not found.auroc:
        return ""
    rows = tuple((Item(kind), Item(area(value), value=value.value)) for kind, value in found.auroc.items())
    caption = (
        f"The log labels {found.labelled:,} of the judged interactions ({100 * found.labelled / found.judged:.1f} %) "
        "as noise, and the audit has not seen the labels. Area under the ROC curve: the probability that a labelled "
        "interaction is more suspicious than one that is not, 0.5 by chance; 95 % interval over users."
    )
    return html(Grid("labels", caption, (Column("Kind"), Column("AUROC", numeric=True)), rows))


def _suspects(found: Findings) -> Grid:
    labelled = any(suspect.label for suspect in found.suspects)
    rows = tuple(
        (
            Item(str(rank), value=rank),
            Item(suspect.user),
            Item(suspect.item),
            Item(suspect.moment, value=suspect.time),
            Item(str(suspect.position), value=suspect.position),
            Item(f"{suspect.probability:.3f}", value=suspect.probability),
            *((Item(suspect.label or "–"),) if labelled else ()),
            Item(suspect.reason),
        )
        for rank, suspect in enumerate(found.suspects, start=1)
    )
    columns = (
        Column("Rank", numeric=True),
        Column("User"),
        Column("Item"),
        Column("Time"),
        Column("Position", numeric=True),
        Column("Probability", numeric=True),
        *((Column("Label"),) if labelled else ()),
        Column("Why"),
    )
    caption = f"The {len(rows)} interactions most likely to be noise; positions count from 0. Times are UTC."
    return Grid("interactions", caption, columns, rows)


def _ranked(name: str, groups: Sequence[Group], least: int, files: dict[str, str]) -> str:
    if not groups:
        return words("p", f"None has {least} judged interactions or more.")
    rows = tuple(
        (
            Item(str(rank), value=rank),
            Item(group.id),
            Item(f"{group.events:,}", value=group.events),
            Item(f"{group.expected_noise:.1f}", value=group.expected_noise),
            Item(f"{group.probability:.3f}", value=group.probability),
            Item(group.reason),
        )
        for rank, group in enumerate(groups, start=1)
    )
    columns = (
        Column("Rank", numeric=True),
        Column(name.removesuffix("s").capitalize(), names=True),
        Column("Events", numeric=True),
        Column("Expected noise", numeric=True),
        Column("Mean probability", numeric=True),
        Column("Why"),
    )
    caption = f"The {len(rows)} {name} with the highest mean probability, of those with {least} judged events or more."
    return html(Grid(name, caption, columns, rows)) + links(files, name)


def _frames(found: Findings) -> dict[str, Frame]:
    suspects = Frame(
        ("user_id", "item_id", "time", "position", "noise_probability", "label", "reason"),
        tuple((s.user, s.item, s.time, s.position, s.probability, s.label, s.reason) for s in found.suspects),
    )
    names = ("id", "events", "expected_noise", "mean_probability", "reason")
    users, items = (
        Frame(names, tuple((g.id, g.events, g.expected_noise, g.probability, g.reason) for g in groups))
        for groups in (found.suspicious_users, found.suspicious_items)
    )
    return {"interactions": suspects, "users": users, "items": items}
