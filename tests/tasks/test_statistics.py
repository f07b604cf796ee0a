"""Estimates, tests and adjustments against scipy, against closed forms and against cases worked by hand."""

import itertools
import math
import time

import numpy as np
import pytest
import scipy.stats

from tasks.statistics import paired, seeds
from tasks.statistics.bootstrap import Resampled, cluster, interval, resample, standard_error
from tasks.statistics.estimates import Floats, closed_gap, column, difference, gain, share
from tasks.statistics.multiple import holm


def resampled(values: Floats, *, users: "np.ndarray | None" = None, resamples: int = 2000, seed: int = 0) -> Resampled:
    table = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
    owners = np.arange(len(table)) if users is None else users
    return resample(cluster(table, owners), rng=np.random.default_rng(seed), resamples=resamples)


# --- over seeds ---------------------------------------------------------------


@pytest.mark.parametrize("level", [0.9, 0.95])
@pytest.mark.parametrize("count", [2, 3, 10])
def test_the_interval_over_seeds_is_students(count: int, level: float) -> None:
    values = np.random.default_rng(count).normal(0.3, 0.02, count)
    found = seeds.mean(values, level=level)
    low, high = scipy.stats.t.interval(level, count - 1, loc=values.mean(), scale=scipy.stats.sem(values))
    assert (found.value, found.low, found.high) == pytest.approx((values.mean(), low, high))
    assert (found.n, found.level, found.reason) == (count, level, None)


def test_one_seed_has_a_mean_and_a_reason_for_no_interval() -> None:
    found = seeds.mean([0.25])
    assert (found.value, found.low, found.high) == (0.25, None, None)
    assert "two are needed" in str(found.reason)
    assert seeds.mean([]).value is None
    assert seeds.ratio([], []).reason is not None
    assert (seeds.ratio([1.0], [2.0]).value, seeds.ratio([1.0], [2.0]).low) == (0.5, None)


def test_a_method_that_is_the_same_at_every_seed_has_an_interval_of_no_width() -> None:
    found = seeds.mean([0.25, 0.25, 0.25])
    assert (found.low, found.high) == (0.25, 0.25)


def test_the_interval_of_a_ratio_over_seeds_holds_exactly_what_a_paired_t_test_does_not_reject() -> None:
    rng = np.random.default_rng(4)
    below = rng.normal(0.4, 0.03, 5)
    above = 0.8 * below + rng.normal(0.0, 0.02, 5)
    found = seeds.ratio(above, below, scale=100.0)
    assert found.value == pytest.approx(100.0 * above.mean() / below.mean())
    for limit in (found.low, found.high):
        assert limit is not None
        assert scipy.stats.ttest_1samp(above - limit / 100.0 * below, 0.0).pvalue == pytest.approx(0.05)
    assert found.excludes(100.0)
    assert not found.excludes(80.0)


def test_a_ratio_whose_denominator_may_be_nothing_has_no_bound() -> None:
    found = seeds.ratio([0.1, 0.2, 0.1], [0.01, -0.02, 0.03])
    assert found.value is not None
    assert found.reason == "over these seeds the denominator is not told apart from 0, so the interval has no bound"
    assert seeds.ratio([0.1, 0.2], [0.0, 0.0]).value is None


# --- over users ---------------------------------------------------------------


def test_users_are_gathered_whole_and_in_any_order() -> None:
    values = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0], [4.0, 40.0]])
    sample = cluster(values, np.array([7, 3, 7, 7]))
    assert sample.counts.tolist() == [1.0, 3.0]
    assert sample.sums.tolist() == [[2.0, 20.0], [8.0, 80.0]]
    assert sample.means.tolist() == [2.5, 25.0]
    assert sample.user_means.tolist() == [[2.0, 20.0], [8 / 3, 80 / 3]]


def test_values_that_are_not_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="row 1"):
        cluster(np.array([[0.0], [np.nan]]), np.array([0, 1]))
    with pytest.raises(ValueError, match="no users"):
        resample(cluster(np.zeros((0, 1)), np.zeros(0, dtype=np.int64)), rng=np.random.default_rng(0))


def test_the_same_generator_gives_the_same_interval_whatever_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).random((50, 2))
    whole = resampled(values, resamples=101, seed=5).draws
    monkeypatch.setattr("tasks.statistics.bootstrap.BLOCK", 130)  # two resamples at a time
    np.testing.assert_allclose(resampled(values, resamples=101, seed=5).draws, whole, rtol=1e-12)
    assert not np.allclose(resampled(values, resamples=101, seed=6).draws, whole)


