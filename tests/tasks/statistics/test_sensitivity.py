"""The smallest differences that a comparison finds, against the noncentral t and against trainings made up for it."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.stats

from tasks.statistics.comparison import Table, jointly
from tasks.statistics.crossed import Errors, SeedSpread
from tasks.statistics.paired import Alternative, t_test
from tasks.statistics.panel import align
from tasks.statistics.sensitivity import POWER, SEEDS, sensitivity
from tests.tasks.statistics.panels import panel_of, table_of, training

SPREAD = SeedSpread(largest=5e-4, rest=1e-4, degrees=4.0)


def seeds_move(draw: np.random.Generator, *, seeds: int, shift: float = 0.0, by: float = 0.01) -> Table:
    """Two methods that seeds move by so much, 200 users who move each training's values by .1."""
    level = draw.normal(0.5, 0.2, 200)
    panel = align(
        training(method, seed, level + own + moved + draw.normal(0.0, 0.1, 200))
        for method, own in (("base", 0.0), ("other", shift))
        for seed, moved in enumerate(draw.normal(0.0, by, seeds))
    )
    return table_of(panel, resamples=49)


@pytest.mark.parametrize("alternative", ["two-sided", "greater"])
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 60])
@pytest.mark.parametrize("users", [3, 40, 6_000])
def test_the_noncentral_t_finds_it_with_the_given_probability(
    users: int, alpha: float, alternative: Alternative
) -> None:
    found = sensitivity(Errors(0.01), users=users, alpha=alpha, alternative=alternative)
    assert found is not None
    critical = scipy.stats.t.isf(alpha if alternative == "greater" else alpha / 2, users - 1)
    assert scipy.stats.nct.sf(critical, users - 1, found.now / 0.01) == pytest.approx(POWER, abs=1e-4)
    assert (found.power, found.alpha, found.by_seeds, found.endless) == (POWER, alpha, (), None)


def test_with_so_large_a_difference_four_of_five_tests_over_users_are_significant() -> None:
    users, deviation, draw = 50, 0.3, np.random.default_rng(41)
    found = sensitivity(Errors(deviation / users**0.5), users=users, alpha=0.05, alternative="two-sided")
    assert found is not None
    trials = 1_500
    p_values = [t_test(draw.normal(found.now, deviation, users), np.zeros(users)).p for _ in range(trials)]
    significant = sum(p is not None and p <= 0.05 for p in p_values)
    low, high = scipy.stats.binom.interval(0.999, trials, POWER)
    assert low <= significant <= high, significant / trials


def test_errors_with_more_seeds_are_those_that_as_many_would_have() -> None:
    """The variances known: between users .0004, and of each method's trainings as `SPREAD`."""

    def known(seeds: int) -> Errors:
        return Errors((4e-4 + 2 * SPREAD.rest / seeds) ** 0.5, ((seeds, SPREAD), (seeds, SPREAD)))

    for seeds in (3, 10, 100):
        more = known(2).with_seeds(seeds)
        assert more.error == pytest.approx(known(seeds).error)
        assert more.squared == pytest.approx(4e-4 + 2 * SPREAD.largest / seeds)
        assert [spread.degrees for _, spread in more.arms] == [max(4.0, 2.0 * (seeds - 1))] * 2
    assert known(2).of_users().squared == pytest.approx(4e-4)
    assert known(2).of_users().degrees(300) == 299


def test_more_seeds_find_smaller_differences_and_users_set_a_limit() -> None:
    found = sensitivity(Errors(0.025, ((2, SPREAD), (1, SPREAD))), users=500, alpha=0.05, alternative="two-sided")
    assert found is not None
    assert found.endless is not None
    assert [seeds for seeds, _ in found.by_seeds] == list(SEEDS)
    falling = [found.now, *(difference for _, difference in found.by_seeds), found.endless]
    assert falling == sorted(falling, reverse=True)
    assert falling[-1] > 0.0
    many = sensitivity(Errors(0.025, ((5, SPREAD), (5, SPREAD))), users=500, alpha=0.05, alternative="two-sided")
    assert many is not None
    assert [seeds for seeds, _ in many.by_seeds] == [10, 20]


