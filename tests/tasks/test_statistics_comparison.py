"""From trainings' ranks to tables, slices, retention and gap closed."""

import json
import math
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from models.engine.metrics import PROTOCOLS, summary
from tasks.statistics import seeds
from tasks.statistics.bootstrap import cluster, resample
from tasks.statistics.comparison import Table, compare, jointly
from tasks.statistics.crossed import (
    Errors,
    SeedSpread,
    SeedSquares,
    interval_over_both,
    over_both,
    seed_squares,
    spreads,
)
from tasks.statistics.estimates import Estimate, Floats, difference
from tasks.statistics.paired import Test
from tasks.statistics.panel import Panel, Scores, align, attribute, scores
from tasks.statistics.relative import gaps_closed, retentions
from tasks.statistics.slices import (
    Bins,
    history_bins,
    noise_bins,
    noise_share,
    place,
    popularity_bins,
    sliced,
    tertile_edges,
)

USERS = 400


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def training(method: str, seed: int, values: Floats, *, users: "np.ndarray | None" = None) -> Scores:
    targets = np.arange(len(values))
    return Scores(method, seed, targets, targets if users is None else users, np.asarray(values, dtype=np.float64))


def panel_of(shifts: dict[str, float], *, runs: int = 3, noise: float = 0.1, seed: int = 0) -> Panel:
    """A method a shift: a user's own level around 0.5, the shift, and noise of each training's own."""
    draw = rng(seed)
    level = draw.normal(0.5, 0.2, USERS)
    return align(
        training(method, run, level + shift + draw.normal(0.0, noise, USERS))
        for method, shift in shifts.items()
        for run in range(runs)
    )


def table_of(panel: Panel, **options: object) -> Table:
    return compare(panel, metric="test.full_unseen.ndcg_at_10", reference="base", rng=rng(), **options)  # type: ignore[arg-type]


