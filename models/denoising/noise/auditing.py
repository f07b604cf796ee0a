"""What a noise model makes of a whole log: a verdict on every training interaction, what it rests on, and how common
noise is, with how far that estimate scatters over users.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from models.denoising.noise.cooccurrence import CoOccurrence
from models.denoising.noise.judgement import LEAST_TAIL, thresholds_of
from models.denoising.noise.planting import KINDS
from models.denoising.noise.seam import MOST_EXAMPLES, Events, trained_on, training_events
from models.engine.sequences import Sequences, owners

GROUPS = 1_000
"""Users are drawn in so many groups at most, which makes a resample as cheap as a product of two small matrices."""


@dataclass(frozen=True)
class Audit:
    """noise: [judged] float32, the probability that an event is noise, by both sides.

    users, positions: [judged] int64, sorted by user and position
    neighbours: [judged] how many events stand at most the reach away; meetings: in how many other users' training parts
    the event's item and theirs are neighbours, summed over them; expected: in how many they would be by chance
    share: the estimated share of noise; kinds: of each planted kind
    replicates: [resamples] the share again, each from as many users drawn with replacement
    """

    users: Tensor
    positions: Tensor
    noise: Tensor
    neighbours: Tensor
    meetings: Tensor
    expected: Tensor
    share: float
    kinds: dict[str, float]
    replicates: Tensor


class Auditor(CoOccurrence):
    """The co-occurrence model, which can say what its verdict rests on."""

    @torch.no_grad()
    def audit(self, sequences: Sequences, *, resamples: int) -> Audit:
        """Learn from the training log, and judge it.

        A resample draws users, and takes the share's estimate anew from their events and the noise in their places.
        What is counted and the judgement's few weights stay: users drawn twice would vouch for each other.
        """
        self.prepare(sequences)
        events = training_events(sequences)
        part = trained_on(sequences)
        owner = owners(sequences)
        places = torch.arange(len(sequences.items)) - sequences.offsets[owner]
        neighbours, meetings, expected = self._surroundings(events)
        return Audit(
            users=owner[part],
            positions=places[part],
            noise=1 - self.verdict(sequences)[part],
            neighbours=neighbours,
            meetings=meetings,
            expected=expected,
            share=self.share(),
            kinds=dict(zip(KINDS, self.both_sides.shares.tolist(), strict=True)),
            replicates=self._replicates(events, sequences.item_count, resamples=resamples),
        )

    def _surroundings(self, events: Events) -> tuple[Tensor, Tensor, Tensor]:
        """[events] each: neighbours, meetings and expected meetings, see `Audit`."""
        items, owner = events.items, events.owners
        told = torch.zeros(3, len(items))
        for step in range(1, min(self.reach, len(items) - 1) + 1):
            one, other = items[step:], items[:-step]
            seen = (self._sightings_of(self._key(one, other)) - 1).clamp(min=0)
            chance = self.degrees[one] * self.degrees[other] / self.degrees.sum()
            pair = torch.stack([torch.ones_like(seen), seen, chance]) * (owner[step:] == owner[:-step])
            told[:, step:] += pair
            told[:, :-step] += pair
        return told[0], told[1], told[2]

    def _replicates(self, log: Events, item_count: int, *, resamples: int) -> Tensor:
        """[resamples]: the share from the examples that `prepare` learned from, their users drawn anew."""
        taken = log.owners % (1 + len(log.items) // MOST_EXAMPLES) == 0
        known = Events(log.items[taken], log.owners[taken])
        unknown = replace(known, counted=False)
        generator = torch.Generator().manual_seed(int(self.seed))
        planted = [plant(known.items, item_count, generator) for plant in KINDS.values()]
        _, user = torch.unique(known.owners, return_inverse=True)
        return resampled_shares(
            self.both_sides.odds(self.evidence(known.items, known, past_only=False)),
            [self.both_sides.odds(self.evidence(items, unknown, past_only=False)) for items in planted],
            user % GROUPS,
            resamples=resamples,
            generator=generator,
        )


def resampled_shares(
    log: Tensor, planted: Sequence[Tensor], groups: Tensor, *, resamples: int, generator: torch.Generator
) -> Tensor:
    """[resamples] shares of noise of all kinds, as `models.denoising.noise.judgement.share_of_noise` estimates them,
    of logs that are put together of groups drawn with replacement.

    log, planted: [n, kinds] scores of the events, and of noise of each kind in their places; groups: [n] int64.
    """
    count = int(groups.max()) + 1
    drawn = torch.randint(count, (resamples, count), generator=generator)
    weights = torch.zeros(resamples, count).scatter_add_(1, drawn, torch.ones(drawn.shape))
    sizes = weights @ torch.bincount(groups, minlength=count).float()
    shares: list[Tensor] = []
    for kind, noise in enumerate(planted):
        thresholds = thresholds_of(noise[:, kind])

        def tails(scores: Tensor, kind: int = kind, thresholds: Tensor = thresholds) -> Tensor:
            above = _above(scores[:, kind].contiguous(), thresholds, groups, count)
            return weights @ above / sizes[:, None]

        left = tails(log)
        for before, share in enumerate(shares):
            left = left - share[:, None] * tails(planted[before])
        shares.append((left / tails(noise).clamp(min=LEAST_TAIL)).min(dim=1).values.clamp(0, 1))
    return torch.stack(shares).sum(0).clamp(max=1)


def _above(scores: Tensor, thresholds: Tensor, groups: Tensor, count: int) -> Tensor:
    """[groups, thresholds]: how many of each group's scores are above each threshold."""
    passed = torch.searchsorted(thresholds, scores)
    cells = torch.bincount(groups * (len(thresholds) + 1) + passed, minlength=count * (len(thresholds) + 1))
    table = cells.view(count, len(thresholds) + 1).float()
    return table.flip(1).cumsum(1).flip(1)[:, 1:]
