"""The suite for logs as they were found: what a log must have to be read, and what is plausible in one.

`names`: what each of a log's columns is for, and what it is called in its file.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime

import duckdb

import sql
from tasks.engine import one_row
from tasks.sources.loading import COLUMN_OF
from tasks.validation.checks import Check, at_least, finds_few, finds_none, list_literal
from tasks.validation.limits import MostLimit, RawLimits, Severity, ShareLimit

SAMPLED_EVENTS = 4_000_000
"""Repetitions are looked for among the events of so many users that they have about this number of events."""

_SPANS: Mapping[str, int] = {"day": 86_400_000_000, "second": 1_000_000}  # in microseconds

_HASHED_EVENTS = 16  # for each value of the hash by which busy users are looked for


def has_rows(connection: duckdb.DuckDBPyConnection) -> bool:
    """Has a log been loaded, and is there anything in it?"""
    (found,) = one_row(connection, "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'log'")
    return bool(found) and _rows(connection) > 0


def find_faults(
    connection: duckdb.DuckDBPyConnection, names: Mapping[str, str], *, scale: float, limits: RawLimits, now: datetime
) -> None:
    """Make the table of the rows that break a rule. `scale`: microseconds in a unit of the log's times."""
    earliest, latest = limits.times.range(now)
    connection.execute(
        sql.load("validate/log_faults"),
        {
            "timed": "time" in names,
            "ordered": "order" in names,
            "rated": "rating" in names,
            "scale": scale,
            "earliest": earliest,
            "latest": latest,
            "least_rating": limits.ratings.least,
            "most_rating": limits.ratings.most,
        },
    )


def prepare_log(
    connection: duckdb.DuckDBPyConnection, names: Mapping[str, str], *, scale: float, limits: RawLimits
) -> None:
    """Make the other tables that the checks read, of a log that can be read."""
    connection.execute(sql.load("validate/log_ids", ids="users", id="user_id"))
    connection.execute(sql.load("validate/log_ids", ids="items", id="item_id"))
    rows = _rows(connection)
    if "time" in names:
        for span, limit in (("day", limits.events_per_day), ("second", limits.events_per_second)):
            slots = _busy_slots(span, limit, rows=rows, scale=scale)
            connection.execute(sql.load("validate/log_busy_hashes", **slots))
            connection.execute(sql.load("validate/log_busy_users", **slots))
    parts = max(1, round(rows / SAMPLED_EVENTS))
    connection.execute(sql.load("validate/log_sample"), {"scale": scale, "parts": parts})


def readable_checks(names: Mapping[str, str]) -> Iterator[Check]:
    """What the log's rows must have: without it no snapshot can be made of them."""
    yield _no_fault("every row has a user id", "user", "no_user", names)
    yield _no_fault("every row has an item id", "item", "no_item", names)
    if "time" in names:
        yield _no_fault("every row has a time, a number or a date", "time", "no_time", names)
        units = sql.load("ingest/time_units").rstrip()
        yield finds_none("all times are in one unit", "log", names["time"], sql.load("validate/log_units", units=units))
    if "order" in names:
        yield _no_fault("every row has a number to order by", "order", "no_order", names)


def plausible_checks(names: Mapping[str, str], *, limits: RawLimits) -> Iterator[Check]:
    """What is likely to be true of a log that can be read."""
    if "time" in names:
        yield from _time_checks(names, limits=limits)
    if "rating" in names:
        yield _no_fault(
            f"every rating is a number from {limits.ratings.least:g} to {limits.ratings.most:g}",
            "rating",
            "odd_rating",
            names,
            severity=limits.ratings.severity,
        )
    apart = ("user_id", "item_id", "time") if "time" in names else ("user_id", "item_id")
    moment = " at the same time" if "time" in names else ""
    yield _repetitions(f"repeat a user's item{moment}", apart, limits.duplicates)
    if "order" in names:
        yield _repetitions(
            f"have the order of another of the user's events{moment}",
            ("user_id", "time", "order_number", "order_integer"),
            limits.repeated_order,
        )
    yield from _id_checks("users", "user_id", limits, single=limits.single_event_users)
    yield from _id_checks("items", "item_id", limits, single=limits.single_event_items)
    for table, limit in (("users", limits.users), ("items", limits.items)):
        yield at_least(f"there are at least {limit.least:,} {table}", table, limit.least, severity=limit.severity)


def _time_checks(names: Mapping[str, str], *, limits: RawLimits) -> Iterator[Check]:
    yield _no_fault(
        f"times lie between {limits.times.earliest} and now",
        "time",
        "implausible_time",
        names,
        severity=limits.times.severity,
    )
    for span, limit in (("day", limits.events_per_day), ("second", limits.events_per_second)):
        yield finds_none(
            f"nobody has more than {limit.most:,} events in a {span}",
            "log",
            names["time"],
            sql.load("validate/log_busy", busy=f"busy_in_a_{span}"),
            severity=limit.severity,
        )


def _busy_slots(span: str, limit: MostLimit, *, rows: int, scale: float) -> dict[str, str]:
    """What the two queries for users who are busier than people are filled with."""
    return {
        "busy": f"busy_in_a_{span}",
        "length": str(_SPANS[span]),
        "most": str(limit.most),
        "scale": repr(scale),
        "values": str(1 + rows // _HASHED_EVENTS),
    }


def _repetitions(name: str, apart: tuple[str, ...], limit: ShareLimit) -> Check:
    return finds_few(
        f"at most {limit.largest_share:.3g} of the events {name}",
        "sampled",
        None,
        sql.load("validate/log_repeated", columns=", ".join(apart)),
        largest_share=limit.largest_share,
        severity=limit.severity,
    )


def _id_checks(table: str, column: str, limits: RawLimits, *, single: ShareLimit) -> Iterator[Check]:
    odd = sql.load(
        "validate/log_odd_ids",
        ids=table,
        id=column,
        longest=str(limits.ids.longest),
        words=list_literal(limits.ids.words_for_nothing),
    )
    yield finds_none(
        f"the {column} looks like one",
        table,
        column,
        odd,
        severity=limits.ids.severity,
    )
    yield finds_few(
        f"at most {single.largest_share:.3g} of the {table} have a single event",
        table,
        column,
        sql.load("validate/log_single_events", ids=table, id=column),
        largest_share=single.largest_share,
        severity=single.severity,
    )


def _no_fault(name: str, role: str, flag: str, names: Mapping[str, str], *, severity: Severity = "critical") -> Check:
    """No row of the log is in the table `faults` with that flag."""
    shown = ", ".join(f"log.{COLUMN_OF[each]}::varchar as {sql.quoted(column)}" for each, column in names.items())
    query = sql.load("validate/log_fault", flag=flag, columns=shown)
    return finds_none(name, "log", names[role], query, severity=severity)


def _rows(connection: duckdb.DuckDBPyConnection) -> int:
    """The number of the log's rows."""
    (rows,) = one_row(connection, "SELECT count(*) FROM log")
    return int(rows)
