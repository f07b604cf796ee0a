"""From single trainings to the table."""

import pytest

from tasks.compare import COMPARED, RETAINED, Cell, compare


def cell(method: str, ratio: float, seed: int, value: float) -> Cell:
    return Cell(method, ratio, f"{ratio:.0%} swap", seed, dict.fromkeys(COMPARED, value))


def test_means_deviations_and_retention_over_seeds() -> None:
    rows = compare(
        [
            cell("b", 0.2, 1, 0.1),
            cell("b", 0.0, 1, 0.2),
            cell("a", 0.0, 1, 0.4),
            cell("a", 0.2, 1, 0.1),
            cell("b", 0.2, 2, 0.2),
            cell("b", 0.0, 2, 0.4),
            cell("a", 0.0, 2, 0.4),
            cell("a", 0.2, 2, 0.3),
        ],
        least=0.0,
    )
    assert [(row.method, row.ratio, row.noise, row.seeds) for row in rows] == [
        ("b", 0.0, "0% swap", 2), ("b", 0.2, "20% swap", 2), ("a", 0.0, "0% swap", 2), ("a", 0.2, "20% swap", 2),
    ]  # fmt: skip
    assert [row.means[RETAINED] for row in rows] == pytest.approx([0.3, 0.15, 0.4, 0.2])
    assert [row.retention for row in rows] == pytest.approx([1.0, 0.5, 1.0, 0.5])
    assert rows[3].deviations[RETAINED] == pytest.approx(0.02**0.5)  # of 0.1 and 0.3, with n - 1


def test_retention_is_of_the_lowest_ratio_that_was_asked_for() -> None:
    cells = [cell("a", 0.3, 1, 0.2), cell("a", 0.1, 1, 0.4)]
    assert [row.retention for row in compare(cells, least=0.1)] == [1.0, 0.5]


def test_a_method_whose_trainings_there_failed_has_no_retention() -> None:
    """Of all its own, or of every method's: what is left is not measured from a noisier log instead."""
    known = [cell("a", 0.2, 1, 0.2), cell("b", 0.0, 1, 0.4), cell("b", 0.2, 1, 0.3)]
    assert [(row.method, row.ratio, row.retention) for row in compare(known, least=0.0)] == [
        ("a", 0.2, None), ("b", 0.0, 1.0), ("b", 0.2, pytest.approx(0.75)),
    ]  # fmt: skip
    assert [row.retention for row in compare([known[0], known[2]], least=0.0)] == [None, None]


def test_with_one_seed_there_is_no_deviation_and_of_nothing_no_share() -> None:
    (row,) = compare([cell("a", 0.0, 1, 0.0)], least=0.0)
    assert row.deviations[RETAINED] is None
    assert row.retention is None


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(ValueError, match="no trainings"):
        compare([], least=0.0)
