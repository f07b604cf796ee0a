"""Snapshots with planted faults: each is found, named with its rows, and stops the run or does not."""

import json
import pickle
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from tasks.errors import InputError
from tasks.validate import EXPECTATIONS, Outcome, ValidationFailed, ValidationReport, load_limits, validate

USERS, EVENTS, ITEMS = 40, 10, 30
NOW = datetime(2024, 6, 1, tzinfo=UTC)
TABLES = ("interactions", "targets", "users", "items")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("validate")


@pytest.fixture(scope="module")
def both(folder: Path) -> tuple[ValidationReport, ValidationReport]:
    """A sound snapshot and a badly corrupted one without times, checked by two threads at once."""
    corrupted = write_snapshot(
        folder / "corrupted",
        faults=(
            "UPDATE interactions SET noise_kind = 'replace' WHERE position IN (0, 1, 2, 3)",
            "UPDATE interactions SET noise_kind = 'replace' WHERE \"user\" = 5 AND position = 9",
            "UPDATE interactions SET noise_kind = 'gremlin' WHERE \"user\" = 6 AND position = 5",
            "UPDATE interactions SET time = NULL",
        ),
        noisy=161,
        labelled=True,
        has_times=False,
        spec={"corrupt": {"kind": "replace", "ratio": 0.2, "seed": 0}},
    )
    paths = [write_snapshot(folder / "sound"), corrupted]
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(validate, path, docs=folder / "docs", now=NOW) for path in paths]
    failure = runs[1].exception()
    assert isinstance(failure, ValidationFailed)
    return runs[0].result(), failure.report


@pytest.fixture(scope="module")
def sound(both: tuple[ValidationReport, ValidationReport]) -> ValidationReport:
    return both[0]


@pytest.fixture(scope="module")
def corrupted(both: tuple[ValidationReport, ValidationReport]) -> ValidationReport:
    return both[1]


@pytest.fixture(scope="module")
def broken(folder: Path) -> ValidationFailed:
    """A snapshot with one fault a user, so that one run shows whether each is found.

    Some faults break more than one rule: that of user 8 moves its targets away, too, for one.
    """
    path = write_snapshot(
        folder / "broken",
        faults=(
            'UPDATE interactions SET "user" = NULL WHERE "user" = 1 AND position = 9',
            'UPDATE interactions SET "user" = 4000 WHERE "user" = 2 AND position = 9',
            'UPDATE interactions SET item = NULL WHERE "user" = 3 AND position = 4',
            'UPDATE interactions SET item = 0 WHERE "user" = 4 AND position = 4',
            'UPDATE interactions SET item = 31 WHERE "user" = 5 AND position = 4',
            'UPDATE interactions SET position = NULL WHERE "user" = 6 AND position = 9',
            'UPDATE interactions SET position = 3 WHERE "user" = 7 AND position = 4',
            'UPDATE interactions SET position = position + 2 WHERE "user" = 8 AND position >= 5',
            'UPDATE interactions SET time = NULL WHERE "user" = 9 AND position = 4',
            'UPDATE interactions SET time = 1650000000000000 WHERE "user" = 10 AND position = 4',
            'UPDATE interactions SET time = 3000000000000000 WHERE "user" = 11 AND position = 9',
            'UPDATE interactions SET position = 3 - position WHERE "user" = 22 AND position IN (1, 2)',
            "UPDATE interactions SET noise_kind = 'misclick' WHERE \"user\" = 12 AND position = 4",
            "UPDATE targets SET target = 500 WHERE \"user\" IN (13, 14) AND split = 'test'",
            "UPDATE targets SET split = 'train' WHERE \"user\" = 15 AND split = 'test'",
            "UPDATE targets SET item = item % 30 + 1 WHERE \"user\" = 16 AND split = 'test'",
            "UPDATE targets SET history = 7 WHERE \"user\" = 17 AND split = 'validation'",
            "UPDATE targets SET split = 'test' WHERE \"user\" = 18",
            "UPDATE users SET user_id = 'u20' WHERE \"user\" = 19",
            'UPDATE users SET train_length = 11 WHERE "user" = 21',
            'DELETE FROM users WHERE "user" = 39',
            "UPDATE items SET item_id = NULL WHERE item = 30",
            "UPDATE items SET item = 99 WHERE item = 29",
        ),
    )
    with pytest.raises(ValidationFailed) as failure:
        validate(path, docs=folder / "docs", now=NOW)
    return failure.value


