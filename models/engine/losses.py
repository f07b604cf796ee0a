"""Next-item objectives: from hidden states to one loss a position.

Every objective maps `(hidden [n, dim], table [items + 1, dim], targets [n], negatives [n, k] or None)` to
`[n]`, and says how many negatives a position it wants.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class Objective(Protocol):
    """A loss over next items."""

    @property
    def negatives(self) -> int:
        """How many negatives a position it wants; 0 for none."""

    def __call__(self, hidden: Tensor, table: Tensor, targets: Tensor, negatives: Tensor | None) -> Tensor:
        """One loss a position, [n]."""


@dataclass(frozen=True)
class BinaryCrossEntropy:
    """SASRec's loss: −log σ(positive) − Σ log(1 − σ(negative)) (Kang & McAuley 2018, eq. 7)."""

    negatives: int = 1

    def __call__(self, hidden: Tensor, table: Tensor, targets: Tensor, negatives: Tensor | None) -> Tensor:
        if negatives is None:
            raise ValueError("binary cross-entropy needs negatives")
        candidates = torch.cat([targets[:, None], negatives], dim=1)
        logits = torch.bmm(F.embedding(candidates, table), hidden[:, :, None]).squeeze(2)
        return F.softplus(-logits[:, 0]) + F.softplus(logits[:, 1:]).sum(1)


@dataclass(frozen=True)
class FullSoftmax:
    """Cross-entropy over the whole catalogue."""

    negatives: int = 0

    def __call__(self, hidden: Tensor, table: Tensor, targets: Tensor, negatives: Tensor | None) -> Tensor:
        return F.cross_entropy(hidden @ table[1:].T, targets - 1, reduction="none")
