"""Intervals over users."""

import math
import time

import numpy as np
import pytest
import scipy.stats

from tasks.statistics.bootstrap import Resampled, cluster, interval, resample, standard_error
from tasks.statistics.estimates import Floats, closed_gap, column, difference, gain, share


def resampled(values: Floats, *, users: "np.ndarray | None" = None, resamples: int = 2000, seed: int = 0) -> Resampled:
    table = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
    owners = np.arange(len(table)) if users is None else users
    return resample(cluster(table, owners), rng=np.random.default_rng(seed), resamples=resamples)


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
    assert interval(resampled(values), column(0), level=level).low is not None
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
