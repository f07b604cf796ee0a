"""A study's answer in sentences."""

import html
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from tasks.reporting.analysis import FULL, analysed
from tasks.reporting.figures import figures
from tasks.reporting.page import write_report
from tasks.reporting.sights import sights
from tasks.reporting.words import answer, collapse_words, not_significant
from tasks.study import terminal
from tasks.study.result import CellResult, StudyResult
from tests.tasks.reporting.counting import RESAMPLES
from tests.tasks.reporting.reading import grid_of, table
from tests.tasks.study_results import Ranks, study


def test_how_far_seeds_move_a_figure_is_said(noise: tuple[StudyResult, Ranks]) -> None:
    arms: dict[tuple[str, str], list[float]] = {}
    for cell in noise[0].cells:
        if cell.status == "done":
            arms.setdefault((cell.method, str(cell.noise)), []).append(cell.metrics[FULL])
    variances: dict[str, list[float]] = {}
    for (method, _), values in arms.items():
        if len(values) == 2:
            variances.setdefault(method, []).append(float(np.var(values, ddof=1)))
    moved = np.median([np.mean(own) ** 0.5 for own in variances.values()])
    said = " ".join(str(told) for told in answer(noise[0]))
    assert re.search(rf"From seed to seed a training's NDCG@10 in full ranking on \S+ moves by {moved:.4f} \(", said), (
        said
    )


def test_what_is_better_and_what_is_not_significant_is_said_in_words(noise: tuple[StudyResult, Ranks]) -> None:
    said = " ".join(str(told) for told in answer(noise[0]))
    assert re.search(
        r"Significantly better than plain under both protocols [^:]*: better: in all 3 comparisons, \+", said
    )
    equal = "under either protocol (NDCG@10, full ranking): equal: in all 3 comparisons"
    assert f"Not significantly different from plain {equal}" in said
    assert "At 25 % replace noise: better has the highest" in said  # the oracle is no rival
    assert "1 of 24 cells failed and is missing" in said
    every = not_significant(noise[0])
    assert len(every) == 3
    assert all(sentence.startswith("equal against plain") and "not significant" in sentence for sentence in every)


def test_what_is_left_at_the_most_noise_is_said_of_each_method(noise: tuple[StudyResult, Ranks]) -> None:
    (told,) = [one for one in answer(noise[0]) if "of a method's own NDCG@10" in one.text]
    assert told.text.startswith("What 25 % replace noise leaves")
    kept = next(held for held in noise[0].retained if held.metric == FULL and held.place.noise.ratio == 0.25)
    shares = {entry.method: entry.shown for entry in kept.retentions if entry.method != "oracle"}
    ordered = sorted(shares, key=lambda method: -(shares[method].value or 0.0))
    assert [item.partition(":")[0] for item in told.items] == ordered
    for item, method in zip(told.items, ordered, strict=True):
        share = shares[method]
        assert item == f"{method}: {100 * share.value:.1f} % ({100 * share.low:.1f} to {100 * share.high:.1f})"


def test_without_a_value_without_noise_nothing_is_said_to_be_left() -> None:
    result, ranks = study(methods=("plain", "better"), ratios=(0.25,), seeds=(1,))
    assert not [one for one in answer(analysed(result, ranks, resamples=RESAMPLES)) if "leaves of" in one.text]


def test_two_comparisons_are_both() -> None:
    result, ranks = study(methods=("plain", "better"), ratios=(0.0, 0.25), seeds=(1,))
    said = " ".join(map(str, answer(analysed(result, ranks, resamples=RESAMPLES))))
    assert "better: in both comparisons, +" in said


def test_a_study_where_nothing_is_significant_says_so() -> None:
    result, ranks = study(methods=("plain", "equal"), ratios=(0.1,), seeds=(1,))
    said = answer(analysed(result, ranks, resamples=RESAMPLES))
    assert "Nothing here is significant: in one comparison" in said[1].text
    assert said[2].text == (
        "Each method was trained on ml-100k with one seed: how much another would change is not known."
    )


def test_trainings_without_a_second_seed_are_told_whose_spread_is_theirs() -> None:
    result, ranks = study(methods=("plain", "better"), ratios=(0.25,))
    cells = result.cells[:-1]
    assert (cells[-1].method, cells[-1].seed) == ("better", 1)
    said = " ".join(map(str, answer(analysed(replace(result, cells=cells), ranks, resamples=RESAMPLES))))
    assert (
        "Some trainings on ml-100k have no second seed: how much one would change is taken from the others. From seed "
        "to seed a training's NDCG@10"
    ) in said
    assert "Each method" not in said