def frame(ranks: list[float], *, split: str = "test") -> pd.DataFrame:
    size = len(ranks)
    return pd.DataFrame(
        {"target": np.arange(size)[::-1], "split": split, "user": np.arange(size) // 2, "history": np.arange(size)}
        | {f"rank_{name}": np.array(ranks, dtype=np.float32) for name in PROTOCOLS}
    )


# --- panels -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["hit_at_5", "ndcg_at_10", "mrr_at_20"])
def test_per_target_values_have_the_metric_as_their_mean(name: str) -> None:
    ranks = pd.concat([frame([0.0, 3.5, 7.0, 19.0, 40.0]), frame([0.0, 0.0], split="validation")])
    found = scores(ranks, f"test.full_all.{name}", method="a", seed=1)
    expected = summary({"full_all": ranks[ranks["split"] == "test"]["rank_full_all"].to_numpy()}, "test")
    assert found.values.mean() == pytest.approx(expected[f"test.full_all.{name}"])
    assert len(found.targets) == 5


def test_a_name_that_is_no_metric_is_refused() -> None:
    for name in ("test.full_unseen.recall_at_10", "ndcg_at_10", "test.full_unseen.ndcg_at_0"):
        with pytest.raises(ValueError, match="names no metric"):
            scores(frame([0.0]), name, method="a", seed=0)


def test_trainings_are_brought_into_line_by_target_number() -> None:
    first = Scores("a", 2, np.array([5, 3, 9]), np.array([1, 0, 1]), np.array([0.5, 0.3, 0.9]))
    second = Scores("a", 1, np.array([9, 5, 3]), np.array([1, 1, 0]), np.array([9.0, 5.0, 3.0]))
    panel = align([first, second])
    assert panel.targets.tolist() == [3, 5, 9]
    assert panel.users.tolist() == [0, 1, 1]
    assert panel.seeds == {"a": (1, 2)}
    assert panel.values["a"].tolist() == [[3.0, 5.0, 9.0], [0.3, 0.5, 0.9]]
    ranks = pd.DataFrame({"target": [9, 3, 5, 4], "popularity": [90, 30, 50, 40]})
    assert attribute(ranks, "popularity", panel).tolist() == [30.0, 50.0, 90.0]
    with pytest.raises(ValueError, match="target 9 has no popularity"):
        attribute(ranks[ranks["target"] != 9], "popularity", panel)


def test_trainings_on_other_targets_are_refused_by_name() -> None:
    whole = training("a", 1, np.zeros(9))
    short = Scores("b", 2, np.array([*range(1, 9), 77]), np.array([*range(1, 9), 77]), np.zeros(9))
    with pytest.raises(ValueError, match=r"b with seed 2 .* a with seed 1: it lacks target 0 and has besides.* 77"):
        align([whole, short])
    many = Scores("b", 2, np.arange(2), np.arange(2), np.zeros(2))
    with pytest.raises(ValueError, match="lacks targets 2, 3, 4, 5, 6 and 2 more"):
        align([whole, many])
    with pytest.raises(ValueError, match="other users than a with seed 1 at targets 0, 1, 2"):
        align([whole, training("b", 2, np.zeros(9), users=np.array([5, 6, 7, 3, 4, 5, 6, 7, 8]))])
    with pytest.raises(ValueError, match="a with seed 1 is there twice"):
        align([whole, whole])
    with pytest.raises(ValueError, match="has target 4 twice"):
        align([Scores("a", 1, np.array([4, 4]), np.array([1, 1]), np.zeros(2))])
    with pytest.raises(ValueError, match="no finite value for target 1"):
        align([training("a", 1, np.array([0.0, np.nan]))])
    with pytest.raises(ValueError, match="no targets"):
        align([])


# --- the table ----------------------------------------------------------------


def test_the_table_is_what_scipy_says_of_the_same_numbers() -> None:
    panel = panel_of({"base": 0.0, "up": 0.03, "same": 0.0})
    table = table_of(panel)
    assert [row.method for row in table.rows] == ["base", "up", "same"]
    assert (table.targets, table.users) == (USERS, USERS)
    base, up, same = table.rows
    assert base.against is None
    assert up.over_seeds == seeds.mean(panel.values["up"].mean(axis=1))
    assert up.over_users.value == pytest.approx(panel.values["up"].mean())
    averages = {method: values.mean(axis=0) for method, values in panel.values.items()}
    p_values = {}
    for row in (up, same):
        assert row.against is not None
        own, other = averages[row.method], averages["base"]
        p_values[row.method] = scipy.stats.ttest_rel(own, other).pvalue
        assert row.against.t.p == pytest.approx(p_values[row.method])
        assert row.against.wilcoxon.p == pytest.approx(scipy.stats.wilcoxon(own, other, method="asymptotic").pvalue)
        paired_seeds = scipy.stats.ttest_rel(panel.seed_means(row.method), panel.seed_means("base"))
        assert row.against.t_over_seeds.p == pytest.approx(paired_seeds.pvalue)
        assert row.against.wilcoxon_over_seeds.p is None
        assert row.against.difference.value == pytest.approx((own - other).mean())
        assert row.against.user_difference == pytest.approx((own - other).mean())
        assert row.against.gain.value == pytest.approx(100 * (own.mean() / other.mean() - 1))
        assert row.against.gain_over_seeds.value == pytest.approx(row.against.gain.value)
    assert up.against is not None
    assert up.against.t_adjusted is not None
    assert up.against.over_both is not None
    assert up.against.over_both.t.p is not None
    assert up.against.over_both.t.p >= p_values["up"]
    assert up.against.t_adjusted.p == pytest.approx(2 * up.against.over_both.t.p)


def test_a_table_goes_into_json_as_it_is() -> None:
    told = json.loads(json.dumps(asdict(table_of(panel_of({"base": 0.0, "up": 0.03}, runs=1))), allow_nan=False))
    assert told["rows"][1]["over_seeds"]["low"] is None
    assert "two are needed" in told["rows"][1]["over_seeds"]["reason"]
    assert told["rows"][1]["against"]["t"]["alternative"] == "two-sided"


def test_the_same_generator_gives_the_same_table() -> None:
    panel = panel_of({"base": 0.0, "up": 0.03})
    assert table_of(panel) == table_of(panel)


def verdict(table: Table, method: str) -> str:
    return next(row.against.verdict for row in table.rows if row.method == method and row.against is not None)


def test_verdicts_say_what_is_significant_and_what_is_not() -> None:
    table = table_of(panel_of({"base": 0.0, "up": 0.05, "same": 0.0, "down": -0.05}))
    assert verdict(table, "up").startswith(
        "significantly better than base (p < 0.001 by Holm over 3 comparisons): 95 %"
    )
    assert verdict(table, "down").startswith("significantly worse than base")
    same = verdict(table, "same")
    assert same.startswith("not significant: 95 % interval of the difference −")
    assert " % to +" in same


def test_a_one_sided_table_only_asks_for_better() -> None:
    table = table_of(panel_of({"base": 0.0, "down": -0.05, "up": 0.05}), alternative="greater")
    assert verdict(table, "down").startswith("not significantly better than base: 95 % interval of the difference −")
    assert verdict(table, "up").startswith("significantly better than base")


def test_a_verdict_says_when_other_seeds_could_undo_it() -> None:
    assert verdict(table_of(panel_of({"base": 0.0, "up": 0.05}, runs=1)), "up").endswith(
        "over users alone: how much other trainings would change is not known"
    )
    draw = rng(1)
    level = draw.normal(0.5, 0.2, USERS)
    shaky = [
        training(method, run, level + shift + draw.normal(0.0, 0.01, USERS))
        for method, shifts in {"base": (0.0, 0.0, 0.0), "up": (0.09, -0.04, 0.04)}.items()
        for run, shift in enumerate(shifts)
    ]
    told = verdict(table_of(align(shaky)), "up")
    assert told.startswith("not significant: 95 % interval of the difference −")
    assert told.endswith("though over users alone it would not include 0: other trainings may undo it")


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


def test_a_verdict_says_when_only_the_correction_stands_against_it() -> None:
    """One difference with p about 0.03 beside nine that are nothing."""
    draw = rng(3)
    other = draw.normal(0.5, 0.1, USERS)
    noise = draw.normal(0.0, 1.0, USERS)
    noise = (noise - noise.mean()) / noise.std(ddof=1)
    trainings = [training("base", 0, other), training("up", 0, other + 0.1 * (noise + 2.2 / math.sqrt(USERS)))]
    trainings += [training(f"none {index}", 0, other + draw.permutation(0.1 * noise)) for index in range(9)]
    told = verdict(table_of(align(trainings)), "up")
    assert told.startswith("not significant: 95 % interval of the difference +")
    assert told.endswith("but p = 0.28 by Holm over 10 comparisons")


@pytest.mark.parametrize(("t", "p"), [(2.2, "p = 0.028"), (2.9, "p = 0.0039"), (4.0, "p < 0.001")])
def test_a_verdict_has_digits_enough_for_its_p_and_for_a_limit_near_0(t: float, p: str) -> None:
    noise = rng(19).normal(size=USERS)
    noise = (noise - noise.mean()) / noise.std(ddof=1)
    other = rng(20).normal(0.5, 0.1, USERS)
    up = other + 0.01 * (noise + t / math.sqrt(USERS))
    table = table_of(align([training("base", 0, other), training("up", 0, up)]))
    against = table.rows[1].against
    assert against is not None
    assert against.gain.low is not None
    digits = 2 if against.gain.low < 0.05 else 1
    assert digits == (2 if t == 2.2 else 1)
    limits = f"+{against.gain.low:.{digits}f} % to +{against.gain.high:.{digits}f} %"
    assert against.verdict.startswith(
        f"significantly better than base ({p}): 95 % interval of the difference {limits}, over users alone"
    )


def test_a_verdict_says_when_users_alike_and_targets_alike_disagree() -> None:
    """Forty users with one target each gain; two with five hundred each lose."""
    users = np.concatenate([np.arange(40), np.repeat([40, 41], 500)])
    base = rng(4).normal(0.5, 0.1, len(users))
    up = base + np.where(users < 40, 0.2, -0.2) + rng(5).normal(0.0, 0.05, len(users))
    table = table_of(align([training("base", 0, base, users=users), training("up", 0, up, users=users)]))
    against = table.rows[1].against
    assert against is not None
    assert against.user_difference > 0 > (against.difference.value or 0.0)
    assert against.verdict.startswith("significantly better than base")
    assert "does not bear it out" in against.verdict


def test_identical_methods_are_not_significant_and_a_lone_user_is_not_tested() -> None:
    values = rng().random(USERS)
    assert verdict(table_of(align([training("base", 0, values), training("up", 0, values)])), "up") == (
        "not significant: the same as base for every user"
    )
    lone = np.zeros(5, dtype=np.int64)
    pair = [training("base", 0, values[:5], users=lone), training("up", 0, values[5:10], users=lone)]
    assert verdict(table_of(align(pair)), "up").startswith("not tested: one pair")


def test_a_method_with_seeds_of_its_own_is_paired_at_those_that_both_have() -> None:
    draw = rng()
    trainings = [training("base", run, draw.random(USERS)) for run in (1, 2, 3)]
    trainings += [training("up", run, draw.random(USERS)) for run in (2, 3, 4)]
    row = table_of(align(trainings)).rows[1]
    assert row.seeds == (2, 3, 4)
    assert row.against is not None
    assert row.against.difference_over_seeds.n == 2
    expected = np.mean([trainings[4 - 1].values.mean() - trainings[1].values.mean(),
                        trainings[5 - 1].values.mean() - trainings[2].values.mean()])  # fmt: skip
    assert row.against.difference_over_seeds.value == pytest.approx(expected)


def test_tables_of_several_noise_ratios_are_judged_together() -> None:
    one, two = (table_of(panel_of({"base": 0.0, "up": 0.012}, seed=seed)) for seed in (6, 7))
    together = jointly([one, two])
    p_values = [table.rows[1].against.deciding.p for table in together if table.rows[1].against]
    adjusted = [
        table.rows[1].against.t_adjusted.p
        for table in together
        if table.rows[1].against and table.rows[1].against.t_adjusted
    ]
    low, high = sorted(p for p in p_values if p is not None)
    assert sorted(adjusted) == pytest.approx([2 * low, max(2 * low, high)])
    assert [row.against.t_adjusted.comparisons for table in together for row in table.rows[1:]
            if row.against and row.against.t_adjusted] == [2, 2]  # fmt: skip
    with pytest.raises(ValueError, match="one alpha"):
        jointly([one, table_of(panel_of({"base": 0.0, "up": 0.0}), alpha=0.01)])


def test_a_reference_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="no method 'base'; there are a, b"):
        table_of(panel_of({"a": 0.0, "b": 0.0}))


