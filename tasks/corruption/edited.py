"""Between a snapshot and the arrays of its open events: read, and written back as edited."""

from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

import sql
from tasks.corruption.apply import Edited
from tasks.corruption.openlog import NEVER, Edits, OpenLog
from tasks.engine import one_row
from tasks.errors import InputError
from tasks.snapshots import Changes, Snapshot

_BOT = "bot-"
_LARGEST_ID = 2**63 - 1


def read_open(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot) -> tuple[OpenLog, pa.DictionaryArray]:
    """The open events, and the label that each has already. Makes `open_users`, which `register_edited` reads."""
    interactions, targets, users = (
        sql.literal(str(path)) for path in (snapshot.interactions, snapshot.targets, snapshot.users)
    )
    connection.execute(sql.load("corrupt/open_users", interactions=interactions, targets=targets, users=users))
    people = _columns(connection, 'SELECT * FROM open_users ORDER BY "user"')
    events = connection.execute(sql.load("corrupt/open_events", interactions=interactions)).to_arrow_table()
    forbidden = _columns(connection, sql.load("corrupt/forbidden", targets=targets))
    log = OpenLog(
        item=events["item"].to_numpy(),
        time=events["time"].to_numpy() if snapshot.manifest.has_times else None,
        offsets=_offsets(people["open_length"]),
        train_length=np.asarray(people["train_length"]).astype(np.int64),
        next_time=np.ma.filled(people["next_time"].astype(np.int64), NEVER),
        forbidden_offsets=_offsets(np.bincount(forbidden["user"], minlength=snapshot.counts.users)),
        forbidden_items=np.asarray(forbidden["item"]),
        catalogue=snapshot.counts.items,
    )
    return log, events["noise_kind"].combine_chunks().dictionary_encode()


def register_edited(
    connection: duckdb.DuckDBPyConnection,
    edited: Edited,
    *,
    labels: pa.DictionaryArray,
    kind: str,
    snapshot: Snapshot,
) -> None:
    """Make the relations that `write_snapshot` writes, of the log after edits; `kind` labels what they touched."""
    interactions, targets, users, items = (
        sql.literal(str(path)) for path in (snapshot.interactions, snapshot.targets, snapshot.users, snapshot.items)
    )
    count = len(edited.user)
    events = {
        "user": edited.user,
        "item": edited.item,
        "time": pa.nulls(count, pa.int64()) if edited.time is None else edited.time,
        "position": edited.position,
        "noise_kind": _labels(edited, labels, kind=kind),
    }
    connection.register("edited_events", pa.table(events))
    everybody = np.arange(len(edited.train_length))
    connection.register(
        "edited_users",
        pa.table({"user": everybody, "train_length": edited.train_length, "growth": edited.growth}),
    )
    new = everybody[snapshot.counts.users :]
    names = pa.array(_new_ids(connection, snapshot, len(new)), pa.string())
    connection.register("added_users", pa.table({"user": new, "user_id": names}))
    connection.execute(sql.load("corrupt/interactions", interactions=interactions))
    connection.execute(sql.load("corrupt/targets", targets=targets))
    connection.execute(sql.load("corrupt/users", users=users))
    connection.execute(sql.load("corrupt/items", items=items))


def changes_of(edits: Edits) -> Changes:
    """The manifest's count of what edits do."""
    inserted = 0 if edits.inserted is None else len(edits.inserted.item)
    added = 0 if edits.added is None else len(edits.added.item)
    return Changes(
        replaced=len(edits.replaced),
        inserted=inserted + added,
        deleted=len(edits.deleted),
        # Of a pair one event may go, and the other stay where it was put.
        moved=int(np.isin(edits.exchanged, edits.deleted, invert=True).sum()),
        users_added=0 if edits.added is None else len(edits.added.lengths),
    )


def _labels(edited: Edited, labels: pa.DictionaryArray, *, kind: str) -> pa.DictionaryArray:
    """[M] the kind for what is noise now, else the label that the event had before."""
    before = labels.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    codes = np.where(edited.touched, len(labels.dictionary), before[edited.source]).astype(np.int32)
    return pa.DictionaryArray.from_arrays(
        pa.array(codes, mask=codes < 0), pa.array([*labels.dictionary.to_pylist(), kind], pa.string())
    )


def _new_ids(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, count: int) -> list[str]:
    """Raw ids for `count` new users: of the log's type, and nobody's."""
    if count == 0:
        return []
    integers = snapshot.manifest.user_id_type == "integer"
    prefix = "" if integers else _BOT
    query = sql.load("corrupt/largest_id", users=sql.literal(str(snapshot.users)))
    (largest,) = one_row(connection, query, {"prefix": prefix})
    first = int(largest or 0) + 1
    if not integers:
        return [f"{_BOT}{first + n:06}" for n in range(count)]
    if first + count - 1 > _LARGEST_ID:
        raise InputError(
            f"no 64-bit integers are left behind the largest user id {largest} for {count} bots: "
            "ingest the log with smaller user ids"
        )
    return [str(first + n) for n in range(count)]


def _offsets(lengths: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(np.asarray(lengths))]).astype(np.int64)


def _columns(connection: duckdb.DuckDBPyConnection, query: str) -> dict[str, npt.NDArray[Any]]:
    """A query's columns; one with NULLs is a masked array."""
    return {name: np.ma.asanyarray(column) for name, column in connection.execute(query).fetchnumpy().items()}
