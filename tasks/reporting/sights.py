"""A study's comparisons in the order in which a reader meets them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean

from models.engine.offers import OFFER_METRICS
from tasks.reporting.analysis import (
    FULL,
    METRICS,
    PAIR,
    axis_label,
    compared_axes,
    noise_of,
    place_of,
    repetition,
    value_label,
    variant,
)
from tasks.reporting.charts import style_of
from tasks.reporting.scales import signless
from tasks.specs import in_percent
from tasks.statistics.comparison import Against, Row, Table
from tasks.statistics.estimates import Estimate
from tasks.study.result import CellResult, Noise, Place, Setting, StudyResult

HEADINGS = {
    METRICS[0]: "NDCG@10, full ranking",
    METRICS[1]: "NDCG@10, 100 negatives",
    METRICS[2]: "Hit@10, full ranking",
    METRICS[3]: "Hit@10, 100 negatives",
}

ROUNDING = 1e-9
"""A spread up to this one is of sums that were rounded: all seeds gave the same."""


@dataclass(frozen=True)
class Sight:
    """A place with the tables of its metrics."""

    place: Place
    tables: dict[str, Table]

    @property
    def reference(self) -> str:
        return self.tables[FULL].reference

    @property
    def methods(self) -> tuple[str, ...]:
        return tuple(row.method for row in self.tables[FULL].rows)

    @property
    def compared(self) -> bool:
        """Whether anything is compared here; not so where the reference has no finished training."""
        return any(row.against is not None for row in self.tables[FULL].rows)

    def row(self, metric: str, method: str) -> Row:
        return next(row for row in self.tables[metric].rows if row.method == method)

    def against(self, method: str) -> tuple[Against, Against] | None:
        """The method beside the reference under both protocols, None for the reference itself and without one."""
        first, second = (self.row(metric, method).against for metric in PAIR)
        return None if first is None or second is None else (first, second)


@dataclass(frozen=True)
class Record:
    """A method at a place: all its axes but the seed, and its row for a metric."""

    place: Place
    method: str
    axes: Setting
    metric: str
    row: Row


def sights(result: StudyResult) -> tuple[Sight, ...]:
    """By dataset, setting, kind of noise and where it is, ratios rising; the noise-free place comes first."""
    found: dict[str, Sight] = {}
    for comparison in result.comparisons:
        sight = found.setdefault(repr(comparison.place), Sight(comparison.place, {}))
        sight.tables[comparison.table.metric] = comparison.table
    datasets = list(dict.fromkeys(sight.place.dataset for sight in found.values()))
    settings = list(dict.fromkeys(repr(sight.place.setting) for sight in found.values()))
    kinds = list(dict.fromkeys(_kind(sight.place.noise) for sight in found.values()))

    def order(sight: Sight) -> tuple[int, int, bool, int, float]:
        place = sight.place
        ratio = place.noise.ratio if place.noise else 0.0
        number = kinds.index(_kind(place.noise))
        return datasets.index(place.dataset), settings.index(repr(place.setting)), ratio > 0.0, number, ratio

    return tuple(sorted(found.values(), key=order))


def records(result: StudyResult, metric: str) -> tuple[Record, ...]:
    """Every row of a metric with its axes."""
    compared = {
        variant(cell, result): {axis: cell.axes[axis] for axis in compared_axes(result) if axis in cell.axes}
        | {"method": cell.method}
        for cell in result.cells
    }
    return tuple(
        Record(sight.place, row.method, {**sight.place.setting, **compared.get(row.method, {})}, metric, row)
        for sight in sights(result)
        for row in sight.tables[metric].rows
    )


def cells_of(result: StudyResult, place: Place, method: str) -> tuple[CellResult, ...]:
    """The finished trainings behind a row, each once: those of the place itself, else those that lack its axes."""
    own: dict[object, CellResult] = {}
    lent: dict[object, CellResult] = {}
    for cell in result.cells:
        same = cell.dataset == place.dataset and noise_of(cell) == place.noise and variant(cell, result) == method
        agrees = all(cell.axes.get(axis, value) == value for axis, value in place.setting.items())
        if same and agrees and cell.status == "done":
            found = own if place_of(cell, result) == place else lent
            found.setdefault((cell.train_key or cell.label, cell.evaluate_key), cell)
    return tuple((own or lent).values())


def offer_means(result: StudyResult, sight: Sight, method: str) -> dict[str, float]:
    """Of what a method recommends at a place the figures (`models.engine.offers`), means over its trainings; nothing
    where not all of them have these, as those of an earlier version.
    """
    held = [cell.metrics for cell in cells_of(result, sight.place, method)]
    return {
        metric: fmean(metrics[metric] for metrics in held)
        for metric in OFFER_METRICS
        if held and all(metric in metrics for metrics in held)
    }


def styles(result: StudyResult) -> dict[str, int]:
    """A style number by name, the same in every figure: the reference has 0."""
    named = [variant(cell, result) for cell in result.cells]
    references = [sight.reference for sight in sights(result)]
    return {name: style_of(number) for number, name in enumerate(dict.fromkeys([*references[:1], *named]))}


def oracles(result: StudyResult) -> frozenset[str]:
    """What the method is called that knows the noise: a bound for the others, and none of them."""
    return frozenset(variant(cell, result) for cell in result.cells if cell.method == result.oracle)


def leading(sight: Sight, metric: str, result: StudyResult) -> tuple[str, ...]:
    """The methods that share the highest value of a place; the oracle is no rival."""
    known = oracles(result)
    values = {row.method: row.over_users.value or 0.0 for row in sight.tables[metric].rows if row.method not in known}
    return tuple(method for method, value in values.items() if value == max(values.values()))


def place_words(place: Place, result: StudyResult) -> str:
    """A place as a part of a sentence, with what tells it from the study's others."""
    where = "" if place.noise is None or place.noise.where == "both" else f" in {place.noise.where}"
    noise = "no noise" if place.noise is None else f"{in_percent(place.noise.ratio)} % {place.noise.kind} noise{where}"
    parts = [noise, setting_words(place)]
    if len({sight.place.dataset for sight in sights(result)}) > 1:
        parts.insert(0, place.dataset)
    return ", ".join(filter(None, parts))


