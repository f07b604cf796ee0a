"""The seam: a noise model stands beside a backbone and says of each interaction how likely it is to be genuine."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.denoising.noise.judgement import Judgement
from models.denoising.noise.planting import kinds_of
from models.engine.batches import Batch
from models.engine.sequences import Sequences, owners, training_part

MOST_EXAMPLES = 200_000
"""So many events, or half of them, are enough for the few weights of a judgement; they are those of every k-th user."""


@dataclass(frozen=True)
class Events:
    """Consecutive events. items: [events] int64; owners: [events] int64, equal for events of one history, −1 for none.

    counted: [events] bool, which of them the noise model has counted. What an owner was counted for speaks for itself,
    once.
    """

    items: Tensor
    owners: Tensor
    counted: Tensor


class NoiseModel(nn.Module):
    """Tells genuine interactions from noise by evidence, a few numbers an event, and what it has learned of them."""

    seed: Tensor

    def __init__(self, features: int, *, planted: str = "all") -> None:
        """`planted`: the kind of noise to learn from, or "all". The seed of what is planted comes from torch's
        generator.
        """
        super().__init__()
        self.kinds = kinds_of(planted)
        self.judgement = Judgement(features, kinds=len(self.kinds))
        self.seed = nn.Buffer(torch.randint(2**31, ()))

    def count(self, events: Events, item_count: int) -> None:
        """Take from the training log what the evidence is computed from."""
        raise TypeError(f"{type(self).__name__} does not define count")

    def evidence(self, events: Events, planted: Tensor | None = None) -> Tensor:
        """[events, features]: how each event stands in its place, or how that of `planted` [events] would, whose pairs
        have not been counted.
        """
        raise TypeError(f"{type(self).__name__} does not define evidence")

    @torch.no_grad()
    def prepare(self, sequences: Sequences) -> None:
        """Count the training log, and learn to tell its events from items that are put in their places."""
        log = training_events(sequences)
        self.count(log, sequences.item_count)
        known, planted = self.examples(log, sequences.item_count)
        self.judgement.fit(self.evidence(known), [self.evidence(known, items) for items in planted])

    def examples(self, log: Events, item_count: int) -> tuple[Events, list[Tensor]]:
        """Some users' events to learn from, and items of each kind of noise to be put in their places."""
        taken = log.owners % (1 + len(log.items) // MOST_EXAMPLES) == 0
        known = Events(log.items[taken], log.owners[taken], log.counted[taken])
        generator = torch.Generator(device=log.items.device).manual_seed(int(self.seed))
        return known, [plant(known.items, item_count, generator) for plant in self.kinds]

    @torch.no_grad()
    def keep(self, batch: Batch) -> Tensor:
        """[rows, length]: the probability that each interaction is genuine; 1 where there is none.

        By all of its window, in whatever direction the batch is read: of a history that is ranked with, nothing came
        later. What has been counted are the events of training parts.
        """
        rows, length = batch.items.shape
        row = torch.arange(rows, device=batch.items.device)[:, None]
        real = batch.segments > 0
        owner = torch.where(real, row * (length + 1) + batch.segments, -1)
        counted = real if batch.trained is None else batch.trained
        events = Events(batch.items.flatten(), owner.flatten(), counted.flatten())
        return torch.where(real, self.genuine(events).view(rows, length), 1.0)

    @torch.no_grad()
    def verdict(self, sequences: Sequences, *, counted: bool = True) -> Tensor:
        """[events]: the probability that each event of the training log is genuine; 1 for the others.

        counted: is it the log, or a part of it, that was learned from?
        """
        log = training_events(sequences, counted=counted)
        verdict = torch.ones(len(sequences.items), device=sequences.device)
        return verdict.masked_scatter(training_part(sequences), self.genuine(log))

    def share(self) -> float:
        """The estimated share of noise in the training log."""
        return float(self.judgement.shares.sum().clamp(max=1))

    def genuine(self, events: Events) -> Tensor:
        """[events]: the probability that each is genuine, by what `prepare` has learned."""
        return self.judgement.keep(self.evidence(events))


def training_events(sequences: Sequences, *, counted: bool = True) -> Events:
    """The training parts, one after another, all of which have been counted or none."""
    part = training_part(sequences)
    items = sequences.items[part].long()
    return Events(items, owners(sequences)[part], torch.full_like(items, counted, dtype=torch.bool))
