"""Masks that learn nothing, on the seam that gates use: what a learned gate has to beat.

FixedRandom: cells drawn once. HeadDrop (Zhou et al. 2020) and LayerDrop (Fan et al. 2020): heads, or a layer's whole
attention, left out at random in training. TopK (Gupta et al. 2021): each position looks at its k likeliest only.
"""

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from models.engine.batches import Batch
from models.networks.attention import AttentionMask, GateContext
from models.networks.backbone import AroundNextItem, NextItem
from models.recommender import Draws, Loss


class Control(Protocol):
    """How attention is masked in training and in use."""

    def in_training(self, draws: Draws) -> AttentionMask:
        """The mask of one step."""

    def in_use(self, context: GateContext) -> Tensor:
        """The factors of the attention when the model is used."""


class Controlled(AroundNextItem):
    """A next-item recommender under a mask that needs no estimator."""

    def __init__(self, base: NextItem, control: Control) -> None:
        super().__init__(base)
        self.control = control

    def loss(self, batch: Batch, draws: Draws) -> Loss:
        batch, negatives = self.base.drawn(batch, draws)
        mask = self.control.in_training(draws)
        return Loss(self.base.position_losses(batch, negatives, dropout=draws.dropout(), gate=mask))

    def query(self, batch: Batch) -> Tensor:
        return self.base.query(batch, gate=self.control.in_use)

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """What a control learns is no weight: it learns at the network's rate and does not decay."""
        groups = self.base.parameter_groups(learning_rate)
        if not isinstance(self.control, nn.Module) or not (own := list(self.control.parameters())):
            return groups
        return [*groups, {"params": own, "lr": learning_rate, "rate": 1.0, "weight_decay": 0.0}]


class FixedRandom(nn.Module):
    """A mask over pairs of positions, each cell kept with probability `keep`, drawn once from torch's generator when it
    is made; the same in training and in use, and nothing is renormalised.
    """

    cells: Tensor

    def __init__(self, *, layers: int, length: int, keep: float) -> None:
        super().__init__()
        self.register_buffer("cells", (torch.rand(layers, length, length) < keep).float())

    def in_training(self, draws: Draws) -> AttentionMask:
        return self.in_use

    def in_use(self, context: GateContext) -> Tensor:
        pairs = context.batch.position_pairs
        return self.cells[context.layer].flatten()[pairs][:, None]


class HeadDrop:
    """Each head of each row is kept with probability `keep` in training, and scaled by 1 / keep; all are in use."""

    def __init__(self, *, keep: float) -> None:
        self.keep = keep

    def in_training(self, draws: Draws) -> AttentionMask:
        def mask(context: GateContext) -> Tensor:
            rows, heads = context.attention.shape[:2]
            return (draws.uniforms(rows, heads, 1, 1) < self.keep).float() / self.keep

        return mask

    def in_use(self, context: GateContext) -> Tensor:
        return context.attention.new_ones(())


class LayerDrop:
    """Each layer's attention is kept with probability `keep` in a training step, unscaled; all are in use."""

    def __init__(self, *, keep: float) -> None:
        self.keep = keep

    def in_training(self, draws: Draws) -> AttentionMask:
        return lambda context: (draws.uniforms(1) < self.keep).float()

    def in_use(self, context: GateContext) -> Tensor:
        return context.attention.new_ones(())


class TopK:
    """The `count` likeliest cells of each row, and those as likely as the last of them, with the attention of the rest
    shared out among them in proportion, as if the softmax had been over them alone.
    """

    def __init__(self, *, count: int) -> None:
        self.count = count

    def in_training(self, draws: Draws) -> AttentionMask:
        return self.in_use

    def in_use(self, context: GateContext) -> Tensor:
        attention = context.attention
        count = min(self.count, attention.shape[-1])
        least = attention.detach().topk(count, dim=-1).values[..., -1:]
        return over_kept(attention, attention >= least)


def over_kept(attention: Tensor, kept: Tensor) -> Tensor:
    """The factors that make of a softmax one over the `kept` cells alone. Both [rows, heads, length, length], `kept`
    of bools and broadcastable.
    """
    factors = kept.to(attention.dtype)
    total = (attention * factors).sum(-1, keepdim=True)
    return factors / total.clamp(min=torch.finfo(attention.dtype).tiny)
