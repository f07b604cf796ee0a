"""What each rule for snapshots finds, on real ones broken by hand; without Great Expectations, which is slow."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tasks.corrupt import corrupt
from tasks.data_specs import CorruptSpec, PrepareSpec, ShoppersSpec, SourceSpec
from tasks.home import Home
from tasks.ingest import ingest
from tasks.snapshots import TABLES, Snapshot
from tasks.sources.source import obtain_log
from tasks.validate import EXPECTATIONS, suite_of
from tasks.validation.limits import load_limits

Found = dict[str, list[dict[str, Any]]]
Breaking = Callable[..., Path]

DAY = 86_400_000_000


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Snapshot]:
    """`shop(split={…}, …)` is the snapshot of one log, prepared in that way."""
    home = Home(tmp_path_factory.mktemp("rules"))
    log = obtain_log(SourceSpec(shoppers=ShoppersSpec(users=250, items=80)), home=home)

    made: dict[str, Snapshot] = {}

    def prepared(*, corruption: str | None = None, **prepare: Any) -> Snapshot:
        name = f"{corruption} {prepare}"
        if name not in made:
            snapshot = ingest(log, PrepareSpec.model_validate(prepare), home=home)
            spec = CorruptSpec.model_validate({"kind": corruption or "replace", "ratio": 0.2 if corruption else 0.0})
            made[name] = corrupt(snapshot, spec, home=home)
        return made[name]

    return prepared


@pytest.fixture
def broken(tmp_path: Path) -> Breaking:
    """`broken(snapshot, sql, …)` is a copy with the faults, beside a link to the clean snapshot of a corrupted one."""

    def make(snapshot: Snapshot, *faults: str, **manifest: Any) -> Path:
        path = tmp_path / "copies" / snapshot.name
        path.mkdir(parents=True)
        with duckdb.connect() as connection:
            for table in TABLES:
                connection.execute(f"CREATE TABLE {table} AS FROM read_parquet('{snapshot.path / table}.parquet')")
            for fault in faults:
                assert connection.execute(fault).fetchone() != (0,), f"nothing to break: {fault}"
            for table in TABLES:
                order = {"interactions": '"user", position', "targets": "target"}.get(table, "1")
                connection.execute(f"COPY (FROM {table} ORDER BY {order}) TO '{path / table}.parquet'")
        content = json.loads((snapshot.path / "manifest.json").read_text(encoding="utf-8"))
        (path / "manifest.json").write_text(json.dumps(content | manifest), encoding="utf-8")
        clean = snapshot.path.parent / snapshot.manifest.clean[:16]
        if clean != snapshot.path and clean.exists():
            (path.parent / clean.name).symlink_to(clean)
        return path

    return make


def found_in(path: Path) -> Found:
    """The unexpected rows of every expectation that is a query, by its name; those with none left out."""
    found: Found = {}
    with suite_of(path, limits=load_limits(EXPECTATIONS), spill=path / "spill") as (connection, checks):
        for check in checks:
            query = check.options.get("unexpected_rows_query")
            if query is None:
                continue
            result = connection.execute(query.replace("{{", "{").replace("}}", "}"))
            names = [column[0] for column in result.description or ()]
            if rows := [dict(zip(names, row, strict=True)) for row in result.fetchall()]:
                found[check.name] = rows
    return found


def rows_of(found: Found, name: str) -> list[dict[str, Any]]:
    """The rows of the one expectation whose name contains `name`."""
    (rows,) = (rows for each, rows in found.items() if name in each)
    return rows


SPLITS: dict[str, dict[str, Any]] = {
    "leave-one-out": {"kind": "leave-one-out"},
    "sessions": {"kind": "sessions"},
    "temporal": {"kind": "temporal"},
    "users": {"kind": "users"},
    "users-every": {"kind": "users", "targets": "every"},
}
FIRST = "(SELECT min(target) FROM targets WHERE split = 'test')"
WHO = f'(SELECT "user" FROM targets WHERE target = {FIRST})'

LONGEST = '(SELECT "user" FROM interactions GROUP BY "user" ORDER BY count(*) DESC, "user" LIMIT 1)'

LEAKS: list[tuple[str, str, str]] = [
    ("leave-one-out", "last event is the test", f"UPDATE targets SET history = history - 1 WHERE target = {FIRST}"),
    ("leave-one-out", "last event is the test", f"DELETE FROM targets WHERE target = {FIRST}"),
    ("leave-one-out", "among the training", f'UPDATE users SET train_length = train_length + 2 WHERE "user" = {WHO}'),
    (
        "leave-one-out",
        "in validation and in promotion",
        (
            "INSERT INTO targets SELECT 9999, \"user\", item, 'promotion', history FROM targets "
            "WHERE split = 'validation' LIMIT 1"
        ),
    ),
    ("sessions", "every target has a history", f"UPDATE targets SET history = 0 WHERE target = {FIRST}"),
    ("sessions", "no training positions", f'UPDATE users SET train_length = 1 WHERE "user" = {WHO}'),
    (
        "sessions",
        "in one split",
        (
            "UPDATE targets SET split = 'validation' WHERE target = (SELECT max(target) FROM targets WHERE \"user\" = "
            '(SELECT "user" FROM targets WHERE split = \'test\' GROUP BY "user" HAVING count(*) > 1 LIMIT 1))'
        ),
    ),
    ("sessions", "up to the last are targets", "DELETE FROM targets WHERE target = (SELECT max(target) FROM targets)"),
    (
        "sessions",
        "in the order of the parts",
        f'UPDATE interactions SET time = time - 3000 * {DAY} WHERE "user" = {WHO}',
    ),
    (
        "temporal",
        "earlier than every target",
        (
            f"UPDATE interactions SET time = time + 4000 * {DAY} "
            'WHERE "user" = (SELECT min("user") FROM users WHERE train_length > 0)'
        ),
    ),
    (
        "temporal",
        "earlier than every test target",
        "UPDATE targets SET split = 'validation' WHERE target = (SELECT max(target) FROM targets)",
    ),
    ("users", "no training positions", f'UPDATE users SET train_length = 1 WHERE "user" = {WHO}'),
    ("users", "last event is the one target", f"UPDATE targets SET history = history - 1 WHERE target = {FIRST}"),
    (
        "users-every",
        "up to the last are targets",
        "DELETE FROM targets WHERE target = (SELECT max(target) FROM targets)",
    ),
]


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_as_it_is_made_leaks_nothing(shop: Callable[..., Snapshot], split: str) -> None:
    found = found_in(shop(split=SPLITS[split], user_core=3, item_core=2, duplicates="exact").path)
    assert {name for name in found if "at least 100 targets" not in name and "at most" not in name} == set()


@pytest.mark.parametrize(("split", "name", "fault"), LEAKS, ids=lambda value: value if " " not in value else "")
def test_a_leak_is_found(shop: Callable[..., Snapshot], broken: Breaking, *, split: str, name: str, fault: str) -> None:
    (row, *_) = rows_of(found_in(broken(shop(split=SPLITS[split]), fault)), name)
    assert "user_id" in row
    assert row["user_id"] is not None


@pytest.mark.parametrize(
    ("prepare", "name", "fault"),
    [
        (
            {"user_core": 4},
            "every user has at least 4",
            f'DELETE FROM interactions WHERE "user" = {LONGEST} AND position >= 2',
        ),
        ({"item_core": 2}, "every item has at least 2", "DELETE FROM interactions WHERE item = 5"),
        (
            {"duplicates": "exact"},
            "at the same time, as asked",
            f'UPDATE interactions SET item = 1, time = 1500000000000000 WHERE "user" = {LONGEST} AND position < 2',
        ),
        (
            {"duplicates": "consecutive"},
            "the item just before",
            f'UPDATE interactions SET item = 1 WHERE "user" = {LONGEST} AND position < 2',
        ),
        ({"duplicates": "first"}, "has an item once", f'UPDATE interactions SET item = 1 WHERE "user" = {LONGEST}'),
        ({"duplicates": "last"}, "has an item once", f'UPDATE interactions SET item = 1 WHERE "user" = {LONGEST}'),
        ({}, "targets are items of no training", "UPDATE interactions SET item = 1 WHERE position < 1000"),
        ({}, "items are in no training event", "UPDATE interactions SET item = 1"),
        ({}, "at least 100 targets", "DELETE FROM targets WHERE split = 'test' AND target % 10 > 0"),
    ],
)
def test_what_was_asked_of_the_preparation_is_checked(
    shop: Callable[..., Snapshot], broken: Breaking, *, prepare: dict[str, Any], name: str, fault: str
) -> None:
    snapshot = shop(**prepare)
    before = {each: rows[0]["unexpected_rows"] for each, rows in found_in(snapshot.path).items() if name in each}
    # A snapshot that says the same as an earlier one is that one, whatever was asked for.
    spec = snapshot.manifest.spec | {"prepare": PrepareSpec.model_validate(prepare).model_dump(mode="json")}
    (row, *_) = rows_of(found_in(broken(snapshot, fault, spec=spec)), name)
    assert row["unexpected_rows"] > sum(before.values())


KINDS = ("replace", "popular", "insert", "delete", "swap", "burst", "sharing", "bots")


@pytest.mark.parametrize("kind", KINDS)
def test_noise_as_it_is_put_in_passes(shop: Callable[..., Snapshot], kind: str) -> None:
    found = found_in(shop(corruption=kind).path)
    assert {name for name in found if "at least 100 targets" not in name and "at most" not in name} == set()


def test_events_besides_the_noise_are_compared_with_the_clean_snapshot(
    shop: Callable[..., Snapshot], tmp_path: Path, broken: Breaking
) -> None:
    for kind in ("swap", "insert", "delete"):
        fault = (
            "UPDATE interactions SET item = item % 80 + 1, noise_kind = NULL "
            'WHERE position = 0 AND "user" = (SELECT min("user") FROM interactions WHERE position = 0 '
            f"AND noise_kind IS DISTINCT FROM '{kind}')"
        )
        path = broken(shop(corruption=kind), fault)
        (row, *_) = rows_of(found_in(path), "not labelled are the clean")
        assert row["user_id"]
        path.parent.rename(tmp_path / kind)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("the targets are", f"UPDATE targets SET item = item % 80 + 1 WHERE target = {FIRST}"),
        ("the items are", "UPDATE items SET item_id = 'another' WHERE item = 3"),
        ("the users are", "UPDATE users SET user_id = 'another' WHERE \"user\" = 3"),
        ("the users are", "INSERT INTO users SELECT 9999, 'one more', 0"),
        (
            "from a user's first target on",
            (
                'UPDATE interactions SET time = time + 1 FROM targets WHERE targets."user" = interactions."user" '
                f"AND position = history AND target = {FIRST}"
            ),
        ),
        (
            "before a user's first target",
            (
                "UPDATE interactions SET noise_kind = 'replace' FROM targets "
                'WHERE targets."user" = interactions."user" '
                f"AND position = history AND target = {FIRST}"
            ),
        ),
        ("are noise (replace) is 0.2", "UPDATE interactions SET noise_kind = NULL"),
        ("the numbers of training positions", "UPDATE interactions SET noise_kind = NULL"),
    ],
)
def test_what_noise_may_not_touch_is_checked(
    shop: Callable[..., Snapshot], broken: Breaking, *, name: str, fault: str
) -> None:
    assert rows_of(found_in(broken(shop(corruption="replace"), fault)), name)


def test_too_many_deletions_are_seen(shop: Callable[..., Snapshot], broken: Breaking) -> None:
    path = broken(shop(corruption="delete"), "DELETE FROM interactions WHERE position < 2")
    (row,) = rows_of(found_in(path), "that were deleted")
    assert row["ratio_found"] > float(row["ratio_asked"]) == 0.2


def test_noise_that_was_to_be_taken_out_and_is_there_is_seen(shop: Callable[..., Snapshot], broken: Breaking) -> None:
    spec = CorruptSpec(ratio=0.2, taken_out=True).model_dump(mode="json")
    snapshot = shop(corruption="replace")
    path = broken(snapshot, "SELECT 1", spec=snapshot.manifest.spec | {"corrupt": spec})
    (row, *_) = rows_of(found_in(path), "noise is left of a user only where")
    assert row["noise_kind"] == "replace"
    assert row["first_target"] > 1


def test_a_clean_snapshot_that_is_gone_is_said(shop: Callable[..., Snapshot], broken: Breaking) -> None:
    path = broken(shop(corruption="replace"))
    (path.parent / json.loads((path / "manifest.json").read_text())["clean"][:16]).unlink()
    found = found_in(path)
    assert rows_of(found, "lies beside")
    assert not any("the targets are" in name for name in found)
