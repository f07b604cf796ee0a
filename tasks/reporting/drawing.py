"""What the figures of a study have in common: what a figure is, how its series look, and the words in it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tasks.reporting.charts import Line, style_of
from tasks.reporting.grid import Frame
from tasks.reporting.sights import interval_words, signed, styles
from tasks.reporting.svg import words
from tasks.statistics.estimates import Estimate
from tasks.study.result import StudyResult

PANELS = 6
"""How many charts of a figure are drawn, where it has one a place; the frame has them all."""

STATED = 12
"""How many lines a chart's description tells the ends of."""


@dataclass(frozen=True)
class Figure:
    """Charts side by side under one heading. panels: markup; frame: all numbers that are drawn."""

    name: str
    title: str
    caption: str
    panels: tuple[str, ...]
    frame: Frame


def look_of(result: StudyResult, names: Iterable[str]) -> dict[str, int]:
    """Styles of a chart's series: those of the study where they have one, else the next ones."""
    known = styles(result)
    methods = list(dict.fromkeys(names))
    if len({known[name] for name in methods if name in known}) == len(methods):
        return {name: known[name] for name in methods}
    return {name: style_of(number) for number, name in enumerate(methods)}


def headed(where: str, chart: str) -> str:
    """A chart, and its legend where it has one, under the words for its place: too long for a label within it."""
    return words("h4", where) + chart


def ends_words(lines: Sequence[Line]) -> str:
    """The first and the last value of each line, for those who do not see it."""
    told = (
        f"{line.name} from {line.points[0].y:.4f} to {line.points[-1].y:.4f}" for line in lines[:STATED] if line.points
    )
    return "; ".join(told) + "."


def estimate_words(over: Estimate, *, signs: bool = False) -> str:
    """A value with its interval, where it has one."""
    value = signed(over.value or 0.0, 4) if signs else f"{over.value or 0.0:.4f}"
    limits = interval_words(over)
    return f"{value} ({limits})" if limits else value


def rest_words(shown: int, all_of_them: int, what: str) -> str:
    """A sentence to end a caption with, where not all is drawn."""
    return f" {shown} of {all_of_them} {what} are drawn; the CSV file has all." if shown < all_of_them else ""
