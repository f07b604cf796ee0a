"""Noise is what does not fit its neighbours, by how often items stand near each other elsewhere in the log."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models.denoising.noise.directions import PARTS, Company, Directions, parts_of
from models.denoising.noise.judgement import Judgement
from models.denoising.noise.popularity import LIFT_FEATURES, Popularity, lift_features
from models.denoising.noise.seam import Events
from models.engine.buffers import make_room
from models.engine.sequences import Sequences

LARGEST_TABLE = 2**24
"""Cells, of four bytes."""
PRIOR = 0.3
"""Sightings that a pair has had beforehand, and that chance has had of it: rare pairs say little."""
AT_ONCE = 2**17
"""Events, about: whole histories are looked at in portions, whose pairs are held several times over."""


@dataclass(frozen=True)
class Portion:
    """Whole histories. items, owners: as of `Events`; parts: [events], as of `parts_of`; near: grid of bool, are the
    pair's two events of one history? counted: grid of bool, and have both been counted?
    """

    items: Tensor
    owners: Tensor
    parts: Tensor
    near: Tensor
    counted: Tensor


@dataclass(frozen=True)
class Meetings:
    """A grid's pairs. later, earlier: [events], the items that are the later and the earlier ones of pairs; places:
    grid of where each pair is among those that were counted.
    """

    later: Tensor
    earlier: Tensor
    places: Tensor


Fit = Callable[[Portion, Company, Tensor | None], Tensor]
"""From a portion, its company and what is planted in the places of its events, to how well that, or the events, fit
there.
"""


class CoOccurrence(Popularity):
    """The evidence for an event: how popular its item is, and Σ log (n + 0.3) / (m + 0.3) over the pairs that it makes
    with its neighbours, at most `reach` events away. n is in how many other owners' histories of the training log the
    pair's items are neighbours, so that neither an event nor what recurs beside it vouches for itself; m is in how many
    they would be by chance. Of pairs that nobody else has, which are most of a sparse log's, that says nothing: how far
    the item agrees with its neighbours by the company that each of them keeps elsewhere stands beside it
    (`Directions`).

    The log is looked at twice. At the second look each neighbour, and each sighting that is counted, is weighed by how
    likely its events are genuine by the first, judged without the pair in question, as messages are in belief
    propagation (Pearl 1988, *Probabilistic Reasoning in Intelligent Systems*, 4.3): noise would otherwise weaken just
    those of its neighbours that it does not fit, and look better for it than what is planted in the same place.

    The sum's positive and negative part have weights of their own, which also make up for neighbours' dependence.
    Memory is in proportion to the distinct pairs, which are kept with the model's weights.

    Of pairs that are looked at together there are grids [reach, events]: row k − 1 has those of each event with the one
    k places before it.
    """

    pairs: Tensor
    sightings: Tensor
    degrees: Tensor
    trusted_sightings: Tensor
    trusted_degrees: Tensor

    def __init__(self, item_count: int, *, reach: int, planted: str = "all") -> None:
        super().__init__(item_count, features=LIFT_FEATURES + 3, planted=planted)
        self.reach = reach
        self.first_look = Judgement(LIFT_FEATURES + 3, kinds=len(self.kinds))
        self.directions = Directions(item_count)
        self.pairs = nn.Buffer(torch.zeros(0, dtype=torch.int64))
        # What follows the last pair's is that of a pair that was never seen.
        self.sightings, self.trusted_sightings = nn.Buffer(torch.zeros(1)), nn.Buffer(torch.zeros(1))
        self.degrees, self.trusted_degrees = (nn.Buffer(torch.zeros(item_count + 1)) for _ in range(2))
        self._table: Tensor | None = None

    def prepare(self, sequences: Sequences) -> None:
        """As any noise model; the share of noise is the first look's. Where noise comes in runs, the second look sees
        less of it in each event than of the same noise planted alone, and would take it to be rarer than it is.
        """
        super().prepare(sequences)
        self.judgement.shares.copy_(self.first_look.shares)

    def count(self, events: Events, item_count: int) -> None:
        super().count(events, item_count)
        every = len(self.lifts) ** 2
        in_parts, counts = torch.unique(torch.cat(list(self._seen(events))), return_counts=True)
        self.pairs, places = torch.unique(in_parts % every, return_inverse=True)
        sightings = counts.new_zeros(PARTS, len(self.pairs)).index_put_((in_parts // every, places), counts)
        self._table = None
        self.sightings, self.degrees = self._counted(sightings.sum(0).double())
        ends = self.pairs // len(self.lifts), self.pairs % len(self.lifts)
        self.directions.learn(*ends, sightings, seed=int(self.seed))
        known, planted = self.examples(events, item_count)
        self.first_look.fit(self.first_evidence(known), [self.first_evidence(known, items) for items in planted])

        trusted = torch.zeros(len(self.pairs), dtype=torch.float64, device=self.pairs.device)
        for part in self._portions(events):
            trust = self._trust(part, self._company(part), self._met(part.items, part.items))
            owned, _, heaviest = self._heaviest(part, *trust)
            trusted.index_add_(0, self._places(owned % every), heaviest.double())
        self.trusted_sightings, self.trusted_degrees = self._counted(trusted)

    def evidence(self, events: Events, planted: Tensor | None = None) -> Tensor:
        return self._evidence(self._second_fit, events, planted)

    def first_evidence(self, events: Events, planted: Tensor | None = None) -> Tensor:
        """[events, features]: as `evidence`, at the first look."""
        return self._evidence(self._first_fit, events, planted)

    def surroundings(self, events: Events) -> tuple[Tensor, Tensor, Tensor]:
        """[events] each: how many neighbours an event has; in how many other owners' histories its item and theirs are
        neighbours, summed over them; and in how many they would be by chance.
        """
        told = []
        for part in self._portions(events):
            met = self._met(part.items, part.items)
            seen = (_at(self.sightings, met.places) - 1).clamp(min=0)
            pairs = torch.stack([torch.ones_like(seen), seen, self._chance(met, self.degrees)]) * part.near
            told.append(torch.stack([_summed(grid, grid) for grid in pairs]))
        neighbours, meetings, expected = torch.cat(told, dim=1)
        return neighbours, meetings, expected

    def _evidence(self, fit: Fit, events: Events, planted: Tensor | None) -> Tensor:
        """[events, features]: portion by portion, how well an item fits in with its neighbours, and its popularity."""
        items = events.items if planted is None else planted
        parts = list(self._portions(events))
        sizes = [len(part.items) for part in parts]
        own = [None] * len(parts) if planted is None else planted.split(sizes)
        fits, agreements = [], []
        for part, planted in zip(parts, own, strict=True):
            company = self._company(part)
            fits.append(fit(part, company, planted))
            there = company.own if planted is None else self.directions.of(planted, part.parts)
            agreements.append(company.agreement(there))
        return _features(torch.cat(fits), torch.cat(agreements), lift_features(self.lifts[items]))

    def _company(self, part: Portion) -> Company:
        """An item says nothing of itself, of which the events that are planted to learn from would hear nothing."""
        beside = part.near & (part.items != self._before(part.items))
        return self.directions.company(part.items, part.parts, beside)

    def _first_fit(self, part: Portion, _: Company, planted: Tensor | None) -> Tensor:
        """[events]: the sum of all of an event's pairs."""
        if planted is None:
            pairs = self._first_affinity(part, self._met(part.items, part.items), own=self._own_sightings(part))
            return _summed(pairs, pairs)
        met = self._met(planted, part.items), self._met(part.items, planted)
        return _summed(*(self._first_affinity(part, each, own=0.0) for each in met))

    def _second_fit(self, part: Portion, company: Company, planted: Tensor | None) -> Tensor:
        """[events]: the sum of all of an event's pairs as counted anew, each weighed by the neighbour in it."""
        met = self._met(part.items, part.items)
        later, earlier = self._trust(part, company, met)
        if planted is None:
            pairs = self._second_affinity(part, met, own=self._own_weights(part, later, earlier))
            return _summed(pairs * earlier, pairs * later)
        as_later = self._second_affinity(part, self._met(planted, part.items), own=0.0)
        as_earlier = self._second_affinity(part, self._met(part.items, planted), own=0.0)
        return _summed(as_later * earlier, as_earlier * later)

    def _first_affinity(self, part: Portion, met: Meetings, *, own: Tensor | float) -> Tensor:
        return _affinity(_at(self.sightings, met.places) - own, self._chance(met, self.degrees)) * part.near

    def _second_affinity(self, part: Portion, met: Meetings, *, own: Tensor | float) -> Tensor:
        seen = _at(self.trusted_sightings, met.places) - own
        return _affinity(seen, self._chance(met, self.trusted_degrees)) * part.near

    def _trust(self, part: Portion, company: Company, met: Meetings) -> tuple[Tensor, Tensor]:
        """Grids of how likely the later and the earlier event of each pair are genuine by the first look, judged
        without that pair.
        """
        pairs = self._first_affinity(part, met, own=self._own_sightings(part))
        fit, lifts = _summed(pairs, pairs), lift_features(self.lifts[part.items])
        agreements = company.without_each_other()
        later = _features(fit - pairs, agreements[0], lifts.expand(self.reach, -1, -1))
        earlier = _features(self._before(fit) - pairs, agreements[1], self._before(lifts))
        return self.first_look.keep(later), self.first_look.keep(earlier)

    def _own_sightings(self, part: Portion) -> Tensor | float:
        """Grid of whether the pair's owner was counted for it, at the first look: here, or where it stands again."""
        if torch.equal(part.counted, part.near):
            return 1.0
        if not bool(part.counted.any()):
            return 0.0
        once = torch.ones_like(part.near, dtype=torch.float32)
        return self._own_weights(part, once, once)

    def _own_weights(self, part: Portion, later: Tensor, earlier: Tensor) -> Tensor:
        """Grid of what the pair's owner is counted for it at the second look."""
        _, which, heaviest = self._heaviest(part, later, earlier)
        return torch.zeros_like(later).masked_scatter_(part.near, heaviest[which])

    def _heaviest(self, part: Portion, later: Tensor, earlier: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What each owner is counted for a pair, by the sighting whose two events are trusted most.

        Returns the distinct keys of `_owned`, which of them each of its pairs has, and their weights.
        """
        keys, which = torch.unique(self._owned(part), return_inverse=True)
        weights = (later * earlier * part.counted)[part.near]
        return keys, which, weights.new_zeros(len(keys)).scatter_reduce_(0, which, weights, "amax")

    def _counted(self, sightings: Tensor) -> tuple[Tensor, Tensor]:
        """By how often each of `pairs` was seen, [pairs] float64: the same with a 0 for one that never was, and how
        often each item was one of a pair [items + 1]; float32.
        """
        degrees = torch.zeros(len(self.lifts), dtype=torch.float64, device=sightings.device)
        for side in (self.pairs // len(self.lifts), self.pairs % len(self.lifts)):
            degrees.index_add_(0, side, sightings)
        return torch.cat([sightings, sightings.new_zeros(1)]).float(), degrees.float()

    def _seen(self, events: Events) -> Iterator[Tensor]:
        """Each pair of neighbours once an owner, portion by portion: [pairs], its key and the owner's part in one."""
        every = len(self.lifts) ** 2
        for part in self._portions(events):
            _, sizes = torch.unique_consecutive(part.owners, return_counts=True)
            of_owner = part.parts[sizes.cumsum(0) - sizes]
            owned = torch.unique(self._owned(part))
            yield of_owner[owned // every] * every + owned % every

    def _owned(self, part: Portion) -> Tensor:
        """[pairs]: a number for each pair of neighbours with its owner, in the order of the grid."""
        _, owner = torch.unique_consecutive(part.owners, return_inverse=True)
        return (owner * len(self.lifts) ** 2 + self._key(part.items, self._before(part.items)))[part.near]

    def _chance(self, met: Meetings, degrees: Tensor) -> Tensor:
        """Grid of how often each pair would be seen by chance, an item with itself in one order instead of two; 0 where
        no pair was ever seen.
        """
        either = _at(degrees, met.later) / degrees.sum().clamp(min=PRIOR) * self._before(_at(degrees, met.earlier))
        return torch.where(met.later == self._before(met.earlier), either / 2, either)

    def _met(self, later: Tensor, earlier: Tensor) -> Meetings:
        return Meetings(later, earlier, self._places(self._key(later, self._before(earlier))))

    def _key(self, one: Tensor, other: Tensor) -> Tensor:
        return torch.minimum(one, other) * len(self.lifts) + torch.maximum(one, other)

    def _places(self, keys: Tensor) -> Tensor:
        """Where each pair is among `pairs`; behind the last where it was never seen. From a table of all pairs where
        that is small, which is the faster way.
        """
        if len(self.lifts) ** 2 <= LARGEST_TABLE:
            if self._table is None or self._table.device != keys.device:
                places = torch.arange(len(self.pairs), dtype=torch.int32, device=keys.device)
                table = places.new_full((len(self.lifts) ** 2,), len(self.pairs))
                self._table = table.index_copy_(0, self.pairs, places)
            return _at(self._table, keys)
        if not len(self.pairs):
            return torch.zeros_like(keys)
        places = torch.searchsorted(self.pairs, keys).clamp(max=len(self.pairs) - 1)
        return torch.where(_at(self.pairs, places) == keys, places, len(self.pairs))

    def _portions(self, events: Events) -> Iterator[Portion]:
        """Whole histories, about so many events at a time as are looked at at once."""
        _, sizes = torch.unique_consecutive(events.owners, return_counts=True)
        portion = (sizes.cumsum(0) - sizes) // AT_ONCE
        lengths = torch.bincount(portion, weights=sizes.double(), minlength=1).long().tolist()
        whole = (events.items, events.owners, events.counted)
        for items, owners, counted in zip(*(values.split(lengths) for values in whole), strict=True):
            near = (owners == self._before(owners, filler=-1)) & (owners >= 0)
            parts = parts_of(items, owners, counted)
            yield Portion(items, owners, parts, near, near & counted & self._before(counted))

    def _before(self, values: Tensor, *, filler: int = 0) -> Tensor:
        """[events, …] → [reach, events, …]: the value of the event so many places before each."""
        count = len(values)
        padded = torch.cat([values.new_full((self.reach, *values.shape[1:]), filler), values])
        return torch.stack([padded[start : start + count] for start in reversed(range(self.reach))])

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *arguments: Any) -> None:
        make_room(self, state_dict, prefix, "pairs", "sightings", "trusted_sightings")
        self._table = None
        super()._load_from_state_dict(state_dict, prefix, *arguments)


def _affinity(seen: Tensor, chance: Tensor) -> Tensor:
    return torch.log((seen.clamp(min=0) + PRIOR) / (chance + PRIOR))


def _summed(as_later: Tensor, as_earlier: Tensor) -> Tensor:
    """[events]: the sum over the pairs in which an event is the later one and, of the other grid, the earlier one."""
    total = as_later.sum(0)
    for step, row in enumerate(as_earlier, start=1):
        total[:-step] += row[step:]
    return total


def _features(fit: Tensor, agreement: Tensor, lifts: Tensor) -> Tensor:
    """fit, agreement […], lifts […, 2] → […, features]."""
    return torch.cat([torch.stack([fit.clamp(min=0), fit.clamp(max=0), agreement], dim=-1), lifts], dim=-1)


def _at(values: Tensor, places: Tensor) -> Tensor:
    """`values[places]`, which is slower."""
    return values.index_select(0, places.flatten()).view(places.shape)
