"""What is recommended, against a plain loop, and what figures it makes, against closed forms."""

import math
from collections import Counter

import numpy as np
import pytest
import torch

from models.catalogue import build
from models.config import ModelConfig
from models.engine import ranking
from models.engine.metrics import PROTOCOLS
from models.engine.offers import (
    OFFER_METRICS,
    OFFERED,
    Offers,
    coverage,
    exposures,
    gini,
    novelty,
    self_information,
    summary,
)
from models.engine.ranking import Protocol, rank, rank_and_offer, users_by_item
from models.engine.sequences import InteractionLog, Sequences, Targets
from models.errors import Diverged
from models.recommender import Recommender
from tests.models.conftest import MakeLog
from tests.models.test_ranking import Fixed, every_prefix

ITEMS = 25
LENGTHS = [3, 4, 9, 20, 7, 1, 15, 90, 60]
"""Of histories in a catalogue of 25: the last two have had nearly all of it."""


def offered(
    model: Recommender,
    log: InteractionLog,
    targets: Targets,
    *,
    clean: InteractionLog | None = None,
    batch_size: int = 4,
) -> Offers:
    protocol = Protocol.of((clean or log).sequences, targets, seed=5)
    return rank_and_offer(model, log.sequences, targets, protocol, batch_size=batch_size)[1]


def events_before(sequences: Sequences, user: int, history: int) -> list[int]:
    start = int(sequences.offsets[user])
    return sequences.items[start : start + history].tolist()


def by_hand(model: Fixed, log: InteractionLog, targets: Targets, clean: InteractionLog) -> list[list[int]]:
    lists = []
    for user, history in zip(targets.users.tolist(), targets.histories.tolist(), strict=True):
        scores = model.scores[events_before(log.sequences, user, history)[-1]].tolist()
        seen = events_before(clean.sequences, user, history)
        left = [item for item in range(1, len(scores)) if item not in seen]
        best = sorted(left, key=lambda item: (-scores[item], item))[:OFFERED]
        lists.append(best + [0] * (OFFERED - len(best)))
    return lists


@pytest.mark.parametrize("levels", [1, 4, 1000])
def test_lists_equal_those_by_hand(make_log: MakeLog, levels: int) -> None:
    log = make_log(lengths=LENGTHS, item_count=ITEMS)
    model, targets = Fixed(ITEMS, levels=levels), log.targets["test"]
    lists = offered(model, log, targets)
    assert lists.dtype == np.int32
    assert lists.tolist() == by_hand(model, log, targets, log)
    left = [ITEMS - len(set(events_before(log.sequences, *row))) for row in zip(
        targets.users.tolist(), targets.histories.tolist(), strict=True)]  # fmt: skip
    assert (lists > 0).sum(1).tolist() == [min(OFFERED, each) for each in left]
    assert min(left) < OFFERED < max(left)


def test_ranks_are_what_they_are_without_lists(make_log: MakeLog) -> None:
    log = make_log(lengths=LENGTHS, item_count=ITEMS)
    model, targets = Fixed(ITEMS, levels=4), every_prefix(log)
    protocol = Protocol.of(log.sequences, targets, seed=5)
    alone = rank(model, log.sequences, targets, protocol, batch_size=4)
    beside, _ = rank_and_offer(model, log.sequences, targets, protocol, batch_size=4)
    assert all(np.array_equal(alone[name], beside[name]) for name in PROTOCOLS)


def test_a_target_is_in_its_list_where_its_rank_is_below_ten_unless_it_is_known_already(make_log: MakeLog) -> None:
    log = make_log(lengths=LENGTHS, item_count=ITEMS)
    model, targets = Fixed(ITEMS, levels=10**6), every_prefix(log)
    protocol = Protocol.of(log.sequences, targets, seed=5)
    ranks, lists = rank_and_offer(model, log.sequences, targets, protocol)
    inside = (lists == targets.items.numpy()[:, None]).any(1)
    rows = zip(targets.users.tolist(), targets.histories.tolist(), strict=True)
    known = np.array(
        [int(item) in events_before(log.sequences, *row) for item, row in zip(targets.items, rows, strict=True)]
    )
    assert known.any()
    assert not inside[known].any()
    assert inside[~known].tolist() == (ranks["full_unseen"][~known] < OFFERED).tolist()


def test_what_is_seen_is_what_the_clean_log_has(make_log: MakeLog) -> None:
    clean, noisy = (make_log(lengths=LENGTHS, item_count=ITEMS, seed=seed) for seed in (0, 1))
    targets, model = clean.targets["test"], Fixed(ITEMS, levels=4)
    lists = offered(model, noisy, targets, clean=clean).tolist()
    assert lists == by_hand(model, noisy, targets, clean)
    assert lists != by_hand(model, noisy, targets, noisy)


