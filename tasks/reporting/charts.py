"""Charts as inline SVG with real text. Colours are classes, so that they follow the page's theme.

No two series have colour, dash and marker in common, and the first eight share none: `s0` is the reference in the
colour of the text, `s1` to `s7` are hues near those of Okabe and Ito's palette (style.css), moved apart as far as is
needed to tell them with any colour vision, and from the paper. A marker's `<title>` is its tooltip.
"""

import math
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from tasks.reporting.scales import Scale, Tick, span, ticks
from tasks.reporting.svg import element, path, words

HUES = 8
STYLES = 1 + (HUES - 1) * HUES
"""How many looks there are: the reference's, and each other colour with each dash and marker."""

DASHES = (None, "7 3", "2 3", "9 3 2 3", "5 2", "1 2", "12 4", "4 4 1 4")
WIDTH, HEIGHT = 460.0, 300.0
LETTER = 7.4
"""The mean width of a letter of a label, in the units of the drawing."""

LABELLED = 16
"""How many series' names find room in a chart; those of more stand in a legend above it."""


@dataclass(frozen=True)
class Point:
    """A value with its interval, where it has one, and what its tooltip says."""

    x: float
    y: float
    low: float | None
    high: float | None
    tip: str


@dataclass(frozen=True)
class Line:
    """A series. marked: which points have a marker. label: whether its name is written at its end."""

    name: str
    style: int
    points: tuple[Point, ...]
    marked: frozenset[int]
    label: str | None


@dataclass(frozen=True)
class Bar:
    """A row of a forest plot: a value with its interval. `solid` is what the filled marker says: significant."""

    name: str
    style: int
    value: float
    low: float | None
    high: float | None
    solid: bool
    tip: str


@dataclass(frozen=True)
class Caption:
    """What a chart is called and says, for eyes and for screen readers. `ident` is unique on the page."""

    ident: str
    title: str
    description: str


@dataclass(frozen=True)
class Axes:
    """x ticks are given where the values themselves are the ticks."""

    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...] | None = None
    x_limits: tuple[float, float] | None = None
    y_limits: tuple[float, float] | None = None


@dataclass(frozen=True)
class Columns:
    """Counts of equal parts of the range from `low` to `high`."""

    counts: tuple[int, ...]
    low: float
    high: float


def line_chart(lines: Sequence[Line], caption: Caption, axes: Axes, *, rule: Line | None = None) -> str:
    """Lines with bands, each named at its end or, where there are too many, in a legend. `rule` is a thin line for
    comparison, without a name.
    """
    named = [line for line in lines if line.label]
    if len(named) > LABELLED:
        unnamed = [replace(line, label=None) for line in lines]
        return key((line.name, line.style) for line in named) + line_chart(unnamed, caption, axes, rule=rule)
    points = [point for line in lines for point in line.points]
    limits = [limit for point in points for limit in (point.low, point.high, point.y) if limit is not None]
    right = min(172.0, max((len(_cut(line.label or "")) for line in named), default=0) * LETTER + 22.0)
    frame = _Frame(
        left=54.0,
        top=30.0,
        right=WIDTH - max(12.0, right),
        bottom=HEIGHT - 44.0,
        x_limits=axes.x_limits or span((point.x for point in points), pad=0.04),
        y_limits=axes.y_limits or span(limits),
    )
    drawn = [frame.grid(axes)]
    if rule is not None:
        drawn.append(path([frame.at(point.x, point.y) for point in rule.points], class_="rule"))
    drawn += [_band(line, frame) for line in lines]
    drawn += [_stroke(line, frame) for line in lines]
    drawn += [_markers(line, frame) for line in lines]
    drawn += _end_labels(lines, frame)
    return _svg(caption, drawn, height=HEIGHT)


