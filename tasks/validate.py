"""Check logs and snapshots with Great Expectations, inside DuckDB, and write its Data Docs.

Two sorts of expectation: what a log or a snapshot must satisfy to be one (critical, fixed in `tasks.validation`),
and what is plausible (limits and severities in `tasks/expectations.yaml`). A failed critical expectation stops the
run and names rows; a warning is reported and the run goes on; an expectation that crashed counts as failed and
critical.
"""

import json
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import duckdb

import sql
from tasks.digests import spec_digest
from tasks.engine import engine
from tasks.errors import InputError
from tasks.scratch import publish_over, working_folder
from tasks.snapshots import Manifest, Snapshot, open_snapshot, snapshot_name
from tasks.sources.layouts import recognise
from tasks.sources.logs import Log, identity, refuse_changed
from tasks.sources.reading import read_log
from tasks.validation.checks import Check
from tasks.validation.corrupted import corrupted_checks, prepare_comparison
from tasks.validation.filtered import filtered_checks
from tasks.validation.limits import Limits, RawLimits, load_limits
from tasks.validation.raw import find_faults, has_rows, plausible_checks, prepare_log, readable_checks
from tasks.validation.report import ValidationFailed, ValidationReport, failure_sentence, first_line
from tasks.validation.running import evaluate
from tasks.validation.snapshot import COLUMNS, prepare_tables, snapshot_checks, structure_checks

EXPECTATIONS = Path(__file__).with_name("expectations.yaml")
LONGEST_SHOWN = 60
REPORT = "report.json"
LOG = "log-"
"""What the folders of logs' Data Docs begin with."""

_SITE = "site"  # the Data Docs inside the working folder


def validate(
    snapshot_path: Path, *, docs: Path, expectations: Path = EXPECTATIONS, now: datetime | None = None
) -> ValidationReport:
    """Check the snapshot and write its Data Docs to `docs/<snapshot's name>/index.html`, with the report beside them.

    One with noise put into it on purpose, or with noise filtered out of it, is also compared with the snapshot that it
    was made from, where that lies beside it.
    `expectations`: the file of limits. `now`: the time after which an event lies in the future; the clock's
    where it is not given.

    Raises `ValidationFailed` where a critical expectation fails, with the report on the exception and the
    Data Docs written; `InputError` where the snapshot or the file of limits cannot be read.
    """
    started = time.perf_counter()
    limits = load_limits(expectations)
    manifest = open_snapshot(snapshot_path).manifest
    with (
        working_folder(docs) as work,
        suite_of(snapshot_path, limits=limits, now=now, spill=work / "spill") as (
            connection,
            checks,
        ),
    ):
        outcomes = evaluate(checks, connection, subject=snapshot_path.name, site=work / _SITE)
        report = ValidationReport(
            suite={"corrupt": "corrupted", "filter": "filtered"}.get(manifest.last_change or "", "snapshot"),
            subject=f"snapshot {snapshot_path.name}",
            outcomes=outcomes,
            docs=docs / snapshot_path.name / "index.html",
            seconds=round(time.perf_counter() - started, 3),
        )
        _put_in_place(work, report)
    return _passed(report, limits)


def validate_log(
    log: Log, *, docs: Path, expectations: Path = EXPECTATIONS, now: datetime | None = None
) -> ValidationReport:
    """Check a log as it was found and write its Data Docs to `docs/log-…/index.html`, with the report beside them.

    Raises `ValidationFailed` where a critical expectation fails, with the sentence that `tasks.sources.reading` has for
    it where the log cannot be ingested; `InputError` where the log cannot be read at all, or has changed since its
    checksums were taken.
    """
    started = time.perf_counter()
    limits = load_limits(expectations)
    name = f"{LOG}{spec_digest(identity(log))[:12]}"
    with working_folder(docs) as work, engine(work / "spill") as connection:
        refusal, checks = _log_checks(connection, log, limits=limits.raw, now=now or datetime.now(UTC), work=work)
        refuse_changed(log)
        outcomes = evaluate(checks, connection, subject=name, site=work / _SITE)
        report = ValidationReport(
            suite="raw",
            subject=f"log {log.files[0].path.name}",
            outcomes=outcomes,
            docs=docs / name / "index.html",
            seconds=round(time.perf_counter() - started, 3),
        )
        _put_in_place(work, report)
    if refusal is not None:
        raise ValidationFailed(f"{refusal}; see {report.docs}", report) from refusal
    return _passed(report, limits)


def log_docs_showing(ids: Collection[str], *, docs: Path) -> tuple[Path, ...]:
    """The folders of logs' Data Docs in which a row is shown that has one of these ids, of whatever column: as it is,
    or as `sql/validate/log_odd_ids.sql` shows one that ends in a blank or is long.
    """
    written = {form for raw in ids for form in (raw, f"«{raw[:LONGEST_SHOWN]}»")}
    reports = {path.parent: json.loads(path.read_text(encoding="utf-8")) for path in docs.glob(f"{LOG}*/{REPORT}")}
    shown = {
        folder: {str(value) for outcome in report["expectations"] for row in outcome["rows"] for value in row.values()}
        for folder, report in reports.items()
    }
    return tuple(sorted(folder for folder, values in shown.items() if not values.isdisjoint(written)))