def test_draws_have_the_mean_and_the_spread_that_theory_gives_them() -> None:
    values = np.random.default_rng(1).exponential(size=400)
    draws = resampled(values, resamples=20_000).draws[:, 0]
    assert draws.mean() == pytest.approx(values.mean(), abs=4 * values.std() / 20 / math.sqrt(20_000))
    assert draws.std() == pytest.approx(values.std() / 20, rel=0.03)


@pytest.mark.parametrize(("kind", "method"), [("percentile", "percentile"), ("bca", "BCa")])
def test_intervals_of_a_skewed_mean_and_a_ratio_agree_with_scipy(kind: "str", method: str) -> None:
    rng = np.random.default_rng(2)
    above, below = rng.exponential(0.3, 80) ** 2, rng.exponential(0.5, 80)
    ours = resampled(np.column_stack([above, below]), resamples=20_000)
    for data, statistic, mine in (
        ((above,), np.mean, column(0)),
        ((above, below), lambda a, b, axis: a.mean(axis=axis) / b.mean(axis=axis), share(0, 1)),
    ):
        theirs = scipy.stats.bootstrap(
            data, statistic, n_resamples=20_000, paired=True, vectorized=True, method=method, rng=3
        )
        found = interval(ours, mine, kind=kind)  # type: ignore[arg-type]
        expected = theirs.confidence_interval
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.05 * theirs.standard_error)


def test_the_limits_are_order_statistics_rounded_outwards() -> None:
    """Of a hundred draws the 2.525th and the 98.475th."""
    draws = np.random.default_rng(13).permutation(np.arange(1.0, 101.0))[:, None]
    found = interval(Resampled(cluster(draws[:6], np.arange(6)), draws), column(0), kind="percentile")
    assert (found.low, found.high) == (2.0, 99.0)


def test_resamples_that_come_out_as_the_sample_itself_show_no_bias() -> None:
    """Half of twenty users have a hit: nothing is skewed, and the limits are the binomial's own."""
    found = interval(resampled((np.arange(20) % 2).astype(float), resamples=20_000), column(0))
    assert (found.low, found.high) == pytest.approx(scipy.stats.binom.ppf((0.025, 0.975), 20, 0.5) / 20)


def test_paired_statistics_are_of_the_same_draws() -> None:
    """A method that is always 0.1 above, or always twice, the reference differs by just that in every resample."""
    reference = np.random.default_rng(3).random(60)
    found = resampled(np.column_stack([reference, reference + 0.1, 2 * reference]))
    assert np.ptp(difference(1, 0)(found.draws)) < 1e-12
    shifted = interval(found, difference(1, 0))
    assert shifted.value == pytest.approx(0.1)
    assert shifted.low is None
    assert "same for every user" in str(shifted.reason)
    assert interval(found, gain(2, 0)).value == pytest.approx(100.0)
    assert interval(found, closed_gap(1, noisy=0, oracle=2)).value == pytest.approx(0.1 / reference.mean())


def test_where_resampling_can_say_nothing_there_is_a_reason() -> None:
    nothing = interval(resampled(np.zeros(50)), column(0))
    assert (nothing.value, nothing.low) == (0.0, None)
    assert "same for every user" in str(nothing.reason)
    alone = interval(resampled(np.array([0.5, 0.7]), users=np.array([1, 1])), column(0))
    assert (alone.value, alone.low, alone.n) == (0.6, None, 1)
    by_nothing = interval(resampled(np.column_stack([np.arange(9.0), np.zeros(9)])), gain(0, 1))
    assert (by_nothing.value, by_nothing.low) == (None, None)
    by_one = np.column_stack([np.arange(9.0), np.eye(9)[0]])
    by_one_user = interval(resampled(by_one), gain(0, 1))
    assert by_one_user.value == pytest.approx(3500.0)
    assert "so few users" in str(by_one_user.reason)


@pytest.mark.parametrize(("level", "needed"), [(0.95, 6), (0.9, 5)])
def test_users_so_few_that_chance_puts_them_all_on_one_side_have_no_interval(level: float, needed: int) -> None:
    """Between the least and the greatest of five users lies the middle of all in 94 %, and so it would be called 95."""
    values = np.random.default_rng(8).normal(size=needed)
    assert interval(resampled(values), column(0), level=level).bounded
    for few in range(2, needed):
        found = interval(resampled(values[:few]), column(0), level=level)
        assert (found.value, found.low) == (pytest.approx(values[:few].mean()), None)
        assert found.reason == f"{few} users of the {needed} that a {100 * level:g} % interval needs"


