"""BERT4Rec (Sun et al., CIKM 2019): sequential recommendation with bidirectional encoder representations."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.engine.batches import Batch, Masking
from models.engine.randomness import Dropout, once
from models.networks.attention import AttentionMask, SelfAttention
from models.networks.backbone import Backbone

INITIAL_SCALE = 0.02
NORM_EPSILON = 1e-12


class BERT4Rec(Backbone):
    """A bidirectional encoder that finds masked items: item and position embeddings with a layer norm, post-norm blocks
    with GELU, and a dense layer with GELU and layer norm before the items' own table, which has an output bias.

    Masked items are always [MASK], item number `item_count` + 1; some windows have only their last item masked. When it
    ranks, [MASK] stands after the last `length` − 1 events. Batches are packed. Beside the authors' code: a window is
    aligned at its end, as everywhere here, so that [MASK] always has the last position when ranking; and a long user
    gives the last window only.
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
        masked: float,
        last_masked: float,
    ) -> None:
        super().__init__()
        self.layers = blocks
        self.length = length
        self.dropout = dropout
        self.masking = Masking(item=item_count + 1, share=masked, last_share=last_masked)
        self.items = nn.Embedding(item_count + 2, dim, padding_idx=0)
        self.positions = nn.Embedding(length, dim)
        self.first_norm = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.blocks = nn.ModuleList(
            BidirectionalBlock(dim, heads=heads, dropout=dropout, layer=n) for n in range(blocks)
        )
        self.output = nn.Linear(dim, dim)
        self.output_norm = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.output_bias = nn.Parameter(torch.zeros(item_count + 1))
        self._initialise()

    def encode(self, batch: Batch, *, dropout: Dropout | None = None, gate: AttentionMask | None = None) -> Tensor:
        hidden = once(dropout, lambda: self._embedded(batch, dropout))
        for block in self.blocks:
            hidden = block(hidden, batch=batch, dropout=dropout, gate=gate)
        hidden = self.output_norm(F.gelu(self.output(hidden)))
        return torch.cat([hidden, torch.ones_like(hidden[:, :, :1])], dim=2)

    def item_table(self) -> Tensor:
        """[items + 1, dim + 1]: the last column is the output bias, which meets a one in the hidden states."""
        return torch.cat([self.items.weight[:-1], self.output_bias[:, None]], dim=1)

    def _embedded(self, batch: Batch, dropout: Dropout | None) -> Tensor:
        hidden = self.first_norm(self.items(batch.items) + self.positions(batch.positions))
        if dropout is not None:
            hidden = dropout(hidden, self.dropout)
        return hidden * batch.real

    def _initialise(self) -> None:
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.trunc_normal_(parameter, std=INITIAL_SCALE, a=-2 * INITIAL_SCALE, b=2 * INITIAL_SCALE)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
        with torch.no_grad():
            self.items.weight[0].zero_()


class BidirectionalBlock(nn.Module):
    """x ← LN(x + W attention(x)), then x ← LN(x + W₂ GELU(W₁ x)), with an inner layer four times as wide."""

    def __init__(self, dim: int, *, heads: int, dropout: float, layer: int) -> None:
        super().__init__()
        self.dropout = dropout
        self.attention = SelfAttention(dim, heads=heads, dropout=dropout, layer=layer)
        self.projection = nn.Linear(dim, dim)
        self.attention_norm = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.inner = nn.Linear(dim, 4 * dim)
        self.outer = nn.Linear(4 * dim, dim)
        self.forward_norm = nn.LayerNorm(dim, eps=NORM_EPSILON)

    def forward(self, hidden: Tensor, *, batch: Batch, dropout: Dropout | None, gate: AttentionMask | None) -> Tensor:
        """[rows, length, dim] → [rows, length, dim]; cells without an event stay zero."""

        def dropped(values: Tensor) -> Tensor:
            return values if dropout is None else dropout(values, self.dropout)

        attended = self.attention(hidden, hidden, batch=batch, dropout=dropout, gate=gate)
        hidden = self.attention_norm(hidden + dropped(self.projection(attended)))
        hidden = self.forward_norm(hidden + dropped(self.outer(F.gelu(self.inner(hidden)))))
        return hidden * batch.real
