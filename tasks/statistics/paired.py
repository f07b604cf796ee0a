"""Paired tests and effect sizes: the same users, or the same seeds, under a method and under its reference.

Everywhere a difference is *method less reference*, and the alternative "greater" says that the method is the greater.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tasks.statistics.estimates import ALPHA, Floats

Alternative = Literal["two-sided", "greater"]

EXACT = 50
"""Up to so many differences other than 0 the signed-rank distribution is counted out rather than taken as normal."""


@dataclass(frozen=True)
class Test:
    """A test's outcome over n pairs; `reason` says why `p` is None."""

    # Pytest collects what is named so, and is told not to.
    __test__ = False

    name: str
    alternative: Alternative
    n: int
    statistic: float | None
    p: float | None
    reason: str | None = None


@dataclass(frozen=True)
class Effect:
    """How large the difference is over n pairs.

    d_z: Cohen's d for paired data, mean(d) / s(d) (Cohen 1988, *Statistical Power Analysis*, 2.3.5); None without
    spread. rank_biserial: (W₊ − W₋) / (W₊ + W₋) over the pairs that differ (Kerby 2014, "The simple difference
    formula", Compr. Psychol. 3), from −1 to 1; 0 where none differ. superiority: the share of pairs where the method
    is the better, ties by half (the paired form of the probability of superiority, Grissom & Kim 2012, *Effect Sizes
    for Research*). Beside them the shares of pairs that are better, tied and worse: with many ties a large
    rank_biserial may rest on a handful of pairs.
    """

    n: int
    d_z: float | None
    rank_biserial: float
    superiority: float
    better: float
    tied: float
    worse: float


def t_test(
    method: Sequence[float] | Floats, reference: Sequence[float] | Floats, *, alternative: Alternative = "two-sided"
) -> Test:
    """The paired t test: t = d̄ √n / s(d) with n − 1 degrees of freedom; H₀: the mean difference is 0 ("greater": ≤ 0).

    Equal inputs have p = 1. Fewer than two pairs, or a difference that is the same in every pair, have no p.
    """
    differences = _differences(method, reference)
    count = len(differences)
    if count < 2:
        return _none("paired t", alternative, count, f"{_pairs(count)} cannot be tested; two are needed")
    if not differences.any():
        return Test(name="paired t", alternative=alternative, n=count, statistic=0.0, p=1.0)
    spread = float(differences.std(ddof=1))
    if spread <= 1e-12 * float(np.abs(differences).max()):
        return _none("paired t", alternative, count, "the difference is the same in every pair, so it has no spread")
    from scipy.special import stdtr

    statistic = float(differences.mean()) * count**0.5 / spread
    greater = float(stdtr(count - 1, -statistic))
    p = greater if alternative == "greater" else 2.0 * float(stdtr(count - 1, -abs(statistic)))
    return Test(name="paired t", alternative=alternative, n=count, statistic=statistic, p=p)


def wilcoxon(
    method: Sequence[float] | Floats,
    reference: Sequence[float] | Floats,
    *,
    alternative: Alternative = "two-sided",
    alpha: float = ALPHA,
) -> Test:
    """Wilcoxon's signed-rank test; H₀: the differences lie symmetrically about 0. Statistic: W₊, the gains' ranks.

    Differences of 0 are ranked with the others and then left out (Pratt 1959, "Remarks on zeros and ties", JASA 54).
    Dropping them first can turn a larger gain into a lesser result; splitting them between the sides ("zsplit") adds
    their ranks to the variance though they cannot vary, and under Hit@k, where most users tie, hardly ever rejects.

    Given the ranks, each sign is a fair coin under H₀. That distribution is counted out exactly, ties included, for up
    to `EXACT` differences other than 0, and beyond is normal with mean Σ r / 2 and variance Σ r² / 4.

    Equal inputs have p = 1. With so few pairs that even the same sign in all of them could not give p ≤ alpha (fewer
    than 6 two-sided, 5 one-sided, at 0.05), there is no p.
    """
    differences = _differences(method, reference)
    count = len(differences)
    sides = 2.0 if alternative == "two-sided" else 1.0
    if sides * 0.5**count > alpha:
        reason = f"{_pairs(count)} cannot give p below {min(1.0, sides * 0.5**count):.3g}, whatever they are"
        return _none("Wilcoxon signed-rank", alternative, count, reason)
    ranks = _pratt_ranks(differences)
    gains = float(ranks[differences > 0.0].sum())
    least, most = _tails(ranks[differences != 0.0], gains)
    p = most if alternative == "greater" else min(1.0, 2.0 * min(least, most))
    return Test(name="Wilcoxon signed-rank", alternative=alternative, n=count, statistic=gains, p=p)