def forest_chart(groups: Sequence[tuple[str, Sequence[Bar]]], caption: Caption, axes: Axes) -> str:
    """Values with intervals one under the other, under the headings of their groups, and a line at no difference."""
    bars = [bar for _, held in groups for bar in held]
    line = 21.0
    headings = [textwrap.wrap(heading, _letters(WIDTH - 4.0)) for heading, _ in groups]
    bottom = 36.0 + line * (len(bars) + sum(map(len, headings))) + 8.0 * max(0, len(groups) - 1)
    left = min(175.0, max((len(_cut(bar.name)) for bar in bars), default=0) * LETTER + 26.0)
    values = [limit for bar in bars for limit in (bar.low, bar.high, bar.value) if limit is not None]
    frame = _Frame(
        left=left, top=30.0, right=WIDTH - 14.0, bottom=bottom, x_limits=span([*values, 0.0]), y_limits=(0.0, 1.0)
    )
    drawn = [frame.verticals(axes)]
    zero = frame.x(0.0)
    drawn.append(path([(zero, frame.top), (zero, frame.bottom)], class_="zero"))
    y = frame.top + 16.0
    for number, (_, held) in enumerate(groups):
        y += 8.0 if number else 0.0
        for heading in headings[number]:
            drawn.append(words("text", heading, x=4.0, y=y + 4.0, class_="heading"))
            y += line
        for bar in held:
            drawn += _bar(bar, frame, y)
            y += line
    return _svg(caption, drawn, height=bottom + 42.0)


def scatter_chart(points: Sequence[tuple[str, int, Point]], caption: Caption, axes: Axes) -> str:
    """Points (name, style, point), with the interval of y, each named beside it or, where there are too many, in a
    legend; a name that is empty is not written.
    """
    named = [(name, style) for name, style, _ in points if name]
    if len(named) > LABELLED:
        return key(named) + scatter_chart([("", style, point) for _, style, point in points], caption, axes)
    limits = [limit for _, _, point in points for limit in (point.low, point.high, point.y) if limit is not None]
    frame = _Frame(
        left=54.0,
        top=30.0,
        right=WIDTH - 14.0,
        bottom=HEIGHT - 44.0,
        x_limits=axes.x_limits or span((point.x for _, _, point in points), pad=0.22),
        y_limits=axes.y_limits or span(limits, pad=0.12),
    )
    drawn = [frame.grid(axes)]
    for _, style, point in points:
        x, y = frame.at(point.x, point.y)
        if point.low is not None and point.high is not None:
            drawn.append(
                path([(x, frame.y(point.low)), (x, frame.y(point.high))], class_=f"whisker s{colour_of(style)}")
            )
        drawn.append(_marker(x, y, style=style, tip=point.tip, solid=True, size=5.0))
    drawn += _point_labels(points, frame)
    return _svg(caption, drawn, height=HEIGHT)


def column_chart(columns: Columns, caption: Caption, *, x_label: str, y_label: str) -> str:
    """A histogram."""
    frame = _Frame(
        left=66.0,
        top=30.0,
        right=WIDTH - 14.0,
        bottom=HEIGHT - 44.0,
        x_limits=(columns.low, columns.high),
        y_limits=(0.0, 1.05 * max(1, *columns.counts)),
    )
    width = (columns.high - columns.low) / len(columns.counts)
    drawn = [frame.grid(Axes(x_label, y_label))]
    for number, count in enumerate(columns.counts):
        left, right = columns.low + number * width, columns.low + (number + 1) * width
        corners = [frame.at(left, 0.0), frame.at(left, count), frame.at(right, count), frame.at(right, 0.0)]
        tip = words("title", f"{left:.2f} to {right:.2f}: {count:,}")
        drawn.append(element("g", [path(corners, closed="Z", class_="column s1"), tip]))
    return _svg(caption, drawn, height=HEIGHT)


def style_of(number: int) -> int:
    """The style of a study's series by its number: the first, the reference, shares its colour with no other."""
    return number if number < STYLES else 1 + (number - 1) % (STYLES - 1)


def colour_of(style: int) -> int:
    """The number of a style's colour."""
    return style if style < HUES else 1 + (style - 1) % (HUES - 1)


def key(entries: Iterable[tuple[str, int]]) -> str:
    """A legend: each series' name with its line and marker, as HTML."""
    return element(
        "ul",
        (
            element(
                "li",
                element(
                    "svg",
                    [
                        path(
                            [(1.0, 7.0), (29.0, 7.0)], class_=f"line s{colour_of(style)}", stroke_dasharray=_dash(style)
                        ),
                        path(_shape(style)(15.0, 7.0, 4.0), closed="Z", class_=f"mark s{colour_of(style)}"),
                    ],
                    viewBox="0 0 30 14",
                    width="30",
                    height="14",
                    aria_hidden="true",
                )
                + words("span", name),
            )
            for name, style in entries
        ),
        class_="key",
    )


