"""Explicit self-attention with a seam for gates.

Fused kernels take neither a generator for dropout nor a mask after the softmax, and have no double
backward; this path has all three.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from models.engine.batches import Batch
from models.engine.randomness import Dropout, once


@dataclass(frozen=True)
class GateContext:
    """What a gate may look at in one layer.

    q, k: [rows, heads, length, dim of a head]
    attention: [rows, heads, length, length], the probabilities that it multiplies
    batch: items, positions and visibility of the cells
    layer: which block, from 0
    """

    q: Tensor
    k: Tensor
    attention: Tensor
    batch: Batch
    layer: int


AttentionMask = Callable[[GateContext], Tensor]
"""Gives the factors Z, broadcastable to [rows, heads, length, length], by which attention is multiplied."""


class Relations(Protocol):
    """What attention knows of a query and a key beside their contents, such as the time between them."""

    position_keys: Tensor
    """[rows, heads, length, dim of a head], added to the keys."""
    position_values: Tensor
    """[rows, heads, length, dim of a head], added to the values."""

    def scores(self, q: Tensor) -> Tensor:
        """q [rows, heads, length, dim of a head], scaled → what is added to QKᵀ, [rows, heads, length, length]."""

    def values(self, attention: Tensor) -> Tensor:
        """attention [rows, heads, length, length] → what is added to AV, [rows, heads, length, dim of a head]."""


class SelfAttention(nn.Module):
    """Multi-head attention without output projection (SASRec's), A = softmax(QKᵀ/√d), output (A ⊙ Z) V.

    With `Relations`, keys, values and both products have their part added. The masked probabilities are not
    renormalised (Rec-Denoiser, eq. 5).
    """

    def __init__(self, dim: int, *, heads: int, dropout: float, layer: int) -> None:
        """Raises `ValueError` where `dim` is no multiple of `heads`."""
        super().__init__()
        if dim % heads:
            raise ValueError(f"the width {dim} is no multiple of {heads} heads")
        self.heads = heads
        self.layer = layer
        self.dropout = dropout
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)

    def forward(
        self,
        queries: Tensor,
        keys: Tensor,
        *,
        batch: Batch,
        dropout: Dropout | None,
        gate: AttentionMask | None,
        relations: Relations | None = None,
    ) -> Tensor:
        """queries, keys: [rows, length, dim] → [rows, length, dim]; of a cell without an event any numbers, which no
        other cell sees.
        """

        def read() -> tuple[Tensor, Tensor, Tensor, Tensor]:
            return self._read(queries, keys, batch, relations)

        # No gate has acted before the first layer's probabilities.
        q, k, v, attention = once(dropout, read) if self.layer == 0 else read()
        if gate is not None:
            attention = attention * gate(GateContext(q=q, k=k, attention=attention, batch=batch, layer=self.layer))
        if dropout is not None:
            attention = dropout(attention, self.dropout)
        if relations is None:
            mixed = attention @ v
        else:
            mixed = attention @ (v + relations.position_values) + relations.values(attention)
        return mixed.transpose(1, 2).flatten(2)

    def _read(
        self, queries: Tensor, keys: Tensor, batch: Batch, relations: Relations | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """q, k, v [rows, heads, length, dim of a head], and the probabilities [rows, heads, length, length]."""
        q = split_heads(self.query(queries), self.heads)
        k = split_heads(self.key(keys), self.heads)
        v = split_heads(self.value(keys), self.heads)
        scaled = q * q.shape[-1] ** -0.5
        if relations is None:
            scores = scaled @ k.transpose(2, 3)
        else:
            scores = scaled @ (k + relations.position_keys).transpose(2, 3) + relations.scores(scaled)
        return q, k, v, torch.softmax(scores.add_(batch.attention_bias), dim=-1)


def split_heads(values: Tensor, heads: int) -> Tensor:
    """[…, length, dim] → […, heads, length, dim / heads]."""
    return values.unflatten(-1, (heads, -1)).transpose(-3, -2)
