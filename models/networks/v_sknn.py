"""V-SKNN (Ludewig & Jannach, *Evaluation of session-based recommendation algorithms*, UMUAI 2018), which asks the
histories that are most like the one at hand, and with it the index of VMIS-kNN (Kersbergen, Sprangers & Schelter,
*Serenade*, SIGMOD 2022).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models.engine.batches import Batch
from models.engine.buffers import make_room
from models.engine.sequences import Sequences, training_part
from models.networks.count_based import CountBased
from models.networks.popularity import log_shares

WHOLE = 2**24
"""What the last event's item adds to a similarity. In whole numbers a sum does not depend on its order, so that
histories which are equally like the one at hand are so to the bit."""
CELLS_AT_ONCE = 2**18
"""Occurrences, and pairs of a window and a history, that are looked at together: what a CPU's caches are good for."""
VOTES_AT_ONCE = 2**24
"""Pairs of a window and an item that are voted on together."""


@dataclass(frozen=True)
class Votes:
    """Of some of a batch's windows, from `first` on.

    weights: [windows, items + 1] float32, column 0 is padding; counts: [windows] float32, how many votes they are of
    """

    first: int
    weights: Tensor
    counts: Tensor


@dataclass(frozen=True)
class Answer:
    """What a batch's windows are answered: log p of every item, in little more room than there are votes.

    rest: [windows] float32, what an item's share of the log counts for in its probability
    cells: [voted] int32, or int64 where that is too short, of the flattened [windows, items], column 0 of item 1, those
        that somebody votes for
    values: [voted] float32, log p there
    """

    rest: Tensor
    cells: Tensor
    values: Tensor

    @property
    def bytes(self) -> int:
        return sum(part.numel() * part.element_size() for part in (self.rest, self.cells, self.values))


@dataclass(frozen=True)
class Neighbours:
    """Those of some windows, and where they share items with them.

    histories: [histories] int64, those that share an item with any of the windows; similarities: [windows, histories]
        float32, 0 where one is no neighbour
    pairs, ages, events: [shared] int64: of each item that a window and a neighbour share, where the two are in the
        flattened `similarities`, how many events of the window came after the item, and its place in `VSKNN.events`
    """

    histories: Tensor
    similarities: Tensor
    pairs: Tensor
    ages: Tensor
    events: Tensor

    @property
    def weights(self) -> Tensor:
        """[shared] float32: similarity × the item's weight."""
        return self.similarities.flatten().index_select(0, self.pairs) / (1 + self.ages)


VotesOf = Callable[[Neighbours], tuple[Tensor, Tensor]]
"""From the neighbours of some windows to the weights and counts of their `Votes`."""


