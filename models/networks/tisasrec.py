"""TiSASRec (Li, Wang & McAuley, *Time Interval Aware Self-Attention for Sequential Recommendation*, WSDM 2020)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.engine.batches import Batch
from models.engine.randomness import Dropout, once
from models.engine.rows import gathered
from models.networks.attention import AttentionMask, split_heads
from models.networks.backbone import Backbone
from models.networks.sasrec import Block, Norm, initialise

CELLS_OF_A_BLOCK = 2**19
"""Of queries' products with intervals, held at a time where a row has all of them."""


class TiSASRec(Backbone):
    """SASRec's blocks, with learned keys and values for positions and for the time between two events, shared by the
    blocks, in place of positions at the input.

    Batches are packed. Where a batch has no times, such as a served history of ids alone, its events are taken to be
    equally spaced. Beside the authors' code: a user's smallest gap is that of what an event may see of its window, and
    not of the user's whole log, which holds the test event's time; and dropout falls on the table of intervals, not on
    each pair's copy of it, which is never made.
    """

    needs = frozenset({"times"})

    def __init__(
        self,
        item_count: int,
        *,
        length: int,
        dim: int,
        blocks: int,
        heads: int,
        dropout: float,
        norm: Norm,
        max_interval: int,
    ) -> None:
        super().__init__()
        self.layers = blocks
        self.length = length
        self.heads = heads
        self.dropout = dropout
        self.max_interval = max_interval
        self.items = nn.Embedding(item_count + 1, dim, padding_idx=0)
        self.position_keys = nn.Embedding(length, dim)
        self.position_values = nn.Embedding(length, dim)
        self.interval_keys = nn.Parameter(torch.empty(max_interval + 1, dim))
        self.interval_values = nn.Parameter(torch.empty(max_interval + 1, dim))
        self.blocks = nn.ModuleList(
            Block(dim, heads=heads, dropout=dropout, norm=norm, layer=layer) for layer in range(blocks)
        )
        self.last_norm = nn.LayerNorm(dim, eps=1e-8)
        initialise(self)
        with torch.no_grad():
            self.items.weight[0].zero_()

    def row_tables(self) -> tuple[nn.Embedding, ...]:
        return (self.items,)

    def encode(self, batch: Batch, *, dropout: Dropout | None = None, gate: AttentionMask | None = None) -> Tensor:
        hidden = once(dropout, lambda: self._embedded(batch, dropout))
        relations = once(dropout, lambda: self._relations(batch, dropout))
        for block in self.blocks:
            hidden = block(hidden, batch=batch, dropout=dropout, gate=gate, relations=relations)
        return self.last_norm(hidden)

    def item_table(self) -> Tensor:
        return self.items.weight

    def _embedded(self, batch: Batch, dropout: Dropout | None) -> Tensor:
        hidden = gathered(self.items.weight, batch.items) * self.items.embedding_dim**0.5
        if dropout is not None:
            hidden = dropout(hidden, self.dropout)
        return hidden * batch.real

    def _relations(self, batch: Batch, dropout: Dropout | None) -> "PlacesAndIntervals":
        own = OwnIntervals.of(
            intervals(batch, most=self.max_interval),
            buckets=self.max_interval + 1,
            heads=self.heads,
            in_blocks=batch.items.device.type == "cpu",
        )

        def of_events(values: Tensor) -> Tensor:
            return split_heads(values if dropout is None else dropout(values, self.dropout), self.heads)

        def of_intervals(table: Tensor) -> tuple[Tensor, ...]:
            table = table if dropout is None else dropout.shared(table, self.dropout)
            return tuple(split_heads(table[names], self.heads).contiguous() for names in own.names)

        return PlacesAndIntervals(
            position_keys=of_events(self.position_keys(batch.positions)),
            position_values=of_events(self.position_values(batch.positions)),
            interval_keys=of_intervals(self.interval_keys),
            interval_values=of_intervals(self.interval_values),
            own=own,
        )


