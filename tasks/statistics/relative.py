"""Values as shares of other values: what noise leaves of a method, and how much of the damage a method repairs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.statistics import seeds
from tasks.statistics.bootstrap import RESAMPLES, Resampled, interval, resample, standard_error
from tasks.statistics.crossed import SeedSpread, interval_over_both, seed_squares, spreads
from tasks.statistics.estimates import Estimate, Statistic, closed_gap, column, difference, missing, share
from tasks.statistics.panel import Panel

CLEAR = 2.0
"""How many standard errors the oracle must be above the noisy training for a gap to be closed."""


@dataclass(frozen=True)
class Retention:
    """What is left of a method's value at the lowest noise ratio: value / base, with both beside it.

    A method that is worse to begin with can retain more. The intervals of `value`, `base` and `share` are over users;
    `share_over_both` is over users and seeds, None where nothing is known of the spread over seeds.
    """

    method: str
    base_method: str
    value: Estimate
    base: Estimate
    share: Estimate
    share_over_seeds: Estimate
    share_over_both: Estimate | None = None

    @property
    def shown(self) -> Estimate:
        """The share with the widest interval that is known."""
        return self.share_over_both or self.share


@dataclass(frozen=True)
class GapClosed:
    """(method − noisy) / (oracle − noisy): 0 is no better than training on the noise, 1 as good as without it.

    `gap` is oracle − noisy. The shares have no value, and a reason, where the gap is not above `CLEAR` of its standard
    errors, which count users and, where their spread is known, seeds: a quotient by something that may be 0 says
    nothing. The intervals of `value`, `gap` and `share` are over users, that of `share_over_both` is over users and
    seeds, None where nothing is known of the spread over seeds.
    """

    method: str
    noisy: str
    oracle: str
    value: Estimate
    gap: Estimate
    share: Estimate
    share_over_seeds: Estimate
    share_over_both: Estimate | None = None

    @property
    def shown(self) -> Estimate:
        """The share with the widest interval that is known."""
        return self.share_over_both or self.share


def retentions(
    panel: Panel,
    bases: Mapping[str, str],
    *,
    rng: np.random.Generator,
    spread: Mapping[str, SeedSpread] | None = None,
    resamples: int = RESAMPLES,
) -> tuple[Retention, ...]:
    """Retention of each method of `bases` relative to the one it maps to: the same one at the lowest noise ratio.

    Targets keep their numbers through corruption, so the trainings at all ratios are methods of one panel. spread: of
    every method of the panel over seeds (`crossed.spreads`), by default what the panel itself says of it.
    """
    means = _means(panel, spread, rng=rng, resamples=resamples)
    return tuple(_retention(means, method, base) for method, base in bases.items())


def gaps_closed(
    panel: Panel,
    methods: Sequence[str],
    *,
    noisy: str,
    oracle: str,
    rng: np.random.Generator,
    spread: Mapping[str, SeedSpread] | None = None,
    resamples: int = RESAMPLES,
) -> tuple[GapClosed, ...]:
    """How much of the distance from `noisy` to `oracle` each method covers; spread: as of `retentions`."""
    means = _means(panel, spread, rng=rng, resamples=resamples)
    reason = _unclear(means, noisy=noisy, oracle=oracle)
    return tuple(_gap_closed(means, method, noisy=noisy, oracle=oracle, reason=reason) for method in methods)


@dataclass(frozen=True)
class _Means:
    """A panel's means, resampled over users, and each method's spread over seeds where that is known."""

    panel: Panel
    resampled: Resampled
    spread: Mapping[str, SeedSpread]
    rng: np.random.Generator

    def over_users(self, statistic: Statistic) -> Estimate:
        return interval(self.resampled, statistic)

    def over_both(self, statistic: Statistic) -> Estimate | None:
        if not self.spread:
            return None
        arms = [(len(self.panel.seeds[method]), self.spread[method]) for method in self.panel.methods]
        return interval_over_both(self.resampled, statistic, arms, rng=self.rng)

    def error(self, method: str, other: str) -> float:
        """The standard error of the difference of two methods, over users and, where that is known, seeds."""
        over_users = standard_error(self.resampled, difference(self.panel.column(method), self.panel.column(other)))
        by_seeds = sum(
            self.spread[name].variance / len(self.panel.seeds[name]) for name in (method, other) if self.spread
        )
        return float(np.hypot(over_users, by_seeds**0.5))


def _means(
    panel: Panel, spread: Mapping[str, SeedSpread] | None, *, rng: np.random.Generator, resamples: int
) -> _Means:
    if spread is None:
        weights = panel.user_weights()
        squares = {
            name: seed_squares(panel.user_values(name), weights=weights, trainings=panel.trainings[name])
            for name in panel.methods
        }
        spread = spreads({name: [own] for name, own in squares.items()})
    resampled = resample(panel.sample(), rng=rng, resamples=resamples)
    return _Means(panel, resampled, spread, rng=rng)


def _retention(means: _Means, method: str, base: str) -> Retention:
    panel = means.panel
    at, base_at = panel.column(method), panel.column(base)
    kept = share(at, base_at)
    return Retention(
        method=method,
        base_method=base,
        value=means.over_users(column(at)),
        base=means.over_users(column(base_at)),
        share=means.over_users(kept),
        share_over_seeds=seeds.ratio(*panel.seed_pairs(method, base)),
        share_over_both=means.over_both(kept),
    )


def _gap_closed(means: _Means, method: str, *, noisy: str, oracle: str, reason: str | None) -> GapClosed:
    """reason: why there is no gap to close, None where there is one."""
    at, low, high = (means.panel.column(name) for name in (method, noisy, oracle))
    own, base, best = means.panel.seed_pairs(method, noisy, oracle)
    gap = means.over_users(difference(high, low))
    closed = closed_gap(at, noisy=low, oracle=high)
    hidden = missing(reason, level=gap.level, basis=gap.basis, n=gap.n) if reason else None
    hidden_over_seeds = missing(reason, level=gap.level, basis=seeds.RATIO_BASIS, n=len(own)) if reason else None
    return GapClosed(
        method=method,
        noisy=noisy,
        oracle=oracle,
        value=means.over_users(column(at)),
        gap=gap,
        share=hidden or means.over_users(closed),
        share_over_seeds=hidden_over_seeds or seeds.ratio(own - base, best - base),
        share_over_both=hidden if hidden and means.spread else means.over_both(closed),
    )


def _unclear(means: _Means, *, noisy: str, oracle: str) -> str | None:
    """Why there is no gap to speak of, None where there is."""
    point = means.resampled.point
    gap = float(point[means.panel.column(oracle)] - point[means.panel.column(noisy)])
    error = means.error(oracle, noisy)
    if abs(gap) <= CLEAR * error or gap == 0.0:
        return f"oracle and noisy are {abs(gap):.2g} apart, within {CLEAR:g} standard errors of {error:.2g}"
    if gap < 0.0:
        return f"the oracle is {-gap:.2g} below the noisy training, so there is no gap to close"
    return None
