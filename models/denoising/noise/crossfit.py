"""A noise model's verdict on a whole log, learned from it or, user by user, from the other users alone."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from models.denoising.noise.seam import NoiseModel
from models.engine.sequences import Sequences


@dataclass(frozen=True)
class Verdict:
    """keep: [events] float32, the probability that each event of the training log is genuine, 1 for the others; share:
    the estimated share of noise, of several folds their mean.
    """

    keep: Tensor
    share: float


def cross_fitted(make: Callable[[], NoiseModel], sequences: Sequences, *, folds: int, seed: int) -> Verdict:
    """Part the users by chance into so many folds, and judge each by a noise model that `make` makes and that has seen
    the other folds alone. One fold is judged by what was learned of itself.

    Raises `ValueError` where fewer than two users have events to learn from.
    """
    if folds == 1:
        model = make()
        model.prepare(sequences)
        return Verdict(model.verdict(sequences), model.share())
    generator = torch.Generator().manual_seed(seed)
    learned_from = torch.nonzero(sequences.train_lengths.cpu() > 0).squeeze(1)
    if len(learned_from) < 2:
        raise ValueError("the users cannot be parted into folds: fewer than two have interactions to learn from")
    fold = torch.zeros(sequences.user_count, dtype=torch.int64)
    fold[learned_from] = torch.randperm(len(learned_from), generator=generator) % folds
    fold = fold.to(sequences.device)
    keep = torch.ones(len(sequences.items), device=sequences.device)
    shares = []
    for number in range(folds):
        model = make()
        model.prepare(_training_on(sequences, fold != number))
        keep = torch.minimum(keep, model.verdict(_training_on(sequences, fold == number), counted=False))
        shares.append(model.share())
    return Verdict(keep, sum(shares) / folds)


def _training_on(sequences: Sequences, users: Tensor) -> Sequences:
    """The log with the training parts of these users [users] alone."""
    return replace(sequences, train_lengths=sequences.train_lengths * users)
