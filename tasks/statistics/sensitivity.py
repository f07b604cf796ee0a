"""What a comparison could have found: its minimum detectable effect, with the seeds that there are and with more.

"Not significant" is said of nothing, and of what was measured too coarsely. The minimum detectable effect (Bloom 1995,
"Minimum Detectable Effects", Evaluation Review 19) tells the two apart: the smallest true difference that a test at
level α finds with a given probability, here from the noncentral t distribution. More seeds make it smaller as far as it
is the trainings that differ, and no further: what users differ in stays, however often a method is trained.
"""

from dataclasses import dataclass

from tasks.statistics.crossed import Errors
from tasks.statistics.paired import Alternative

POWER = 0.8
SEEDS = (3, 5, 10, 20)
"""Numbers of seeds that are asked about, where there are fewer."""


@dataclass(frozen=True)
class Sensitivity:
    """The smallest true differences, in units of the metric, that are found significant with probability `power`.

    alpha: the level at which, that of one comparison among those which are judged together. now: with the seeds that
    there are. by_seeds: with more of them, pairs of a number, which both methods then have, and the difference.
    endless: with any number of seeds; 0 where the users' part of the error is estimated at nothing, as it is where two
    methods differ by user in no more than what seeds explain: the limit is then not known, and no promise that any
    difference would be found. Where nothing is known of what seeds do, `by_seeds` is empty and `endless` None,
    and `now` is over users alone.
    """

    power: float
    alpha: float
    now: float
    by_seeds: tuple[tuple[int, float], ...] = ()
    endless: float | None = None


def sensitivity(errors: Errors, *, users: int, alpha: float, alternative: Alternative) -> Sensitivity | None:
    """What a comparison with these errors, over so many users, could have found; None where it has no error at all, as
    with one user or of the same values twice.
    """
    if users < 2 or errors.error == 0.0:
        return None

    def smallest(held: Errors) -> float:
        return _noncentrality(held.degrees(users), alpha, alternative) * float(held.squared**0.5)

    if not errors.arms:
        return Sensitivity(POWER, alpha, now=smallest(errors))
    most = max(seeds for seeds, _ in errors.arms)
    return Sensitivity(
        POWER,
        alpha,
        now=smallest(errors),
        by_seeds=tuple((seeds, smallest(errors.with_seeds(seeds))) for seeds in SEEDS if seeds > most),
        endless=smallest(errors.of_users()),
    )


def _noncentrality(degrees: float, alpha: float, alternative: Alternative) -> float:
    """The true difference, in standard errors, at which t passes its critical value with probability `POWER`. That it
    passes the other one of a test with two sides is left out: at 80 % its probability is next to nothing.
    """
    from scipy.special import nctdtrinc, stdtrit

    critical = stdtrit(degrees, 1.0 - (alpha if alternative == "greater" else alpha / 2.0))
    return float(nctdtrinc(degrees, 1.0 - POWER, critical))
