"""Gradient estimators for binary gates.

An estimator turns a gate's logits into masks, says which pass trains the network's weights, and supplies the gate's
gradient, as a surrogate term or through the masks themselves.

Score-function estimators (ARM, AR, REINFORCE) are made of two choices: the formula, and how credit is given. With
`BatchCredit` one mask a layer is drawn for the whole batch and weighed by the batch's mean loss, as published. With
`TokenCredit` every window draws its own, and a cell is weighed by the losses that it can reach.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from models.denoising.gates import Gate, Reading, SharedGate
from models.engine.batches import Batch
from models.networks.attention import AttentionMask, GateContext

Evaluate = Callable[[Sequence[AttentionMask | None]], list[Tensor]]
"""Runs the network once under each mask and returns the losses, [events] each. The passes share dropout and negatives;
only the first can be differentiated."""

Uniforms = Callable[..., Tensor]
"""`uniforms(*shape)` draws numbers in (0, 1)."""


@dataclass(frozen=True)
class Estimate:
    """losses: [events], with gradients for the network's weights; surrogate: scalar with the gate's gradient, or None
    where that comes with the losses.
    """

    losses: Tensor
    surrogate: Tensor | None = None


class Estimator(Reading, Protocol):
    """How gradients reach a gate."""

    def __call__(self, evaluate: Evaluate, gate: Gate, batch: Batch, *, uniforms: Uniforms, layers: int) -> Estimate:
        """One step's losses and gradients."""


class Credit(Protocol):
    """At what grain masks are drawn and losses are given back to cells."""

    def logits(self, gate: Gate, context: GateContext) -> Tensor:
        """The logits of what is drawn: one number for each."""

    def cells(self, drawn: Tensor, gate: Gate, batch: Batch) -> Tensor:
        """From what is drawn to the factors of the attention cells."""

    def weights(self, losses: Tensor, gate: Gate, batch: Batch, *, last: bool) -> Tensor:
        """losses [events] → what each draw of a layer is weighed by, so that a sum of them belongs to the mean loss.

        `last`: it is the network's last layer.
        """


class BatchCredit:
    """One draw for each of the gate's own logits; every one that the batch can see is weighed by its mean loss."""

    def logits(self, gate: Gate, context: GateContext) -> Tensor:
        return _shared(gate).table(context.layer)

    def cells(self, drawn: Tensor, gate: Gate, batch: Batch) -> Tensor:
        return _shared(gate).spread(drawn, batch)

    def weights(self, losses: Tensor, gate: Gate, batch: Batch, *, last: bool) -> Tensor:
        return losses.mean() * (_shared(gate).counts(batch) > 0)


class TokenCredit:
    """One draw for each cell of each window, weighed by the losses that it reaches.

    A cell in row t of a layer changes that layer's output at t and nothing else. Above the last layer each position is
    on its own, so that there the cell reaches the loss at t alone; below, any layer may carry it to the positions that
    see t, and no further, since seeing is transitive: with causal attention what sees what sees t comes later still,
    with bidirectional attention all of a window sees all of it. A draw is independent of the losses that its cell does
    not reach, so leaving them out takes terms of expectation zero away: the credit is exact in both directions.
    """

    def logits(self, gate: Gate, context: GateContext) -> Tensor:
        return gate.logits(context)

    def cells(self, drawn: Tensor, gate: Gate, batch: Batch) -> Tensor:
        return drawn

    def weights(self, losses: Tensor, gate: Gate, batch: Batch, *, last: bool) -> Tensor:
        visible = batch.visible.view(torch.uint8).to(losses.dtype)  # many times faster than from bools
        at_own = batch.grid(losses / len(losses))
        reached = at_own if last else (at_own[:, None, :] @ visible).squeeze(1)
        return (reached[:, :, None] * visible)[:, None]


class _Binary:
    """Masks Z ~ Bernoulli(σ(φ))."""

    def keep(self, logits: Tensor) -> Tensor:
        return torch.sigmoid(logits)

    def inference(self, logits: Tensor) -> Tensor:
        """σ(φ), and 0 where that is at most one half (the paper's)."""
        keep = torch.sigmoid(logits)
        return torch.where(keep > 0.5, keep, 0.0)


@dataclass(frozen=True)
class Arm(_Binary):
    """Augment–REINFORCE–merge (Yin & Zhou 2019; Rec-Denoiser, eq. 10).

    With Z₁ = 1[U > σ(−φ)] and Z₂ = 1[U < σ(φ)], the gradient for a logit φ is E[(L(Z₁) − L(Z₂)) (U − ½)].

    Both masks have the gate's distribution, so either pass gives unbiased gradients for the weights: the pass under Z₂
    trains them. The logits must not depend on sampled masks.
    """

    credit: Credit

    def __call__(self, evaluate: Evaluate, gate: Gate, batch: Batch, *, uniforms: Uniforms, layers: int) -> Estimate:
        draws = _Draws(self.credit, gate, uniforms)
        trained, other = evaluate([draws.below, draws.above])
        difference = (other - trained).detach()
        factors = {layer: drawn - 0.5 for layer, drawn in draws.uniform.items()}
        return Estimate(trained, draws.surrogate(difference, factors, batch, layers=layers))


@dataclass(frozen=True)
class Ar(_Binary):
    """Augment–REINFORCE (Rec-Denoiser, eq. 11): one pass, under Z = 1[U < σ(φ)], and the gradient L(Z) (1 − 2U)."""

    credit: Credit

    def __call__(self, evaluate: Evaluate, gate: Gate, batch: Batch, *, uniforms: Uniforms, layers: int) -> Estimate:
        draws = _Draws(self.credit, gate, uniforms)
        (losses,) = evaluate([draws.below])
        factors = {layer: 1 - 2 * drawn for layer, drawn in draws.uniform.items()}
        return Estimate(losses, draws.surrogate(losses.detach(), factors, batch, layers=layers))


