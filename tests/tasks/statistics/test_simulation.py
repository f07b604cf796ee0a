"""What the tests and intervals promise, seen over many simulated evaluations: seeded, so each comes out the same."""

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import scipy.stats

from tasks.statistics import paired, seeds
from tasks.statistics.bootstrap import cluster, interval, resample
from tasks.statistics.comparison import compare, jointly
from tasks.statistics.crossed import Errors, SeedSquares, over_both, spreads
from tasks.statistics.estimates import Estimate, Floats, Integers, Statistic, closed_gap, column, difference, gain
from tasks.statistics.multiple import holm
from tasks.statistics.panel import Scores, align
from tasks.statistics.relative import gaps_closed

Draw = Callable[[np.random.Generator], tuple[Floats, Integers]]


def hit_pairs(rng: np.random.Generator, *, users: int = 200) -> tuple[Floats, Integers]:
    """Two trainings of one method, [users, 2]: about 15 % hits, most users the same under both."""
    taste = rng.normal(size=(users, 1))
    return ((taste + 0.5 * rng.normal(size=(users, 2))) > 1.2).astype(float), np.arange(users)


def ndcg_pairs(rng: np.random.Generator, *, users: int = 200) -> tuple[Floats, Integers]:
    """As `hit_pairs`, with NDCG@10 of a rank: most are 0, the others skewed."""
    taste = rng.normal(size=(users, 1))
    ranks = np.exp(2.5 - 1.2 * taste + 0.8 * rng.normal(size=(users, 2)))
    return np.where(ranks < 10, 1 / np.log2(ranks + 2), 0.0), np.arange(users)


def sessions(rng: np.random.Generator, *, users: int = 120) -> tuple[Floats, Integers]:
    """Hits of users with 1, 2, 3 … targets each and a hit rate of their own: [targets, 1], mean 0.25."""
    owners = np.repeat(np.arange(users), rng.geometric(0.15, users))
    rates = rng.beta(0.75, 2.25, users)
    return (rng.random(len(owners)) < rates[owners]).astype(float)[:, None], owners


def within(count: int, trials: int, rate: float) -> bool:
    """Whether so many successes are no surprise at this rate: the central 99.9 % of the binomial."""
    low, high = scipy.stats.binom.interval(0.999, trials, rate)
    return bool(low <= count <= high)


def covered(draw: Draw, truths: Sequence[tuple[Statistic, float]], *, trials: int, seed: int) -> list[tuple[int, int]]:
    """For each statistic, how many bootstrap intervals hold the truth, and how many there are."""
    rng = np.random.default_rng(seed)
    counts = [(0, 0)] * len(truths)
    for _ in range(trials):
        resampled = resample(cluster(*draw(rng)), rng=rng, resamples=399)
        for place, (statistic, truth) in enumerate(truths):
            found = interval(resampled, statistic)
            holds, bounded = counts[place]
            has_limits = found.low is not None
            counts[place] = holds + (has_limits and not found.excludes(truth)), bounded + has_limits
    return counts


@pytest.mark.parametrize("draw", [hit_pairs, ndcg_pairs])
def test_a_true_null_is_rejected_in_5_percent(draw: Draw) -> None:
    rng = np.random.default_rng(20)
    trials = 1000
    rejected = dict.fromkeys(itertools.product(("t", "wilcoxon"), ("two-sided", "greater")), 0)
    for _ in range(trials):
        values, _ = draw(rng)
        for name, alternative in rejected:
            test = paired.t_test if name == "t" else paired.wilcoxon
            p = test(values[:, 0], values[:, 1], alternative=alternative).p
            rejected[name, alternative] += p is not None and p <= 0.05
    for (name, _), count in rejected.items():
        if draw is hit_pairs and name == "wilcoxon":
            # Counted out on few distinct sums, it keeps below its level.
            assert 0.02 * trials < count <= scipy.stats.binom.ppf(0.9995, trials, 0.05), rejected
        else:
            assert within(count, trials, 0.05), rejected


