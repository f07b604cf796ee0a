"""Ranking under every protocol in one pass over the scores.

Scores are computed for a block of targets at a time, the smaller the larger the catalogue and the histories are; no
targets × items matrix is kept. In place, scores become whether they are above the target's own (1), its equals (0) or
below (−1): of signs a sum is a count. Seen items are taken out by counting them, not by masking. How many there are of
a block is known beforehand, so that nothing waits for the device.

Where what is offered is asked for too, it is taken from the same scores before these become signs. That waits once a
block for the device: for which of its lists end with an item that has an equal outside.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.engine.batches import UnseenItems, history_batches, sent
from models.engine.metrics import PROTOCOLS, Ranks
from models.engine.offers import OFFERED, Offers
from models.engine.randomness import hashed_integers
from models.engine.sequences import Sequences, Targets, owners, training_part
from models.errors import Diverged
from models.recommender import Recommender

SAMPLED_NEGATIVES = 100
AT_A_TIME = 256
"""Targets, as many as a CPU's caches are good for."""
ATTENTION_OF_A_BLOCK = 2**23
"""Cells of a head's attention up to which a GPU, which each block costs the same launches, takes more at a time."""
CELLS_OF_A_BLOCK = 2**26
"""Scores and seen items held at a time: a quarter of a gigabyte of scores, a few times that with what is counted."""
CELLS_OF_TIES = 2**20
"""Scores among which equals of a list's last item are looked for at a time."""

Taken = TypeVar("Taken")


@dataclass(frozen=True)
class Protocol:
    """What targets are ranked against: always from the clean log, whatever noise the histories carry.

    targets: one row a target, in the order of the noisy log's targets
    distinct: [events less repetitions] int32, the events that are the first of their user's with their item
    begins: [targets] int64, where in `distinct` the target's history begins
    counts: [targets] int64, on the CPU, how many of `distinct` are of the target's history
    """

    targets: Targets
    unseen: UnseenItems
    distinct: Tensor
    begins: Tensor
    counts: Tensor
    seed: int

    @classmethod
    def of(cls, sequences: Sequences, targets: Targets, *, seed: int) -> "Protocol":
        """`seed` is the evaluation seed: negatives depend on it, the user and the target's place, on nothing else."""
        first = _first(sequences)
        before = torch.cat([first.new_zeros(1, dtype=torch.int64), first.cumsum(0)])
        begins = sequences.offsets[targets.users]
        return cls(
            targets,
            UnseenItems(sequences, sequences.offsets.diff()),
            distinct=sequences.items[first],
            begins=before[begins],
            counts=(before[begins + targets.histories] - before[begins]).cpu(),
            seed=seed,
        )

    def negatives(self, rows: slice) -> Tensor:
        """[rows, 100] items that the user never interacted with, uniform, with replacement; arbitrary ones where there
        are none (`spared`).
        """
        users = self.targets.users[rows, None]
        places = torch.arange(SAMPLED_NEGATIVES, device=users.device)
        return self.unseen.at(users, hashed_integers(self.seed, users, self.targets.histories[rows, None], places))

    def spared(self, rows: slice) -> Tensor:
        """[rows] bool: has the user interacted with everything, so that no item competes with the target?"""
        return self.unseen.none[self.targets.users[rows]]

    def seen(self, rows: slice) -> tuple[Tensor, Tensor]:
        """The distinct items of each target's history: target numbers [n] within the block, and items [n]."""
        counts, device = self.counts[rows], self.begins.device
        plan = sent(torch.stack([counts, counts.cumsum(0) - counts]), device)
        total = int(counts.sum())
        owner = torch.repeat_interleave(plan[0], output_size=total)
        places = torch.arange(total, device=device) + (self.begins[rows] - plan[1])[owner]
        return owner, self.distinct[places].long()


@torch.inference_mode()
def rank(
    model: Recommender, sequences: Sequences, targets: Targets, protocol: Protocol, *, batch_size: int | None = None
) -> Ranks:
    """Ranks of `targets` given their histories in `sequences`, by protocol, float32 [targets].

    At most `batch_size` targets are scored at a time, or as many as suit the device. Raises `Diverged` where the scores
    are not finite, and `ValueError` where the protocol is about other targets.
    """

    def taken(scores: Tensor, rows: slice) -> Tensor:
        return _block_ranks(scores, targets.items[rows], protocol, rows)

    return _by_protocol(_by_block(taken, model, sequences, targets, protocol, batch_size))