def test_a_sound_snapshot_passes_every_expectation(sound: ValidationReport) -> None:
    assert [o for o in sound.outcomes if not o.success] == []
    assert {o.table for o in sound.outcomes} == set(TABLES)
    assert sound.failures == sound.warnings == ()


def test_the_report_is_json(sound: ValidationReport, broken: ValidationFailed) -> None:
    for report, success in ((sound, True), (broken.report, False)):
        content = json.loads(json.dumps(report.to_json(), allow_nan=False))
        assert content["success"] is success
        assert content["seconds"] > 0
        first = content["expectations"][0]
        assert first.keys() >= {
            "name",
            "table",
            "column",
            "severity",
            "success",
            "unexpected",
            "rows",
            "observed",
        }


@pytest.mark.parametrize(
    ("table", "column", "name", "unexpected", "row"),
    [
        ("interactions", "user", "never null", 1, {"user": None, "position": 9}),
        ("interactions", "user", "a known one", 1, {"user": 4000, "position": 9}),
        ("interactions", "item", "never null", 1, {"user": 3, "position": 4, "item": None}),
        ("interactions", "item", "padding", 2, {"user": 4, "position": 4, "item": 0}),
        ("interactions", "item", "padding", 2, {"user": 5, "position": 4, "item": 31}),
        ("interactions", "position", "never null", 1, {"user": 6, "position": None}),
        ("interactions", "position", "one interaction", 1, {"user": 7, "position": 3, "times_found": 2}),
        ("interactions", "position", "stored by", 2, {"user": 22, "position": 1, "position_before": 2}),
        ("interactions", "position", "without gaps", 2, {"user": 8, "position": 7, "expected_position": 5}),
        ("interactions", "time", "never null", 1, {"user": 9, "position": 4, "time": None}),
        ("interactions", "time", "backwards", 2, {"user": 10, "position": 4, "time": 1650000000000000}),
        ("interactions", "noise_kind", "without noise labels", 1, {"user": 12, "position": 4}),
        ("interactions", "noise_kind", "noisy training", 1, {"found": 1, "manifest": 0}),
        ("targets", "target", "unique", 2, {"target": 500, "user": 13}),
        ("targets", "split", "validation or test", 1, {"user": 15, "split": "train"}),
        ("targets", "split", "manifest's number", 1, {"split": "validation", "manifest": 40, "found": 39}),
        ("targets", "item", "at its position", 7, {"user": 16, "history": 9}),
        ("targets", "history", "training positions", 5, {"user": 17, "history": 7, "train_length": 8}),
        ("targets", "split", "at most one", 1, {"user": 18, "split": "test", "targets_found": 2}),
        ("users", "user_id", "unique", 2, {"user": 19, "user_id": "u20"}),
        ("users", "train_length", "no longer", 1, {"user": 21, "train_length": 11, "events": 10}),
        ("items", "item_id", "never null", 1, {"item": 30, "item_id": None}),
        ("items", "item", "numbered", 1, {"item": 99}),
    ],
)
def test_a_planted_fault_is_found_with_its_rows(
    broken: ValidationFailed,
    *,
    table: str,
    column: str,
    name: str,
    unexpected: int,
    row: Mapping[str, object],
) -> None:
    outcome = find(broken.report, table, column, name)
    assert not outcome.success
    assert outcome.severity == "critical"
    assert outcome.crash is None
    assert any(row.items() <= found.items() for found in outcome.rows), outcome.rows
    assert outcome.unexpected == unexpected


def test_a_missing_row_is_seen_in_the_count(broken: ValidationFailed) -> None:
    outcome = find(broken.report, "users", None, "40 rows")
    assert not outcome.success
    assert outcome.observed == 39


