"""A snapshot without what an audit suspects."""

import duckdb
import numpy as np

import sql
from tasks.audit.judge import Judged
from tasks.corrupt import changes_of, read_open, register_edited
from tasks.corruption.apply import apply
from tasks.corruption.openlog import Edits, Integers, OpenLog
from tasks.engine import engine
from tasks.home import Home
from tasks.keys import step_key
from tasks.scratch import working_folder
from tasks.snapshots import Origin, Snapshot, Traits, write_snapshot


def clean_key(snapshot: Snapshot, *, judged: str, below: float) -> str:
    """The key of the step that leaves out what the judgement with the key `judged` suspects."""
    return step_key(("tasks.audit.clean",), {"snapshot": snapshot.digest, "judged": judged, "below": below})


def clean(snapshot: Snapshot, judged: Judged, *, below: float, home: Home) -> Snapshot:
    """`snapshot` without the judged interactions whose probability of being genuine is less than `below`; itself where
    there are none.

    Targets, users, items, labels and all that was not judged stay; `position`, `history` and `train_length` are moved
    on by what is gone. A user keeps the least suspicious interaction where all of them would go.
    """
    manifest = snapshot.manifest
    with working_folder(home.snapshots) as work, engine(work / "spill") as connection:
        log, labels = read_open(connection, snapshot)
        edits = Edits(deleted=_rows(connection, log, judged, below=below))
        if not len(edits.deleted):
            return snapshot
        register_edited(connection, apply(log, edits), labels=labels, kind="", snapshot=snapshot)
        origin = Origin(
            sources=manifest.sources,
            spec={**manifest.spec, "clean": {"by": "audit", "judged": judged.folder.name, "below": below}},
            parent=manifest.digest,
            clean=manifest.clean,
            realised_ratio=manifest.realised_ratio,
            changes=changes_of(edits),
        )
        traits = Traits.model_validate(manifest.model_dump(include=set(Traits.model_fields)))
        return write_snapshot(connection, work, home=home, traits=traits, origin=origin)


def _rows(connection: duckdb.DuckDBPyConnection, log: OpenLog, judged: Judged, *, below: float) -> Integers:
    """The open events that go. A user's training part begins with the first open event, and so do positions."""
    query = sql.load("audit/left_out", interactions=sql.literal(str(judged.interactions)))
    found = connection.execute(query, {"below": below}).fetchnumpy()
    users, positions = (np.asarray(found[name]).astype(np.int64) for name in ("user", "position"))
    return np.asarray(log.offsets[users] + positions, dtype=np.int64)
