"""The log that a job starts from."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.errors import InputError
from tasks.home import Home
from tasks.source import identity, obtain_log
from tasks.specs import Columns, ShoppersSpec, SourceSpec


def test_the_generated_log_is_made_once_and_again_the_same(home: Home, tmp_path: Path) -> None:
    source = SourceSpec(shoppers=ShoppersSpec(users=10, items=50))
    first = obtain_log(source, home=home)
    [made] = first.files
    written = made.path.stat().st_mtime_ns
    assert obtain_log(source, home=home) == first
    assert made.path.stat().st_mtime_ns == written
    elsewhere = obtain_log(source, home=Home(tmp_path / "elsewhere"))
    assert elsewhere.files[0].sha256 == made.sha256
    other = obtain_log(SourceSpec(shoppers=ShoppersSpec(users=10, items=50, seed=8)), home=home)
    assert other.files[0].path != made.path
    assert other.files[0].sha256 != made.sha256


def test_a_log_is_known_by_its_bytes_and_how_they_are_read(home: Home, write_log: Callable[..., Path]) -> None:
    text = "user_id,item_id\na,1\na,2\na,3\n"
    one, same, other = (
        SourceSpec(path=str(write_log(content, name)))
        for name, content in (("one.csv", text), ("same.csv", text), ("other.csv", text + "b,1\n"))
    )
    known = [identity(obtain_log(source, home=home)) for source in (one, same, other)]
    assert known[0] == known[1] != known[2]
    renamed = one.model_copy(update={"columns": Columns(user="item_id", item="user_id")})
    assert identity(obtain_log(renamed, home=home)) != known[0]


def test_a_missing_file_is_said(home: Home, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.csv"):
        obtain_log(SourceSpec(path=str(tmp_path / "absent.csv")), home=home)