def test_a_quotient_that_may_run_past_every_bound_has_none() -> None:
    rng = np.random.default_rng(5)
    table = rng.normal(0.0, 1.0, (100, 3))
    table[:, 2] += 0.1 - table[:, 2].mean() + table[:, 0].mean()  # a gap of 0.1 with a standard error of about 0.14
    found = interval(resampled(table), closed_gap(1, noisy=0, oracle=2))
    assert found.value is not None
    assert "no bound" in str(found.reason)


def test_the_standard_error_of_a_mean_is_the_textbooks() -> None:
    values = np.random.default_rng(6).random(40)
    assert standard_error(resampled(values), column(0)) == pytest.approx(scipy.stats.sem(values))
    assert standard_error(resampled(np.array([1.0])), column(0)) == math.inf


@pytest.mark.slow
def test_six_thousand_users_take_about_a_second() -> None:
    values = np.random.default_rng(0).random((6040, 8))
    sample = cluster(values, np.arange(6040))
    taken = []
    for _ in range(3):
        begin = time.process_time()
        found = resample(sample, rng=np.random.default_rng(0), resamples=2000)
        interval(found, difference(0, 1))
        taken.append(time.process_time() - begin)
    assert min(taken) < 2.0


# --- paired tests -------------------------------------------------------------


@pytest.mark.parametrize("alternative", ["two-sided", "greater"])
@pytest.mark.parametrize("shift", [-0.2, 0.0, 0.2])
def test_the_t_test_is_scipys_and_points_the_way_it_says(alternative: "paired.Alternative", shift: float) -> None:
    rng = np.random.default_rng(7)
    reference = rng.random(30)
    method = reference + rng.normal(shift, 0.3, 30)
    found = paired.t_test(method, reference, alternative=alternative)
    expected = scipy.stats.ttest_rel(method, reference, alternative=alternative)
    assert (found.statistic, found.p) == pytest.approx((expected.statistic, expected.pvalue))
    assert found.alternative == alternative


def test_greater_means_that_the_method_is_the_better_one() -> None:
    better, worse = np.array([0.5, 0.6, 0.9, 0.7, 0.8, 0.6]), np.array([0.1, 0.3, 0.2, 0.2, 0.3, 0.1])
    for test in (paired.t_test, paired.wilcoxon):
        up, down = test(better, worse, alternative="greater").p, test(worse, better, alternative="greater").p
        assert up is not None
        assert down is not None
        assert up < 0.02
        assert down > 0.98


@pytest.mark.parametrize("alternative", ["two-sided", "greater"])
@pytest.mark.parametrize("count", [8, 30, 300])
def test_the_signed_rank_test_is_scipys_without_zeros_and_ties(count: int, alternative: "paired.Alternative") -> None:
    rng = np.random.default_rng(count)
    differences = rng.normal(0.3, 1.0, count)
    found = paired.wilcoxon(differences, np.zeros(count), alternative=alternative)
    method = "exact" if count <= paired.EXACT else "asymptotic"
    expected = scipy.stats.wilcoxon(differences, alternative=alternative, method=method)
    assert found.p == pytest.approx(expected.pvalue)


@pytest.mark.parametrize("alternative", ["two-sided", "greater"])
def test_the_signed_rank_test_is_scipys_with_pratts_zeros_and_ties(alternative: "paired.Alternative") -> None:
    rng = np.random.default_rng(8)
    method, reference = (rng.random((2, 2000)) < [[0.30], [0.26]]).astype(float)
    method += rng.integers(0, 3, 2000)
    found = paired.wilcoxon(method, reference, alternative=alternative)
    expected = scipy.stats.wilcoxon(
        method, reference, zero_method="pratt", alternative=alternative, method="asymptotic"
    )
    assert found.p == pytest.approx(expected.pvalue)


@pytest.mark.parametrize("seed", range(6))
def test_few_pairs_with_zeros_and_ties_are_counted_out(seed: int) -> None:
    """Against every assignment of signs, each as likely as the others."""
    differences = np.random.default_rng(seed).integers(-2, 4, 9).astype(float)
    ranks = scipy.stats.rankdata(np.abs(differences))
    own = ranks[differences > 0].sum()
    moving = ranks[differences != 0]
    all_sums = np.array([np.dot(signs, moving) for signs in itertools.product([0, 1], repeat=len(moving))])
    up, down = (all_sums >= own - 1e-9).mean(), (all_sums <= own + 1e-9).mean()
    assert paired.wilcoxon(differences, np.zeros(9), alternative="greater").p == pytest.approx(up)
    assert paired.wilcoxon(differences, np.zeros(9)).p == pytest.approx(min(1.0, 2 * min(up, down)))


