"""Users and seeds at once: what other users and another training would change of a difference.

A test over users takes the trainings as given, so that two lucky seeds look like a better method. Here a value of user
u under the training with seed s is m + U_u + S_s + rest, two crossed random effects (Searle, Casella & McCulloch 1992,
*Variance Components*, ch. 4). Two or three seeds of one method say next to nothing of the spread of S. A method's own,
over all places that are judged together, is therefore drawn towards that of all methods, the more so the more alike
they are (Smyth 2004, "Linear models and empirical Bayes methods", Stat. Appl. Genet. Mol. Biol. 3): among methods that
seeds move alike it is one spread for all, and one that seeds throw about does not blur the others. The two sides of a
difference are taken to have trainings of their own.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from tasks.statistics.bootstrap import Resampled, interval
from tasks.statistics.estimates import Estimate, Floats, Statistic
from tasks.statistics.paired import Test

NAME = "paired t over users and seeds"


@dataclass(frozen=True)
class SeedSquares:
    """Mean squares of one method's values at one place, [seeds, users]: between its seeds, users · s²(seed means), and
    of what neither the seed nor the user explains. trainings: of the seeds, empty where they are not known.

    They are of the mean that `seed_squares` was asked for: one where users weigh alike, or one over targets.
    """

    seeds: int
    users: int
    between: float
    rest: float
    trainings: tuple[str, ...] = ()


@dataclass(frozen=True)
class SeedSpread:
    """How far a training's mean over users lies from another seed's. largest: s² of such means; rest: what the users'
    own rest brings into it; degrees: of freedom.
    """

    largest: float
    rest: float
    degrees: float

    @property
    def variance(self) -> float:
        """σ̂²: without what the users' own rest brings into it, at least 0."""
        return max(0.0, self.largest - self.rest)

    def times(self, factor: float) -> "SeedSpread":
        """That of so many times the means."""
        return replace(self, largest=self.largest * factor**2, rest=self.rest * factor**2)


@dataclass(frozen=True)
class Errors:
    """What a difference of two means is off by: `error`, its standard error over users, and `arms`, the number of seeds
    and the spread over them of the method and of the reference; none where nothing is known of the spread.
    """

    error: float
    arms: tuple[tuple[int, SeedSpread], ...] = ()

    @property
    def by_seeds(self) -> float:
        """What other seeds add to the squared error: Σ σ̂² / seeds."""
        return sum(spread.variance / seeds for seeds, spread in self.arms)

    def of_quotient(self, value: float) -> "Errors":
        """Those of method / reference, in units of the reference, where it has this value: what moves the reference
        moves it as many times as far (the delta method).
        """
        own, (seeds, spread) = self.arms
        return replace(self, arms=(own, (seeds, spread.times(value))))

    def with_seeds(self, seeds: int) -> "Errors":
        """Those if both methods had so many: the users' own rest and what seeds add shrink with their number. The
        degrees of freedom are at least those of the two by themselves.
        """
        return Errors(
            (self.of_users().error ** 2 + sum(spread.rest for _, spread in self.arms) / seeds) ** 0.5,
            tuple((seeds, replace(spread, degrees=max(spread.degrees, 2.0 * (seeds - 1)))) for _, spread in self.arms),
        )

    def of_users(self) -> "Errors":
        """What is left however many seeds there are: of `error`, what is not the users' own rest; at least 0."""
        return Errors(max(0.0, self.error**2 - sum(spread.rest / seeds for seeds, spread in self.arms)) ** 0.5)

    @property
    def squared(self) -> float:
        """The squared error over users and seeds."""
        return self.error**2 + self.by_seeds

    def degrees(self, users: int) -> float:
        """Satterthwaite's degrees of freedom of `squared`, as `over_both` says; where seeds add nothing to it, those
        over users.
        """
        if self.by_seeds == 0.0:
            return users - 1.0
        squared = self.squared
        between = min(squared, sum(spread.largest / seeds for seeds, spread in self.arms))
        of_seeds = between**2 / min(spread.degrees for _, spread in self.arms)
        return squared**2 / ((squared - between) ** 2 / (users - 1) + of_seeds)


@dataclass(frozen=True)
class OverBoth:
    """A difference to the reference over users and seeds: its test, and the intervals over users of difference and gain
    (in %), each limit moved out by what other seeds would change.
    """

    t: Test
    difference: Estimate
    gain: Estimate


