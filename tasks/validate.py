"""Check a snapshot with Great Expectations, inside DuckDB, and write its Data Docs.

Two sorts of expectation: what a snapshot must satisfy to be one (critical, fixed here), and what is
plausible (limits and severities in `tasks/expectations.yaml`). A failed critical expectation stops the run
and names rows; a warning is reported and the run goes on; an expectation that crashed counts as failed and
critical.
"""

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError

import sql
from tasks.errors import InputError
from tasks.scratch import working_folder
from tasks.snapshots import Manifest, open_snapshot
from tasks.specs import Spec

if TYPE_CHECKING:
    from great_expectations.core import ExpectationValidationResult
    from great_expectations.data_context import EphemeralDataContext
    from great_expectations.expectations.expectation import Expectation

    from tasks.gx_duckdb import DuckDBDatasource

EXPECTATIONS = Path(__file__).with_name("expectations.yaml")

Severity = Literal["critical", "warning"]
Json = dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What became of one expectation.

    `name`: the expectation in words. `column`: None where it is about whole rows. `unexpected`: number of
    unexpected rows, None where it cannot be said. `rows`: the first of them, column by column. `observed`:
    the value that was found, where there is one. `crash`: what was raised where the expectation could not
    be evaluated.
    """

    name: str
    table: str
    column: str | None
    severity: Severity
    success: bool
    unexpected: int | None
    rows: tuple[Json, ...]
    observed: Any
    crash: str | None


@dataclass(frozen=True)
class ValidationReport:
    """Every expectation's outcome. `docs`: index.html of the Data Docs. `seconds`: wall-clock time taken."""

    snapshot: str
    outcomes: tuple[Outcome, ...]
    docs: Path
    seconds: float

    @property
    def failures(self) -> tuple[Outcome, ...]:
        """Failed critical expectations, those that crashed among them."""
        return tuple(o for o in self.outcomes if not o.success and o.severity == "critical")

    @property
    def warnings(self) -> tuple[Outcome, ...]:
        """Failed expectations that do not stop a run."""
        return tuple(o for o in self.outcomes if not o.success and o.severity == "warning")

    def to_json(self) -> Json:
        """The report as JSON values."""
        return {
            "snapshot": self.snapshot,
            "success": not self.failures,
            "expectations": [asdict(outcome) for outcome in self.outcomes],
            "docs": str(self.docs),
            "seconds": self.seconds,
        }


class ValidationFailed(InputError):
    """A critical expectation failed: the message names the first one's rows, `report` holds all outcomes."""

    def __init__(self, message: str, report: ValidationReport) -> None:
        super().__init__(message)
        self.report = report

    def __reduce__(self) -> tuple[type["ValidationFailed"], tuple[str, ValidationReport]]:
        return type(self), (str(self), self.report)


class TimesLimits(Spec):
    """The range in which an event's time is plausible."""

    earliest: date
    hours_ahead: Annotated[float, Field(ge=0, le=24 * 365, allow_inf_nan=False)]
    severity: Severity


class EventsPerDayLimit(Spec):
    """The most events of one user in one UTC day."""

    most: Annotated[int, Field(ge=1)]
    severity: Severity


class ShareLimit(Spec):
    """The largest share of a table's rows that may be unexpected."""

    largest_share: Annotated[float, Field(ge=0, le=1)]
    severity: Severity


class NoiseKinds(Spec):
    """The kinds of noise that a label may name."""

    known: Annotated[tuple[str, ...], Field(min_length=1)]
    severity: Severity


class NoiseRatioLimit(Spec):
    """How far the realised share of injected noise may be from the share asked for."""

    tolerance: Annotated[float, Field(ge=0, le=1)]
    severity: Severity


class Limits(Spec):
    """The contents of `expectations.yaml`: what is plausible, and how bad it is where it is not."""

    rows_shown: Annotated[int, Field(ge=1, le=20)]
    times: TimesLimits
    events_per_day: EventsPerDayLimit
    duplicates: ShareLimit
    unseen_items: ShareLimit
    noise_kinds: NoiseKinds
    noise_ratio: NoiseRatioLimit


