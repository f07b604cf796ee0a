"""Ranking under every protocol in one pass over the scores.

Scores are computed for a block of targets at a time, the smaller the larger the catalogue and the histories are; no
targets × items matrix is kept. In place, scores become whether they are above the target's own (1), its equals (0) or
below (−1): of signs a sum is a count. Seen items are taken out by counting them, not by masking.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.engine.batches import UnseenItems, history_batches
from models.engine.metrics import Ranks
from models.engine.randomness import hashed_integers
from models.engine.sequences import Sequences, Targets, owners
from models.errors import Diverged
from models.recommender import Recommender

SAMPLED_NEGATIVES = 100
CELLS_OF_A_BLOCK = 2**26
"""Scores and seen items held at a time: a quarter of a gigabyte of scores, a few times that with what is counted."""


@dataclass(frozen=True)
class Protocol:
    """What targets are ranked against: always from the clean log, whatever noise the histories carry.

    targets: one row a target, in the order of the noisy log's targets
    first: [events] bool, is it the first of its user's with its item?
    """

    sequences: Sequences
    targets: Targets
    unseen: UnseenItems
    first: Tensor
    seed: int

    @classmethod
    def of(cls, sequences: Sequences, targets: Targets, *, seed: int) -> "Protocol":
        """`seed` is the evaluation seed: negatives depend on it, the user and the target's place, on nothing else."""
        return cls(sequences, targets, UnseenItems(sequences, sequences.offsets.diff()), _first(sequences), seed)

    def negatives(self, rows: slice) -> Tensor:
        """[rows, 100] items that the user never interacted with, uniform, with replacement."""
        users = self.targets.users[rows, None]
        places = torch.arange(SAMPLED_NEGATIVES, device=users.device)
        return self.unseen.at(users, hashed_integers(self.seed, users, self.targets.histories[rows, None], places))

    def seen(self, rows: slice) -> tuple[Tensor, Tensor]:
        """The distinct items of each target's history, its own item left out: target numbers [n] within the
        block, and items [n].
        """
        sequences, users = self.sequences, self.targets.users[rows]
        lengths = self.targets.histories[rows]
        owner = torch.repeat_interleave(torch.arange(len(users), device=users.device), lengths)
        within = torch.arange(len(owner), device=users.device) - (lengths.cumsum(0) - lengths)[owner]
        events = sequences.offsets[users][owner] + within
        items = sequences.items[events].long()
        counted = self.first[events] & (items != self.targets.items[rows][owner])
        return owner[counted], items[counted]


@torch.inference_mode()
def rank(
    model: Recommender, sequences: Sequences, targets: Targets, protocol: Protocol, *, batch_size: int = 256
) -> Ranks:
    """Ranks of `targets` given their histories in `sequences`, by protocol, float32 [targets].

    At most `batch_size` targets are scored at a time. Raises `Diverged` where the scores are not finite, and
    `ValueError` where the protocol is about other targets.
    """
    if not torch.equal(targets.items, protocol.targets.items) or not torch.equal(targets.users, protocol.targets.users):
        raise ValueError("the log and the clean log have different targets")
    was_training = model.training
    model.eval()
    table = model.item_table()[1:]
    blocks: list[Tensor] = []
    start = 0
    sizes = _block_sizes(protocol.targets.histories, sequences.item_count, most=batch_size)
    for batch in history_batches(sequences, targets, length=model.length, sizes=sizes, appended=model.appended):
        query = model.query(batch)
        rows = slice(start, start + len(query))
        start = rows.stop
        blocks.append(_block_ranks(query @ table.T, targets.items[rows], protocol, rows))
    model.train(was_training)
    ranks = torch.cat(blocks, dim=1).cpu().numpy() if blocks else np.zeros((3, 0), dtype=np.float32)
    if not np.isfinite(ranks).all():
        raise Diverged("the model's scores are not finite: the training has diverged")
    return dict(zip(("full_unseen", "full_all", "sampled100"), ranks, strict=True))


def _block_sizes(histories: Tensor, item_count: int, *, most: int) -> list[int]:
    """How many targets each block takes: at most `most`, and few enough that their scores and what their users have
    seen stay within `CELLS_OF_A_BLOCK`; at least one.
    """
    sizes: list[int] = []
    size = cells = 0
    for history in histories.tolist():
        own = item_count + history
        if size and (size == most or cells + own > CELLS_OF_A_BLOCK):
            sizes.append(size)
            size = cells = 0
        size += 1
        cells += own
    return [*sizes, size] if size else sizes


def _block_ranks(scores: Tensor, items: Tensor, protocol: Protocol, rows: slice) -> Tensor:
    """scores [targets, items] (column 0 is item 1), items [targets] → [3, targets]; not a number where a score is.

    The scores are overwritten.
    """
    finite = torch.isfinite(scores.sum(1))
    signs = scores.sub_(scores.gather(1, items[:, None] - 1)).sign_()
    every = _ahead(signs.sum(1), scores.shape[1]) - 0.5
    owner, seen = protocol.seen(rows)
    of_seen = _ahead(signs[owner, seen - 1], 1)
    unseen = every - torch.zeros_like(every).index_add_(0, owner, of_seen)
    sampled = _ahead(signs.gather(1, protocol.negatives(rows) - 1).sum(1), SAMPLED_NEGATIVES)
    return torch.where(finite, torch.stack([unseen, every, sampled]), torch.nan)


def _ahead(signs: Tensor, count: int) -> Tensor:
    """From sums of `count` signs: how many are 1, and half of those that are 0."""
    return (signs + count) / 2


def _first(sequences: Sequences) -> Tensor:
    """[events] bool: is the event the first of its user's with its item?"""
    keys, order = torch.sort(owners(sequences) * (sequences.item_count + 1) + sequences.items, stable=True)
    first = torch.ones_like(keys, dtype=torch.bool)
    first[order[1:]] = keys[1:] != keys[:-1]
    return first
