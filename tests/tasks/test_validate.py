"""Snapshots with planted faults: each is found, named with its rows, and stops the run or does not."""

import json
import logging
import pickle
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

import duckdb
import pytest

from tasks import steps
from tasks.errors import InputError
from tasks.home import Home
from tasks.snapshots import SCHEMA_VERSION
from tasks.validate import EXPECTATIONS, REPORT, validate
from tasks.validation.checks import finds_none
from tasks.validation.limits import load_limits
from tasks.validation.report import Outcome, ValidationFailed, ValidationReport
from tasks.validation.running import evaluate

USERS, EVENTS, ITEMS = 40, 10, 30
NOW = datetime(2024, 6, 1, tzinfo=UTC)
TABLES = ("interactions", "targets", "users", "items")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("validate")


@pytest.fixture(scope="module")
def both(folder: Path) -> tuple[ValidationReport, ValidationReport]:
    """A sound snapshot and one without times and with an unknown label, checked by two threads at once."""
    timeless = write_snapshot(
        folder / "timeless",
        faults=(
            "UPDATE interactions SET noise_kind = 'gremlin' WHERE \"user\" = 6 AND position = 5",
            "UPDATE interactions SET time = NULL",
        ),
        noisy=1,
        labelled=True,
        has_times=False,
    )
    paths = [write_snapshot(folder / "sound"), timeless]
    limits = loose(folder / "loose.yaml")
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(validate, path, docs=folder / "docs", expectations=limits, now=NOW) for path in paths]
    return runs[0].result(), runs[1].result()


@pytest.fixture(scope="module")
def sound(both: tuple[ValidationReport, ValidationReport]) -> ValidationReport:
    return both[0]


@pytest.fixture(scope="module")
def timeless(both: tuple[ValidationReport, ValidationReport]) -> ValidationReport:
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
        validate(path, docs=folder / "docs", expectations=loose(folder / "broken.yaml"), now=NOW)
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
        ("interactions", "item", "never null", 1, {"user_id": "u3", "position": 4, "item": None}),
        ("interactions", "item", "padding", 2, {"user_id": "u4", "position": 4, "item": 0}),
        ("interactions", "item", "padding", 2, {"user_id": "u5", "position": 4, "item": 31}),
        ("interactions", "position", "never null", 1, {"user_id": "u6", "position": None}),
        ("interactions", "position", "one interaction", 1, {"user_id": "u7", "position": 3}),
        ("interactions", "position", "stored by", 2, {"user_id": "u22", "position": 1, "position_before": 2}),
        ("interactions", "position", "without gaps", 6, {"user_id": "u8", "position": 7, "expected_position": 5}),
        ("interactions", "time", "never null", 1, {"user_id": "u9", "position": 4, "time": None}),
        ("interactions", "time", "backwards", 1, {"user_id": "u10", "position": 4, "time": 1650000000000000}),
        ("interactions", "noise_kind", "without noise labels", 1, {"user_id": "u12", "position": 4}),
        ("interactions", "noise_kind", "numbers of training", 1, {"noisy": 1, "noisy_in_manifest": 0}),
        ("targets", "target", "unique", 2, {"target": 500, "user": 13}),
        ("targets", "split", "validation, promotion or test", 1, {"user": 15, "split": "train"}),
        ("targets", "split", "manifest's number", 1, {"split": "validation", "manifest": 40, "found": 39}),
        ("targets", "item", "at its position", 7, {"user_id": "u16", "history": 9}),
        ("targets", "history", "training positions", 5, {"user_id": "u17", "history": 7, "train_length": 8}),
        ("targets", "split", "last event is the test", 6, {"user_id": "u18", "test": 2, "validation": 0}),
        ("users", "user_id", "unique", 2, {"user": 19, "user_id": "u20"}),
        ("users", "train_length", "no longer", 1, {"user_id": "u21", "train_length": 11, "events": 10}),
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
    assert "“the user is never null” fails (table interactions, column user) in 1 row: " in message
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
    assert "last event is the test" in broken.report.docs.read_text(encoding="utf-8")
    assert "expected_position" in pages
    assert "expected_position" not in site(sound)
    assert json.loads((sound.docs.parent / REPORT).read_text(encoding="utf-8")) == json.loads(
        json.dumps(sound.to_json())
    )
    assert sorted(path.name for path in sound.docs.parents[1].iterdir() if path.name.startswith(".")) == []


def test_data_docs_want_nothing_from_other_servers(sound: ValidationReport) -> None:
    pages = list(sound.docs.parent.rglob("*.html"))
    assert len(pages) == 9
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"<(?:script|img|link)\b[^>]*(?:src|href)=.https?:", text), page
        assert "<style>" in text
        dark = [medium for medium in re.findall(r"@media (.*?) \{", text) if "dark" in medium]
        assert set(dark) == {"screen and (prefers-color-scheme: dark)"}, "paper is light"
    linked = re.findall(r'href="(validations/[^"]+)"', sound.docs.read_text(encoding="utf-8"))
    assert linked
    assert all((sound.docs.parent / unquote(link)).is_file() for link in linked)