@pytest.mark.parametrize("levels", [1, 3, 1000])
def test_lists_are_the_same_in_blocks_of_any_size(
    make_log: MakeLog, monkeypatch: pytest.MonkeyPatch, levels: int
) -> None:
    log = make_log(lengths=LENGTHS, item_count=ITEMS)
    model, targets = Fixed(ITEMS, levels=levels), every_prefix(log)
    whole = offered(model, log, targets, batch_size=10**6)
    for size in (1, 7, 64):
        assert np.array_equal(offered(model, log, targets, batch_size=size), whole)
    monkeypatch.setattr(ranking, "CELLS_OF_TIES", 1)
    assert np.array_equal(offered(model, log, targets, batch_size=64), whole)
    monkeypatch.setattr(ranking, "CELLS_OF_A_BLOCK", 130)
    assert np.array_equal(offered(model, log, targets, batch_size=64), whole)


@pytest.mark.parametrize("items", [1, 4, OFFERED, OFFERED + 1])
def test_a_catalogue_may_be_shorter_than_a_list(make_log: MakeLog, items: int) -> None:
    log = make_log(lengths=[3, 3, 4], item_count=items)
    model, targets = Fixed(items, levels=2), log.targets["test"]
    assert offered(model, log, targets).tolist() == by_hand(model, log, targets, log)


def test_a_split_without_targets_has_no_lists(make_log: MakeLog) -> None:
    log = make_log(lengths=[5, 6], item_count=12)
    nobody = Targets(*torch.zeros(3, 0, dtype=torch.int64))
    lists = offered(Fixed(12, levels=3), log, nobody)
    assert lists.shape == (0, OFFERED)
    assert summary(exposures(lists, 12), np.zeros(12)) == {}


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_scores_that_are_no_numbers_are_refused(make_log: MakeLog, bad: float) -> None:
    log = make_log(lengths=[5, 6], item_count=30)
    model = Fixed(30, levels=2)
    model.scores[:, 4] = bad
    with pytest.raises(Diverged, match="not finite"):
        offered(model, log, log.targets["test"])


def test_the_popular_is_offered_by_popularity_and_everything_by_chance(make_log: MakeLog) -> None:
    log = make_log(lengths=[8] * 400, item_count=300)
    targets = log.targets["test"]
    popular = build(ModelConfig(backbone="popularity", length=4), 300, seed=0)
    popular.prepare(log.sequences)
    information = self_information(users_by_item(log.sequences).numpy(), 400)
    told = [
        summary(exposures(offered(model, log, targets, batch_size=128), 300), information)
        for model in (popular, Fixed(300, levels=10**6))
    ]
    (narrow, known, uneven), (wide, novel, even) = ([figures[name] for name in OFFER_METRICS] for figures in told)
    assert narrow < 0.1
    assert uneven > 0.94
    assert wide > 0.99
    assert even < 0.5
    assert known < novel


def test_users_of_an_item_are_counted_once_and_in_what_is_trained_on(make_log: MakeLog) -> None:
    log = make_log(lengths=LENGTHS, item_count=ITEMS)
    sequences = log.sequences
    parts = [
        set(events_before(sequences, user, int(length))) for user, length in enumerate(sequences.train_lengths.tolist())
    ]
    counted = Counter(item for part in parts for item in part)
    assert users_by_item(sequences).tolist() == [counted[item] for item in range(1, ITEMS + 1)]


def test_exposures_count_lists_and_pass_over_what_is_missing() -> None:
    assert exposures(np.array([[1, 3], [3, 0], [0, 0]], dtype=np.int32), 4).tolist() == [1, 0, 2, 0]


def test_self_information_is_that_of_the_share_of_users_and_of_one_user_where_there_is_none() -> None:
    assert self_information(np.array([8, 4, 1, 0]), 8).tolist() == [0.0, 1.0, 3.0, 3.0]


def test_figures_by_hand() -> None:
    lists = np.array([0, 4, 1, 0, 3])
    information = np.array([9.0, 1.0, 2.0, 9.0, 3.0])
    assert coverage(lists) == 0.6
    assert novelty(lists, information) == pytest.approx((4 * 1.0 + 1 * 2.0 + 3 * 3.0) / 8)
    # By its definition: the mean difference of all pairs over twice the mean, of n (n − 1) pairs.
    pairs = sum(abs(int(a) - int(b)) for a in lists for b in lists)
    assert gini(lists) == pytest.approx(pairs / (2 * 5 * 4 * lists.mean()))
    assert summary(lists, information) == {
        "test.full_unseen.coverage_at_10": coverage(lists),
        "test.full_unseen.novelty_at_10": novelty(lists, information),
        "test.full_unseen.gini_at_10": gini(lists),
    }


@pytest.mark.parametrize("items", [2, 7, 1000])
def test_the_gini_index_goes_from_equal_exposures_to_a_single_item(items: int) -> None:
    assert gini(np.full(items, 3)) == pytest.approx(0.0, abs=1e-12)
    alone = np.zeros(items, dtype=np.int64)
    alone[items // 2] = 5
    assert gini(alone) == pytest.approx(1.0)
    assert gini(np.arange(items)) == pytest.approx(gini(7 * np.arange(items)[::-1]))
    assert math.isclose(gini(np.ones(1, dtype=np.int64)), 0.0)


def test_the_same_list_for_all_has_the_gini_index_that_is_said() -> None:
    lists = np.where(np.arange(100) < OFFERED, 30, 0)
    assert gini(lists) == pytest.approx((100 - OFFERED) / (100 - 1))
