"""Caser (Tang & Wang, *Personalized Top-N Sequential Recommendation via Convolutional Sequence Embedding*, WSDM
2018).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.engine.batches import Batch
from models.engine.randomness import Dropout
from models.engine.rows import gathered
from models.engine.sequences import Sequences
from models.networks.attention import AttentionMask
from models.networks.backbone import Backbone
from models.networks.user_table import UserTable


class Caser(Backbone):
    """Convolutions over the embeddings E of the last `order` items, an image of `order` × dim (the paper's L × d).

    `horizontal` filters of each height from 1 to `order` span the width; the largest answer of each, after a ReLU, is
    kept (eq. 5 and 6). `vertical` filters span the height, and weigh the items of each column (eq. 8). A layer with a
    ReLU makes z of both, on which dropout falls before it, and an item's score is the inner product of [z; P_u] with
    its output embedding, plus its bias (eq. 10 and 11). As in the authors' code the input and output tables are apart.

    Where fewer than `order` events came before, the image has rows of zeros, as the authors pad. Each position's
    target is the item right after it (the paper's T = 1).
    """

    needs = frozenset({"users"})

    def __init__(
        self,
        item_count: int,
        user_count: int,
        *,
        length: int,
        dim: int,
        order: int,
        horizontal: int,
        vertical: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.length = length
        self.order = order
        self.dropout = dropout
        self.items = nn.Embedding(item_count + 1, dim, padding_idx=0)
        self.users = UserTable(user_count, dim)
        self.horizontal = nn.ModuleList(nn.Conv1d(dim, horizontal, height) for height in range(1, order + 1))
        self.vertical = nn.Linear(order, vertical)
        self.fully_connected = nn.Linear(order * horizontal + dim * vertical, dim)
        self.outputs = nn.Embedding(item_count + 1, 2 * dim + 1, padding_idx=0)
        with torch.no_grad():
            for table in (self.items, self.users, self.outputs):
                table.weight.normal_(std=1 / dim)
            self.items.weight[0].zero_()
            self.outputs.weight[0].zero_()
            self.outputs.weight[:, -1].zero_()

    def prepare(self, sequences: Sequences) -> None:
        self.users.prepare(sequences)

    def row_tables(self) -> tuple[nn.Embedding, ...]:
        return (self.items, self.outputs)

    def encode(self, batch: Batch, *, dropout: Dropout | None = None, gate: AttentionMask | None = None) -> Tensor:
        images = self._images(batch)
        events = images.flatten(0, 1).transpose(1, 2)  # [cells, dim, order]
        answers = [F.relu(filters(events)).amax(2) for filters in self.horizontal]
        features = torch.cat([*answers, self.vertical(events).transpose(1, 2).flatten(1)], dim=1)
        if dropout is not None:
            features = dropout(features, self.dropout)
        z = F.relu(self.fully_connected(features)).unflatten(0, batch.items.shape)
        person = self.users(batch.users)
        return torch.cat([z, person, torch.ones_like(z[:, :, :1])], dim=2) * batch.real

    def item_table(self) -> Tensor:
        """[items + 1, 2 dim + 1]: what meets z, what meets the user, and the bias, which meets a one."""
        return self.outputs.weight

    def _images(self, batch: Batch) -> Tensor:
        """[rows, length, order, dim]: E of each cell, its own event last."""
        back = self.order - 1
        embedded = F.pad(gathered(self.items.weight, batch.items), (0, 0, back, 0)).unfold(1, self.order, 1)
        segments = F.pad(batch.segments, (back, 0)).unfold(1, self.order, 1)
        return embedded.transpose(2, 3) * (segments == batch.segments[:, :, None])[:, :, :, None]
