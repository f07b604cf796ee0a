"""What several tests stand on: models, logs and draws."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from models.catalogue import BACKBONES, build
from models.config import WITHOUT_ATTENTION, ModelConfig
from models.engine.batches import Batch, UnseenItems, windows
from models.engine.randomness import Streams
from models.engine.sequences import InteractionLog, Sequences, Targets
from models.engine.training import Training
from models.networks.backbone import NextItem
from models.recommender import Draws

TINY = ModelConfig(dim=4, blocks=2, heads=1, length=3, dropout=0.0, loss="softmax")
ITEMS = 40
"""Of a `planted_log`."""
ATTENTIVE = tuple(name for name in BACKBONES if name not in WITHOUT_ATTENTION)
"""The backbones that have attention."""


def draws_for(sequences: Sequences, *, seed: int = 9) -> Draws:
    """What a training step on the log draws; the same for the same seed."""
    streams = Streams(seed, Draws.NAMES, device=torch.device("cpu"))
    return Draws(streams, UnseenItems(sequences, sequences.train_lengths))


def tiny_model(item_count: int, *, length: int = TINY.length) -> NextItem:
    model = build(replace(TINY, length=length), item_count, seed=2)
    assert isinstance(model, NextItem)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.5)
    return model


def repeated(log: InteractionLog, copies: int, *, length: int = 3) -> Batch:
    """The first user's first events, so many times."""
    users, stops = torch.zeros(copies, dtype=torch.int64), torch.full((copies,), length)
    return windows(log.sequences, users, stops, length=length, with_targets=True)


def shown(*histories: list[int], length: int, item_count: int) -> Batch:
    """What a model of that length is shown of histories, to rank with."""
    lengths = torch.tensor([len(history) for history in histories])
    items = torch.tensor([item for history in histories for item in history], dtype=torch.int32)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    sequences = Sequences(items, offsets, lengths, item_count)
    return windows(sequences, torch.arange(len(histories)), lengths, length=length, with_targets=False)


def planted_log(*, kind: str, share: float, users: int = 400, length: int = 30) -> tuple[InteractionLog, Tensor]:
    """Users who walk through one of four corners of the catalogue, popular items more often, with replaced items in
    their training parts; and which events are noise.
    """
    draw = np.random.default_rng(0)
    weights = 1.0 / np.arange(1, 11)
    corner = np.repeat(draw.integers(4, size=users), length)
    items = 1 + corner * 10 + draw.choice(10, size=users * length, p=weights / weights.sum())
    place = np.tile(np.arange(length), users)
    noise = (draw.random(len(items)) < share) & (place < length - 2)
    others = draw.integers(1, ITEMS + 1, len(items)) if kind == "uniform" else draw.permutation(items)
    noise &= others != items
    offsets = torch.arange(users + 1) * length
    sequences = Sequences(
        torch.from_numpy(np.where(noise, others, items)).int(), offsets, torch.full((users,), length - 2), ITEMS
    )
    everyone = torch.arange(users)
    targets = {
        split: Targets(everyone, sequences.items[offsets[1:] - back].long(), torch.full((users,), length - back))
        for split, back in (("validation", 2), ("test", 1))
    }
    return InteractionLog(sequences, targets), torch.from_numpy(noise)


def rates_of(training: Training) -> list[list[float]]:
    """Train to the end; the learning rates of each step, one for each of the optimiser's groups."""
    rates: list[list[float]] = []
    step = training.optimizer.step

    def watched() -> None:
        rates.append([group["lr"] for group in training.optimizer.param_groups])
        step()

    training.optimizer.step = watched  # type: ignore[method-assign, assignment]
    training.run(on_epoch=lambda _: None)
    return rates


def auroc(scores: Tensor, labels: Tensor) -> float:
    """By counting pairs."""
    noisy, genuine = scores[labels], scores[~labels].sort().values
    below = torch.searchsorted(genuine, noisy).double()
    up_to = torch.searchsorted(genuine, noisy, right=True).double()
    return float((below + up_to).mean() / 2 / len(genuine))
