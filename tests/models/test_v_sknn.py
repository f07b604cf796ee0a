"""Nearest neighbours of histories, against a second implementation by the sentences of the docstring."""

import math
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from models.catalogue import build
from models.config import ModelConfig
from models.engine.batches import Batch, windows
from models.engine.detection import suspicions
from models.engine.sequences import Sequences
from models.networks import v_sknn
from models.networks.v_sknn import VSKNN
from models.serving import Server
from models.storage import load_model, save_model

ITEMS = 15
LENGTH = 5
NEVER_TRAINED_ON = 15
SETTINGS = [
    {"neighbours": 4, "neighbour_sample": 6, "neighbour_window": 0},
    {"neighbours": 4, "neighbour_sample": 6, "neighbour_window": 2},
    {"neighbours": 1, "neighbour_sample": 50, "neighbour_window": 1},
    {"neighbours": 50, "neighbour_sample": 1, "neighbour_window": 3},
    {"neighbours": 50, "neighbour_sample": 50, "neighbour_window": 0},
]


def log_of(seed: int = 0, *, users: int = 25, timed: bool = True) -> Sequences:
    """Histories of up to 9 training events with repetitions, some with none, and two held-out events each."""
    draw = np.random.default_rng(seed)
    sizes = draw.integers(0, 10, users)
    items = torch.from_numpy(draw.integers(1, NEVER_TRAINED_ON, int(sizes.sum()) + 2 * users)).int()
    lengths = torch.from_numpy(sizes)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), (lengths + 2).cumsum(0)])
    items[offsets[1:] - 1] = NEVER_TRAINED_ON
    times = torch.from_numpy(draw.integers(0, 30, len(items))) if timed else None  # several at the same time
    return Sequences(items, offsets, lengths, ITEMS, times=times)


def prepared(log: Sequences, **settings: Any) -> VSKNN:
    model = build(ModelConfig(backbone="v-sknn", length=LENGTH, **settings), ITEMS, seed=0)
    assert isinstance(model, VSKNN)
    model.prepare(log)
    return model.eval()


def history_of(log: Sequences, user: int, stop: int) -> list[int]:
    begin = int(log.offsets[user])
    return log.items[begin : begin + stop].tolist()


def probabilities(
    log: Sequences, history: list[int], user: int, *, neighbours: int, neighbour_sample: int, neighbour_window: int
) -> list[float]:
    """p(j | history) for each item j, one history and one item after the other."""
    parts = [history_of(log, other, int(log.train_lengths[other])) for other in range(log.user_count)]

    def recency(other: int) -> tuple[float, int]:
        end = int(log.offsets[other] + log.train_lengths[other]) - 1
        return (float(log.times[end]) if log.times is not None else 0.0, other)

    weights: dict[int, float] = {}
    for age, item in enumerate(reversed(history[-LENGTH:])):
        weights.setdefault(item, 1 / (1 + age))
    shared = defaultdict(list)
    for item in weights:
        holders = sorted((other for other, part in enumerate(parts) if item in part), key=recency, reverse=True)
        for other in holders[:neighbour_sample]:
            if other != user:
                shared[other].append(item)
    similarity = {other: sum(weights[item] for item in items) for other, items in shared.items()}
    ranked = sorted(similarity, key=lambda other: (round(similarity[other], 5), *recency(other)), reverse=True)
    votes, count = defaultdict(float), 0
    holders_of = Counter(item for part in parts for item in set(part))
    for other in ranked[:neighbours]:
        part = parts[other]
        if not neighbour_window:
            for item in set(part):
                rarity = 1 + math.log(sum(map(bool, parts)) / holders_of[item])
                votes[item] += similarity[other] * max(weights[each] for each in shared[other]) * rarity
                count += 1
            continue
        for item in shared[other]:
            place = len(part) - 1 - part[::-1].index(item)
            for voted in part[place + 1 : place + 1 + neighbour_window]:
                votes[voted] += similarity[other] * weights[item]
                count += 1
    occurrences = Counter(item for part in parts for item in part)
    share = {item: (occurrences[item] + 1) / (occurrences.total() + ITEMS) for item in range(1, ITEMS + 1)}
    if not votes:
        return list(share.values())
    total, different = sum(votes.values()), len(votes)
    return [
        (count * votes[item] / total + different * share[item]) / (count + different) for item in range(1, ITEMS + 1)
    ]


def batch_of(log: Sequences, *, held_out: int = 1) -> Batch:
    """Every user's events but the last ones."""
    stops = log.offsets.diff() - held_out
    return windows(log, torch.arange(log.user_count), stops, length=LENGTH, with_targets=False)


