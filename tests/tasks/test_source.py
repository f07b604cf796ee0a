"""The log that a job starts from."""

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.data_specs import Columns, ShoppersSpec, SourceSpec
from tasks.errors import InputError
from tasks.home import Home
from tasks.sources import datasets, source
from tasks.sources.datasets import DataSet
from tasks.sources.fetch import Kept, Remote
from tasks.sources.logs import identity
from tasks.sources.source import inspect_source, is_here, obtain_log
from tests.tasks.servers import Owner, archive, serving

TEXT = "user_id,item_id\na,1\na,2\na,3\n"


@pytest.fixture
def owner() -> Iterator[Owner]:
    with serving(Owner({"/log.csv": TEXT.encode()})) as served:
        yield served


def test_the_generated_log_is_made_once_and_again_the_same(home: Home, tmp_path: Path) -> None:
    asked = SourceSpec(shoppers=ShoppersSpec(users=10, items=50))
    first = obtain_log(asked, home=home)
    [made] = first.files
    written = made.path.stat().st_mtime_ns
    assert obtain_log(asked, home=home) == first
    assert made.path.stat().st_mtime_ns == written
    elsewhere = obtain_log(asked, home=Home(tmp_path / "elsewhere"))
    assert elsewhere.files[0].sha256 == made.sha256
    other = obtain_log(SourceSpec(shoppers=ShoppersSpec(users=10, items=50, seed=8)), home=home)
    assert other.files[0].path != made.path
    assert other.files[0].sha256 != made.sha256
    by_name = obtain_log(asked.model_copy(update={"path": "shoppers"}), home=home)
    assert identity(by_name) == identity(first)


def test_of_two_processes_that_generate_the_log_at_once_one_file_stays(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = SourceSpec(shoppers=ShoppersSpec(users=10, items=50))
    others: list[int] = []

    def slow(spec: ShoppersSpec, path: Path) -> Path:
        if not others:
            others.append(0)
            [file] = obtain_log(asked, home=home).files
            others[0] = file.path.stat().st_ino
        return generate(spec, path)

    generate = source.generate
    monkeypatch.setattr(source, "generate", slow)
    [file] = obtain_log(asked, home=home).files
    assert file.path.stat().st_ino == others[0]
    assert [path.name for path in home.sources.iterdir()] == [file.path.name]


@pytest.mark.parametrize("path", [None, "shoppers"])
@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"columns": {"user": "who", "time": "when"}}, "--user-col who names a column of a log"),
        ({"columns": {"time": "when"}}, "--time-col when names a column of a log"),
        ({"columns": {"noise": "user_id"}}, "--noise-col user_id names a column of a log"),
        ({"format": "movielens"}, "--format movielens says how a log's file is laid out"),
        ({"format": "parquetty"}, "--format parquetty says how a log's file is laid out"),
    ],
)
def test_what_is_said_of_a_log_is_refused_where_there_is_none(
    home: Home, path: str | None, said: dict[str, Any], told: str
) -> None:
    asked = SourceSpec.model_validate({"path": path, **said})
    for look in (inspect_source, obtain_log, is_here):
        with pytest.raises(InputError, match=f"^{told}.*: give the log's --source, or leave the option out$"):
            look(asked, home=home)
    assert not home.root.exists()


def test_what_is_said_of_the_generated_log_is_refused_beside_another(write_log: Callable[..., Path]) -> None:
    asked = SourceSpec(path=str(write_log(TEXT)), shoppers=ShoppersSpec(users=50))
    with pytest.raises(InputError, match=r"^source\.shoppers says .* is .*log\.csv: leave one of the two"):
        inspect_source(asked)
    assert SourceSpec.model_validate(SourceSpec(path=asked.path).model_dump()).shoppers == ShoppersSpec()


def test_a_log_is_known_by_its_bytes_and_how_they_are_read(home: Home, write_log: Callable[..., Path]) -> None:
    one, same, other = (
        SourceSpec(path=str(write_log(content, name)))
        for name, content in (("one.csv", TEXT), ("same.csv", TEXT), ("other.csv", TEXT + "b,1\n"))
    )
    known = [identity(obtain_log(asked, home=home)) for asked in (one, same, other)]
    assert known[0] == known[1] != known[2]
    os.utime(str(one.path), (1, 1))
    assert identity(obtain_log(one, home=home)) == known[0]
    renamed = one.model_copy(update={"columns": Columns(user="item_id", item="user_id")})
    assert identity(obtain_log(renamed, home=home)) != known[0]


