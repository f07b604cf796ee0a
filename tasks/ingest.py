"""From a raw interaction log to a snapshot, inside DuckDB.

Every fault of the log is told in one sentence with its file, row and column, and leaves
nothing behind. Rows are counted from 1 and without the header.

The log is read once, counted for the core, and sorted once: what is sorted is what is written. Its columns are held as
the integers that they are wherever they are any, and columns that it lacks are held nowhere.
"""

from itertools import cycle

import duckdb

import sql
from tasks.data_specs import PrepareSpec
from tasks.engine import engine, one_row
from tasks.errors import InputError
from tasks.home import Home
from tasks.scratch import working_folder
from tasks.snapshots import IdType, Origin, Snapshot, SourceFile, Traits, write_snapshot
from tasks.sources.logs import Log, refuse_changed
from tasks.sources.reading import Reading, read_log, refuse_unrated
from tasks.splits import split


def ingest(log: Log, prepare: PrepareSpec, *, home: Home) -> Snapshot:
    """Write a log as a snapshot; the same log prepared the same way gives the snapshot that is there already.

    Raises `InputError` naming file, row, column and value where the log is wrong, where a file has changed since its
    checksum was taken, or where nothing is left of it.
    """
    refuse_changed(log)
    with working_folder(home.snapshots) as work, engine(work / "spill") as connection:
        reading = read_log(connection, log, work=work)
        types = _prepare(connection, prepare, reading=reading)
        refuse_changed(log)
        traits = Traits(
            labelled="noise" in reading.names,
            user_id_type=types["user_codes"],
            item_id_type=types["item_codes"],
            has_times="time" in reading.names,
        )
        origin = origin_of(log, prepare)
        return write_snapshot(connection, work, home=home, traits=traits, origin=origin, in_order=("interactions",))


def origin_of(log: Log, prepare: PrepareSpec) -> Origin:
    """Where the snapshot of a log comes from."""
    return Origin(
        sources=tuple(SourceFile(name=file.path.name, bytes=file.size, sha256=file.sha256) for file in log.files),
        spec={
            "source": log.source.model_dump(mode="json", exclude={"path"}),
            "prepare": prepare.model_dump(mode="json"),
        },
    )


def _prepare(connection: duckdb.DuckDBPyConnection, prepare: PrepareSpec, *, reading: Reading) -> dict[str, IdType]:
    """Make the snapshot's four relations of the log; return the types of the ids."""
    title = reading.loaded.title
    for codes, column in (("user_codes", "user_id"), ("item_codes", "item_id")):
        connection.execute(sql.load("ingest/codes", codes=codes, id=column))
    types = {codes: _id_type(connection, codes) for codes in ("user_codes", "item_codes")}
    if prepare.min_rating is not None:
        refuse_unrated(connection, reading)
    _make_events(connection, prepare, reading=reading, types=types)
    if prepare.min_rating is not None:
        _refuse_all_rated_lower(connection, prepare.min_rating, title=title)
    order = [column for role, columns in _ORDER if role in reading.names for column in columns] + ['"row"']
    _drop_duplicates(connection, prepare, order=order, reading=reading)
    _keep_core(connection, prepare, title=title)
    if prepare.duplicates == "consecutive" and prepare.item_core > 1:
        _drop_new_neighbours(connection, prepare, order=order, title=title)
    connection.execute(sql.load("ingest/members"))
    connection.execute(sql.load("ingest/items"))
    _sort(connection, prepare, order=order, reading=reading)
    split(connection, prepare, order=order, title=title)
    return types


_ORDER = (("time", ('"time"',)), ("order", ("order_number", "order_integer")))


def _id_type(connection: duckdb.DuckDBPyConnection, codes: str) -> IdType:
    (is_integer,) = one_row(connection, f"SELECT bool_and(is_integer) FROM {codes}")
    return "integer" if is_integer else "string"


def _make_events(
    connection: duckdb.DuckDBPyConnection, prepare: PrepareSpec, *, reading: Reading, types: dict[str, IdType]
) -> None:
    """The relation `events` of what is rated well enough: a view where the log's ids are held as integers already."""
    further = {
        "time": f', coalesce(time_date, round(time_number * {reading.scale})::BIGINT) AS "time"',
        "order": ", order_number, order_integer",
        "noise": ", noise_kind",
    }
    held = {name: kind for name, kind, *_ in connection.execute("DESCRIBE parsed").fetchall()}
    is_view = held["user_id"] == held["item_id"] == "BIGINT"
    connection.execute(
        sql.load(
            "ingest/events",
            relation="VIEW" if is_view else "TABLE",
            user_code=_code("user", types),
            item_code=_code("item", types),
            columns="".join(columns for role, columns in further.items() if role in reading.names),
            joins="".join(
                f" JOIN {side}_codes ON {side}_id = {side}_codes.id"
                for side in ("user", "item")
                if types[f"{side}_codes"] == "string"
            ),
            least="true" if prepare.min_rating is None else f"rating >= {prepare.min_rating!r}",
        )
    )
    if not is_view:
        _drop(connection, "parsed", "log")


def _code(side: str, types: dict[str, IdType]) -> str:
    return f"{side}_id::BIGINT" if types[f"{side}_codes"] == "integer" else f"{side}_codes.code"


