"""Next-item objectives: from hidden states to one loss a position.

Every objective maps `(hidden [n, dim], table [items + 1, dim], targets [n], negatives)` to `[n]`. It says how many
negatives k it wants, and which: [n, k] outside the users' training parts, for each position its own, or [k] of the
whole catalogue, shared by all positions, so that their scores are one product of matrices.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from models.engine.cross_entropy import cross_entropy
from models.engine.rows import RowTable, gathered

DENSE_BELOW = 16
"""A product with the whole table costs less than gathering rows of it up to about so many times their number."""

FAR_BELOW = -1e4
"""The score of what is not to count: finite, so that a position of which nothing counts stays a number."""


class Objective(Protocol):
    """A loss over next items."""

    @property
    def negatives(self) -> int:
        """How many negatives it wants; 0 for none."""

    @property
    def shares_negatives(self) -> bool:
        """Are they [k] of the whole catalogue, or [n, k], each position's own?"""

    @property
    def lowers_precision(self) -> bool:
        """Are its products with the item table in a lower precision where those of the network are?"""

    def __call__(self, hidden: Tensor, table: Tensor, targets: Tensor, negatives: Tensor | None) -> Tensor:
        """One loss a position, [n]."""


@dataclass(frozen=True)
class BinaryCrossEntropy:
    """SASRec's loss: −log σ(positive) − Σ log(1 − σ(negative)) (Kang & McAuley 2018, eq. 7)."""

    negatives: int = 1
    shares_negatives: ClassVar[bool] = False
    lowers_precision: ClassVar[bool] = False

    def __call__(self, hidden: Tensor, table: Tensor, targets: Tensor, negatives: Tensor | None) -> Tensor:
        if negatives is None:
            raise ValueError("binary cross-entropy needs negatives")
        logits = _scores(hidden, table, torch.cat([targets[:, None], negatives], dim=1))
        return F.softplus(-logits[:, 0]) + F.softplus(logits[:, 1:]).sum(1)


@dataclass(frozen=True)
class BayesianPersonalisedRanking:
    """−log σ(positive − negative) (Rendle et al., UAI 2009), the mean over the negatives."""

    negatives: int = 1
    shares_negatives: ClassVar[bool] = False
    lowers_precision: ClassVar[bool] = False

    def __call__(self, hidden: Tensor, table: Tensor, targets: Tensor, negatives: Tensor | None) -> Tensor:
        if negatives is None:
            raise ValueError("the BPR loss needs negatives")
        logits = _scores(hidden, table, torch.cat([targets[:, None], negatives], dim=1))
        return F.softplus(logits[:, 1:] - logits[:, :1]).mean(1)


@dataclass(frozen=True)
class BprMax:
    """GRU4Rec's loss: −log Σ_j s_j σ(positive − negative_j) + penalty · Σ_j s_j negative_j², where s is the softmax of
    the negatives' scores (Hidasi & Karatzoglou, CIKM 2018, eq. 10), so that those that the positive has to overtake
    count most.

    The negatives are uniform draws from the whole catalogue, which a batch shares; the authors add the batch's own
    targets. A draw of a position's own target is left out there; where no other is drawn, the loss is 0.
    """

    negatives: int = 256
    penalty: float = 1.0
    shares_negatives: ClassVar[bool] = True
    lowers_precision: ClassVar[bool] = False

    def __call__(self, hidden: Tensor, table: Tensor, targets: Tensor, negatives: Tensor | None) -> Tensor:
        if negatives is None:
            raise ValueError("the BPR-max loss needs negatives")
        own = (hidden * gathered(table, targets)).sum(1, keepdim=True)
        others = hidden @ gathered(table, negatives).T
        same = targets[:, None] == negatives
        counted = others.masked_fill(same, FAR_BELOW)
        log_shares = counted.log_softmax(1)
        overtaken = torch.logsumexp(log_shares + F.logsigmoid(own - counted), dim=1)
        return self.penalty * (log_shares.exp() * others.masked_fill(same, 0.0).square()).sum(1) - overtaken


@dataclass(frozen=True)
class SampledSoftmax:
    """Cross-entropy with the other items' share of the normaliser estimated from k uniform draws.

    Each negative's score is corrected by −log of how often it is expected among the draws, k / items (logQ), and a draw
    of a position's own target is left out there: the estimate of Σ exp(score) has no bias.
    """

    negatives: int = 256
    shares_negatives: ClassVar[bool] = True
    lowers_precision: ClassVar[bool] = False

    def __call__(self, hidden: Tensor, table: Tensor, targets: Tensor, negatives: Tensor | None) -> Tensor:
        if negatives is None:
            raise ValueError("the sampled softmax needs negatives")
        own = (hidden * gathered(table, targets)).sum(1)
        correction = math.log((len(table) - 1) / len(negatives))
        others = hidden @ gathered(table, negatives).T + correction
        others = others.masked_fill(targets[:, None] == negatives, -torch.inf)
        return torch.logsumexp(torch.cat([own[:, None], others], dim=1), dim=1) - own