def setting_words(place: Place) -> str:
    """The values of the axes that are not compared, "" where there are none."""
    return ", ".join(f"{axis_label(axis)} {value_label(value)}" for axis, value in place.setting.items())


def noise_words(noise: Noise | None) -> str:
    """How much noise of which kind, and where unless it is everywhere."""
    if noise is None:
        return "no noise"
    where = "" if noise.where == "both" else f" in {noise.where}"
    return f"{in_percent(noise.ratio)} % {noise.kind}{where}"


def percent(share: float) -> str:
    """A share of 1 in %."""
    return f"{100.0 * share:.3g} %"


def signed(number: float, digits: int = 1) -> str:
    """A number with its sign, 0 with none."""
    return signless(f"{number:+.{digits}f}") if float(f"{number:.{digits}f}") else f"{0.0:.{digits}f}"


def over_words(result: StudyResult) -> str:
    """What the intervals and tests of differences and shares are over."""
    return f"over users and, where any method has several, {repetition(result)}s"


def interval_words(estimate: Estimate, form: str = "{:.4f}") -> str:
    """Both limits, "" where there are none."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{signless(form.format(estimate.low))} to {signless(form.format(estimate.high))}"


def share_limits(share: Estimate) -> str:
    """Both limits of a share of 1, in %, "" where there are none."""
    if share.low is None or share.high is None:
        return ""
    return f"{signless(f'{100.0 * share.low:.1f}')} to {signless(f'{100.0 * share.high:.1f}')}"


def judged(against: Against) -> str:
    """▲ significantly better, ▼ significantly worse, ○ neither."""
    if against.t_adjusted is None or not against.t_adjusted.significant:
        return "○"
    return "▲" if against.user_difference > 0.0 else "▼"


def by_dataset(found: Sequence[Sight]) -> Iterator[tuple[str, list[Sight]]]:
    """Each dataset's places."""
    for dataset, held in groupby(found, key=lambda sight: sight.place.dataset):
        yield dataset, list(held)


def _kind(noise: Noise | None) -> tuple[str, str]:
    return ("", "") if noise is None else (noise.kind, noise.where)
