"""TiSASRec (Li, Wang & McAuley, *Time Interval Aware Self-Attention for Sequential Recommendation*, WSDM 2020)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.engine.batches import Batch
from models.engine.randomness import Dropout, once
from models.networks.attention import AttentionMask, split_heads
from models.networks.backbone import Backbone
from models.networks.sasrec import Block, Norm, initialise

CELLS_OF_A_BLOCK = 2**19
"""Of queries' products with buckets, held at a time."""
ALIGNED = 32
"""Tables of intervals are filled up to a multiple of so many rows: matrices of 257 columns take twice the time."""


class TiSASRec(Backbone):
    """SASRec's blocks, with learned keys and values for positions and for the time between two events, shared by the
    blocks, in place of positions at the input.

    Batches are packed. Where a batch has no times, such as a served history of ids alone, its events are taken to be
    equally spaced. Beside the authors' code: a user's smallest gap is taken over the window that is seen and not over
    the user's whole log, which holds the test event's time; and dropout falls on the table of intervals, not on each
    pair's copy of it, which is never made.
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
        hidden = self.items(batch.items) * self.items.embedding_dim**0.5
        if dropout is not None:
            hidden = dropout(hidden, self.dropout)
        return hidden * batch.real

    def _relations(self, batch: Batch, dropout: Dropout | None) -> "PlacesAndIntervals":
        def of_events(values: Tensor) -> Tensor:
            return split_heads(values if dropout is None else dropout(values, self.dropout), self.heads)

        def of_buckets(table: Tensor) -> Tensor:
            table = table if dropout is None else dropout.shared(table, self.dropout)
            return split_heads(F.pad(table, (0, 0, 0, -len(table) % ALIGNED)), self.heads)

        return PlacesAndIntervals(
            position_keys=of_events(self.position_keys(batch.positions)),
            position_values=of_events(self.position_values(batch.positions)),
            interval_keys=of_buckets(self.interval_keys),
            interval_values=of_buckets(self.interval_values),
            intervals=intervals(batch, most=self.max_interval),
        )


@dataclass(frozen=True)
class PlacesAndIntervals:
    """Keys and values of positions and of intervals, by head.

    position_keys, position_values: [rows, heads, length, dim of a head]
    interval_keys, interval_values: [heads, buckets, dim of a head]
    intervals: [rows, length, length] int64, the bucket of each pair

    Memory is rows × heads × length × (length + buckets): no pair has a vector of its own. Sums over buckets go by
    blocks of rows that stay in the processor's cache.
    """

    position_keys: Tensor
    position_values: Tensor
    interval_keys: Tensor
    interval_values: Tensor
    intervals: Tensor

    def scores(self, q: Tensor) -> Tensor:
        """Q · interval key."""
        blocks = zip(self._split(q), self._split(self.intervals), strict=True)
        return torch.cat([self._scores(part, pairs) for part, pairs in blocks])

    def values(self, attention: Tensor) -> Tensor:
        """The attention's mean of interval values."""
        blocks = zip(self._split(attention), self._split(self.intervals), strict=True)
        return torch.cat([self._values(part, pairs) for part, pairs in blocks])

    def _scores(self, q: Tensor, intervals: Tensor) -> Tensor:
        by_bucket = _by_head(q) @ self.interval_keys.transpose(1, 2)
        return _by_row(by_bucket.gather(2, _pairs(intervals, heads=q.shape[1])), like=q)

    def _values(self, attention: Tensor, intervals: Tensor) -> Tensor:
        of_pairs = _by_head(attention)
        by_bucket = of_pairs.new_zeros(*of_pairs.shape[:2], self.interval_values.shape[1])
        by_bucket.scatter_add_(2, _pairs(intervals, heads=attention.shape[1]), of_pairs)
        return _by_row(by_bucket @ self.interval_values, like=attention)

    def _split(self, values: Tensor) -> tuple[Tensor, ...]:
        """[rows, …] → blocks of rows; elsewhere than on a CPU, where caches do not matter, one."""
        heads, buckets, _ = self.interval_keys.shape
        rows = max(CELLS_OF_A_BLOCK // (heads * buckets * self.intervals.shape[1]), 1)
        return values.split(rows) if values.device.type == "cpu" else (values,)


def _pairs(intervals: Tensor, *, heads: int) -> Tensor:
    """[heads, rows · length, length]: the intervals as `_by_head` lays them out."""
    return intervals.flatten(0, 1).expand(heads, -1, -1)


def _by_head(values: Tensor) -> Tensor:
    """[rows, heads, length, …] → [heads, rows · length, …]: one product with a table that all rows share."""
    return values.transpose(0, 1).flatten(1, 2)


def _by_row(values: Tensor, *, like: Tensor) -> Tensor:
    """[heads, rows · length, …] → [rows, heads, length, …]."""
    return values.unflatten(1, (like.shape[0], like.shape[2])).transpose(0, 1)


def intervals(batch: Batch, *, most: int) -> Tensor:
    """[rows, length, length] int64: min(|t_i − t_j|, most), with t = round((time − first) / smallest gap) in a window.

    The smallest gap is that between two neighbours at different times. Pairs of different windows get some number in
    0 … most.
    """
    if batch.times is None:
        steps = batch.positions
    else:
        rows, length = batch.times.shape
        windows = torch.arange(rows, device=batch.times.device)[:, None] * (length + 1) + batch.segments
        gaps = batch.times.diff(dim=1).abs()
        counted = (windows[:, 1:] == windows[:, :-1]) & (gaps > 0)
        smallest = _least_of_each(torch.where(counted, gaps, _LATEST), windows[:, 1:], count=rows * (length + 1))
        smallest = torch.where(smallest == _LATEST, 1, smallest)
        first = _least_of_each(batch.times, windows, count=rows * (length + 1))
        steps = ((batch.times - first[windows]).double() / smallest[windows].double()).round().long()
    return (steps[:, :, None] - steps[:, None, :]).abs().clamp(max=most)


_LATEST = torch.iinfo(torch.int64).max


def _least_of_each(values: Tensor, groups: Tensor, *, count: int) -> Tensor:
    """[count]: the least of the values of each group."""
    least = torch.full((count,), _LATEST, device=values.device)
    return least.scatter_reduce_(0, groups.flatten(), values.flatten(), "amin")
