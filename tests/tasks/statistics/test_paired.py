"""Paired tests and effect sizes, beside scipy and by hand."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats

from tasks.statistics import paired


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
