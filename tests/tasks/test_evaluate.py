"""Ranks of every target, under the clean log's protocol whatever noise the histories carry."""

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

from models import __main__ as worker
from models.catalogue import build
from models.config import ModelConfig
from models.description import DESCRIPTION_FILE, Description
from models.engine import offers
from models.engine.batches import Batch
from models.engine.metrics import summary
from models.engine.ranking import Protocol, rank, rank_and_offer
from models.engine.sequences import Sequences, load_log
from models.recommender import Recommender
from models.storage import load_model, save_model
from tasks.corrupt import corrupt
from tasks.data_specs import CorruptSpec, PrepareSpec, SessionSplit
from tasks.evaluate import Evaluated, evaluate
from tasks.execution import Execution
from tasks.home import Home
from tasks.sequences import export_log
from tasks.snapshots import Snapshot
from tasks.train import Trained

Read = Callable[[Path], list[tuple[Any, ...]]]
COLUMNS = ["target", "split", "user", "item", "history", "popularity"]
RANKS = ["rank_full_unseen", "rank_full_all", "rank_sampled100"]


@pytest.fixture
def noisy(tiny_snapshot: Snapshot, home: Home) -> Snapshot:
    return corrupt(tiny_snapshot, CorruptSpec(ratio=0.5, seed=1), home=home)


@pytest.fixture
def rank_with(tiny_snapshot: Snapshot, home: Home, in_process: None) -> Callable[..., Evaluated]:
    """`rank_with(snapshot, trained_on)`: its ranks by an untrained model, ranked in this process."""
    config = ModelConfig(dim=8, length=6)
    folder = home.steps / "train" / "model"
    folder.mkdir(parents=True)
    model = build(config, tiny_snapshot.counts.items, seed=1)
    save_model(model, config, folder, item_count=tiny_snapshot.counts.items)

    def run(snapshot: Snapshot, trained_on: Snapshot | None = None) -> Evaluated:
        return evaluate(
            Trained(folder), snapshot, tiny_snapshot, trained_on=trained_on or snapshot, evaluation_seed=0,
            execution=Execution("cpu", "", 1, "float32", "", {}),
            folder=home.steps / "evaluate" / snapshot.name, home=home,
        )  # fmt: skip

    return run


def test_one_row_a_target_with_its_popularity_and_history(
    tiny_snapshot: Snapshot, noisy: Snapshot, rank_with: Callable[..., Evaluated], rows_of: Read
) -> None:
    ranks = pd.read_parquet(rank_with(noisy).ranks)
    assert list(ranks.columns) == COLUMNS + RANKS
    train_length = {user: length for user, _, length in rows_of(tiny_snapshot.users)}
    popularity = Counter(
        item for user, item, _, position, _ in rows_of(tiny_snapshot.interactions) if position < train_length[user]
    )
    expected = [
        (target, split, user, item, history, popularity[item])
        for target, user, item, split, history in rows_of(tiny_snapshot.targets)
    ]
    assert list(ranks[COLUMNS].itertuples(index=False, name=None)) == expected
    assert (ranks["rank_full_unseen"] <= ranks["rank_full_all"]).all()
    assert ranks[RANKS].min().min() >= 0
    assert ranks["rank_full_all"].max() <= tiny_snapshot.counts.items - 1


def test_metrics_are_those_of_the_ranks(tiny_snapshot: Snapshot, rank_with: Callable[..., Evaluated]) -> None:
    evaluated = rank_with(tiny_snapshot)
    metrics = evaluated.metrics()
    assert len(metrics) == 3 * 3 * 3 * 3 + 3  # splits × protocols × measures × cutoffs, and what is offered on test
    test = pd.read_parquet(evaluated.ranks).query("split == 'test'")
    assert metrics["test.full_all.hit_at_10"] == (test["rank_full_all"] < 10).mean()
    assert metrics == metrics | summary({"sampled100": test["rank_sampled100"].to_numpy()}, "test")


