"""Noise put into a snapshot on purpose (see `tasks.corruption` for the kinds), written as a snapshot of its own."""

from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

import sql
from tasks.corruption.apply import Edited, apply, taken_out
from tasks.corruption.kinds import plan
from tasks.corruption.openlog import NEVER, CannotCorruptError, Edits, OpenLog
from tasks.engine import engine, one_row
from tasks.errors import InputError
from tasks.home import Home
from tasks.scratch import working_folder
from tasks.snapshots import Changes, Origin, Snapshot, Traits, snapshot_name, write_snapshot
from tasks.specs import CorruptSpec

_BOT = "bot-"
_LARGEST_ID = 2**63 - 1


def corrupt(snapshot: Snapshot, spec: CorruptSpec, *, home: Home) -> Snapshot:
    """`snapshot` with noise of a kind in its open events, or, where that is taken out again, without what it spoilt;
    itself where nothing comes of it.

    What was replaced, swapped or put in is labelled with the kind; what was deleted is gone, and the manifest's
    `changes` counts it all. Targets keep number, user, item and split, and every event from a user's first target
    on keeps item, time and order; `position`, `history` and `train_length` are moved on by what was put in or
    deleted before. Items stay as they are, and so do users, but for the bots behind them.

    Raises `InputError` where `snapshot` has injected noise already, where its log labels noise of that kind itself, or
    where it does not admit the noise.
    """
    manifest = snapshot.manifest
    if manifest.has_injected_noise:
        raise InputError(
            f"the snapshot {snapshot.name} has injected noise already: "
            f"corrupt the clean one, {snapshot_name(manifest.clean)}"
        )
    if spec.ratio == 0:
        return snapshot
    with working_folder(home.snapshots) as work, engine(work / "spill") as connection:
        _refuse_labelled(connection, snapshot, spec.kind)
        log, labels = read_open(connection, snapshot)
        try:
            planned = plan(log, spec.kind, ratio=spec.ratio, seed=spec.seed)
        except CannotCorruptError as error:
            raise InputError(error.reason.format(user=_user_id(connection, snapshot, error.user))) from None
        edits = taken_out(log, planned.edits, seed=spec.seed) if spec.taken_out else planned.edits
        changes = changes_of(edits)
        if changes == Changes():
            return snapshot
        register_edited(connection, apply(log, edits), labels=labels, kind=spec.kind, snapshot=snapshot)
        traits = Traits(
            labelled=True,
            user_id_type=manifest.user_id_type,
            item_id_type=manifest.item_id_type,
            has_times=manifest.has_times,
        )
        origin = Origin(
            sources=manifest.sources,
            spec=manifest.spec_after("corrupt", spec.model_dump(mode="json")),
            parent=manifest.digest,
            clean=manifest.clean,
            realised_ratio=planned.realised_ratio,
            changes=changes,
        )
        del log, planned, edits
        return write_snapshot(connection, work, home=home, traits=traits, origin=origin)


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


def _refuse_labelled(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, kind: str) -> None:
    """Raise `InputError` where noise of a kind could not be told by its label from what the log labels so itself."""
    query = sql.load("corrupt/has_label", interactions=sql.literal(str(snapshot.interactions)))
    if one_row(connection, query, {"kind": kind}) == (True,):
        raise InputError(
            f"the log of {snapshot.name} labels noise as {kind!r} itself, from which noise of that kind could not be "
            "told: choose another kind, or give the log's labels another name"
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


def _user_id(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, user: int) -> str:
    query = sql.load("corrupt/user_id", users=sql.literal(str(snapshot.users)))
    row = connection.execute(query, {"user": user}).fetchone()
    return str(row[0]) if row else "?"


def _offsets(lengths: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(np.asarray(lengths))]).astype(np.int64)


def _columns(connection: duckdb.DuckDBPyConnection, query: str) -> dict[str, npt.NDArray[Any]]:
    """A query's columns; one with NULLs is a masked array."""
    return {name: np.ma.asanyarray(column) for name, column in connection.execute(query).fetchnumpy().items()}
