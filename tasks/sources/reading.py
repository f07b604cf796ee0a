"""An interaction log as a table inside DuckDB, its faults told in one sentence with file, row and column.

Rows are counted from 1 and without the header.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

import sql
from tasks.engine import one_row
from tasks.errors import InputError
from tasks.sources.loading import COLUMN_OF, Loaded, load
from tasks.sources.logs import Log

_MICROSECONDS = {"dates": 1.0, "seconds": 1e6, "milliseconds": 1e3, "microseconds": 1.0, "nanoseconds": 1e-3}


_GENUINE = ("", "genuine", "0", "0.0", "false", "f", "no", "n")
"""Of the labels that a log gives its events those, in any case, that say that one is meant."""

_UNNAMED = ("1", "1.0", "true", "t", "yes", "y")
"""Those that say that one is noise, and of no kind: it is `natural`."""


@dataclass(frozen=True)
class Reading:
    """What a log turned out to be. `scale`: microseconds in a unit of its times."""

    loaded: Loaded
    scale: float

    @property
    def names(self) -> dict[str, str]:
        """What the log's rows say (user, item, time, …), with the name that a person knows it by."""
        return self.loaded.names


def read_log(connection: duckdb.DuckDBPyConnection, log: Log, *, work: Path) -> Reading:
    """Load the log as the table `log`, all text, with rowids in the files' order, and the view `parsed` over it.

    `work` is a working folder. Raises `InputError` naming file, row, column and value where the log is wrong.
    """
    loaded = load(connection, log, work=work)
    connection.execute(sql.load("ingest/parsed", **_parsing(connection)))
    return Reading(loaded, _check(connection, loaded))


def refuse_unrated(connection: duckdb.DuckDBPyConnection, reading: Reading) -> None:
    """Raise `InputError` where the log has no ratings, or naming the first row whose rating is no number."""
    if "rating" not in reading.names:
        raise InputError(
            f"{reading.loaded.title} has no column of ratings to drop events by: name it, or ask for no least rating"
        )
    (row,) = one_row(connection, sql.load("ingest/first_unrated"))
    if row is None:
        return
    value = _raw_value(connection, "rating", row=row)
    problem = "no rating" if value in (None, "") else f"{value!r} where a rating, a number, belongs"
    raise InputError(f"{reading.loaded.place(connection, row)}, column {reading.names['rating']!r}: {problem}")


def _parsing(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """The expressions of the view `parsed` over the columns that the table `log` has, each in the type it has."""
    types = {name: kind for name, kind, *_ in connection.execute("DESCRIBE log").fetchall()}
    numbers = {role: _number(COLUMN_OF[role]) if COLUMN_OF[role] in types else "NULL::DOUBLE" for role in COLUMN_OF}
    return {
        "user_id": _id("user_id", types),
        "item_id": _id("item_id", types),
        "time_number": "NULL::DOUBLE" if types.get("time_text") == "TIMESTAMP" else numbers["time"],
        "time_date": _date(types.get("time_text")),
        "order_number": numbers["order"],
        "order_integer": "try_cast(order_text AS HUGEINT)" if "order_text" in types else "NULL::HUGEINT",
        "rating": numbers["rating"],
        "noise_kind": _noise() if "noise_text" in types else "NULL::VARCHAR",
    }


def _id(column: str, types: Mapping[str, str]) -> str:
    return f"nullif({column}, '')" if types[column] == "VARCHAR" else column


def _number(column: str) -> str:
    number = f"try_cast({column} AS DOUBLE)"
    return f"CASE WHEN isfinite({number}) THEN {number} END"


def _date(kind: str | None) -> str:
    if kind == "TIMESTAMP":
        return "CASE WHEN isfinite(time_text) THEN epoch_us(time_text) END"
    if kind != "VARCHAR":
        return "NULL::BIGINT"
    moment = "try_cast(time_text AS TIMESTAMPTZ)"
    return f"CASE WHEN try_cast(time_text AS DOUBLE) IS NULL AND isfinite({moment}) THEN epoch_us({moment}) END"


def _noise() -> str:
    """SQL for the kind of noise that an event is labelled as; NULL where it is genuine."""
    genuine, unnamed = (", ".join(map(sql.literal, words)) for words in (_GENUINE, _UNNAMED))
    word = "lower(trim(noise_text))"
    return f"CASE WHEN {word} IN ({genuine}) THEN NULL WHEN {word} IN ({unnamed}) THEN 'natural' ELSE noise_text END"


def _check(connection: duckdb.DuckDBPyConnection, loaded: Loaded) -> float:
    """Refuse rows that lack what they need; return the microseconds in a unit of time."""
    rows, *faults = one_row(connection, sql.load("ingest/first_faults"))
    if rows == 0:
        raise InputError(f"{loaded.title} holds no interactions: none of its rows is one")
    for role, row in zip(("user", "item", "order"), faults, strict=True):
        if role not in loaded.names or row is None:
            continue
        value = _raw_value(connection, role, row=row)
        if role == "order":
            problem = "no number" if value in (None, "") else f"{value!r} where a number belongs"
        else:
            problem = f"no {role} id"
        raise InputError(f"{loaded.place(connection, row)}, column {loaded.names[role]!r}: {problem}")
    if "time" not in loaded.names:
        return 1.0
    return _MICROSECONDS[_time_unit(connection, loaded)]


def _time_unit(connection: duckdb.DuckDBPyConnection, loaded: Loaded) -> str:
    """The one unit that all times are in.

    Raises `InputError` naming the first row that has no time or one in another unit.
    """
    units: dict[str, int] = {unit: row for unit, _, row in connection.execute(sql.load("ingest/time_units")).fetchall()}
    column = f"column {loaded.names['time']!r}"
    if "unreadable" in units:
        row = units["unreadable"]
        value = _raw_value(connection, "time", row=row)
        problem = "no time" if value in (None, "") else f"{value!r} where a number or an ISO date belongs"
        raise InputError(f"{loaded.place(connection, row)}, {column}: {problem}")
    if list(units) == ["dates without dashes"]:
        row = units["dates without dashes"]
        value = _raw_value(connection, "time", row=row)
        raise InputError(
            f"{loaded.place(connection, row)}, {column}: {value!r} looks like a date, as all times do, and would be "
            "taken for seconds, write dates with dashes, as in 2020-01-31"
        )
    # Some seconds look so by chance.
    units.pop("dates without dashes", None)
    usual, *others = units
    if others:
        row = units[others[0]]
        value = _raw_value(connection, "time", row=row)
        raise InputError(
            f"{loaded.place(connection, row)}, {column}: {value!r} is in {others[0]} where most times are in {usual}, "
            "bring the whole column to one unit"
        )
    return usual


def _raw_value(connection: duckdb.DuckDBPyConnection, role: str, *, row: int) -> Any:
    (value,) = one_row(connection, sql.load("ingest/raw_value", column=COLUMN_OF[role]), {"row": row})
    return value
