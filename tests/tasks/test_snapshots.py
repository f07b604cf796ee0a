"""Snapshots are named by what they say, and damage is noticed."""

import json
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from tasks.data_specs import Columns, PrepareSpec, SourceSpec
from tasks.errors import InputError
from tasks.home import Home
from tasks.ingest import ingest
from tasks.snapshots import Snapshot, Traits, logical_digest, open_snapshot, verify_files
from tasks.sources.source import log_of


def test_a_snapshot_opens_as_it_was_written(tiny_snapshot: Snapshot, home: Home) -> None:
    assert open_snapshot(tiny_snapshot.path) == tiny_snapshot
    assert tiny_snapshot.path == home.snapshots / tiny_snapshot.digest[:16]
    assert sorted(path.name for path in tiny_snapshot.path.iterdir()) == [
        "interactions.parquet",
        "items.parquet",
        "manifest.json",
        "targets.parquet",
        "users.parquet",
    ]
    assert tiny_snapshot.manifest.parent is None
    assert tiny_snapshot.manifest.clean == tiny_snapshot.digest
    assert [source.name for source in tiny_snapshot.manifest.sources] == ["tiny.csv"]
    verify_files(tiny_snapshot)


@pytest.mark.parametrize("settings", ["ROW_GROUP_SIZE 2048", "COMPRESSION snappy, PARQUET_VERSION v2"])
def test_how_the_files_are_stored_makes_no_difference(tiny_snapshot: Snapshot, tmp_path: Path, settings: str) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for path in tiny_snapshot.path.glob("*.parquet"):
        duckdb.sql(f"COPY (FROM '{path}') TO '{other / path.name}' (FORMAT parquet, {settings})")
    traits = Traits.model_validate(tiny_snapshot.manifest.model_dump(include=set(Traits.model_fields)))
    assert logical_digest(other, traits) == tiny_snapshot.digest


@pytest.mark.parametrize(
    "change",
    [
        "interactions: SELECT * REPLACE (CASE WHEN user = 3 AND position = 1 THEN 1 ELSE item END AS item)",
        "interactions: SELECT * REPLACE (if(user = 3 AND position = 1, 'x', noise_kind) AS noise_kind)",
        "interactions: SELECT * REPLACE (CASE WHEN user = 3 AND position = 1 THEN 0 ELSE time END AS time)",
        "targets: SELECT * REPLACE ((CASE WHEN target = 3 THEN 0 ELSE history END)::INTEGER AS history)",
        "users: SELECT * REPLACE (CASE WHEN user = 3 THEN 'x' ELSE user_id END AS user_id)",
        "items: SELECT * EXCLUDE (item_id), item_id AS name",
    ],
)
def test_any_change_of_what_they_say_makes_a_difference(tiny_snapshot: Snapshot, tmp_path: Path, change: str) -> None:
    table, query = change.split(": ", 1)
    other = tmp_path / "other"
    other.mkdir()
    for path in tiny_snapshot.path.glob("*.parquet"):
        select = query if path.stem == table else "SELECT *"
        duckdb.sql(f"COPY ({select} FROM '{path}') TO '{other / path.name}' (FORMAT parquet)")
    traits = Traits.model_validate(tiny_snapshot.manifest.model_dump(include=set(Traits.model_fields)))
    assert logical_digest(other, traits) != tiny_snapshot.digest
    assert logical_digest(tiny_snapshot.path, traits) == tiny_snapshot.digest
    assert logical_digest(tiny_snapshot.path, traits.model_copy(update={"labelled": False})) != tiny_snapshot.digest


def test_the_number_of_threads_makes_no_difference(
    tiny_log: Path, tiny_snapshot: Snapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = duckdb.connect
    source = SourceSpec(path=str(tiny_log), columns=Columns(time="ts", noise="noise"))
    for threads in (1, 7):

        def with_threads(database: str, config: dict[str, str], threads: int = threads) -> duckdb.DuckDBPyConnection:
            return connect(database, config={**config, "threads": str(threads)})

        monkeypatch.setattr(duckdb, "connect", with_threads)
        home = Home(tmp_path / f"threads-{threads}")
        assert ingest(log_of(source, tiny_log), PrepareSpec(), home=home).digest == tiny_snapshot.digest


def test_the_same_content_is_not_written_twice(
    tiny_log: Path,
    tiny_snapshot: Snapshot,
    ingest_file: Callable[..., Snapshot],
    left_in: Callable[[], list[Path]],
) -> None:
    before = tiny_snapshot.interactions.stat().st_mtime_ns
    assert ingest_file(tiny_log, time="ts", noise="noise") == tiny_snapshot
    assert tiny_snapshot.interactions.stat().st_mtime_ns == before
    assert left_in() == [tiny_snapshot.path]


def test_a_damaged_byte_is_named(tiny_log: Path, tiny_snapshot: Snapshot, ingest_file: Callable[..., Snapshot]) -> None:
    content = bytearray(tiny_snapshot.targets.read_bytes())
    content[len(content) // 2] ^= 1
    tiny_snapshot.targets.write_bytes(content)
    with pytest.raises(InputError, match=r"targets\.parquet is damaged"):
        verify_files(tiny_snapshot)
    with pytest.raises(InputError, match=r"targets\.parquet is damaged"):
        ingest_file(tiny_log, time="ts", noise="noise")
    tiny_snapshot.targets.unlink()
    with pytest.raises(InputError, match=r"targets\.parquet is missing"):
        verify_files(tiny_snapshot)


def test_a_newer_format_is_refused_in_one_sentence(tiny_snapshot: Snapshot) -> None:
    path = tiny_snapshot.path / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 3, "surprise": True}))
    with pytest.raises(InputError, match="newer version of this project"):
        open_snapshot(tiny_snapshot.path)


def test_an_older_format_is_refused_with_what_to_do(tiny_snapshot: Snapshot) -> None:
    path = tiny_snapshot.path / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 1}))
    with pytest.raises(InputError, match=r"older version .*snapshot format 1.*: ingest the log again"):
        open_snapshot(tiny_snapshot.path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "not a snapshot's manifest"),
        ('{"digest": 3}', "not a snapshot's manifest"),
    ],
)
def test_a_broken_manifest_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(InputError, match=message):
        open_snapshot(tmp_path)


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a snapshot"):
        open_snapshot(tmp_path / "absent")
