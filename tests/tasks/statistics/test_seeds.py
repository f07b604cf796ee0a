"""Intervals over seeds."""

import numpy as np
import pytest
import scipy.stats

from tasks.statistics import seeds


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
