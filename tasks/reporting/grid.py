"""Tables of text for people, and frames of numbers for programs: HTML, Markdown, LaTeX, CSV."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field

from tasks.reporting.svg import element, escape, prose, words

Number = str | int | float | None

LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "−": "$-$",
    "–": "--",
    "’": "'",
    "±": r"$\pm$",
    "×": r"$\times$",
    "Δ": r"$\Delta$",
    "β": r"$\beta$",
    "γ": r"$\gamma$",
    "Φ": r"$\Phi$",
    "₀": "$_0$",
    "▲": r"$^{+}$",
    "▼": r"$^{-}$",
    "○": r"$^{\circ}$",
    "…": r"\ldots{}",
    "\N{NO-BREAK SPACE}": "~",
}


@dataclass(frozen=True)
class Item:
    """A cell of a table. value: what it is sorted by; note: small print under it; mark: ▲, ▼ or ○ after it."""

    text: str
    value: Number = None
    note: str = ""
    mark: str = ""
    best: bool = False

    @property
    def plain(self) -> str:
        return " ".join(part for part in (self.text + self.mark, f"({self.note})" if self.note else "") if part)


@dataclass(frozen=True)
class Column:
    """A column's heading, and whether it holds numbers. names: it says what a row is of, and stays in view where the
    table is wider than the page.
    """

    name: str
    numeric: bool = False
    names: bool = False


@dataclass(frozen=True)
class Grid:
    """A table. `breaks`: the rows before which a group begins."""

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Item, ...], ...]
    breaks: frozenset[int] = field(default=frozenset())


@dataclass(frozen=True)
class Frame:
    """Numbers by column, as a program reads them."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Number, ...], ...]

    def csv(self) -> str:
        """Comma-separated, full precision, nothing where there is no value."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([self.columns, *(["" if value is None else value for value in row] for row in self.rows)])
        return text.getvalue()


SHORT = 20
"""Texts of so many letters are not broken."""
LONG = 60
"""Texts of so many letters or more have a wide column, even beyond the page: in a narrow one rows would be high."""

MARKS = {"▲": "significantly better", "▼": "significantly worse", "○": "not significant"}


def records(grid: Grid) -> list[dict[str, str]]:
    """The rows as plain text by heading; a heading that comes twice is told apart by the one before it."""
    names: list[str] = []
    for number, column in enumerate(grid.columns):
        taken = column.name in names and number
        names.append(f"{column.name} ({grid.columns[number - 1].name})" if taken else column.name)
    return [dict(zip(names, (item.plain for item in row), strict=True)) for row in grid.rows]


def html(grid: Grid) -> str:
    """A table that the page's script lets people sort, in a box that scrolls by itself beside the column that names its
    rows, which is the first one where none is said to.
    """
    names = next((column for column in grid.columns if column.names), grid.columns[0])
    head = (
        element(
            "th",
            element("button", _heading(column.name), type="button"),
            scope="col",
            class_=_classes("number" if column.numeric else None, names=column is names),
        )
        for column in grid.columns
    )
    body = (
        element("tr", _row(row, grid.columns, names), class_="first" if number in grid.breaks else None)
        for number, row in enumerate(grid.rows)
    )
    caption = f"caption-{grid.name}"
    table = element(
        "table",
        element("thead", element("tr", head)) + element("tbody", body),
        class_="sortable",
        id=f"table-{grid.name}",
        aria_labelledby=caption,
    )
    box = element("div", table, class_="scroll", tabindex="0", role="region", aria_labelledby=caption)
    # Outside the table, which may be wider than a telephone.
    return words("p", grid.caption, class_="caption", id=caption) + box


def markdown(grid: Grid) -> str:
    """The table in GitHub's Markdown; the best values are bold."""
    lines = [
        _markdown_row([column.name for column in grid.columns]),
        "|" + "|".join("---:" if column.numeric else "---" for column in grid.columns) + "|",
        *(_markdown_row([item.plain for item in row], best=[item.best for item in row]) for row in grid.rows),
    ]
    return "\n".join(["", *lines, "", _markdown(grid.caption), ""]).lstrip("\n")


def latex(grid: Grid) -> str:
    """The table as LaTeX with the rules of booktabs; the best values are bold."""
    kinds = "".join("r" if column.numeric else "l" for column in grid.columns)
    body = []
    for number, row in enumerate(grid.rows):
        if number and number in grid.breaks:
            body.append(r"\midrule")
        cells = (rf"\textbf{{{_latex(item.plain)}}}" if item.best else _latex(item.plain) for item in row)
        body.append(" & ".join(cells) + r" \\")
    return "\n".join(
        [
            "% needs \\usepackage{booktabs} and, for wide tables, \\usepackage{graphicx}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_latex(grid.caption)}}}",
            rf"\begin{{tabular}}{{{kinds}}}",
            r"\toprule",
            " & ".join(_latex(column.name) for column in grid.columns) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _heading(name: str) -> str:
    """A heading whose arrow stays beside its last word."""
    rest, _, last = name.rpartition(" ")
    return f"{escape(rest)} " * bool(rest) + element(
        "span", f'{escape(last)}<span class="arrow" aria-hidden="true"></span>', class_="last"
    )


def _row(row: Sequence[Item], columns: Sequence[Column], names: Column) -> str:
    return "".join(_item(item, column, names=column is names) for item, column in zip(row, columns, strict=True))


def _item(item: Item, column: Column, *, names: bool) -> str:
    held = words("b", item.text) + '<span class="hidden"> (best)</span>' if item.best else prose(item.text)
    if item.mark:
        sign = words("span", item.mark, class_=f"sign {_sign(item.mark)}", aria_hidden="true", title=MARKS[item.mark])
        held += sign + words("span", f" {MARKS[item.mark]}", class_="hidden")
    if item.note:
        held += words("small", item.note)
    value = item.text if item.value is None and not column.numeric else item.value
    return element(
        "td",
        held,
        class_=_classes("number" if column.numeric else _width(item.text), names=names),
        data_value="" if value is None else repr(value) if isinstance(value, float) else value,
    )


def _classes(kind: str | None, *, names: bool) -> str | None:
    return " ".join(filter(None, [kind, "names" * names])) or None


def _width(text: str) -> str | None:
    return "short" if len(text) <= SHORT else "long" if len(text) >= LONG else None


def _sign(mark: str) -> str:
    return {"▲": "up", "▼": "down"}.get(mark, "level")


def _markdown_row(texts: Sequence[str], *, best: Sequence[bool] = ()) -> str:
    cells = [_markdown(text) for text in texts]
    marked = [f"**{cell}**" if bold else cell for cell, bold in zip(cells, best or [False] * len(cells), strict=True)]
    return "| " + " | ".join(marked) + " |"


def _markdown(text: str) -> str:
    flat = " ".join(text.split())
    for sign in "\\|*_`<>[]":
        flat = flat.replace(sign, f"\\{sign}")
    return flat


def _latex(text: str) -> str:
    return "".join(LATEX.get(sign, sign) for sign in text.replace("\n", " "))