def validate(
    snapshot_path: Path, *, docs: Path, expectations: Path = EXPECTATIONS, now: datetime | None = None
) -> ValidationReport:
    """Check the snapshot and write its Data Docs to `docs/<snapshot's name>/index.html`.

    `expectations`: the file of limits. `now`: the time after which an event lies in the future; the clock's
    where it is not given.

    Raises `ValidationFailed` where a critical expectation fails, with the report on the exception and the
    Data Docs written; `InputError` where the snapshot or the file of limits cannot be read.
    """
    started = time.perf_counter()
    limits = load_limits(expectations)
    manifest = _open(snapshot_path)
    latest = (now or datetime.now(UTC)) + timedelta(hours=limits.times.hours_ahead)
    checks = _checks(manifest, limits=limits, latest=latest)
    with working_folder(docs) as work:
        outcomes = _evaluate(checks, snapshot_path=snapshot_path, work=work)
        _put_in_place(work, docs / snapshot_path.name)
    report = ValidationReport(
        snapshot=snapshot_path.name,
        outcomes=outcomes,
        docs=docs / snapshot_path.name / "index.html",
        seconds=round(time.perf_counter() - started, 3),
    )
    if report.failures:
        raise ValidationFailed(_failure_sentence(report, rows_shown=limits.rows_shown), report)
    return report


def load_limits(path: Path = EXPECTATIONS) -> Limits:
    """Read a file of limits. Raises `InputError` naming the key where something is wrong with it."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: the file of expectations cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise InputError(f"{path}{where}: the file of expectations is not valid YAML") from error
    try:
        return Limits.model_validate(content)
    except ValidationError as error:
        # A misspelt key is also a missing one: say which was written.
        first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        raise InputError(f"{path}: {key}: {_complaint(first['type'], first['msg'])}") from error


def describe(outcome: Outcome, *, rows_shown: int = 3) -> str:
    """A failed outcome in words: the expectation, table, column, number of rows and the first of them."""
    where = f"table {outcome.table}" + (f", column {outcome.column}" if outcome.column else "")
    if outcome.crash is not None:
        return f"“{outcome.name}” ({where}) could not be evaluated: {outcome.crash}"
    if outcome.unexpected is None:
        return f"“{outcome.name}” fails ({where}): found {outcome.observed}"
    many = "1 unexpected row" if outcome.unexpected == 1 else f"{outcome.unexpected:,} unexpected rows"
    rows = "; ".join(_row_in_words(row) for row in outcome.rows[:rows_shown])
    first = "" if outcome.unexpected <= len(outcome.rows[:rows_shown]) else "the first "
    return f"“{outcome.name}” fails ({where}): {many}" + (f", {first}{rows}" if rows else "")


# --- what is expected -------------------------------------------------------------------------------------

COLUMNS: Mapping[str, Mapping[str, str]] = {
    "interactions": {
        "user": "INTEGER",
        "item": "INTEGER",
        "time": "BIGINT",
        "position": "INTEGER",
        "noise_kind": "VARCHAR",
    },
    "targets": {
        "target": "INTEGER",
        "user": "INTEGER",
        "item": "INTEGER",
        "split": "VARCHAR",
        "history": "INTEGER",
    },
    "users": {"user": "INTEGER", "user_id": "VARCHAR", "train_length": "INTEGER"},
    "items": {"item": "INTEGER", "item_id": "VARCHAR"},
}
"""The tables of a snapshot, in the order in which they are checked: column to DuckDB type."""

SITE = "site"  # the Data Docs inside the working folder
SAMPLED_ROWS = 20  # of the unexpected rows, kept in the report and the Data Docs


@dataclass(frozen=True)
class _Check:
    """One expectation: `kind` and `options` say which of Great Expectations' and with what."""

    name: str
    table: str
    column: str | None
    kind: str
    options: Json
    severity: Severity = "critical"