@pytest.mark.parametrize(
    ("draw", "mean"), [(hit_pairs, float(scipy.stats.norm.sf(1.2 / np.sqrt(1.25)))), (ndcg_pairs, None)]
)
def test_bootstrap_intervals_hold_the_truth_in_95_percent(draw: Draw, mean: float | None) -> None:
    """Of the difference and the relative gain of two methods that are the same; of a mean where it is known."""
    truths = [(difference(1, 0), 0.0), (gain(1, 0), 0.0)] + ([(column(0), mean)] if mean is not None else [])
    for holds, trials in covered(draw, truths, trials=400, seed=21):
        assert trials == 400
        assert within(holds, trials, 0.95), holds / trials


@pytest.mark.parametrize("clear", [3.0, 6.0])
def test_intervals_of_the_gap_closed_hold_it_in_95_percent(clear: float) -> None:
    """Where they have bounds: a gap of 3 standard errors has none in one evaluation out of eight."""

    def draw(rng: np.random.Generator) -> tuple[Floats, Integers]:
        gap = clear * np.sqrt(2 / 100)
        return rng.normal(size=(100, 3)) + np.array([0.0, gap / 2, gap]), np.arange(100)

    ((holds, trials),) = covered(draw, [(closed_gap(1, noisy=0, oracle=2), 0.5)], trials=400, seed=23)
    assert trials > 300
    assert within(holds, trials, 0.95), holds / trials


def test_intervals_of_the_gap_closed_hold_it_in_95_percent_where_seeds_move_it() -> None:
    """Over users alone they hold it far too rarely. A gap of 10 standard errors over seeds and users."""
    rng = np.random.default_rng(29)
    trials, users, true = 200, 200, {"noisy": 0.0, "method": 0.5, "oracle": 1.0}
    held = {"users": 0, "both": 0}
    for _ in range(trials):
        taste = rng.normal(size=users)
        panel = align(
            Scores(method, seed, np.arange(users), np.arange(users), mean + taste + moved + rng.normal(0, 0.3, users))
            for method, mean in true.items()
            for seed, moved in enumerate(rng.normal(0, 0.12, 3))
        )
        (found,) = gaps_closed(panel, ["method"], noisy="noisy", oracle="oracle", rng=rng, resamples=399)
        assert found.share_over_both is not None
        held["users"] += not found.share.excludes(0.5)
        held["both"] += not found.share_over_both.excludes(0.5)
    assert held["users"] < 0.8 * trials, held
    assert within(held["both"], trials, 0.95), held


def test_users_with_many_targets_need_to_be_resampled_whole() -> None:
    def one_by_one(rng: np.random.Generator) -> tuple[Floats, Integers]:
        values, _ = sessions(rng)
        return values, np.arange(len(values))

    ((holds, trials),) = covered(sessions, [(column(0), 0.25)], trials=400, seed=24)
    assert within(holds, trials, 0.95), holds / trials
    ((naive, trials),) = covered(one_by_one, [(column(0), 0.25)], trials=60, seed=24)
    assert naive < 0.8 * trials


def test_intervals_over_seeds_hold_the_truth_in_95_percent() -> None:
    rng = np.random.default_rng(25)
    trials = 2000
    holds = {"mean": 0, "ratio": 0}
    for _ in range(trials):
        below = rng.normal(0.2, 0.01, 4)
        above = 0.9 * below + rng.normal(0.0, 0.01, 4)
        holds["mean"] += not seeds.mean(below).excludes(0.2)
        holds["ratio"] += not seeds.ratio(above, below).excludes(0.9)
    assert within(holds["mean"], trials, 0.95), holds
    assert within(holds["ratio"], trials, 0.95), holds


def test_holm_keeps_the_error_rate_of_a_table_that_shares_its_reference() -> None:
    rng = np.random.default_rng(26)
    trials, methods = 600, 6
    false, unadjusted, missed = 0, 0, 0
    for _ in range(trials):
        reference = rng.normal(size=50)
        table = reference + rng.normal(size=(methods, 50))
        table[0] += 1.0  # one true difference among the others
        p_values = [paired.t_test(row, reference).p for row in table]
        adjusted = holm(p_values)
        false += any(one is not None and one.significant for one in adjusted[1:])
        unadjusted += any(p is not None and p <= 0.05 for p in p_values[1:])
        missed += adjusted[0] is None or not adjusted[0].significant
    assert false <= scipy.stats.binom.ppf(0.9995, trials, 0.05)
    assert unadjusted > 0.15 * trials
    assert missed == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bca", "percentile"])