def test_warnings_do_not_stop_and_limits_come_from_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_snapshot(
        folder / "warned",
        faults=(
            'UPDATE interactions SET time = time + 1600000000000000 WHERE "user" = 11 AND position = 9',
            "UPDATE interactions SET item = 1 WHERE position < 8",
            'UPDATE interactions SET time = 1700000000000000 WHERE "user" = 12 AND position < 8',
        ),
    )
    limits = loose(folder / "strict.yaml", ("most: 5000", "most: 7"))
    report = validate(path, docs=folder / "docs", expectations=limits, now=NOW)
    assert report.failures == ()
    found = {o.name: o for o in report.warnings}
    assert len(found) == 5, found
    future = find(report, "interactions", "time", "times lie")
    assert [(row["user_id"], row["position"]) for row in future.rows] == [("u11", 9)]
    busy = find(report, "interactions", "time", "in a day")
    assert {"user_id": "u12", "date": "2023-11-14", "events": 8} in busy.rows
    assert find(report, "interactions", None, "repeat").unexpected == 7
    assert find(report, "items", "item", "no training event").unexpected == ITEMS - 1
    monkeypatch.setattr(steps, "get_run_logger", lambda: logging.getLogger("of a check"))
    steps._told(report, key="some", home=Home(folder / "home"))
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(said) == 5
    assert all("a warning, which stops nothing: “" in line for line in said)


def test_a_table_without_a_column_is_asked_for_nothing_else(folder: Path) -> None:
    path = write_snapshot(folder / "columns", faults=("ALTER TABLE interactions DROP COLUMN time",))
    with pytest.raises(ValidationFailed, match="has its columns with their types") as failure:
        validate(path, docs=folder / "docs", now=NOW)
    assert "column_name time, expected_type BIGINT, found_type null" in str(failure.value)
    assert len(failure.value.report.outcomes) == len(TABLES)


def test_an_expectation_that_crashes_counts_as_failed_and_critical(tmp_path: Path) -> None:
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE log AS SELECT 1 AS a")
        checks = [finds_none("it {works}", "log", None, "select * from absent", severity="warning")]
        (outcome,) = evaluate(checks, connection, subject="crashed", site=tmp_path / "site")
    assert not outcome.success
    assert outcome.severity == "critical"
    assert "absent" in str(outcome.crash)


def test_a_rule_may_be_broken_more_often_than_a_table_has_rows(tmp_path: Path) -> None:
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE log AS SELECT 1 AS a")
        broken_thrice = finds_none("it works", "log", None, "select * from range(3)", severity="warning")
        (outcome,) = evaluate([broken_thrice], connection, subject="thrice", site=tmp_path / "site")
    assert (outcome.success, outcome.severity, outcome.unexpected, outcome.crash) == (False, "warning", 3, None)


def test_a_severity_is_the_files(folder: Path) -> None:
    path = write_snapshot(folder / "severe", faults=("UPDATE interactions SET item = 1 WHERE position < 8",))
    text = EXPECTATIONS.read_text(encoding="utf-8").replace(
        "largest_share: 0.2\n    severity: warning", "largest_share: 0.2\n    severity: critical"
    )
    (folder / "severe.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ValidationFailed, match="no training event"):
        validate(path, docs=folder / "docs", expectations=folder / "severe.yaml", now=NOW)


def test_a_log_without_times_is_not_asked_for_them(timeless: ValidationReport) -> None:
    assert [o.name for o in timeless.outcomes if o.column == "time"] == ["a log without times has none"]
    (unknown,) = timeless.warnings
    assert unknown.rows[0] == {"noise_kind": "gremlin", "interactions": 1}


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (("rows_shown", "rows_show"), "no such key is known"),
        (("most: 5000", "most: 5000\n    least: 3"), "raw.events_per_day.least: no such key is known"),
        (("most: 5000", "most: many"), "raw.events_per_day.most: "),
        (("severity: warning", "severity: fatal"), "raw.times.severity: "),
        (("tolerance: 0.01", ""), "corrupted.noise_ratio.tolerance: the key is absent"),
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


def loose(path: Path, *edits: tuple[str, str]) -> Path:
    """A file of limits for small snapshots, with further edits."""
    text = EXPECTATIONS.read_text(encoding="utf-8")
    for edit in (("least: 100\n", "least: 30\n"), *edits):
        text = text.replace(*edit)
    path.write_text(text, encoding="utf-8")
    return path


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
        "targets_promotion": 0,
        "targets_test": USERS,
        "noisy": noisy,
        "training": USERS * (EVENTS - 2),
    }
    content = {
        "schema_version": SCHEMA_VERSION,
        "digest": "0" * 64,
        "parent": None,
        "clean": "0" * 64,
        "sources": [],
        "spec": {"prepare": {"promotion": 0.0}},
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
