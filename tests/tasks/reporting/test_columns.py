"""Text in columns, and the words in it."""

import pytest

from tasks.reporting.columns import columns, ruled
from tasks.wording import counted, moment, on_one_line


def test_columns_stand_under_their_headings_and_numbers_to_the_right() -> None:
    told = columns(("ITEM", "N"), [("tea", "1,000"), ("green tea", "2")], right=("N",))
    assert told.split("\n") == [
        "ITEM           N",
        "tea        1,000",
        "green tea      2",
    ]


def test_wide_letters_and_marks_take_the_places_that_a_terminal_gives_them() -> None:
    told = columns(("ITEM", "N"), [("日本語", "1"), ("cafe\u0301", "2"), ("\u2068שלום\u2069", "3")], right=("N",))
    assert told.split("\n") == ["ITEM    N", "日本語  1", "cafe\u0301    2", "\u2068שלום\u2069    3"]


def test_a_ruled_table_has_what_is_no_number_to_the_left() -> None:
    told = ruled([{"Method": "plain", "Hit@10": "0.5"}, {"Method": "denoised", "Hit@10": "–"}], left=("Method",))
    assert told.split("\n") == [
        "Method    Hit@10",
        "────────  ──────",
        "plain        0.5",
        "denoised       –",
    ]


@pytest.mark.parametrize(
    ("held", "shown"),
    [
        ("two\nlines", r"two\nlines"),
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        ("a\u2028b", r"a\u2028b"),
        ("thé — 茶", "thé — 茶"),
    ],
)
def test_an_id_neither_breaks_its_line_nor_steers_the_terminal(held: str, shown: str) -> None:
    assert on_one_line(held) == shown
    assert columns(("ID",), [(held,)]).split("\n") == ["ID", shown]


def test_one_is_singular() -> None:
    assert [counted(number, "cell") for number in (0, 1, 2_000)] == ["0 cells", "1 cell", "2,000 cells"]


def test_times_are_told_to_the_ends_of_the_calendar() -> None:
    assert moment(-1) == "1969-12-31 23:59"
    assert moment(253_402_300_799_999_999, "%Y-%m-%d %H:%M:%S") == "9999-12-31 23:59:59"
    assert moment(2**62) == "–"
