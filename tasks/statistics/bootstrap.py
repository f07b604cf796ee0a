"""Intervals over users: what the same trained models would give for other users of the same kind.

A user is resampled whole, with all their targets (the cluster bootstrap: Davison & Hinkley 1997, *Bootstrap Methods
and their Application*, 3.8): targets of one user are alike, and resampling them one by one makes intervals too narrow.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from tasks.statistics.estimates import LEVEL, Estimate, Floats, Integers, Statistic, estimate, missing
from tasks.wording import counted

RESAMPLES = 2000
BLOCK = 1 << 22
"""How many weights are in memory at a time: 32 MiB of them."""

Kind = Literal["bca", "percentile"]


@dataclass(frozen=True)
class Sample:
    """What a mean over targets needs of each user: sums of values [users, columns], numbers of targets [users]."""

    sums: Floats
    counts: Floats

    @property
    def users(self) -> int:
        return len(self.counts)

    @property
    def means(self) -> Floats:
        """Means over targets [columns]: a user with more targets weighs more, as in the metrics themselves."""
        means: Floats = self.sums.sum(axis=0) / self.counts.sum()
        return means

    @property
    def user_means(self) -> Floats:
        """Means over each user's targets [users, columns]."""
        return self.sums / self.counts[:, None]


@dataclass(frozen=True)
class Resampled:
    """A sample and the means [resamples, columns] of as many samples of the same number of users drawn from it.

    One set of draws serves every statistic, so that what is paired stays paired.
    """

    sample: Sample
    draws: Floats

    @cached_property
    def point(self) -> Floats:
        """The sample's own means [columns]."""
        return self.sample.means

    @cached_property
    def left_out(self) -> Floats:
        """The means without each user in turn [users, columns]: the jackknife."""
        sums, counts = self.sample.sums, self.sample.counts
        left: Floats = (sums.sum(axis=0) - sums) / (counts.sum() - counts)[:, None]
        return left


def cluster(values: Floats, users: Integers) -> Sample:
    """Gather per-target values [targets, columns] by user [targets], users in rising order.

    Raises `ValueError` for values that are not finite.
    """
    if not np.isfinite(values).all():
        row = int(np.argwhere(~np.isfinite(values).all(axis=1))[0, 0])
        raise ValueError(f"the value in row {row} is not a finite number")
    if len(users) == 0:
        return Sample(sums=np.zeros((0, values.shape[1])), counts=np.zeros(0))
    order = np.argsort(users, kind="stable")
    starts = np.flatnonzero(np.diff(users[order], prepend=users[order[0]] - 1))
    counts = np.diff(starts, append=len(users)).astype(np.float64)
    return Sample(sums=np.add.reduceat(values[order], starts, axis=0, dtype=np.float64), counts=counts)