def test_a_log_is_the_same_wherever_it_lies(
    home: Home, owner: Owner, write_log: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = identity(obtain_log(SourceSpec(path=str(write_log(TEXT))), home=home))
    there = obtain_log(SourceSpec(path=f"{owner.address}/log.csv?X-Amz-Signature=deadbeef"), home=home)
    assert identity(there) == here
    assert there.source.path == f"{owner.address}/log.csv"


def test_a_missing_file_is_said(home: Home, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.csv does not exist"):
        obtain_log(SourceSpec(path=str(tmp_path / "absent.csv")), home=home)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("~nobody-of-this-name/log.csv", "begins with a person's home folder, and this machine knows of none"),
        ("a" * 300 + ".csv", "cannot be read: File name too long"),
    ],
)
def test_what_cannot_be_a_path_is_said(home: Home, path: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        inspect_source(SourceSpec(path=path), home=home)


def test_a_pattern_stands_for_its_files_in_the_order_of_their_names(
    home: Home, tmp_path: Path, write_log: Callable[..., Path]
) -> None:
    written = [write_log(TEXT + f"b,{day}\n", f"2024-{day}.csv") for day in ("03", "01", "02")]
    write_log(TEXT, "2023-12.csv")
    write_log(TEXT, ".2024-hidden.csv")
    (tmp_path / "2024-folder").mkdir()
    log = obtain_log(SourceSpec(path=str(tmp_path / "2024-*")), home=home)
    assert [file.path for file in log.files] == sorted(written)
    assert [file.sha256 for file in log.files] == [
        hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(written)
    ]
    inspect_source(SourceSpec(path=str(tmp_path / "2024-0[12].csv")))


def test_a_pattern_that_matches_nothing_is_refused(home: Home, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"2025-\*\.csv matches no file"):
        obtain_log(SourceSpec(path=str(tmp_path / "2025-*.csv")), home=home)


def test_a_file_with_the_characters_of_a_pattern_is_that_file(
    home: Home, tmp_path: Path, write_log: Callable[..., Path]
) -> None:
    literal = write_log(TEXT, "log[1].csv")
    write_log(TEXT, "log1.csv")
    log = obtain_log(SourceSpec(path=str(literal)), home=home)
    assert [file.path for file in log.files] == [literal]


def test_a_folder_is_refused(home: Home, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder"):
        inspect_source(SourceSpec(path=str(tmp_path)))


def test_an_address_is_inspected_without_its_being_fetched(home: Home, owner: Owner) -> None:
    signed = f"{owner.address}/log.csv?X-Amz-Signature={'f' * 500}"  # longer than a file's name may be
    inspect_source(SourceSpec(path=signed), home=home)
    assert len(owner.heard) == 1
    assert not home.root.exists()
    with pytest.raises(InputError, match="does not exist"):
        inspect_source(SourceSpec(path=f"{owner.address}/absent.csv"), home=home)
    with pytest.raises(InputError, match=r"cannot be reached"):
        inspect_source(SourceSpec(path="http://127.0.0.1:9/log.csv"), home=home)
    with pytest.raises(InputError, match="cannot be fetched"):
        inspect_source(SourceSpec(path="ftp://host/log.csv"), home=home)


def test_an_address_that_could_not_be_read_so_is_not_asked(home: Home, owner: Owner) -> None:
    address = f"{owner.address}/log.csv"
    for look in (inspect_source, obtain_log):
        with pytest.raises(InputError, match="there is no format 'parquetty': choose from interactions, "):
            look(SourceSpec(path=address, format="parquetty"), home=home)
        with pytest.raises(InputError, match="the steam format has fixed columns"):
            look(SourceSpec(path=address, format="steam", columns=Columns(time="at")), home=home)
    assert owner.heard == []


def test_who_fetches_may_be_chosen(home: Home, write_log: Callable[..., Path]) -> None:
    asked: list[str] = []

    def fetch(remote: Remote) -> Kept:
        asked.append(remote.address)
        return Kept(write_log(TEXT), "f" * 64)

    log = obtain_log(SourceSpec(path="https://host/log.csv?token=s3cret"), home=home, fetch=fetch)
    assert asked == ["https://host/log.csv?token=s3cret"]
    assert log.files[0].sha256 == "f" * 64
    assert "s3cret" not in repr(log)


def test_a_spec_is_written_without_the_secrets_of_its_address() -> None:
    spec = SourceSpec(path="https://ann:s3cret@host/log.csv?sig=deadbeef")
    assert spec.model_dump()["path"] == "https://host/log.csv"
    assert not re.search("ann|s3cret|deadbeef", spec.model_dump_json())
    assert SourceSpec(path="logs/2024-?.csv").model_dump()["path"] == "logs/2024-?.csv"


@pytest.fixture
def as_owned(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> DataSet:
    """MovieLens 100K, of which the test's own server is the owner."""
    rows = b"".join(b"%d\t%d\t%d\t%d\n" % (n % 9 + 1, n + 1, n % 5 + 1, 880_000_000 + n) for n in range(100))
    packed = archive({"ml-100k/u.data": rows, "ml-100k/README": b"terms"})
    owner.files = {"/ml-100k.zip": packed, "/ml-100k.zip.md5": hashlib.md5(packed).hexdigest().encode()}
    entry = replace(
        datasets.DATASETS["ml-100k"],
        address=f"{owner.address}/ml-100k.zip",
        md5_address=f"{owner.address}/ml-100k.zip.md5",
    )
    monkeypatch.setattr(source, "known", lambda name: entry if name == "ml-100k" else None)
    return entry


def test_a_public_data_set_is_fetched_from_its_owner_by_its_name(home: Home, as_owned: DataSet) -> None:
    inspect_source(SourceSpec(path="ml-100k"), home=home)
    log = obtain_log(SourceSpec(path="ml-100k"), home=home)
    assert log.source.format == "movielens-100k"
    assert log.files[0].path.name == "u.data"
    assert log.files[0].path.read_bytes().count(b"\n") == 100


def test_a_file_of_a_data_sets_name_is_that_file(
    home: Home, as_owned: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ml-100k").write_text("1\t2\t3\t880000000\n")
    log = obtain_log(SourceSpec(path="ml-100k", format="movielens-100k"), home=home)
    assert log.files[0].path == Path("ml-100k")


def test_a_data_set_that_a_person_has_to_get_says_how(home: Home) -> None:
    with pytest.raises(InputError, match=r"7z x .* --source yoochoose-clicks\.dat --format yoochoose"):
        inspect_source(SourceSpec(path="yoochoose"), home=home)
