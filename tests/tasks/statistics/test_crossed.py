"""What other users and another training would change, at once."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.stats

from tasks.statistics.comparison import jointly
from tasks.statistics.crossed import (
    Errors,
    SeedSpread,
    SeedSquares,
    over_both,
    seed_squares,
    spreads,
)
from tasks.statistics.estimates import Estimate
from tasks.statistics.paired import Test
from tasks.statistics.panel import align
from tasks.statistics.relative import retentions
from tests.tasks.statistics.panels import USERS, panel_of, rng, table_of, training


def test_users_and_seeds_are_two_crossed_random_effects() -> None:
    """Mean squares as the analysis of variance has them, the pooled spread, and the test and interval that follow."""
    draw = rng(2)
    shifts = {"base": (0.0, 0.02), "up": (0.06, 0.03, 0.05), "alone": (0.02,)}
    level = draw.normal(0.5, 0.2, USERS)
    panel = align(
        training(method, run, level + shift + draw.normal(0.0, 0.1, USERS))
        for method, own in shifts.items()
        for run, shift in enumerate(own)
    )
    table = table_of(panel)
    spread, degrees, rest = 0.0, 0, {}
    for row in table.rows:
        values = panel.values[row.method]
        if len(values) == 1:
            assert row.squares is None
            continue
        # The sums of squares of a two-way layout: all less those of rows and columns.
        between = USERS * ((values.mean(1) - values.mean()) ** 2).sum()
        users = len(values) * ((values.mean(0) - values.mean()) ** 2).sum()
        left = ((values - values.mean()) ** 2).sum() - between - users
        assert row.squares is not None
        assert row.squares.between == pytest.approx(between / (len(values) - 1))
        assert row.squares.rest == pytest.approx(left / ((len(values) - 1) * (USERS - 1)))
        spread += between / USERS
        rest[row.method] = left / (USERS - 1) / USERS
        degrees += len(values) - 1
    largest = spread / degrees
    rest["alone"] = sum(rest.values()) / degrees
    rest["up"] /= 2
    assert (degrees, min(largest - left for left in rest.values()) > 0) == (3, True)
    for row, seeds_of in ((table.rows[1], 3), (table.rows[2], 1)):
        share = 1 / seeds_of + 1 / 2
        against = row.against
        assert against is not None
        assert against.over_both is not None
        means = panel.values[row.method].mean(0) - panel.values["base"].mean(0)
        over_users = scipy.stats.sem(means) ** 2
        by_seeds = (largest - rest[row.method]) / seeds_of + (largest - rest["base"]) / 2
        squared = over_users + by_seeds
        between = largest * share
        assert between < squared
        df = squared**2 / ((squared - between) ** 2 / (USERS - 1) + between**2 / degrees)
        t = means.mean() / np.sqrt(squared)
        assert against.over_both.t.statistic == pytest.approx(t)
        assert against.over_both.t.p == pytest.approx(2 * scipy.stats.t.sf(abs(t), df))
        # A quotient has the reference's errors as many times as it is large.
        times = panel.values[row.method].mean() / panel.values["base"].mean()
        for own, wide, unit, squares in (
            (against.difference, against.over_both.difference, 1.0, 1.0),
            (against.gain, against.over_both.gain, 100 / panel.values["base"].mean(), times**2),
        ):
            by_seeds = (largest - rest[row.method]) / seeds_of + squares * (largest - rest["base"]) / 2
            squared = over_users + by_seeds
            between = min(squared, largest * (1 / seeds_of + squares / 2))
            df = squared**2 / ((squared - between) ** 2 / (USERS - 1) + between**2 / degrees)
            margin = scipy.stats.t.ppf(0.975, df) * np.sqrt(by_seeds)
            assert wide.value == own.value
            assert wide.low is not None
            assert own.low is not None
            assert own.value is not None
            assert own.value - wide.low == pytest.approx(np.hypot(own.value - own.low, unit * margin))


def test_seeds_have_their_own_degrees_even_where_the_error_over_users_holds_less_than_their_rest() -> None:
    """As where both methods' trainings share it: little is left of what the mean squares between seeds count."""
    errors = Errors(1.9e-5**0.5, [(2, SeedSpread(largest=8.6e-5, rest=7.3e-5, degrees=3.0))] * 2)
    found = over_both(
        Test("paired t", "two-sided", n=943, statistic=-0.5, p=0.6),
        Estimate(-0.002, -0.0105, 0.0065, level=0.95, basis="users", n=943),
        Estimate(-0.9, -4.7, 2.9, level=0.95, basis="users", n=943),
        reference=0.22,
        of_users=errors,
        of_targets=errors,
    )
    squared = 3.2e-5
    assert found.t.p == pytest.approx(2 * scipy.stats.t.sf(0.5 * (1.9e-5 / squared) ** 0.5, 3))
    assert found.difference.low == pytest.approx(-0.002 - np.hypot(0.0085, scipy.stats.t.ppf(0.975, 3) * 1.3e-5**0.5))