def _checks(manifest: Manifest, *, limits: Limits, latest: datetime) -> tuple[_Check, ...]:
    """All expectations for a snapshot, the structure first: its failure explains those that follow."""
    return (
        *(_columns_check(table) for table in COLUMNS),
        *_interaction_checks(manifest),
        *(_time_checks(limits, latest=latest) if manifest.has_times else (_no_times(),)),
        *_noise_checks(manifest, limits=limits),
        *_target_checks(manifest),
        *_user_checks(manifest),
        *_item_checks(manifest, limits=limits),
    )


def _columns_check(table: str) -> _Check:
    columns = COLUMNS[table]
    query = sql.load(
        "validate/column_types",
        batch="{batch}",
        columns=_list_literal(columns),
        types=_list_literal(columns.values()),
    )
    return _rows(f"the table {table} has its columns with their types", table, None, query)


def _interaction_checks(manifest: Manifest) -> Iterator[_Check]:
    table = "interactions"
    yield _row_count(table, manifest.counts.interactions)
    for column in ("user", "item", "position"):
        yield _not_null(table, column)
    yield _between("the user is a known one", table, "user", 0, manifest.counts.users - 1)
    yield _between("the item is a known one and not the padding item 0", table, "item", 1, manifest.counts.items)
    yield _rows(
        "interactions are stored by user, then by position",
        table,
        "position",
        sql.load("validate/out_of_order"),
    )
    yield _rows(
        "a user has one interaction at a position",
        table,
        "position",
        sql.load("validate/repeated_positions"),
    )
    yield _rows(
        "a user's positions run from 0 without gaps",
        table,
        "position",
        sql.load("validate/position_gaps"),
    )


def _time_checks(limits: Limits, *, latest: datetime) -> Iterator[_Check]:
    table = "interactions"
    earliest = datetime.combine(limits.times.earliest, datetime.min.time(), tzinfo=UTC)
    yield _not_null(table, "time")
    yield _rows("a user's times do not run backwards", table, "time", sql.load("validate/times_backwards"))
    yield _rows(
        f"times lie between {earliest:%Y-%m-%d} and now",
        table,
        "time",
        sql.load(
            "validate/implausible_times",
            batch="{batch}",
            earliest=str(_microseconds(earliest)),
            latest=str(_microseconds(latest)),
        ),
        severity=limits.times.severity,
    )
    yield _rows(
        f"nobody has more than {limits.events_per_day.most:,} events in a day",
        table,
        "time",
        sql.load("validate/busy_users", batch="{batch}", most=str(limits.events_per_day.most)),
        severity=limits.events_per_day.severity,
    )
    yield _rows(
        f"at most {limits.duplicates.largest_share:.3g} of the events repeat a user's item at the same time",
        table,
        None,
        sql.load("validate/duplicates"),
        severity=limits.duplicates.severity,
        largest_share=limits.duplicates.largest_share,
    )


def _no_times() -> _Check:
    return _Check(
        "a log without times has none",
        "interactions",
        "time",
        "ExpectColumnValuesToBeNull",
        {"column": "time"},
    )


def _noise_checks(manifest: Manifest, *, limits: Limits) -> Iterator[_Check]:
    table, column = "interactions", "noise_kind"
    yield _rows(
        "the number of noisy training interactions is the manifest's",
        table,
        column,
        sql.load("validate/noisy_count", batch="{batch}", expected=str(manifest.counts.noisy)),
    )
    injected = _injected(manifest.spec)
    if manifest.labelled:
        yield _Check(
            "the kind of noise is a known one",
            table,
            column,
            "ExpectColumnValuesToBeInSet",
            {"column": column, "value_set": sorted({*limits.noise_kinds.known, *(injected or ())[:1]})},
            limits.noise_kinds.severity,
        )
    else:
        yield _Check(
            "a log without noise labels has none",
            table,
            column,
            "ExpectColumnValuesToBeNull",
            {"column": column},
        )
    if injected is not None:
        kind, ratio = injected
        yield _rows(
            f"the share of injected noise in the training part is {ratio:g}",
            table,
            column,
            sql.load(
                "validate/noise_ratio",
                batch="{batch}",
                kind=sql.literal(kind),
                ratio=repr(ratio),
                tolerance=repr(limits.noise_ratio.tolerance),
            ),
            severity=limits.noise_ratio.severity,
        )
        yield _rows(
            "noise is injected into the training part only",
            table,
            column,
            sql.load("validate/noise_outside_training", batch="{batch}", kind=sql.literal(kind)),
        )