# --- retention and gap closed -------------------------------------------------


def test_retention_comes_with_both_values_and_intervals() -> None:
    panel = panel_of({"a at 0 %": 0.0, "a at 20 %": -0.1})
    (found,) = retentions(panel, {"a at 20 %": "a at 0 %"}, rng=rng())
    kept, base = panel.values["a at 20 %"].mean(), panel.values["a at 0 %"].mean()
    assert (found.value.value, found.base.value) == pytest.approx((kept, base))
    assert found.share.value == pytest.approx(kept / base)
    assert found.share.low is not None
    assert found.share.high is not None
    assert found.share.low < 0.8 < found.share.high
    assert found.share_over_seeds.value == pytest.approx(kept / base)
    assert found.share_over_seeds.bounded


def test_gap_closed_where_there_is_a_gap() -> None:
    panel = panel_of({"noisy": 0.0, "denoised": 0.06, "oracle": 0.1, "worse": -0.05})
    half, worse = gaps_closed(panel, ["denoised", "worse"], noisy="noisy", oracle="oracle", rng=rng())
    noisy, denoised, oracle = (panel.values[name].mean() for name in ("noisy", "denoised", "oracle"))
    assert (half.value.value, half.gap.value) == pytest.approx((denoised, oracle - noisy))
    assert half.share.value == pytest.approx(0.6, abs=0.1)
    assert not half.share.excludes(0.6)
    assert half.share.excludes(0.0)
    assert half.share.excludes(1.0)
    assert half.share_over_seeds.value == pytest.approx(half.share.value)
    assert worse.share.value is not None
    assert worse.share.value < 0.0
    assert json.dumps(asdict(half), allow_nan=False)


