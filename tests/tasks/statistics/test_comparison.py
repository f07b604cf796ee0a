"""The table of a comparison and its verdicts."""

import json
import math
from dataclasses import asdict

import numpy as np
import pytest
import scipy.stats

from tasks.statistics import seeds
from tasks.statistics.comparison import Table, jointly
from tasks.statistics.panel import align
from tests.tasks.statistics.panels import USERS, panel_of, rng, table_of, training


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