def test_the_gain_of_two_methods_with_as_many_hits_counts_seeds_too() -> None:
    hits = np.stack([rng(16).permutation(np.arange(USERS) < count).astype(float) for count in (120, 160)])
    trainings = [training("base", run, values) for run, values in enumerate(hits)]
    trainings += [training("up", run, values) for run, values in enumerate(rng(17).permuted(hits, axis=1))]
    against = table_of(align(trainings)).rows[1].against
    assert against is not None
    assert against.shown_gain.value == against.shown_difference.value == 0.0
    per_unit = 100 / hits.mean()
    for end in ("low", "high"):
        margins = [getattr(found, end) ** 2 for found in (against.shown_gain, against.gain)]
        widths = [getattr(found, end) ** 2 for found in (against.shown_difference, against.difference)]
        assert widths[0] > 4 * widths[1]
        assert margins[0] - margins[1] == pytest.approx(per_unit**2 * (widths[0] - widths[1]))


def test_a_difference_of_means_over_targets_has_the_spread_of_those_means_over_seeds() -> None:
    """Seeds move only the ten users who have thirty targets each, three quarters of all, and 10 of 110 users."""
    users = np.concatenate([np.arange(100), np.repeat(np.arange(100, 110), 30)])
    often = users >= 100
    level = rng(14).random(len(users))
    shifts = {"base": (0.0, 0.04, 0.02), "up": (0.03, 0.0, 0.06)}
    panel = align(
        training(method, run, level + shift * often, users=users)
        for method, own in shifts.items()
        for run, shift in enumerate(own)
    )
    table = table_of(panel)
    for row in table.rows:
        assert row.squares is not None
        assert row.target_squares is not None
        variance = np.var(shifts[row.method], ddof=1)
        assert row.squares.between / row.squares.users == pytest.approx(variance * (10 / 110) ** 2)
        assert row.target_squares.between / row.target_squares.users == pytest.approx(variance * (300 / 400) ** 2)
    against = table.rows[1].against
    assert against is not None
    assert against.difference.value == pytest.approx(0.01 * 300 / 400)
    assert against.difference.excludes(0.0)
    assert not against.shown_difference.excludes(0.0)
    (kept,) = retentions(panel, {"up": "base"}, rng=rng())
    assert kept.share.excludes(1.0)
    assert not kept.shown.excludes(1.0)


def test_a_seed_that_moves_all_targets_alike_is_no_rest_of_the_users() -> None:
    """However unequal their numbers: the mean over targets then moves by just what the seed does."""
    users = np.repeat(np.arange(40), np.arange(1, 41))
    level = rng(15).random(len(users))
    panel = align(training("one", run, level + moved, users=users) for run, moved in enumerate((0.0, 0.1, 0.05)))
    found = seed_squares(panel.user_values("one"), weights=panel.user_weights())
    assert found is not None
    assert found.between / found.users == pytest.approx(0.05**2)
    assert found.rest == pytest.approx(0.0, abs=1e-12)