def _target_checks(manifest: Manifest) -> Iterator[_Check]:
    table = "targets"
    yield _row_count(table, manifest.counts.targets_validation + manifest.counts.targets_test)
    for column in ("target", "split"):  # a null in another column is no interaction's, and found below
        yield _not_null(table, column)
    yield _unique(table, "target")
    yield _Check(
        "the split is validation or test",
        table,
        "split",
        "ExpectColumnValuesToBeInSet",
        {"column": "split", "value_set": ["validation", "test"]},
    )
    yield _rows(
        "each split has the manifest's number of targets",
        table,
        "split",
        sql.load(
            "validate/split_counts",
            batch="{batch}",
            validation=str(manifest.counts.targets_validation),
            test=str(manifest.counts.targets_test),
        ),
    )
    yield _rows("a target's item is the interaction at its position", table, "item", sql.load("validate/target_items"))
    yield _rows("no target lies among the training positions", table, "history", sql.load("validate/leaked_targets"))
    if _split(manifest.spec) == "leave-one-out":
        yield _rows("a user has at most one target in a split", table, "split", sql.load("validate/repeated_targets"))


def _user_checks(manifest: Manifest) -> Iterator[_Check]:
    table = "users"
    yield _row_count(table, manifest.counts.users)
    for column in ("user", "user_id"):
        yield _not_null(table, column)
        yield _unique(table, column)
    yield _between("users are numbered from 0", table, "user", 0, manifest.counts.users - 1)
    yield _rows(
        "a user's training part is no longer than the user's log",
        table,
        "train_length",
        sql.load("validate/train_lengths"),
    )


def _item_checks(manifest: Manifest, *, limits: Limits) -> Iterator[_Check]:
    table = "items"
    yield _row_count(table, manifest.counts.items)
    for column in ("item", "item_id"):
        yield _not_null(table, column)
        yield _unique(table, column)
    yield _between("items are numbered from 1", table, "item", 1, manifest.counts.items)
    yield _rows(
        f"at most {limits.unseen_items.largest_share:.3g} of the items are in no training event",
        table,
        "item",
        sql.load("validate/unseen_items"),
        severity=limits.unseen_items.severity,
        largest_share=limits.unseen_items.largest_share,
    )


def _not_null(table: str, column: str) -> _Check:
    return _Check(f"the {column} is never null", table, column, "ExpectColumnValuesToNotBeNull", {"column": column})


def _unique(table: str, column: str) -> _Check:
    return _Check(f"the {column} is unique", table, column, "ExpectColumnValuesToBeUnique", {"column": column})


def _between(name: str, table: str, column: str, least: int, most: int) -> _Check:
    return _Check(
        f"{name} ({least:,} to {most:,})",
        table,
        column,
        "ExpectColumnValuesToBeBetween",
        {"column": column, "min_value": least, "max_value": most},
    )


def _row_count(table: str, rows: int) -> _Check:
    return _Check(
        f"the table {table} has the manifest's {rows:,} rows",
        table,
        None,
        "ExpectTableRowCountToEqual",
        {"value": rows},
    )