@dataclass(frozen=True)
class GeneralisedBinaryCrossEntropy:
    """gBCE: −log σ(positive)^β − Σ log(1 − σ(negative)) (Petrov & Macdonald, RecSys 2023).

    With α = k / (items − 1): β = α (t (1 − 1/α) + 1/α), so that t = 0 is plain binary cross-entropy and t = 1 makes
    σ(score) a calibrated probability. The authors transform the positive's score in float64 so that its sigmoid is
    σ(score)^β; −log of that power is β softplus(−score), which needs no transformation and loses nothing in float32.
    Each position has negatives of its own, as in the authors' code.

    Every score is taken with log(β / k) added, the constant that fits best where nothing is known, which ranks alike.
    Without it the first steps push all scores down by that much along one direction of the item table, which leaves
    small embeddings so alike that training stays there; the authors' have a standard deviation of 1.
    """

    negatives: int = 256
    t: float = 0.75
    shares_negatives: ClassVar[bool] = False
    lowers_precision: ClassVar[bool] = False

    def __call__(self, hidden: Tensor, table: Tensor, targets: Tensor, negatives: Tensor | None) -> Tensor:
        if negatives is None:
            raise ValueError("generalised binary cross-entropy needs negatives")
        count = negatives.shape[-1]
        beta = self.power(sampling_rate=count / max(len(table) - 2, 1))
        logits = self.logits(hidden, table, targets, negatives) + math.log(beta / count)
        return beta * F.softplus(-logits[:, 0]) + F.softplus(logits[:, 1:]).sum(1)

    def logits(self, hidden: Tensor, table: Tensor, targets: Tensor, negatives: Tensor) -> Tensor:
        """[n, 1 + k]: the scores of the positive and of the negatives."""
        return _scores(hidden, table, torch.cat([targets[:, None], negatives], dim=1))

    def power(self, *, sampling_rate: float) -> float:
        """β, for α = `sampling_rate`; as many negatives as there are, or more, are all of them."""
        alpha = min(sampling_rate, 1.0)
        return alpha * (self.t * (1 - 1 / alpha) + 1 / alpha)


@dataclass(frozen=True)
class SharedGeneralisedBinaryCrossEntropy(GeneralisedBinaryCrossEntropy):
    """gBCE with k uniform draws from the whole catalogue for all positions of a batch: their scores are one product of
    matrices, where negatives of each position's own have to be gathered, row by row.

    A draw of a position's own target is left out there; what the user has had otherwise may be among the draws.
    """

    shares_negatives: ClassVar[bool] = True

    def logits(self, hidden: Tensor, table: Tensor, targets: Tensor, negatives: Tensor) -> Tensor:
        own = (hidden * gathered(table, targets)).sum(1, keepdim=True)
        others = hidden @ gathered(table, negatives).T
        return torch.cat([own, others.masked_fill(targets[:, None] == negatives, -torch.inf)], dim=1)


@dataclass(frozen=True)
class FullSoftmax:
    """Cross-entropy over the whole catalogue: on a CPU in blocks, elsewhere, where memory is fast and waiting for the
    device dear, in one piece. Most of it is products with all items, which is why they go in a lower precision.
    """

    negatives: ClassVar[int] = 0
    shares_negatives: ClassVar[bool] = False
    lowers_precision: ClassVar[bool] = True

    def __call__(self, hidden: Tensor, table: Tensor, targets: Tensor, negatives: Tensor | None) -> Tensor:
        if hidden.device.type == "cpu":
            return cross_entropy(hidden, table, targets)
        return in_one_piece(hidden, table, targets)


def in_one_piece(hidden: Tensor, table: Tensor, targets: Tensor) -> Tensor:
    """As `cross_entropy`, with a [positions, items] tensor of scores. Cells without an event, which a compiled step has
    among its positions, have target 0 and a loss of 0.
    """
    return F.cross_entropy(hidden @ table[1:].T, targets - 1, ignore_index=-1, reduction="none")


def _scores(hidden: Tensor, table: Tensor, candidates: Tensor) -> Tensor:
    """hidden [n, dim], candidates [n, c] → [n, c]; by way of every item's score where that is the cheaper one, and
    may be.
    """
    if len(table) <= DENSE_BELOW * candidates.shape[1] and not isinstance(table, RowTable):
        return (hidden @ table.T).gather(1, candidates)
    rows = gathered(table, candidates.T.contiguous())  # a product of matrices for each position takes twice as long
    return (rows * hidden).sum(2).T
