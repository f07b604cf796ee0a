"""Losses that trust some targets less than others, made of any loss.

With L the loss of a position and p = exp(−L) what the model believes of its target:

truncated: without the `share` largest of a batch, rising from none over the first `ramp` steps (Wang et al., WSDM 2021)
reweighted: L · p^power, where the weight has no gradient (the same)
generalised: (1 − p^power) / power, from L (0) to the mean absolute error (1) (Zhang & Sabuncu, NeurIPS 2018)
symmetric: L + power · 9.2 (1 − p), the reverse cross-entropy with log 0 as log 1e-4 (Wang et al., ICCV 2019)
bootstrapped: (1 − power) · L + power · (−p log p − (1 − p) log(1 − p)), the cross-entropy of "the target or another"
    whose truth is the label's for 1 − power and the model's own belief for `power`. The belief has a gradient, too, so
    that the second term makes the model surer of what it believes (Reed et al., ICLR 2015, the soft one)
inverse-propensity: L / max(q, floor), where q = (n / n of the most popular item)^power is how likely the target was to
    be seen at all, from how often its item stands in the training log (Saito et al., WSDM 2020)

In the symmetric and the bootstrapped loss `power` is a weight.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from models.engine.sequences import Sequences, training_part

LOG_OF_ZERO = math.log(1e-4)
LEAST_BELIEF = 1e-6


class Robust(Protocol):
    """What becomes of a batch's losses."""

    def prepare(self, sequences: Sequences) -> None:
        """Learn what there is to learn of the log, before the first step and where a training goes on."""

    def __call__(self, losses: Tensor, *, targets: Tensor, step: int) -> tuple[Tensor, Tensor | None]:
        """losses [events] of the items targets [events] in the training's `step`, from 0 → the losses instead of them
        [events], and their weights, None where they are equal.
        """


class _OfLossesAlone:
    """A loss that no log is needed for."""

    def prepare(self, sequences: Sequences) -> None:
        pass


@dataclass(frozen=True)
class Truncated(_OfLossesAlone):
    """Leaves out the largest losses."""

    share: float
    ramp: int

    def __call__(self, losses: Tensor, *, targets: Tensor, step: int) -> tuple[Tensor, Tensor | None]:
        return losses, self.weights(losses, step=step)

    def weights(self, losses: Tensor, *, step: int) -> Tensor | None:
        """[events]: 0 of what is left out and 1 of the rest; None where that is nothing."""
        left_out = int(len(losses) * self.share * min(step / self.ramp, 1.0))
        if not left_out:
            return None
        largest = losses.detach().topk(left_out, sorted=False).indices
        return torch.ones_like(losses).index_fill(0, largest, 0.0)


@dataclass(frozen=True)
class Reweighted(_OfLossesAlone):
    """Trusts a target as the model does. The weights are not normalised: a batch of doubtful targets moves little."""

    power: float

    def __call__(self, losses: Tensor, *, targets: Tensor, step: int) -> tuple[Tensor, Tensor | None]:
        return losses * (-self.power * losses.detach()).exp(), None


@dataclass(frozen=True)
class Generalised(_OfLossesAlone):
    """Between cross-entropy and the mean absolute error."""

    power: float

    def __call__(self, losses: Tensor, *, targets: Tensor, step: int) -> tuple[Tensor, Tensor | None]:
        return -torch.expm1(-self.power * losses) / self.power, None


@dataclass(frozen=True)
class Symmetric(_OfLossesAlone):
    """Cross-entropy and its reverse."""

    power: float

    def __call__(self, losses: Tensor, *, targets: Tensor, step: int) -> tuple[Tensor, Tensor | None]:
        return losses + self.power * LOG_OF_ZERO * torch.expm1(-losses), None


@dataclass(frozen=True)
class Bootstrapped(_OfLossesAlone):
    """Believes the model's own opinion a little."""

    power: float

    def __call__(self, losses: Tensor, *, targets: Tensor, step: int) -> tuple[Tensor, Tensor | None]:
        other = -torch.expm1(-losses)
        log_other = torch.log(other.clamp(min=LEAST_BELIEF))
        return losses - self.power * other * (log_other + losses), None


class InversePropensity:
    """Counts a target the more the less likely its item was to be seen, so that what is popular for being shown does
    not drown the rest. The weights are normalised by their sum over a batch (Swaminathan & Joachims, NeurIPS 2015), and
    at most 1 / floor of that of the most popular item.
    """

    def __init__(self, *, power: float, floor: float) -> None:
        self.power = power
        self.floor = floor
        self._weights: Tensor | None = None

    def prepare(self, sequences: Sequences) -> None:
        seen = sequences.items[training_part(sequences)].long()
        counts = torch.bincount(seen, minlength=sequences.item_count + 1).double()
        propensities = (counts / counts.max().clamp(min=1)) ** self.power
        self._weights = (1 / propensities.clamp(min=self.floor)).float()

    def __call__(self, losses: Tensor, *, targets: Tensor, step: int) -> tuple[Tensor, Tensor | None]:
        assert self._weights is not None
        return losses, self._weights[targets]