@torch.inference_mode()
def rank_and_offer(
    model: Recommender, sequences: Sequences, targets: Targets, protocol: Protocol, *, batch_size: int | None = None
) -> tuple[Ranks, Offers]:
    """As `rank`, and of the same scores what each target's user is offered, int32 [targets, 10]: the first of the
    catalogue less the items of the target's history in the clean log, as `first_unseen` gives them.

    A list knows no target: where that is in the history already, it has a rank and no place in the list.
    """

    def taken(scores: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        offered = first_unseen(scores, *protocol.seen(rows), count=OFFERED)
        return offered, _block_ranks(scores, targets.items[rows], protocol, rows)

    blocks = _by_block(taken, model, sequences, targets, protocol, batch_size)
    offers = [offered for offered, _ in blocks]
    return (
        _by_protocol([ranks for _, ranks in blocks]),
        torch.cat(offers).cpu().numpy() if offers else np.zeros((0, OFFERED), dtype=np.int32),
    )


def first_unseen(scores: Tensor, owner: Tensor, seen: Tensor, *, count: int) -> Tensor:
    """scores [targets, items] (column 0 is item 1), owner and seen [n] (`Protocol.seen`) → [targets, count] int32: the
    numbers of the items with the highest scores, less those of −∞ and the seen ones, highest first, of equals the one
    with the lowest number; 0 where no more are left.

    The scores are afterwards what they were.
    """
    held = scores[owner, seen - 1]
    scores[owner, seen - 1] = -torch.inf
    values, places = scores.topk(min(count + 1, scores.shape[1]))
    if scores.shape[1] > count:
        last = values[:, count - 1]
        tied = (last == values[:, count]) & (last > -torch.inf)
        values, places = values[:, :count], places[:, :count]
        for rows in tied.nonzero().squeeze(1).split(max(1, CELLS_OF_TIES // scores.shape[1])):
            places[rows] = _lowest_of_equals(scores[rows], values[rows], places[rows])
    scores[owner, seen - 1] = held
    by_number = places.argsort(dim=1)
    values, places = values.gather(1, by_number), places.gather(1, by_number)
    by_score = values.argsort(dim=1, descending=True, stable=True)
    items = (places + 1).masked_fill_(values == -torch.inf, 0).gather(1, by_score)
    return F.pad(items, (0, count - items.shape[1])).int()


def users_by_item(sequences: Sequences) -> Tensor:
    """[items] int64: how many users have each item among the events that may be trained on."""
    once = sequences.items[_first(sequences) & training_part(sequences)]
    return torch.bincount(once, minlength=sequences.item_count + 1)[1:]


def at_a_time(device: torch.device, *, length: int) -> int:
    """How many targets, with windows of this length, are scored together."""
    return AT_A_TIME if device.type == "cpu" else max(AT_A_TIME, ATTENTION_OF_A_BLOCK // length**2)


def block_sizes(histories: Tensor, item_count: int, *, most: int) -> list[int]:
    """histories [targets], how long each is → how many targets each block takes: at most `most`, and few enough that
    their scores and what their users have seen stay within `CELLS_OF_A_BLOCK`; at least one.
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


def _by_block(
    take: Callable[[Tensor, slice], Taken],
    model: Recommender,
    sequences: Sequences,
    targets: Targets,
    protocol: Protocol,
    batch_size: int | None,
) -> list[Taken]:
    """What is taken of each block's scores [targets, items], column 0 of item 1, which are those of a slice of the
    targets. They may be overwritten, and are gone before the next are made.
    """
    if not torch.equal(targets.items, protocol.targets.items) or not torch.equal(targets.users, protocol.targets.users):
        raise ValueError("the log and the clean log have different targets")
    was_training = model.training
    model.eval()
    score = model.scorer()
    found: list[Taken] = []
    start = 0
    most = batch_size or at_a_time(sequences.device, length=model.length)
    sizes = block_sizes(protocol.targets.histories, sequences.item_count, most=most)
    batches = history_batches(sequences, targets, length=model.length, sizes=sizes, appended=model.appended)
    for size, batch in zip(sizes, batches, strict=True):
        found.append(take(score(batch), slice(start, start + size)))
        start += size
    model.train(was_training)
    return found


def _by_protocol(blocks: list[Tensor]) -> Ranks:
    """From blocks [3, targets] the ranks by protocol. Raises `Diverged` where one is not finite."""
    ranks = torch.cat(blocks, dim=1).cpu().numpy() if blocks else np.zeros((3, 0), dtype=np.float32)
    if not np.isfinite(ranks).all():
        raise Diverged("the model's scores are not finite: the training has diverged")
    return dict(zip(PROTOCOLS, ranks, strict=True))


def _block_ranks(scores: Tensor, items: Tensor, protocol: Protocol, rows: slice) -> Tensor:
    """scores [targets, items] (column 0 is item 1), items [targets] → [3, targets]; not a number where a score is.

    The scores are overwritten.
    """
    finite = torch.isfinite(scores.sum(1))
    signs = scores.sub_(scores.gather(1, items[:, None] - 1)).sign_()
    every = _ahead(signs.sum(1), scores.shape[1]) - 0.5
    owner, seen = protocol.seen(rows)
    of_seen = _ahead(signs[owner, seen - 1], 1).masked_fill_(seen == items[owner], 0)
    unseen = every - torch.zeros_like(every).index_add_(0, owner, of_seen)
    sampled = _ahead(signs.gather(1, protocol.negatives(rows) - 1).sum(1), SAMPLED_NEGATIVES)
    sampled = sampled.masked_fill(protocol.spared(rows), 0.0)
    return torch.where(finite, torch.stack([unseen, every, sampled]), torch.nan)


def _lowest_of_equals(scores: Tensor, values: Tensor, places: Tensor) -> Tensor:
    """scores [targets, items], their highest values [targets, count], falling, and whose they are → the same places,
    but of those with the last value the lowest ones.
    """
    last, count = values[:, -1:], values.shape[1]
    falling = torch.arange(scores.shape[1], 0, -1, dtype=torch.int32, device=scores.device)
    lowest = scores.shape[1] - ((scores == last) * falling).topk(count).values.long()
    higher = (values > last).sum(1, keepdim=True)
    numbers = torch.arange(count, device=scores.device)
    return torch.where(numbers < higher, places, lowest.gather(1, (numbers - higher).clamp_(min=0)))


def _ahead(signs: Tensor, count: int) -> Tensor:
    """From sums of `count` signs: how many are 1, and half of those that are 0."""
    return (signs + count) / 2


def _first(sequences: Sequences) -> Tensor:
    """[events] bool: is the event the first of its user's with its item?"""
    keys, order = torch.sort(owners(sequences) * (sequences.item_count + 1) + sequences.items, stable=True)
    first = torch.ones_like(keys, dtype=torch.bool)
    first[order[1:]] = keys[1:] != keys[:-1]
    return first
