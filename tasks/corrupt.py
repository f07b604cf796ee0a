"""Noise put into a snapshot on purpose (see `tasks.corruption` for the kinds), written as a snapshot of its own."""

import duckdb

import sql
from tasks.corruption.apply import apply, taken_out
from tasks.corruption.edited import changes_of, read_open, register_edited
from tasks.corruption.kinds import plan
from tasks.corruption.openlog import CannotCorruptError
from tasks.data_specs import CorruptSpec
from tasks.engine import engine, one_row
from tasks.errors import InputError
from tasks.home import Home
from tasks.scratch import working_folder
from tasks.snapshots import Changes, Origin, Snapshot, Traits, snapshot_name, write_snapshot


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


def _refuse_labelled(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, kind: str) -> None:
    """Raise `InputError` where noise of a kind could not be told by its label from what the log labels so itself."""
    query = sql.load("corrupt/has_label", interactions=sql.literal(str(snapshot.interactions)))
    if one_row(connection, query, {"kind": kind}) == (True,):
        raise InputError(
            f"the log of {snapshot.name} labels noise as {kind!r} itself, from which noise of that kind could not be "
            "told: choose another kind, or give the log's labels another name"
        )


def _user_id(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, user: int) -> str:
    query = sql.load("corrupt/user_id", users=sql.literal(str(snapshot.users)))
    row = connection.execute(query, {"user": user}).fetchone()
    return str(row[0]) if row else "?"
