"""The baselines that count: popularity and a first-order Markov chain."""

import math
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.__main__ import training_of
from models.catalogue import COUNT_BASED, build
from models.config import ModelConfig, TrainingConfig
from models.engine.batches import Batch
from models.engine.detection import suspicions
from models.engine.ranking import Protocol, rank
from models.engine.sequences import InteractionLog, Sequences, Targets
from models.recommender import Recommender
from models.storage import load_model, save_model
from tests.models.builders import shown

ITEMS = 12
NEVER_FOLLOWED = 11
NEVER_TRAINED_ON = 12


def random_log(*, users: int = 60, seed: int = 0) -> InteractionLog:
    """Histories of 2 to 9 events with repetitions, whose last two are held out; one item is the last of every training
    part that it is in, and one is in none.
    """
    draw = np.random.default_rng(seed)
    histories = [[*draw.integers(1, NEVER_FOLLOWED, draw.integers(2, 8)).tolist(), 1, 2] for _ in range(users)]
    histories[0][-3] = NEVER_FOLLOWED
    histories[1][-1] = NEVER_TRAINED_ON
    lengths = torch.tensor([len(history) for history in histories])
    everyone = torch.arange(users)
    items = torch.tensor([item for history in histories for item in history], dtype=torch.int32)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    targets = {
        split: Targets(everyone, items[offsets[1:] - back].long(), lengths - back)
        for split, back in (("validation", 2), ("test", 1))
    }
    return InteractionLog(Sequences(items, offsets, lengths - 2, ITEMS), targets)


def training_parts(log: InteractionLog) -> list[list[int]]:
    sequences = log.sequences
    begins = zip(sequences.offsets.tolist(), sequences.train_lengths.tolist(), strict=False)
    return [sequences.items[begin : begin + length].tolist() for begin, length in begins]


def prepared(name: str, log: InteractionLog) -> Recommender:
    model = build(ModelConfig(backbone=name, length=4), ITEMS, seed=0)
    model.prepare(log.sequences)
    return model.eval()


def asked(*histories: list[int]) -> Batch:
    return shown(*histories, length=4, item_count=ITEMS)


def shares(log: InteractionLog) -> dict[int, float]:
    counts = Counter(item for part in training_parts(log) for item in part)
    return {item: (counts[item] + 1) / (counts.total() + ITEMS) for item in range(1, ITEMS + 1)}


def witten_bell(log: InteractionLog, last: int) -> list[float]:
    """p(j | last) for each item j, by the formula as it stands."""
    followers = Counter(second for part in training_parts(log) for first, second in pairwise(part) if first == last)
    share, different, total = shares(log), len(followers), followers.total()
    if not different:
        return list(share.values())
    return [(followers[item] + different * share[item]) / (total + different) for item in range(1, ITEMS + 1)]


def test_popularity_is_each_items_share_of_what_is_trained_on() -> None:
    log = random_log()
    scores = prepared("popularity", log).scorer()(asked([3], [5, 5, 9, 1, 2], []))
    expected = torch.tensor(list(shares(log).values())).log()
    torch.testing.assert_close(scores, expected.expand(3, -1))


@pytest.mark.parametrize("last", range(1, ITEMS + 1))
def test_a_markov_chain_gives_the_interpolated_share_of_what_followed(last: int) -> None:
    log = random_log()
    scores = prepared("markov-chain", log).scorer()(asked([last], [7, 3, last], [1, 2, 3, 4, 5, 6, last]))
    expected = torch.tensor(witten_bell(log, last)).log()
    torch.testing.assert_close(scores, expected.expand(3, -1))
    assert scores.double().exp().sum(1).tolist() == pytest.approx([1.0] * 3, rel=1e-5)


def test_after_nothing_it_is_popularity() -> None:
    log = random_log()
    chain, popular = (prepared(name, log).scorer() for name in ("markov-chain", "popularity"))
    batch = asked([], [NEVER_FOLLOWED], [NEVER_TRAINED_ON])
    torch.testing.assert_close(chain(batch), popular(batch))


@pytest.mark.parametrize("name", COUNT_BASED)
def test_surprise_is_what_the_scores_say(name: str) -> None:
    log = random_log()
    model, items = prepared(name, log), torch.arange(1, ITEMS + 1)
    batch = asked(*([2, int(item)] for item in items.flip(0)), [])
    expected = -model.scorer()(batch).log_softmax(1)
    for item in range(1, ITEMS + 1):
        found = model.surprises(batch, torch.full((ITEMS + 1,), item))
        torch.testing.assert_close(found, expected[:, item - 1])


@pytest.mark.parametrize("name", COUNT_BASED)
def test_what_is_held_out_is_not_counted(name: str) -> None:
    log = random_log()
    sequences = log.sequences
    held_out = torch.cat([sequences.offsets[1:] - 1, sequences.offsets[1:] - 2])
    items = sequences.items.index_fill(0, held_out, 4)
    changed = Sequences(items, sequences.offsets, sequences.train_lengths, ITEMS)
    one, other = prepared(name, log), prepared(name, InteractionLog(changed, log.targets))
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in one.state_dict().items())


def ranked(model: Recommender, log: InteractionLog) -> dict[str, Any]:
    targets = log.targets["test"]
    return rank(model, log.sequences, targets, Protocol.of(log.sequences, targets, seed=1))


@pytest.mark.parametrize("name", COUNT_BASED)
def test_it_is_ranked_by_its_scores(name: str) -> None:
    log = random_log()
    model, targets = prepared(name, log), log.targets["test"]
    histories = [
        log.sequences.items[begin : begin + size].tolist()
        for begin, size in zip(log.sequences.offsets.tolist(), targets.histories.tolist(), strict=False)
    ]
    scores = model.scorer()(asked(*(history[-4:] for history in histories)))
    own = scores.gather(1, targets.items[:, None] - 1)
    expected = (scores > own).sum(1) + ((scores == own).sum(1) - 1) / 2
    assert ranked(model, log)["full_all"].tolist() == expected.tolist()


@pytest.mark.parametrize("name", COUNT_BASED)
def test_a_training_counts_once_and_what_it_keeps_ranks_alike(name: str, tmp_path: Path) -> None:
    log, config = random_log(), ModelConfig(backbone=name, length=4)
    settings = TrainingConfig(epochs=50, validate_every=10, table_rows="touched")
    asked = {"model": config.to_dict(), "training": settings.to_dict(), "log": "log", "clean": "log"}
    training = training_of(
        asked | {"seed": 1, "evaluation_seed": 1, "device": "cpu"},
        lambda _: log,
        checkpoint=tmp_path / "checkpoint.pt",
    )
    epochs: list[int] = []
    progress = training.run(on_epoch=lambda epoch: epochs.append(epoch.epoch))
    assert (epochs, progress.best_epoch, progress.steps) == ([1], 1, 0)
    assert "train.loss" not in progress.history[0].metrics
    save_model(training.model, config, tmp_path, item_count=ITEMS)
    again = load_model(tmp_path)
    for protocol, ranks in ranked(training.model, log).items():
        assert np.array_equal(ranks, ranked(again, log)[protocol])


def test_its_own_score_is_the_surprise_of_each_event() -> None:
    log = random_log()
    model = prepared("markov-chain", log)
    found = suspicions(model, log.sequences)
    parts = training_parts(log)
    for user, position, score in zip(found.users, found.positions, found.scores["own_score"], strict=True):
        if position > 0:
            p = witten_bell(log, parts[user][position - 1])[parts[user][position] - 1]
            assert score == pytest.approx(-math.log(p), rel=1e-4)