class Reinforce(nn.Module, _Binary):
    """(L(Z) − b) (Z − σ(φ)), where the baseline b is a running mean of the losses of earlier steps (Williams 1992)."""

    total: Tensor
    weight: Tensor

    def __init__(self, credit: Credit, *, memory: float = 0.9) -> None:
        super().__init__()
        self.credit = credit
        self.memory = memory
        self.register_buffer("total", torch.zeros(()))
        self.register_buffer("weight", torch.zeros(()))

    def __call__(self, evaluate: Evaluate, gate: Gate, batch: Batch, *, uniforms: Uniforms, layers: int) -> Estimate:
        draws = _Draws(self.credit, gate, uniforms)
        (losses,) = evaluate([draws.below])
        known = losses.detach()
        # The step's own losses have no part in its baseline, which would bias the gradient; the first step has none.
        advantage = known - self.total / self.weight.clamp(min=1e-12)
        factors = {
            layer: (drawn < keep).to(drawn.dtype) - keep
            for layer, drawn in draws.uniform.items()
            for keep in [draws.keep[layer]]
        }
        surrogate = draws.surrogate(advantage, factors, batch, layers=layers)
        self.total.mul_(self.memory).add_(known.mean(), alpha=1 - self.memory)
        self.weight.mul_(self.memory).add_(1 - self.memory)
        return Estimate(losses, surrogate)


class StraightThrough(_Binary):
    """Forward 1[U < σ(φ)], backward as if it were σ(φ) (Bengio et al. 2013): biased, one pass, any gate."""

    def __call__(self, evaluate: Evaluate, gate: Gate, batch: Batch, *, uniforms: Uniforms, layers: int) -> Estimate:
        def mask(context: GateContext) -> Tensor:
            keep = torch.sigmoid(gate.logits(context))
            drawn = (uniforms(*keep.shape) < keep).to(keep.dtype)
            return drawn + (keep - keep.detach())

        (losses,) = evaluate([mask])
        return Estimate(losses)


@dataclass(frozen=True)
class HardConcrete:
    """Masks in [0, 1] with mass at both ends, a differentiable function of U (Louizos et al. 2018).

    Z = clamp(s (ζ − γ) + γ, 0, 1) with s = σ((logit U + φ) / temperature) and the stretch γ < 0, ζ > 1. The penalty
    is on P(Z > 0) = σ(φ − temperature · log(−γ/ζ)); when the model is used, s = σ(φ) takes the draw's place.
    """

    temperature: float = 2 / 3
    low: float = -0.1
    high: float = 1.1

    def keep(self, logits: Tensor) -> Tensor:
        return torch.sigmoid(logits - self.temperature * math.log(-self.low / self.high))

    def inference(self, logits: Tensor) -> Tensor:
        return self._stretched(torch.sigmoid(logits))

    def __call__(self, evaluate: Evaluate, gate: Gate, batch: Batch, *, uniforms: Uniforms, layers: int) -> Estimate:
        def mask(context: GateContext) -> Tensor:
            logits = gate.logits(context)
            return self._stretched(torch.sigmoid((torch.logit(uniforms(*logits.shape)) + logits) / self.temperature))

        (losses,) = evaluate([mask])
        return Estimate(losses)

    def _stretched(self, soft: Tensor) -> Tensor:
        return (soft * (self.high - self.low) + self.low).clamp(0, 1)


@dataclass(frozen=True)
class _Draws:
    """The uniforms, logits and keep-probabilities of one step, by layer, and the masks made of them."""

    credit: Credit
    gate: Gate
    uniforms: Uniforms
    uniform: dict[int, Tensor] = field(default_factory=dict)
    logits: dict[int, Tensor] = field(default_factory=dict)
    keep: dict[int, Tensor] = field(default_factory=dict)

    def below(self, context: GateContext) -> Tensor:
        """1[U < σ(φ)]: draws, and has to be asked before `above` is."""
        logits = self.credit.logits(self.gate, context)
        drawn = self.uniforms(*logits.shape)
        self.logits[context.layer], self.uniform[context.layer] = logits, drawn
        keep = self.keep[context.layer] = torch.sigmoid(logits.detach())
        return self._cells(torch.lt(drawn, keep, out=torch.empty_like(drawn)), context)

    def above(self, context: GateContext) -> Tensor:
        """1[U > σ(−φ)], with the same U."""
        drawn = self.uniform[context.layer]
        return self._cells(torch.gt(drawn, 1 - self.keep[context.layer], out=torch.empty_like(drawn)), context)

    def surrogate(self, losses: Tensor, factors: dict[int, Tensor], batch: Batch, *, layers: int) -> Tensor:
        """A scalar whose gradient is, for each logit, what its draw is weighed by × its factor."""
        total = losses.new_zeros(())
        for layer, logits in self.logits.items():
            with torch.no_grad():
                weights = self.credit.weights(losses, self.gate, batch, last=layer == layers - 1) * factors[layer]
            total = total + (weights * logits).sum()
        return total

    def _cells(self, kept: Tensor, context: GateContext) -> Tensor:
        return self.credit.cells(kept, self.gate, context.batch)


def _shared(gate: Gate) -> SharedGate:
    if not isinstance(gate, SharedGate):
        raise TypeError(f"one mask for a whole batch needs logits that are shared, which {type(gate).__name__} has not")
    return gate
