"""Tables and plots for people: the terminal, Prefect's artifacts, MLflow."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from models.engine.metrics import SELECTION_METRIC
from tasks.compare import COMPARED, Row
from tasks.reporting.scales import Scale, span, ticks
from tasks.reporting.svg import element, path, words

HEADINGS = {
    "test.full_unseen.ndcg_at_10": "NDCG@10",
    "test.full_unseen.hit_at_10": "Hit@10",
    "test.sampled100.ndcg_at_10": "NDCG@10 s100",
    "test.sampled100.hit_at_10": "Hit@10 s100",
}
LEFT, RIGHT = 60.0, 620.0
"""Where the curves of a plot begin and end."""

LEGEND = (
    "Test split. NDCG@10 and Hit@10 rank the target in the whole catalogue less the items seen before; s100 ranks it "
    "among 100 sampled unseen items. Retention is the share of NDCG@10 kept from the least noisy data: a method that "
    "is worse to begin with can retain more, so read it beside the absolute values."
)


def table(rows: Sequence[Row]) -> list[dict[str, str]]:
    """The comparison as text cells, one dictionary a row, the same keys in each."""
    return [
        {"Method": row.method, "Noise": row.noise}
        | {HEADINGS[name]: _value(row.means[name], row.deviations[name]) for name in COMPARED}
        | {"Retention": "–" if row.retention is None else f"{row.retention:.1%}"}
        for row in rows
    ]


def markdown(rows: Sequence[Row]) -> str:
    """The comparison as a Markdown table with its legend."""
    cells = table(rows)
    names = list(cells[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "|".join(["---", "--:"] + ["--:"] * (len(names) - 2)) + "|"]
    lines += ["| " + " | ".join(row[name] for name in names) + " |" for row in cells]
    return "\n".join(lines) + f"\n\n{LEGEND}\n"


def plain(rows: Sequence[Row]) -> str:
    """The comparison in columns, for a terminal."""
    cells = table(rows)
    widths = {name: max(len(name), *(len(row[name]) for row in cells)) for name in cells[0]}

    def line(row: Mapping[str, str]) -> str:
        return "  ".join(
            row[name].ljust(width) if name == "Method" else row[name].rjust(width) for name, width in widths.items()
        ).rstrip()

    rule = "  ".join("─" * width for width in widths.values())
    return "\n".join([line({name: name for name in widths}), rule, *(line(row) for row in cells)])


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