def test_equal_inputs_are_no_evidence_at_all() -> None:
    values = np.random.default_rng(9).random(20)
    for alternative in ("two-sided", "greater"):
        assert paired.t_test(values, values, alternative=alternative).p == 1.0
        assert paired.wilcoxon(values, values, alternative=alternative).p == 1.0
    found = paired.effect(values, values)
    assert found is not None
    assert (found.d_z, found.rank_biserial, found.superiority, found.tied) == (0.0, 0.0, 0.5, 1.0)


def test_averages_of_the_same_numbers_in_another_order_are_equal() -> None:
    numbers = np.random.default_rng(10).random((5, 200))
    forth = sum(numbers[index] for index in range(5)) / 5
    back = sum(numbers[index] for index in reversed(range(5))) / 5
    assert (forth != back).any()
    assert paired.t_test(forth, back).p == 1.0
    assert paired.wilcoxon(forth, back).p == 1.0


@pytest.mark.parametrize(("alternative", "needed"), [("two-sided", 6), ("greater", 5)])
def test_too_few_pairs_have_no_p_and_a_reason(alternative: "paired.Alternative", needed: int) -> None:
    short = paired.wilcoxon(np.arange(1.0, needed), np.zeros(needed - 1), alternative=alternative)
    assert short.p is None
    assert f"{needed - 1} pairs" in str(short.reason)
    enough = paired.wilcoxon(np.arange(1.0, needed + 1), np.zeros(needed), alternative=alternative)
    assert enough.p == pytest.approx(1 / 32)
    one = paired.t_test([0.3], [0.1])
    assert one.p is None
    assert "one pair" in str(one.reason)
    constant = paired.t_test([0.3, 0.4, 0.5], [0.1, 0.2, 0.3])
    assert constant.p is None
    assert "no spread" in str(constant.reason)


def test_pairs_are_pairs_of_numbers() -> None:
    with pytest.raises(ValueError, match="shapes"):
        paired.t_test([0.1, 0.2], [0.1])
    with pytest.raises(ValueError, match="finite"):
        paired.wilcoxon([0.1, np.nan], [0.1, 0.2])


def test_effect_sizes_by_hand() -> None:
    """Differences 3, −1, 2, 0: ranks with the zero 4, 2, 3, 1; gains 7, losses 2."""
    found = paired.effect([4.0, 1.0, 3.0, 2.0], [1.0, 2.0, 1.0, 2.0])
    assert found is not None
    assert found.n == 4
    assert found.d_z == pytest.approx(1.0 / math.sqrt(10 / 3))
    assert found.rank_biserial == pytest.approx(5 / 9)
    assert found.superiority == pytest.approx(0.625)
    assert (found.better, found.tied, found.worse) == (0.5, 0.25, 0.25)
    assert paired.effect([], []) is None


def test_d_z_is_t_without_the_number_of_pairs() -> None:
    method, reference = np.random.default_rng(11).random((2, 25))
    found = paired.effect(method, reference)
    assert found is not None
    assert found.d_z == pytest.approx(scipy.stats.ttest_rel(method, reference).statistic / 5)


# --- Holm ---------------------------------------------------------------------


def test_holm_by_hand_in_the_order_given() -> None:
    """Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1 is 0.02, 0.03, 0.06, 0.04; the last may not fall below 0.06."""
    adjusted = holm([0.01, 0.04, None, 0.03, 0.005])
    assert [None if entry is None else round(entry.p, 12) for entry in adjusted] == [0.03, 0.06, None, 0.06, 0.02]
    assert [entry and entry.significant for entry in adjusted] == [True, False, None, False, True]
    assert {entry.comparisons for entry in adjusted if entry} == {4}


def test_holm_is_its_definition_on_random_tables() -> None:
    rng = np.random.default_rng(12)
    for size in (1, 2, 7, 20):
        p_values = np.round(rng.random(size) ** 3, 2)  # with ties
        adjusted = [entry.p for entry in holm(list(p_values)) if entry]
        # The definition as a double loop: the largest of what each p that is no larger was raised to.
        order = sorted(range(size), key=lambda index: p_values[index])
        raised = {place: min(1.0, (size - step) * p_values[place]) for step, place in enumerate(order)}
        for step, place in enumerate(order):
            assert adjusted[place] == pytest.approx(max(raised[earlier] for earlier in order[: step + 1]))
        for first, second in itertools.combinations(range(size), 2):
            if p_values[first] == p_values[second]:
                assert adjusted[first] == pytest.approx(adjusted[second])


def test_holm_with_nothing_to_adjust() -> None:
    assert holm([]) == []
    assert holm([None, None]) == [None, None]
    assert [entry and entry.p for entry in holm([None, 0.2])] == [None, 0.2]
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([1.2])
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([math.nan])
