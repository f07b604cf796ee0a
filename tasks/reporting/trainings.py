"""The figures of a study that show its trainings: what they cost, what their gates keep, and how they learned."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest
from statistics import fmean

from models.engine.metrics import SELECTION_METRIC
from tasks.gates import GateLayer
from tasks.reporting.analysis import FULL, is_loudest
from tasks.reporting.charts import LABELLED, Axes, Caption, Line, Point, key, line_chart, scatter_chart, style_of
from tasks.reporting.drawing import PANELS, Figure, ends_words, estimate_words, headed, rest_words
from tasks.reporting.grid import Frame, Number
from tasks.reporting.scales import Tick, ticks
from tasks.reporting.sights import HEADINGS, Sight, cells_of, noise_words, place_words, setting_words, sights, styles
from tasks.study.result import CellResult, StudyResult

MEBIBYTE = 2**20


def cost(result: StudyResult) -> Iterator[Figure]:
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
                tip = f"{method}: {spent:.4g} {unit}, {HEADINGS[FULL]} {estimate_words(over)}"
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
                panels.append(headed(where, scatter_chart(points, caption, Axes(label, HEADINGS[FULL]))))
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


def gates(result: StudyResult) -> Iterator[Figure]:
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
                f"{len(lines)} lines. {ends_words(lines)}",
            )
            axes = Axes("events between the one that looks and the one seen", "keep-probability", _counted(lines))
            legend = key((line.name, line.style) for line in lines)
            panels.append(headed(where, legend + line_chart(lines, caption, axes)))
    if panels:
        yield Figure(
            name="gate",
            title="What gates keep",
            caption="Keep-probability of attention cells by the distance of their two events, a line a layer, means "
            "over trainings; beside its name the mean over visible cells and the share of them that is closed when the "
            "model is used. Cells that no event may see count nowhere."
            + rest_words(len(panels), len(sights(result)), "places"),
            panels=tuple(panels),
            frame=Frame(
                ("dataset", "noise", "setting", "method", "layer", "mean_keep", "open_share", "distance", "keep"),
                tuple(rows),
            ),
        )


def learning(result: StudyResult) -> Iterator[Figure]:
    """The metric that chooses the checkpoint, by epoch: a line a training that was validated more than once."""
    look = styles(result)
    rows: list[tuple[Number, ...]] = []
    panels: list[str] = []
    once = False
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
                if len(held) < 2:
                    once |= bool(held)
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
                f"{len(lines)} trainings. {ends_words(lines)}",
            )
            if len(named) > LABELLED:
                lines = [replace(line, label=None) for line in lines]
            chart = line_chart(lines, caption, Axes("epoch", "validation NDCG@10, full ranking", _counted(lines)))
            panels.append(headed(where, key(named) + chart))
    if panels:
        yield Figure(
            name="learning",
            title="Learning curves",
            caption="A line a training, a method's first with its name; the marker is the epoch that validation chose."
            + " What was validated once, as a method that counts is, has no line." * once
            + rest_words(len(panels), len(sights(result)), "places"),
            panels=tuple(panels),
            frame=Frame(
                ("dataset", "noise", "setting", "method", "seed", "epoch", SELECTION_METRIC, "chosen"), tuple(rows)
            ),
        )


def _counted(lines: Sequence[Line]) -> tuple[Tick, ...]:
    """Ticks at whole numbers, for lines over what is counted."""
    places = sorted({point.x for line in lines for point in line.points})
    return ticks(places[0], places[-1], least=1.0) if len(places) > 1 else (Tick(places[0], f"{places[0]:g}"),)


def _means(curves: Sequence[Sequence[float | None]]) -> list[tuple[int, float]]:
    """(distance, mean over the curves that have a value there)."""
    told = []
    for distance, values in enumerate(zip_longest(*curves)):
        held = [value for value in values if value is not None]
        if held:
            told.append((distance, fmean(held)))
    return told


def _shown(result: StudyResult) -> list[Sight]:
    """The places whose learning curves are drawn: all, or the least and the most noisy ones."""
    found = list(sights(result))
    if len(found) <= PANELS:
        return found
    return [sight for sight in found if sight.place.noise is None or is_loudest(result, sight.place)][:PANELS]


def _costs(cells: Sequence[CellResult]) -> tuple[float | None, float | None]:
    """Mean seconds and MiB, of the trainings where they were measured; None where they were in none."""
    seconds = [cell.figures.seconds for cell in cells]
    memory = [cell.figures.peak_memory_bytes for cell in cells]
    times = [value for value in seconds if value is not None]
    bytes_held = [value / MEBIBYTE for value in memory if value is not None]
    return fmean(times) if times else None, fmean(bytes_held) if bytes_held else None
