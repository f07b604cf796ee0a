"""Gates: how likely each cell of the attention matrix is to be kept."""

from typing import Protocol

import torch
from torch import Tensor, nn

from models.engine.batches import Batch
from models.networks.attention import GateContext


class Gate(Protocol):
    """Keep-logits for attention cells. A gate knows no backbone."""

    def logits(self, context: GateContext) -> Tensor:
        """Logits of the keep-probabilities, broadcastable to [rows, heads, length, length]."""

    def penalty(self, batch: Batch) -> Tensor:
        """The mean keep-probability over layers and visible cells: a scalar with a gradient."""

    def diagnostics(self) -> dict[str, float]:
        """Figures worth a curve."""


class PositionalGate(nn.Module):
    """Rec-Denoiser's mask: one matrix Φ [length, length] a layer, shared by users and heads (its eq. 6).

    Indexed by the positions of query and key, so that a packed window meets the cells it would have met in a row
    of its own. It has no input: it prunes pairs of positions, the same for everyone.
    """

    def __init__(self, *, layers: int, length: int, initial_logit: float) -> None:
        super().__init__()
        self.phi = nn.Parameter(torch.full((layers, length, length), float(initial_logit)))

    def logits(self, context: GateContext) -> Tensor:
        batch = context.batch
        cells = _position_pairs(batch)
        flat = self.phi[context.layer].flatten().gather(0, cells.flatten())
        return flat.view(cells.shape)[:, None]

    def penalty(self, batch: Batch) -> Tensor:
        counts = torch.zeros_like(self.phi[0]).flatten()
        counts.scatter_add_(0, _position_pairs(batch).flatten(), batch.visible.flatten().to(counts.dtype))
        layers = len(self.phi)
        return (torch.sigmoid(self.phi).flatten(1) @ counts).sum() / (layers * counts.sum())

    def diagnostics(self) -> dict[str, float]:
        """Mean keep-probability and share of cells left open at inference, over the causal cells."""
        causal = torch.ones_like(self.phi[0], dtype=torch.bool).tril()
        keep = torch.sigmoid(self.phi.detach())[:, causal]
        return {"gate.mean_keep": float(keep.mean()), "gate.open_share": float((keep > 0.5).float().mean())}


def _position_pairs(batch: Batch) -> Tensor:
    """[rows, length, length] int64: the flat index (position of the query) × length + (position of the key)."""
    length = batch.items.shape[1]
    return batch.positions[:, :, None] * length + batch.positions[:, None, :]
