"""A gate that sees what it decides on: the items of query and key, and what came before them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.denoising.gates import Reading
from models.engine.batches import Batch
from models.networks.attention import GateContext

MEMORY = 0.95
"""What of the figures of earlier steps is left after one more: they tell of the last twenty."""


class ContextualGate(nn.Module):
    """One gate for all layers, whose logit for the query at t and the key at s is

        φ_ts = w · [e_s; b_s] + c + (W_q [e_t; b_t]) · (W_k e_s) / √rank

    e: an item's embedding × √dim; b: the mean e of the items before it in its window, where attention goes both ways of
    all others in it; c begins as `initial_logit` and is all there is at first. Nothing that is sampled or gated has a
    part in φ, so that every estimator that is unbiased stays so; nor has, where attention is causal, anything later
    than the query. The embeddings are the backbone's, without a gradient.

    It learns by the ranking loss, through an estimator, and by self-supervision: in a copy of a batch `planted` of its
    items give way, one half to any item and one half to items of other events, so by popularity, and by binary
    cross-entropy the event's own logit, the mean φ_ts over the queries that see it, tells which are still there. What
    is appended or masked is no event: it is neither replaced nor part of a mean b.
    """

    figures: Tensor

    def __init__(
        self,
        embed: Callable[[Tensor], Tensor],
        *,
        dim: int,
        rank: int,
        item_count: int,
        initial_logit: float,
        planted: float,
    ) -> None:
        """`embed`: items [rows, length] → their embeddings [rows, length, dim], without a gradient."""
        super().__init__()
        self.embed = embed
        self.item_count = item_count
        self.initial_logit = initial_logit
        self.planted = planted
        self.rank = rank
        self.reads = nn.Linear(dim, 3 * rank + 2, bias=False)
        self.constant = nn.Parameter(torch.tensor(float(initial_logit)))
        with torch.no_grad():
            self.reads.weight[rank:].zero_()
        self.figures = nn.Buffer(torch.zeros(3))
        self._held: _Held | None = None

    @contextmanager
    def holding(self, batch: Batch) -> Iterator[None]:
        weights = self._weights(batch)
        self._held = _Held(batch, weights, self._cells(batch.items, weights))
        try:
            yield
        finally:
            self._held = None

    def logits(self, context: GateContext) -> Tensor:
        """[rows, 1, length, length]."""
        return self._of(context.batch)

    def observe(self, batch: Batch, reading: Reading) -> None:
        with torch.no_grad():
            logits, visible = self._of(batch)[:, 0], _floats(batch.visible)
            kept, is_open = reading.keep(logits), (reading.inference(logits) > 0).float()
            seen = torch.stack([(kept * visible).sum(), (is_open * visible).sum(), visible.sum()])
            self.figures.mul_(MEMORY).add_(seen, alpha=1 - MEMORY)

    def penalty(self, batch: Batch, reading: Reading, *, on: Literal["sum", "mean"]) -> Tensor:
        """No cell is anyone else's: the "sum" is that over a window's cells, averaged over the windows."""
        visible = _floats(batch.visible)
        total = (reading.keep(self._of(batch)[:, 0]) * visible).sum()
        return total / (visible.sum() if on == "mean" else len(batch.ends))

    def lesson(self, batch: Batch, uniforms: Callable[..., Tensor]) -> Tensor | None:
        """The cross-entropy of what is still there in a copy with planted items; None where none are planted."""
        if not self.planted:
            return None
        if batch.targets is None:
            raise ValueError("the batch has no targets to plant")
        chosen, which = uniforms(*batch.items.shape), uniforms(*batch.items.shape)
        known, targets = self._known(batch.items), batch.events(batch.targets)
        anything = 1 + (which * self.item_count).long()
        popular = targets[(which * len(targets)).long()]
        others = torch.where(chosen < self.planted / 2, anything, popular)
        items = torch.where(known & (chosen < self.planted), others, batch.items)
        visible = _floats(batch.visible)
        weights = self._weights(batch) if self._held is None else self._held.weights
        own, queries, keys = self._read(items, weights)
        seen_by = visible.transpose(1, 2) @ queries / visible.sum(1).clamp(min=1.0)[:, :, None]
        logits = own + (seen_by * keys).sum(2)
        losses = F.binary_cross_entropy_with_logits(logits, (items == batch.items).float(), reduction="none")
        return (losses * known).sum() / known.sum().clamp(min=1)

    def open_shares(self, reading: Reading) -> tuple[float, ...]:
        """Over the last steps; before any, as it begins."""
        _, is_open, seen = self.figures.tolist()
        return (is_open / seen if seen else float(reading.inference(torch.tensor(self.initial_logit)) > 0),)

    def diagnostics(self, reading: Reading) -> dict[str, float]:
        """Over the cells of the last steps."""
        kept, _, seen = self.figures.tolist()
        mean_keep = kept / seen if seen else float(reading.keep(torch.tensor(self.initial_logit)))
        return {"gate.mean_keep": mean_keep, "gate.open_share": self.open_shares(reading)[0]}

    def _of(self, batch: Batch) -> Tensor:
        if self._held is not None and self._held.batch is batch:
            return self._held.cells
        return self._cells(batch.items, self._weights(batch))

    def _cells(self, items: Tensor, weights: Tensor) -> Tensor:
        """[rows, 1, length, length] float32, so that what is drawn by them has their probabilities in lower precision,
        too.
        """
        own, queries, keys = self._read(items, weights)
        return torch.baddbmm(own[:, None, :], queries, keys.transpose(1, 2))[:, None].float()

    def _read(self, items: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """w · [e; b] + c [rows, length], and what queries and keys bring to each other, both [rows, length, rank]."""
        embedded = self.embed(items)
        # One product for all that is read of e: what is read of a mean is the mean of what is read.
        read = F.linear(embedded, self.reads.weight * embedded.shape[2] ** 0.5)
        keys, own, before = read.split([self.rank, 1 + self.rank, 1 + self.rank], dim=2)
        told = own + weights @ before
        return told[:, :, 0] + self.constant, told[:, :, 1:] * self.rank**-0.5, keys

    def _weights(self, batch: Batch) -> Tensor:
        """[rows, length, length]: by how much each event counts in the mean of those before each one."""
        seen = _floats(batch.visible) * self._known(batch.items)[:, None, :]
        seen.diagonal(dim1=1, dim2=2).zero_()
        return seen / seen.sum(2, keepdim=True).clamp(min=1.0)

    def _known(self, items: Tensor) -> Tensor:
        return (items > 0) & (items <= self.item_count)


@dataclass(frozen=True)
class _Held:
    """What is computed of a batch once a step."""

    batch: Batch
    weights: Tensor
    cells: Tensor


def _floats(visible: Tensor) -> Tensor:
    """Many times faster than from bools."""
    return visible.view(torch.uint8).float()