def test_where_seeds_explain_all_that_users_differ_in_the_limit_is_0() -> None:
    loud = replace(SPREAD, rest=0.01)
    found = sensitivity(Errors(0.025, ((2, loud), (2, loud))), users=500, alpha=0.05, alternative="two-sided")
    assert found is not None
    assert found.endless == 0.0
    assert min(found.now, *(difference for _, difference in found.by_seeds)) > 0.0


def test_two_seeds_foretell_what_six_have() -> None:
    """What seeds make of a squared error, as six have it: told by panels of two trainings, and by those of six."""
    draw = np.random.default_rng(42)
    told: dict[int, list[float]] = {2: [], 6: []}
    for seeds, held in told.items():
        for _ in range(80):
            rows = seeds_move(draw, seeds=seeds, by=0.03).rows
            against, squares = rows[1].against, [row.target_squares for row in rows]
            assert against is not None
            assert against.error is not None
            arms = tuple(
                (seeds, SeedSpread(square.between / square.users, square.rest / square.users, 2.0))
                for square in squares
                if square is not None
            )
            assert len(arms) == 2
            held.append(Errors(against.error, arms).with_seeds(6).squared)
    assert np.mean(told[6]) == pytest.approx(2 * (0.03**2 + 0.1**2 / 200) / 6, rel=0.15)
    assert np.mean(told[2]) == pytest.approx(np.mean(told[6]), rel=0.3)


@pytest.mark.parametrize("users", [1, 2])
def test_without_an_error_nothing_is_told(users: int) -> None:
    error = 0.0 if users > 1 else 0.01
    assert sensitivity(Errors(error), users=users, alpha=0.05, alternative="two-sided") is None


def test_a_table_is_asked_at_the_level_of_one_comparison_among_all() -> None:
    panel = panel_of({"base": 0.0, "up": 0.03, "same": 0.0}, runs=2)
    alone = table_of(panel)
    first, second = jointly([alone, table_of(panel, alpha=0.05)])
    for table, comparisons in ((alone, 2), (first, 4), (second, 4)):
        for row in table.rows[1:]:
            assert row.against is not None
            assert row.against.sensitivity is not None
            assert row.against.sensitivity.alpha == pytest.approx(0.05 / comparisons)
            assert row.against.sensitivity.by_seeds
    one = table_of(panel_of({"base": 0.0, "same": 0.0}, runs=1)).rows[1].against
    assert one is not None
    assert one.sensitivity is not None
    assert one.error is not None
    expected = sensitivity(Errors(one.error), users=400, alpha=0.05, alternative="two-sided")
    assert one.sensitivity == expected


def test_a_difference_as_large_is_found_over_users_and_seeds_and_told_to_be() -> None:
    """The variances known: two methods of six seeds that move by .01, of 200 users whose rest is .1."""
    draw = np.random.default_rng(43)
    critical = scipy.stats.t.isf(0.025, 10)
    shifts = np.linspace(2.0, 5.0, 301)
    smallest = float(shifts[np.argmin(np.abs(scipy.stats.nct.sf(critical, 10, shifts) - POWER))])
    shift = smallest * (2 * (0.01**2 + 0.1**2 / 200) / 6) ** 0.5
    trials, significant, told = 200, 0, []
    for _ in range(trials):
        against = seeds_move(draw, seeds=6, shift=shift).rows[1].against
        assert against is not None
        assert against.sensitivity is not None
        assert against.deciding.p is not None
        significant += against.deciding.p <= 0.05
        told.append(against.sensitivity.now)
    low, high = scipy.stats.binom.interval(0.999, trials, POWER)
    assert low <= significant <= high, significant / trials
    assert np.median(told) == pytest.approx(shift, rel=0.1)
