"""Noise is what a recommender did not expect: the rival that is trained twice."""

import math

import torch
from torch import Tensor

from models.denoising.noise.popularity import LIFT_FEATURES, Popularity, lift_features
from models.denoising.noise.seam import Events
from models.engine.adam import Adam
from models.engine.batches import UnseenItems, windows
from models.engine.losses import BinaryCrossEntropy
from models.engine.randomness import Streams
from models.engine.sequences import Sequences
from models.networks.backbone import NextItem
from models.networks.sasrec import SASRec
from models.recommender import Draws

LEAST_EPOCHS, LEAST_STEPS = 15, 600
"""On a small log a network needs hundreds of steps before it knows more than popularity; and before it has read a log
many times it has learned little of single events by heart."""
BATCH_SIZE = 128
LEARNING_RATE, BETAS = 1e-3, (0.9, 0.98)
AT_ONCE = 256
"""Windows."""


class OwnScore(Popularity):
    """The evidence for an event is its item's popularity and its score, after what came before it, by a SASRec of the
    usual size that is trained on the log first, noise and all.

    Trained by binary cross-entropy with uniform negatives, a score is the log of how much likelier the item is to come
    next than to be drawn from the catalogue. An event with nothing before it has its item's popularity, which is the
    same without a context. Later events are not looked at. The log's own events were trained on, and so look more
    genuine than what is planted; `crossfit` judges them by what was learned of others.
    """

    def __init__(self, item_count: int, *, planted: str = "all") -> None:
        super().__init__(item_count, features=LIFT_FEATURES + 1, planted=planted)
        sasrec = SASRec(item_count, length=50, dim=50, blocks=2, heads=2, dropout=0.2, norm="authors")
        self.network = NextItem(sasrec, BinaryCrossEntropy()).requires_grad_(False)

    def count(self, events: Events, item_count: int) -> None:
        super().count(events, item_count)
        sequences = histories(events, item_count)
        device = sequences.device
        draws = Draws(
            Streams(int(self.seed), Draws.NAMES, device=device), UnseenItems(sequences, sequences.train_lengths)
        )
        order = Streams(int(self.seed), ("order",), device=torch.device("cpu"))["order"]
        steps = math.ceil(int((sequences.train_lengths > 1).sum()) / BATCH_SIZE)
        self.network.train().requires_grad_(True)
        optimizer = Adam(self.network.parameter_groups(LEARNING_RATE), betas=BETAS)
        with torch.enable_grad():
            for _ in range(max(LEAST_EPOCHS, math.ceil(LEAST_STEPS / max(steps, 1)))):
                for batch in self.network.training_batches(
                    sequences, batch_size=BATCH_SIZE, generator=order, draws=draws
                ):
                    optimizer.zero_grad()
                    self.network.loss(batch, draws).objective().backward()
                    optimizer.step()
        optimizer.zero_grad()
        self.network.eval().requires_grad_(False)

    def evidence(self, events: Events, planted: Tensor | None = None) -> Tensor:
        items = events.items if planted is None else planted
        lifts = self.lifts[items]
        return torch.cat([self._scores(events, items, otherwise=lifts)[:, None], lift_features(lifts)], dim=1)

    def _scores(self, events: Events, items: Tensor, *, otherwise: Tensor) -> Tensor:
        """[events]: how each of `items` [events] scores after the events before its place; `otherwise` [events] where
        there are none.
        """
        real = torch.nonzero(events.owners >= 0).squeeze(1)
        sequences = histories(events, len(self.lifts) - 1)
        table = self.network.item_table()
        scores = otherwise.clone()
        users, stops, unread = _overlapping(sequences.train_lengths.cpu() - 1, length=self.network.length)
        for some in torch.arange(len(users)).split(AT_ONCE):
            batch = windows(sequences, users[some], stops[some], length=self.network.length, with_targets=False)
            hidden = batch.events(self.network.backbone.encode(batch))
            sizes = stops[some].clamp(max=self.network.length)
            window = torch.repeat_interleave(torch.arange(len(some)), sizes)
            within = torch.arange(len(window)) - (sizes.cumsum(0) - sizes)[window]
            place = (stops[some] - sizes)[window] + within
            read = place >= unread[some][window]
            following = (sequences.offsets.cpu()[users[some]][window] + place + 1)[read].to(real.device)
            scored = real[following]
            scores[scored] = (hidden[read.to(real.device)] * table[items[scored]]).sum(1)
        return scores


def histories(events: Events, item_count: int) -> Sequences:
    """The events, but those of none, as one training part an owner."""
    real = events.owners >= 0
    _, sizes = torch.unique_consecutive(events.owners[real], return_counts=True)
    return Sequences(
        items=events.items[real].int(),
        offsets=torch.cat([sizes.new_zeros(1), sizes.cumsum(0)]),
        train_lengths=sizes,
        item_count=item_count,
    )


def _overlapping(sizes: Tensor, *, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """Windows over the first `sizes` [users] events of each user, each with the later half of the one before it: their
    users, where they stop, and the first place that those before them have not read. A user with no event has none.
    """
    step = max(length // 2, 1)
    counts = torch.where(sizes > 0, 1 + ((sizes - length).clamp(min=0) + step - 1) // step, 0)
    users = torch.repeat_interleave(torch.arange(len(sizes)), counts)
    number = torch.arange(len(users)) - (counts.cumsum(0) - counts)[users]
    stops = torch.minimum(length + number * step, sizes[users])
    return users, stops, torch.where(number > 0, length + (number - 1) * step, 0)
