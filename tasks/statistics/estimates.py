"""A number with its interval, or the reason why there is none."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

LEVEL = 0.95
ALPHA = 0.05

Statistic = Callable[[Floats], Floats]
"""From means [..., columns] to one number each [...]."""


@dataclass(frozen=True)
class Estimate:
    """A value with the limits of its interval at `level`.

    basis: what the interval is over and how it was made. n: how many seeds or users there were. `reason` says why
    the limits, or the value as well, are None.
    """

    value: float | None
    low: float | None
    high: float | None
    level: float
    basis: str
    n: int
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def excludes(self, number: float) -> bool:
        """Whether there is an interval and `number` lies outside it."""
        return self.low is not None and self.high is not None and not self.low <= number <= self.high


def estimate(value: float, low: float, high: float, *, level: float, basis: str, n: int) -> Estimate:
    """An estimate from three numbers; what is not finite becomes None with a reason."""
    if not math.isfinite(value):
        return missing("the value is undefined: its denominator is 0", level=level, basis=basis, n=n)
    if not (math.isfinite(low) and math.isfinite(high)):
        reason = "the interval has no bound: its denominator may be 0"
        return missing(reason, value=value, level=level, basis=basis, n=n)
    return Estimate(value=float(value), low=float(low), high=float(high), level=level, basis=basis, n=n)


def missing(reason: str, *, value: float | None = None, level: float, basis: str, n: int) -> Estimate:
    """An estimate without limits, and without a value where none is given."""
    return Estimate(
        value=None if value is None else float(value), low=None, high=None, level=level, basis=basis, n=n, reason=reason
    )


def column(index: int) -> Statistic:
    """The mean of one column."""
    return lambda means: means[..., index]


def difference(index: int, reference: int) -> Statistic:
    """The mean of a column less that of the reference."""
    return lambda means: means[..., index] - means[..., reference]


def share(index: int, reference: int) -> Statistic:
    """The mean of a column as a multiple of the reference's."""
    return lambda means: quotient(means[..., index], means[..., reference])


def gain(index: int, reference: int) -> Statistic:
    """The relative gain over the reference in %: 100 · (mean / reference − 1)."""
    return lambda means: 100.0 * (quotient(means[..., index], means[..., reference]) - 1.0)


def closed_gap(index: int, *, noisy: int, oracle: int) -> Statistic:
    """The share of the distance from noisy to oracle that a column covers: (mean − noisy) / (oracle − noisy)."""
    return lambda means: quotient(means[..., index] - means[..., noisy], means[..., oracle] - means[..., noisy])


def quotient(above: Floats, below: Floats) -> Floats:
    """above / below for a denominator that is positive by its meaning.

    Where a resampled one is not, the quotient has run past every bound: infinite with the sign of `above`, so that an
    interval that would reach there is told to have no bound, rather than wrap round to the other sign. 0 / 0 is NaN.
    """
    beyond = np.where(above == 0.0, np.nan, np.copysign(np.inf, above))
    return np.divide(above, below, out=np.asarray(beyond, dtype=np.float64), where=below > 0.0)