def test_shares_count_what_other_seeds_would_change() -> None:
    """Against the delta method: the share's own derivatives by the means, times what a seed moves each mean."""
    users, seeds = 1000, {"noisy": 2, "denoised": 3, "oracle": 4}
    means = {"noisy": 0.2, "denoised": 0.26, "oracle": 0.3}
    panel = align(
        training(name, seed, np.full(users, mean) + rng(seed).normal(0, 0.001, users))
        for name, mean in means.items()
        for seed in range(seeds[name])
    )
    spread = {name: SeedSpread(largest=0.002**2, rest=0.0, degrees=1e9) for name in means}
    kept = retentions(panel, {"denoised": "oracle"}, rng=rng(), spread=spread, resamples=4_000)[0]
    closed = gaps_closed(
        panel, ["denoised"], noisy="noisy", oracle="oracle", rng=rng(), spread=spread, resamples=4_000
    )[0]
    slopes = {
        kept.shown: {"denoised": 1 / 0.3, "oracle": -0.26 / 0.3**2},
        closed.shown: {"denoised": 1 / 0.1, "noisy": (0.26 - 0.3) / 0.1**2, "oracle": -0.06 / 0.1**2},
    }
    for shown, slope in slopes.items():
        assert shown.low is not None
        assert shown.high is not None
        error = sum((each * 0.002) ** 2 / seeds[name] for name, each in slope.items()) ** 0.5
        assert (shown.high - shown.low) / 2 == pytest.approx(1.96 * error, rel=0.05)
        assert shown.basis == "percentile bootstrap over users and seeds"
    assert kept.share.high is not None
    assert kept.share.high - kept.share.value < 0.1 * (kept.shown.high - kept.shown.value)


