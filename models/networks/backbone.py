"""What a sequence encoder offers to objectives and gates, and the recommender made of an encoder and an objective."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from models.engine.batches import Batch, Masking, masked_batches
from models.engine.losses import Objective
from models.engine.randomness import Dropout
from models.engine.rows import gathered
from models.engine.sequences import Sequences
from models.networks.attention import AttentionMask
from models.recommender import Draws, Loss, Recommender


class Backbone(nn.Module):
    """An encoder of item sequences, causal unless it has a `masking`.

    `length` is how many events of a window it sees; `needs` is a recommender's. One with attention takes `layers`
    attention masks, of length × length, and each of its `blocks` maps hidden states, its first argument, to hidden
    states of the same shape. One without has neither, and its `gate` is None. With a `masking` it learns to find masked
    items from both sides, and ranks with the mask at a history's end.
    """

    layers: int = 0
    length: int
    items: nn.Embedding
    blocks: nn.ModuleList
    needs: frozenset[str] = frozenset()
    masking: Masking | None = None

    def prepare(self, sequences: Sequences) -> None:
        """See `Recommender`."""

    def training_view(self, batch: Batch, draws: Draws) -> Batch:
        """What the encoder is shown of a batch in training. Negatives are drawn for the batch itself."""
        return batch

    def row_tables(self) -> tuple[nn.Embedding, ...]:
        """See `Recommender`."""
        return ()

    def encode(self, batch: Batch, *, dropout: Dropout | None = None, gate: AttentionMask | None = None) -> Tensor:
        """[rows, length, dim]: hidden states, whose inner products with `item_table` are scores. Without `dropout` the
        pass is deterministic.
        """
        raise TypeError(f"{type(self).__name__} does not define encode")

    def event_states(
        self, batch: Batch, *, dropout: Dropout | None = None, gate: AttentionMask | None = None
    ) -> Tensor:
        """[events, dim]: the hidden states at the batch's `cells`, of which a loss is taken."""
        return batch.events(self.encode(batch, dropout=dropout, gate=gate))

    def end_states(self, batch: Batch, *, gate: AttentionMask | None = None) -> Tensor:
        """[windows, dim]: the hidden states at the batch's `ends`, which rank."""
        return self.encode(batch, gate=gate).flatten(0, 1).index_select(0, batch.ends)

    def item_embeddings(self, items: Tensor) -> Tensor:
        """items [rows, length] → [rows, length, dim]: the embeddings as the table has them, without a gradient."""
        return gathered(self.items.weight, items).detach()

    def item_table(self) -> Tensor:
        """[items + 1, dim]: the output embeddings, padding first."""
        raise TypeError(f"{type(self).__name__} does not define item_table")


class NextItem(Recommender):
    """A backbone trained to predict the item that follows each position, or those that are masked."""

    def __init__(self, backbone: Backbone, objective: Objective) -> None:
        super().__init__()
        self.backbone = backbone
        self.objective = objective
        self.length = backbone.length
        self.needs = backbone.needs
        self.appended = backbone.masking.item if backbone.masking else None

    def prepare(self, sequences: Sequences) -> None:
        self.backbone.prepare(sequences)

    def row_tables(self) -> tuple[nn.Embedding, ...]:
        return self.backbone.row_tables() if self.objective.negatives else ()

    def training_batches(
        self, sequences: Sequences, *, batch_size: int, generator: torch.Generator, draws: Draws
    ) -> Iterator[Batch]:
        if self.backbone.masking is None:
            return super().training_batches(sequences, batch_size=batch_size, generator=generator, draws=draws)
        return masked_batches(
            sequences,
            length=self.length,
            batch_size=batch_size,
            generator=generator,
            masking=self.backbone.masking,
            mask_generator=draws.streams["masks"],
        )

    def loss(self, batch: Batch, draws: Draws) -> Loss:
        shown, negatives = self.drawn(batch, draws)
        return Loss(self.position_losses(shown, negatives, dropout=draws.dropout()))

    def drawn(self, batch: Batch, draws: Draws) -> tuple[Batch, Tensor | None]:
        """What is drawn for a training step, whatever number of passes it takes: the batch as the backbone is shown it,
        and the negatives, where the objective wants some.
        """
        negatives = None
        if count := self.objective.negatives:
            shared = self.objective.shares_negatives
            negatives = draws.shared_negatives(count) if shared else draws.negatives(batch.events(batch.users), count)
        return self.backbone.training_view(batch, draws), negatives

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
        hidden = self.backbone.event_states(batch, dropout=dropout, gate=gate)
        table = self.backbone.item_table()
        device = hidden.device.type
        lower = torch.is_autocast_enabled(device) and self.objective.lowers_precision
        with torch.autocast(device, dtype=torch.get_autocast_dtype(device), enabled=lower):
            return self.objective(hidden.to(table.dtype), table, batch.events(batch.targets), negatives)

    def query(self, batch: Batch, *, gate: AttentionMask | None = None) -> Tensor:
        if self.backbone.masking is not None:
            batch = replace(batch, bidirectional=True)
        return self.backbone.end_states(batch, gate=gate)

    def item_table(self) -> Tensor:
        return self.backbone.item_table()


class AroundNextItem(Recommender):
    """A recommender that has `base` read logs as it would alone, and its item table; how it trains and ranks is its
    own.
    """

    def __init__(self, base: NextItem) -> None:
        super().__init__()
        self.base = base
        self.length = base.length
        self.needs = base.needs
        self.appended = base.appended

    def prepare(self, sequences: Sequences) -> None:
        self.base.prepare(sequences)

    def row_tables(self) -> tuple[nn.Embedding, ...]:
        return self.base.row_tables()

    def training_batches(
        self, sequences: Sequences, *, batch_size: int, generator: torch.Generator, draws: Draws
    ) -> Iterator[Batch]:
        return self.base.training_batches(sequences, batch_size=batch_size, generator=generator, draws=draws)

    def item_table(self) -> Tensor:
        return self.base.item_table()
