"""Ranks and metrics against a slow, plain implementation."""

import math
from copy import copy
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from models.catalogue import build
from models.config import ModelConfig
from models.engine import ranking
from models.engine.batches import Batch, history_batches
from models.engine.metrics import PROTOCOLS, gains, hits, reciprocal_ranks, summary
from models.engine.ranking import Protocol, at_a_time, rank
from models.engine.sequences import InteractionLog, Targets
from models.errors import Diverged
from models.recommender import Recommender
from tests.models.conftest import MakeLog


class Fixed(Recommender):
    """Scores that depend on the last item alone, with many ties."""

    length = 6

    def __init__(self, item_count: int, *, levels: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.scores = torch.randint(0, levels, (item_count + 1, item_count + 1), generator=generator).float()
        self.scores[:, 0] = 1e9

    def query(self, batch: Batch) -> Tensor:
        return self.scores[batch.items.flatten()[batch.ends]]

    def item_table(self) -> Tensor:
        return torch.eye(self.scores.shape[1])


@pytest.mark.parametrize("levels", [1, 4, 1000])
def test_ranks_equal_counting_by_hand(make_log: MakeLog, levels: int) -> None:
    log = make_log(lengths=[3, 4, 9, 20, 7, 1, 15], item_count=25)
    model = Fixed(25, levels=levels)
    targets = log.targets["test"]
    protocol = Protocol.of(log.sequences, targets, seed=5)
    ranks = rank(model, log.sequences, targets, protocol, batch_size=4)
    negatives = protocol.negatives(slice(0, len(targets)))
    for row, (user, item, history) in enumerate(
        zip(targets.users.tolist(), targets.items.tolist(), targets.histories.tolist(), strict=True)
    ):
        start = int(log.sequences.offsets[user])
        events = log.sequences.items[start : start + history].tolist()
        scores = model.scores[events[-1]].tolist()

        def place(candidates: list[int], scores: list[float] = scores, item: int = item) -> float:
            others = [scores[other] for other in candidates]
            return sum(s > scores[item] for s in others) + 0.5 * sum(s == scores[item] for s in others)

        others = [other for other in range(1, 26) if other != item]
        assert ranks["full_all"][row] == place(others)
        assert ranks["full_unseen"][row] == place([other for other in others if other not in events])
        assert ranks["sampled100"][row] == place(negatives[row].tolist())


def every_prefix(log: InteractionLog) -> Targets:
    """Each event of each user but the first, predicted from all before it."""
    rows = [
        (user, int(log.sequences.items[start + place]), place)
        for user, (start, stop) in enumerate(pairwise(log.sequences.offsets.tolist()))
        for place in range(1, stop - start)
    ]
    return Targets(*torch.tensor(rows).T)


@pytest.mark.parametrize("cells", [1, 130, 10**9])
def test_every_prefix_of_a_session_is_ranked_alike_in_blocks_of_any_size(
    make_log: MakeLog, monkeypatch: pytest.MonkeyPatch, cells: int
) -> None:
    log = make_log(lengths=[2, 1, 5, 9, 3, 2], item_count=25)
    targets = every_prefix(log)
    model = Fixed(25, levels=4)
    protocol = Protocol.of(log.sequences, targets, seed=5)
    monkeypatch.setattr(ranking, "CELLS_OF_A_BLOCK", cells)
    blocks: list[int] = []
    whole = ranking._block_ranks

    def watched(scores: Tensor, items: Tensor, protocol: Protocol, rows: slice) -> Tensor:
        blocks.append(len(scores))
        return whole(scores, items, protocol, rows)

    monkeypatch.setattr(ranking, "_block_ranks", watched)
    ranks = rank(model, log.sequences, targets, protocol, batch_size=7)
    assert max(blocks) == {1: 1, 130: 4, 10**9: 7}[cells]
    assert sum(blocks) == len(targets) == 16
    assert int(targets.histories.min()) == 1
    for row, (user, item, history) in enumerate(
        zip(targets.users.tolist(), targets.items.tolist(), targets.histories.tolist(), strict=True)
    ):
        start = int(log.sequences.offsets[user])
        events = log.sequences.items[start : start + history].tolist()
        scores = model.scores[events[-1]].tolist()
        others = [other for other in range(1, 26) if other != item and other not in events]
        higher = sum(scores[other] > scores[item] for other in others)
        assert ranks["full_unseen"][row] == higher + 0.5 * sum(scores[other] == scores[item] for other in others)


def test_a_gpu_ranks_more_targets_at_a_time_where_their_attention_is_small() -> None:
    assert [at_a_time(torch.device("cuda"), length=length) for length in (50, 100, 1000)] == [3355, 838, 256]
    assert at_a_time(torch.device("cpu"), length=50) == 256


def test_nothing_of_a_block_waits_for_the_device(make_log: MakeLog) -> None:
    """On torch's device without values, where whatever would wait for one fails."""
    log = make_log(lengths=[3, 4, 9, 20, 7, 15], item_count=25)
    targets, device = log.targets["test"], torch.device("meta")
    protocol = Protocol.of(log.sequences, targets, seed=5)
    unseen = copy(protocol.unseen)
    vars(unseen).update({name: each.to(device) for name, each in vars(unseen).items() if isinstance(each, Tensor)})
    there = replace(
        protocol,
        targets=targets.to(device),
        unseen=unseen,
        distinct=protocol.distinct.to(device),
        begins=protocol.begins.to(device),
    )
    model = build(ModelConfig(dim=4, length=6), 25, seed=1).to(device)
    (batch,) = history_batches(log.sequences.to(device), targets, length=6, sizes=[len(targets)])
    scores = model.query(batch) @ model.item_table()[1:].T
    ranks = ranking._block_ranks(scores, there.targets.items, there, slice(0, len(targets)))
    assert ranks.shape == (3, len(targets))


def test_a_split_without_targets_has_no_ranks(make_log: MakeLog) -> None:
    log = make_log(lengths=[5, 6], item_count=10)
    nobody = Targets(*torch.zeros(3, 0, dtype=torch.int64))
    ranks = rank(Fixed(10, levels=3), log.sequences, nobody, Protocol.of(log.sequences, nobody, seed=0))
    assert {name: len(values) for name, values in ranks.items()} == dict.fromkeys(PROTOCOLS, 0)


def test_a_collapsed_model_ranks_in_the_middle(make_log: MakeLog) -> None:
    log = make_log(lengths=[5, 6, 7], item_count=41)
    targets = log.targets["validation"]
    ranks = rank(Fixed(41, levels=1), log.sequences, targets, Protocol.of(log.sequences, targets, seed=0))
    assert ranks["full_all"].tolist() == [20.0] * 3
    assert ranks["sampled100"].tolist() == [50.0] * 3


def test_nothing_competes_with_the_target_of_a_user_who_has_seen_everything(make_log: MakeLog) -> None:
    """As in full ranking: of a small catalogue the other protocol would else rank it among items that were seen."""
    log = make_log(lengths=[40, 3], item_count=4)
    assert set(log.sequences.items[:40].tolist()) == {1, 2, 3, 4}
    targets = log.targets["validation"]
    ranks = rank(Fixed(4, levels=1), log.sequences, targets, Protocol.of(log.sequences, targets, seed=0))
    assert targets.users.tolist() == [0, 1]
    assert ranks["sampled100"].tolist() == [0.0, 50.0]
    assert ranks["full_unseen"][0] == 0.0


def test_negatives_depend_on_user_and_seed_alone(make_log: MakeLog) -> None:
    log = make_log(lengths=[8, 9, 12, 30], item_count=200)
    targets = log.targets["test"]
    protocol = Protocol.of(log.sequences, targets, seed=1)
    every = protocol.negatives(slice(0, 4))
    assert torch.equal(every[2:], protocol.negatives(slice(2, 4)))
    assert not torch.equal(every, Protocol.of(log.sequences, targets, seed=2).negatives(slice(0, 4)))
    for row, user in enumerate(targets.users.tolist()):
        start, stop = log.sequences.offsets[user : user + 2].tolist()
        assert not set(every[row].tolist()) & set(log.sequences.items[start:stop].tolist())


def test_targets_of_one_user_have_negatives_of_their_own(make_log: MakeLog) -> None:
    log = make_log(lengths=[30], item_count=200)
    targets = every_prefix(log)
    negatives = Protocol.of(log.sequences, targets, seed=1).negatives(slice(0, len(targets)))
    assert len({tuple(row) for row in negatives.tolist()}) == len(targets) == 29


def test_a_log_with_other_targets_than_the_protocols_is_refused(make_log: MakeLog) -> None:
    log = make_log(lengths=[5, 6], item_count=10)
    targets = log.targets["test"]
    protocol = Protocol.of(log.sequences, targets, seed=0)
    for other in (replace(targets, items=targets.items % 10 + 1), replace(targets, users=1 - targets.users)):
        with pytest.raises(ValueError, match="different targets"):
            rank(Fixed(10, levels=3), log.sequences, other, protocol)


def test_scores_that_are_no_numbers_are_refused(make_log: MakeLog) -> None:
    log = make_log(lengths=[5, 6], item_count=10)
    model = Fixed(10, levels=3)
    model.scores[:, 4] = torch.nan
    targets = log.targets["test"]
    with pytest.raises(Diverged, match="not finite"):
        rank(model, log.sequences, targets, Protocol.of(log.sequences, targets, seed=0))


def test_metrics_by_hand() -> None:
    ranks = np.array([0.0, 1.0, 9.5, 10.0], dtype=np.float32)
    assert hits(ranks, 10).tolist() == [1, 1, 1, 0]
    assert gains(ranks, 10) == pytest.approx([1, 1 / math.log2(3), 1 / math.log2(11.5), 0])
    assert reciprocal_ranks(ranks, 10) == pytest.approx([1, 0.5, 1 / 10.5, 0])
    means = summary({"full_all": ranks}, "test")
    assert means["test.full_all.hit_at_10"] == 0.75
    assert means["test.full_all.hit_at_5"] == 0.5
    assert set(means) == {f"test.full_all.{m}_at_{k}" for m in ("hit", "ndcg", "mrr") for k in (5, 10, 20)}
