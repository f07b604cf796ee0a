"""What a study could have found is said in its answer, beside what is not significant, and in a table."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest

from tasks.reporting import sensitivity
from tasks.reporting.analysis import FULL, SAMPLED, analysed
from tasks.reporting.grid import Item
from tasks.reporting.page import all_tables, write_report
from tasks.reporting.sights import sights
from tasks.reporting.words import answer, not_significant
from tasks.statistics.comparison import Row
from tasks.study.result import StudyResult
from tests.tasks.reporting.counting import RESAMPLES
from tests.tasks.reporting.reading import grid_of
from tests.tasks.study_results import Ranks, study


def test_the_table_has_the_smallest_gains_of_each_comparison(noise: tuple[StudyResult, Ranks]) -> None:
    result, _ = noise
    grid = grid_of(result, "sensitivity")
    assert [column.name for column in grid.columns[3:]] == [
        "Gain, %",
        "As it is",
        "3 seeds",
        "5 seeds",
        "10 seeds",
        "20 seeds",
        "Any number of seeds",
    ]
    compared = [(sight, method) for sight in sights(result) for method in sight.methods if sight.against(method)]
    assert len(grid.rows) == 2 * len(compared)
    for (sight, method), row in zip(compared, grid.rows[::2], strict=True):
        table, against = sight.tables[FULL], sight.row(FULL, method).against
        assert against is not None
        assert against.sensitivity is not None
        reference = sight.row(FULL, table.reference).over_users.value
        assert reference is not None
        assert row[1].text == method
        assert row[4].value == pytest.approx(100.0 * against.sensitivity.now / reference)
        assert row[4].text == f"{row[4].value:.1f}"
        falling = [float(str(item.value or 0.0)) for item in row[4:]]
        assert falling == sorted(falling, reverse=True)


def test_a_comparison_that_is_known_under_one_protocol_alone_has_its_row_apart_from_the_next(
    noise: tuple[StudyResult, Ranks],
) -> None:
    def unknown(row: Row) -> Row:
        return row if row.against is None else replace(row, against=replace(row.against, sensitivity=None))

    whole = noise[0]
    first = next(number for number, held in enumerate(whole.comparisons) if held.table.metric == SAMPLED)
    comparisons = list(whole.comparisons)
    table = comparisons[first].table
    comparisons[first] = replace(comparisons[first], table=replace(table, rows=tuple(map(unknown, table.rows))))
    grid = grid_of(replace(whole, comparisons=tuple(comparisons)), "sensitivity")
    assert len(grid.rows) < len(grid_of(whole, "sensitivity").rows)
    named = [(row[0].text, row[1].text) for row in grid.rows]
    assert grid.breaks == {number for number, name in enumerate(named) if name not in named[:number]}


def test_the_answer_says_what_the_median_comparison_finds(noise: tuple[StudyResult, Ranks]) -> None:
    result, _ = noise
    said = " ".join(map(str, answer(result)))
    gains = {
        metric: [
            sensitivity.smallest_gains(sight, metric, method)[sensitivity.NOW]
            for sight in sights(result)
            for method in sight.methods
            if sight.against(method)
        ]
        for metric in (FULL, SAMPLED)
    }
    full, sampled = (f"{median(held):.1f}" for held in gains.values())
    assert "significant in 80 % of such studies (full ranking, and among 100 negatives):" in said
    assert f"as it is: {full} % and {sampled} %" in said
    assert re.search(r"with 5 seeds each: [\d.]+ % and [\d.]+ %; with 10 seeds each: [\d.]+ % and", said)


@pytest.mark.parametrize("limit", [0.0, 0.001])
def test_where_nothing_is_left_to_users_no_limit_is_told(noise: tuple[StudyResult, Ranks], limit: float) -> None:
    result = with_limits(noise[0], {FULL: limit, SAMPLED: 0.002})
    held = grid_of(result, "sensitivity")
    assert held.columns[-1].name == "Any number of seeds"
    assert ("no limit is known; it is not that any gain would be found" in held.caption) == (not limit)
    cells = {row[2].text: row[-1] for row in held.rows}
    assert float(cells["NDCG@10, 100 negatives"].text) > 0.0
    assert (cells["NDCG@10, full ranking"] == Item("–")) == (not limit)
    (told,) = [one.items for one in answer(result) if "may be there all the same" in one.text]
    assert ("with any number of seeds: " in told[-1]) == bool(limit)
    assert told[0].startswith("as it is: ")


def with_limits(result: StudyResult, limits: Mapping[str, float]) -> StudyResult:
    """With these differences, by metric, as those that are found with any number of seeds."""

    def changed(row: Row, metric: str) -> Row:
        against = row.against
        if against is None or against.sensitivity is None or metric not in limits:
            return row
        return replace(row, against=replace(against, sensitivity=replace(against.sensitivity, endless=limits[metric])))

    return replace(
        result,
        comparisons=tuple(
            replace(one, table=replace(one.table, rows=tuple(changed(row, one.table.metric) for row in one.table.rows)))
            for one in result.comparisons
        ),
    )


def test_what_is_not_significant_says_what_would_have_been(noise: tuple[StudyResult, Ranks]) -> None:
    for sentence in not_significant(noise[0]):
        assert sentence.count("not significant:") == sentence.count("% would be found in 80 % of such studies")


def test_with_one_seed_it_is_over_users_alone(tmp_path: Path) -> None:
    result, ranks = study(methods=("plain", "equal"), ratios=(0.1,), seeds=(1,))
    result = analysed(result, ranks, resamples=RESAMPLES)
    said = " ".join(map(str, answer(result)))
    assert "as it is, with one seed each, over users alone: " in said
    assert "any number" not in said
    grid = grid_of(result, "sensitivity")
    assert [column.name for column in grid.columns[4:]] == ["As it is"]
    assert "Of seeds nothing is known here" in grid.caption
    page = write_report(result, None, tmp_path).read_text()
    assert 'id="sensitivity"' in page
    assert (tmp_path / "tables" / "sensitivity.md").is_file()


def test_a_file_of_before_which_does_not_know_says_nothing(noise: tuple[StudyResult, Ranks], tmp_path: Path) -> None:
    result, _ = noise
    before = replace(
        result,
        comparisons=tuple(
            replace(
                comparison,
                table=replace(
                    comparison.table,
                    rows=tuple(
                        replace(row, against=replace(row.against, sensitivity=None)) if row.against else row
                        for row in comparison.table.rows
                    ),
                ),
            )
            for comparison in result.comparisons
        ),
    )
    assert "sensitivity" not in [grid.name for grid in all_tables(before)]
    assert "80 % of such studies" not in " ".join([*map(str, answer(before)), *not_significant(before)])
    assert 'id="sensitivity"' not in write_report(before, None, tmp_path).read_text()
