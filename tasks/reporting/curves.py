"""The figures of a study in which a metric is drawn against something: the noise, and every setting that varies."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from tasks.reporting.analysis import FULL, PAIR, TOLD_BESIDE, axis_label, value_label
from tasks.reporting.charts import Axes, Caption, Line, Point, line_chart
from tasks.reporting.drawing import Figure, ends_words, estimate_words, look_of
from tasks.reporting.grid import Frame, Number
from tasks.reporting.scales import Tick, evenly
from tasks.reporting.sights import HEADINGS, Record, cells_of, noise_words, records, setting_words, sights
from tasks.study.result import Place, Setting, StudyResult


def robustness(result: StudyResult) -> Iterator[Figure]:
    """The metric against the noise ratio, a figure for each dataset, kind, where and setting."""
    found = sights(result)
    noises = dict.fromkeys(
        (sight.place.dataset, sight.place.noise.kind, sight.place.noise.where, repr(sight.place.setting))
        for sight in found
        if sight.place.noise is not None
    )
    drawn = 0
    for dataset, kind, where, setting in noises:
        sought = (dataset, setting)

        def belongs(place: Place, sought: tuple[str, str] = sought, own: tuple[str, str] = (kind, where)) -> bool:
            same = (place.dataset, repr(place.setting)) == sought
            return same and (place.noise is None or (place.noise.kind, place.noise.where) == own)

        members = {metric: [record for record in records(result, metric) if belongs(record.place)] for metric in PAIR}
        if len({_ratio(record.place) for record in members[FULL]}) < 2:
            continue
        drawn += 1
        about = [kind + (f" in {where}" if where != "both" else "")]
        about += [place for place in (setting_words(members[FULL][-1].place),) if place]
        about += [dataset] if len({sight.place.dataset for sight in found}) > 1 else []
        yield _curves(
            result,
            members,
            name="robustness" if drawn == 1 else f"robustness-{drawn}",
            title=f"Robustness to noise: {', '.join(about)}",
            x_name="noise_ratio",
            x_label="share of noise, %",
            x_of=lambda record: 100.0 * _ratio(record.place),
        )


def settings(result: StudyResult) -> Iterator[Figure]:
    """The metric against every numeric setting that cells differ in: length, β, γ and the like; a figure a setting,
    dataset and noise.
    """
    varied = _varied(result)
    for axis in varied:
        places = dict.fromkeys((record.place.dataset, record.place.noise) for record in records(result, FULL))
        drawn = 0
        for dataset, noise in places:
            members = {
                metric: _along(
                    axis,
                    [
                        replace(record, axes=_own_settings(result, record, varied))
                        for record in records(result, metric)
                        if (record.place.dataset, record.place.noise) == (dataset, noise)
                    ],
                )
                for metric in PAIR
            }
            if not members[FULL]:
                continue
            drawn += 1
            about = [dataset] if len({place for place, _ in places}) > 1 else []
            yield _curves(
                result,
                members,
                name=f"{axis.replace('.', '-')}" + (f"-{drawn}" if drawn > 1 else ""),
                title=f"Effect of {axis_label(axis)}: {', '.join([*about, noise_words(noise)])}",
                x_name=axis,
                x_label=axis_label(axis),
                x_of=lambda record, axis=axis: _number(record.axes.get(axis)) or 0.0,  # type: ignore[misc]
                without=axis,
            )


def _varied(result: StudyResult) -> tuple[str, ...]:
    """The settings that the cells' axes give, whether the file's own axes name them or cells that it includes."""
    names = dict.fromkeys(axis for cell in result.cells for axis in cell.axes)
    return tuple(axis for axis in names if axis not in TOLD_BESIDE)


def _own_settings(result: StudyResult, record: Record, varied: Sequence[str]) -> Setting:
    """What a row's own cells have of the settings, by an axis or by what their model and training come with: not what
    they are merely compared at.
    """
    (cell, *_) = cells_of(result, record.place, record.method)
    sections = {"model": cell.model, "training": cell.training}
    own: Setting = {"method": record.axes["method"]}
    for axis in varied:
        section, _, name = axis.partition(".")
        value = cell.axes[axis] if axis in cell.axes else sections.get(section, {}).get(name)
        if value is not None:
            own[axis] = value
    return own


def _along(axis: str, rows: Sequence[Record]) -> list[Record]:
    """The rows, each training's once, that differ in the axis while all else that varies stays as it is."""
    lines: dict[str, dict[float, Record]] = {}
    for record in rows:
        value = _number(record.axes.get(axis))
        if value is not None:
            others = {name: held for name, held in record.axes.items() if name != axis}
            lines.setdefault(repr(sorted(others.items())), {}).setdefault(value, record)
    return [record for line in lines.values() if len(line) > 1 for record in line.values()]


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _curves(
    result: StudyResult,
    members: Mapping[str, Sequence[Record]],
    *,
    name: str,
    title: str,
    x_name: str,
    x_label: str,
    x_of: Callable[[Record], float],
    without: str | None = None,
) -> Figure:
    """Lines of both protocols, one a method and what else varies beside x."""
    varying = _varying([record.axes for record in members[FULL]], without=without)
    rows: list[tuple[Number, ...]] = []
    panels = []
    values = sorted({x_of(record) for record in members[FULL]})
    even = evenly(values)
    places = {value: float(number) if even else value for number, value in enumerate(values)}
    ticks = tuple(Tick(places[value], f"{value:,g}") for value in values) if even or len(values) <= 8 else None
    for number, metric in enumerate(PAIR):
        series: dict[str, list[tuple[float, Record]]] = {}
        for record in members[metric]:
            series.setdefault(_series(record, varying), []).append((x_of(record), record))
        look = look_of(result, series)
        lines = []
        for label, held in series.items():
            held.sort(key=lambda entry: entry[0])
            points = tuple(
                Point(places[x], value, over.low, over.high, f"{label}, {x_label} {x:,g}: {estimate_words(over)}")
                for x, record in held
                for over in [record.row.over_users]
                for value in [over.value]
                if value is not None
            )
            lines.append(Line(label, look[label], points, frozenset(range(len(points))), label))
            rows += [
                (
                    record.place.dataset,
                    noise_words(record.place.noise),
                    metric,
                    label,
                    x,
                    over.value,
                    over.low,
                    over.high,
                    seeds.low,
                    seeds.high,
                    len(record.row.seeds),
                )
                for x, record in held
                for over, seeds in [(record.row.over_users, record.row.over_seeds)]
            ]
        caption = Caption(
            f"{name}-{number}",
            f"{HEADINGS[metric]} against {x_label}",
            f"{len(lines)} lines: {', '.join(series)}. {ends_words(lines)}",
        )
        panels.append(line_chart(lines, caption, Axes(x_label, HEADINGS[metric], x_ticks=ticks)))
    spaced = f" Values of {x_label} are spaced evenly." if even else ""
    return Figure(
        name=name,
        title=title,
        caption=(
            "Mean over trainings; bands are 95 % intervals over users, each line's own. Users are paired across lines, "
            "so bands may overlap where a difference is significant: the figure of differences tells. The vertical "
            f"axes do not begin at 0.{spaced}"
        ),
        panels=tuple(panels),
        frame=Frame(
            (
                "dataset",
                "noise",
                "metric",
                "series",
                x_name,
                "mean",
                "low_users",
                "high_users",
                "low_seeds",
                "high_seeds",
                "seeds",
            ),
            tuple(rows),
        ),
    )


def _series(record: Record, varying: Sequence[str]) -> str:
    """A line's name: its method, and the other axes that vary within its chart."""
    own = {axis: value for axis, value in record.axes.items() if axis in varying and axis != "method"}
    parts = [f"{axis_label(axis)} {value_label(value)}" for axis, value in own.items()]
    return ", ".join([str(record.axes["method"]), *parts])


def _varying(settings: Sequence[Setting], *, without: str | None) -> tuple[str, ...]:
    names = dict.fromkeys(axis for setting in settings for axis in setting if axis != without)
    return tuple(axis for axis in names if len({repr(setting.get(axis)) for setting in settings}) > 1)


def _ratio(place: Place) -> float:
    return place.noise.ratio if place.noise is not None else 0.0
