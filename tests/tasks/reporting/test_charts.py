"""Charts name what they draw where a reader sees it."""

import math
import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import numpy as np
import pytest

from tasks.reporting.charts import LABELLED, Axes, Caption, Line, Point, line_chart, scatter_chart, style_of
from tasks.reporting.scales import evenly, log_ticks, signless, span, ticks

CAPTION = Caption("chart", "A chart", "Told.")


def drawn(markup: str) -> tuple[list[str], ET.Element]:
    """The names in the legend of a chart, and the chart itself."""
    legend = re.findall(r"<span>(.*?)</span>", markup)
    return legend, ET.fromstring(markup[markup.index('<svg class="chart"') :])


def labels(chart: ET.Element) -> list[tuple[str, float, float]]:
    """Each name in a chart with the middle of its left or right end; one that lies out of the plot is an error."""
    found = []
    for text in chart.iter("text"):
        if text.get("class") == "label":
            x, y = float(text.get("x", 0)), float(text.get("y", 0)) - 4.0
            assert 30.0 <= y <= 256.0
            found.append((text.findtext("tspan") or text.text or "", x, y))
    return found


def lines(count: int) -> list[Line]:
    """Lines that end close to each other."""
    ends = (0.2 + number / 1e4 for number in range(count))
    return [
        Line(
            f"method-{n}",
            style_of(n),
            (Point(0.0, 0.1, None, None, ""), Point(1.0, y, None, None, "")),
            frozenset(),
            f"method-{n}",
        )
        for n, y in enumerate(ends)
    ]


@pytest.mark.parametrize("count", [LABELLED, LABELLED + 1, 40])
def test_lines_are_named_at_their_ends_or_where_there_are_too_many_in_a_legend(count: int) -> None:
    legend, chart = drawn(line_chart(lines(count), CAPTION, Axes("x", "y")))
    beside = labels(chart)
    names = [f"method-{number}" for number in range(count)]
    assert (legend, sorted(name for name, _, _ in beside)) == (
        ([], sorted(names)) if count == LABELLED else (names, [])
    )
    heights = sorted(y for _, _, y in beside)
    assert all(second - first > 13.9 for first, second in pairwise(heights))


@pytest.mark.parametrize("count", [12, LABELLED + 1])
def test_points_that_crowd_at_the_bottom_are_named_within_their_chart(count: int) -> None:
    names = [f"m{number}" for number in range(count)]
    crowd = [(name, style_of(n), Point(1.0, 0.1, 0.09, 0.11, name)) for n, name in enumerate(names)]
    best = ("", 0, Point(2.0, 0.9, None, None, "best"))
    legend, chart = drawn(scatter_chart([*crowd, best], CAPTION, Axes("x", "y")))
    beside = labels(chart)
    assert (legend, sorted(name for name, _, _ in beside)) == (([], sorted(names)) if count == 12 else (names, []))
    heights = sorted(y for _, _, y in beside)
    assert all(second - first >= 12.9 for first, second in pairwise(heights))


def test_no_name_is_written_upon_another_point() -> None:
    points = [("plain", 0, Point(480.0, 0.03, None, None, "")), ("equal", 1, Point(495.0, 0.03, None, None, ""))]
    _, chart = drawn(scatter_chart([*points, ("far", 2, Point(900.0, 0.2, None, None, ""))], CAPTION, Axes("x", "y")))
    marks = [path.get("d", "") for path in chart.iter("path") if path.get("class", "").startswith("mark")]
    middles = [np.array(re.findall(r"[\d.]+", mark), float).reshape(-1, 2).mean(0) for mark in marks]
    for name, x, y in labels(chart):
        width = 6.0 * len(name)
        upon = [(at, up) for at, up in middles if x - 4.0 < at < x + width + 4.0 and abs(up - y) < 10.0]
        assert upon == [], name


def test_ticks_are_round_and_within() -> None:
    assert [tick.label for tick in ticks(-0.013, 0.041)] == ["−0.01", "0.00", "0.01", "0.02", "0.03", "0.04"]
    assert [tick.label for tick in ticks(0.0, 1.0)] == ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
    assert [tick.label for tick in ticks(20.0, 83.0)] == ["20", "40", "60", "80"]
    assert [tick.label for tick in ticks(0.0, 12_000.0, most=3)] == ["0", "5,000", "10,000"]
    for low, high in [(1e-9, 3e-9), (-5.0, 1e6), (0.31, 0.33)]:
        found = [tick.value for tick in ticks(low, high)]
        assert 2 <= len(found) <= 7
        assert min(found) >= low - 1e-9 * abs(low)
        assert max(found) <= high * (1.0 + 1e-9)
    assert span([2.0]) == pytest.approx((1.8, 2.2))
    assert [tick.label for tick in ticks(1.0, 2.0, least=1.0)] == ["1", "2"]
    assert ticks(0.0, 83.0, least=1.0) == ticks(0.0, 83.0)
    assert evenly([0.0, 0.001, 0.1])
    assert not evenly([20, 50, 80])
    assert signless("-0.00") == "0.00"


def test_ticks_of_a_logarithmic_axis_are_round_and_within() -> None:
    def labels_of(low: float, high: float, least: float = 0.0) -> list[str]:
        found = log_ticks(math.log10(low), math.log10(high), least=least)
        assert all(math.log10(low) <= tick.value <= math.log10(high) for tick in found)
        assert [10.0**tick.value for tick in found] == pytest.approx(
            [float(tick.label.replace(",", "")) for tick in found]
        )
        return [tick.label for tick in found]

    assert labels_of(0.0008, 0.012) == ["0.001", "0.002", "0.005", "0.01"]
    assert labels_of(0.00009, 0.11) == ["0.0001", "0.001", "0.01", "0.1"]
    assert labels_of(7, 70) == ["10", "20", "50"]
    assert labels_of(0.9e-9, 1.1e9) == ["1e-09", "1e-05", "0.1", "1,000", "1e+07"]
    assert labels_of(0.0023, 0.0046) == ["0.0025", "0.0030", "0.0035", "0.0040", "0.0045"]
    assert labels_of(2.3, 4.4, least=1.0) == ["3", "4"]
