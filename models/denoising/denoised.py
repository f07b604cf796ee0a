"""Rec-Denoiser (Chen et al., *Denoising Self-Attentive Sequential Recommendation*, RecSys 2022) on any backbone."""

from collections.abc import Iterator

import torch
from torch import Tensor

from models.denoising.estimators import Estimator
from models.denoising.gates import Gate
from models.engine.batches import Batch
from models.engine.sequences import Sequences
from models.networks.attention import AttentionMask, GateContext
from models.networks.backbone import NextItem
from models.recommender import Draws, Loss, Recommender


class Denoised(Recommender):
    """A next-item recommender whose attention passes through a trainable binary gate.

    Beside the paper: credit by token in place of the batch's loss, β on the mean of σ(Φ) in place of its sum,
    Φ₀ = +2 in place of 0, and no Jacobian term yet.

    Objective: loss + β · mean keep-probability over visible cells. At inference the keep-probabilities themselves
    are the mask, those of at most one half set to zero.
    """

    def __init__(self, base: NextItem, gate: Gate, estimator: Estimator, *, beta: float) -> None:
        """`gate` must be a module, so that its parameters train with the backbone's."""
        super().__init__()
        self.base = base
        self.gate = gate
        self.estimator = estimator
        self.beta = beta
        self.length = base.length
        self.needs = base.needs
        self.appended = base.appended

    def prepare(self, sequences: Sequences) -> None:
        self.base.prepare(sequences)

    def training_batches(
        self, sequences: Sequences, *, batch_size: int, generator: torch.Generator, draws: Draws
    ) -> Iterator[Batch]:
        return self.base.training_batches(sequences, batch_size=batch_size, generator=generator, draws=draws)

    def loss(self, batch: Batch, draws: Draws) -> Loss:
        batch, negatives = self.base.drawn(batch, draws)
        dropout = draws.dropout()

        def evaluate(mask: AttentionMask) -> Tensor:
            dropout.rewind()
            return self.base.position_losses(batch, negatives, dropout=dropout, gate=mask)

        estimate = self.estimator(evaluate, self.gate, batch, uniforms=draws.uniforms, layers=self.base.backbone.layers)
        penalty = self.beta * self.gate.penalty(batch)
        return Loss(estimate.losses, penalties={"gate": penalty}, surrogates={"gate": estimate.surrogate})

    def query(self, batch: Batch) -> Tensor:
        return self.base.query(batch, gate=self._inference_mask)

    def item_table(self) -> Tensor:
        return self.base.item_table()

    def diagnostics(self) -> dict[str, float]:
        return self.gate.diagnostics()

    def _inference_mask(self, context: GateContext) -> Tensor:
        keep = torch.sigmoid(self.gate.logits(context))
        return torch.where(keep > 0.5, keep, 0.0)