@dataclass(frozen=True)
class OwnIntervals:
    """The intervals that each row of a batch has, in blocks of rows that have about as many.

    order: [rows] int64, the rows as they follow each other in the blocks
    back: [rows] int64, the place of each row among them
    names: of each block [rows, own] int64, the buckets that a row has, filled up with any other
    pairs: of each block [rows, length, length] int64, which of its row's own a pair has

    A row has a fraction of the buckets, and products with those alone take a fraction of the time.
    """

    order: Tensor
    back: Tensor
    names: tuple[Tensor, ...]
    pairs: tuple[Tensor, ...]

    @classmethod
    def of(cls, intervals: Tensor, *, buckets: int, heads: int, in_blocks: bool) -> "OwnIntervals":
        """intervals: [rows, length, length] int64, 0 … buckets − 1.

        `in_blocks` is for CPUs, in whose cache a block stays. A GPU would wait for the counts: without, there is one
        block, as wide as all buckets.
        """
        rows, length, _ = intervals.shape
        in_row = intervals.flatten(1)
        had = intervals.new_zeros(rows, buckets).scatter_(1, in_row, 1)
        counted = had.cumsum(1)
        places = counted - 1
        every = torch.arange(buckets, device=intervals.device).expand(rows, -1)
        # What a row does not have is put into a column too many.
        names = intervals.new_zeros(rows, buckets + 1).scatter_(1, torch.where(had > 0, places, buckets), every)
        pairs = places.gather(1, in_row).view_as(intervals)
        if in_blocks:
            counts, order = counted[:, -1].sort()
            size = max(CELLS_OF_A_BLOCK // (heads * buckets * length), 1)
            widths = [int(block[-1]) for block in counts.split(size)]
        else:
            order, size, widths = torch.arange(rows, device=intervals.device), rows, [buckets]
        return cls(
            order=order,
            back=order.argsort(),
            names=tuple(block[:, :width] for block, width in zip(names[order].split(size), widths, strict=True)),
            pairs=pairs[order].split(size),
        )


@dataclass(frozen=True)
class PlacesAndIntervals:
    """Keys and values of positions and of intervals, by head.

    position_keys, position_values: [rows, heads, length, dim of a head]
    interval_keys, interval_values: of each block of rows [rows, heads, own intervals, dim of a head]

    Memory is rows × heads × length × (length + buckets): no pair has a vector of its own.
    """

    position_keys: Tensor
    position_values: Tensor
    interval_keys: tuple[Tensor, ...]
    interval_values: tuple[Tensor, ...]
    own: OwnIntervals

    def scores(self, q: Tensor) -> Tensor:
        """Q · interval key."""

        def of_block(q: Tensor, keys: Tensor, pairs: Tensor) -> Tensor:
            by_interval = q @ keys.transpose(2, 3)
            return by_interval.gather(3, pairs[:, None].expand(-1, q.shape[1], -1, -1))

        return self._by_block(of_block, q, self.interval_keys)

    def values(self, attention: Tensor) -> Tensor:
        """The attention's mean of interval values."""

        def of_block(attention: Tensor, values: Tensor, pairs: Tensor) -> Tensor:
            by_interval = attention.new_zeros(*attention.shape[:3], values.shape[2])
            by_interval.scatter_add_(3, pairs[:, None].expand(-1, attention.shape[1], -1, -1), attention)
            return by_interval @ values

        return self._by_block(of_block, attention, self.interval_values)

    def _by_block(
        self, of_block: Callable[[Tensor, Tensor, Tensor], Tensor], read: Tensor, tables: tuple[Tensor, ...]
    ) -> Tensor:
        parts = read.index_select(0, self.own.order).split([len(pairs) for pairs in self.own.pairs])
        made = [of_block(*block) for block in zip(parts, tables, self.own.pairs, strict=True)]
        return torch.cat(made).index_select(0, self.own.back)


def intervals(batch: Batch, *, most: int) -> Tensor:
    """[rows, length, length] int64: min(|steps of t − steps of s|, most) for a query at t and each key at s that it may
    see, with steps = round((time − the window's first) / smallest gap); 0 for what it may not see.

    The smallest gap is that between two neighbours at different times, up to the query: later times have no influence.
    """
    if batch.times is None:
        apart = (batch.positions[:, :, None] - batch.positions[:, None, :]).abs_()
    else:
        same = batch.segments[:, 1:] == batch.segments[:, :-1]
        gaps = F.pad(batch.times.diff(dim=1).abs(), (1, 0))
        counted = F.pad(same, (1, 0)) & (gaps > 0)
        smallest = torch.where(batch.visible & counted[:, None, :], gaps[:, None, :], _LATEST).amin(2, keepdim=True)
        smallest = torch.where(smallest == _LATEST, 1, smallest)
        first = batch.times.gather(1, batch.visible.view(torch.uint8).argmax(2))
        steps = ((batch.times[:, None, :] - first[:, :, None]).double() / smallest.double()).round().long()
        apart = (steps.diagonal(dim1=1, dim2=2)[:, :, None] - steps).abs_()
    return apart.clamp_(max=most).mul_(batch.visible)


_LATEST = torch.iinfo(torch.int64).max