@pytest.mark.parametrize("users", [60, 300])
def test_coverage_over_users_at_several_sizes(users: int, kind: "str") -> None:
    """Of a mean over users with many targets: 95 % from a few hundred users on, not under 90 % with 60."""
    rng = np.random.default_rng(27)
    trials = 1000
    truth = 0.25
    holds = 0
    for _ in range(trials):
        found = interval(
            resample(cluster(*sessions(rng, users=users)), rng=rng, resamples=999),
            column(0),
            kind=kind,  # type: ignore[arg-type]
        )
        holds += not found.excludes(truth)
    if users == 60:
        assert holds > 0.90 * trials
    else:
        assert within(holds, trials, 0.95), holds / trials


@pytest.mark.parametrize("shared", [0.0, 0.8])
@pytest.mark.parametrize(("runs", "places"), [(2, 4), (3, 1)])
def test_trainings_whose_rest_exceeds_what_seeds_move(runs: int, places: int, shared: float) -> None:
    """A true null is rejected in 5 %, intervals hold it in 95 % and none explodes; fewer and more where trainings of
    one seed share rest and luck, which is taken for more than it is.
    """
    rng = np.random.default_rng(31)
    trials, users = 200, 100
    rejected, held, widest = 0, 0, 0.0

    def moved(rng: np.random.Generator) -> Floats:
        return rng.normal(0, 0.05) + rng.normal(0, 1.0, users)

    for _ in range(trials):
        taste = rng.normal(size=users)
        tables = []
        for _ in range(places):
            common = [moved(rng) for _ in range(runs)]
            panel = align(
                Scores(
                    method,
                    seed,
                    np.arange(users),
                    np.arange(users),
                    taste + shared**0.5 * both + (1 - shared) ** 0.5 * moved(rng),
                )
                for method in ("base", "other")
                for seed, both in enumerate(common)
            )
            tables.append(
                compare(panel, metric="test.full_unseen.ndcg_at_10", reference="base", rng=rng, resamples=199)
            )
        against = jointly(tables)[0].rows[1].against
        assert against is not None
        assert against.over_both is not None
        test, difference = against.over_both.t, against.over_both.difference
        assert test.p is not None
        assert difference.low is not None
        assert difference.high is not None
        rejected += test.p <= 0.05
        held += not difference.excludes(0.0)
        widest = max(widest, difference.high - difference.low)
    if shared:
        assert rejected <= scipy.stats.binom.ppf(0.9995, trials, 0.05)
        assert held >= scipy.stats.binom.ppf(0.0005, trials, 0.95)
    else:
        assert within(rejected, trials, 0.05), rejected
        assert within(held, trials, 0.95), held
    assert widest < 4.0, widest


@pytest.mark.parametrize(("runs", "places"), [(2, 4), (3, 1)])
def test_trainings_that_seeds_move_are_no_better_method_in_95_percent(runs: int, places: int) -> None:
    """Every method is the same and its seeds move it: over users alone that is a difference far too often."""
    rng = np.random.default_rng(28)
    trials, users = 200, 100
    rejected = {"users": 0, "both": 0, "covered": 0}
    for _ in range(trials):
        taste = rng.normal(size=users)
        tables = []
        for _ in range(places):
            panel = align(
                Scores(method, seed, np.arange(users), np.arange(users), taste + moved + rng.normal(0, 0.5, users))
                for method in ("base", "other")
                for seed, moved in enumerate(rng.normal(0, 0.1, runs))
            )
            tables.append(
                compare(panel, metric="test.full_unseen.ndcg_at_10", reference="base", rng=rng, resamples=199)
            )
        against = jointly(tables)[0].rows[1].against
        assert against is not None
        assert against.over_both is not None
        assert against.t.p is not None
        assert against.over_both.t.p is not None
        rejected["users"] += against.t.p <= 0.05
        rejected["both"] += against.over_both.t.p <= 0.05
        rejected["covered"] += not against.over_both.difference.excludes(0.0)
    assert rejected["users"] > 0.2 * trials, rejected
    assert within(rejected["both"], trials, 0.05), rejected
    assert within(rejected["covered"], trials, 0.95), rejected