@contextmanager
def suite_of(
    snapshot_path: Path, *, limits: Limits, spill: Path, now: datetime | None = None
) -> Iterator[tuple[duckdb.DuckDBPyConnection, Sequence[Check]]]:
    """A snapshot's checks and a connection with the tables that they read, before anything is evaluated.

    Raises `InputError` where the snapshot cannot be read.
    """
    manifest = _manifest(snapshot_path)
    with engine(spill) as connection:
        _view(connection, snapshot_path, prefix="")
        yield (
            connection,
            _checks_that_apply(
                connection, manifest, snapshot_path=snapshot_path, limits=limits, now=now or datetime.now(UTC)
            ),
        )


def _log_checks(
    connection: duckdb.DuckDBPyConnection, log: Log, *, limits: RawLimits, now: datetime, work: Path
) -> tuple[InputError | None, Sequence[Check]]:
    """The checks of the log with the tables that they read; where reading refuses it, why, and those of its rows."""
    refusal, scale = None, 1.0
    try:
        scale = read_log(connection, log, work=work).scale
    except InputError as error:
        if not has_rows(connection):
            raise
        refusal = error
    names = recognise(log.files[0].path, log.source).names
    find_faults(connection, names, scale=scale, limits=limits, now=now)
    checks = tuple(readable_checks(names))
    if refusal is None:
        prepare_log(connection, names, scale=scale, limits=limits)
        checks += tuple(plausible_checks(names, limits=limits))
    return refusal, checks


def _checks_that_apply(
    connection: duckdb.DuckDBPyConnection,
    manifest: Manifest,
    *,
    snapshot_path: Path,
    limits: Limits,
    now: datetime,
) -> Sequence[Check]:
    """The checks of the snapshot with the tables that they read; those of its structure alone where that is broken."""
    structure = structure_checks()
    if not _is_whole(connection):
        return structure
    try:
        prepare_tables(connection, manifest, limits=limits.snapshot, now=now)
        checks = [*structure, *snapshot_checks(manifest, limits=limits.snapshot)]
        compare = {"corrupt": corrupted_checks, "filter": filtered_checks}.get(manifest.last_change or "")
        if compare is not None:
            parent = _parent(snapshot_path, manifest)
            if parent is not None:
                _view(connection, parent.path, prefix="clean_")
                prepare_comparison(connection)
            checks += compare(manifest, limits=limits.corrupted, compared=parent is not None)
    except duckdb.OutOfMemoryException:
        raise
    except (duckdb.InvalidInputException, duckdb.IOException) as error:
        raise InputError(f"{snapshot_path}: its files cannot be read ({first_line(error)}): make it anew") from error
    return checks


def _is_whole(connection: duckdb.DuckDBPyConnection) -> bool:
    """Has every table its columns?"""
    return all(
        columns.items() <= {name: kind for name, kind, *_ in connection.execute(f"DESCRIBE {table}").fetchall()}.items()
        for table, columns in COLUMNS.items()
    )


def _view(connection: duckdb.DuckDBPyConnection, snapshot_path: Path, *, prefix: str) -> None:
    """A view of each of the snapshot's files, named as its table with the prefix."""
    for table in COLUMNS:
        path = snapshot_path / f"{table}.parquet"
        if not path.is_file():
            raise InputError(f"{snapshot_path}: the snapshot lacks {path.name}: make it anew")
        view = sql.load("validate/view", table=sql.quoted(prefix + table), path=sql.literal(str(path)))
        try:
            connection.execute(view)
        except duckdb.Error as error:
            raise InputError(f"{path}: not readable as Parquet ({first_line(error)})") from error


def _parent(snapshot_path: Path, manifest: Manifest) -> Snapshot | None:
    """What a corrupted or filtered snapshot beside it was made from, None where it is gone."""
    path = snapshot_path.parent / snapshot_name(manifest.parent or manifest.clean)
    return open_snapshot(path) if path.is_dir() else None


def _manifest(path: Path) -> Manifest:
    manifest = open_snapshot(path).manifest
    if min(manifest.counts.interactions, manifest.counts.users, manifest.counts.items) < 1:
        raise InputError(f"{path}: the snapshot is empty: there is nothing to check")
    return manifest


def _put_in_place(work: Path, report: ValidationReport) -> None:
    """Move the new Data Docs to their place, the report beside them; what lies there goes with the working folder."""
    (work / _SITE / REPORT).write_text(json.dumps(report.to_json(), indent=1) + "\n", encoding="utf-8")
    publish_over(work / _SITE, report.docs.parent)


def _passed(report: ValidationReport, limits: Limits) -> ValidationReport:
    """The report. Raises `ValidationFailed` where a critical expectation failed."""
    if report.failures:
        raise ValidationFailed(failure_sentence(report, rows_shown=limits.rows_shown), report)
    return report
