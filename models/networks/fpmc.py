"""FPMC (Rendle, Freudenthaler & Schmidt-Thieme, *Factorizing Personalized Markov Chains for Next-Basket
Recommendation*, WWW 2010).
"""

import torch
from torch import Tensor, nn

from models.engine.batches import Batch
from models.engine.randomness import Dropout
from models.engine.rows import gathered
from models.engine.sequences import Sequences
from models.networks.attention import AttentionMask
from models.networks.backbone import Backbone
from models.networks.user_table import UserTable


class FPMC(Backbone):
    """A factorised Markov chain of each user's own: of the history it sees who has it, and the last item i.

    An item j has the score ⟨V_u^UI, V_j^IU⟩ + ⟨V_i^LI, V_j^IL⟩ (the paper's eq. 5 for baskets of one item), which is
    the inner product of [V_u^UI; V_i^LI] with [V_j^IU; V_j^IL]. With the BPR loss this is S-BPR.
    """

    needs = frozenset({"users"})

    def __init__(self, item_count: int, user_count: int, *, length: int, dim: int) -> None:
        super().__init__()
        self.length = length
        self.items = nn.Embedding(item_count + 1, dim, padding_idx=0)
        self.users = UserTable(user_count, dim)
        self.outputs = nn.Embedding(item_count + 1, 2 * dim, padding_idx=0)
        with torch.no_grad():
            for table in (self.items, self.users, self.outputs):
                table.weight.normal_(std=1 / dim)
            self.items.weight[0].zero_()
            self.outputs.weight[0].zero_()

    def prepare(self, sequences: Sequences) -> None:
        self.users.prepare(sequences)

    def row_tables(self) -> tuple[nn.Embedding, ...]:
        return (self.items, self.outputs)

    def encode(self, batch: Batch, *, dropout: Dropout | None = None, gate: AttentionMask | None = None) -> Tensor:
        last = gathered(self.items.weight, batch.items)
        return torch.cat([self.users(batch.users), last], dim=2) * batch.real

    def item_table(self) -> Tensor:
        """[items + 1, 2 dim]: what meets the user, and what meets the last item."""
        return self.outputs.weight