def _drop(connection: duckdb.DuckDBPyConnection, *names: str) -> None:
    """Drop those of the relations that are there, in this order."""
    kinds = dict(connection.execute("SELECT table_name, table_type FROM information_schema.tables").fetchall())
    for name in names:
        if name in kinds:
            connection.execute(f"DROP {'VIEW' if kinds[name] == 'VIEW' else 'TABLE'} {name}")


def _refuse_all_rated_lower(connection: duckdb.DuckDBPyConnection, least: float, *, title: str) -> None:
    if one_row(connection, "SELECT count(*) FROM events") == (0,):
        raise InputError(
            f"no interactions are left after dropping those rated lower than {least:g} "
            f"from {title}: ask for a lower rating"
        )


def _drop_duplicates(
    connection: duckdb.DuckDBPyConnection, prepare: PrepareSpec, *, order: list[str], reading: Reading
) -> None:
    """Keep one of a user's events that are duplicates of each other, as the policy has it."""
    policy = prepare.duplicates
    if policy == "keep":
        return
    if policy == "consecutive":
        connection.execute(sql.load("ingest/not_consecutive", events="true", order=", ".join(order)))
    else:
        if policy == "exact" and "time" not in reading.names:
            raise InputError(
                f"{reading.loaded.title} has no column of times, and exact duplicates repeat item and time: "
                "name that column, or choose another policy for duplicates"
            )
        same = "user_code, item_code" + (', "time"' if policy == "exact" else "")
        direction = " DESC" if policy == "last" else ""
        by = ", ".join(column + direction for column in order)
        connection.execute(sql.load("ingest/first_of_each", same=same, order=by))
    _keep_distinct(connection)
    _drop(connection, "parsed", "log")


def _keep_distinct(connection: duckdb.DuckDBPyConnection) -> None:
    """Put `distinct_events` in the place of `events`."""
    _drop(connection, "events")
    connection.execute("ALTER TABLE distinct_events RENAME TO events")


def _keep_core(connection: duckdb.DuckDBPyConnection, prepare: PrepareSpec, *, title: str) -> None:
    """Make `counted_users` and `counted_items`: who is left when the rare are dropped until none is left.

    Raises `InputError` where that takes everything.
    """
    (every,) = one_row(connection, "SELECT count(*) FROM events")
    left = every
    counts = "true"
    items = ("counted_items", "item_code", prepare.item_core)
    users = ("counted_users", "user_code", prepare.user_core)
    for step, (counted, code, core) in enumerate(cycle((items, users))):
        query = sql.load("ingest/counted", counted=counted, code=code, events=counts)
        connection.execute(query, {"least": max(core, 1)})
        before = left
        (left,) = one_row(connection, f"SELECT coalesce(sum(event_count), 0)::BIGINT FROM {counted}")
        # The same events for both: neither side has anything to drop.
        if step and left == before:
            break
        counts = "true" if left == every else f"{code} IN (SELECT code FROM {counted})"
    if not left:
        raise InputError(
            f"no interactions are left after dropping {_rare(prepare)} interactions "
            f"from {title}: ask for a smaller k-core"
        )


def _drop_new_neighbours(
    connection: duckdb.DuckDBPyConnection, prepare: PrepareSpec, *, order: list[str], title: str
) -> None:
    """Drop what repeats the item just before now that what stood between is gone, then who has become rare by that, and
    so on until nothing is.
    """
    core = "user_code IN (SELECT code FROM counted_users) AND item_code IN (SELECT code FROM counted_items)"
    while True:
        before = one_row(connection, "SELECT sum(event_count)::BIGINT FROM counted_users")
        connection.execute(sql.load("ingest/not_consecutive", events=core, order=", ".join(order)))
        _keep_distinct(connection)
        if one_row(connection, "SELECT count(*) FROM events") == before:
            return
        _keep_core(connection, prepare, title=title)


def _rare(prepare: PrepareSpec) -> str:
    if prepare.user_core == prepare.item_core:
        return f"users and items with fewer than {prepare.user_core}"
    both = (("users", prepare.user_core), ("items", prepare.item_core))
    return " and ".join(f"{side} with fewer than {core}" for side, core in both if core > 1)


def _sort(connection: duckdb.DuckDBPyConnection, prepare: PrepareSpec, *, order: list[str], reading: Reading) -> None:
    """Make the table `ordered` and the view `interactions` over it."""
    kept = [column for column, role in (('"time"', "time"), ("noise_kind", "noise")) if role in reading.names]
    if prepare.split.kind == "sessions":
        kept += [column for column in order if column not in kept]
    # What a row's number says is its place in the order: DuckDB has to keep that from here on.
    connection.execute("SET preserve_insertion_order = true")
    columns = "".join(f", {column}" for column in kept)
    connection.execute(sql.load("ingest/ordered", columns=columns, order=", ".join(order)))
    _drop(connection, "events", "parsed", "log")
    connection.execute(
        sql.load(
            "ingest/interactions",
            time='"time"' if "time" in reading.names else "NULL",
            noise_kind="noise_kind" if "noise" in reading.names else "NULL",
        )
    )
