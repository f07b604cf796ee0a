"""An interaction log as a table inside DuckDB, its faults told in one sentence with file, row and column.

Rows are counted from 1 and without the header.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

import sql
from tasks.engine import one_row
from tasks.errors import InputError
from tasks.layouts import Layout, broken_json_line, recognise, refuse_broken_gzip
from tasks.source import Log

_MICROSECONDS = {"dates": 1.0, "seconds": 1e6, "milliseconds": 1e3, "microseconds": 1.0, "nanoseconds": 1e-3}


@dataclass(frozen=True)
class Reading:
    """What a log turned out to be. `roles`: what its rows say (user, item, time, …); `scale`: microseconds in a unit
    of its times.
    """

    roles: frozenset[str]
    scale: float


def read_log(connection: duckdb.DuckDBPyConnection, log: Log, *, work: Path) -> Reading:
    """Load the log as the table `log`, all text, with rowids in the files' order, and the view `parsed` over it.

    `work` is a working folder. Raises `InputError` naming file, row, column and value where the log is wrong.
    """
    path = log.files[0].path
    layout = recognise(path, log.source)
    if layout.gzipped:
        refuse_broken_gzip(path)
    _load(connection, layout, log_path=path, work=work)
    return Reading(frozenset(layout.names), _check(connection, layout, log_path=path))


def _load(connection: duckdb.DuckDBPyConnection, layout: Layout, *, log_path: Path, work: Path) -> None:
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
    rows, *faults = one_row(connection, sql.load("ingest/first_faults"))
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


def _raw_value(connection: duckdb.DuckDBPyConnection, role: str, *, row: int) -> Any:
    column = {"user": "user_id", "item": "item_id", "time": "time_text", "order": "order_text"}[role]
    (value,) = one_row(connection, sql.load("ingest/raw_value", column=column), {"row": row})
    return value
