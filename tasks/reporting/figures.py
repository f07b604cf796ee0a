"""The figures of a study. Each is drawn from the frame that is its CSV file."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from statistics import fmean

from models.engine.metrics import SELECTION_METRIC
from tasks.gates import GateLayer
from tasks.reporting.analysis import FULL, PAIR, TOLD_BESIDE, axis_label, is_loudest, value_label
from tasks.reporting.charts import (
    LABELLED,
    Axes,
    Bar,
    Caption,
    Line,
    Point,
    forest_chart,
    key,
    line_chart,
    scatter_chart,
    style_of,
)
from tasks.reporting.detection import detection_words, detector_words, mean_area
from tasks.reporting.grid import Frame, Number
from tasks.reporting.scales import Tick, evenly
from tasks.reporting.sights import (
    HEADINGS,
    Record,
    Sight,
    cells_of,
    interval_words,
    judged,
    noise_words,
    over_words,
    place_words,
    records,
    setting_words,
    sights,
    signed,
    styles,
)
from tasks.reporting.svg import words
from tasks.statistics.comparison import Against
from tasks.statistics.estimates import Estimate
from tasks.study.result import CellResult, Detection, Place, Setting, StudyResult
from tasks.wording import counted

PANELS = 6
"""How many charts of a figure are drawn, where it has one a place; the frame has them all."""

STATED = 12
"""How many lines a chart's description tells the ends of."""

MEBIBYTE = 2**20
DETECTION = "detection"
"""The figure that belongs to the section on noise detection."""


@dataclass(frozen=True)
class Figure:
    """Charts side by side under one heading. panels: markup; frame: all numbers that are drawn."""

    name: str
    title: str
    caption: str
    panels: tuple[str, ...]
    frame: Frame


def figures(result: StudyResult) -> tuple[Figure, ...]:
    """All that the study's axes and measurements give, in reading order."""
    if not result.comparisons:
        return ()
    makers: tuple[Callable[[StudyResult], Iterator[Figure]], ...] = (
        _differences,
        _robustness,
        _settings,
        _slices,
        _detection,
        _cost,
        _gates,
        _learning,
    )
    return tuple(figure for make in makers for figure in make(result))


def _differences(result: StudyResult) -> Iterator[Figure]:
    """Every method beside the reference, under both protocols: what the tests are about."""
    compared = [sight for sight in sights(result) if sight.compared]
    if not compared:
        return
    look = styles(result)
    rows: list[tuple[Number, ...]] = []
    panels = []
    for number, metric in enumerate(PAIR):
        groups = []
        for sight in compared:
            bars = [
                (row.method, row.against)
                for row in sight.tables[metric].rows
                if row.against is not None and row.against.shown_gain.value is not None
            ]
            rows += [_difference_row(sight, metric, method, against) for method, against in bars]
            groups.append((place_words(sight.place, result), [_gain(*bar, look=look) for bar in bars]))
        caption = Caption(
            f"differences-{number}",
            f"Gain in {HEADINGS[metric]}",
            f"A row a method and place: its gain over {compared[0].reference} in %, with its interval.",
        )
        axes = Axes(f"gain over {compared[0].reference}, %", HEADINGS[metric])
        panels.append(forest_chart(groups, caption, axes))
    yield Figure(
        name="differences",
        title="Difference to the reference",
        caption=(
            f"Relative gain over the reference with its 95 % interval {over_words(result)}. A filled marker is a "
            "significant difference after Holm's correction, a hollow one is not. A gain counts only where it holds "
            "under both protocols."
        ),
        panels=tuple(panels),
        frame=Frame(
            (
                "dataset",
                "noise",
                "setting",
                "metric",
                "method",
                "reference",
                "gain_percent",
                "low",
                "high",
                "p_holm",
                "significant",
            ),
            tuple(rows),
        ),
    )


def _robustness(result: StudyResult) -> Iterator[Figure]:
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