@dataclass(frozen=True)
class _Frame:
    """The plot within its margins."""

    left: float
    top: float
    right: float
    bottom: float
    x_limits: tuple[float, float]
    y_limits: tuple[float, float]

    @property
    def x(self) -> Scale:
        return Scale(*self.x_limits, self.left, self.right)

    @property
    def y(self) -> Scale:
        return Scale(*self.y_limits, self.bottom, self.top)

    def at(self, x: float, y: float) -> tuple[float, float]:
        return self.x(x), self.y(y)

    def grid(self, axes: Axes) -> str:
        marks = []
        for tick in ticks(*self.y_limits):
            y = self.y(tick.value)
            marks.append(path([(self.left, y), (self.right, y)], class_="grid"))
            marks.append(words("text", tick.label, x=self.left - 7.0, y=y + 4.0, text_anchor="end"))
        base = path([(self.left, self.bottom), (self.right, self.bottom)], class_="base")
        for tick in axes.x_ticks or ticks(*self.x_limits):
            x = self.x(tick.value)
            marks.append(path([(x, self.bottom), (x, self.bottom + 4.0)], class_="base"))
            marks.append(words("text", tick.label, x=x, y=self.bottom + 17.0, text_anchor="middle"))
        return element("g", [*marks, *self._labels(axes), base], class_="axes")

    def verticals(self, axes: Axes) -> str:
        marks = []
        for tick in ticks(*self.x_limits):
            x = self.x(tick.value)
            marks.append(path([(x, self.top), (x, self.bottom)], class_="grid"))
            marks.append(words("text", tick.label, x=x, y=self.bottom + 17.0, text_anchor="middle"))
        return element("g", [*marks, *self._labels(axes)], class_="axes")

    def _labels(self, axes: Axes) -> Iterator[str]:
        """What the axes are, that of y above it and that of x in the middle below it."""
        middle = (self.left + self.right) / 2.0
        yield _named(axes.y_label, _letters(WIDTH - 4.0), x=4.0, y=16.0, class_="axis")
        room = _letters(2.0 * min(middle, WIDTH - middle))
        yield _named(axes.x_label, room, x=middle, y=self.bottom + 36.0, text_anchor="middle", class_="axis")


def _svg(caption: Caption, drawn: Iterable[str], *, height: float) -> str:
    return element(
        "svg",
        [
            words("title", caption.title, id=f"{caption.ident}-title"),
            words("desc", caption.description, id=f"{caption.ident}-desc"),
            *drawn,
        ],
        class_="chart",
        viewBox=f"0 0 {WIDTH:g} {height:g}",
        role="img",
        aria_labelledby=f"{caption.ident}-title {caption.ident}-desc",
    )


def _band(line: Line, frame: _Frame) -> str:
    upper = [frame.at(point.x, point.high) for point in line.points if point.high is not None]
    lower = [frame.at(point.x, point.low) for point in line.points if point.low is not None]
    if len(upper) < 2 or len(upper) != len(lower):
        return ""
    return path([*upper, *reversed(lower)], closed="Z", class_=f"band s{colour_of(line.style)}")


def _stroke(line: Line, frame: _Frame) -> str:
    places = [frame.at(point.x, point.y) for point in line.points]
    if len(places) < 2:
        return ""
    return path(places, class_=f"line s{colour_of(line.style)}", stroke_dasharray=_dash(line.style))


def _markers(line: Line, frame: _Frame) -> str:
    return "".join(
        _marker(*frame.at(point.x, point.y), style=line.style, tip=point.tip, solid=True)
        for number, point in enumerate(line.points)
        if number in line.marked
    )


def _end_labels(lines: Sequence[Line], frame: _Frame) -> list[str]:
    """Names beside the last points, moved apart, each with a thin line back to its own."""
    ends = [(frame.at(line.points[-1].x, line.points[-1].y), line) for line in lines if line.label and line.points]
    ends.sort(key=lambda end: end[0][1])
    places = _apart([y for (_, y), _ in ends], low=frame.top, high=frame.bottom, gap=14.0)
    drawn = []
    for ((x, y), line), place in zip(ends, places, strict=True):
        drawn.append(path([(x + 6.0, y), (frame.right + 9.0, place)], class_=f"leader s{colour_of(line.style)}"))
        drawn.append(_named(line.label or "", x=frame.right + 12.0, y=place + 4.0, class_="label"))
    return drawn