def test_every_prefix_of_a_held_out_session_has_its_row(
    ingest_file: Callable[..., Snapshot], write_log: Callable[..., Path], home: Home, rows_of: Read,
    in_process: None, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    rows = [f"s{user:02},i{(user * 5 + event * event) % 23},{user * 100 + event}" for user in range(40)
            for event in range(2 + user % 5)]  # fmt: skip
    prepare = PrepareSpec(split=SessionSplit(validation=0.3, test=0.2), promotion=0.5)
    path = write_log("\n".join(["user_id,item_id,ts", *rows]) + "\n")
    snapshot = ingest_file(path, prepare=prepare, order="ts")
    targets = rows_of(snapshot.targets)
    assert Counter(split for *_, split, _ in targets).keys() == {"validation", "promotion", "test"}
    assert min(history for *_, history in targets) == 1

    class Nearest(Recommender):
        """Ranks an item by how far its number is from that of the history's last."""

        length = 4

        def query(self, batch: Batch) -> Tensor:
            last = batch.items.flatten()[batch.ends]
            return -(torch.arange(snapshot.counts.items + 1)[None] - last[:, None]).abs().float()

        def item_table(self) -> Tensor:
            return torch.eye(snapshot.counts.items + 1)

    monkeypatch.setattr(worker, "load_model", lambda folder, device: Nearest())
    described = Description(ModelConfig(), snapshot.counts.items, snapshot.counts.users)
    (home.root / DESCRIPTION_FILE).write_text(described.to_json(), encoding="utf-8")
    evaluated = evaluate(
        Trained(home.root), snapshot, snapshot, trained_on=snapshot, evaluation_seed=0, home=home,
        folder=home.steps / "evaluate" / "x", execution=Execution("cpu", "", 1, "float32", "", {}),
    )  # fmt: skip
    ranks = pd.read_parquet(evaluated.ranks)
    assert list(ranks[["target", "user", "item", "split", "history"]].itertuples(index=False, name=None)) == targets
    items = {(user, position): item for user, item, _, position, _ in rows_of(snapshot.interactions)}
    for row in ranks.itertuples():
        last = items[row.user, row.history - 1]
        distances = [abs(item - last) for item in range(1, snapshot.counts.items + 1)]
        own = abs(row.item - last)
        ahead = sum(distance < own for distance in distances) + (distances.count(own) - 1) / 2
        assert row.rank_full_all == ahead
    metrics = evaluated.metrics()
    for split, of_split in ranks.groupby("split"):
        assert metrics[f"{split}.full_all.hit_at_5"] == (of_split["rank_full_all"] < 5).mean()


def test_noise_changes_histories_and_neither_negatives_nor_what_counts_as_seen(
    tiny_snapshot: Snapshot, noisy: Snapshot, home: Home, rank_with: Callable[..., Evaluated]
) -> None:
    clean_log, noisy_log = (load_log(export_log(snapshot, home=home)) for snapshot in (tiny_snapshot, noisy))
    assert not torch.equal(clean_log.sequences.items, noisy_log.sequences.items)
    for split, targets in noisy_log.targets.items():
        theirs = clean_log.targets[split]
        assert torch.equal(targets.items, theirs.items)
        assert torch.equal(targets.histories, theirs.histories)
        protocol = Protocol.of(clean_log.sequences, theirs, seed=0)
        everything = slice(0, len(targets))
        negatives = protocol.negatives(everything)
        for row, user in enumerate(targets.users.tolist()):
            start, end = clean_log.sequences.offsets[user : user + 2].tolist()
            assert not set(negatives[row].tolist()) & set(clean_log.sequences.items[start:end].tolist())
    by_noise = [pd.read_parquet(rank_with(snapshot).ranks) for snapshot in (tiny_snapshot, noisy)]
    pd.testing.assert_frame_equal(by_noise[0][COLUMNS], by_noise[1][COLUMNS])
    assert not by_noise[0][RANKS].equals(by_noise[1][RANKS])


def test_how_often_each_item_is_offered_is_kept_with_its_raw_id_and_makes_the_figures(
    tiny_snapshot: Snapshot, noisy: Snapshot, home: Home, rank_with: Callable[..., Evaluated], rows_of: Read
) -> None:
    """Novelty's users are those of the clean log, whatever was ranked with."""
    evaluated = rank_with(noisy)
    exposures = pd.read_parquet(evaluated.exposures)
    assert list(exposures.columns) == ["item", "item_id", "lists", "users", "self_information"]
    assert list(zip(exposures["item"], exposures["item_id"], strict=True)) == rows_of(tiny_snapshot.items)
    clean, histories = (load_log(export_log(snapshot, home=home)) for snapshot in (tiny_snapshot, noisy))
    protocol = Protocol.of(clean.sequences, clean.targets["test"], seed=0)
    model = load_model(home.steps / "train" / "model")
    _, lists = rank_and_offer(model, histories.sequences, histories.targets["test"], protocol)
    listed = Counter(lists[lists > 0].tolist())
    assert exposures["lists"].tolist() == [listed[item] for item in exposures["item"]]
    train_length = {user: length for user, _, length in rows_of(tiny_snapshot.users)}
    having = {
        (item, user)
        for user, item, _, position, _ in rows_of(tiny_snapshot.interactions)
        if position < train_length[user]
    }
    users = Counter(item for item, _ in having)
    assert exposures["users"].tolist() == [users[item] for item in exposures["item"]]
    trained_on = sum(length > 0 for length in train_length.values())
    bits = [math.log2(trained_on / users[item]) for item in exposures["item"]]
    assert exposures["self_information"].tolist() == pytest.approx(bits)
    metrics = evaluated.metrics()
    assert metrics["test.full_unseen.coverage_at_10"] == len(listed) / tiny_snapshot.counts.items
    mean = sum(bits[item - 1] * count for item, count in listed.items()) / listed.total()
    assert metrics["test.full_unseen.novelty_at_10"] == pytest.approx(mean)
    assert metrics["test.full_unseen.gini_at_10"] == offers.gini(exposures["lists"].to_numpy())
    assert [name for name in metrics if "coverage" in name] == ["test.full_unseen.coverage_at_10"]


@pytest.mark.parametrize("kind", ["replace", "insert", "delete", "swap", "bots"])
def test_a_model_is_told_which_events_of_other_histories_it_was_trained_on(
    kind: str, tiny_snapshot: Snapshot, home: Home, rank_with: Callable[..., Evaluated], rows_of: Read,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Of noisy histories after a training without the noise, and the reverse; what only moved was trained on."""
    noisy = corrupt(tiny_snapshot, CorruptSpec.model_validate({"kind": kind, "ratio": 0.3, "seed": 1}), home=home)
    read: list[Sequences] = []

    def reading(ranked: Callable[..., Any]) -> Callable[..., Any]:
        def read_with(model: Recommender, histories: Sequences, *others: Any) -> Any:
            read.append(histories)
            return ranked(model, histories, *others)

        return read_with

    monkeypatch.setattr(worker, "rank", reading(rank))
    monkeypatch.setattr(worker, "rank_and_offer", reading(rank_and_offer))

    def told() -> set[tuple[bool, ...]]:
        """Which events were trained on, by what is ranked with in any split."""
        return {tuple(read.pop().trained.tolist()) for _ in range(3)}

    def events(snapshot: Snapshot) -> list[tuple[tuple[int, int], bool, bool]]:
        """User and item, whether it may be trained on, whether it is the noise that was put in."""
        lengths = {user: length for user, _, length in rows_of(snapshot.users)}
        rows = rows_of(snapshot.interactions)
        return [((user, item), place < lengths[user], label == kind) for user, item, _, place, label in rows]

    with_noise, without = events(noisy), events(tiny_snapshot)
    kept = {event for event, trains, is_noise in with_noise if trains}
    own = {event for event, trains, _ in without if trains}
    rank_with(noisy, tiny_snapshot)
    expected = [trains and (not is_noise or event in own) for event, trains, is_noise in with_noise]
    assert told() == {tuple(expected)}
    rank_with(tiny_snapshot, noisy)
    expected = [trains and event in kept for event, trains, _ in without]
    assert told() == {tuple(expected)}
    gone = sum(trains for _, trains, _ in without) - sum(expected)
    assert (gone > 0) == (kind in ("replace", "delete"))


def test_a_finished_ranking_is_not_done_again(tiny_snapshot: Snapshot, rank_with: Callable[..., Evaluated]) -> None:
    evaluated = rank_with(tiny_snapshot)
    written = evaluated.ranks.stat().st_mtime_ns
    assert rank_with(tiny_snapshot) == evaluated
    assert evaluated.ranks.stat().st_mtime_ns == written


def test_a_ranking_that_lost_a_file_is_done_again(tiny_snapshot: Snapshot, rank_with: Callable[..., Evaluated]) -> None:
    """As that of a version which did not keep it."""
    evaluated = rank_with(tiny_snapshot)
    metrics = evaluated.metrics()
    evaluated.exposures.unlink()
    assert not evaluated.complete
    assert rank_with(tiny_snapshot).metrics() == metrics
