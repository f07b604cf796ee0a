"""The table of a comparison: each method's mean, its difference to a reference, and in words whether that is one."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tasks.statistics import seeds
from tasks.statistics.bootstrap import RESAMPLES, Resampled, interval, resample, standard_error
from tasks.statistics.crossed import Errors, OverBoth, SeedSpread, SeedSquares, over_both, seed_squares, spreads
from tasks.statistics.estimates import ALPHA, Estimate, column, difference, gain
from tasks.statistics.multiple import Adjusted, holm
from tasks.statistics.paired import Alternative, Effect, Test, effect, t_test, wilcoxon
from tasks.statistics.panel import Panel
from tasks.statistics.sensitivity import Sensitivity, sensitivity


@dataclass(frozen=True)
class Against:
    """A method beside the reference; differences are the method's less the reference's.

    difference, gain (in %): of means over targets, with intervals over users and over seeds; `error` is the standard
    error of `difference` over users. t, wilcoxon, effect: over users, each one a pair of their mean values, whose mean
    difference is `user_difference`, with the standard error `user_error`. Where users have one target each it is
    `difference`; else it weighs users alike and not targets. Both errors are None in a file of before. over_both: over
    users and seeds at once (`tasks.statistics.crossed`), None where no method of the tables has two seeds. sensitivity:
    of `difference`, at the level of one comparison among all of the tables, α over their number as in Holm's first
    step; None in a file of before. The two `adjusted` p-values are Holm's over all comparisons of the tables, and
    `verdict` rests on that of t, because the claim is about a mean: over users and seeds where that is known, else over
    users alone.
    """

    difference: Estimate
    difference_over_seeds: Estimate
    gain: Estimate
    gain_over_seeds: Estimate
    user_difference: float
    t: Test
    wilcoxon: Test
    t_over_seeds: Test
    wilcoxon_over_seeds: Test
    t_adjusted: Adjusted | None
    wilcoxon_adjusted: Adjusted | None
    effect: Effect | None
    verdict: str
    user_error: float | None = None
    error: float | None = None
    over_both: OverBoth | None = None
    sensitivity: Sensitivity | None = None

    @property
    def deciding(self) -> Test:
        """The test that the verdict rests on."""
        return self.t if self.over_both is None else self.over_both.t

    @property
    def shown_difference(self) -> Estimate:
        """The difference with the interval that belongs to `deciding`."""
        return self.difference if self.over_both is None else self.over_both.difference

    @property
    def shown_gain(self) -> Estimate:
        """The gain with the interval that belongs to `deciding`."""
        return self.gain if self.over_both is None else self.over_both.gain


@dataclass(frozen=True)
class Row:
    """A method's mean with its intervals over seeds and over users; `against` is None for the reference itself, and
    where the panel has none.

    squares: of its values over users and seeds, where users count alike, as in the tests. target_squares: the same
    where targets do, as in the means, differences and shares. None with one seed and in a file of before.
    """

    method: str
    seeds: tuple[int, ...]
    over_seeds: Estimate
    over_users: Estimate
    against: Against | None
    squares: SeedSquares | None = None
    target_squares: SeedSquares | None = None


@dataclass(frozen=True)
class Table:
    """All methods of a panel beside the reference, in the panel's order; where it has none, the methods alone."""

    metric: str
    reference: str
    alternative: Alternative
    alpha: float
    targets: int
    users: int
    rows: tuple[Row, ...]


def compare(
    panel: Panel,
    *,
    metric: str,
    reference: str,
    rng: np.random.Generator,
    alternative: Alternative = "two-sided",
    alpha: float = ALPHA,
    resamples: int = RESAMPLES,
) -> Table:
    """Compare every method of a panel with the reference.

    `alternative` "greater" asks whether a method is better and nothing else; the intervals have two sides all the same.

    Raises `ValueError` where the reference is not in the panel.
    """
    panel.column(reference)
    return _table(panel, metric, reference, rng=rng, alternative=alternative, alpha=alpha, resamples=resamples)