def test_two_means_whose_spread_over_seeds_is_little_known_differ_by_students_t() -> None:
    """What is not known of the spread is not known of both alike: the difference has their degrees of freedom."""
    draw = rng(18)
    sample = cluster(draw.normal(0.3, 1e-4, (20, 2)), np.arange(20))
    resampled = resample(sample, rng=draw, resamples=200_000)
    arms = [(runs, SeedSpread(largest=runs * 0.02**2, rest=0.0, degrees=1.0)) for runs in (2, 5)]
    found = interval_over_both(resampled, difference(1, 0), arms, rng=draw)
    assert found.low is not None
    assert found.high is not None
    margin = scipy.stats.t.ppf(0.975, 1) * 2**0.5 * 0.02
    assert (-found.low, found.high) == pytest.approx((margin, margin), rel=0.06)


def test_a_gap_that_other_seeds_may_undo_is_not_shown() -> None:
    panel = panel_of({"noisy": 0.0, "denoised": 0.06, "oracle": 0.1})
    spread = {name: SeedSpread(largest=0.1**2, rest=0.0, degrees=3.0) for name in panel.methods}
    (found,) = gaps_closed(panel, ["denoised"], noisy="noisy", oracle="oracle", rng=rng(), spread=spread)
    assert found.shown.value is None
    assert "within 2 standard errors" in str(found.shown.reason)


@pytest.mark.parametrize(("shift", "reason"), [(0.0, "within 2 standard errors"), (-0.1, "below the noisy training")])
def test_gap_closed_is_not_shown_where_there_is_none(shift: float, reason: str) -> None:
    panel = panel_of({"noisy": 0.0, "denoised": 0.06, "oracle": shift})
    (found,) = gaps_closed(panel, ["denoised"], noisy="noisy", oracle="oracle", rng=rng())
    for hidden in (found.share, found.share_over_seeds):
        assert hidden.value is None
        assert reason in str(hidden.reason)
    assert found.value.value is not None


def test_two_standard_errors_are_where_the_gap_begins_to_be_shown() -> None:
    noise = rng().normal(size=100)
    noise = (noise - noise.mean()) / noise.std(ddof=1)  # a standard error of 0.1
    for gap, shown in ((0.19, False), (0.21, True)):
        panel = align([training("noisy", 0, np.ones(100)), training("oracle", 0, 1 + gap + noise)])
        (found,) = gaps_closed(panel, ["noisy"], noisy="noisy", oracle="oracle", rng=rng())
        assert (found.share.value == 0.0) is shown
        assert (found.share.value is None) is not shown