def same_with_every_seed(result: StudyResult, ranks: Ranks, *methods: str) -> StudyResult:
    """Analysed, with these methods as those that count: each seed's ranks are the first one's."""
    firsts = {(cell.method, str(cell.noise)): cell for cell in reversed(result.cells)}

    def counted(cell: CellResult) -> pd.DataFrame:
        return ranks(firsts[cell.method, str(cell.noise)] if cell.method in methods else cell)

    return analysed(result, counted, resamples=RESAMPLES)


def test_where_no_seed_changes_anything_none_is_said_to(tmp_path: Path) -> None:
    result, ranks = study(methods=("plain", "better"), ratios=(0.25,), seeds=(1, 2, 3))
    still = same_with_every_seed(result, ranks, "plain", "better")
    told = answer(still)
    said = " ".join(map(str, told))
    assert (
        "No method's NDCG@10 in full ranking on ml-100k changes from seed to seed: verdicts and intervals are" in said
    )
    assert "0.0000" not in said
    (could,) = [one.items for one in told if "may be there all the same" in one.text]
    assert [item.partition(":")[0] for item in could] == ["as it is, and with any number of seeds"]
    values = [item for row in grid_of(still, "comparison").rows for item in row if item.text.startswith("0.")]
    assert values
    assert not [item for item in values if "±" in item.text]


def test_what_seeds_change_is_told_of_those_methods_that_they_change() -> None:
    result, ranks = study(methods=("plain", "better", "equal"), ratios=(0.25,))
    whole = analysed(result, ranks, resamples=RESAMPLES)
    (alone,) = [row for row in grid_of(whole, "comparison").rows if row[1].text == "better"]
    still = same_with_every_seed(result, ranks, "plain", "equal")
    (moved,) = [one.text for one in answer(still) if " moves by " in one.text]
    assert "of the median method of those that another seed changes" in moved
    first, second = (cell.metrics[FULL] for cell in result.cells if cell.method == "better")
    assert f" moves by {abs(first - second) / 2**0.5:.4f} (" in moved
    rows = {row[1].text: row[2].text for row in grid_of(still, "comparison").rows}
    assert rows["better"] == alone[2].text
    assert "±" in rows["better"]
    assert "±" not in rows["plain"]


def test_with_one_seed_nothing_is_said_to_be_over_seeds(tmp_path: Path) -> None:
    result, ranks = study(methods=("plain", "better", "oracle"), ratios=(0.25,), seeds=(1,), oracle="oracle")
    whole = analysed(result, ranks, resamples=RESAMPLES)
    text = html.unescape(write_report(whole, None, tmp_path).read_text())
    in_the_terminal = " ".join(terminal.plain(whole).split())
    for told in (text, in_the_terminal):
        assert "over users and seeds" not in told
    assert "over users and, where any method has several, seeds, adjusted by Holm over all" in in_the_terminal
    for what in ("interval over users", "intervals over users", "t test over users"):
        assert f"{what} and, where any method has several, seeds" in text
    rows = table(tmp_path / "tables" / "comparison.csv")
    assert rows.p_over_users_and_seeds.isna().all()
    assert rows[rows.method != "plain"].p_over_users.notna().all()


def test_a_gain_under_one_protocol_alone_counts_as_none() -> None:
    result, ranks = study(methods=("plain", "better"), ratios=(0.0,))

    def disagreeing(cell: CellResult) -> pd.DataFrame:
        frame = ranks(cell)
        other = ranks(next(c for c in result.cells if c.method == "plain" and c.seed == cell.seed))
        return frame.assign(rank_sampled100=other["rank_sampled100"])

    said = " ".join(str(told) for told in answer(analysed(result, disagreeing, resamples=RESAMPLES)))
    assert "which counts as no gain (NDCG@10, full ranking): better: better, full ranking only" in said
    assert "At no noise: better has the highest NDCG@10 in the full ranking (" in said
    assert "), plain and better the highest among 100 negatives (" in said
    assert "Significantly" not in said


def test_a_gate_that_collapsed_is_counted_once_however_often_its_training_is_ranked() -> None:
    result, _ = study(methods=("plain", "equal"), ratios=(0.0,))
    shut = [
        replace(cell, figures=replace(cell.figures, collapsed=(cell.method, cell.seed) == ("equal", 2)))
        for cell in result.cells
    ]
    failed = replace(shut[0], status="failed", failure="no memory was left", train_key=None)
    told = collapse_words(replace(result, cells=(*shut, *shut, failed)))
    assert told is not None
    assert told.startswith("The gate of 1 of 4 trainings collapsed")
    assert "(1 of equal)" in told
    assert "alike" not in told


