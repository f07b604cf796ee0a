"""What followed the last item before: a first-order Markov chain, the baseline that a history has to beat."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from models.engine.batches import Batch
from models.engine.buffers import make_room
from models.engine.sequences import Sequences, owners, training_part
from models.networks.count_based import CountBased
from models.networks.popularity import log_shares


class MarkovChain(CountBased):
    """An item's score is log p(j | i), i the last item of the history, from how often j came right after i in the
    training log, n_ij. What was seen rarely is drawn towards the popular, without a parameter (Witten & Bell 1991,
    their method C, as Chen & Goodman 1999 interpolate it):

        p(j | i) = (n_ij + d_i p(j)) / (n_i + d_i)

    where d_i is how many different items came after i, n_i how many events, and p(j) the share of j in the log. After
    an item that nothing followed, or none, it is p(j).

    Memory is in proportion to the distinct pairs, which are what it keeps beside two numbers an item.

    log_shares: [items + 1] log p(j); log_rest: [items + 1] log d_i / (n_i + d_i), which every j has
    pairs: [pairs] int64, i × (items + 1) + j of those that were seen, ascending; gains: [pairs] what these have more
    """

    log_shares: Tensor
    log_rest: Tensor
    pairs: Tensor
    gains: Tensor

    def __init__(self, item_count: int, *, length: int) -> None:
        super().__init__(length=length)
        self.log_shares, self.log_rest = (nn.Buffer(torch.zeros(item_count + 1)) for _ in range(2))
        self.pairs = nn.Buffer(torch.zeros(0, dtype=torch.int64))
        self.gains = nn.Buffer(torch.zeros(0))

    def prepare(self, sequences: Sequences) -> None:
        self.log_shares = log_shares(sequences)
        self.pairs, seen = torch.unique(_pairs(sequences), return_counts=True)
        first, second = self._ends()
        followed = torch.bincount(first, weights=seen.double(), minlength=len(self.log_shares))
        different = torch.bincount(first, minlength=len(self.log_shares)).double()
        rest = different / (followed + different)
        self.log_rest = torch.where(different > 0, rest, 1.0).log().float()
        self.gains = torch.log1p(seen / (different[first] * self.log_shares[second].double().exp())).float()

    def scorer(self) -> Callable[[Batch], Tensor]:
        every = torch.arange(len(self.log_shares) + 1, device=self.pairs.device)
        begins = torch.searchsorted(self.pairs, every * len(self.log_shares))
        _, followers = self._ends()

        def scores(batch: Batch) -> Tensor:
            last = _last(batch)
            counts = begins[last + 1] - begins[last]
            rows = torch.repeat_interleave(torch.arange(len(last), device=last.device), counts)
            places = torch.arange(len(rows), device=last.device) + (begins[last] - (counts.cumsum(0) - counts))[rows]
            table = self.log_rest[last, None] + self.log_shares[1:]
            table[rows, followers[places] - 1] += self.gains[places]
            return table

        return scores

    def surprises(self, batch: Batch, items: Tensor) -> Tensor:
        last = _last(batch)
        keys = last * len(self.log_shares) + items
        places = torch.searchsorted(self.pairs, keys).clamp(max=len(self.pairs) - 1)
        seen = self.pairs[places] == keys
        gains = torch.where(seen, self.gains[places], 0.0)
        return -(self.log_rest[last] + self.log_shares[items] + gains)

    def _ends(self) -> tuple[Tensor, Tensor]:
        """[pairs] each: the item that came first, and the one that followed."""
        return self.pairs // len(self.log_shares), self.pairs % len(self.log_shares)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *arguments: Any) -> None:
        make_room(self, state_dict, prefix, "pairs", "gains")
        super()._load_from_state_dict(state_dict, prefix, *arguments)


def _pairs(sequences: Sequences) -> Tensor:
    """[pairs] int64: of each event of the training log that follows another of its user, a number for both items."""
    items, users = sequences.items.long(), owners(sequences)
    follows = training_part(sequences)[1:] & (users[1:] == users[:-1])
    return (items[:-1] * (sequences.item_count + 1) + items[1:])[follows]


def _last(batch: Batch) -> Tensor:
    """[windows] int64: the item at each window's end, 0 of an empty one."""
    return batch.items.flatten()[batch.ends]