def test_the_message_names_expectation_table_column_rows_and_docs(broken: ValidationFailed) -> None:
    message = str(broken)
    assert isinstance(broken, InputError)
    assert "“the user is never null” fails (table interactions, column user): 1 unexpected row, " in message
    assert "position 9" in message
    assert str(broken.report.docs) in message
    assert "\n" not in message


def test_a_failure_survives_pickling(broken: ValidationFailed) -> None:
    copy = pickle.loads(pickle.dumps(broken))
    assert str(copy) == str(broken)
    assert copy.report == broken.report


def test_data_docs_show_the_failed_expectation(broken: ValidationFailed, sound: ValidationReport) -> None:
    assert broken.report.docs.name == "index.html"
    assert broken.report.docs.parent.name == "broken"
    pages = site(broken.report)
    assert "positions run from 0 without gaps" in pages
    assert "expected_position" in pages
    assert "expected_position" not in site(sound)
    assert sorted(path.name for path in sound.docs.parents[1].iterdir() if path.name.startswith(".")) == []


def test_warnings_do_not_stop_and_limits_come_from_the_file(folder: Path) -> None:
    path = write_snapshot(
        folder / "warned",
        faults=(
            'UPDATE interactions SET time = time + 1600000000000000 WHERE "user" = 11 AND position = 9',
            "UPDATE interactions SET item = 1 WHERE position < 8",
            'UPDATE interactions SET time = 1700000000000000 WHERE "user" = 12 AND position < 8',
        ),
    )
    limits = folder / "strict.yaml"
    text = EXPECTATIONS.read_text(encoding="utf-8").replace("most: 5000", "most: 7")
    limits.write_text(text, encoding="utf-8")
    report = validate(path, docs=folder / "docs", expectations=limits, now=NOW)
    assert report.failures == ()
    found = {o.name: o for o in report.warnings}
    assert len(found) == 4, found
    future = find(report, "interactions", "time", "times lie")
    assert [(row["user"], row["position"], row["date"][:4]) for row in future.rows] == [(11, 9, "2074")]
    busy = find(report, "interactions", "time", "in a day")
    assert {"user": 12, "date": "2023-11-14", "events": 8} in busy.rows
    assert find(report, "interactions", None, "repeat").unexpected == 7
    assert find(report, "items", "item", "no training event").unexpected == ITEMS - 1


def test_an_expectation_that_crashes_counts_as_failed_and_critical(folder: Path) -> None:
    path = write_snapshot(folder / "crashed", faults=("ALTER TABLE interactions DROP COLUMN time",))
    with pytest.raises(ValidationFailed, match="has its columns with their types") as failure:
        validate(path, docs=folder / "docs", now=NOW)
    report = failure.value.report
    assert "column_name time, expected_type BIGINT, found_type null" in str(failure.value)
    for name in ("never null", "backwards", "times lie", "in a day"):
        outcome = find(report, "interactions", "time", name)
        assert not outcome.success
        assert outcome.severity == "critical"
        assert outcome.crash
    assert find(report, "targets", "target", "unique").success


def test_injected_noise_is_held_to_its_spec(corrupted: ValidationReport) -> None:
    assert {o.name for o in corrupted.failures} == {
        "the share of injected noise in the training part is 0.2",
        "noise is injected into the training part only",
    }
    (ratio,) = find(corrupted, "interactions", "noise_kind", "share of injected").rows
    assert (ratio["ratio_asked"], ratio["ratio_found"], ratio["training_positions"]) == (0.2, 0.5, 320)
    (outside,) = find(corrupted, "interactions", "noise_kind", "training part only").rows
    assert (outside["user"], outside["position"]) == (5, 9)
    (unknown,) = corrupted.warnings
    assert unknown.rows[0]["noise_kind"] == "gremlin"


