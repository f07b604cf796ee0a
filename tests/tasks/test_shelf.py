"""What lies on the shelf is found, told apart and checked to the byte."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

import tasks.shelf.entries as entries_module
from tasks.corrupt import corrupt
from tasks.data_specs import CorruptSpec
from tasks.digests import file_digest
from tasks.errors import InputError
from tasks.home import Home
from tasks.shelf.entries import faults, find, indented, opened, read_shelf, standing_on
from tasks.snapshots import Snapshot, open_snapshot


def test_an_empty_shelf_has_nothing(home: Home) -> None:
    assert read_shelf(home) == ()


def test_noisy_ones_stand_under_their_clean_one(tiny_snapshot: Snapshot, home: Home) -> None:
    noisy = [corrupt(tiny_snapshot, CorruptSpec(ratio=ratio), home=home) for ratio in (0.1, 0.2)]
    entries = read_shelf(home)
    assert sorted((depth, entry.name) for depth, entry in indented(entries)) == [
        (0, tiny_snapshot.name),
        *sorted((1, snapshot.name) for snapshot in noisy),
    ]
    assert next(indented(entries))[1].name == tiny_snapshot.name
    assert {entry.name for entry in standing_on(tiny_snapshot.name, entries)} == {each.name for each in noisy}
    assert {entry.parent for entry in entries} == {None, tiny_snapshot.name}
    size = sum(path.stat().st_size for path in tiny_snapshot.path.iterdir())
    assert find(tiny_snapshot.name, entries).bytes == size

    shutil.rmtree(tiny_snapshot.path)
    assert [depth for depth, _ in indented(read_shelf(home))] == [0, 0]


def test_the_beginning_of_a_name_is_enough(tiny_snapshot: Snapshot, home: Home) -> None:
    shutil.copytree(tiny_snapshot.path, home.snapshots / f"{tiny_snapshot.name[:15]}_")
    entries = read_shelf(home)
    assert find(tiny_snapshot.name, entries).path == tiny_snapshot.path
    with pytest.raises(InputError, match=f"several snapshots' names: .*{tiny_snapshot.name}"):
        find(tiny_snapshot.name[:4], entries)
    for absent in ("zz", ""):
        with pytest.raises(InputError, match="there is no snapshot"):
            find(absent, entries)


def test_what_is_no_snapshot_is_told_apart(tiny_snapshot: Snapshot, home: Home) -> None:
    (home.snapshots / "notes.txt").write_text("mine", encoding="utf-8")
    (home.snapshots / "backup").mkdir()
    (home.snapshots / ".tmp-0123").mkdir()
    broken = home.snapshots / "0123456789abcdef"
    broken.mkdir()
    (broken / "manifest.json").write_text("{", encoding="utf-8")
    renamed = home.snapshots / "fedcba9876543210"
    shutil.copytree(tiny_snapshot.path, renamed)

    entries = {entry.name: entry for entry in read_shelf(home)}
    assert set(entries) == {tiny_snapshot.name, "notes.txt", "backup", broken.name, renamed.name}
    assert {name for name, entry in entries.items() if entry.is_foreign} == {"notes.txt", "backup"}
    assert opened(entries[tiny_snapshot.name]) == tiny_snapshot
    with pytest.raises(InputError, match="cannot be read as JSON"):
        opened(entries[broken.name])
    with pytest.raises(InputError, match=f"the manifest of another snapshot, {tiny_snapshot.name}"):
        opened(entries[renamed.name])
    assert faults(entries["backup"]) == [entries["backup"].fault]


def test_what_another_process_takes_away_meanwhile_is_left_out(
    tiny_snapshot: Snapshot, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    going = corrupt(tiny_snapshot, CorruptSpec(ratio=0.2), home=home)

    def opened_before_it_went(path: Path) -> Snapshot:
        snapshot = open_snapshot(path)
        if path == going.path:
            shutil.rmtree(path)
        return snapshot

    monkeypatch.setattr(entries_module, "open_snapshot", opened_before_it_went)
    assert [entry.name for entry in read_shelf(home)] == [tiny_snapshot.name]


@pytest.mark.parametrize("table", ["interactions", "targets", "users", "items"])
def test_every_flipped_byte_is_named(tiny_snapshot: Snapshot, home: Home, table: str) -> None:
    (entry,) = read_shelf(home)
    assert faults(entry) == []
    path = tiny_snapshot.path / f"{table}.parquet"
    whole = path.read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 25)):
        flipped = bytearray(whole)
        flipped[place] ^= 1
        path.write_bytes(flipped)
        assert faults(entry)[0] == f"{path} is damaged: its bytes differ from the manifest's checksum"
    path.unlink()
    assert faults(entry) == [f"{path} is missing"]


def test_all_faults_are_reported(tiny_snapshot: Snapshot, home: Home) -> None:
    tiny_snapshot.items.unlink()
    tiny_snapshot.users.write_bytes(b"PAR1")
    (entry,) = read_shelf(home)
    assert [fault.split(" is ")[0] for fault in faults(entry)] == [str(tiny_snapshot.items), str(tiny_snapshot.users)]


def test_other_rows_under_a_true_checksum_are_noticed(
    tiny_snapshot: Snapshot, home: Home, tmp_path: Path, rows_of: Callable[[Path], list[tuple[object, ...]]]
) -> None:
    shorter = tmp_path / "shorter.parquet"
    duckdb.sql(f"COPY (FROM '{tiny_snapshot.targets}' LIMIT 5) TO '{shorter}' (FORMAT parquet)")
    shutil.copy(shorter, tiny_snapshot.targets)
    manifest = tiny_snapshot.path / "manifest.json"
    content = json.loads(manifest.read_text(encoding="utf-8"))
    content["files"]["targets.parquet"] = file_digest(tiny_snapshot.targets)
    manifest.write_text(json.dumps(content), encoding="utf-8")
    (entry,) = read_shelf(home)
    found = faults(entry)
    assert "not that of its name" in found[0]
    assert any("targets test" in fault and "its tables hold 0" in fault for fault in found)
