"""CL4SRec (Xie et al., *Contrastive Learning for Sequential Recommendation*, ICDE 2022)."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from models.engine.batches import Batch, pack, sent
from models.engine.sequences import Sequences
from models.networks.backbone import AroundNextItem, NextItem
from models.recommender import Draws, Loss

CROP, MASK, REORDER = range(3)
ROUNDING = 1e-9
"""By how much a share of a window's events may miss a whole number that it is meant to be."""


@dataclass(frozen=True)
class Shares:
    """Of a window of n events ⌊share · n⌋ are what an augmentation is about: `crop` (η) are left, one at the least,
    `mask` (γ) are masked, `reorder` (β) are shuffled.
    """

    crop: float
    mask: float
    reorder: float


class CL4SRec(AroundNextItem):
    """A next-item recommender that also learns which two altered windows, its views, were made of the same one.

    L = L_next-item + `weight` · L_contrast: see `views` and `contrast`. A view stands for what the encoder, which is
    causal, makes of its last event. Both views of all windows of a batch are one pass, with dropout of its own, over
    rows that are packed anew; what they are made of is what the backbone is shown, and has no part in the next-item
    loss. It ranks as `base`, and has no weights beside its.
    """

    def __init__(self, base: NextItem, shares: Shares, *, weight: float, temperature: float) -> None:
        super().__init__(base)
        self.shares = shares
        self.weight = weight
        self.temperature = temperature
        self._losses: list[Tensor] = []

    def training_batches(
        self, sequences: Sequences, *, batch_size: int, generator: torch.Generator, draws: Draws
    ) -> Iterator[Batch]:
        self._losses.clear()
        return super().training_batches(sequences, batch_size=batch_size, generator=generator, draws=draws)

    def loss(self, batch: Batch, draws: Draws) -> Loss:
        shown, negatives = self.base.drawn(batch, draws)
        terms = self.base.position_losses(shown, negatives, dropout=draws.dropout())
        altered = views(shown, self.shares, draws)
        hidden = self.base.backbone.encode(altered, dropout=draws.dropout())
        with torch.autocast(hidden.device.type, enabled=False):
            states = hidden.flatten(0, 1).index_select(0, altered.ends).to(terms.dtype)
            apart = contrast(states, temperature=self.temperature)
        self._losses.append(apart.detach())
        return Loss(terms, penalties={"contrast": self.weight * apart})

    def query(self, batch: Batch) -> Tensor:
        return self.base.query(batch)

    def diagnostics(self) -> dict[str, float]:
        """The contrastive loss, without its weight: the mean of the epoch's steps."""
        return {"contrast.loss": float(torch.stack(self._losses).mean())} if self._losses else {}


def views(batch: Batch, shares: Shares, draws: Draws) -> Batch:
    """Two views of each window of a causal batch, packed anew: of window w they are the windows w and w + windows.

    For each view one of three augmentations is drawn, whatever the other view has: a part of the window alone (crop),
    some of its items masked, or the items of a part in any order (reorder). Where a part lies, and what is masked, is
    drawn uniformly. A masked event keeps its place and its time and has item 0, whose embedding is zero and stays so,
    and which is never ranked: a learned mask would be known to the contrastive loss alone, and to nothing that ranks.
    Items that change places leave the times where they were. Both views of a window of one event are that event, and
    differ in their dropout; so does one of few events where ⌊share · n⌋ is nothing.

    How long the views are decides on their rows, so that this waits for the device, once.
    """
    length, device = batch.items.shape[1], batch.items.device
    sizes = batch.visible.flatten(0, 1)[batch.ends].sum(1).repeat(2)
    drawn = draws.view_fractions(2, len(sizes))
    kinds = (drawn[0] * 3).long()
    parts = _parts(sizes, shares).gather(0, kinds[None])[0]
    starts = (drawn[1] * (sizes - parts + 1)).long()
    view_sizes = torch.where(kinds == CROP, parts, sizes)

    counts = view_sizes.cpu()
    (rows, columns, numbers), row_count = pack(counts.numpy(), length)
    begins, numbers = sent(torch.stack([rows * length + columns, numbers]), device).unbind()
    total = int(counts.sum())
    view = torch.repeat_interleave(view_sizes, output_size=total)
    place = torch.arange(total, device=device) - (view_sizes.cumsum(0) - view_sizes)[view]
    kind, part, start = kinds[view], parts[view], starts[view]

    shuffled = (kind == REORDER) & (place >= start) & (place < start + part)
    masking = kind == MASK
    fractions = draws.view_fractions(total)
    rank = torch.where(shuffled, start + fractions * part, place.double())
    rank = torch.where(masking, fractions * sizes[view], rank)
    order = torch.argsort(view * length + rank, stable=True)  # within each view
    masked = torch.zeros_like(masking).index_copy_(0, order, masking & (place < part))

    first = (batch.ends.repeat(2) - sizes + 1)[view] + torch.where(kind == CROP, start, 0)
    in_place = first + place
    cells = torch.where(masking, in_place, first + place[order])
    places = begins[view] + place

    def laid_out(values: Tensor) -> Tensor:
        grid = torch.zeros(row_count * length, dtype=values.dtype, device=device)
        return grid.index_copy_(0, places, values).view(row_count, length)

    return Batch(
        items=laid_out(batch.items.flatten()[cells].masked_fill(masked, 0)),
        users=laid_out(batch.users.flatten()[cells]),
        positions=laid_out(length - view_sizes[view] + place),
        segments=laid_out(numbers[view]),
        cells=places,
        ends=begins + view_sizes - 1,
        times=None if batch.times is None else laid_out(batch.times.flatten()[in_place]),
    )


def contrast(states: Tensor, *, temperature: float) -> Tensor:
    """NT-Xent: states [2 windows, dim], those of window w at w and w + windows → the mean over all views a with their
    partners b of −log exp(a·b/τ) / Σ exp(a·c/τ), the sum over all views c but a itself.
    """
    alone = torch.eye(len(states), dtype=torch.bool, device=states.device)
    similarities = (states @ states.T / temperature).masked_fill(alone, -torch.inf)
    partners = torch.arange(len(states), device=states.device).roll(len(states) // 2)
    return F.cross_entropy(similarities, partners)


def _parts(sizes: Tensor, shares: Shares) -> Tensor:
    """sizes [windows] → [3, windows]: how many events each augmentation is about."""
    crop, mask, reorder = (
        (sizes.double() * share + ROUNDING).long() for share in (shares.crop, shares.mask, shares.reorder)
    )
    return torch.stack([crop.clamp(min=1), mask, reorder])
