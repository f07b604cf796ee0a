"""Noise is what does not fit its neighbours, by how often items stand near each other elsewhere in the log."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from models.denoising.noise.popularity import LIFT_FEATURES, Popularity, lift_features
from models.denoising.noise.seam import Events

LARGEST_TABLE = 2**24
"""Cells, of four bytes."""
PRIOR = 0.3
"""Sightings that a pair has had beforehand, and that chance has had of it: rare pairs say little."""
COUNTED_AT_ONCE = 2**17
"""Events, about: whole histories are counted in portions, whose pairs are held several times over."""


class CoOccurrence(Popularity):
    """The evidence for an event: how popular its item is, and Σ log (n + 0.3) / (m + 0.3) over the pairs that it makes
    with its neighbours, at most `reach` events away. n is in how many other owners' histories of the training log the
    pair's items are neighbours, so that neither an event nor what recurs beside it vouches for itself; m is in how many
    they would be by chance.

    The sum's positive and negative part have weights of their own, which also make up for neighbours' dependence.
    Memory is in proportion to the distinct pairs, which are kept with the model's weights.
    """

    pairs: Tensor
    sightings: Tensor
    degrees: Tensor

    def __init__(self, item_count: int, *, reach: int) -> None:
        super().__init__(item_count, features=LIFT_FEATURES + 2)
        self.reach = reach
        self.pairs = nn.Buffer(torch.zeros(0, dtype=torch.int64))
        self.sightings = nn.Buffer(torch.zeros(0))
        self.degrees = nn.Buffer(torch.zeros(item_count + 1))
        self._table: Tensor | None = None

    def count(self, events: Events, item_count: int) -> None:
        super().count(events, item_count)
        pairs, sightings = torch.unique(torch.cat(list(self._sighted(events))), return_counts=True)
        self.pairs, self.sightings, self._table = pairs, sightings.float(), None
        degrees = torch.zeros(item_count + 1, dtype=torch.float64, device=pairs.device)
        for side in (pairs // (item_count + 1), pairs % (item_count + 1)):
            degrees.index_add_(0, side, sightings.double())
        self.degrees = degrees.float()

    def evidence(self, candidates: Tensor, events: Events, *, past_only: bool) -> Tensor:
        fit = torch.zeros(len(candidates), device=candidates.device)
        items, owners = events.items, events.owners
        for step in range(1, min(self.reach, len(items) - 1) + 1):
            near = ((owners[step:] == owners[:-step]) & (owners[step:] >= 0)).float()
            fit[step:] += near * self._affinity(candidates[step:], items[:-step], counted=events.counted)
            if not past_only:
                fit[:-step] += near * self._affinity(candidates[:-step], items[step:], counted=events.counted)
        fitting = torch.stack([fit.clamp(min=0), fit.clamp(max=0)], dim=1)
        return torch.cat([fitting, lift_features(self.lifts[candidates])], dim=1)

    def _sighted(self, events: Events) -> Iterator[Tensor]:
        """The pairs of neighbours by portion of the events, each pair once an owner."""
        _, sizes = torch.unique_consecutive(events.owners, return_counts=True)
        portion = (sizes.cumsum(0) - sizes) // COUNTED_AT_ONCE
        lengths = torch.bincount(portion, weights=sizes.double(), minlength=1).long().tolist()
        every = len(self.lifts) ** 2
        for items, owners in zip(events.items.split(lengths), events.owners.split(lengths), strict=True):
            _, owner = torch.unique_consecutive(owners, return_inverse=True)
            found = [
                (owner[step:] * every + self._key(items[step:], items[:-step]))[owner[step:] == owner[:-step]]
                for step in range(1, self.reach + 1)
            ]
            yield torch.unique(torch.cat(found)) % every

    def _affinity(self, one: Tensor, other: Tensor, *, counted: bool) -> Tensor:
        """log (n + 0.3) / (m + 0.3) of pairs of items, without the sighting by the pair's owner where it is counted."""
        seen = self._sightings_of(self._key(one, other))
        seen = (seen - float(counted)).clamp(min=0)
        chance = self.degrees[one] * self.degrees[other] / self.degrees.sum()
        return torch.log((seen + PRIOR) / (chance + PRIOR))

    def _sightings_of(self, keys: Tensor) -> Tensor:
        """How often each pair was seen: from a table of all pairs where that is small, which is the faster way."""
        if len(self.lifts) ** 2 <= LARGEST_TABLE:
            if self._table is None or self._table.device != keys.device:
                table = torch.zeros(len(self.lifts) ** 2, device=keys.device)
                self._table = table.index_copy_(0, self.pairs, self.sightings)
            return self._table[keys]
        places = torch.searchsorted(self.pairs, keys).clamp(max=len(self.pairs) - 1)
        return self.sightings[places] * (self.pairs[places] == keys)

    def _key(self, one: Tensor, other: Tensor) -> Tensor:
        return torch.minimum(one, other) * len(self.lifts) + torch.maximum(one, other)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *arguments: Any) -> None:
        """How many pairs there are is known from the log alone: make room for those that are stored."""
        for name in ("pairs", "sightings"):
            stored = state_dict.get(prefix + name)
            if stored is not None:
                setattr(self, name, torch.empty_like(stored, device=self.degrees.device))
                self._table = None
        super()._load_from_state_dict(state_dict, prefix, *arguments)
