"""From a raw interaction log to a snapshot, inside DuckDB.

Every fault of the log is told in one sentence with its file, row and column, and leaves
nothing behind. Rows are counted from 1 and without the header.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

import sql
from tasks.digests import file_digest
from tasks.errors import InputError
from tasks.home import Home
from tasks.layouts import Layout, broken_json_line, recognise, refuse_broken_gzip
from tasks.scratch import working_folder
from tasks.snapshots import IdType, Origin, Snapshot, SourceFile, Traits, write_snapshot
from tasks.specs import Columns, PrepareSpec, SourceSpec

SHOPPERS_COLUMNS = Columns(user="user_id", item="item_id", time="time", noise="noise")

_MICROSECONDS = {"dates": 1.0, "seconds": 1e6, "milliseconds": 1e3, "microseconds": 1.0, "nanoseconds": 1e-3}


def inspect_source(source: SourceSpec) -> None:
    """Refuse a source that cannot be ingested, at the cost of reading its file's beginning.

    Raises `InputError` in one sentence: missing, a folder, unreadable, empty, of an unknown kind,
    a Parquet file cut short, an absent column. The generated shoppers always pass.
    """
    if source.path is not None:
        recognise(Path(source.path).expanduser(), source)


def ingest(source: SourceSpec, prepare: PrepareSpec, *, home: Home, log_path: Path) -> Snapshot:
    """Read the log at `log_path` as `source` says and write it as a snapshot.

    `log_path` is the file itself: `source.path`, or the generated shoppers' Parquet file (columns
    user_id, item_id, time and noise). The same log prepared the same way gives the snapshot that
    is there already.

    Raises `InputError` naming file, row, column and value where the log is wrong, or where
    nothing or nobody is left to rank.
    """
    if source.path is None:
        source = source.model_copy(update={"columns": SHOPPERS_COLUMNS})
    layout = recognise(log_path, source)
    if layout.gzipped:
        refuse_broken_gzip(log_path)
    before = log_path.stat()
    with working_folder(home.snapshots) as work, _engine(work) as connection:
        _read(connection, layout, log_path=log_path, work=work)
        scale = _check(connection, layout, log_path=log_path)
        types = _prepare(connection, prepare, scale=scale, log_path=log_path)
        after = log_path.stat()
        origin = Origin(
            sources=(SourceFile(name=log_path.name, bytes=after.st_size, sha256=file_digest(log_path)),),
            spec={
                "source": source.model_dump(mode="json", exclude={"path"}),
                "prepare": prepare.model_dump(mode="json"),
            },
        )
        if (before.st_size, before.st_mtime_ns) != (log_path.stat().st_size, log_path.stat().st_mtime_ns):
            raise InputError(f"{log_path} changed while it was read: try again when it is complete")
        traits = Traits(
            labelled="noise" in layout.names,
            user_id_type=types["user_codes"],
            item_id_type=types["item_codes"],
            has_times="time" in layout.names,
        )
        return write_snapshot(connection, work, home=home, traits=traits, origin=origin)


@contextmanager
def _engine(work: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB in memory, spilling into the working folder; dates without a zone are UTC."""
    with duckdb.connect(":memory:", config={"temp_directory": str(work / "spill")}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def _read(connection: duckdb.DuckDBPyConnection, layout: Layout, *, log_path: Path, work: Path) -> None:
    """Load the log as the table `log`, all text; its rowids follow the file's order."""
    # A link with a plain name: DuckDB takes `*`, `[` and `key=value` in a path for patterns.
    link = work / "log"
    link.symlink_to(log_path.resolve())
    connection.execute("SET preserve_insertion_order = true")
    try:
        connection.execute(f"CREATE TABLE log AS {_reading_query(layout, link)}")
    except duckdb.OutOfMemoryException:
        raise
    except (duckdb.InvalidInputException, duckdb.ConversionException, duckdb.IOException) as error:
        broken = broken_json_line(log_path) if layout.reader == "json" else None
        raise broken or _reading_error(log_path, layout, str(error)) from None
    # From here on the row's number is a column, and what has to be sorted is sorted by name.
    connection.execute("SET preserve_insertion_order = false")
    connection.execute(sql.load("ingest/parsed"))


def _reading_query(layout: Layout, path: Path) -> str:
    columns = "{" + ", ".join(f"{sql.literal(field)}: 'VARCHAR'" for field in layout.fields) + "}"
    file = sql.literal(str(path))
    compression = sql.literal("gzip" if layout.gzipped else "uncompressed")
    if layout.reader == "parquet":
        return sql.load("sources/parquet", path=file, **layout.roles)
    if layout.reader == "json":
        return sql.load("sources/json_lines", path=file, columns=columns, compression=compression, **layout.roles)
    return sql.load(
        "sources/delimited",
        path=file,
        columns=columns,
        compression=compression,
        header=str(layout.header).lower(),
        delimiter=sql.literal(layout.delimiter),
        quote=sql.literal(layout.quote),
        **layout.roles,
    )


def _reading_error(log_path: Path, layout: Layout, message: str) -> InputError:
    """DuckDB's account of a file that it cannot read, in one sentence."""
    line = re.search(r"CSV Error on Line: (\d+)", message)
    where = f"{log_path}, line {line[1]}" if line else str(log_path)
    widths = re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", message)
    if widths:
        return InputError(f"{where}: {widths[2]} values where the first line has {widths[1]}")
    if "unterminated quote" in message:
        return InputError(f"{where}: a quote is opened and never closed")
    if "not utf-8" in message:
        return InputError(f"{where}: not UTF-8 text, save the file as UTF-8")
    if "state machine reached an invalid state" in message:
        return InputError(f"{where}: stray quotes or mixed line ends, write it as RFC 4180 describes")
    detail = message.splitlines()[0].split("Error: ", 1)[-1]
    kind = {"parquet": "Parquet", "json": "JSON lines", "delimited": "delimited text"}[layout.reader]
    return InputError(f"{where} cannot be read as {kind} (cut short or damaged?): {detail}")


def _check(connection: duckdb.DuckDBPyConnection, layout: Layout, *, log_path: Path) -> float:
    """Refuse rows that lack what they need; return the microseconds in a unit of time."""
    rows, *faults = _one_row(connection, sql.load("ingest/first_faults"))
    if rows == 0:
        raise InputError(f"{log_path} holds no interactions: it has a header and no rows")
    for role, row in zip(("user", "item", "order"), faults, strict=True):
        if role not in layout.names or row is None:
            continue
        value = _raw_value(connection, role, row=row)
        if role == "order":
            problem = "no number" if value in (None, "") else f"{value!r} where a number belongs"
        else:
            problem = f"no {role} id"
        raise InputError(f"{log_path}, row {row}, column {layout.names[role]!r}: {problem}")
    if "time" not in layout.names:
        return 1.0
    return _MICROSECONDS[_time_unit(connection, layout, log_path=log_path)]


def _time_unit(connection: duckdb.DuckDBPyConnection, layout: Layout, *, log_path: Path) -> str:
    """The one unit that all times are in.

    Raises `InputError` naming the first row that has no time or one in another unit.
    """
    units: dict[str, int] = {unit: row for unit, _, row in connection.execute(sql.load("ingest/time_units")).fetchall()}
    column = f"column {layout.names['time']!r}"
    if "missing" in units:
        raise InputError(f"{log_path}, row {units['missing']}, {column}: no time")
    if "unreadable" in units:
        row = units["unreadable"]
        value = _raw_value(connection, "time", row=row)
        raise InputError(f"{log_path}, row {row}, {column}: {value!r} where a number or an ISO date belongs")
    usual, *others = units
    if others:
        row = units[others[0]]
        value = _raw_value(connection, "time", row=row)
        raise InputError(
            f"{log_path}, row {row}, {column}: {value!r} is in {others[0]} where most times are in {usual}, "
            "bring the whole column to one unit"
        )
    return usual


def _prepare(
    connection: duckdb.DuckDBPyConnection, prepare: PrepareSpec, *, scale: float, log_path: Path
) -> dict[str, IdType]:
    """Make the snapshot's four tables of the log; return the types of the ids."""
    connection.execute(sql.load("ingest/codes", codes="user_codes", id="user_id"))
    connection.execute(sql.load("ingest/codes", codes="item_codes", id="item_id"))
    connection.execute(sql.load("ingest/events"), {"scale": scale})
    connection.execute("DROP VIEW parsed; DROP TABLE log")
    _keep_core(connection, prepare.k_core, log_path=log_path)
    connection.execute(sql.load("ingest/users"), {"min_events": prepare.min_events})
    connection.execute(sql.load("ingest/items"))
    connection.execute(sql.load("ingest/interactions"))
    connection.execute("DROP TABLE events")
    connection.execute(sql.load("ingest/targets"))
    if _one_row(connection, "SELECT count(*) FROM targets") == (0,):
        (longest,) = _one_row(connection, "SELECT max(event_count) FROM users")
        raise InputError(
            f"{log_path}: no user has the {prepare.min_events} interactions that being ranked takes "
            f"(the longest history has {longest}), so there would be nothing to evaluate"
        )
    return {table: _id_type(connection, table) for table in ("user_codes", "item_codes")}


def _keep_core(connection: duckdb.DuckDBPyConnection, k: int, *, log_path: Path) -> None:
    """Drop rare users and items until none is left. Raises `InputError` where that takes everything."""
    if k <= 1:
        return
    dropped = 1
    while dropped:
        dropped = 0
        for code in ("user_code", "item_code"):
            (count,) = _one_row(connection, sql.load("ingest/drop_rare", code=code), {"k": k})
            dropped += count
    if _one_row(connection, "SELECT count(*) FROM events") == (0,):
        raise InputError(
            f"no interactions are left after dropping users and items with fewer than {k} interactions "
            f"from {log_path}: ask for a smaller k-core"
        )


def _id_type(connection: duckdb.DuckDBPyConnection, codes: str) -> IdType:
    (is_integer,) = _one_row(connection, f"SELECT bool_and(is_integer) FROM {codes}")
    return "integer" if is_integer else "string"


def _raw_value(connection: duckdb.DuckDBPyConnection, role: str, *, row: int) -> Any:
    column = {"user": "user_id", "item": "item_id", "time": "time_text", "order": "order_text"}[role]
    (value,) = _one_row(connection, sql.load("ingest/raw_value", column=column), {"row": row})
    return value


def _one_row(
    connection: duckdb.DuckDBPyConnection, query: str, parameters: dict[str, Any] | None = None
) -> tuple[Any, ...]:
    row = connection.execute(query, parameters).fetchone()
    if row is None:
        raise RuntimeError(f"a query that always gives one row gave none: {query}")
    return row
