"""A snapshot as the flat arrays that models read."""

from pathlib import Path

import duckdb
import numpy as np

import sql
from tasks.home import Home
from tasks.keys import code_digest
from tasks.scratch import working_folder
from tasks.snapshots import Snapshot, verify_files

SPLITS = ("validation", "test")


def export_log(snapshot: Snapshot, *, home: Home) -> Path:
    """The file of `models.engine.sequences.load_log` for this snapshot, written once and kept.

    The snapshot's files are checked against its manifest first: raises `InputError` naming one that is damaged.
    """
    path = home.steps / "sequences" / f"{snapshot.name}-{code_digest(('tasks.sequences',))[:12]}.npz"
    if path.exists():
        return path
    verify_files(snapshot)
    with working_folder(path.parent) as work:
        partial = work / path.name
        with partial.open("wb") as file:
            np.savez(file, allow_pickle=False, **_arrays(snapshot))
        partial.replace(path)
    return path


def _arrays(snapshot: Snapshot) -> dict[str, np.ndarray]:
    interactions, users, targets = (
        sql.literal(str(path)) for path in (snapshot.interactions, snapshot.users, snapshot.targets)
    )
    with duckdb.connect() as connection:
        events = connection.execute(sql.load("sequences/events", interactions=interactions)).fetchnumpy()
        people = connection.execute(sql.load("sequences/users", interactions=interactions, users=users)).fetchnumpy()
        arrays: dict[str, np.ndarray] = {
            "items": np.asarray(events["item"]).astype(np.int32),
            "offsets": np.concatenate([[0], np.cumsum(people["events"])]).astype(np.int64),
            "train_lengths": np.asarray(people["train_length"]).astype(np.int64),
            "item_count": np.asarray(snapshot.counts.items),
        }
        if snapshot.manifest.has_times:
            arrays["times"] = np.ma.getdata(events["time"]).astype(np.int64)
        for split in SPLITS:
            rows = connection.execute(sql.load("sequences/targets", targets=targets), {"split": split}).fetchnumpy()
            for column, name in (("user", "users"), ("item", "items"), ("history", "histories")):
                arrays[f"{split}_{name}"] = np.asarray(rows[column]).astype(np.int64)
    return arrays
