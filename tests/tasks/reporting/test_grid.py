"""Tables as HTML, Markdown and LaTeX, numbers as CSV."""

import csv
import io
from pathlib import Path

from tasks.reporting.grid import Column, Frame, Grid, Item, latex, markdown
from tasks.reporting.grid import html as as_html
from tests.tasks.reporting.reading import (
    balanced,
)


def test_best_values_and_marks_reach_every_form() -> None:
    grid = Grid(
        "t",
        "A | table",
        (Column("Name"), Column("Value", numeric=True)),
        (
            (Item("a_b"), Item("0.5", value=0.5, note="0.4 to 0.6", mark="▲", best=True)),
            (Item("c"), Item("–")),
        ),
        frozenset({0, 1}),
    )
    assert "**0.5▲ (0.4 to 0.6)**" in markdown(grid)
    assert r"a\_b" in latex(grid)
    assert r"\textbf{0.5$^{+}$ (0.4 to 0.6)}" in latex(grid)
    shown = as_html(grid)
    assert "<b>0.5</b>" in shown
    assert "significantly better" in shown
    assert 'data-value="0.5"' in shown
    assert 'data-value=""' in shown  # what has no value is sorted last


def test_latex_tables_are_well_formed(page: Path) -> None:
    files = sorted((page.parent / "tables").glob("*.tex"))
    assert {"comparison.tex", "hits.tex", "gap-closed.tex", "datasets.tex", "failures.tex"} <= {f.name for f in files}
    for file in files:
        balanced(file.read_text())
        assert file.read_text().isascii() or file.name == "failures.tex"


def test_csv_keeps_every_digit() -> None:
    text = Frame(("a", "b"), ((0.1 + 0.2, None), ('x,"y"', 3))).csv()
    assert list(csv.reader(io.StringIO(text))) == [["a", "b"], ["0.30000000000000004", ""], ['x,"y"', "3"]]
