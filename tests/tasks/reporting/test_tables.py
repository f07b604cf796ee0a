"""A study's tables say what its ranks say."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from models.engine.offers import OFFER_METRICS
from tasks.reporting.analysis import FULL, SAMPLED, analysed
from tasks.reporting.grid import records
from tasks.reporting.page import all_tables
from tasks.reporting.scales import signless
from tasks.reporting.tables import datasets, effects, offers
from tasks.study.result import CellResult, StudyResult
from tests.tasks.reporting.counting import RESAMPLES, by_user, finished, hit, ndcg
from tests.tasks.reporting.reading import grid_of, table
from tests.tasks.study_results import METHODS, USERS, Ranks, study


@pytest.mark.parametrize(("metric", "protocol"), [(FULL, "full_unseen"), (SAMPLED, "sampled100")])
def test_the_tables_numbers_are_those_of_the_ranks(
    noise: tuple[StudyResult, Ranks], page: Path, metric: str, protocol: str
) -> None:
    result, ranks = noise
    rows = table(page.parent / "tables" / "comparison.csv")
    for ratio in (0.0, 0.1, 0.25):
        base = by_user(result, ranks, "plain", ratio, protocol)
        for method in METHODS:
            row = rows[(rows.metric == metric) & (rows.method == method) & (rows.noise_ratio == ratio)].iloc[0]
            own = by_user(result, ranks, method, ratio, protocol)
            assert row["mean"] == pytest.approx(own.mean())
            assert row.low_users < own.mean() < row.high_users
            assert row.users == USERS
            if method != "plain":
                assert row.gain_percent == pytest.approx(100.0 * (own.mean() / base.mean() - 1.0))
                assert row.p_over_users == pytest.approx(stats.ttest_rel(own, base).pvalue)
            written = f"{row['mean']:.4f}"
            assert written in page.read_text()
            assert written in (page.parent / "tables" / "comparison.md").read_text()
            assert written in (page.parent / "tables" / "comparison.tex").read_text()


def test_the_comparison_shows_what_seeds_move_what_is_kept_and_which_is_the_highest(
    noise: tuple[StudyResult, Ranks],
) -> None:
    result, ranks = noise
    grid, columns = grid_of(noise[0], "comparison"), {"full_unseen": 2, "sampled100": 4}
    for row in grid.rows:
        method, ratio = row[1].text, float(str(row[0].value))
        for protocol, at in columns.items():
            means = {name: by_user(result, ranks, name, ratio, protocol).mean() for name in METHODS}
            assert row[at].best == (means.get(method) == max(means.values())), "the oracle is no rival"
            cells = finished(result, method, ratio)
            seeds = [cell.metrics[f"test.{protocol}.ndcg_at_10"] for cell in cells]
            told = f"{np.mean(seeds):.4f}"
            if len(seeds) == 2:
                told += f" ± {stats.t.ppf(0.975, 1) * np.std(seeds, ddof=1) / 2**0.5:.4f}"
            assert row[at].text == told
        own, base = (by_user(result, ranks, method, at, "full_unseen").mean() for at in (ratio, 0.0))
        assert row[-2].text == (f"{100.0 * own / base:.1f} %" if ratio else "–")
    assert grid.columns[-2].name == "Retention"


def test_the_gap_closed_is_on_three_yardsticks_what_the_ranks_say(noise: tuple[StudyResult, Ranks]) -> None:
    result, ranks = noise
    rows = {(row["Noise"], row["Method"]): row for row in records(grid_of(result, "gap-closed"))}
    assert len(rows) == 6  # two methods between the reference and the oracle at three ratios
    for method in ("better", "equal"):
        for heading, protocol, measure in (
            ("NDCG@10, full ranking", "full_unseen", ndcg),
            ("NDCG@10, 100 negatives", "sampled100", ndcg),
            ("Hit@10, 100 negatives", "sampled100", hit),
        ):
            own, noisy, oracle = (
                by_user(result, ranks, name, 0.25, protocol, measure=measure).mean()
                for name in (method, "plain", "oracle")
            )
            told = rows["25 % replace noise", method][heading]
            assert told.startswith(f"{signless(f'{100.0 * (own - noisy) / (oracle - noisy):.1f}')} % (")


def test_kinds_of_noise_are_beside_what_each_leaves() -> None:
    made, ranks = study(methods=("plain", "better"), kinds=("replace", "popular"), ratios=(0.0, 0.25), seeds=(1,))
    grid = grid_of(analysed(made, ranks, resamples=RESAMPLES), "kinds")
    assert [column.name for column in grid.columns] == ["Method", "25 % replace", "25 % popular"]
    of = {
        (cell.method, cell.noise.kind if cell.noise.ratio else None): cell.metrics[FULL]
        for cell in made.cells
        if cell.noise
    }
    for method, *items in grid.rows:
        for kind, item in zip(("replace", "popular"), items, strict=True):
            value = of[method.text, kind]
            assert item.text == f"{value:.4f}"
            assert item.note == f"{100.0 * value / of[method.text, None]:.1f} % kept"
            assert item.best == (method.text == "better")


def test_what_is_recommended_is_told_in_means_over_trainings_and_beside_those_without_noise(
    noise: tuple[StudyResult, Ranks], page: Path
) -> None:
    rows = {(row["Place"], row["Method"]): row for row in records(grid_of(noise[0], "offers"))}
    assert len(rows) == 4 * 3
    for (place, method), row in rows.items():
        ratio = {"no noise": 0.0, "10 % replace noise": 0.1, "25 % replace noise": 0.25}[place]
        for heading, metric, form in zip(
            ("Coverage@10", "Novelty@10, bits", "Gini@10"), OFFER_METRICS, ("{:.3f}", "{:.2f}", "{:.3f}"), strict=True
        ):
            own, without = (
                np.mean([cell.metrics[metric] for cell in finished(noise[0], method, at)]) for at in (ratio, 0.0)
            )
            assert row[heading] == form.format(own) + (f" ({100.0 * own / without:.1f} %)" if ratio else "")
    text = page.read_text()
    assert '<section id="offers"><h2>What is recommended</h2>' in text
    assert "Nothing here was tested" in text
    assert "offers.tex" in text


def test_where_trainings_lack_the_figures_nothing_is_told_of_what_they_recommend(
    noise: tuple[StudyResult, Ranks],
) -> None:
    """As those of an earlier version: not of one training in the place of two, and no table where all lack them."""

    def without(lacking: Callable[[CellResult], bool]) -> StudyResult:
        cells = (
            replace(cell, metrics={name: value for name, value in cell.metrics.items() if name not in OFFER_METRICS})
            if lacking(cell)
            else cell
            for cell in noise[0].cells
        )
        return replace(noise[0], cells=tuple(cells))

    assert offers(without(lambda _: True)) is None
    some = without(lambda cell: (cell.method, cell.noise and cell.noise.ratio, cell.seed) == ("equal", 0.1, 2))
    grid = offers(some)
    assert grid is not None
    missing = {(row["Place"], row["Method"]) for row in records(grid) if row["Gini@10"] == "–"}
    assert missing == {("10 % replace noise", "equal")}


def test_costs_are_means_over_trainings(noise: tuple[StudyResult, Ranks]) -> None:
    rows = {(row["Place"], row["Method"]): row for row in records(grid_of(noise[0], "costs"))}
    for method in METHODS:
        held = [cell.figures for cell in finished(noise[0], method, 0.25)]
        told = rows["25 % replace noise", method]
        for heading, values, form in (
            ("Seconds", [one.seconds for one in held], "{:.1f}"),
            ("Epochs", [one.epochs for one in held], "{:.1f}"),
            ("Chosen epoch", [one.best_epoch for one in held], "{:.1f}"),
            ("Seconds an epoch", [(one.seconds or 0.0) / (one.epochs or 1) for one in held], "{:.2f}"),
            ("Parameters", [120_000], "120,000"),
            ("Peak MiB", [(one.peak_memory_bytes or 0) / 2**20 for one in held], "{:.0f}"),
        ):
            assert told[heading] == form.format(np.mean(np.array(values, dtype=float)))


def test_effect_sizes_and_other_tests_are_shown_and_are_those_of_the_ranks(
    noise: tuple[StudyResult, Ranks], page: Path
) -> None:
    result, ranks = noise
    rows = table(page.parent / "tables" / "comparison.csv")
    for metric, protocol in ((FULL, "full_unseen"), (SAMPLED, "sampled100")):
        row = rows[(rows.metric == metric) & (rows.method == "better") & (rows.noise_ratio == 0.25)].iloc[0]
        own, base = (by_user(result, ranks, name, 0.25, protocol) for name in ("better", "plain"))
        gains = own - base
        assert row.d_z == pytest.approx(gains.mean() / gains.std(ddof=1))
        assert (row.share_better, row.share_worse) == ((gains > 0).mean(), (gains < 0).mean())
        assert row.superiority == pytest.approx((gains > 0).mean() + row.share_tied / 2)
        assert row.p_wilcoxon == pytest.approx(
            stats.wilcoxon(own, base, zero_method="pratt", correction=False, method="asymptotic").pvalue, rel=0.05
        )
        assert 0.0 < row.p_over_seeds < 1.0
        told = (page.parent / "tables" / "effects.md").read_text()
        assert f"| {signless(f'{row.d_z:+.3f}')} | {signless(f'{row.rank_biserial:+.3f}')} |" in told
        assert f"| {row.p_over_seeds:.3f} |" in told
    text = page.read_text()
    assert '<section id="effects"><h2>Effect sizes and other tests</h2>' in text
    assert "cannot be tested; two are needed" in text  # the oracle lost a seed
    assert "effects.tex" in text


def test_a_study_of_one_seed_has_no_column_for_tests_over_seeds() -> None:
    one, several = (
        effects(analysed(*study(methods=("plain", "better"), ratios=(0.0,), seeds=seeds), resamples=RESAMPLES))
        for seeds in ((1,), (1, 2))
    )
    assert one is not None
    assert several is not None
    assert [column.name for column in several.columns][-1] == "p, seeds"
    assert [column.name for column in one.columns] == [column.name for column in several.columns][:-1]
    assert {len(row) for row in one.rows} == {len(one.columns)}
    assert "over seeds" not in one.caption


def test_holm_counts_every_comparison_of_a_metric(page: Path) -> None:
    rows = table(page.parent / "tables" / "comparison.csv")
    rows = rows[(rows.metric == FULL) & rows.p_over_users_and_seeds.notna()]
    assert len(rows) == 9  # three methods beside the reference at three ratios
    running, expected = 0.0, {}
    for place, p in enumerate(sorted(rows.p_over_users_and_seeds)):
        running = max(running, min(1.0, (len(rows) - place) * p))
        expected[p] = running
    assert rows.p_holm.tolist() == pytest.approx([expected[p] for p in rows.p_over_users_and_seeds])


def test_the_snapshots_say_what_was_left_out_of_them(noise: tuple[StudyResult, Ranks]) -> None:
    clean, noisy = noise[0].datasets[:2]
    assert "Holds" not in records(datasets([clean, noisy]))[0]
    filtered = replace(noisy, filter={"by": "co-occurrence", "below": 0.4, "folds": 1})
    held = records(datasets([clean, noisy, filtered, replace(noisy, taken_out=True)]))
    assert [row["Holds"] for row in held] == [
        "the log as it is",
        "the log as it is",
        "the log filtered by the co-occurrence of items, which leaves out what is genuine with a probability below 0.4",
        "the log without what it is told, as an oracle, is noise",
    ]


def test_every_table_has_rows_of_text_by_heading(noise: tuple[StudyResult, Ranks]) -> None:
    held = {grid.name: records(grid) for grid in all_tables(noise[0])}
    assert held.keys() >= {"comparison", "hits", "gap-closed", "offers", "effects", "noise-detection", "costs", "cells"}
    first, better = held["comparison"][:2]
    assert first["Method"] == "plain"
    gains = ("Gain, %", "Gain, % (NDCG@10, 100 negatives)")
    assert all(re.match(r"\+\d+\.\d▲ \(\+", better[name]) for name in gains)
    assert better["Gain, %"] != better["Gain, % (NDCG@10, 100 negatives)"]
