"""A log without what a noise model takes for noise, written as a snapshot of its own."""

import numpy as np
import numpy.typing as npt

from tasks.corruption.apply import apply
from tasks.corruption.edited import changes_of, read_open, register_edited
from tasks.corruption.openlog import Edits
from tasks.data_specs import NO_FILTER, FilterSpec
from tasks.engine import engine
from tasks.errors import InputError
from tasks.execution import on_one_core
from tasks.home import Home
from tasks.keys import step_key
from tasks.scratch import working_folder
from tasks.sequences import export_log
from tasks.snapshots import FilterVerdict, Origin, Snapshot, Traits, write_snapshot
from tasks.statistics import roc
from tasks.workers import run_worker

PROGRAM = "models.filter"
PREFIX = "filter."
"""What the names of its figures begin with, which are of a log before it was filtered."""
JUDGED_BY = FilterSpec(by="co-occurrence")
"""How an audit judges: what it tells of is what this filter leaves out."""

LEAST_EVENTS, LEAST_USERS = 500, 20
"""With fewer, hardly any two items are neighbours twice."""


def filter_key(snapshot: Snapshot, spec: FilterSpec) -> str:
    """The key of the step that filters a snapshot."""
    inputs = {
        "snapshot": snapshot.digest,
        "filter": spec.model_dump(mode="json"),
        "execution": on_one_core().to_dict(),
    }
    return step_key(("tasks.filter", PROGRAM), inputs)


def filtered(snapshot: Snapshot, spec: FilterSpec, *, home: Home) -> Snapshot:
    """`snapshot` without the training interactions whose probability of being genuine is less than `spec.below`; itself
    where there are none.

    Targets, users, items, labels and all that is not trained on stay; `position`, `history` and `train_length` are
    moved on by what is gone, which the manifest's `changes` counts and, where noise is labelled, its `verdict` judges.
    A user keeps the least suspicious interaction where all of them would go. `clean` stays that of `snapshot`: what is
    left out counts as seen where methods are compared.

    Raises `InputError` where the log is too small, where no user keeps two interactions to train on, and as
    `tasks.workers.run_worker` does.
    """
    if spec.by == NO_FILTER:
        return snapshot
    refuse_small(snapshot)
    manifest = snapshot.manifest
    with working_folder(home.snapshots) as work, engine(work / "spill") as connection:
        judged = work / "judged.npz"
        request = {
            "log": str(export_log(snapshot, home=home)),
            **spec.model_dump(include={"by", "reach", "folds", "seed"}),
            "threads": on_one_core().threads,
            "out": str(judged),
        }
        run_worker("judge", request, program=PROGRAM)
        with np.load(judged, allow_pickle=False) as stored:
            users, positions, keep = (stored[name] for name in ("users", "positions", "keep"))
        judged.unlink()
        gone = suspected(users, keep, below=spec.below)
        if not gone.any():
            return snapshot
        if np.bincount(users[~gone]).max() < 2:
            raise InputError(
                f"the filter by {spec.by} leaves no user of the snapshot {snapshot.name} two interactions to train on: "
                f"leave out fewer than those below {spec.below:g}"
            )
        log, labels = read_open(connection, snapshot)
        # A user's training part begins with the first open event, and so do positions.
        rows = log.offsets[users] + positions
        edits = Edits(deleted=rows[gone])
        register_edited(connection, apply(log, edits), labels=labels, kind="", snapshot=snapshot)
        origin = Origin(
            sources=manifest.sources,
            spec=manifest.spec_after("filter", spec.model_dump(mode="json")),
            parent=manifest.digest,
            clean=manifest.clean,
            realised_ratio=manifest.realised_ratio,
            changes=changes_of(edits),
            verdict=verdict_on(labels.is_valid().to_numpy(zero_copy_only=False)[rows], users, keep, gone),
        )
        traits = Traits.model_validate(manifest.model_dump(include=set(Traits.model_fields)))
        return write_snapshot(connection, work, home=home, traits=traits, origin=origin)


def verdict_on(
    noisy: npt.NDArray[np.bool_],
    users: npt.NDArray[np.int64],
    keep: npt.NDArray[np.float32],
    gone: npt.NDArray[np.bool_],
) -> FilterVerdict | None:
    """How well judged interactions [judged], of `users`, that are likely by `keep` to be genuine and of which some are
    `gone`, were told from those that are labelled as noise; None where none is, or all are.
    """
    if noisy.all() or not noisy.any():
        return None
    caught = float((noisy & gone).sum())
    return FilterVerdict(
        left_out=float(gone.mean()),
        auroc=roc.auroc(noisy, 1.0 - keep.astype(np.float64), users).value or 0.0,
        precision=caught / float(gone.sum()),
        recall=caught / float(noisy.sum()),
    )


def filter_metrics(snapshot: Snapshot) -> dict[str, float]:
    """The verdict of the filter that made a snapshot, as metrics of what is trained on it; none where there is none."""
    verdict = snapshot.manifest.verdict
    return {} if verdict is None else {f"{PREFIX}{name}": value for name, value in verdict.model_dump().items()}


def refuse_small(snapshot: Snapshot) -> None:
    """Raises `InputError` where the training part is too small to be judged, or there is one item alone."""
    counts = snapshot.counts
    if counts.items == 1:
        raise InputError(
            "the log has one item alone, and noise is told by which items stand near each other: is it the column of "
            "items that was named?"
        )
    if counts.training < LEAST_EVENTS or counts.users < LEAST_USERS:
        raise InputError(
            f"the log is too small to judge: its training part has {counts.training:,} interactions of "
            f"{counts.users:,} users, and with fewer than {LEAST_EVENTS} of {LEAST_USERS} hardly any items stand near "
            "each other twice: give more of the log, or a lower --k-core"
        )


def suspected(users: npt.NDArray[np.int64], keep: npt.NDArray[np.float32], *, below: float) -> npt.NDArray[np.bool_]:
    """[judged] which interactions, given in the users' order, are less likely than `below` to be genuine; but for the
    likeliest of each user, the earliest of several.
    """
    gone = keep < below
    order = np.lexsort((-keep, users))
    first = np.diff(users[order], prepend=-1) > 0
    gone[order[first]] = False
    return gone