def _rows(
    name: str,
    table: str,
    column: str | None,
    query: str,
    *,
    severity: Severity = "critical",
    largest_share: float = 0.0,
) -> _Check:
    """An expectation that a query of `sql/validate/` finds no rows, or few."""
    sample = sql.load("validate/sample", query=query.strip(), rows=str(SAMPLED_ROWS))
    options = {"unexpected_rows_query": sample, "largest_share": largest_share}
    return _Check(name, table, column, "ExpectFewUnexpectedRows", options, severity)


# --- how it is evaluated ----------------------------------------------------------------------------------

_GX_PROJECT = threading.Lock()  # Great Expectations keeps its current project in a global: one at a time


def _evaluate(checks: tuple[_Check, ...], *, snapshot_path: Path, work: Path) -> tuple[Outcome, ...]:
    """Run the checks inside DuckDB and write the Data Docs into the working folder."""
    outcomes: dict[int, Outcome] = {}
    with _GX_PROJECT:
        context = _context(work / SITE)
        with _views(context, snapshot_path, spill=work / "spill") as datasource:
            for table in COLUMNS:
                numbered = {n: check for n, check in enumerate(checks) if check.table == table}
                outcomes |= _run_suite(context, datasource, table, numbered, snapshot=snapshot_path.name)
        context.build_data_docs()
    return tuple(outcomes[n] for n in range(len(checks)))


