"""A recommender from outside the project, for `studies/own.yaml`: an example to begin one's own with."""

import torch
from torch import Tensor, nn

from models.engine.batches import Batch
from models.engine.randomness import Dropout
from models.engine.rows import gathered
from models.networks.attention import AttentionMask
from models.networks.backbone import Backbone


class MovingAverage(Backbone):
    """What a user wants next follows from exponential moving averages of what they had, at several learned rates.

    `heads` parts of an item's embedding have a rate each, from one that forgets at once to one that hardly does.
    """

    def __init__(self, item_count: int, *, length: int, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.length = length
        self.dropout = dropout
        self.items = nn.Embedding(item_count + 1, dim, padding_idx=0)
        nn.init.normal_(self.items.weight, std=0.05)
        with torch.no_grad():
            self.items.weight[0].zero_()
        self.rates = nn.Parameter(torch.linspace(-2, 2, heads))
        self.norm = nn.LayerNorm(dim)
        self.inner = nn.Linear(dim, dim)
        self.outer = nn.Linear(dim, dim)

    def encode(self, batch: Batch, *, dropout: Dropout | None = None, gate: AttentionMask | None = None) -> Tensor:
        """[rows, length] items → [rows, length, dim]. Several histories share a row, and `batch.visible` says what an
        event may see: its own past and itself.
        """

        def dropped(values: Tensor) -> Tensor:
            return values if dropout is None else dropout(values, self.dropout)

        items = dropped(gathered(self.items.weight, batch.items))
        ago = (batch.positions[:, :, None] - batch.positions[:, None, :]).clamp(min=0)
        averages = []
        for rate, part in zip(self.rates.sigmoid(), items.chunk(len(self.rates), dim=-1), strict=True):
            weights = batch.visible * rate**ago
            averages.append(weights @ part / weights.sum(2, keepdim=True).clamp(min=1))
        hidden = self.norm(torch.cat(averages, dim=-1))
        return hidden + dropped(self.outer(torch.relu(self.inner(hidden))))

    def item_table(self) -> Tensor:
        """[items + 1, dim]: scores are inner products with it."""
        return self.items.weight

    def row_tables(self) -> tuple[nn.Embedding, ...]:
        """Tables of which a step reads the named rows alone, which makes a large catalogue cheap."""
        return (self.items,)
