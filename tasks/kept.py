"""What the state folder still keeps of a run: the weights that it trained, and the snapshots that it stood on."""

from collections.abc import Iterable
from pathlib import Path

from tasks.detect import detection_folder
from tasks.errors import InputError
from tasks.evaluate import evaluation_folder
from tasks.home import Home
from tasks.plan import Cell
from tasks.provenance import SnapshotRecord
from tasks.runs import SHOWN, HeldRun, provenance_of
from tasks.snapshots import Snapshot, open_snapshot, snapshot_name, verify_files
from tasks.train import Trained, training_folder


def kept_training(run: HeldRun, *, home: Home) -> Trained:
    """What the run trained. Raises `InputError` where that is gone."""
    trained = Trained(training_folder(run.provenance.train_key, home=home))
    if not all(path.exists() for path in trained.files):
        raise InputError(
            f"the weights of the run {run.run_id[:SHOWN]} are not in {home.steps} any more: run its job again, which "
            "trains them"
        )
    return trained


def kept_steps(run_ids: Iterable[str], *, home: Home) -> tuple[Path, ...]:
    """The folders in the state folder of what was trained, ranked and detected in these MLflow runs."""
    found = [made_by for made_by in (provenance_of(run_id, home=home) for run_id in run_ids) if made_by is not None]
    folders = [training_folder(made_by.train_key, home=home) for made_by in found]
    folders += [evaluation_folder(made_by.evaluate_key, home=home) for made_by in found]
    folders += [detection_folder(made_by.detect_key, home=home) for made_by in found if made_by.detect_key is not None]
    return tuple(sorted({folder for folder in folders if folder.exists()}))


def kept_snapshot(record: SnapshotRecord, *, home: Home) -> Snapshot | None:
    """The snapshot where it is still in the state folder. Raises `InputError` where it is damaged."""
    path = home.snapshots / snapshot_name(record.digest)
    if not path.exists():
        return None
    snapshot = open_snapshot(path)
    verify_files(snapshot)
    return snapshot


def kept_cell(run: HeldRun, *, home: Home) -> Cell:
    """The run as a cell whose training is the one that is kept, whatever code has changed since.

    Raises `InputError` where its weights or one of its snapshots are gone.
    """
    kept_training(run, home=home)
    held = run.provenance
    return Cell(
        spec=run.spec,
        label=run.spec.label,
        snapshot=_snapshot(held.trained_on, run, home),
        histories=_snapshot(held.histories, run, home),
        clean=_snapshot(held.clean, run, home),
        train_key=held.train_key,
    )


def _snapshot(record: SnapshotRecord, run: HeldRun, home: Home) -> Snapshot:
    snapshot = kept_snapshot(record, home=home)
    if snapshot is None:
        raise InputError(
            f"the snapshot {snapshot_name(record.digest)} that the run {run.run_id[:SHOWN]} stands on is not in "
            f"{home.snapshots} any more: run its job again, which makes it"
        )
    return snapshot