def _context(docs: Path) -> "EphemeralDataContext":
    """A context in memory, without analytics and progress bars, whose Data Docs go to the folder `docs`."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    site = {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs.resolve())},
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
    }
    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        data_docs_sites={"local": site},
        analytics_enabled=False,
        progress_bars=ProgressBarsConfig(globally=False),
    )
    return gx.get_context(project_config=config, mode="ephemeral")


@contextmanager
def _views(context: "EphemeralDataContext", snapshot_path: Path, *, spill: Path) -> Iterator["DuckDBDatasource"]:
    """A DuckDB data source in memory with one view a table of the snapshot; closed at the end."""
    from sqlalchemy.exc import DBAPIError

    from tasks.gx_duckdb import opened_in_memory

    with opened_in_memory(context, name="snapshot") as (datasource, connection):
        connection.exec_driver_sql(f"SET temp_directory = {sql.literal(str(spill))}")
        for table in COLUMNS:
            path = snapshot_path / f"{table}.parquet"
            if not path.is_file():
                raise InputError(f"{snapshot_path}: the snapshot lacks {path.name}: make it anew")
            view = sql.load("validate/view", table=sql.quoted(table), path=sql.literal(str(path)))
            try:
                connection.exec_driver_sql(view)
            except DBAPIError as error:
                raise InputError(f"{path}: not readable as Parquet ({_first_line(error.orig)})") from error
        yield datasource


def _run_suite(
    context: "EphemeralDataContext",
    datasource: "DuckDBDatasource",
    table: str,
    checks: Mapping[int, _Check],
    *,
    snapshot: str,
) -> dict[int, Outcome]:
    """Run the checks of one table; the keys are those of `checks`."""
    import great_expectations as gx

    asset = datasource.add_table_asset(name=table, table_name=table)
    batch = asset.add_batch_definition_whole_table("all rows")
    suite = context.suites.add(
        gx.ExpectationSuite(
            name=f"{snapshot} {table}", expectations=[_expectation(n, check) for n, check in checks.items()]
        )
    )
    definition = context.validation_definitions.add(
        gx.ValidationDefinition(name=f"{snapshot} {table}", data=batch, suite=suite)
    )
    result = definition.run(
        result_format={
            "result_format": "SUMMARY",
            "include_unexpected_rows": True,
            "partial_unexpected_count": SAMPLED_ROWS,
        }
    )
    found = {r.expectation_config.meta["check"]: r for r in result.results if r.expectation_config is not None}
    return {n: _outcome(check, found.get(n)) for n, check in checks.items()}


def _expectation(number: int, check: _Check) -> "Expectation":
    import great_expectations.expectations as gxe

    from tasks.gx_duckdb import ExpectFewUnexpectedRows

    own: dict[str, Callable[..., Expectation]] = {"ExpectFewUnexpectedRows": ExpectFewUnexpectedRows}
    make = own.get(check.kind) or getattr(gxe, check.kind)
    return make(
        **check.options,
        description=check.name,
        severity=check.severity,
        meta={"check": number, "name": check.name},
    )


def _outcome(check: _Check, result: "ExpectationValidationResult | None") -> Outcome:
    """One result as an outcome. A result that is absent or holds an exception anywhere is a crash."""
    crash = "no result came back" if result is None else _crash(result.exception_info)
    details: Json = {} if result is None or crash is not None else dict(result.result or {})
    rows = details.get("unexpected_rows") or details.get("details", {}).get("unexpected_rows") or []
    return Outcome(
        name=check.name,
        table=check.table,
        column=check.column,
        severity=check.severity if crash is None else "critical",
        success=crash is None and result is not None and bool(result.success),
        unexpected=details.get("unexpected_count"),
        rows=tuple({key: _plain(value) for key, value in dict(row).items()} for row in rows),
        observed=_plain(details.get("observed_value")),
        crash=crash,
    )


def _crash(info: Any) -> str | None:
    """What was raised, from an `exception_info`: flat, or nested one level or more under metric names."""
    if not isinstance(info, Mapping):
        return None
    if info.get("raised_exception"):
        return _first_line(info.get("exception_message")) or "an error without a message"
    return next((crash for nested in info.values() if (crash := _crash(nested)) is not None), None)


# --- the files around it ----------------------------------------------------------------------------------


def _open(path: Path) -> Manifest:
    manifest = open_snapshot(path).manifest
    if min(manifest.counts.interactions, manifest.counts.users, manifest.counts.items) < 1:
        raise InputError(f"{path}: the snapshot is empty: there is nothing to check")
    return manifest


def _injected(spec: Json) -> tuple[str, float] | None:
    """Kind and ratio of the noise that the spec of a corrupted snapshot asks for, None for another spec."""
    corrupt = spec.get("corrupt")
    return (str(corrupt["kind"]), float(corrupt["ratio"])) if corrupt else None


def _split(spec: Json) -> str:
    """How the targets were chosen; leave-one-out where the spec does not say."""
    return str(spec.get("prepare", {}).get("split", "leave-one-out"))


def _put_in_place(work: Path, place: Path) -> None:
    """Move the new Data Docs to `place`; those that lie there go away with the working folder."""
    if place.exists():
        place.rename(work / "previous")
    (work / SITE).rename(place)


# --- words ------------------------------------------------------------------------------------------------


def _failure_sentence(report: ValidationReport, *, rows_shown: int) -> str:
    first, *others = report.failures
    more = f" (and {len(others)} more failed)" if others else ""
    return f"snapshot {report.snapshot}: {describe(first, rows_shown=rows_shown)}{more}; see {report.docs}"


def _row_in_words(row: Json) -> str:
    return "(" + ", ".join(f"{key} {'null' if value is None else value}" for key, value in row.items()) + ")"


def _complaint(kind: str, message: str) -> str:
    match kind:
        case "extra_forbidden":
            return "no such key is known: remove it or correct its spelling"
        case "missing":
            return "the key is absent: add it"
        case _:
            return message[:1].lower() + message[1:]


def _first_line(message: object, longest: int = 200) -> str:
    line = next((line.strip() for line in str(message or "").splitlines() if line.strip()), "")
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _plain(value: Any) -> Any:
    """`value` as JSON would hold it."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case Decimal():
            return float(value)
        case Mapping():
            return {str(key): _plain(inner) for key, inner in value.items()}
        case list() | tuple() | set():
            return [_plain(inner) for inner in value]
        case _:
            return str(value)


def _list_literal(values: Iterable[str]) -> str:
    return "[" + ", ".join(sql.literal(value) for value in values) + "]"


def _microseconds(moment: datetime) -> int:
    """Microseconds since 1970 UTC, exactly."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