def test_a_gap_that_the_seeds_do_not_agree_on_is_not_shown() -> None:
    level = rng().random(USERS)
    panel = align(
        training(method, run, level * (1 + shift))
        for method, shifts in {"noisy": (0.0, 0.0), "oracle": (0.3, -0.1)}.items()
        for run, shift in enumerate(shifts)
    )
    (found,) = gaps_closed(panel, ["noisy"], noisy="noisy", oracle="oracle", rng=rng())
    assert "standard errors" in str(found.share.reason)


# --- slices -------------------------------------------------------------------


def test_values_on_an_edge_belong_above_it_and_undefined_ones_nowhere() -> None:
    assert place(np.array([0.0, 5.0, 9.9, 10.0, np.nan]), (5.0, 10.0)).tolist() == [0, 1, 1, 2, -1]


def test_every_slice_has_its_number_mean_interval_and_difference() -> None:
    panel = panel_of({"base": 0.0, "up": 0.05})
    history = np.arange(USERS, dtype=np.float64)
    history[0] = np.nan
    found = sliced(panel, history, history_bins((100, 1000)), reference="base", rng=rng())
    assert [part.label for part in found.slices] == ["under 100", "100 to under 1000", "1000 and over"]
    assert [part.targets for part in found.slices] == [99, 300, 0]
    assert found.unplaced == 1
    middle, last = found.slices[1:]
    assert middle.users == 300
    of_four = sliced(
        replace(panel, users=np.arange(USERS) // 4), history, history_bins((100, 1000)), reference="base", rng=rng()
    )
    assert (of_four.slices[1].targets, of_four.slices[1].users) == (300, 75)
    assert middle.means["up"].value == pytest.approx(panel.values["up"][:, 100:].mean())
    assert middle.differences["up"].value == pytest.approx((panel.values["up"] - panel.values["base"])[:, 100:].mean())
    assert middle.differences["up"].excludes(0.0)
    assert set(middle.differences) == {"up"}
    assert (last.users, last.means["up"].value, last.means["up"].n) == (0, None, 0)
    assert last.differences["up"].reason == "the slice has no targets"
    assert (last.low, last.high) == (1000, None)
    assert json.dumps(asdict(found), allow_nan=False)


def test_edges_rise_and_every_part_has_a_label() -> None:
    assert popularity_bins((5.0, 5.0)).labels[1] == "middle: 5 to under 5"
    with pytest.raises(ValueError, match="must rise"):
        history_bins((10, 5))
    with pytest.raises(ValueError, match="need 2 labels"):
        Bins("history", (1.0,), ("all",))


def test_tertiles_hold_a_third_each() -> None:
    values = rng().permutation(np.arange(300.0))
    assert np.bincount(place(values, tertile_edges(values))).tolist() == [100, 100, 100]


def test_head_and_tail_are_cut_by_interactions_and_not_by_items() -> None:
    popularity = np.array([60] + [12] * 5 + [2] * 30)
    of_targets = np.repeat(popularity, popularity).astype(float)  # a target for each interaction
    edges = tertile_edges(of_targets)
    assert np.bincount(place(of_targets, edges)).tolist() == [60, 60, 60]
    assert np.bincount(place(popularity.astype(float), edges)).tolist() == [30, 5, 1]  # items
    assert popularity_bins(edges).labels == ("tail: under 12", "middle: 12 to under 60", "head: 60 and over")
    with pytest.raises(ValueError, match="to part in three"):
        tertile_edges(np.array([np.nan]))


def test_the_share_of_noise_is_of_what_came_before_the_target() -> None:
    users = np.array([0, 0, 0, 2, 2, 2, 2])
    noisy = np.array([True, False, True, False, False, True, True])
    found = noise_share(users, noisy, target_users=np.array([2, 0, 0, 2]), histories=np.array([3, 0, 2, 2]))
    np.testing.assert_allclose(found, [1 / 3, np.nan, 0.5, 0.0])
    assert place(found, noise_bins().edges).tolist() == [3, -1, 3, 0]
    assert noise_bins().labels == ("none", "under 10 %", "10 % to under 25 %", "25 % and over")
    with pytest.raises(ValueError, match="user 0 has fewer"):
        noise_share(users, noisy, target_users=np.array([0]), histories=np.array([4]))
