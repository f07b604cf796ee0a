"""Attention that is sparse by itself, on the seam that gates use: what a learned gate is compared with.

FixedPattern: Sparse Transformer's fixed pattern (Child et al. 2019, §4.3). AdaptivelySparse: α-entmax in the softmax's
place with an α learned by each head (Correia, Niculae & Martins, EMNLP 2019).
"""

import math

import torch
from torch import Tensor, nn

from models.denoising.controls import over_kept
from models.networks.attention import AttentionMask, GateContext
from models.recommender import Draws

LEAST_ALPHA = 1.05
"""Nearer to 1, a cell may keep attention that the softmax's own is too small a number to be scaled to."""
HALVINGS = 30
"""Of the interval in which α-entmax looks for its threshold: more do not change a float32."""


class FixedPattern:
    """Each position sees its own block of `stride` positions, and of the other blocks the last `width`; what it sees
    besides of a window is what the backbone lets it see, so that with causal attention these are the earlier blocks.

    One head sees both parts (the paper's merged pattern), with the softmax over them alone. Blocks are counted from
    the first position of a window of full length.
    """

    def __init__(self, *, stride: int, width: int) -> None:
        self.stride = stride
        self.width = width

    def in_training(self, draws: Draws) -> AttentionMask:
        return self.in_use

    def in_use(self, context: GateContext) -> Tensor:
        places = context.batch.positions
        blocks = places // self.stride
        own = blocks[:, :, None] == blocks[:, None, :]
        last = (places % self.stride >= self.stride - self.width)[:, None, :]
        return over_kept(context.attention, (own | last)[:, None])


class AdaptivelySparse(nn.Module):
    """α-entmax of the scores, with α = 1.05 + 0.95 σ(a) and a trained logit a for each head of each layer."""

    def __init__(self, *, layers: int, heads: int, alpha: float) -> None:
        """`alpha` is where every head begins, between 1.05 and 2."""
        super().__init__()
        start = (alpha - LEAST_ALPHA) / (2 - LEAST_ALPHA)
        self.logits = nn.Parameter(torch.full((layers, heads), math.log(start / (1 - start))))

    def alphas(self) -> Tensor:
        """[layers, heads]."""
        return LEAST_ALPHA + (2 - LEAST_ALPHA) * torch.sigmoid(self.logits)

    def in_training(self, draws: Draws) -> AttentionMask:
        return self.in_use

    def in_use(self, context: GateContext) -> Tensor:
        """The factors that make α-entmax of the softmax. Entmax does not feel what is added to a whole row, so the
        softmax's logarithm serves as the scores.
        """
        attention = context.attention
        there = attention > 0
        divisors = torch.where(there, attention, 1.0)
        scores = torch.where(there, divisors.log(), -torch.inf)
        return alpha_entmax(scores, self.alphas()[context.layer][:, None, None]) / divisors


def alpha_entmax(scores: Tensor, alpha: Tensor) -> Tensor:
    """p = [(α − 1) scores − τ]₊^(1 / (α − 1)) with Σ p = 1 over the last dimension: the softmax as α falls to 1, for
    α = 2 the sparsemax.

    scores: […, n]; −∞ gets nothing, and a row of nothing else gets zeros. alpha: broadcastable to […, 1], above 1.
    """
    from entmax import entmax_bisect

    some = (scores > -torch.inf).any(dim=-1, keepdim=True)
    given = torch.where(some, scores, 0.0)
    shares = entmax_bisect(given, alpha=alpha.expand(*scores.shape[:-1], 1), dim=-1, n_iter=HALVINGS)
    return torch.where(some, shares, 0.0)
