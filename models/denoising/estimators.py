"""Gradient estimators for binary gates.

An estimator turns a gate's keep-probabilities into masks, says which pass trains the network's weights, and
supplies the gate's gradient as a surrogate term.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from models.denoising.gates import Gate
from models.engine.batches import Batch
from models.networks.attention import AttentionMask, GateContext

Evaluate = Callable[[AttentionMask], Tensor]
"""Runs the network under a mask and returns its losses, [events]. Calls share dropout and negatives."""


@dataclass(frozen=True)
class Estimate:
    """losses: [events], with gradients for the network's weights; surrogate: scalar, with those for the gate."""

    losses: Tensor
    surrogate: Tensor


class Estimator(Protocol):
    """How gradients reach a gate."""

    def __call__(
        self, evaluate: Evaluate, gate: Gate, batch: Batch, *, uniforms: Callable[..., Tensor], layers: int
    ) -> Estimate:
        """`uniforms(*shape)` draws numbers in (0, 1)."""


@dataclass(frozen=True)
class PerTokenArm:
    """Augment–REINFORCE–merge (Rec-Denoiser, eq. 10) with credit by token.

    With Z₁ = 1[U > σ(−φ)] and Z₂ = 1[U < σ(φ)], the gradient for a logit φ is E[(L(Z₁) − L(Z₂)) (U − ½)]. Terms of
    L that a cell cannot reach have expectation zero there and are left out: a cell in row t of the last layer
    reaches only the loss at t; one in a lower layer, through causal attention, the losses at t and after.

    Both masks have the gate's distribution, so either pass gives unbiased gradients for the weights: the pass
    under Z₂ trains them, and the one under Z₁ keeps no graph. The logits must not depend on sampled masks.
    """

    def __call__(
        self, evaluate: Evaluate, gate: Gate, batch: Batch, *, uniforms: Callable[..., Tensor], layers: int
    ) -> Estimate:
        rows, length = batch.items.shape
        drawn = uniforms(layers, rows, 1, length, length)
        logits: dict[int, Tensor] = {}

        def below(context: GateContext) -> Tensor:
            logits[context.layer] = gate.logits(context)
            return (drawn[context.layer] < torch.sigmoid(logits[context.layer])).to(drawn.dtype)

        def above(context: GateContext) -> Tensor:
            return (drawn[context.layer] > torch.sigmoid(-logits[context.layer])).to(drawn.dtype)

        losses = evaluate(below)
        with torch.no_grad():
            difference = batch.grid(evaluate(above) - losses)
            visible = batch.visible.to(drawn.dtype)
            later = (difference[:, None, :] @ visible).squeeze(1)

        surrogate = drawn.new_zeros(())
        for layer, layer_logits in logits.items():
            credit = difference if layer == layers - 1 else later
            weights = credit[:, :, None] * (drawn[layer, :, 0] - 0.5) * visible
            surrogate = surrogate + (weights[:, None] * layer_logits).sum()
        return Estimate(losses, surrogate / len(losses))