def test_methods_spreads_are_drawn_together_as_far_as_they_are_alike() -> None:
    """Variances that are themselves drawn with d₀ and s₀² known: both are found again."""
    draw, prior, degrees, own = rng(11), 8.0, 3, {}
    for number in range(4000):
        true = prior * 0.04 / draw.chisquare(prior)
        own[str(number)] = true * draw.chisquare(degrees) / degrees
    arms = {name: [SeedSquares(degrees + 1, users=2, between=2 * value, rest=0.0)] for name, value in own.items()}
    found = spreads(arms)
    assert len({spread.degrees for spread in found.values()}) == 1
    weight = found["0"].degrees - degrees
    assert weight == pytest.approx(prior, rel=0.15)
    for name in ("0", "1"):
        common = (found[name].largest * (weight + degrees) - degrees * own[name]) / weight
        assert common == pytest.approx(0.04, rel=0.05)


def test_one_method_that_seeds_throw_about_does_not_blur_the_others() -> None:
    draw = rng(12)
    quiet = {f"m{number}": [squares_of(draw, 0.002) for _ in range(2)] for number in range(6)}
    arms = {**quiet, "wild": [squares_of(draw, 0.1) for _ in range(2)]}
    found = spreads(arms)
    assert found["wild"].variance > 0.001
    assert all(found[name].largest < found["wild"].largest / 20 for name in quiet)
    assert spreads({"one": [None]}) == {}
    lent = spreads({**arms, "one": [None]})["one"]
    assert 0.0 < lent.variance <= lent.largest < found["wild"].variance / 20


def test_seeds_that_came_out_alike_by_chance_lend_a_method_no_spread_of_its_own() -> None:
    """The users' rest explains more than its seeds differ by: drawn towards what is usual, that is still their rest."""
    arms = {"alike": [SeedSquares(2, users=100, between=0.1, rest=1.0)], "apart": [SeedSquares(2, 100, 2.1, rest=1.0)]}
    found = spreads(arms)
    assert found["alike"] == found["apart"]
    assert found["alike"].variance == pytest.approx(0.1 / 100)


def test_trainings_that_are_ranked_with_several_histories_count_once() -> None:
    """As often as one ranks them, two trainings tell no more of what a third would do."""
    draw = rng(13)
    panels = []
    for shift in (0.0, -0.02, -0.04, -0.06):
        own = {"base": (0.0, 0.02), "up": (0.01, 0.04)}
        panels.append(
            align(
                replace(training(method, run, draw.normal(0.5 + shift, 0.2, USERS) + moved), training=f"{method} {run}")
                for method, shifts in own.items()
                for run, moved in enumerate(shifts)
            )
        )
    arms = {
        method: [seed_squares(panel.user_values(method), trainings=panel.trainings[method]) for panel in panels]
        for method in ("base", "up")
    }
    found = spreads(arms)
    assert {spread.degrees for spread in found.values()} == {2.0}
    each = [arm.between / arm.users for held in arms.values() for arm in held if arm is not None]
    assert found["base"].largest == pytest.approx(sum(each) / 8)
    unknown = {method: [replace(arm, trainings=()) for arm in held if arm is not None] for method, held in arms.items()}
    assert {spread.degrees for spread in spreads(unknown).values()} == {8.0}


def squares_of(draw: np.random.Generator, moved: float) -> SeedSquares | None:
    return seed_squares(draw.normal(0.5, 0.1, USERS) + draw.normal(0.0, moved, (2, 1)) + draw.normal(0, 0.01, USERS))


def test_tables_of_one_metric_share_their_spread_over_seeds_and_an_arm_counts_once() -> None:
    first = table_of(panel_of({"base": 0.0, "up": 0.03}, runs=2, seed=8))
    single = table_of(panel_of({"base": 0.0, "up": 0.03}, runs=1, seed=9))
    other = replace(table_of(panel_of({"base": 0.0, "up": 0.03}, runs=1, seed=9)), metric="test.full_all.hit_at_10")
    alone = single.rows[1].against
    assert alone is not None
    assert alone.over_both is None
    twice, _, helped, unhelped = jointly([first, first, single, other])
    assert first.rows[1].against is not None
    assert twice.rows[1].against is not None
    assert twice.rows[1].against.over_both == first.rows[1].against.over_both
    assert helped.rows[1].against is not None
    assert helped.rows[1].against.over_both is not None
    assert unhelped.rows[1].against is not None
    assert unhelped.rows[1].against.over_both is None
