"""Lists of items that may be offered, as people write them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.errors import InputError
from tasks.offerable import EVERYTHING, resolved
from tasks.specs import RecommendSpec

WORDS = ["b", "a", "cable, 2 m", "007", "ß"]
NUMBERS = [30, 7, 12, -5]


def test_without_a_list_everything_may_be_offered() -> None:
    assert resolved(RecommendSpec(), WORDS) == EVERYTHING
    assert (EVERYTHING.lists, EVERYTHING.unknown, EVERYTHING.name) == ({}, (), "")


def test_lists_come_in_the_models_own_type_and_order() -> None:
    words = resolved(RecommendSpec(only=("007", "new", "b"), exclude=("b",)), WORDS)
    assert words.lists == {"only": ["b", "007"], "exclude": ["b"]}
    numbers = resolved(RecommendSpec(only=("7", "30", "-5"), exclude=("12", "7", "12")), NUMBERS)
    assert numbers.lists == {"only": [30, 7, -5], "exclude": [7, 12]}
    assert numbers.unknown == ()


def test_what_the_model_does_not_know_is_counted_and_the_first_are_named() -> None:
    asked = RecommendSpec(only=("w", "b", "x", "w", "y", "z"), exclude=("a", "li\nne"))
    assert resolved(asked, WORDS).unknown == (
        "--only: of 5 ids the model does not know 4 (w, x, y, …)",
        "--exclude: of 2 ids the model does not know 1 (li\\nne)",
    )
    written_otherwise = RecommendSpec(exclude=("007", "7.0", "seven", "7", " 7", "0x7"))
    found = resolved(written_otherwise, NUMBERS)
    assert found.lists == {"exclude": [7]}
    assert found.unknown == ("--exclude: of 6 ids the model does not know 5 (007, 7.0, seven, …)",)


@pytest.mark.parametrize(
    ("spec", "ids", "said"),
    [
        ({"only": ["x"]}, WORDS, r"--only: of 1 id the model knows none \(x\): are ids written as in the log"),
        (
            {"exclude": ["07", "7.0", "+7", "x"]},
            NUMBERS,
            r"--exclude: of 4 ids the model knows none \(07, 7.0, \+7, ",
        ),
        ({"only": []}, WORDS, "^--only: no item that the model knows is left to be offered$"),
        ({"exclude": WORDS}, WORDS, "^--exclude: no item that the model knows is left"),
        ({"only": ["7", "new"], "exclude": ["7", "30"]}, NUMBERS, "^--only and --exclude: no item that the model"),
    ],
)
def test_lists_that_cannot_be_meant_are_refused(spec: dict[str, Any], ids: list[Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as refused:
        resolved(RecommendSpec.model_validate(spec), ids)
    assert "\n" not in str(refused.value)


def test_nothing_need_be_excluded() -> None:
    assert resolved(RecommendSpec(exclude=()), WORDS).lists == {"exclude": []}


@pytest.mark.parametrize(
    "text",
    ["b\n007\ncable, 2 m\nnew\n", "\ufeffb\r\n007\r\ncable, 2 m\r\n\r\nnew", "  b \n\n007\t\nb\ncable, 2 m\nnew"],
)
def test_a_file_has_one_id_a_line(write_log: Callable[..., Path], text: str) -> None:
    path = write_log(text, "stock.txt")
    found = resolved(RecommendSpec(only_file=str(path)), WORDS)
    assert found.lists == {"only": ["b", "cable, 2 m", "007"]}
    assert found.unknown == (f"--only-file {path}: of 4 ids the model does not know 1 (new)",)
    assert resolved(RecommendSpec(exclude_file=str(path)), WORDS).lists == {"exclude": ["b", "cable, 2 m", "007"]}


def test_a_file_that_cannot_be_read_is_said(write_log: Callable[..., Path], tmp_path: Path) -> None:
    missing, binary = tmp_path / "missing.txt", write_log(b"PAR1\xff\xfe\x00", "items.parquet")
    for path, said in (
        (missing, f"--exclude-file: {missing} does not exist"),
        (tmp_path, f"--exclude-file: {tmp_path} is a folder: name a text file of one id a line"),
        (binary, f"--exclude-file: {binary} is no text in UTF-8: write one id a line"),
    ):
        with pytest.raises(InputError) as refused:
            resolved(RecommendSpec(exclude_file=str(path)), WORDS)
        assert str(refused.value) == said


def test_an_empty_file_is_nothing_in_stock_and_nothing_recalled(write_log: Callable[..., Path]) -> None:
    path = write_log("\n", "empty.txt")
    with pytest.raises(InputError, match=r"--only-file .*empty\.txt: no item that the model knows is left"):
        resolved(RecommendSpec(only_file=str(path)), WORDS)
    assert resolved(RecommendSpec(exclude_file=str(path)), WORDS).lists == {"exclude": []}


def test_a_name_is_that_of_what_is_left() -> None:
    def name(**lists: tuple[str, ...]) -> str:
        return resolved(RecommendSpec.model_validate(lists), WORDS).name

    assert name(only=("a", "b")) == name(only=("b", "new", "a", "a")) == name(exclude=("ß", "007", "cable, 2 m"))
    assert len({name(), name(only=("a",)), name(only=("b",)), name(exclude=("a",)), name(only=("a", "b"))}) == 5


@pytest.mark.parametrize("name", ["only", "exclude"])
def test_a_list_is_said_once(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} and {name}_file are one list said twice"):
        RecommendSpec.model_validate({name: ["a"], f"{name}_file": "list.txt"})
