"""Values as shares of other values: what noise leaves of a method, and how much of the damage a method repairs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tasks.statistics import seeds
from tasks.statistics.bootstrap import RESAMPLES, Resampled, interval, resample, standard_error
from tasks.statistics.estimates import LEVEL, Estimate, closed_gap, column, difference, missing, share
from tasks.statistics.panel import Panel

CLEAR = 2.0
"""How many standard errors the oracle must be above the noisy training for a gap to be closed."""


@dataclass(frozen=True)
class Retention:
    """What is left of a method's value at the lowest noise ratio: value / base, with both beside it.

    A method that is worse to begin with can retain more. The intervals of `value`, `base` and `share` are over users.
    """

    method: str
    base_method: str
    value: Estimate
    base: Estimate
    share: Estimate
    share_over_seeds: Estimate

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class GapClosed:
    """(method − noisy) / (oracle − noisy): 0 is no better than training on the noise, 1 as good as without it.

    `gap` is oracle − noisy. `share` has no value, and a reason, where the gap is not above `CLEAR` of its standard
    errors, over users or over seeds, whichever is the larger: a quotient by something that may be 0 says nothing.
    """

    method: str
    noisy: str
    oracle: str
    value: Estimate
    gap: Estimate
    share: Estimate
    share_over_seeds: Estimate

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def retentions(
    panel: Panel,
    bases: Mapping[str, str],
    *,
    rng: np.random.Generator,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> tuple[Retention, ...]:
    """Retention of each method of `bases` relative to the one it maps to: the same one at the lowest noise ratio.

    Targets keep their numbers through corruption, so the trainings at all ratios are methods of one panel.
    """
    resampled = resample(panel.sample(), rng=rng, resamples=resamples)
    return tuple(_retention(panel, resampled, method, base, level=level) for method, base in bases.items())


def gaps_closed(
    panel: Panel,
    methods: Sequence[str],
    *,
    noisy: str,
    oracle: str,
    rng: np.random.Generator,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> tuple[GapClosed, ...]:
    """How much of the distance from `noisy` to `oracle` each method covers."""
    resampled = resample(panel.sample(), rng=rng, resamples=resamples)
    at = {name: panel.column(name) for name in (*methods, noisy, oracle)}
    gap = interval(resampled, difference(at[oracle], at[noisy]), level=level)
    reason = _unclear(panel, resampled, noisy=noisy, oracle=oracle)
    return tuple(
        GapClosed(
            method=method,
            noisy=noisy,
            oracle=oracle,
            value=interval(resampled, column(at[method]), level=level),
            gap=gap,
            share=_hidden(reason, level=level, basis=gap.basis, n=gap.n)
            if reason
            else interval(resampled, closed_gap(at[method], noisy=at[noisy], oracle=at[oracle]), level=level),
            share_over_seeds=_gap_over_seeds(panel, method, noisy=noisy, oracle=oracle, reason=reason, level=level),
        )
        for method in methods
    )


def _retention(panel: Panel, resampled: Resampled, method: str, base: str, *, level: float) -> Retention:
    at, base_at = panel.column(method), panel.column(base)
    return Retention(
        method=method,
        base_method=base,
        value=interval(resampled, column(at), level=level),
        base=interval(resampled, column(base_at), level=level),
        share=interval(resampled, share(at, base_at), level=level),
        share_over_seeds=seeds.ratio(*panel.seed_pairs(method, base), level=level),
    )


def _gap_over_seeds(
    panel: Panel, method: str, *, noisy: str, oracle: str, reason: str | None, level: float
) -> Estimate:
    own, low, high = panel.seed_pairs(method, noisy, oracle)
    if reason:
        return _hidden(reason, level=level, basis=seeds.RATIO_BASIS, n=len(own))
    return seeds.ratio(own - low, high - low, level=level)


def _unclear(panel: Panel, resampled: Resampled, *, noisy: str, oracle: str) -> str | None:
    """Why there is no gap to speak of, None where there is."""
    statistic = difference(panel.column(oracle), panel.column(noisy))
    gap = float(statistic(resampled.point))
    high, low = panel.seed_pairs(oracle, noisy)
    error = max(standard_error(resampled, statistic), seeds.standard_error(high - low) or 0.0)
    if abs(gap) <= CLEAR * error or gap == 0.0:
        return f"oracle and noisy are {abs(gap):.2g} apart, within {CLEAR:g} standard errors of {error:.2g}"
    if gap < 0.0:
        return f"the oracle is {-gap:.2g} below the noisy training, so there is no gap to close"
    return None


def _hidden(reason: str, *, level: float, basis: str, n: int) -> Estimate:
    return missing(reason, level=level, basis=basis, n=n)
