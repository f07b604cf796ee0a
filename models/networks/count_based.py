"""What a recommender that only counts has in common."""

from collections.abc import Iterator

import torch

from models.engine.batches import Batch
from models.engine.sequences import Sequences
from models.recommender import Draws, Recommender


class CountBased(Recommender):
    """A recommender that is done with `prepare`: it has no weights, and no batch teaches it anything.

    `length` is how many of a user's last training events are judged by its score; it counts all of them.
    """

    def __init__(self, *, length: int) -> None:
        super().__init__()
        self.length = length

    def training_batches(
        self, sequences: Sequences, *, batch_size: int, generator: torch.Generator, draws: Draws
    ) -> Iterator[Batch]:
        yield from ()
