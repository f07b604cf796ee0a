"""SASRec (Kang & McAuley, *Self-Attentive Sequential Recommendation*, ICDM 2018)."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.engine.batches import Batch
from models.engine.randomness import Dropout, once
from models.engine.rows import gathered
from models.networks.attention import AttentionMask, Relations, SelfAttention
from models.networks.backbone import Backbone

Norm = Literal["authors", "pre", "post"]


class SASRec(Backbone):
    """The authors' network: item embeddings × √dim plus learned positions, blocks of causal attention and a
    pointwise feed-forward layer, a last layer norm; the item table is shared between input and output.

    `norm` places the layer norms: "authors" as in their code (see `Block`), "pre" or "post" as is usual.
    """

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
    ) -> None:
        super().__init__()
        self.layers = blocks
        self.length = length
        self.dropout = dropout
        self.items = nn.Embedding(item_count + 1, dim, padding_idx=0)
        self.positions = nn.Embedding(length, dim)
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
        for block in self.blocks:
            hidden = block(hidden, batch=batch, dropout=dropout, gate=gate)
        return self.last_norm(hidden)

    def item_table(self) -> Tensor:
        return self.items.weight

    def _embedded(self, batch: Batch, dropout: Dropout | None) -> Tensor:
        items = gathered(self.items.weight, batch.items)
        hidden = items * self.items.embedding_dim**0.5 + self.positions(batch.positions)
        if dropout is not None:
            hidden = dropout(hidden, self.dropout)
        return hidden * batch.real


class Block(nn.Module):
    """Attention and feed-forward with residuals.

    "authors": x ← LN(x) + attention(query LN(x), keys and values x), then y = LN(x), x ← y + feed-forward(y).
    "pre":     x ← x + attention(LN(x)), then x ← x + feed-forward(LN(x)).
    "post":    x ← LN(x + attention(x)), then x ← LN(x + feed-forward(x)).
    """

    def __init__(self, dim: int, *, heads: int, dropout: float, norm: Norm, layer: int) -> None:
        super().__init__()
        self.norm = norm
        self.dropout = dropout
        self.attention_norm = nn.LayerNorm(dim, eps=1e-8)
        self.attention = SelfAttention(dim, heads=heads, dropout=dropout, layer=layer)
        self.forward_norm = nn.LayerNorm(dim, eps=1e-8)
        self.inner = nn.Linear(dim, dim)
        self.outer = nn.Linear(dim, dim)

    def forward(
        self,
        hidden: Tensor,
        *,
        batch: Batch,
        dropout: Dropout | None,
        gate: AttentionMask | None,
        relations: Relations | None = None,
    ) -> Tensor:
        """[rows, length, dim] → [rows, length, dim]; cells without an event stay zero."""

        def attend(queries: Tensor, keys: Tensor) -> Tensor:
            return self.attention(queries, keys, batch=batch, dropout=dropout, gate=gate, relations=relations)

        if self.norm == "authors":
            queries = self.attention_norm(hidden)
            hidden = self.forward_norm(queries + attend(queries, hidden))
            hidden = hidden + self._feed_forward(hidden, dropout)
        elif self.norm == "pre":
            normed = self.attention_norm(hidden)
            hidden = hidden + attend(normed, normed)
            hidden = hidden + self._feed_forward(self.forward_norm(hidden), dropout)
        else:
            hidden = self.attention_norm(hidden + attend(hidden, hidden))
            hidden = self.forward_norm(hidden + self._feed_forward(hidden, dropout))
        return hidden * batch.real

    def _feed_forward(self, hidden: Tensor, dropout: Dropout | None) -> Tensor:
        inner = F.relu(self.inner(hidden))
        if dropout is not None:
            inner = dropout(inner, self.dropout)
        outer = self.outer(inner)
        return dropout(outer, self.dropout) if dropout is not None else outer


def initialise(network: nn.Module) -> None:
    """Matrices by Xavier's normal rule, biases zero."""
    for parameter in network.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_normal_(parameter)
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
