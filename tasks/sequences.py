"""A snapshot as the flat arrays that models read."""

import zipfile
from pathlib import Path

import numpy as np

import sql
from tasks.engine import engine
from tasks.home import Home
from tasks.keys import code_digest
from tasks.scratch import working_folder
from tasks.snapshots import Snapshot, verify_files

SPLITS = ("validation", "promotion", "test")


def export_log(snapshot: Snapshot, *, home: Home) -> Path:
    """The file of `models.engine.sequences.load_log` for this snapshot, written once and kept. A split without targets
    has empty arrays.

    The snapshot's files are checked against its manifest each time, for a hash costs little beside what a model does
    with them: raises `InputError` naming one that is damaged. Arrays that are damaged are written anew.
    """
    path = home.steps / "sequences" / f"{snapshot.name}-{code_digest(('tasks.sequences',))[:12]}.npz"
    verify_files(snapshot)
    if path.exists() and _is_whole(path):
        return path
    with working_folder(path.parent) as work:
        partial = work / path.name
        with partial.open("wb") as file:
            np.savez(file, allow_pickle=False, **_arrays(snapshot))
        partial.replace(path)
    return path


def _is_whole(path: Path) -> bool:
    """Are the arrays' bytes those that were written, by the checksums beside them?"""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile):
        return False


def _arrays(snapshot: Snapshot) -> dict[str, np.ndarray]:
    interactions, users, targets = (
        sql.literal(str(path)) for path in (snapshot.interactions, snapshot.users, snapshot.targets)
    )
    with engine() as connection:
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
