"""Intervals over seeds: what another training of the same method on the same data would give.

The values are one mean a seed. Their spread says nothing about other users (`tasks.statistics.bootstrap` does).
"""

from collections.abc import Sequence

import numpy as np

from tasks.statistics.estimates import LEVEL, Estimate, Floats, estimate, missing

BASIS = "t over seeds"
RATIO_BASIS = "Fieller over seeds"


def mean(values: Sequence[float] | Floats, *, level: float = LEVEL) -> Estimate:
    """Student's interval x̄ ± t(n − 1) · s / √n of a mean over seeds; for a paired difference, give the differences.

    With one seed there is a value and no interval. A method that is the same at every seed has an interval of no width.
    """
    numbers = np.asarray(values, dtype=np.float64)
    count = len(numbers)
    if count == 0:
        return missing("there is no seed that both have", level=level, basis=BASIS, n=0)
    centre = float(numbers.mean())
    if count == 1:
        return missing("one seed has no spread; two are needed", value=centre, level=level, basis=BASIS, n=1)
    margin = _critical(count, level) * float(numbers.std(ddof=1)) / count**0.5
    return estimate(centre, centre - margin, centre + margin, level=level, basis=BASIS, n=count)


def ratio(
    above: Sequence[float] | Floats, below: Sequence[float] | Floats, *, scale: float = 1.0, level: float = LEVEL
) -> Estimate:
    """scale · mean(above) / mean(below), both paired by seed, with Fieller's interval (Fieller 1954, "Some problems in
    interval estimation", J. R. Stat. Soc. B 16).

    The interval is every ρ that a t test of mean(above − ρ · below) = 0 does not reject, the roots of
    (b̄² − t² s_bb / n) ρ² − 2 (ā b̄ − t² s_ab / n) ρ + (ā² − t² s_aa / n). It is exact for normal pairs, also for few,
    and has no bound where mean(below) itself is not told apart from 0: then there is a reason in place of limits.
    """
    a, b = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    count = len(a)
    if count == 0:
        return missing("there is no seed that both have", level=level, basis=RATIO_BASIS, n=0)
    if not b.mean() > 0.0:
        return missing("the denominator is not above 0", level=level, basis=RATIO_BASIS, n=count)
    value = float(scale * a.mean() / b.mean())
    if count == 1:
        return missing("one seed has no spread; two are needed", value=value, level=level, basis=RATIO_BASIS, n=1)
    squared = _critical(count, level) ** 2 / count
    spread = np.cov(a, b)
    first = b.mean() ** 2 - squared * spread[1, 1]
    middle = a.mean() * b.mean() - squared * spread[0, 1]
    last = a.mean() ** 2 - squared * spread[0, 0]
    if first <= 0.0:
        reason = "over these seeds the denominator is not told apart from 0, so the interval has no bound"
        return missing(reason, value=value, level=level, basis=RATIO_BASIS, n=count)
    root = max(middle**2 - first * last, 0.0) ** 0.5
    low, high = scale * (middle - root) / first, scale * (middle + root) / first
    return estimate(value, low, high, level=level, basis=RATIO_BASIS, n=count)


def standard_error(values: Sequence[float] | Floats) -> float | None:
    """s / √n over seeds, None with fewer than two."""
    numbers = np.asarray(values, dtype=np.float64)
    return float(numbers.std(ddof=1)) / len(numbers) ** 0.5 if len(numbers) > 1 else None


def _critical(count: int, level: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(count - 1, 0.5 + level / 2.0))