def uncompared(
    panel: Panel,
    *,
    metric: str,
    reference: str,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Table:
    """The values of a panel's methods, none of them compared: for a panel that lacks the reference."""
    return _table(panel, metric, reference, rng=rng, alternative="two-sided", alpha=ALPHA, resamples=resamples)


def jointly(tables: Sequence[Table]) -> tuple[Table, ...]:
    """The tables judged together, as where each is one noise ratio: the spread over seeds of all that share a metric is
    one, and p-values are adjusted over all comparisons.

    Raises `ValueError` where they differ in alpha.
    """
    alphas = {table.alpha for table in tables}
    if len(alphas) > 1:
        raise ValueError(f"tables judged together need one alpha, and these have {sorted(alphas)}")
    alpha = next(iter(alphas), ALPHA)
    tested = sum(row.against.t.p is not None for table in tables for row in table.rows if row.against is not None)
    tables = [
        _with_seeds(table, [other for other in tables if other.metric == table.metric], level=alpha / max(tested, 1))
        for table in tables
    ]
    compared = [row.against for table in tables for row in table.rows if row.against is not None]
    t_adjusted = iter(holm([against.deciding.p for against in compared], alpha=alpha))
    wilcoxon_adjusted = iter(holm([against.wilcoxon.p for against in compared], alpha=alpha))
    return tuple(
        replace(table, rows=tuple(_judged(row, table.reference, t_adjusted, wilcoxon_adjusted) for row in table.rows))
        for table in tables
    )


def spread_by_method(tables: Iterable[Table]) -> dict[str, SeedSpread]:
    """How far another seed moves each method's mean over targets, from all tables of a metric; nothing where none has
    two seeds.
    """
    return _spreads((row.method, row.target_squares) for table in tables for row in table.rows)


def _table(
    panel: Panel,
    metric: str,
    reference: str,
    *,
    rng: np.random.Generator,
    alternative: Alternative,
    alpha: float,
    resamples: int,
) -> Table:
    sample = panel.sample()
    resampled = resample(sample, rng=rng, resamples=resamples)
    weights = panel.user_weights()
    squares = {
        method: (seed_squares(values, trainings=names), seed_squares(values, weights=weights, trainings=names))
        for method, values, names in ((name, panel.user_values(name), panel.trainings[name]) for name in panel.methods)
    }
    rows = tuple(
        Row(
            method=method,
            seeds=panel.seeds[method],
            over_seeds=seeds.mean(panel.seed_means(method)),
            over_users=interval(resampled, column(panel.column(method))),
            squares=squares[method][0],
            target_squares=squares[method][1],
            against=None
            if method == reference or reference not in panel.methods
            else _against(panel, resampled, method, reference, alternative=alternative, alpha=alpha),
        )
        for method in panel.methods
    )
    table = Table(
        metric=metric,
        reference=reference,
        alternative=alternative,
        alpha=alpha,
        targets=len(panel.targets),
        users=sample.users,
        rows=rows,
    )
    return jointly([table])[0]


def _against(
    panel: Panel,
    resampled: Resampled,
    method: str,
    reference: str,
    *,
    alternative: Alternative,
    alpha: float,
) -> Against:
    at, base = panel.column(method), panel.column(reference)
    user_means = resampled.sample.user_means
    own, other = user_means[:, at], user_means[:, base]
    users = len(own)
    seed_own, seed_other = panel.seed_pairs(method, reference)
    return Against(
        difference=interval(resampled, difference(at, base)),
        difference_over_seeds=seeds.mean(seed_own - seed_other),
        gain=interval(resampled, gain(at, base)),
        gain_over_seeds=seeds.ratio(seed_own - seed_other, seed_other, scale=100.0),
        user_difference=float((own - other).mean()),
        user_error=float((own - other).std(ddof=1)) / users**0.5 if users > 1 else 0.0,
        t=t_test(own, other, alternative=alternative),
        wilcoxon=wilcoxon(own, other, alternative=alternative, alpha=alpha),
        t_over_seeds=t_test(seed_own, seed_other, alternative=alternative),
        wilcoxon_over_seeds=wilcoxon(seed_own, seed_other, alternative=alternative, alpha=alpha),
        t_adjusted=None,
        wilcoxon_adjusted=None,
        effect=effect(own, other),
        error=standard_error(resampled, difference(at, base)) if users > 1 else 0.0,
        over_both=None,
        verdict="",
    )


def _with_seeds(table: Table, judged_with: Sequence[Table], *, level: float) -> Table:
    """The table with its differences over users and seeds, where anything is known of the spread over seeds, and with
    what they could have found at this level.
    """
    of_users = _spreads((row.method, row.squares) for other in judged_with for row in other.rows)
    of_targets = spread_by_method(judged_with)
    counts = {row.method: len(row.seeds) for row in table.rows}
    reference = next((row.over_users.value for row in table.rows if row.method == table.reference), None) or 0.0

    def judged(row: Row) -> Row:
        against = row.against
        if against is None or against.user_error is None or against.error is None:
            return row

        def errors(error: float, spread: Mapping[str, SeedSpread]) -> Errors:
            return Errors(
                error, tuple((counts[name], spread[name]) for name in (row.method, table.reference) if spread)
            )

        by_users, by_targets = errors(against.user_error, of_users), errors(against.error, of_targets)
        return replace(
            row,
            against=replace(
                against,
                over_both=over_both(
                    against.t,
                    against.difference,
                    against.gain,
                    reference=reference,
                    of_users=by_users,
                    of_targets=by_targets,
                )
                if of_users
                else against.over_both,
                sensitivity=sensitivity(by_targets, users=table.users, alpha=level, alternative=table.alternative),
            ),
        )

    return replace(table, rows=tuple(map(judged, table.rows)))


def _spreads(arms: Iterable[tuple[str, SeedSquares | None]]) -> dict[str, SeedSpread]:
    """Each method's spread over seeds from its arms at all places."""
    held: dict[str, list[SeedSquares | None]] = {}
    for method, squares in arms:
        held.setdefault(method, []).append(squares)
    return spreads(held)


def _judged(
    row: Row, reference: str, t_adjusted: Iterator[Adjusted | None], wilcoxon_adjusted: Iterator[Adjusted | None]
) -> Row:
    if row.against is None:
        return row
    against = replace(row.against, t_adjusted=next(t_adjusted), wilcoxon_adjusted=next(wilcoxon_adjusted))
    return replace(row, against=replace(against, verdict=_verdict(against, reference)))


def _verdict(against: Against, reference: str) -> str:
    """In words: significant or not, the interval, and what stands against taking it at its word."""
    adjusted = against.t_adjusted
    if adjusted is None:
        return f"not tested: {against.deciding.reason}"
    if against.effect is not None and against.effect.tied == 1.0:
        return f"not significant: the same as {reference} for every user"
    parts = [_interval_words(against)]
    low, high = against.shown_difference.low, against.shown_difference.high
    if adjusted.significant:
        better = against.user_difference > 0.0
        opening = f"significantly {'better' if better else 'worse'} than {reference} ({_p_words(adjusted)})"
        if low is not None and high is not None and not (low > 0.0 if better else high < 0.0):
            parts.append("which does not bear it out (it weighs users by their targets, the test weighs them alike)")
        if against.over_both is None:
            parts.append("over users alone: how much other trainings would change is not known")
    else:
        one_sided = against.t.alternative == "greater"
        opening = f"not significantly better than {reference}" if one_sided else "not significant"
        if against.shown_difference.excludes(0.0) and not one_sided:
            parts.append(f"but {_p_words(adjusted)}")
        elif against.difference.excludes(0.0) and not one_sided:
            parts.append("though over users alone it would not include 0: other trainings may undo it")
    return f"{opening}: {', '.join(parts)}"


def _interval_words(against: Against) -> str:
    """The interval of the difference, in % of the reference where that has one."""
    gain, difference = against.shown_gain, against.shown_difference
    if gain.low is not None and gain.high is not None:
        low, high = gain.low, gain.high
        least = min((abs(limit) for limit in (low, high) if limit), default=1.0)
        digits = 1 if least >= 0.05 else 2
        limits = f"{_signed(low, digits)} % to {_signed(high, digits)} %"
    elif difference.low is not None and difference.high is not None:
        limits = f"{_signed(difference.low, 4)} to {_signed(difference.high, 4)}"
    else:
        return f"the difference has no interval ({difference.reason})"
    return f"{100.0 * difference.level:g} % interval of the difference {limits}"


def _p_words(adjusted: Adjusted) -> str:
    said = "p < 0.001" if adjusted.p < 0.001 else f"p = {adjusted.p:.2g}"
    return f"{said} by Holm over {adjusted.comparisons} comparisons" if adjusted.comparisons > 1 else said


def _signed(number: float, digits: int) -> str:
    said = f"{number:+.{digits}f}"
    return said[1:] if float(said) == 0.0 else said.replace("-", "−")
