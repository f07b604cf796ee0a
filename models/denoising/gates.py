"""Gates: how likely each cell of the attention matrix is to be kept."""

import contextlib
from collections.abc import Callable
from statistics import fmean
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from models.engine.batches import Batch
from models.networks.attention import GateContext

COLLAPSED_BELOW = 0.02
"""A gate that leaves a smaller share of a layer's visible cells open has switched that layer's attention off."""


class Reading(Protocol):
    """What an estimator takes logits to mean."""

    def keep(self, logits: Tensor) -> Tensor:
        """The probability that a cell is open in training: what the penalty is on."""

    def inference(self, logits: Tensor) -> Tensor:
        """The mask that takes the draws' place when the model is used."""


class Gate(Protocol):
    """Keep-logits for attention cells. A gate knows no backbone."""

    def logits(self, context: GateContext) -> Tensor:
        """Logits of the keep-probabilities, broadcastable to [rows, heads, length, length]."""

    def holding(self, batch: Batch) -> contextlib.AbstractContextManager[None]:
        """While the context lasts, what a training step asks about the batch is computed once, however many layers and
        passes ask; its weights must stay as they are.
        """

    def observe(self, batch: Batch, reading: Reading) -> None:
        """Remember which cells a batch that is trained on can see: the figures below are about such cells."""

    def penalty(self, batch: Batch, reading: Reading, *, on: Literal["sum", "mean"]) -> Tensor:
        """The keep-probability of the cells that the batch can see, a scalar with a gradient.

        "mean": over layers and visible cells. "sum": each of the gate's own cells once, where anyone in the batch can
        see it (Rec-Denoiser, eq. 8, without the cells that play no part).
        """

    def lesson(self, batch: Batch, uniforms: Callable[..., Tensor]) -> Tensor | None:
        """A loss of its own, a scalar with a gradient, from what it can know without being told; None without one.
        `uniforms(*shape)` draws numbers in (0, 1).
        """

    def open_shares(self, reading: Reading) -> tuple[float, ...]:
        """The share of visible cells that are not closed when the model is used, by layer; one of all layers, if they
        share a mask.
        """

    def diagnostics(self, reading: Reading) -> dict[str, float]:
        """Mean keep-probability and open share of the visible cells."""


@runtime_checkable
class SharedGate(Gate, Protocol):
    """A gate with one logit for cells of many users, so that one mask can be drawn for a whole batch."""

    def table(self, layer: int) -> Tensor:
        """The layer's own logits, of any shape."""

    def spread(self, values: Tensor, batch: Batch) -> Tensor:
        """Values of the table's shape → [rows, 1, length, length]: each cell's."""

    def counts(self, batch: Batch) -> Tensor:
        """How many visible cells of the batch each entry of the table stands for, int64 of the table's shape."""


class PositionalGate(nn.Module):
    """Rec-Denoiser's mask: one matrix Φ [length, length] a layer, shared by users and heads (its eq. 6).

    Indexed by the positions of query and key, so that a packed window meets the cells it would have met in a row
    of its own. It has no input: it prunes pairs of positions, the same for everyone.
    """

    seen: Tensor

    def __init__(self, *, layers: int, length: int, initial_logit: float) -> None:
        super().__init__()
        self.phi = nn.Parameter(torch.full((layers, length, length), float(initial_logit)))
        self.register_buffer("seen", torch.zeros(length, length, dtype=torch.int64))

    def logits(self, context: GateContext) -> Tensor:
        return self.spread(self.table(context.layer), context.batch)

    def table(self, layer: int) -> Tensor:
        return self.phi[layer]

    def spread(self, values: Tensor, batch: Batch) -> Tensor:
        cells = batch.position_pairs
        return values.flatten().gather(0, cells.flatten()).view(cells.shape)[:, None]

    def counts(self, batch: Batch) -> Tensor:
        return batch.pair_counts

    def holding(self, batch: Batch) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def observe(self, batch: Batch, reading: Reading) -> None:
        self.seen += self.counts(batch)

    def penalty(self, batch: Batch, reading: Reading, *, on: Literal["sum", "mean"]) -> Tensor:
        counts = self.counts(batch)
        if on == "sum":
            return (reading.keep(self.phi) * (counts > 0)).sum()
        return (reading.keep(self.phi) * counts).sum() / (len(self.phi) * counts.sum())

    def lesson(self, batch: Batch, uniforms: Callable[..., Tensor]) -> None:
        return None

    def open_shares(self, reading: Reading) -> tuple[float, ...]:
        return self._over_seen((reading.inference(self.phi.detach()) > 0).double())

    def diagnostics(self, reading: Reading) -> dict[str, float]:
        mean_keep = fmean(self._over_seen(reading.keep(self.phi.detach()).double()))
        return {"gate.mean_keep": mean_keep, "gate.open_share": fmean(self.open_shares(reading))}

    def _over_seen(self, values: Tensor) -> tuple[float, ...]:
        """By layer the mean of [layers, length, length] over visible cells; of all causal ones before any training."""
        weights = self.seen if bool(self.seen.any()) else torch.ones_like(self.seen).tril()
        return tuple(((values * weights).sum((1, 2)) / weights.sum()).tolist())
