"""Tables and plots for people: the terminal, Prefect's artifacts, MLflow."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from models.engine.metrics import SELECTION_METRIC
from tasks.compare import COMPARED, Row
from tasks.detect import Verdict
from tasks.reporting.columns import ruled
from tasks.reporting.scales import Scale, span, ticks
from tasks.reporting.svg import element, path, words

HEADINGS = {
    "test.full_unseen.ndcg_at_10": "NDCG@10",
    "test.full_unseen.hit_at_10": "Hit@10",
    "test.sampled100.ndcg_at_10": "NDCG@10 s100",
    "test.sampled100.hit_at_10": "Hit@10 s100",
}
COLOURS = ("#4477aa", "#aa3377", "#228833", "#ccbb44", "#66ccee", "#ee6677")
LEFT, RIGHT = 60.0, 620.0
"""Where the curves of a plot begin and end."""

LEGEND = (
    "Test split; ± is the standard deviation over seeds, and no interval. NDCG@10 and Hit@10 rank the target in the "
    "whole catalogue less the items seen before; s100 ranks it among 100 unseen items drawn with replacement, which "
    "says less where a catalogue has not many more. Retention is the share of NDCG@10 kept from the least noisy data: "
    "a method that is worse to begin with can retain more, so read it beside the absolute values."
)

LINE = 88
"""How long a line of the legend is in a terminal."""

DETECTION_LEGEND = (
    "Noise detection: the area under the ROC curve, on the labelled noise in what was trained on; 0.5 is chance. Own "
    "score: how unlikely the trained model finds an interaction beside its user's others; popularity: how rare its "
    "item is; gate: how little attention is let through to it."
)
DETECTORS = {"own_score": "own score", "noise_model": "noise model"}
"""How detectors are called whose column has another name."""


def table(rows: Sequence[Row]) -> list[dict[str, str]]:
    """The comparison as text cells, one dictionary a row, the same keys in each."""
    return [
        {"Method": row.method, "Noise": row.noise}
        | {HEADINGS[name]: _value(row.means[name], row.deviations[name]) for name in COMPARED}
        | {"Retention": "–" if row.retention is None else f"{row.retention:.1%}"}
        for row in rows
    ]


def detection_table(rows: Sequence[Row]) -> list[dict[str, str]]:
    """The areas under the ROC curves as text cells, of the rows that have some."""
    found = [row for row in rows if row.detection]
    names = list(dict.fromkeys(name for row in found for name in row.detection))
    return [
        {"Method": row.method, "Noise": row.noise}
        | {DETECTORS.get(name, name): f"{row.detection[name]:.3f}" if name in row.detection else "–" for name in names}
        for row in found
    ]


def markdown(rows: Sequence[Row], failed: Mapping[str, str] | None = None) -> str:
    """The comparison as a Markdown table with its legend; after it the noise detection, where there is some, and by
    label why cells failed, which are missing from it.
    """
    parts = [_markdown(table(rows)), LEGEND]
    if detected := detection_table(rows):
        parts += [_markdown(detected), DETECTION_LEGEND]
    if failed:
        parts.append("\n".join(["Failed:", "", *(f"- {label}: {why}" for label, why in failed.items())]))
    return "\n\n".join(parts) + "\n"


def plain(rows: Sequence[Row], failed: Mapping[str, str] | None = None) -> str:
    """As `markdown`, in columns for a terminal."""
    parts = [ruled(table(rows), left=("Method",)), textwrap.fill(LEGEND, LINE)]
    if detected := detection_table(rows):
        parts.append(
            f"Noise detection, area under the ROC curve (0.5 is chance):\n\n{ruled(detected, left=('Method',))}"
        )
    if failed:
        parts.append("\n".join(["Failed:", *(f"  {label}: {why}" for label, why in failed.items())]))
    return "\n\n".join(parts)


def roc_csv(verdicts: Sequence[Verdict]) -> str:
    """The points of every detector's ROC curve, thinned, with the area under it; kind is empty where it is over all."""
    lines = ["detector,kind,auroc,false_positive_rate,true_positive_rate"]
    for verdict in verdicts:
        kind = '"{}"'.format(verdict.kind.replace('"', '""')) if verdict.kind else ""
        for false, true in zip(verdict.curve.false_positive, verdict.curve.true_positive, strict=True):
            lines.append(f"{verdict.detector},{kind},{verdict.auroc.value:.6f},{false:.6f},{true:.6f}")
    return "\n".join(lines) + "\n"