class VSKNN(CountBased):
    """The training histories that share items with the one at hand vote for what it goes on with.

    An item of the window has the weight 1 / (1 + a), a the number of events that came after it (V-SKNN's "div"); of one
    that repeats, its last event counts. A history's similarity is the sum of the weights of the items that it shares.
    Of each item's histories the `sample` most recent are looked at (m of VMIS-kNN), and of all these the `neighbours`
    most similar, of equals the more recent, have a say (k). The more recent is the one whose last training event is
    later; in a log without times, the one whose user has the larger number, which says nothing where users are not
    numbered in order of time. A user's own training history is no neighbour of hers.

    With a `window` of 0 a neighbour votes for each item of its whole history, as published: with its similarity × the
    weight of the last item that both share × (1 + log (histories / histories with the item voted for)). With another,
    each item that it shares makes it vote for the `window` events that came after it there: with the similarity × that
    item's weight. That is for histories so long that most of one has nothing to do with the item that is shared, and
    is a form of sequential rules (the same paper's SR), by neighbours alone.

    Votes v become probabilities as counts do in `MarkovChain`, n votes for d different items, V the sum of their
    weights, and p(j) the share of j in the log:

        p(j | history) = (n v_j / V + d p(j)) / (n + d)

    so that what nobody votes for is ranked by popularity. An item's score is the logarithm.

    The model holds the training histories of all users, as numbers of items in their order, without the users' ids: who
    has its weights can read them. A user whom serving does not know (number −1) is a stranger even where the log has
    her: her own history is among her neighbours then, and speaks for what she has had.

    log_shares: [items + 1] log p(j)
    events: [events] int32, the items of all training histories; begins: [users + 1] int64, where each begins
    ages: [users] int64, how many histories are more recent
    index: [occurrences] int64, of each item, one after the other, its places in `events`, one of a history, the more
        recent first; index_begins: [items + 2] int64, where in it each item begins
    """

    log_shares: Tensor
    events: Tensor
    begins: Tensor
    ages: Tensor
    index: Tensor
    index_begins: Tensor

    def __init__(self, item_count: int, *, length: int, neighbours: int, sample: int, window: int) -> None:
        super().__init__(length=length)
        self.neighbours = neighbours
        self.sample = sample
        self.window = window
        self.log_shares = nn.Buffer(torch.zeros(item_count + 1))
        self.events = nn.Buffer(torch.zeros(0, dtype=torch.int32))
        self.begins = nn.Buffer(torch.zeros(1, dtype=torch.int64))
        self.ages, self.index = (nn.Buffer(torch.zeros(0, dtype=torch.int64)) for _ in range(2))
        self.index_begins = nn.Buffer(torch.zeros(item_count + 2, dtype=torch.int64))

    def prepare(self, sequences: Sequences) -> None:
        self.log_shares = log_shares(sequences)
        self.events = sequences.items[training_part(sequences)]
        self.begins = torch.cat([sequences.offsets[:1], sequences.train_lengths.cumsum(0)])
        self.ages = _ages(sequences)
        items, histories = self.events.long(), self._histories()
        last = torch.nonzero(_last_of_each(items, histories)).squeeze(1)
        recent_first = last[torch.argsort(items[last] * len(self.ages) + self.ages[histories[last]])]
        counts = torch.bincount(items[recent_first], minlength=len(self.log_shares))
        rank = torch.arange(len(last), device=last.device) - (counts.cumsum(0) - counts)[items[recent_first]]
        self.index = recent_first[rank < self.sample]
        self.index_begins = _begins(counts.clamp(max=self.sample))

    def scorer(self) -> Callable[[Batch], Tensor]:
        answer = self.answering()
        return lambda batch: self.scores(answer(batch))

    def answering(self) -> Callable[[Batch], Answer]:
        """What gives the answers, for as long as the log is this one: the same for the same windows."""
        voting, shares = self._voting(), self.log_shares[1:].exp()

        def answer(batch: Batch) -> Answer:
            rests, cells, values = [self.log_shares[:0]], [self.events[:0]], [self.log_shares[:0]]
            whole = torch.int32 if len(batch.ends) * len(shares) <= torch.iinfo(torch.int32).max else torch.int64
            for votes in voting(batch):
                voted, rest = _smoothed(votes)
                row, column = torch.nonzero(votes.weights[:, 1:], as_tuple=True)
                weighted = votes.weights[row, column + 1] * voted[row]
                values.append(weighted.addcmul_(rest[row], shares[column]).log_())
                cells.append(((row + votes.first) * len(shares) + column).to(whole))
                rests.append(rest)
            return Answer(*(torch.cat(parts) for parts in (rests, cells, values)))

        return answer

    def scores(self, answer: Answer) -> Tensor:
        """[windows, items], column 0 of item 1: log p."""
        table = (answer.rest[:, None] * self.log_shares[1:].exp()).log_()
        table.view(-1).index_copy_(0, answer.cells.long(), answer.values)
        return table

    def surprises(self, batch: Batch, items: Tensor) -> Tensor:
        parts = [self.log_shares.new_zeros(0)]
        for votes in self._voting()(batch):
            voted, rest = _smoothed(votes)
            asked = items[votes.first : votes.first + len(rest)]
            weights = votes.weights.gather(1, asked[:, None]).squeeze(1)
            parts.append(-(weights * voted + rest * self.log_shares[asked].exp()).log())
        return torch.cat(parts)

    def _voting(self) -> Callable[[Batch], Iterator[Votes]]:
        """What gives the votes for each of a batch's windows, a few windows at a time."""
        histories = self._histories()
        votes_of = self._of_what_followed(histories) if self.window else self._of_whole_histories(histories)

        owners = histories[self.index]

        def voting(batch: Batch) -> Iterator[Votes]:
            users = batch.users.flatten()[batch.ends]
            shown = _shown(batch)
            counts = self.index_begins.diff()[shown]
            first = 0
            for size in _block_sizes(counts.sum(1).tolist(), histories=len(self.ages), items=len(self.log_shares)):
                block = slice(first, first + size)
                yield Votes(first, *votes_of(self._neighbours(shown[block], counts[block], users[block], owners)))
                first += size

        return voting

    def _neighbours(self, shown: Tensor, counts: Tensor, users: Tensor, owners: Tensor) -> Neighbours:
        """Of windows with these items (see `_shown`), which are in the index so many times, and users; owners: [index]
        int64, the histories of what is in it.
        """
        windows, length = shown.shape
        cell, place = _spread(self.index_begins[shown].flatten(), counts.flatten())
        history = owners.index_select(0, place)
        touched = torch.zeros_like(self.ages, dtype=torch.bool).index_fill_(0, history, True)
        columns = touched.cumsum(0) - 1
        histories = torch.nonzero(touched).squeeze(1)
        table = histories.new_zeros(windows, len(histories))
        ages = torch.arange(length, device=shown.device).repeat(windows)
        rows = torch.arange(0, table.numel(), len(histories), device=shown.device) if len(histories) else histories
        pairs = rows.repeat_interleave(length).index_select(0, cell) + columns.index_select(0, history)
        table.view(-1).index_add_(0, pairs, (WHOLE // (1 + ages)).index_select(0, cell))
        known = torch.nonzero(users >= 0).squeeze(1)
        own = known[touched[users[known]]]
        table[own, columns[users[own]]] = 0
        if len(histories) > self.neighbours:
            keys = table * len(self.ages) + (len(self.ages) - 1 - self.ages[histories])
            least = keys.topk(self.neighbours, dim=1).values[:, -1:]
            table.masked_fill_(keys < least, 0)
        shared = torch.nonzero(table.view(-1).index_select(0, pairs)).squeeze(1)
        return Neighbours(
            histories,
            table / WHOLE,
            pairs=pairs.index_select(0, shared),
            ages=ages.index_select(0, cell.index_select(0, shared)),
            events=self.index.index_select(0, place.index_select(0, shared)),
        )

    def _of_what_followed(self, histories: Tensor) -> VotesOf:
        """The votes for what came after each shared item, at most `window` events."""
        places = torch.arange(len(histories), device=histories.device)
        behind = self.begins[histories + 1] - 1 - places
        behind.clamp_(max=self.window)
        apart = self.events.new_zeros(len(histories) + self.window * len(self.ages), dtype=torch.int64)
        apart[places + self.window * histories] = self.events.long()

        def votes(neighbours: Neighbours) -> tuple[Tensor, Tensor]:
            table, counts = self._nothing(neighbours)
            weights, event = neighbours.weights, neighbours.events
            row = neighbours.pairs // max(1, len(neighbours.histories))
            counts.index_add_(0, row, behind.index_select(0, event).float())
            cells = row * table.shape[1]
            place = event + self.window * histories.index_select(0, event)
            for _ in range(self.window):
                place += 1
                table.view(-1).index_add_(0, cells + apart.index_select(0, place), weights)
            table[:, 0] = 0
            return table, counts

        return votes

    def _of_whole_histories(self, histories: Tensor) -> VotesOf:
        """The votes for all items of the neighbours."""
        kept = torch.nonzero(_last_of_each(self.events, histories)).squeeze(1)
        sizes = torch.bincount(histories[kept], minlength=len(self.ages))
        begins, items = _begins(sizes), self.events[kept].long()
        holders = torch.bincount(items, minlength=len(self.log_shares)).clamp(min=1)
        rarity = 1 + ((sizes > 0).sum().clamp(min=1) / holders).log()

        def votes(neighbours: Neighbours) -> tuple[Tensor, Tensor]:
            table, counts = self._nothing(neighbours)
            weights = torch.zeros_like(neighbours.similarities).flatten()
            weights.scatter_reduce_(0, neighbours.pairs, neighbours.weights, "amax")
            pairs = torch.nonzero(weights).squeeze(1)
            width = max(1, len(neighbours.histories))
            row, own = pairs // width, neighbours.histories[pairs % width]
            counts.index_add_(0, row, sizes[own].float())
            part, place = _spread(begins[own], sizes[own])
            cells = (row * table.shape[1]).index_select(0, part) + items.index_select(0, place)
            table.view(-1).index_add_(0, cells, weights[pairs].index_select(0, part))
            return table.mul_(rarity), counts

        return votes

    def _nothing(self, neighbours: Neighbours) -> tuple[Tensor, Tensor]:
        """A table and counts for votes."""
        windows = len(neighbours.similarities)
        return self.log_shares.new_zeros(windows, len(self.log_shares)), self.log_shares.new_zeros(windows)

    def _histories(self) -> Tensor:
        """[events] int64: the history of each event."""
        numbers = torch.arange(len(self.ages), device=self.ages.device)
        return torch.repeat_interleave(numbers, self.begins.diff(), output_size=len(self.events))

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *arguments: Any) -> None:
        make_room(self, state_dict, prefix, "events", "begins", "ages", "index")
        super()._load_from_state_dict(state_dict, prefix, *arguments)


def _smoothed(votes: Votes) -> tuple[Tensor, Tensor]:
    """[windows] each: what a vote's weight, and what an item's share of the log, count for in a probability."""
    different = (votes.weights > 0).sum(1)
    together = votes.weights.sum(1)
    everything = votes.counts + different
    voted = torch.where(different > 0, votes.counts / (everything * together), 0.0)
    return voted, torch.where(different > 0, different / everything, 1.0)


def _shown(batch: Batch) -> Tensor:
    """[windows, length] int64: the items up to each window's end, the last first; 0 where there is none, or where a
    later event has the same item.
    """
    length = batch.items.shape[1]
    back = torch.arange(length, device=batch.ends.device)
    cells = (batch.ends[:, None] - back).clamp(min=0)
    inside = batch.ends[:, None] % length >= back
    inside &= batch.segments.flatten()[cells] == batch.segments.flatten()[batch.ends][:, None]
    items = batch.items.flatten()[cells].masked_fill(~inside, 0)
    ordered, order = items.sort(dim=1, stable=True)
    repeats = torch.zeros_like(inside)
    repeats[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    return items.masked_fill(torch.zeros_like(inside).scatter_(1, order, repeats), 0)


def _block_sizes(occurrences: Sequence[int], *, histories: int, items: int) -> list[int]:
    """How many windows, of so many occurrences each, each block takes: at least one, and few enough that neither these
    nor the pairs of a window and one of the histories are more than `CELLS_AT_ONCE`, nor those of a window and an item
    more than `VOTES_AT_ONCE`.
    """
    sizes: list[int] = []
    size = cells = 0
    for own in occurrences:
        looked_at = max(cells + own, (size + 1) * min(cells + own, histories))
        if size and (looked_at > CELLS_AT_ONCE or (size + 1) * items > VOTES_AT_ONCE):
            sizes.append(size)
            size = cells = 0
        size += 1
        cells += own
    return [*sizes, size] if size else sizes


def _ages(sequences: Sequences) -> Tensor:
    """[users] int64: how many users' last training events are more recent."""
    ages = torch.arange(sequences.user_count - 1, -1, -1, device=sequences.device)
    if sequences.times is None:
        return ages
    last = (sequences.offsets[:-1] + sequences.train_lengths - 1).clamp(min=0)
    times = sequences.times[last].masked_fill(sequences.train_lengths == 0, torch.iinfo(torch.int64).min)
    return torch.empty_like(ages).index_copy_(0, torch.argsort(times, stable=True), ages)


def _last_of_each(items: Tensor, histories: Tensor) -> Tensor:
    """[events] bool: is the event the last of its history with its item?"""
    keys, order = torch.sort(histories * (int(items.max()) + 1 if len(items) else 1) + items, stable=True)
    last = torch.ones_like(keys, dtype=torch.bool)
    last[order[:-1]] = keys[1:] != keys[:-1]
    return last


def _begins(counts: Tensor) -> Tensor:
    """[parts + 1]: where parts of these sizes begin, one after the other."""
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def _spread(begins: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Of parts that begin there and have so many places: the part of each place, and the place."""
    total = int(counts.sum())
    part = torch.repeat_interleave(counts, output_size=total)
    return part, torch.arange(total, device=counts.device) + (begins - (counts.cumsum(0) - counts)).index_select(
        0, part
    )
