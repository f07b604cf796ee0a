"""A log without what a noise model takes for noise: what goes, what stays, and what may be done with the rest."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.denoising.noise.cooccurrence import CoOccurrence
from models.denoising.noise.crossfit import cross_fitted
from models.engine.batches import windows
from models.engine.sequences import load_log
from tasks.corrupt import corrupt
from tasks.data_specs import CorruptSpec, FilterSpec
from tasks.errors import InputError
from tasks.filter import filter_key, filter_metrics, filtered, suspected, verdict_on
from tasks.home import Home
from tasks.plan import Data, cell_of, corruptions, parameters
from tasks.sequences import export_log
from tasks.shelf.diff import lineage
from tasks.shelf.entries import read_shelf
from tasks.shelf.forget import forget, holders
from tasks.snapshots import Snapshot
from tasks.specs import CellSpec, InjectedNoise, named_method
from tasks.study.outcome import datasets_of
from tasks.validate import validate
from tests.tasks.builders import EXECUTION
from tests.tasks.corners import LENGTH, USERS, corners_csv

pytestmark = pytest.mark.usefixtures("in_process")

HALF = FilterSpec(by="co-occurrence", below=0.5)

Read = Callable[[Path], list[tuple[Any, ...]]]


@pytest.fixture
def noisy(write_log: Callable[..., Path], ingest_file: Callable[..., Snapshot]) -> Snapshot:
    return ingest_file(write_log(corners_csv()), time="ts", noise="noise")


def test_a_filter_without_labels_has_no_verdict_and_one_with_has_the_closed_forms() -> None:
    users, keep = np.array([0, 0, 1, 1]), np.array([0.9, 0.1, 0.3, 0.8], dtype=np.float32)
    gone = keep < 0.5
    assert verdict_on(np.zeros(4, dtype=bool), users, keep, gone) is None
    found = verdict_on(np.array([False, True, False, False]), users, keep, gone)
    assert found is not None
    assert (found.left_out, found.auroc, found.precision, found.recall) == (0.5, 1.0, 0.5, 1.0)


@pytest.mark.parametrize("folds", [1, 3])
def test_most_of_the_noise_goes_and_little_else(noisy: Snapshot, home: Home, rows_of: Read, folds: int) -> None:
    spec = HALF.model_copy(update={"folds": folds})
    left = filtered(noisy, spec, home=home)
    before, after = (Counter((row[0], row[1], row[2], row[4]) for row in rows_of(of.interactions))
                     for of in (noisy, left))  # fmt: skip
    gone = before - after
    assert not after - before
    labelled = sum(count for row, count in gone.items() if row[3] == "planted")
    assert labelled > 0.9 * gone.total()
    assert labelled > 0.7 * noisy.counts.noisy
    assert [row[:4] for row in rows_of(left.targets)] == [row[:4] for row in rows_of(noisy.targets)]
    assert rows_of(left.items) == rows_of(noisy.items)
    assert [row[:2] for row in rows_of(left.users)] == [row[:2] for row in rows_of(noisy.users)]
    manifest = left.manifest
    assert (manifest.parent, manifest.clean, manifest.labelled) == (noisy.digest, noisy.digest, True)
    assert manifest.spec["filter"] == spec.model_dump(mode="json")
    assert manifest.changes is not None
    assert manifest.changes.deleted == gone.total() == noisy.counts.interactions - left.counts.interactions
    verdict = manifest.verdict
    assert verdict is not None
    assert verdict.precision == pytest.approx(labelled / gone.total())
    assert verdict.recall == pytest.approx(labelled / noisy.counts.noisy)
    assert verdict.left_out == pytest.approx(gone.total() / noisy.counts.training)
    assert 0.9 < verdict.auroc <= 1
    assert filter_metrics(left) == {
        "filter.left_out": verdict.left_out,
        "filter.auroc": verdict.auroc,
        "filter.precision": verdict.precision,
        "filter.recall": verdict.recall,
    }
    assert filter_metrics(noisy) == {}
    told = f"B is A without {gone.total():,} interactions (co-occurrence, below 0.5)."
    assert lineage(noisy, left) == told
    assert filtered(noisy, spec, home=home).digest == left.digest
    assert filtered(noisy, FilterSpec(), home=home) is noisy


def test_folds_need_two_users_to_learn_from(noisy: Snapshot, home: Home) -> None:
    sequences = load_log(export_log(noisy, home=home)).sequences
    only_one = torch.zeros_like(sequences.train_lengths)
    only_one[3] = sequences.train_lengths[3]
    with pytest.raises(ValueError, match="fewer than two have interactions to learn from"):
        cross_fitted(
            lambda: CoOccurrence(sequences.item_count), replace(sequences, train_lengths=only_one), folds=2, seed=0
        )


def test_a_fold_is_judged_by_what_was_learned_of_the_others(noisy: Snapshot, home: Home) -> None:
    sequences = load_log(export_log(noisy, home=home)).sequences
    models: list[CoOccurrence] = []

    def make() -> CoOccurrence:
        models.append(CoOccurrence(sequences.item_count, reach=3))
        return models[-1]

    torch.manual_seed(0)
    keep = cross_fitted(make, sequences, folds=2, seed=4).keep.view(USERS, LENGTH)
    assert bool((keep[:, -2:] == 1).all())
    fold = torch.randperm(USERS, generator=torch.Generator().manual_seed(4)) % 2
    items = sequences.items.view(USERS, LENGTH)
    for user in (0, 1, 2):
        model = models[int(fold[user])]
        one, other = items[user, 5].item(), items[user, 6].item()
        others = items[fold != fold[user], : LENGTH - 2].tolist()
        near = sum(
            any({history[at], history[at + step]} == {one, other} for step in (1, 2, 3)
                for at in range(LENGTH - 2 - step))
            for history in others
        )  # fmt: skip
        key = model._key(torch.tensor([one]), torch.tensor([other]))
        assert float(model.sightings[model._places(key)]) == near
        stranger = windows(
            replace(sequences, train_lengths=0 * sequences.train_lengths),
            torch.tensor([user]), torch.tensor([LENGTH - 2]), length=LENGTH - 2, with_targets=False,
        )  # fmt: skip
        torch.testing.assert_close(keep[user, :-2], model.keep(stranger)[0])


def test_noise_that_was_put_in_can_be_filtered_and_what_is_filtered_can_be_worked_with(
    noisy: Snapshot, home: Home
) -> None:
    spoilt = corrupt(noisy, CorruptSpec(kind="replace", ratio=0.2, seed=1), home=home)
    left = filtered(spoilt, HALF, home=home)
    assert (left.manifest.parent, left.manifest.clean) == (spoilt.digest, noisy.digest)
    assert left.counts.noisy < 0.4 * spoilt.counts.noisy
    with pytest.raises(InputError, match="has injected noise already"):
        corrupt(left, CorruptSpec(ratio=0.1), home=home)
    cleaned = filtered(noisy, HALF, home=home)
    again = corrupt(cleaned, CorruptSpec(kind="replace", ratio=0.2, seed=1), home=home)
    assert (again.manifest.parent, again.manifest.clean) == (cleaned.digest, noisy.digest)
    without = forget(cleaned, ["u007"], home=home).new
    assert lineage(cleaned, without) == "B is A without 1 user."
    for snapshot, suite in ((left, "filtered"), (again, "corrupted")):
        report = validate(snapshot.path, docs=home.docs)
        assert (report.suite, report.failures) == (suite, ())
    stands_on = {entry.name: entry.stands_on for entry in read_shelf(home)}
    assert stands_on[cleaned.name] == {noisy.name}
    assert [each.name for each in holders("u007", home=home)] == [noisy.name]


def test_a_filtered_cell_is_a_training_on_the_filtered_snapshot_under_the_protocol_of_the_whole(
    noisy: Snapshot, home: Home
) -> None:
    spec = CellSpec(method="a", model=named_method("sasrec-bce").model, filter=HALF)
    cleaned = filtered(noisy, HALF, home=home)
    cell = cell_of(spec, Data(noisy, cleaned), EXECUTION)
    plain = cell_of(spec.model_copy(update={"filter": FilterSpec()}), Data(noisy, cleaned), EXECUTION)
    assert (cell.snapshot, cell.histories, cell.clean) == (cleaned, cleaned, noisy)
    assert (cell.train_key, cell.evaluate_key) == (plain.train_key, plain.evaluate_key)
    assert parameters(cell)["filter.below"] == 0.5
    assert "filter.below" not in parameters(plain)
    keys = {filter_key(snapshot, HALF.model_copy(update=change)) for snapshot in (noisy, cleaned)
            for change in ({}, {"below": 0.4}, {"folds": 2}, {"seed": 1}, {"reach": 4})}  # fmt: skip
    assert len(keys) == 10


def test_a_study_tells_only_of_what_has_noise_put_into_it_that_it_has(noisy: Snapshot, home: Home) -> None:
    noise = InjectedNoise(ratio=0.25, where="training")
    spec = CellSpec(method="a", model=named_method("sasrec-bce").model, noise=noise, filter=HALF)
    made = [filtered(corrupt(noisy, put_in, home=home), HALF, home=home) for put_in in corruptions(noise)]
    told = datasets_of([cell_of(spec, Data(noisy, *made), EXECUTION)], {})
    assert [(of.digest, of.noise is not None) for of in told] == [
        (noisy.digest, False), (made[0].digest, True), (made[1].digest, False),
    ]  # fmt: skip


def test_a_user_keeps_one_interaction(noisy: Snapshot, tiny_snapshot: Snapshot, home: Home) -> None:
    users = np.array([0, 0, 0, 1, 1, 2])
    keep = np.array([0.1, 0.3, 0.3, 0.9, 0.2, 0.0], dtype=np.float32)
    assert suspected(users, keep, below=0.5).tolist() == [True, False, True, False, True, False]
    with pytest.raises(InputError, match="leaves no user of the snapshot"):
        filtered(noisy, FilterSpec(by="popularity", below=1.0), home=home)
    with pytest.raises(InputError, match="too small to judge"):
        filtered(tiny_snapshot, HALF, home=home)
