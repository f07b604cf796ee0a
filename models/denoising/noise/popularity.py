"""Noise is what is unpopular: the detector that every other one has to beat."""

import torch
from torch import Tensor, nn

from models.denoising.noise.seam import Events, NoiseModel

LIFT_FEATURES = 2


class Popularity(NoiseModel):
    """The evidence for an event is its item's popularity alone: log (its share of the log × items), 0 where that is as
    if all were equally popular; the positive and the negative part have weights of their own.
    """

    lifts: Tensor

    def __init__(self, item_count: int, *, features: int = LIFT_FEATURES, planted: str = "all") -> None:
        super().__init__(features, planted=planted)
        self.lifts = nn.Buffer(torch.zeros(item_count + 1))

    def count(self, events: Events, item_count: int) -> None:
        seen = torch.bincount(events.items, minlength=item_count + 1).float() + 0.5
        self.lifts = torch.log(seen * item_count / seen[1:].sum())

    def evidence(self, events: Events, planted: Tensor | None = None) -> Tensor:
        return lift_features(self.lifts[events.items if planted is None else planted])


def lift_features(lifts: Tensor) -> Tensor:
    """[events] → [events, 2]."""
    return torch.stack([lifts.clamp(min=0), lifts.clamp(max=0)], dim=1)
