"""A network whose opinion is pooled with that of nearest neighbours."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.config import KEPT_ANSWERS
from models.engine.batches import Batch
from models.engine.sequences import Sequences
from models.networks.v_sknn import VSKNN, Answer
from models.recommender import SCORED_AT_A_TIME, Draws, Loss, Recommender


class Pooled(Recommender):
    """Ranks by a network and by nearest neighbours at once, whose mistakes are different ones.

    The two answers are probabilities, p of the network, the softmax of its scores, and q of the neighbours. Pooled they
    are proportional to p^(1 − w) q^w, w the `weight`: a logarithmic opinion pool (Genest & Zidek, *Combining
    Probability Distributions*, Statistical Science 1986). What both hold likely comes first. An item's score is

        (1 − w) · score of the network, an inner product, + w · log q

    The network is trained as it would be alone, on the same draws. Validation, which chooses its weights, ranks by
    both. What the neighbours say does not change from epoch to epoch, and takes as long to find as an epoch: in
    training it is kept, as far as `KEPT_ANSWERS` goes. They are those of the training log as it is; what of it a noise
    model beside the network leaves out, they keep.
    """

    def __init__(self, network: Recommender, neighbours: VSKNN, *, weight: float) -> None:
        """Raises `ValueError` where the network ranks with an item appended to histories, which neighbours have not."""
        super().__init__()
        if network.appended is not None:
            raise ValueError("a network that ranks with a mask at a history's end cannot be pooled with neighbours")
        self.network = network
        self.neighbours = neighbours
        self.weight = weight
        self.length = network.length
        self.needs = network.needs
        self._kept: _Kept | None = None

    @property
    def trained_length(self) -> int:
        return self.network.trained_length

    def prepare(self, sequences: Sequences) -> None:
        self.network.prepare(sequences)
        self.neighbours.prepare(sequences)
        self._kept = _Kept(self.neighbours)

    def resume(self, sequences: Sequences) -> None:
        self.network.resume(sequences)
        self.neighbours.resume(sequences)
        self._kept = _Kept(self.neighbours)

    def row_tables(self) -> tuple[nn.Embedding, ...]:
        return self.network.row_tables()

    def training_batches(
        self, sequences: Sequences, *, batch_size: int, generator: torch.Generator, draws: Draws
    ) -> Iterator[Batch]:
        return self.network.training_batches(sequences, batch_size=batch_size, generator=generator, draws=draws)

    def loss(self, batch: Batch, draws: Draws) -> Loss:
        return self.network.loss(batch, draws)

    def query(self, batch: Batch) -> Tensor:
        """Of the network alone: no inner product with it is a score."""
        return self.network.query(batch)

    def scorer(self) -> Callable[[Batch], Tensor]:
        by_network = self.network.scorer()
        by_neighbours = self.neighbours.scorer() if self._kept is None else self._kept.scores

        def scores(batch: Batch) -> Tensor:
            return by_neighbours(batch).mul_(self.weight).add_(by_network(batch), alpha=1 - self.weight)

        return scores

    def surprises(self, batch: Batch, items: Tensor) -> Tensor:
        queries, table = self.network.query(batch), self.network.item_table()[1:]
        by_neighbours = self.neighbours.scorer()
        parts = [queries.new_zeros(0)]
        for some in torch.arange(len(items), device=items.device).split(SCORED_AT_A_TIME):
            pooled = by_neighbours(replace(batch, ends=batch.ends[some])).mul_(self.weight)
            pooled.add_(queries[some] @ table.T, alpha=1 - self.weight)
            parts.append(F.cross_entropy(pooled, items[some] - 1, reduction="none"))
        return torch.cat(parts)

    def diagnostics(self) -> dict[str, float]:
        return self.network.diagnostics()

    def warnings(self) -> tuple[str, ...]:
        return self.network.warnings()

    def collapsed(self) -> bool:
        return self.network.collapsed()

    def explain(self, batch: Batch) -> dict[str, Tensor]:
        """As the network's, and where that does not read all events, looked_at: [rows, length] bool, those that count,
        which with neighbours are all.
        """
        told = self.network.explain(batch)
        return told | {"looked_at": batch.segments > 0} if "read" in told else told

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        return self.network.parameter_groups(learning_rate)


class _Kept:
    """What neighbours have answered, by what they were asked."""

    def __init__(self, neighbours: VSKNN) -> None:
        self._neighbours = neighbours
        self._answer = neighbours.answering()
        self._answers: dict[bytes, Answer] = {}
        self._bytes = 0

    def scores(self, batch: Batch) -> Tensor:
        """As of `VSKNN.scorer`."""
        asked = _digest(batch)
        answer = self._answers.get(asked) or self._answer(batch)
        if asked not in self._answers and self._bytes + answer.bytes <= KEPT_ANSWERS:
            self._answers[asked] = answer
            self._bytes += answer.bytes
        return self._neighbours.scores(answer)


def _digest(batch: Batch) -> bytes:
    """Of all that neighbours read."""
    digest = hashlib.sha256()
    for part in (batch.items, batch.segments, batch.users, batch.ends):
        digest.update(str(tuple(part.shape)).encode())
        digest.update(part.cpu().contiguous().numpy().tobytes())
    return digest.digest()
