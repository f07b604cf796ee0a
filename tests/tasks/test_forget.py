"""A forgotten person is gone from every table, and the others are as they were."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tasks.corrupt import corrupt
from tasks.data_specs import (
    CorruptSpec,
    LeaveOneOut,
    PrepareSpec,
    SessionSplit,
    Split,
    TemporalSplit,
    UserSplit,
)
from tasks.errors import InputError
from tasks.home import Home
from tasks.shelf.entries import faults, find, read_shelf
from tasks.shelf.forget import forget, holders, ids_in, remains
from tasks.snapshots import Snapshot
from tasks.validate import validate

Row = tuple[Any, ...]
Ingest = Callable[..., Snapshot]
Write = Callable[..., Path]

SPLITS: list[Split] = [LeaveOneOut(), SessionSplit(validation=0.3), TemporalSplit(), UserSplit()]


def csv(rows: list[Row]) -> str:
    return "\n".join(["user_id,item_id,ts,noise", *(",".join(map(str, row)) for row in rows)]) + "\n"


def by_raw_ids(snapshot: Snapshot) -> dict[str, list[Row]]:
    """The tables with raw ids in place of numbers."""
    with duckdb.connect() as connection:
        for table in ("interactions", "targets", "users", "items"):
            connection.execute(f"CREATE VIEW {table} AS FROM read_parquet('{snapshot.path / table}.parquet')")
        joined = 'JOIN users USING ("user") JOIN items USING (item)'
        queries = {
            "interactions": f'SELECT user_id, position, item_id, "time", noise_kind FROM interactions {joined}',
            "targets": f"SELECT user_id, split, history, item_id FROM targets {joined}",
            "users": "SELECT user_id, train_length FROM users",
            "items": "SELECT item_id FROM items",
        }
        return {table: sorted(connection.execute(query).fetchall(), key=str) for table, query in queries.items()}


def test_it_is_the_snapshot_of_the_log_without_them(
    tiny_rows: list[Row], tiny_snapshot: Snapshot, ingest_file: Ingest, write_log: Write, home: Home
) -> None:
    alone = [("u30", "only-theirs", 1_000_000_000 + event, "") for event in range(6)]
    with_them = ingest_file(write_log(csv([*tiny_rows, *alone])), time="ts", noise="noise")
    done = forget(with_them, ["u30"], home=home)
    assert done.new.digest == tiny_snapshot.digest

    rest = [row for row in tiny_rows if row[0] not in ("u05", "u29")]
    done = forget(tiny_snapshot, ["u29", "u05", "u29"], home=home)
    assert (done.old, done.users) == (tiny_snapshot, 2)
    assert done.new.digest == ingest_file(write_log(csv(rest)), time="ts", noise="noise").digest


@pytest.mark.parametrize("split", SPLITS, ids=lambda split: split.kind)
def test_the_others_are_as_they_were(tiny_log: Path, ingest_file: Ingest, home: Home, split: Split) -> None:
    old = ingest_file(tiny_log, prepare=PrepareSpec(split=split, user_core=3), time="ts", noise="noise")
    before = by_raw_ids(old)
    who = before["targets"][0][0]
    new = forget(old, [who], home=home).new
    after = by_raw_ids(new)
    for table in ("interactions", "targets", "users"):
        assert after[table] == [row for row in before[table] if row[0] != who]
        assert any(row[0] == who for row in before[table])
    theirs = {row[2] for row in after["interactions"]}
    assert after["items"] == [row for row in before["items"] if row[0] in theirs]
    assert faults(find(new.name, read_shelf(home))) == []


@pytest.mark.slow
@pytest.mark.parametrize("split", SPLITS, ids=lambda split: split.kind)
def test_it_meets_what_is_expected_of_a_snapshot(tiny_log: Path, ingest_file: Ingest, home: Home, split: Split) -> None:
    old = ingest_file(tiny_log, prepare=PrepareSpec(split=split, user_core=3), time="ts", noise="noise")
    new = forget(old, [by_raw_ids(old)["targets"][0][0]], home=home).new
    assert not validate(new.path, docs=home.docs).failures


def test_what_it_says_of_itself(tiny_snapshot: Snapshot, home: Home) -> None:
    first = forget(tiny_snapshot, ["u11", "u12"], home=home).new
    second = forget(first, ["u13"], home=home).new
    text = (second.path / "manifest.json").read_text(encoding="utf-8")
    assert not any(f"u{number}" in text for number in (11, 12, 13))
    assert json.loads(text)["spec"] == {**tiny_snapshot.manifest.spec, "forget": 3}
    assert (second.manifest.parent, second.manifest.clean) == (first.digest, second.digest)
    assert second.manifest.sources == tiny_snapshot.manifest.sources
    found = {entry.name: entry.stands_on for entry in read_shelf(home)}
    assert found[second.name] == frozenset()
    # Noise can be put into it as into any clean one.
    noisy = corrupt(second, CorruptSpec(ratio=0.2), home=home)
    assert noisy.manifest.spec["forget"] == 3


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_part_of_the_split_is_never_left_empty(
    tiny_log: Path, ingest_file: Ingest, home: Home, left_in: Callable[[], list[Path]], split: str
) -> None:
    """Though others would be left to rank: what is chosen or measured there would be of nobody."""
    snapshot = ingest_file(tiny_log, prepare=PrepareSpec(split=SessionSplit()), time="ts", noise="noise")
    tables = by_raw_ids(snapshot)
    theirs = {row[0] for row in tables["targets"] if row[1] == split}
    with pytest.raises(InputError, match=f"would have no target of {split}: ingest the log without them"):
        forget(snapshot, sorted(theirs), home=home)
    trained = [user for user, length in tables["users"] if length]
    with pytest.raises(InputError, match="would have nobody to train on"):
        forget(snapshot, trained, home=home)
    assert left_in() == [snapshot.path]


def test_items_left_with_few_events_are_no_fault_of_the_snapshot(
    tiny_log: Path, ingest_file: Ingest, home: Home, rows_of: Callable[[Path], list[Row]]
) -> None:
    prepare = PrepareSpec(user_core=5, item_core=11)
    snapshot = ingest_file(tiny_log, prepare=prepare, time="ts", noise="noise")
    counts = Counter(row[1] for row in rows_of(snapshot.interactions))
    rarest = min(counts, key=lambda item: counts[item])
    who = next(row[0] for row in rows_of(snapshot.interactions) if row[1] == rarest)
    (user_id,) = (row[1] for row in rows_of(snapshot.users) if row[0] == who)
    new = forget(snapshot, [user_id], home=home).new
    assert min(Counter(row[1] for row in rows_of(new.interactions)).values()) < 11
    assert validate(new.path, docs=home.docs).failures == ()


def test_ids_are_exact(ingest_file: Ingest, write_log: Write, home: Home) -> None:
    rows = [(user, f"i{event}", event, "") for user in ("7", "07", "\u00e4\u00f6") for event in range(4)]
    snapshot = ingest_file(write_log(csv(rows)), prepare=PrepareSpec(promotion=0))
    assert [row[0] for row in by_raw_ids(forget(snapshot, ["7"], home=home).new)["users"]] == ["07", "\u00e4\u00f6"]
    with pytest.raises(InputError, match=r"has no user '0?7 ': the nearest ids are '"):
        forget(snapshot, ["07", "07 "], home=home)
    assert len(read_shelf(home)) == 2


def test_an_id_may_have_a_comma(ingest_file: Ingest, write_log: Write) -> None:
    rows = [f'"{user}",i{event}' for user in ("a,b", "a", "c") for event in range(4)]
    snapshot = ingest_file(write_log("user_id,item_id\n" + "\n".join(rows) + "\n"))
    assert ids_in("a,b", snapshot) == ["a,b"]
    assert ids_in("a, c", snapshot) == ["a", "c"]
    assert ids_in("x", snapshot) == ["x"]


def test_what_cannot_be_done(tiny_snapshot: Snapshot, home: Home, ingest_file: Ingest, write_log: Write) -> None:
    noisy = corrupt(tiny_snapshot, CorruptSpec(ratio=0.2), home=home)
    with pytest.raises(InputError, match=f"forget the person in the clean one, {tiny_snapshot.name}"):
        forget(noisy, ["u20"], home=home)
    single = ingest_file(write_log("user_id,item_id\na,1\na,2\na,3\nb,1\n"))
    with pytest.raises(InputError, match=f"the snapshot {single.name} would have no target of validation"):
        forget(single, ["a"], home=home)
    tiny_snapshot.targets.write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"targets\.parquet is damaged"):
        forget(tiny_snapshot, ["u20"], home=home)


def test_what_still_knows_them_is_named(
    tiny_log: Path, tiny_snapshot: Snapshot, ingest_file: Ingest, write_log: Write, home: Home
) -> None:
    noisy = corrupt(tiny_snapshot, CorruptSpec(ratio=0.2), home=home)
    other_way = ingest_file(tiny_log, time="ts", prepare=PrepareSpec(user_core=5))
    namesake = ingest_file(write_log(csv([("u20", f"i{event}", event, "") for event in range(5)])))
    for name, user in (("with", "u20"), ("without", "u21")):
        folder = home.recommendations / f"{name}-v1-{noisy.name}"
        folder.mkdir(parents=True)
        duckdb.sql(f"COPY (SELECT '{user}' AS user_id, [1] AS items) TO '{folder}/top-10.parquet' (FORMAT parquet)")
    for name, user, snapshot in (("with", "u20", noisy), ("without", "u21", noisy), ("namesake", "u20", namesake)):
        folder = home.audits / name
        folder.mkdir(parents=True)
        (folder / "audit.json").write_text(json.dumps({"digest": snapshot.digest}), encoding="utf-8")
        duckdb.sql(f"COPY (SELECT '{user}' AS user_id) TO '{folder}/interactions.parquet' (FORMAT parquet)")
    done = forget(tiny_snapshot, ["u20"], home=home)

    left = remains(tiny_snapshot, ["u20"], home=home)
    assert [entry.name for entry in left.made_of_it] == [noisy.name]
    assert left.others == (other_way,)
    assert [path.parent.name for path in left.scored] == [f"with-v1-{noisy.name}"]
    assert left.audits == (home.audits / "with",)
    assert left.used is not None
    assert (left.used.runs, left.used.models) == ((), ())
    assert {snapshot.name for snapshot in holders("u20", home=home)} == {
        tiny_snapshot.name, other_way.name, namesake.name,
    }  # fmt: skip
    assert done.new not in holders("u20", home=home)
    assert holders("nobody", home=home) == ()
