"""What a sequence encoder offers to objectives and gates, and the recommender made of an encoder and an objective."""

from torch import Tensor, nn

from models.engine.batches import Batch
from models.engine.losses import Objective
from models.engine.randomness import Dropout
from models.networks.attention import AttentionMask
from models.recommender import Draws, Loss, Recommender


class Backbone(nn.Module):
    """A causal self-attentive encoder of item sequences.

    `layers` and `length` say how many attention masks it takes, and of what size. Each of `blocks` maps hidden states,
    its first argument, to hidden states of the same shape.
    """

    layers: int
    length: int
    blocks: nn.ModuleList

    def encode(self, batch: Batch, *, dropout: Dropout | None = None, gate: AttentionMask | None = None) -> Tensor:
        """[rows, length, dim]: hidden states. Without `dropout` the pass is deterministic."""
        raise TypeError(f"{type(self).__name__} does not define encode")

    def item_table(self) -> Tensor:
        """[items + 1, dim]: the output embeddings, padding first."""
        raise TypeError(f"{type(self).__name__} does not define item_table")


class NextItem(Recommender):
    """A backbone trained to predict the item that follows each position."""

    def __init__(self, backbone: Backbone, objective: Objective) -> None:
        super().__init__()
        self.backbone = backbone
        self.objective = objective
        self.length = backbone.length

    def loss(self, batch: Batch, draws: Draws) -> Loss:
        return Loss(self.position_losses(batch, self.negatives(batch, draws), dropout=draws.dropout()))

    def negatives(self, batch: Batch, draws: Draws) -> Tensor | None:
        """[events, k] where the objective wants negatives."""
        count = self.objective.negatives
        return draws.negatives(batch.events(batch.users), count) if count else None

    def position_losses(
        self,
        batch: Batch,
        negatives: Tensor | None,
        *,
        dropout: Dropout | None,
        gate: AttentionMask | None = None,
    ) -> Tensor:
        """[events]: the objective at each position, under the given masks."""
        if batch.targets is None:
            raise ValueError("the batch has no targets to train on")
        hidden = self.backbone.encode(batch, dropout=dropout, gate=gate)
        return self.objective(batch.events(hidden), self.backbone.item_table(), batch.events(batch.targets), negatives)

    def query(self, batch: Batch, *, gate: AttentionMask | None = None) -> Tensor:
        return self.backbone.encode(batch, gate=gate).flatten(0, 1)[batch.ends]

    def item_table(self) -> Tensor:
        return self.backbone.item_table()
