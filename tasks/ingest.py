"""From a raw interaction log to a snapshot, inside DuckDB.

Every fault of the log is told in one sentence with its file, row and column, and leaves
nothing behind. Rows are counted from 1 and without the header.
"""

import duckdb

import sql
from tasks.engine import engine, one_row
from tasks.errors import InputError
from tasks.home import Home
from tasks.reading import read_log
from tasks.scratch import working_folder
from tasks.snapshots import IdType, Origin, Snapshot, SourceFile, Traits, write_snapshot
from tasks.source import Log
from tasks.specs import LeaveOneOut, PrepareSpec


def ingest(log: Log, prepare: PrepareSpec, *, home: Home) -> Snapshot:
    """Write a log as a snapshot; the same log prepared the same way gives the snapshot that is there already.

    Raises `InputError` naming file, row, column and value where the log is wrong, or where
    nothing or nobody is left to rank.
    """
    before = _stamps(log)
    with working_folder(home.snapshots) as work, engine(work / "spill") as connection:
        reading = read_log(connection, log, work=work)
        types = _prepare(connection, prepare, scale=reading.scale, log=log)
        origin = Origin(
            sources=tuple(
                SourceFile(name=file.path.name, bytes=file.path.stat().st_size, sha256=file.sha256)
                for file in log.files
            ),
            spec={
                "source": log.source.model_dump(mode="json", exclude={"path"}),
                "prepare": prepare.model_dump(mode="json"),
            },
        )
        _refuse_changed(log, before)
        traits = Traits(
            labelled="noise" in reading.roles,
            user_id_type=types["user_codes"],
            item_id_type=types["item_codes"],
            has_times="time" in reading.roles,
        )
        return write_snapshot(connection, work, home=home, traits=traits, origin=origin)


def _stamps(log: Log) -> list[tuple[int, int]]:
    found = (file.path.stat() for file in log.files)
    return [(status.st_size, status.st_mtime_ns) for status in found]


def _refuse_changed(log: Log, before: list[tuple[int, int]]) -> None:
    for file, then, now in zip(log.files, before, _stamps(log), strict=True):
        if then != now:
            raise InputError(f"{file.path} changed while it was read: try again when it is complete")


def _prepare(
    connection: duckdb.DuckDBPyConnection, prepare: PrepareSpec, *, scale: float, log: Log
) -> dict[str, IdType]:
    """Make the snapshot's four tables of the log; return the types of the ids."""
    connection.execute(sql.load("ingest/codes", codes="user_codes", id="user_id"))
    connection.execute(sql.load("ingest/codes", codes="item_codes", id="item_id"))
    connection.execute(sql.load("ingest/events"), {"scale": scale})
    connection.execute("DROP VIEW parsed; DROP TABLE log")
    _keep_core(connection, max(prepare.user_core, prepare.item_core), log=log)
    min_events = prepare.split.min_events if isinstance(prepare.split, LeaveOneOut) else 3
    connection.execute(sql.load("ingest/users"), {"min_events": min_events})
    connection.execute(sql.load("ingest/items"))
    connection.execute(sql.load("ingest/interactions"))
    connection.execute("DROP TABLE events")
    connection.execute(sql.load("ingest/targets"))
    if one_row(connection, "SELECT count(*) FROM targets") == (0,):
        (longest,) = one_row(connection, "SELECT max(event_count) FROM users")
        raise InputError(
            f"{log.files[0].path}: no user has the {min_events} interactions that being ranked takes "
            f"(the longest history has {longest}), so there would be nothing to evaluate"
        )
    return {table: _id_type(connection, table) for table in ("user_codes", "item_codes")}


def _keep_core(connection: duckdb.DuckDBPyConnection, k: int, *, log: Log) -> None:
    """Drop rare users and items until none is left. Raises `InputError` where that takes everything."""
    if k <= 1:
        return
    dropped = 1
    while dropped:
        dropped = 0
        for code in ("user_code", "item_code"):
            (count,) = one_row(connection, sql.load("ingest/drop_rare", code=code), {"k": k})
            dropped += count
    if one_row(connection, "SELECT count(*) FROM events") == (0,):
        raise InputError(
            f"no interactions are left after dropping users and items with fewer than {k} interactions "
            f"from {log.files[0].path}: ask for a smaller k-core"
        )


def _id_type(connection: duckdb.DuckDBPyConnection, codes: str) -> IdType:
    (is_integer,) = one_row(connection, f"SELECT bool_and(is_integer) FROM {codes}")
    return "integer" if is_integer else "string"