def _settings(result: StudyResult) -> Iterator[Figure]:
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
    ticks = tuple(Tick(places[value], f"{value:g}") for value in values) if even or len(values) <= 8 else None
    for number, metric in enumerate(PAIR):
        series: dict[str, list[tuple[float, Record]]] = {}
        for record in members[metric]:
            series.setdefault(_series(record, varying), []).append((x_of(record), record))
        look = _look(result, series)
        lines = []
        for label, held in series.items():
            held.sort(key=lambda entry: entry[0])
            points = tuple(
                Point(places[x], value, over.low, over.high, f"{label}, {x_label} {x:g}: {_told(over)}")
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
            f"{len(lines)} lines: {', '.join(series)}. {_ends(lines)}",
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


def _slices(result: StudyResult) -> Iterator[Figure]:
    """Where a method gains: popularity, history length, noise in the history."""
    look = styles(result)
    quantities = dict.fromkeys(cut.sliced.quantity for cut in result.slices)
    for quantity in quantities:
        cuts = [cut for cut in result.slices if cut.sliced.quantity == quantity and cut.sliced.slices[0].differences]
        if not cuts:
            continue
        rows: list[tuple[Number, ...]] = []
        panels = []
        for number, cut in enumerate(cuts):
            where = place_words(cut.place, result)
            groups = []
            for part in cut.sliced.slices:
                held = [(method, over) for method, over in part.differences.items() if over.value is not None]
                rows += [
                    (
                        cut.place.dataset,
                        noise_words(cut.place.noise),
                        setting_words(cut.place),
                        cut.metric,
                        part.label,
                        part.targets,
                        part.users,
                        method,
                        part.means[method].value,
                        over.value,
                        over.low,
                        over.high,
                    )
                    for method, over in held
                ]
                if held:
                    bars = [
                        Bar(
                            method, look.get(method, 0), over.value or 0.0, over.low, over.high, over.excludes(0.0), tip
                        )
                        for method, over in held
                        for tip in [f"{method}, {part.label}: {_told(over, signs=True)}"]
                    ]
                    groups.append((f"{part.label} ({counted(part.targets, 'target')})", bars))
            caption = Caption(
                f"slices-{list(quantities).index(quantity)}-{number}",
                f"{HEADINGS[cut.metric]} by {quantity}, {where}",
                f"Difference to {cut.sliced.reference} in each of {len(groups)} parts of the targets.",
            )
            axes = Axes(f"difference to {cut.sliced.reference}", HEADINGS[cut.metric])
            if number < PANELS:
                panels.append(_headed(where, forest_chart(groups, caption, axes)))
        yield Figure(
            name=f"slices-{quantity.replace(' ', '-')}",
            title=f"By {quantity}",
            caption=(
                "Absolute difference to the reference in each part of the targets, with intervals over users that are "
                "not corrected for how many parts there are. A filled marker is a difference whose interval leaves 0 "
                "out, and no verdict: a slice says where to look, and proves nothing. Targets are parted by what the "
                "reference's own trainings met, on the mean." + _some(len(panels), len(cuts), "charts")
            ),
            panels=tuple(panels),
            frame=Frame(
                (
                    "dataset",
                    "noise",
                    "setting",
                    "metric",
                    "slice",
                    "targets",
                    "users",
                    "method",
                    "mean",
                    "difference",
                    "low",
                    "high",
                ),
                tuple(rows),
            ),
        )


def _detection(result: StudyResult) -> Iterator[Figure]:
    """ROC curves of what detectors take for noise in what methods were trained on: a chart a place, the most noise
    first. None where their points were taken out.
    """
    overall = [found for found in result.detection if found.kind is None and found.false_positive_rates]
    if not overall:
        return
    rows: list[tuple[Number, ...]] = []
    panels = []
    diagonal = Line("", 0, tuple(Point(x, x, None, None, "") for x in (0.0, 1.0)), frozenset(), None)
    places = {repr(curve.place): curve.place for curve in overall}
    loud = sorted(places.values(), key=lambda place: not is_loudest(result, place))
    for number, place in enumerate(loud):
        curves = [curve for curve in overall if curve.place == place]
        by_name: dict[str, list[Detection]] = {}
        for curve in curves:
            by_name.setdefault(detector_words(curve, curves), []).append(curve)
        look = _look(result, by_name)
        lines = []
        for name, held in by_name.items():
            for curve in held:
                rates = list(zip(curve.false_positive_rates, curve.true_positive_rates, strict=True))
                points = tuple(Point(x, y, None, None, "") for x, y in rates)
                lines.append(Line(name, look[name], points, frozenset(), None))
                told = (curve.method, curve.detector, curve.seed, curve.auroc, curve.low, curve.high)
                rows += [(place.dataset, noise_words(place.noise), setting_words(place), *told, x, y) for x, y in rates]
        named = [(f"{name}: area {mean_area(held)}", look[name]) for name, held in by_name.items()]
        where = detection_words(place, result)
        caption = Caption(
            f"detection-{number}",
            f"Noise detection, {where}",
            f"ROC curves. {'; '.join(name for name, _ in named)}. The thin diagonal is chance.",
        )
        unit = (0.0, 1.0)
        axes = Axes("share of genuine interactions flagged", "share of noise flagged", x_limits=unit, y_limits=unit)
        if number < PANELS:
            panels.append(_headed(where, key(named) + line_chart(lines, caption, axes, rule=diagonal)))
    yield Figure(
        name=DETECTION,
        title="ROC curves",
        caption=(
            "A line a detector and training; the area under it is a mean over trainings, with the 95 % interval over "
            "users (of several trainings the mean of theirs, which is rather too wide than too narrow)."
            + _some(len(panels), len(loud), "charts")
        ),
        panels=tuple(panels),
        frame=Frame(
            (
                "dataset",
                "noise",
                "setting",
                "method",
                "detector",
                "seed",
                "auroc",
                "low_users",
                "high_users",
                "false_positive_rate",
                "true_positive_rate",
            ),
            tuple(rows),
        ),
    )


def _cost(result: StudyResult) -> Iterator[Figure]:
    """Quality beside what it costs: training time, and memory where it was measured."""
    look = styles(result)
    rows: list[tuple[Number, ...]] = []
    panels: list[str] = []
    for sight in [sight for sight in sights(result) if is_loudest(result, sight.place)][:PANELS]:
        costs = [(method, _costs(cells_of(result, sight.place, method))) for method in sight.methods]
        for unit, label, kind in (("seconds", "training time, s", 0), ("MiB", "peak memory, MiB", 1)):
            points = []
            for method, cost in costs:
                spent, over = cost[kind], sight.row(FULL, method).over_users
                if spent is None or over.value is None:
                    continue
                tip = f"{method}: {spent:.4g} {unit}, {HEADINGS[FULL]} {_told(over)}"
                points.append((method, look.get(method, 0), Point(spent, over.value, over.low, over.high, tip)))
                rows.append(
                    (
                        sight.place.dataset,
                        noise_words(sight.place.noise),
                        setting_words(sight.place),
                        method,
                        unit,
                        spent,
                        over.value,
                        over.low,
                        over.high,
                    )
                )
            if points:
                where = place_words(sight.place, result)
                caption = Caption(
                    f"cost-{len(panels)}",
                    f"{HEADINGS[FULL]} beside {label}, {where}",
                    "; ".join(point.tip for _, _, point in points),
                )
                panels.append(_headed(where, scatter_chart(points, caption, Axes(label, HEADINGS[FULL]))))
    if panels:
        yield Figure(
            name="cost",
            title="Quality and cost",
            caption=(
                "Means over trainings; whiskers are 95 % intervals over users. Times hold for trainings that ran side "
                "by side on the machine named below, so compare them with each other only. Up and to the left is "
                "better."
            ),
            panels=tuple(panels),
            frame=Frame(("dataset", "noise", "setting", "method", "cost", "value", "mean", "low", "high"), tuple(rows)),
        )


def _gates(result: StudyResult) -> Iterator[Figure]:
    """What gates keep of attention by how far apart two events are: a line a method and layer, means over trainings."""
    rows: list[tuple[Number, ...]] = []
    panels: list[str] = []
    shown = _shown(result)
    for sight in sights(result):
        lines: list[Line] = []
        for method in sight.methods:
            layers: dict[int, list[GateLayer]] = {}
            for cell in cells_of(result, sight.place, method):
                for layer in cell.figures.gate:
                    layers.setdefault(layer.layer, []).append(layer)
            for number, held in sorted(layers.items()):
                keep, is_open = fmean(layer.mean_keep for layer in held), fmean(layer.open_share for layer in held)
                curve = _means([layer.keep_by_distance for layer in held])
                place = (sight.place.dataset, noise_words(sight.place.noise), setting_words(sight.place))
                rows += [(*place, method, number, keep, is_open, *point) for point in curve]
                name = f"{method}, layer {number}: keeps {keep:.3f}, {1.0 - is_open:.1%} closed"
                tips = (f"{method}, layer {number}, {distance} apart: {value:.3f}" for distance, value in curve)
                points = tuple(
                    Point(float(distance), value, None, None, tip)
                    for (distance, value), tip in zip(curve, tips, strict=True)
                )
                if points:
                    lines.append(Line(name, style_of(len(lines)), points, frozenset(), None))
        if lines and sight in shown:
            where = place_words(sight.place, result)
            caption = Caption(
                f"gate-{len(panels)}",
                f"Keep-probability by distance, {where}",
                f"{len(lines)} lines. {_ends(lines)}",
            )
            axes = Axes("events between the one that looks and the one seen", "keep-probability")
            legend = key((line.name, line.style) for line in lines)
            panels.append(_headed(where, legend + line_chart(lines, caption, axes)))
    if panels:
        yield Figure(
            name="gate",
            title="What gates keep",
            caption="Keep-probability of attention cells by the distance of their two events, a line a layer, means "
            "over trainings; beside its name the mean over visible cells and the share of them that is closed when the "
            "model is used. Cells that no event may see count nowhere."
            + _some(len(panels), len(sights(result)), "places"),
            panels=tuple(panels),
            frame=Frame(
                ("dataset", "noise", "setting", "method", "layer", "mean_keep", "open_share", "distance", "keep"),
                tuple(rows),
            ),
        )


def _means(curves: Sequence[Sequence[float | None]]) -> list[tuple[int, float]]:
    """(distance, mean over the curves that have a value there)."""
    told = []
    for distance, values in enumerate(zip_longest(*curves)):
        held = [value for value in values if value is not None]
        if held:
            told.append((distance, fmean(held)))
    return told


def _learning(result: StudyResult) -> Iterator[Figure]:
    """The metric that chooses the checkpoint, by epoch: a line a training."""
    look = styles(result)
    rows: list[tuple[Number, ...]] = []
    panels: list[str] = []
    shown = _shown(result)
    for sight in sights(result):
        lines: list[Line] = []
        for method in sight.methods:
            for cell in cells_of(result, sight.place, method):
                held = [
                    (epoch.epoch, value)
                    for epoch in cell.history
                    for value in [epoch.metrics.get(SELECTION_METRIC)]
                    if value is not None
                ]
                if not held:
                    continue
                best = cell.figures.best_epoch
                rows += [
                    (
                        cell.dataset,
                        noise_words(sight.place.noise),
                        setting_words(sight.place),
                        method,
                        cell.seed,
                        epoch,
                        value,
                        int(epoch == best),
                    )
                    for epoch, value in held
                ]
                points = tuple(
                    Point(float(epoch), value, None, None, f"{method}, seed {cell.seed}, epoch {epoch}: {value:.4f}")
                    for epoch, value in held
                )
                chosen = frozenset(number for number, (epoch, _) in enumerate(held) if epoch == best)
                name = method if method not in (line.name for line in lines) else None
                lines.append(Line(method, look[method], points, chosen, name))
        if lines and sight in shown:
            where = place_words(sight.place, result)
            named = list(dict.fromkeys((line.name, line.style) for line in lines))
            caption = Caption(
                f"learning-{len(panels)}",
                f"Validation NDCG@10 by epoch, {where}",
                f"{len(lines)} trainings. {_ends(lines)}",
            )
            if len(named) > LABELLED:
                lines = [replace(line, label=None) for line in lines]
            chart = line_chart(lines, caption, Axes("epoch", "validation NDCG@10, full ranking"))
            panels.append(_headed(where, key(named) + chart))
    if panels:
        yield Figure(
            name="learning",
            title="Learning curves",
            caption="A line a training, a method's first with its name; the marker is the epoch that validation chose."
            + _some(len(panels), len(sights(result)), "places"),
            panels=tuple(panels),
            frame=Frame(
                ("dataset", "noise", "setting", "method", "seed", "epoch", SELECTION_METRIC, "chosen"), tuple(rows)
            ),
        )


def _some(shown: int, all_of_them: int, what: str) -> str:
    return f" {shown} of {all_of_them} {what} are drawn; the CSV file has all." if shown < all_of_them else ""


def _shown(result: StudyResult) -> list[Sight]:
    """The places whose learning curves are drawn: all, or the least and the most noisy ones."""
    found = list(sights(result))
    if len(found) <= PANELS:
        return found
    return [sight for sight in found if sight.place.noise is None or is_loudest(result, sight.place)][:PANELS]


def _costs(cells: Sequence[CellResult]) -> tuple[float | None, float | None]:
    """Mean seconds and MiB, None where a training lacks them."""
    seconds = [cell.figures.seconds for cell in cells]
    memory = [cell.figures.peak_memory_bytes for cell in cells]
    times = [value for value in seconds if value is not None]
    bytes_held = [value / MEBIBYTE for value in memory if value is not None]
    return fmean(times) if times else None, fmean(bytes_held) if bytes_held else None


def _difference_row(sight: Sight, metric: str, method: str, against: Against) -> tuple[Number, ...]:
    place, adjusted = sight.place, against.t_adjusted
    return (
        *(place.dataset, noise_words(place.noise), setting_words(place), metric, method, sight.reference),
        *(against.shown_gain.value, against.shown_gain.low, against.shown_gain.high),
        *((None, None) if adjusted is None else (adjusted.p, int(adjusted.significant))),
    )


def _gain(method: str, against: Against, *, look: Mapping[str, int]) -> Bar:
    over = against.shown_gain
    limits = interval_words(over, "{:+.2f}")
    tip = f"{method}: {signed(over.value or 0.0, 2)} %{f' ({limits} %)' if limits else ''}; {against.verdict}"
    solid = judged(against) != "○"
    return Bar(method, look.get(method, 0), over.value or 0.0, over.low, over.high, solid, tip)


def _series(record: Record, varying: Sequence[str]) -> str:
    """A line's name: its method, and the other axes that vary within its chart."""
    own = {axis: value for axis, value in record.axes.items() if axis in varying and axis != "method"}
    parts = [f"{axis_label(axis)} {value_label(value)}" for axis, value in own.items()]
    return ", ".join([str(record.axes["method"]), *parts])


def _varying(settings: Sequence[Setting], *, without: str | None) -> tuple[str, ...]:
    names = dict.fromkeys(axis for setting in settings for axis in setting if axis != without)
    return tuple(axis for axis in names if len({repr(setting.get(axis)) for setting in settings}) > 1)


def _look(result: StudyResult, names: Iterable[str]) -> dict[str, int]:
    """Styles of a chart's series: those of the study where they have one, else the next ones."""
    known = styles(result)
    methods = list(dict.fromkeys(names))
    if len({known[name] for name in methods if name in known}) == len(methods):
        return {name: known[name] for name in methods}
    return {name: style_of(number) for number, name in enumerate(methods)}


def _ends(lines: Sequence[Line]) -> str:
    """The first and the last value of each line, for those who do not see it."""
    told = (
        f"{line.name} from {line.points[0].y:.4f} to {line.points[-1].y:.4f}" for line in lines[:STATED] if line.points
    )
    return "; ".join(told) + "."


def _told(over: Estimate, *, signs: bool = False) -> str:
    value = signed(over.value or 0.0, 4) if signs else f"{over.value or 0.0:.4f}"
    limits = interval_words(over)
    return f"{value} ({limits})" if limits else value


def _ratio(place: Place) -> float:
    return place.noise.ratio if place.noise is not None else 0.0


def _headed(where: str, chart: str) -> str:
    """A chart, and its legend where it has one, under the words for its place: too long for a label within it."""
    return words("h4", where) + chart