def roc_chart(verdicts: Sequence[Verdict], *, title: str) -> str:
    """An SVG of every detector's ROC curve over all noise, with the area under it and its interval over users."""
    across, up = Scale(0.0, 1.0, LEFT, 400.0), Scale(0.0, 1.0, 390.0, 50.0)
    drawn = [words("text", title, x=LEFT, y=22, font_size=15)]
    for tick in ticks(0.0, 1.0):
        drawn.append(path([(across(0.0), up(tick.value)), (across(1.0), up(tick.value))], stroke="#dddddd"))
        drawn += [_word(tick.label, LEFT - 24.0, up(tick.value) + 4.0), _word(tick.label, across(tick.value), 408.0)]
    drawn.append(path([(across(0.0), up(0.0)), (across(1.0), up(1.0))], stroke="#666666", stroke_dasharray="2 3"))
    overall = [verdict for verdict in verdicts if verdict.kind is None]
    for number, verdict in enumerate(overall):
        colour = COLOURS[number % len(COLOURS)]
        rates = zip(verdict.curve.false_positive, verdict.curve.true_positive, strict=True)
        drawn.append(path([(across(x), up(y)) for x, y in rates], stroke=colour, stroke_width=2, fill="none"))
        area, name = verdict.auroc, DETECTORS.get(verdict.detector, verdict.detector)
        limits = "" if area.low is None or area.high is None else f" ({area.low:.3f} to {area.high:.3f})"
        drawn.append(words("text", f"{name}: {area.value:.3f}{limits}", x=415.0, y=70.0 + 20.0 * number, fill=colour))
    drawn.append(words("text", "share of genuine interactions flagged (dotted: chance)", x=LEFT, y=428))
    drawn.append(words("text", "share of noise flagged", x=LEFT, y=42))
    return _drawing(drawn)


def _markdown(cells: Sequence[Mapping[str, str]]) -> str:
    names = list(cells[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "|".join(["---", "--:"] + ["--:"] * (len(names) - 2)) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row[name] for name in names) + " |" for row in cells)])


def learning_curve(history: Sequence[Mapping[str, Any]], *, title: str, best_epoch: int) -> str:
    """An SVG of the training loss and the validation NDCG@10 by epoch, the chosen epoch marked.

    history: records `{"epoch", "metrics"}`.
    """
    across = Scale(*span([record["epoch"] for record in history], pad=0.02), LEFT, RIGHT)
    drawn = [words("text", title, x=LEFT, y=22, font_size=15)]
    for top, name, label, colour in (
        (40.0, "train.loss", "training loss", "#4477aa"),
        (230.0, SELECTION_METRIC, "validation NDCG@10", "#aa3377"),
    ):
        points = [(record["epoch"], record["metrics"][name]) for record in history if name in record["metrics"]]
        drawn += _panel(points, across, top=top, label=label, colour=colour, marked=best_epoch)
    drawn += [_word(tick.label, across(tick.value), 418.0) for tick in ticks(across.low, across.high)]
    drawn.append(words("text", "epoch (dotted: the one that validation chose)", x=LEFT, y=438))
    return _drawing(drawn)


def _drawing(drawn: Sequence[str]) -> str:
    """A file of its own, on white."""
    page = element("rect", width="100%", height="100%", fill="#ffffff")
    return element(
        "svg",
        [page, *drawn],
        xmlns="http://www.w3.org/2000/svg",
        viewBox="0 0 640 450",
        font_family="sans-serif",
        font_size=12,
        fill="#333333",
    )


def _panel(
    points: Sequence[tuple[int, float]], across: Scale, *, top: float, label: str, colour: str, marked: int
) -> Iterator[str]:
    """A curve with its grid, 150 high; an empty one where there are no points."""
    up = Scale(*span(value for _, value in points), top + 170.0, top + 20.0)
    yield words("text", label, x=LEFT, y=top + 12.0, fill=colour)
    for tick in ticks(up.low, up.high, most=4):
        yield path([(LEFT, up(tick.value)), (RIGHT, up(tick.value))], stroke="#dddddd")
        yield _word(tick.label, LEFT - 24.0, up(tick.value) + 4.0)
    chosen = across(marked)
    yield path([(chosen, top + 20.0), (chosen, top + 170.0)], stroke="#666666", stroke_dasharray="2 3")
    if points:
        yield path([(across(epoch), up(value)) for epoch, value in points], stroke=colour, stroke_width=2, fill="none")


def _word(text: str, x: float, y: float) -> str:
    return words("text", text, x=x, y=y, text_anchor="middle")


def _value(mean: float, deviation: float | None) -> str:
    return f"{mean:.4f}" if deviation is None else f"{mean:.4f} ± {deviation:.4f}"