def alone(log: Sequences, user: int) -> Batch:
    stop = log.offsets.diff()[user : user + 1] - 1
    return windows(log, torch.tensor([user]), stop, length=LENGTH, with_targets=False)


@pytest.mark.parametrize("timed", [True, False])
@pytest.mark.parametrize("settings", SETTINGS)
def test_scores_are_those_of_the_second_implementation(settings: dict[str, int], *, timed: bool) -> None:
    for seed in range(3):
        log = log_of(seed, timed=timed)
        scores = prepared(log, **settings).scorer()(batch_of(log))
        for user in range(log.user_count):
            history = history_of(log, user, int(log.offsets.diff()[user]) - 1)
            expected = torch.tensor(probabilities(log, history, user, **settings)).log()
            torch.testing.assert_close(scores[user], expected, rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_stranger_has_all_histories_for_neighbours(settings: dict[str, int]) -> None:
    log = log_of()
    batch = batch_of(log)
    strangers = replace(batch, users=torch.full_like(batch.users, -1))
    scores = prepared(log, **settings).scorer()(strangers)
    for user in range(log.user_count):
        history = history_of(log, user, int(log.offsets.diff()[user]) - 1)
        expected = torch.tensor(probabilities(log, history, -1, **settings)).log()
        torch.testing.assert_close(scores[user], expected, rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize("settings", SETTINGS[:2])
def test_a_users_own_history_has_no_say(settings: dict[str, int]) -> None:
    """Who alone has an item is told nothing by it, though her own history goes on from it."""
    items = torch.tensor([1, 2, 3, 9, 9, 4, 5, 6, 9, 9], dtype=torch.int32)
    log = Sequences(items, torch.tensor([0, 5, 10]), torch.tensor([3, 3]), ITEMS)
    model = prepared(log, **settings)
    batch = windows(log, torch.tensor([0]), torch.tensor([2]), length=LENGTH, with_targets=False)
    assert torch.equal(model.scorer()(batch)[0], model.log_shares[1:])
    stranger = model.scorer()(replace(batch, users=torch.full_like(batch.users, -1)))[0]
    assert stranger[2] > model.log_shares[3]


@pytest.mark.parametrize("settings", SETTINGS[:2])
def test_what_else_is_in_a_batch_has_no_influence(settings: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    log = log_of()
    score = prepared(log, **settings).scorer()
    together = score(batch_of(log))
    for user in range(log.user_count):
        assert torch.equal(score(alone(log, user))[0], together[user])
    for cells in (1, 7, 100):
        monkeypatch.setattr(v_sknn, "CELLS_AT_ONCE", cells)
        assert torch.equal(score(batch_of(log)), together)
    monkeypatch.setattr(v_sknn, "VOTES_AT_ONCE", 3 * (ITEMS + 1))
    monkeypatch.setattr(v_sknn, "CELLS_AT_ONCE", 10**6)
    assert torch.equal(score(batch_of(log)), together)


def test_no_block_holds_more_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(v_sknn, "CELLS_AT_ONCE", 100)
    monkeypatch.setattr(v_sknn, "VOTES_AT_ONCE", 40)

    def sizes(*occurrences: int, histories: int) -> list[int]:
        return v_sknn._block_sizes(occurrences, histories=histories, items=10)

    assert sizes(histories=5) == []
    assert sizes(40, 10, 1, histories=50) == [2, 1], "pairs of windows and histories"
    assert sizes(60, 40, 1, histories=5) == [2, 1], "as many occurrences as may be"
    assert sizes(500, 0, 500, histories=5) == [1, 1, 1], "a window goes alone where it has too many"
    assert sizes(0, 0, 0, 0, 0, histories=5) == [4, 1], "pairs of windows and items"


@pytest.mark.parametrize("settings", SETTINGS[:2])
@pytest.mark.parametrize("history", [[], [NEVER_TRAINED_ON]])
def test_what_is_known_to_no_neighbour_is_ranked_by_popularity(settings: dict[str, int], history: list[int]) -> None:
    model = prepared(log_of(), **settings)
    asked = Sequences(
        torch.tensor([*history, 1], dtype=torch.int32),
        torch.tensor([0, len(history) + 1]),
        torch.zeros(1).long(),
        ITEMS,
    )
    batch = windows(asked, torch.tensor([0]), torch.tensor([len(history)]), length=LENGTH, with_targets=False)
    assert torch.equal(model.scorer()(batch)[0], model.log_shares[1:])


def test_nothing_to_learn_from_is_popularity() -> None:
    log = log_of(users=3)
    empty = replace(log, train_lengths=torch.zeros_like(log.train_lengths))
    for settings in SETTINGS[:2]:
        scores = prepared(empty, **settings).scorer()(batch_of(empty))
        torch.testing.assert_close(scores, torch.full_like(scores, -math.log(ITEMS)))


@pytest.mark.parametrize("settings", SETTINGS[:2])
def test_its_own_score_is_the_surprise_of_each_event_without_her_own_history(settings: dict[str, int]) -> None:
    log = log_of()
    found = suspicions(prepared(log, **settings), log)
    for user, position, score in zip(found.users, found.positions, found.scores["own_score"], strict=True):
        if position > 0:
            begin = max(0, int(log.train_lengths[user]) - 1 - LENGTH)
            history = history_of(log, int(user), int(position))[begin:]
            item = history_of(log, int(user), int(position) + 1)[-1]
            p = probabilities(log, history, int(user), **settings)[item - 1]
            assert score == pytest.approx(-math.log(p), rel=1e-5)


def test_it_is_a_markov_chain_where_one_event_and_one_follower_are_looked_at() -> None:
    """Where nobody has an item twice, of strangers, whom everybody may advise."""
    draw = np.random.default_rng(3)
    items = torch.from_numpy(np.concatenate([1 + draw.permutation(ITEMS)[:6] for _ in range(20)])).int()
    log = Sequences(items, torch.arange(21) * 6, torch.full((20,), 6), ITEMS)
    batch = windows(log, torch.arange(20), torch.arange(20) % 6 + 1, length=1, with_targets=False)
    strangers = replace(batch, users=torch.full_like(batch.users, -1))
    tables: list[Tensor] = []
    for backbone in ("v-sknn", "markov-chain"):
        model = build(ModelConfig(backbone=backbone, length=1, neighbour_window=1), ITEMS, seed=0)
        model.prepare(log)
        tables.append(model.scorer()(strangers))
    torch.testing.assert_close(*tables, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("settings", SETTINGS[:2])
def test_what_is_saved_scores_alike_and_holds_no_ids(settings: dict[str, int], tmp_path: Path) -> None:
    log = log_of()
    model = prepared(log, **settings)
    save_model(model, ModelConfig(backbone="v-sknn", length=LENGTH, **settings), tmp_path, item_count=ITEMS)
    again = load_model(tmp_path)
    assert torch.equal(again.scorer()(batch_of(log)), model.scorer()(batch_of(log)))
    assert {*again.state_dict()} == {"log_shares", "events", "begins", "ages", "index", "index_begins"}


@pytest.mark.parametrize("settings", SETTINGS[:2])
def test_it_is_served_as_to_a_stranger(settings: dict[str, int]) -> None:
    log = log_of()
    server = Server()
    server.hold(prepared(log, **settings), ids=[f"i{item}" for item in range(1, ITEMS + 1)], popularity=[0.0] * ITEMS)
    histories = [[3, 7, 2], [5]]
    asked = pd.DataFrame({"history": [[f"i{item}" for item in history] for history in histories]})
    offered = server.predict(None, asked, {"k": 3})
    for history, items, scores in zip(histories, offered["items"], offered["scores"], strict=True):
        p = probabilities(log, history, -1, **settings)
        unseen = sorted((item for item in range(1, ITEMS + 1) if item not in history), key=lambda item: -p[item - 1])
        assert scores == pytest.approx([math.log(p[item - 1]) for item in unseen[:3]], abs=1e-5)
        assert [p[int(item[1:]) - 1] for item in items] == pytest.approx([p[item - 1] for item in unseen[:3]], rel=1e-5)


def test_each_item_has_the_most_recent_histories_in_its_index() -> None:
    log = log_of(users=60)
    model = prepared(log, neighbour_sample=3)
    for item in range(1, ITEMS + 1):
        places = model.index[model.index_begins[item] : model.index_begins[item + 1]]
        assert set(model.events[places].tolist()) <= {item}
        holders = torch.searchsorted(model.begins, places, right=True) - 1
        own = log.offsets[holders] + log.train_lengths[holders] - 1
        others = [user for user in range(60) if item in history_of(log, user, int(log.train_lengths[user]))]
        assert log.times is not None
        ends = [int(log.times[log.offsets[user] + log.train_lengths[user] - 1]) for user in others]
        assert log.times[own].tolist() == sorted(ends, reverse=True)[:3]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"neighbours": 0}, "neighbours must be at least 1"),
        ({"neighbour_sample": 0}, "neighbour_sample must be at least 1"),
        ({"neighbour_window": -1}, "neighbour_window must be at least 0"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(settings: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ModelConfig(backbone="v-sknn", **settings)  # type: ignore[arg-type]
