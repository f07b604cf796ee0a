"""SSE-PT (Wu, Li, Hsieh & Sharpnack, *SSE-PT: Sequential Recommendation Via Personalized Transformer*, RecSys 2020)."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from models.engine.batches import Batch
from models.engine.randomness import Dropout, once
from models.engine.sequences import Sequences
from models.networks.attention import AttentionMask
from models.networks.backbone import Backbone
from models.networks.sasrec import Block, Norm, initialise
from models.networks.user_table import UserTable
from models.recommender import Draws

INITIAL_USERS = 0.1
"""The scale of users' first embeddings over the usual one. At the usual one the user's part of a score is far above 0
for every item alike, and the first steps push all items' embeddings one way: a training then stays at popularity for
hundreds of steps.
"""


class SSEPT(Backbone):
    """SASRec's blocks on [item; user], each × √ of its width, plus positions of the joint width. An item's score is the
    inner product of the hidden state with [item; user].

    In training a user is replaced by a random one, and an item by a random one, with the probabilities that
    `keep_users` and `keep_items` leave (stochastic shared embeddings). As in the authors' code, a window has one user,
    a replaced item is also the target of the event before it, and its own target gives way to another random item.

    Batches are packed.
    """

    needs = frozenset({"users"})

    def __init__(
        self,
        item_count: int,
        user_count: int,
        *,
        length: int,
        dim: int,
        user_dim: int,
        blocks: int,
        heads: int,
        dropout: float,
        norm: Norm,
        keep_users: float,
        keep_items: float,
    ) -> None:
        super().__init__()
        self.layers = blocks
        self.length = length
        self.dropout = dropout
        self.keep_users = keep_users
        self.keep_items = keep_items
        width = dim + user_dim
        self.items = nn.Embedding(item_count + 1, dim, padding_idx=0)
        self.users = UserTable(user_count, user_dim)
        self.positions = nn.Embedding(length, width)
        self.blocks = nn.ModuleList(
            Block(width, heads=heads, dropout=dropout, norm=norm, layer=layer) for layer in range(blocks)
        )
        self.last_norm = nn.LayerNorm(width, eps=1e-8)
        initialise(self)
        with torch.no_grad():
            self.items.weight[0].zero_()
            self.users.weight.mul_(INITIAL_USERS)

    def prepare(self, sequences: Sequences) -> None:
        self.users.prepare(sequences)

    def training_view(self, batch: Batch, draws: Draws) -> Batch:
        if batch.targets is None:
            raise ValueError("the batch has no targets to train on")
        rows, length = batch.items.shape
        item_count = len(self.items.weight) - 1

        def random_items() -> Tensor:
            return draws.whole_numbers(item_count, rows, length) + 1

        replaced = (draws.fractions(rows, length) >= self.keep_items) & (batch.segments > 0)
        items = torch.where(replaced, random_items(), batch.items)
        before_replaced = torch.zeros_like(replaced)
        before_replaced[:, :-1] = replaced[:, 1:] & (batch.segments[:, 1:] == batch.segments[:, :-1])
        targets = torch.where(before_replaced, items.roll(-1, 1), batch.targets)
        targets = torch.where(replaced, random_items(), targets)

        window = (batch.segments - 1).clamp(min=0)
        replaced_user = (draws.fractions(rows, length) >= self.keep_users).gather(1, window)
        others = draws.whole_numbers(len(self.users.weight), rows, length).gather(1, window)
        return replace(batch, items=items, targets=targets, users=torch.where(replaced_user, others, batch.users))

    def encode(self, batch: Batch, *, dropout: Dropout | None = None, gate: AttentionMask | None = None) -> Tensor:
        dim, user_dim = self.items.embedding_dim, self.users.embedding_dim
        people = self.users(batch.users) * user_dim**0.5
        hidden = once(dropout, lambda: self._embedded(batch, people, dropout))
        for block in self.blocks:
            hidden = block(hidden, batch=batch, dropout=dropout, gate=gate)
        hidden = self.last_norm(hidden)
        constant = (hidden[:, :, dim:] * people).sum(2, keepdim=True)  # the user's part of every item's score
        return torch.cat([hidden[:, :, :dim], constant], dim=2)

    def item_table(self) -> Tensor:
        """[items + 1, dim + 1]: a last column of ones takes the user's part of the score."""
        table = self.items.weight
        return torch.cat([table, table.new_ones(len(table), 1)], dim=1)

    def _embedded(self, batch: Batch, people: Tensor, dropout: Dropout | None) -> Tensor:
        items = self.items(batch.items) * self.items.embedding_dim**0.5
        hidden = torch.cat([items, people], dim=2) + self.positions(batch.positions)
        if dropout is not None:
            hidden = dropout(hidden, self.dropout)
        return hidden * batch.real