def effect(method: Sequence[float] | Floats, reference: Sequence[float] | Floats) -> Effect | None:
    """Effect sizes of a paired difference; None without pairs."""
    differences = _differences(method, reference)
    count = len(differences)
    if count == 0:
        return None
    spread = float(differences.std(ddof=1)) if count > 1 else 0.0
    if not differences.any():
        standardised = 0.0 if count > 1 else None
    else:
        constant = spread <= 1e-12 * float(np.abs(differences).max())
        standardised = None if constant else float(differences.mean()) / spread
    ranks = _pratt_ranks(differences)
    up, down = float(ranks[differences > 0.0].sum()), float(ranks[differences < 0.0].sum())
    better, worse = float((differences > 0.0).mean()), float((differences < 0.0).mean())
    return Effect(
        n=count,
        d_z=standardised,
        rank_biserial=(up - down) / (up + down) if up + down else 0.0,
        superiority=0.5 + (better - worse) / 2.0,
        better=better,
        tied=float((differences == 0.0).mean()),
        worse=worse,
    )


def _differences(method: Sequence[float] | Floats, reference: Sequence[float] | Floats) -> Floats:
    """method − reference, with what is only rounding set to 0 and to ties.

    Averages of the same numbers in another order differ in their last bits, and signed ranks would count that.
    """
    first, second = np.asarray(method, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"pairs are needed, and these have shapes {first.shape} and {second.shape}")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("pairs of finite numbers are needed")
    if len(first) == 0:
        return first
    unit = max(float(np.abs(first).max()), float(np.abs(second).max())) * 1e-12
    return np.round((first - second) / unit) * unit if unit > 0.0 else first - second


def _pratt_ranks(differences: Floats) -> Floats:
    """Ranks from 1 of |difference|, zeros among them, ties by their mean."""
    from scipy.stats import rankdata

    ranks: Floats = rankdata(np.abs(differences)).astype(np.float64)
    return ranks


def _tails(ranks: Floats, gains: float) -> tuple[float, float]:
    """P(W₊ ≤ gains) and P(W₊ ≥ gains) where each rank counts with probability ½."""
    if len(ranks) == 0:
        return 1.0, 1.0
    if len(ranks) > EXACT:
        from scipy.special import ndtr

        z = (gains - float(ranks.sum()) / 2.0) / float(np.square(ranks).sum() / 4.0) ** 0.5
        return float(ndtr(z)), float(ndtr(-z))
    doubled = np.rint(2.0 * ranks).astype(np.int64)  # mean ranks are halves
    chances = np.zeros(int(doubled.sum()) + 1)
    chances[0] = 1.0
    for rank in doubled:
        chances[rank:] = (chances[rank:] + chances[:-rank]) / 2.0
        chances[:rank] /= 2.0
    place = round(2.0 * gains)
    return min(1.0, float(chances[: place + 1].sum())), min(1.0, float(chances[place:].sum()))


def _none(name: str, alternative: Alternative, count: int, reason: str) -> Test:
    return Test(name=name, alternative=alternative, n=count, statistic=None, p=None, reason=reason)


def _pairs(count: int) -> str:
    return "one pair" if count == 1 else f"{count} pairs"
