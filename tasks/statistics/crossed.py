"""Users and seeds at once: what other users and another training would change of a difference.

A test over users takes the trainings as given, so that two lucky seeds look like a better method. Here a value of user
u under the training with seed s is m + U_u + S_s + rest, two crossed random effects (Searle, Casella & McCulloch 1992,
*Variance Components*, ch. 4). Two or three seeds of one method say next to nothing of the spread of S: it is pooled
over all the methods and places that are judged together, and taken to be the same for all of them, each with trainings
of its own.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from tasks.statistics.estimates import Estimate, Floats
from tasks.statistics.paired import Test

NAME = "paired t over users and seeds"


@dataclass(frozen=True)
class SeedSquares:
    """Mean squares of one method's values at one place, [seeds, users]: between its seeds, users · s²(seed means), and
    of what neither the seed nor the user explains.
    """

    seeds: int
    users: int
    between: float
    rest: float


@dataclass(frozen=True)
class SeedSpread:
    """How far a training's mean over users lies from another seed's. variance: σ̂², without what the users' own rest
    brings into it, at least 0; largest: the same with that; degrees: of freedom.
    """

    variance: float
    largest: float
    degrees: int


@dataclass(frozen=True)
class OverBoth:
    """A difference to the reference over users and seeds: its test, and the intervals over users of difference and gain
    (in %), each limit moved out by what other seeds would change.
    """

    t: Test
    difference: Estimate
    gain: Estimate


def seed_squares(values: Floats) -> SeedSquares | None:
    """The mean squares of values [seeds, users]; None with a single seed or user."""
    seeds, users = values.shape
    if min(seeds, users) < 2:
        return None
    of_seed, of_user = values.mean(axis=1, keepdims=True), values.mean(axis=0, keepdims=True)
    rest = values - of_seed - of_user + values.mean()
    return SeedSquares(
        seeds,
        users,
        between=float(users * of_seed.var(ddof=1)),
        rest=float((rest**2).sum() / ((seeds - 1) * (users - 1))),
    )


def pooled(arms: Iterable[SeedSquares | None]) -> SeedSpread | None:
    """The spread over seeds of several arms together, weighed by their degrees of freedom; an arm that stands in
    several tables counts once. None where no arm has two seeds.
    """
    known = [arm for arm in dict.fromkeys(arms) if arm is not None]
    degrees = sum(arm.seeds - 1 for arm in known)
    if degrees == 0:
        return None
    largest = sum((arm.seeds - 1) * arm.between / arm.users for arm in known) / degrees
    of_users = sum((arm.seeds - 1) * arm.rest / arm.users for arm in known) / degrees
    return SeedSpread(variance=max(0.0, largest - of_users), largest=largest, degrees=degrees)


def over_both(
    over_users: Test, difference: Estimate, gain: Estimate, *, error: float, seeds: tuple[int, int], spread: SeedSpread
) -> OverBoth:
    """The test and intervals of a difference between two methods with so many `seeds` each.

    error: the standard error of the mean difference over users, to which `over_users` is the test. The squared error
    over both is error² + σ̂² (1/k + 1/k'), with Satterthwaite's degrees of freedom (1946, "An approximate distribution
    of estimates of variance components", Biometrics Bulletin 2). Where σ̂² is 0, all is as over users alone.
    """
    if over_users.statistic is None or error == 0.0 or spread.variance == 0.0:
        return OverBoth(replace(over_users, name=NAME), difference, gain)
    from scipy.special import stdtr, stdtrit

    share = sum(1.0 / count for count in seeds)
    squared = error**2 + spread.variance * share
    degrees = squared**2 / (error**4 / (over_users.n - 1) + (spread.largest * share) ** 2 / spread.degrees)
    statistic = over_users.statistic * error / squared**0.5
    one_sided = over_users.alternative == "greater"
    p = float(stdtr(degrees, -statistic)) if one_sided else 2.0 * float(stdtr(degrees, -abs(statistic)))
    margin = float(stdtrit(degrees, 0.5 + difference.level / 2.0)) * (spread.variance * share) ** 0.5
    return OverBoth(
        t=replace(over_users, name=NAME, statistic=statistic, p=p),
        difference=_widened(difference, margin),
        gain=_widened(gain, margin * _per_unit(difference, gain)),
    )


def _per_unit(difference: Estimate, gain: Estimate) -> float:
    """How many % of gain a difference of 1 is: 100 / the reference's mean."""
    return gain.value / difference.value if gain.value and difference.value else 0.0


def _widened(over_users: Estimate, margin: float) -> Estimate:
    """Each limit as far from the value as its own distance and `margin` make together, at right angles."""
    value, low, high = over_users.value, over_users.low, over_users.high
    if value is None or low is None or high is None:
        return over_users
    return replace(
        over_users,
        low=value - float(np.hypot(value - low, margin)),
        high=value + float(np.hypot(high - value, margin)),
        basis=f"{over_users.basis}, and over seeds",
    )