def test_a_log_without_times_is_not_asked_for_them(corrupted: ValidationReport) -> None:
    assert [o.name for o in corrupted.outcomes if o.column == "time"] == ["a log without times has none"]


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (("rows_shown", "rows_show"), "no such key is known"),
        (("most: 5000", "most: 5000\n  least: 3"), "events_per_day.least: no such key is known"),
        (("most: 5000", "most: many"), "events_per_day.most: "),
        (("severity: warning", "severity: fatal"), "times.severity: "),
        (("tolerance: 0.01", ""), "noise_ratio.tolerance: the key is absent"),
        (("rows_shown: 3", "rows_shown: [3"), "not valid YAML"),
    ],
)
def test_a_wrong_file_of_limits_is_refused_with_the_key(
    tmp_path: Path, *, edit: tuple[str, str], complaint: str
) -> None:
    path = tmp_path / "limits.yaml"
    path.write_text(EXPECTATIONS.read_text(encoding="utf-8").replace(*edit), encoding="utf-8")
    with pytest.raises(InputError, match=complaint) as error:
        load_limits(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_snapshot_that_cannot_be_read_is_refused_and_leaves_no_docs(folder: Path, tmp_path: Path) -> None:
    path = write_snapshot(tmp_path / "cut")
    whole = (path / "targets.parquet").read_bytes()
    (path / "targets.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"targets\.parquet: not readable as Parquet"):
        validate(path, docs=tmp_path / "docs", now=NOW)
    (path / "targets.parquet").unlink()
    with pytest.raises(InputError, match=r"lacks targets\.parquet"):
        validate(path, docs=tmp_path / "docs", now=NOW)
    with pytest.raises(InputError, match="not a snapshot"):
        validate(tmp_path / "absent", docs=tmp_path / "docs", now=NOW)
    assert list((tmp_path / "docs").iterdir()) == []


def find(report: ValidationReport, table: str, column: str | None, name: str) -> Outcome:
    """The one outcome of a table and column whose name contains `name`."""
    (outcome,) = (o for o in report.outcomes if (o.table, o.column) == (table, column) and name in o.name)
    return outcome


def site(report: ValidationReport) -> str:
    """The text of all pages of the report's Data Docs."""
    return "".join(page.read_text(encoding="utf-8") for page in report.docs.parent.rglob("*.html"))


def write_snapshot(path: Path, *, faults: tuple[str, ...] = (), noisy: int = 0, **manifest: object) -> Path:
    """A small leave-one-out snapshot: every user has one event a day for ten days; then `faults`, as SQL.

    `manifest`: entries that differ from those of a plain log.
    """
    path.mkdir()
    with duckdb.connect() as connection:
        connection.execute(f"""
            CREATE TABLE interactions AS SELECT
                u::INTEGER AS "user", (1 + (u * 7 + p * 3) % {ITEMS})::INTEGER AS item,
                1700000000000000 + (u + p) * 86400000000 AS time, p::INTEGER AS position,
                NULL::VARCHAR AS noise_kind
            FROM range({USERS}) t(u), range({EVENTS}) s(p) ORDER BY u, p;
            CREATE TABLE targets AS SELECT
                ((position - 8) * {USERS} + "user")::INTEGER AS target, "user", item,
                CASE position WHEN 8 THEN 'validation' ELSE 'test' END AS split, position AS history
            FROM interactions WHERE position >= 8 ORDER BY target;
            CREATE TABLE users AS SELECT u::INTEGER AS "user", 'u' || u AS user_id, 8::INTEGER AS train_length
            FROM range({USERS}) t(u);
            CREATE TABLE items AS SELECT i::INTEGER AS item, 'i' || i AS item_id
            FROM range(1, {ITEMS} + 1) t(i);
        """)
        for fault in faults:
            connection.execute(fault)
        for table in TABLES:
            connection.execute(f"COPY {table} TO '{path / table}.parquet'")
    counts = {
        "interactions": USERS * EVENTS,
        "users": USERS,
        "items": ITEMS,
        "targets_validation": USERS,
        "targets_test": USERS,
        "noisy": noisy,
        "training": USERS * (EVENTS - 2),
    }
    content = {
        "schema_version": 1,
        "digest": "0" * 64,
        "parent": None,
        "clean": "0" * 64,
        "sources": [],
        "spec": {},
        "realised_ratio": None,
        "counts": counts,
        "labelled": False,
        "user_id_type": "string",
        "item_id_type": "string",
        "has_times": True,
        "files": {},
    }
    (path / "manifest.json").write_text(json.dumps(content | manifest), encoding="utf-8")
    return path