def test_items_that_have_become_alike_are_told_apart_from_a_gate_that_collapsed() -> None:
    result, _ = study(methods=("plain", "equal"), ratios=(0.0,))
    flat = [replace(cell, figures=replace(cell.figures, collapsed=cell.seed == 1)) for cell in result.cells]
    told = collapse_words(replace(result, cells=tuple(flat)))
    assert told is not None
    assert "The gate of 1 of 4 trainings collapsed in a layer or in all" in told
    assert "The item table of 1 of 4 trainings collapsed, whose items had become alike (1 of plain)" in told


def test_two_methods_that_are_the_same_are_both_first_and_their_difference_has_no_interval() -> None:
    made, ranks = study(methods=("plain", "equal"), ratios=(0.25,))
    of_plain = {cell.seed: cell for cell in made.cells if cell.method == "plain"}
    result = analysed(made, lambda cell: ranks(of_plain[cell.seed]), resamples=RESAMPLES)
    first, none, *_ = map(str, answer(result))
    assert first.startswith("At 25 % replace noise: plain and equal have the highest NDCG@10 under both protocols (")
    assert none.endswith("in one comparison, no method differs significantly from plain under either protocol.")
    assert [row[2].best for row in grid_of(result, "comparison").rows] == [True, True]
    (differences,) = (figure for figure in figures(result) if figure.name == "differences")
    assert "<title>equal: 0.00 %; not significant: the same as plain for every user</title>" in differences.panels[0]


def test_where_the_reference_failed_nothing_is_compared_and_that_is_said(tmp_path: Path) -> None:
    result, ranks = study(ratios=(0.0, 0.25))
    cells = [
        replace(cell, status="failed", failure="no memory was left", ranks=None, metrics={})
        if cell.method == "plain" and cell.noise and cell.noise.ratio
        else cell
        for cell in result.cells
    ]
    whole = analysed(replace(result, cells=tuple(cells)), ranks, resamples=RESAMPLES)
    quiet, noisy = sights(whole)
    assert (quiet.reference, quiet.compared) == ("plain", True)
    assert (noisy.reference, noisy.methods, noisy.compared) == ("plain", ("better", "equal"), False)
    said = " ".join(map(str, answer(whole)))
    assert "plain has no finished training at 25 % replace noise, so nothing is compared there." in said
    assert "equal against better" not in write_report(whole, None, tmp_path).read_text()
    rows = table(tmp_path / "tables" / "comparison.csv")
    assert rows[rows.noise_ratio == 0.25].gain_percent.isna().all()
    assert not rows[rows.noise_ratio == 0.25]["mean"].isna().any()
    assert not any(cut.place.noise for cut in whole.slices)
    verdicts = [(row["Method"], row["Noise"], row["Verdict"]) for row in terminal.table(whole)]
    assert ("plain", "0%", "reference") in verdicts
    assert {verdict for _, noise, verdict in verdicts if noise != "0%"} == {"not compared"}
    nowhere = replace(result, cells=tuple(cell for cell in cells if cell.noise and cell.noise.ratio))
    alone = analysed(nowhere, ranks, resamples=RESAMPLES)
    assert "one method only" not in " ".join(map(str, answer(alone)))
    assert write_report(alone, None, tmp_path).exists()


def test_a_method_that_is_left_alone_by_others_failures_is_not_called_the_only_or_the_best_one() -> None:
    result, ranks = study(methods=("plain", "better"), ratios=(0.25,), seeds=(1, 2))

    def told(*cells: CellResult) -> str:
        return " ".join(map(str, answer(analysed(replace(result, cells=cells), ranks, resamples=RESAMPLES))))

    plain = [cell for cell in result.cells if cell.method == "plain"]
    failed = [
        replace(cell, status="failed", failure="no time stamps", ranks=None, metrics={})
        for cell in result.cells
        if cell.method == "better"
    ]
    left = told(*plain, *failed)
    assert "Only plain has a finished training, so nothing is compared." in left
    assert "2 of 4 cells failed" in left
    assert "There is one method only, so nothing is compared." in told(*plain)
    for said in (left, told(*plain)):
        assert "plain has an NDCG@10 of 0." in said
        assert "highest" not in said
