"""How well a number tells noise from what is genuine: areas, curves and what is caught, with intervals over users.

Everywhere `noisy` [n] says which interactions are noise, and `suspicion` [n] is higher where a detector suspects it.
Where all or none are noise there is nothing to tell apart: `ValueError`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.statistics.estimates import LEVEL, Estimate, Floats, Integers, estimate, missing

Flags = NDArray[np.bool_]

BASIS = "DeLong, clustered by user"
POINTS = 100
"""How many points of a curve are kept."""


@dataclass(frozen=True)
class Curve:
    """An ROC curve: false_positive and true_positive [points] rise from 0 to 1."""

    false_positive: Floats
    true_positive: Floats


def auroc(noisy: Flags, suspicion: Floats, users: Integers) -> Estimate:
    """The probability that noise is more suspicious than what is genuine, ties by half (Mann and Whitney's U / mn),
    with an interval over users.

    The variance is DeLong's (1988) with a user's interactions taken together, for they are alike (Obuchowski 1997,
    "Nonparametric analysis of clustered ROC curve data", Biometrics 53): with one interaction a user it is DeLong's
    own. The interval is Student's on the logit, so that it stays within 0 and 1, with the degrees of freedom that
    those leave who have the noise: a few bots among thousands of users say little of other bots.
    """
    positives, negatives = _both(noisy, suspicion)
    above = _placed(positives, negatives)
    below = 1.0 - _placed(negatives, positives)
    area = float(above.mean())
    _, user = np.unique(users, return_inverse=True)
    clusters = int(user.max()) + 1
    for what, part in (("the noise", noisy), ("that is genuine", ~noisy)):
        if len(np.unique(user[part])) < 2:
            reason = f"all {what} is of one user, who has no spread; two are needed"
            return missing(reason, value=area, level=LEVEL, basis=BASIS, n=clusters)
    variance, degrees = _variance(above - area, below - area, user[noisy], user[~noisy], clusters=clusters)
    if variance == 0.0:
        reason = "every pair comes out alike, so users show no spread"
        return missing(reason, value=area, level=LEVEL, basis=BASIS, n=clusters)
    low, high = _limits(area, variance**0.5, degrees=degrees)
    return estimate(area, low, high, level=LEVEL, basis=BASIS, n=clusters)


def average_precision(noisy: Flags, suspicion: Floats) -> float:
    """Σ (recall_i − recall_{i−1}) · precision_i over the distinct suspicions, falling; by chance the share of noise."""
    _both(noisy, suspicion)
    caught, flagged = _steps(noisy, suspicion)
    return float((np.diff(caught, prepend=0.0) / caught[-1] * caught / flagged).sum())


def flagged(suspicion: Floats, count: int) -> Floats:
    """How much of each interaction [n] is flagged when `count` of them are (1 to n), the most suspicious first; those
    that tie for the last places share them.
    """
    last = np.sort(suspicion)[-count]
    tied, ahead = suspicion == last, suspicion > last
    return np.where(tied, (count - int(ahead.sum())) / int(tied.sum()), ahead.astype(np.float64))


def curve(noisy: Flags, suspicion: Floats, *, points: int) -> Curve:
    """The ROC curve at `points` places at most, evenly spaced along it; its ends are kept."""
    positives, negatives = _both(noisy, suspicion)
    caught, flagged = _steps(noisy, suspicion)
    true = np.append(0.0, caught / len(positives))
    false = np.append(0.0, (flagged - caught) / len(negatives))
    along = true + false
    kept = np.unique(np.searchsorted(along, np.linspace(0.0, 2.0, points) - 1e-12).clip(max=len(along) - 1))
    return Curve(false[kept], true[kept])


def _both(noisy: Flags, suspicion: Floats) -> tuple[Floats, Floats]:
    """The suspicions of noise and of the rest, each sorted as it came."""
    positives, negatives = suspicion[noisy].astype(np.float64), suspicion[~noisy].astype(np.float64)
    if not len(positives) or not len(negatives):
        raise ValueError("an ROC curve needs interactions that are noise and some that are not")
    return positives, negatives


def _placed(values: Floats, among: Floats) -> Floats:
    """The share of `among` that each value is above, ties by half."""
    ordered = np.sort(among)
    both = np.searchsorted(ordered, values, side="left") + np.searchsorted(ordered, values, side="right")
    return both / (2.0 * len(ordered))


def _variance(
    above: Floats, below: Floats, noisy: Integers, genuine: Integers, *, clusters: int
) -> tuple[float, float]:
    """Obuchowski's variance of the area and its degrees of freedom: `above` and `below` are the deviations of the
    components from it, of noise and of the rest, `noisy` and `genuine` the users [.] that they are of, two of each.

    The degrees are Satterthwaite's (1946, "An approximate distribution of estimates of variance components",
    Biometrics Bulletin 2), of three parts with the users who have noise, who have something else, and all, less one.
    """
    m, n = len(above), len(below)
    of_noisy = np.bincount(noisy, weights=above, minlength=clusters)
    of_genuine = np.bincount(genuine, weights=below, minlength=clusters)
    with_noise, with_genuine = len(np.unique(noisy)), len(np.unique(genuine))
    parts = (
        (with_noise, float((of_noisy**2).sum()) / m**2),
        (with_genuine, float((of_genuine**2).sum()) / n**2),
        (clusters, 2.0 * float((of_noisy * of_genuine).sum()) / (m * n)),
    )
    inflated = [(users, users / (users - 1) * part) for users, part in parts]
    variance = sum(part for _, part in inflated)
    if variance <= 0.0:
        return 0.0, 0.0
    degrees = variance**2 / sum(part**2 / (users - 1) for users, part in inflated)
    return variance, min(degrees, clusters - 1.0)


def _limits(area: float, deviation: float, *, degrees: float) -> tuple[float, float]:
    from scipy.special import expit, logit, stdtrit

    margin = float(stdtrit(degrees, 0.5 + LEVEL / 2.0)) * deviation / (area * (1.0 - area))
    return float(expit(logit(area) - margin)), float(expit(logit(area) + margin))


def _steps(noisy: Flags, suspicion: Floats) -> tuple[Floats, Floats]:
    """How much noise is caught and how many are flagged at each distinct suspicion, falling."""
    order = np.argsort(-suspicion, kind="stable")
    last_of_ties = np.flatnonzero(np.append(np.diff(suspicion[order]) != 0.0, True))
    return np.cumsum(noisy[order])[last_of_ties].astype(np.float64), (last_of_ties + 1).astype(np.float64)