def resample(sample: Sample, *, rng: np.random.Generator, resamples: int = RESAMPLES) -> Resampled:
    """Draw as many users as there are, with replacement, `resamples` times: mean = Σ w·sums / Σ w·counts.

    The weights w, how often each user was drawn, are multinomial. They are made and multiplied in blocks of at most
    `BLOCK` numbers, or of one resample where that is more.

    Raises `ValueError` where there are no users.
    """
    if sample.users == 0:
        raise ValueError("there are no users to draw from")
    table = np.column_stack([sample.sums, sample.counts])
    totals = np.empty((resamples, table.shape[1]))
    step = max(1, BLOCK // sample.users)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = rng.integers(0, sample.users, size=(rows, sample.users))
        drawn += np.arange(rows)[:, None] * sample.users
        weights = np.bincount(drawn.ravel(), minlength=rows * sample.users).reshape(rows, sample.users)
        totals[start : start + rows] = weights.astype(np.float64) @ table
    return Resampled(sample=sample, draws=totals[:, :-1] / totals[:, -1:])


def interval(resampled: Resampled, statistic: Statistic, *, level: float = LEVEL, kind: Kind = "bca") -> Estimate:
    """The bootstrap interval over users of a smooth function of the means.

    percentile: the (1 ± level) / 2 quantiles of the resampled values. bca (Efron 1987; Efron & Tibshirani 1993, *An
    Introduction to the Bootstrap*, 14.3): the quantiles Φ(z₀ + (z₀ + z_α) / (1 − a (z₀ + z_α))), with the bias z₀ =
    Φ⁻¹(share of resampled values below the sample's own, ties by half) and the acceleration a = Σ d³ / (6 (Σ d²)^1.5)
    over the jackknife's deviations d, which set right the skewness of sparse metrics.

    Where every user has the same value, or there are so few that resampling cannot reach as far as the level asks,
    there are no limits, and a reason.
    """
    basis, users = f"{kind} bootstrap over users", resampled.sample.users
    value = float(statistic(resampled.point))
    draws = statistic(resampled.draws)
    if not np.isfinite(value):
        return missing("its denominator is 0", level=level, basis=basis, n=users)
    if users < (needed := _fewest(level)):
        reason = f"{counted(users, 'user')} of the {needed} that a {100.0 * level:g} % interval needs"
        return missing(reason, value=value, level=level, basis=basis, n=users)
    left_out = statistic(resampled.left_out)
    if np.isnan(draws).any() or not np.isfinite(left_out).all():
        reason = "its denominator rests on so few users that it is 0 without them"
        return missing(reason, value=value, level=level, basis=basis, n=users)
    ordered = np.sort(draws)
    # What differs by less is rounding: of the statistic, or of the means that it is made of.
    margin = 1e-12 * max(abs(value), float(np.abs(resampled.point).max()))
    if float(ordered[-1]) - float(ordered[0]) <= margin and float(np.ptp(left_out)) <= margin:
        reason = "it is the same for every user, so resampling them shows no spread"
        return missing(reason, value=value, level=level, basis=basis, n=users)
    tails = np.array([0.5 - level / 2.0, 0.5 + level / 2.0])
    if kind == "bca":
        tails = _accelerated(tails, ordered, value, left_out, margin=margin)
    # The order statistics (B + 1) α, rounded outwards.
    low = ordered[int(np.clip(np.floor((len(ordered) + 1) * tails[0]), 1, len(ordered))) - 1]
    high = ordered[int(np.clip(np.ceil((len(ordered) + 1) * tails[1]), 1, len(ordered))) - 1]
    return estimate(value, float(low), float(high), level=level, basis=basis, n=users)


def standard_error(resampled: Resampled, statistic: Statistic) -> float:
    """The jackknife's standard error over users: √((n − 1) / n · Σ (θ₋ᵢ − θ̄)²) (Efron & Tibshirani 1993, 11.2).

    For a mean with one target a user it is s / √n. Infinite with one user, who has no spread.
    """
    count = resampled.sample.users
    if count == 1:
        return float("inf")
    left_out = statistic(resampled.left_out)
    return float(np.sqrt((count - 1) / count * np.square(left_out - left_out.mean()).sum()))


def _fewest(level: float) -> int:
    """How many users it takes for the least and the greatest of them, beyond which resampling never reaches, to hold
    the middle of a symmetric distribution at this level: 1 − 2 · ½ⁿ, 50 % of two and 94 % of five.
    """
    return int(np.ceil(1.0 - np.log2(1.0 - level)))


def _accelerated(tails: Floats, ordered: Floats, value: float, left_out: Floats, *, margin: float) -> Floats:
    """BCa's tails; resampled values within `margin` of the sample's own are ties."""
    from scipy.special import ndtr, ndtri

    count = len(ordered)
    below = np.searchsorted(ordered, value - margin, side="left")
    up_to = np.searchsorted(ordered, value + margin, side="right")
    bias = ndtri(np.clip((below + up_to) / (2.0 * count), 0.5 / count, 1.0 - 0.5 / count))
    deviations = left_out.mean() - left_out
    squares = float(np.square(deviations).sum())
    acceleration = float((deviations**3).sum()) / (6.0 * squares**1.5) if squares > 0.0 else 0.0
    shifted = bias + ndtri(tails)
    adjusted: Floats = ndtr(bias + shifted / np.maximum(1.0 - acceleration * shifted, 1e-6))
    return adjusted
