"""Rec-Denoiser (Chen et al., *Denoising Self-Attentive Sequential Recommendation*, RecSys 2022) on any backbone."""

import contextlib
from collections.abc import Sequence
from statistics import fmean
from typing import Any, Literal

import torch
from torch import Tensor

from models.denoising.estimators import Estimator, Evaluate
from models.denoising.gates import COLLAPSED_BELOW, Gate
from models.denoising.jacobian import JacobianPenalty, Trace, traced
from models.engine.batches import Batch
from models.networks.attention import AttentionMask, GateContext
from models.networks.backbone import AroundNextItem, NextItem
from models.recommender import Draws, Loss

Passes = Literal["apart", "stacked"]


class Denoised(AroundNextItem):
    """A next-item recommender whose attention passes through a trainable binary gate.

    Objective: loss + β · keep-probability of visible cells (their sum, as published, or their mean) + γ · R_J (see
    `models.denoising.jacobian`). At inference the estimator's mask takes the draws' place, for ARM and its kin the
    paper's: the keep-probabilities themselves, those of at most one half set to zero.

    `passes` says how an estimator's several passes run: "apart", those that train nothing without a graph, or
    "stacked", as one batch of so many copies. They compute the same, up to rounding: in both the first pass alone
    trains the weights. Stacked, the other copies' rows go through the backward pass too, with zeros, which costs more
    where arithmetic is what takes the time (on a CPU) and may cost less where starting kernels is.
    """

    def __init__(
        self,
        base: NextItem,
        gate: Gate | None,
        estimator: Estimator | None,
        jacobian: JacobianPenalty | None = None,
        *,
        beta: float = 0.0,
        beta_on: Literal["sum", "mean"] = "mean",
        gate_rate: float = 1.0,
        passes: Passes = "apart",
    ) -> None:
        """`gate` and `estimator` come together or not at all; a gate must be a module, so that its parameters train
        with the backbone's, at `gate_rate` times its learning rate.
        """
        if (gate is None) != (estimator is None):
            raise ValueError("a gate needs an estimator, and an estimator a gate")
        super().__init__(base)
        self.gate = gate
        self.estimator = estimator
        self.jacobian = jacobian
        self.beta = beta
        self.beta_on = beta_on
        self.gate_rate = gate_rate
        self.passes = passes

    def loss(self, batch: Batch, draws: Draws) -> Loss:
        jacobian = self.jacobian if self.jacobian is not None and self.jacobian.due(draws.step) else None
        trace: Trace | None = None if jacobian is None else []
        batch, negatives = self.base.drawn(batch, draws)
        evaluate = self._evaluate(batch, negatives, draws, trace)
        penalties: dict[str, Tensor] = {}
        surrogates: dict[str, Tensor] = {}
        if self.gate is None or self.estimator is None:
            (losses,) = evaluate([None])
        else:
            with self.gate.holding(batch):
                estimate = self.estimator(
                    evaluate, self.gate, batch, uniforms=draws.uniforms, layers=self.base.backbone.layers
                )
                losses = estimate.losses
                if estimate.surrogate is not None:
                    surrogates["gate"] = estimate.surrogate
                if self.beta:
                    penalty = self.gate.penalty(batch, self.estimator, on=self.beta_on)
                    penalties["gate"] = self.beta * penalty
                if (lesson := self.gate.lesson(batch, draws.uniforms)) is not None:
                    penalties["lesson"] = lesson
                self.gate.observe(batch, self.estimator)
        if jacobian is not None and trace is not None:
            penalties["jacobian"] = jacobian(trace, batch, normals=draws.normals)
        return Loss(losses, penalties=penalties, surrogates=surrogates)

    def query(self, batch: Batch) -> Tensor:
        return self.base.query(batch, gate=None if self.gate is None else self._inference_mask)

    def diagnostics(self) -> dict[str, float]:
        if self.gate is None or self.estimator is None:
            return {}
        return self.gate.diagnostics(self.estimator) | {"gate.collapsed": float(self.collapsed())}

    def collapsed(self) -> bool:
        return bool(self._closed)

    def warnings(self) -> tuple[str, ...]:
        shares, closed = self._open_shares, self._closed
        if not closed:
            return ()
        if len(closed) == len(shares):
            told = f"The gate has collapsed and attention is all but off: {fmean(shares):.1%}"
        else:
            where = f"layer{'s' if len(closed) > 1 else ''} {', '.join(str(layer) for layer in closed)}"
            told = f"The gate has collapsed in {where}, whose attention is all but off: there at most "
            told += f"{max(shares[layer - 1] for layer in closed):.1%}"
        advice = " A smaller beta may prevent it." if self.beta else ""
        return (f"{told} of the visible cells are open.{advice}",)

    @property
    def _closed(self) -> tuple[int, ...]:
        """The layers, from 1 on, that next to nothing passes any more."""
        return tuple(layer for layer, share in enumerate(self._open_shares, 1) if share < COLLAPSED_BELOW)

    @property
    def _open_shares(self) -> tuple[float, ...]:
        if self.gate is None or self.estimator is None:
            return ()
        return self.gate.open_shares(self.estimator)

    @torch.no_grad()
    def explain(self, batch: Batch) -> dict[str, Tensor]:
        """What the gate does with the batch's events; empty without a gate.

        attention: [layers, rows, heads, length, length], before the gate
        gate: [layers, rows, heads or 1, length, length], the keep-probabilities; 0 where nothing is visible
        mask: like `gate`, the factors that attention is multiplied by
        keep: [rows, length], each event's keep-probability, the mean over layers, heads and positions that see it
        """
        gate, estimator = self.gate, self.estimator
        if gate is None or estimator is None:
            return {}
        visible = batch.visible[:, None].float()
        parts: dict[str, list[Tensor]] = {"attention": [], "gate": [], "mask": []}

        def record(context: GateContext) -> Tensor:
            nonlocal visible
            visible = context.batch.visible[:, None].float()
            mask = self._inference_mask(context)
            parts["attention"].append(context.attention * visible)
            parts["gate"].append(estimator.keep(gate.logits(context)) * visible)
            parts["mask"].append(mask * visible)
            return mask

        self.base.query(batch, gate=record)
        stacked = {name: torch.stack(layers) for name, layers in parts.items()}
        seen_by = visible.sum((1, 2)).clamp(min=1)
        return stacked | {"keep": stacked["gate"].mean((0, 2)).sum(1) / seen_by}

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """A gate's logits do not decay: that would draw every keep-probability towards one half, which is no prior that
        anybody asked for beside β.
        """
        groups = self.base.parameter_groups(learning_rate)
        own = [parameter for name, parameter in self.named_parameters() if name.startswith("gate.")]
        if not own:
            return groups
        rate = self.gate_rate
        return [*groups, {"params": own, "lr": learning_rate * rate, "rate": rate, "weight_decay": 0.0}]

    def _inference_mask(self, context: GateContext) -> Tensor:
        assert self.gate is not None
        assert self.estimator is not None
        return self.estimator.inference(self.gate.logits(context))

    def _evaluate(self, batch: Batch, negatives: Tensor | None, draws: Draws, trace: Trace | None) -> Evaluate:
        """Passes that share dropout and negatives; the first, which can be differentiated, fills `trace`."""
        shared = self.base.objective.shares_negatives

        def apart(masks: Sequence[AttentionMask | None]) -> list[Tensor]:
            dropout = draws.dropout()
            losses = []
            for number, mask in enumerate(masks):
                dropout.rewind()
                with torch.set_grad_enabled(number == 0), self._recorded(trace if number == 0 else None):
                    losses.append(self.base.position_losses(batch, negatives, dropout=dropout, gate=mask))
            return losses

        def stacked(masks: Sequence[AttentionMask | None]) -> list[Tensor]:
            copies = len(masks)
            with self._recorded(trace):
                losses = self.base.position_losses(
                    batch.stacked(copies),
                    negatives if negatives is None or shared else negatives.repeat(copies, 1),
                    dropout=draws.dropout(copies=copies),
                    gate=side_by_side([mask for mask in masks if mask is not None], batch),
                )
            return list(losses.split(len(batch.cells)))

        return lambda masks: apart(masks) if self.passes == "apart" or len(masks) == 1 else stacked(masks)

    def _recorded(self, trace: Trace | None) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if trace is None else traced(self.base.backbone.blocks, trace)


def side_by_side(masks: Sequence[AttentionMask], batch: Batch) -> AttentionMask:
    """The mask of a stacked batch: to each copy of `batch` its own, asked for in their order."""

    def mask(context: GateContext) -> Tensor:
        rows = len(batch.items)
        return torch.cat(
            [
                own(
                    GateContext(
                        q=context.q[part],
                        k=context.k[part],
                        attention=context.attention[part],
                        batch=batch,
                        layer=context.layer,
                    )
                )
                for number, own in enumerate(masks)
                for part in [slice(number * rows, (number + 1) * rows)]
            ]
        )

    return mask