def seed_squares(
    values: Floats, *, weights: Floats | None = None, trainings: Sequence[str | None] = ()
) -> SeedSquares | None:
    """The mean squares of values [seeds, users]; None with a single seed or user. trainings: of the seeds.

    weights [users], with a mean of 1: what each user counts in the mean whose squares are asked for
    (`Panel.user_weights` for a mean over targets), None where all count alike. The rest is then what each user's
    weighted deviation brings into that mean, so that a seed which moves all values alike brings nothing into it.
    """
    seeds, users = values.shape
    if min(seeds, users) < 2:
        return None
    weighted = values if weights is None else values * weights
    of_seed, of_user = weighted.mean(axis=1, keepdims=True), values.mean(axis=0, keepdims=True)
    rest = values - of_seed - of_user + weighted.mean()
    rest = rest if weights is None else rest * weights
    return SeedSquares(
        seeds,
        users,
        between=float(users * of_seed.var(ddof=1)),
        rest=float((rest**2).sum() / ((seeds - 1) * (users - 1))),
        trainings=tuple(known) if len(known := [one for one in trainings if one is not None]) == seeds else (),
    )


def pooled(arms: Iterable[SeedSquares | None]) -> SeedSpread | None:
    """The spread over seeds of several arms as if it were one, weighed by their degrees of freedom; arms of the same
    trainings, as where one is ranked with several histories, count as one. None where no arm has two seeds.
    """
    known = _independent(arms)
    degrees = sum(arm.seeds - 1 for arm in known)
    if degrees == 0:
        return None
    largest = sum((arm.seeds - 1) * arm.between / arm.users for arm in known) / degrees
    rest = sum((arm.seeds - 1) * arm.rest / arm.users for arm in known) / degrees
    return SeedSpread(largest=largest, rest=rest, degrees=degrees)


def spreads(arms: Mapping[str, Sequence[SeedSquares | None]]) -> dict[str, SeedSpread]:
    """Each method's spread over seeds, from its own arms drawn towards all; nothing where no arm has two seeds."""
    every = [arm for own in arms.values() for arm in own]
    whole = pooled(every)
    if whole is None:
        return {}
    common, weight = _common(_independent(every), whole)
    found = {}
    for method, held in arms.items():
        own = pooled(held)
        if own is None:
            found[method] = replace(whole, largest=common, degrees=min(weight, whole.degrees))
            continue
        mixed = common if np.isinf(weight) else (weight * common + own.degrees * own.largest) / (weight + own.degrees)
        degrees = min(weight + own.degrees, whole.degrees)
        found[method] = SeedSpread(largest=mixed, rest=own.rest, degrees=degrees)
    return found


def over_both(
    over_users: Test,
    difference: Estimate,
    gain: Estimate,
    *,
    reference: float,
    of_users: Errors,
    of_targets: Errors,
) -> OverBoth:
    """The test and intervals of a difference between two methods.

    reference: the mean that the gain is in % of, 0 where there is no gain. of_users: the errors of the mean difference
    of users, to which `over_users` is the test. of_targets: those of `difference`, which is one of means over targets:
    a user with many targets weighs more in it, and so does what a seed does to them. With one target a user the two
    are the same.

    The squared error over both is error² + Σ σ̂² / seeds. error² counts the users' rest too, so that this is the mean
    squares between seeds, Σ `largest` / seeds, and what error² holds besides that rest. Of these two Satterthwaite's
    degrees of freedom are made (1946, "An approximate distribution of estimates of variance components", Biometrics
    Bulletin 2), as if both σ̂² were off by the same, since they have been drawn together. Where trainings share their
    rest, as those of one seed may, nothing may be left besides: all is then the seeds', with their degrees. Where both
    σ̂² are 0, all is as over users alone: so often of two seeds of two methods that a true null is rejected in up to
    8 % and not 5; of more seeds, methods or places it comes near 5.
    """
    margin = _margin(of_targets, users=over_users.n, level=difference.level)
    of_gain = of_targets.of_quotient(1.0 + (gain.value or 0.0) / 100.0)
    gain_margin = _margin(of_gain, users=over_users.n, level=gain.level) * _per_unit(reference)
    return OverBoth(
        t=_tested(over_users, of_users),
        difference=_widened(difference, margin),
        gain=_widened(gain, gain_margin),
    )


