"""The figures of a study that show differences to the reference: everywhere, and in parts of the targets."""

from collections.abc import Iterator, Mapping

from tasks.reporting.analysis import PAIR
from tasks.reporting.charts import Axes, Bar, Caption, forest_chart
from tasks.reporting.drawing import PANELS, Figure, estimate_words, headed, rest_words
from tasks.reporting.grid import Frame, Number
from tasks.reporting.sights import (
    HEADINGS,
    Sight,
    interval_words,
    judged,
    noise_words,
    over_words,
    place_words,
    setting_words,
    sights,
    signed,
    styles,
)
from tasks.statistics.comparison import Against
from tasks.study.result import SlicedMetric, StudyResult
from tasks.wording import counted

MEASURES = {
    "popularity of the target": "how many events the target's item has",
    "history length": "how many events the history has",
    "noise in the history": "the share of the history's events that are noise",
}
"""What the numbers of a slice's heading are."""


def differences(result: StudyResult) -> Iterator[Figure]:
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


def slices(result: StudyResult) -> Iterator[Figure]:
    """Where a method gains: popularity, history length, noise in the history."""
    look = styles(result)
    quantities = dict.fromkeys(cut.sliced.quantity for cut in result.slices)
    for quantity in quantities:
        cuts = [cut for cut in result.slices if cut.sliced.quantity == quantity and cut.sliced.slices[0].differences]
        if not cuts:
            continue
        panels = tuple(
            headed(
                place_words(cut.place, result),
                _slice_chart(result, cut, ident=f"slices-{list(quantities).index(quantity)}-{number}", look=look),
            )
            for number, cut in enumerate(cuts[:PANELS])
        )
        yield Figure(
            name=f"slices-{quantity.replace(' ', '-')}",
            title=f"By {quantity}",
            caption=(
                "Absolute difference to the reference in each part of the targets, with intervals over users that are "
                "not corrected for how many parts there are. A filled marker is a difference whose interval leaves 0 "
                f"out, and no verdict: a slice says where to look, and proves nothing. Targets are parted by "
                f"{MEASURES[quantity]}, as the reference was trained and ranked with it (the mean over its trainings)."
                + rest_words(len(panels), len(cuts), "charts")
            ),
            panels=panels,
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
                tuple(row for cut in cuts for row in _slice_rows(cut)),
            ),
        )


def _slice_chart(result: StudyResult, cut: SlicedMetric, *, ident: str, look: Mapping[str, int]) -> str:
    """Each method's difference to the reference in every part of the targets that has one."""
    groups = []
    for part in cut.sliced.slices:
        bars = [
            Bar(
                method,
                look.get(method, 0),
                over.value,
                over.low,
                over.high,
                over.excludes(0.0),
                f"{method}, {part.label}: {estimate_words(over, signs=True)}",
            )
            for method, over in part.differences.items()
            if over.value is not None
        ]
        if bars:
            groups.append((f"{part.label} ({counted(part.targets, 'target')})", bars))
    caption = Caption(
        ident,
        f"{HEADINGS[cut.metric]} by {cut.sliced.quantity}, {place_words(cut.place, result)}",
        f"Difference to {cut.sliced.reference} in each of {len(groups)} parts of the targets.",
    )
    return forest_chart(groups, caption, Axes(f"difference to {cut.sliced.reference}", HEADINGS[cut.metric]))


def _slice_rows(cut: SlicedMetric) -> Iterator[tuple[Number, ...]]:
    """The numbers of every part and method that has a difference."""
    for part in cut.sliced.slices:
        for method, over in part.differences.items():
            if over.value is not None:
                yield (
                    *(cut.place.dataset, noise_words(cut.place.noise), setting_words(cut.place), cut.metric),
                    *(part.label, part.targets, part.users),
                    *(method, part.means[method].value, over.value, over.low, over.high),
                )


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
