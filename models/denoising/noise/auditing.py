"""What a noise model makes of a whole log: a verdict on every training interaction, what it rests on, and how common
noise is, with how far that estimate scatters over users.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from models.denoising.noise.cooccurrence import CoOccurrence
from models.denoising.noise.judgement import least_ratio, shares_of_noise, suspicion, thresholds_of
from models.denoising.noise.planting import KINDS
from models.denoising.noise.seam import Events, training_events
from models.engine.sequences import Sequences, owners, places, training_part

GROUPS = 1_000
"""Users are drawn in so many groups at most, which makes a resample as cheap as a product of two small matrices."""
SUSPECT_BELOW = 0.5
"""Events less likely genuine than this are taken out before noise is planted anew."""


@dataclass(frozen=True)
class Audit:
    """noise: [judged] float32, the probability that an event is noise, by its neighbours.

    users, positions: [judged] int64, sorted by user and position
    neighbours: [judged] how many events stand at most the reach away; meetings: in how many other users' training parts
    the event's item and theirs are neighbours, summed over them; expected: in how many they would be by chance
    share: the estimated share of noise; kinds: of each planted kind
    reads_high: by how much the estimate exceeded the truth where the truth is known: in the log less its suspects, with
    as much noise planted anew
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
    reads_high: float
    replicates: Tensor


class Auditor(CoOccurrence):
    """The co-occurrence model, which can say what its verdict rests on."""

    @torch.no_grad()
    def audit(self, sequences: Sequences, *, resamples: int) -> Audit:
        """Learn from the training log, and judge it.

        A resample draws users, and takes the share's estimate anew from their events and the noise in their places.
        What is counted and the judgement's few weights stay: users drawn twice would vouch for each other.

        Raises `ValueError` where every event of it is taken for noise.
        """
        self.prepare(sequences)
        events = training_events(sequences)
        part = training_part(sequences)
        neighbours, meetings, expected = self.surroundings(events)
        keep = self.verdict(sequences)
        if not bool((keep[part] >= SUSPECT_BELOW).any()):
            raise ValueError(
                f"every one of the log's {len(events.items):,} interactions that may be trained on looks like noise, "
                "which says nothing of any of them: it takes several of most users to tell what is usual"
            )
        return Audit(
            users=owners(sequences)[part],
            positions=places(sequences)[part],
            noise=1 - keep[part],
            neighbours=neighbours,
            meetings=meetings,
            expected=expected,
            share=self.share(),
            kinds=dict(zip(KINDS, self.judgement.shares.tolist(), strict=True)),
            reads_high=self._reads_high(sequences.only(keep >= SUSPECT_BELOW)),
            replicates=self._replicates(events, sequences.item_count, resamples=resamples),
        )

    def _reads_high(self, remaining: Sequences) -> float:
        """What is estimated of the `remaining` log with noise planted in it, of the kinds and as much as were estimated
        here, less what was planted.
        """
        if not self.share():
            return 0.0
        generator = torch.Generator().manual_seed(int(self.seed))
        items = remaining.items.long()
        kind = torch.multinomial(self.judgement.shares, len(items), replacement=True, generator=generator)
        planted = torch.stack([plant(items, remaining.item_count, generator) for plant in self.kinds])
        noisy = torch.rand(len(items), generator=generator) < self.share()
        items = torch.where(noisy, planted.gather(0, kind[None])[0], items)
        again = CoOccurrence(remaining.item_count, reach=self.reach)
        again.prepare(replace(remaining, items=items.to(remaining.items.dtype)))
        return again.share() - float(noisy[training_part(remaining)].float().mean())

    def _replicates(self, log: Events, item_count: int, *, resamples: int) -> Tensor:
        """[resamples]: the share from the examples that `prepare` learned from, their users drawn anew."""
        known, planted = self.examples(log, item_count)
        _, user = torch.unique(known.owners, return_inverse=True)
        return resampled_shares(
            self.first_look.odds(self.first_evidence(known)),
            [self.first_look.odds(self.first_evidence(known, items)) for items in planted],
            user % GROUPS,
            resamples=resamples,
            generator=torch.Generator().manual_seed(int(self.seed)),
        )


def resampled_shares(
    log: Tensor, planted: Sequence[Tensor], groups: Tensor, *, resamples: int, generator: torch.Generator
) -> Tensor:
    """[resamples] shares of noise of all kinds, as `models.denoising.noise.judgement.shares_of_noise` estimates them,
    of logs that are put together of groups drawn with replacement. How suspicious an event is stays.

    log, planted: [n, kinds] log odds of the events, and of noise of each kind in their places; groups: [n] int64.
    """
    count = int(groups.max()) + 1
    drawn = torch.randint(count, (resamples, count), generator=generator)
    weights = torch.zeros(resamples, count).scatter_add_(1, drawn, torch.ones(drawn.shape))
    sizes = weights @ torch.bincount(groups, minlength=count).float()

    def tails(scores: Tensor, thresholds: Tensor) -> Tensor:
        return weights @ _above(scores.contiguous(), thresholds, groups, count) / sizes[:, None]

    found: list[Tensor] = []
    for kind, noise in enumerate(planted):
        thresholds = thresholds_of([noise[:, kind]])
        left = tails(log[:, kind], thresholds)
        for before, share in enumerate(found):
            left = left - share[:, None] * tails(planted[before][:, kind], thresholds)
        found.append(least_ratio(left, tails(noise[:, kind], thresholds)))
    shares = torch.stack(found, dim=1)
    estimate = shares_of_noise(log, planted)
    if not float(estimate.sum()):
        return shares.sum(1).clamp(max=1)
    scores = [suspicion(noise, estimate) for noise in planted]
    thresholds = thresholds_of(scores)
    mixture = shares / shares.sum(1, keepdim=True).clamp(min=1e-12)
    noise = (torch.stack([tails(each, thresholds) for each in scores], dim=2) @ mixture[:, :, None]).squeeze(2)
    return torch.minimum(shares.sum(1), least_ratio(tails(suspicion(log, estimate), thresholds), noise))


def _above(scores: Tensor, thresholds: Tensor, groups: Tensor, count: int) -> Tensor:
    """[groups, thresholds]: how many of each group's scores are above each threshold."""
    sorted_thresholds, order = thresholds.sort()
    passed = torch.searchsorted(sorted_thresholds, scores)
    cells = torch.bincount(groups * (len(thresholds) + 1) + passed, minlength=count * (len(thresholds) + 1))
    table = cells.view(count, len(thresholds) + 1).float()
    above = table.flip(1).cumsum(1).flip(1)[:, 1:]
    return torch.empty_like(above).index_copy_(1, order, above)