def _point_labels(points: Sequence[tuple[str, int, Point]], frame: _Frame) -> list[str]:
    """Names to the right of points, or to the left where the page ends, none upon another or upon a point."""
    drawn: list[str] = []
    places = [frame.at(point.x, point.y) for _, _, point in points]
    taken = [(x - 6.0, x + 6.0, y) for x, y in places]
    named = [entry for entry in points if entry[0]]
    for name, _, point in sorted(named, key=lambda entry: frame.y(entry[2].y)):
        x, y = frame.at(point.x, point.y)
        width = len(_cut(name)) * LETTER
        left = x + 9.0 + width > WIDTH
        start = x - 9.0 - width if left else x + 9.0
        beside = [other for begin, end, other in taken if start < end and begin < start + width]
        y = next((free for free in _nearby(y, frame) if all(abs(free - other) >= 13.0 for other in beside)), y)
        taken.append((start, start + width, y))
        at, anchor = (x - 9.0, "end") if left else (x + 9.0, "start")
        drawn.append(words("text", _cut(name), x=at, y=y + 4.0, text_anchor=anchor, class_="label"))
    return drawn


def _nearby(y: float, frame: _Frame) -> Iterator[float]:
    """Heights within the plot, from y on further and further below and above it."""
    yield y
    for step in range(1, int((frame.bottom - frame.top) / 3.0) + 1):
        yield from (place for place in (y + 3.0 * step, y - 3.0 * step) if frame.top <= place <= frame.bottom)


def _bar(bar: Bar, frame: _Frame, y: float) -> list[str]:
    drawn = []
    if bar.low is not None and bar.high is not None:
        drawn.append(path([(frame.x(bar.low), y), (frame.x(bar.high), y)], class_=f"whisker s{colour_of(bar.style)}"))
    drawn.append(_marker(frame.x(bar.value), y, style=bar.style, tip=bar.tip, solid=bar.solid))
    drawn.append(_named(bar.name, x=frame.left - 12.0, y=y + 4.0, text_anchor="end", class_="label"))
    return drawn


def _marker(x: float, y: float, *, style: int, tip: str, solid: bool, size: float = 4.0) -> str:
    look = f"mark s{colour_of(style)}" if solid else f"mark hollow s{colour_of(style)}"
    return element("g", words("title", tip) + path(_shape(style)(x, y, size), closed="Z", class_=look), class_="point")


def _shape(style: int) -> Callable[[float, float, float], list[tuple[float, float]]]:
    """The outline of a style's marker about a middle."""
    corners, turn, depth = (
        (20, 0.0, 1.0),
        (4, 0.0, 1.0),
        (3, 0.0, 1.0),
        (4, 45.0, 1.0),
        (3, 180.0, 1.0),
        (5, 0.0, 1.0),
        (10, 0.0, 0.45),
        (8, 0.0, 0.4),
    )[style % HUES]

    def outline(x: float, y: float, size: float) -> list[tuple[float, float]]:
        grown = size * (1.25 if corners < 6 or depth < 1.0 else 1.0)
        return [
            (x + radius * math.sin(angle), y - radius * math.cos(angle))
            for number in range(corners)
            for angle in [math.radians(turn + 360.0 * number / corners)]
            for radius in [grown if number % 2 == 0 else grown * depth]
        ]

    return outline


def _apart(places: Sequence[float], *, low: float, high: float, gap: float) -> list[float]:
    """Rising places moved so that they are `gap` apart, as near to where they were as the limits let them."""
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + gap if moved else low))
    over = (moved[-1] if moved else low) - high
    if over > 0.0:
        ceiling = high
        for number in reversed(range(len(moved))):
            moved[number] = min(moved[number], ceiling)
            ceiling = moved[number] - gap
    return moved


def _dash(style: int) -> str | None:
    return DASHES[style % HUES]


def _letters(width: float) -> int:
    """How many letters of a label find room."""
    return int(width / LETTER)


def _named(name: str, most: int = 20, **attributes: object) -> str:
    """A text of so many letters at most; its tooltip is the whole one."""
    return element("text", words("title", name) + words("tspan", _cut(name, most)), **attributes)


def _cut(name: str, most: int = 20) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"