@pytest.mark.parametrize("moved", [0.0, 4.0])
@pytest.mark.parametrize(("runs", "methods", "most"), [(2, 2, 0.1), (2, 4, 0.085), (3, 2, 0.075), (5, 2, 0.065)])
def test_how_often_a_true_null_is_rejected_where_seeds_are_few(
    runs: int, methods: int, most: float, moved: float
) -> None:
    """At one place, of methods that are the same; seeds move their means by so many times what the users' rest does.

    Two seeds of two methods say so little of what seeds do that it may pass for nothing: then 8 % are rejected.
    """
    rng = np.random.default_rng(34)
    trials, users, rejected = 1000, 300, 0
    nothing = Estimate(0.0, None, None, level=0.95, basis="", n=users)
    for _ in range(trials):
        means = rng.normal(0.0, ((1.0 + moved) / users) ** 0.5, (methods, runs))
        rests = rng.chisquare((runs - 1) * (users - 1), methods) / ((runs - 1) * (users - 1))
        squares = [
            SeedSquares(runs, users, between=users * float(own.var(ddof=1)), rest=float(rest))
            for own, rest in zip(means, rests, strict=True)
        ]
        found = spreads({str(number): [own] for number, own in enumerate(squares)})
        error = float((2.0 / runs * rng.chisquare(users - 1) / (users - 1) / users) ** 0.5)
        t = float(means[1].mean() - means[0].mean()) / error
        p = 2.0 * float(scipy.stats.t.sf(abs(t), users - 1))
        errors = Errors(error, ((runs, found["1"]), (runs, found["0"])))
        over_users = paired.Test("paired t", "two-sided", users, t, p)
        over = over_both(over_users, nothing, nothing, reference=0.0, of_users=errors, of_targets=errors)
        rejected += over.t.p is not None and over.t.p <= 0.05
    assert rejected <= most * trials, rejected / trials
    if moved:
        assert rejected > 0.03 * trials, rejected / trials


@pytest.mark.parametrize("true", [100.0, -60.0])
def test_intervals_of_the_gain_hold_it_in_95_percent_where_seeds_move_the_reference(true: float) -> None:
    """What moves the reference moves a gain of 100 % twice as far as the method itself does, and one of −60 % less."""
    rng = np.random.default_rng(33)
    trials, users, held = 300, 100, 0
    for _ in range(trials):
        panel = align(
            Scores(method, seed, np.arange(users), np.arange(users), rng.normal(mean + moved, 0.02, users))
            for method, mean in (("base", 0.2), ("other", 0.2 * (1.0 + true / 100.0)))
            for seed, moved in enumerate(rng.normal(0, 0.01, 5))
        )
        table = compare(panel, metric="test.full_unseen.ndcg_at_10", reference="base", rng=rng, resamples=199)
        against = table.rows[1].against
        assert against is not None
        held += not against.shown_gain.excludes(true)
    assert within(held, trials, 0.95), held


def test_intervals_hold_a_true_null_in_95_percent_where_seeds_move_users_with_many_targets() -> None:
    """A few users have most of the targets: what moves them moves the mean over targets, and hardly that over users."""
    rng = np.random.default_rng(32)
    trials, held, over_users = 200, 0, 0
    users = np.concatenate([np.arange(200), np.repeat(np.arange(200, 220), 60)])
    often = users >= 200
    for _ in range(trials):
        panel = align(
            Scores(method, seed, np.arange(len(users)), users, rng.normal(0.3, 0.1, len(users)) + moved * often)
            for method in ("base", "other")
            for seed, moved in enumerate(rng.normal(0, 0.03, 4))
        )
        table = compare(panel, metric="test.full_unseen.ndcg_at_10", reference="base", rng=rng, resamples=199)
        against = table.rows[1].against
        assert against is not None
        held += not against.shown_difference.excludes(0.0)
        over_users += not against.difference.excludes(0.0)
    assert over_users < 0.5 * trials
    assert within(held, trials, 0.95), held
