"""Matrices as inline SVG: one hue, the fuller the greater, so that neither theme nor colour blindness hides the order.

What is negative has a second hue, and what is closed a stroke across it; a cell's `<title>` is its tooltip.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tasks.reporting.charts import Caption
from tasks.reporting.svg import element, path, words

WIDTH = 460.0
LETTER = 6.9
"""The width of a letter, in the units of the drawing: of capitals and digits in a wide type, for what is longer is cut
off at the box's edge.
"""

LONGEST = 13
"""Letters of a label that are drawn; its tooltip has all."""

LARGEST_CELL = 34.0
FAINTEST = 0.02
STEPS = 6


@dataclass(frozen=True)
class Cell:
    """A cell at a row and a column, from 0, with its tooltip. shade: how full its hue is, from −1, the second one's,
    to 1. `is_closed` gives it a stroke.
    """

    row: int
    column: int
    shade: float
    tip: str
    is_closed: bool = False


@dataclass(frozen=True)
class Matrix:
    """Cells of a table with labels; where there is no cell, nothing is drawn."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[Cell, ...]


def heat_map(matrix: Matrix, caption: Caption, *, heading: str) -> str:
    """The matrix under a heading, rows from top to bottom, in a box that scrolls where it would become too small."""
    left = _room(matrix.rows)
    top = 22.0 + _room(matrix.columns)
    size = min(LARGEST_CELL, (WIDTH - left - 4.0) / max(1, len(matrix.columns)))
    labels = [*_row_labels(matrix, left, top, size), *_column_labels(matrix, left, top, size)]
    drawn = "".join(_cell(cell, left, top, size) for cell in matrix.cells)
    strokes = "".join(_stroke(cell, left, top, size) for cell in matrix.cells if cell.is_closed)
    chart = element(
        "svg",
        [
            words("title", caption.title, id=f"{caption.ident}-title"),
            words("desc", caption.description, id=f"{caption.ident}-desc"),
            words("text", heading, x=0.0, y=12.0, class_="axis"),
            *labels,
            element("g", drawn, class_="cells"),
            element("g", strokes, class_="shut"),
        ],
        class_="chart heat",
        viewBox=f"0 0 {WIDTH:g} {top + size * len(matrix.rows) + 4.0:g}",
        role="img",
        aria_labelledby=f"{caption.ident}-title {caption.ident}-desc",
    )
    return element("div", chart, class_="scroll", tabindex="0", role="region", aria_label=caption.title)


def hue_key(low: str, high: str, *, closed: str | None = None) -> str:
    """What the hue means: from `low`, which is nothing, to `high`; and what a stroke means, where there is one."""
    steps = "".join(
        element("rect", x=float(14 * step), y=1.0, width=14.0, height=12.0, class_="cell", fill_opacity=step / STEPS)
        for step in range(STEPS + 1)
    )
    swatch = element("svg", steps, viewBox="0 0 98 14", width="98", height="14", class_="swatch", aria_hidden="true")
    entries = [element("li", words("span", low) + swatch + words("span", high))]
    if closed is not None:
        stroke = element("g", path([(1.0, 13.0), (13.0, 1.0)]), class_="shut")
        box = element("svg", stroke, viewBox="0 0 14 14", width="14", height="14", class_="swatch", aria_hidden="true")
        entries.append(element("li", box + words("span", closed)))
    return element("ul", entries, class_="key")


def _room(labels: Sequence[str]) -> float:
    return max((min(len(label), LONGEST) for label in labels), default=0) * LETTER + 8.0


def _row_labels(matrix: Matrix, left: float, top: float, size: float) -> Iterator[str]:
    for number, label in enumerate(matrix.rows):
        yield _label(label, x=left - 5.0, y=top + (number + 0.5) * size + 3.5, anchor="end", turn=None)


def _column_labels(matrix: Matrix, left: float, top: float, size: float) -> Iterator[str]:
    for number, label in enumerate(matrix.columns):
        x, y = left + (number + 0.5) * size + 3.5, top - 5.0
        yield _label(label, x=x, y=y, anchor="start", turn=f"rotate(-90 {x:.2f} {y:.2f})")


def _label(label: str, *, x: float, y: float, anchor: str, turn: str | None) -> str:
    shown = label if len(label) <= LONGEST else label[: LONGEST - 1] + "…"
    told = words("title", label) + words("tspan", shown)
    return element("text", told, x=x, y=y, text_anchor=anchor, transform=turn, class_="label")


def _cell(cell: Cell, left: float, top: float, size: float) -> str:
    return element(
        "rect",
        words("title", cell.tip),
        x=left + cell.column * size,
        y=top + cell.row * size,
        width=size,
        height=size,
        class_="cell" if cell.shade >= 0.0 else "cell less",
        fill_opacity=max(FAINTEST, abs(cell.shade)),
    )


def _stroke(cell: Cell, left: float, top: float, size: float) -> str:
    x, y = left + cell.column * size, top + cell.row * size
    return path([(x + 0.2 * size, y + 0.8 * size), (x + 0.8 * size, y + 0.2 * size)])
