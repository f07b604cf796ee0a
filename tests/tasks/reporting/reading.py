"""What a page and the files beside it say, read back."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasks.reporting.grid import Grid
from tasks.reporting.page import all_tables
from tasks.study.result import StudyResult


def table(path: Path) -> pd.DataFrame:
    return pd.read_csv(path)


def grid_of(result: StudyResult, name: str) -> Grid:
    return next(grid for grid in all_tables(result) if grid.name == name)


def drawings(text: str) -> Iterator[ET.Element]:
    """Every SVG of a page, parsed: an error where one is no XML."""
    for found in re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL):
        yield ET.fromstring(found)


def charts_of(page: Path, title: str) -> list[ET.Element]:
    """Those whose title begins so."""
    return [chart for chart in drawings(page.read_text()) if (chart.findtext("title") or "").startswith(title)]


def scale(chart: ET.Element, axis: str) -> Callable[[float], float]:
    """From a value to its place on the drawing, by the chart's own ticks."""
    anchor, below = {"x": ("middle", 0.0), "y": ("end", 4.0)}[axis]
    ticks = [
        (float((text.text or "").replace("−", "-").replace(",", "")), float(text.get(axis, 0)) - below)
        for text in chart.findall("g[@class='axes']/text")
        if text.get("text-anchor") == anchor and text.get("class") is None
    ]
    (low, at_low), *_, (high, at_high) = ticks
    return lambda value: at_low + (value - low) / (high - low) * (at_high - at_low)


def corners(path: ET.Element) -> "np.ndarray":
    return np.array([pair.split() for pair in path.get("d", "").strip("MZ").split("L")], dtype=float)


def markers(chart: ET.Element) -> list[tuple[str, float, float, bool]]:
    """Tooltip, middle and whether it is filled."""
    return [
        (point[0].text or "", *corners(point[1]).mean(axis=0), "hollow" not in point[1].get("class", ""))
        for point in chart.findall(".//g[@class='point']")
    ]


def whiskers(chart: ET.Element) -> list["np.ndarray"]:
    return [corners(path) for path in chart.iter("path") if path.get("class", "").startswith("whisker")]


def forest(chart: ET.Element, rows: pd.DataFrame, values: "pd.Series[float]", *, filled: "pd.Series[bool]") -> None:
    """Whether markers and whiskers are those of the rows, one under the other; without an interval there is none."""
    across, drawn, intervals = scale(chart, "x"), markers(chart), iter(whiskers(chart))
    for row, value, solid, (tip, x, y, drawn_solid) in zip(rows.itertuples(), values, filled, drawn, strict=True):
        assert tip.startswith(str(row.method))
        assert drawn_solid == solid
        assert x == pytest.approx(across(value), abs=0.05)
        if not np.isnan(row.low):
            expected = np.array([[across(row.low), y], [across(row.high), y]])
            assert next(intervals) == pytest.approx(expected, abs=0.05)
    assert not list(intervals)


def balanced(text: str) -> None:
    """Whether LaTeX would see every group, environment and formula closed, and rows of one width."""
    bare = re.sub(r"\\textbackslash\{\}|\\[&%$#_{}]", "", "\n".join(text.splitlines()[1:]))
    depth = 0
    for sign in bare:
        depth += (sign == "{") - (sign == "}")
        assert depth >= 0
    assert depth == 0
    assert bare.count("$") % 2 == 0
    assert "#" not in bare
    assert "%" not in bare
    assert re.findall(r"\\begin\{(\w+)\}", bare) == re.findall(r"\\end\{(\w+)\}", bare)[::-1]
    widths = {line.count("&") for line in bare.splitlines() if line.endswith(r"\\")}
    assert len(widths) == 1
    spec = re.search(r"\\begin\{tabular\}\{([lr]+)\}", bare)
    assert spec is not None
    assert widths == {len(spec.group(1)) - 1}