def interval_over_both(
    resampled: Resampled,
    statistic: Statistic,
    arms: Sequence[tuple[int, SeedSpread]],
    *,
    rng: np.random.Generator,
) -> Estimate:
    """The interval over users and seeds of any function of the means: percentiles of its values at resampled means,
    each of which is moved by what other seeds would change.

    arms: number of seeds and spread of each column. A column moves by t · σ̂ / √seeds, where the columns' t, with the
    fewest degrees of freedom, share what they are divided by: σ̂² of all are off by the same, as in `over_both`. A
    quotient whose denominator may then be 0 has no bound.
    """
    widths = np.array([(spread.variance / seeds) ** 0.5 for seeds, spread in arms])
    degrees = min(spread.degrees for _, spread in arms)
    count = len(resampled.draws)
    moved = rng.standard_normal((count, len(arms))) / np.sqrt(rng.chisquare(degrees, (count, 1)) / degrees)
    found = interval(replace(resampled, draws=resampled.draws + widths * moved), statistic, kind="percentile")
    return replace(found, basis=f"{found.basis} and seeds")


def _independent(arms: Iterable[SeedSquares | None]) -> list[SeedSquares]:
    """Each arm once, and those of the same trainings as one, with their means."""
    groups: dict[object, list[SeedSquares]] = {}
    for arm in dict.fromkeys(arms):
        if arm is not None:
            groups.setdefault(arm.trainings or arm, []).append(arm)
    return [held[0] if len(held) == 1 else _mean(held) for held in groups.values()]


def _mean(arms: Sequence[SeedSquares]) -> SeedSquares:
    users = arms[0].users
    return replace(
        arms[0],
        between=users * fmean(arm.between / arm.users for arm in arms),
        rest=users * fmean(arm.rest / arm.users for arm in arms),
    )


def _common(arms: Sequence[SeedSquares], whole: SeedSpread) -> tuple[float, float]:
    """The variance that arms are drawn towards, and with how many degrees of freedom: Smyth's s₀² and d₀ (sections 6.1
    and 6.2), from how much more the arms' logarithmic variances differ than chance would have it.
    """
    from scipy.special import polygamma, psi

    held = [arm for arm in arms if arm.between > 0.0]
    if len(held) < 2:
        return whole.largest, np.inf
    halves = np.array([(arm.seeds - 1) / 2.0 for arm in held])
    logs = np.log([arm.between / arm.users for arm in held]) - psi(halves) + np.log(halves)
    excess = float(logs.var(ddof=1) - polygamma(1, halves).mean())
    if excess <= 0.0:
        return whole.largest, np.inf
    half = _inverse_trigamma(excess)
    return float(np.exp(logs.mean() + psi(half) - np.log(half))), 2.0 * half


def _inverse_trigamma(value: float) -> float:
    """x > 0 with ψ'(x) = value."""
    from scipy.optimize import brentq
    from scipy.special import polygamma

    found = brentq(lambda log: float(polygamma(1, np.exp(log))) - value, -20.0, 20.0)
    return float(np.exp(found))


def _tested(over_users: Test, errors: Errors) -> Test:
    """The test over users with what other seeds would change in its error."""
    if over_users.statistic is None or errors.error == 0.0 or errors.by_seeds == 0.0:
        return replace(over_users, name=NAME)
    from scipy.special import stdtr

    degrees = errors.degrees(over_users.n)
    statistic = over_users.statistic * errors.error / errors.squared**0.5
    one_sided = over_users.alternative == "greater"
    p = float(stdtr(degrees, -statistic)) if one_sided else 2.0 * float(stdtr(degrees, -abs(statistic)))
    return replace(over_users, name=NAME, statistic=statistic, p=p)


def _margin(errors: Errors, *, users: int, level: float) -> float:
    """How far other seeds may move a difference at this level: t · √(Σ σ̂² / seeds), 0 where nothing has a spread."""
    if users < 2 or errors.error == 0.0 or errors.by_seeds == 0.0:
        return 0.0
    from scipy.special import stdtrit

    return float(stdtrit(errors.degrees(users), 0.5 + level / 2.0) * errors.by_seeds**0.5)


def _per_unit(reference: float) -> float:
    """How many % of gain a difference of 1 is."""
    return 100.0 / reference if reference else 0.0


def _widened(over_users: Estimate, margin: float) -> Estimate:
    """Each limit as far from the value as its own distance and `margin` make together, at right angles."""
    value, low, high = over_users.value, over_users.low, over_users.high
    if value is None or low is None or high is None or margin == 0.0:
        return over_users
    return replace(
        over_users,
        low=value - float(np.hypot(value - low, margin)),
        high=value + float(np.hypot(high - value, margin)),
        basis=f"{over_users.basis}, and over seeds",
    )
