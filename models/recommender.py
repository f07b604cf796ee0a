"""The one interface that the engine and serving know."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.engine.batches import Batch, UnseenItems, training_batches
from models.engine.cross_entropy import cross_entropy
from models.engine.randomness import Dropout, Streams, keep_mask
from models.engine.sequences import Sequences

SCORED_AT_A_TIME = 256
"""Windows whose scores for every item are held to tell those of one."""


@dataclass(frozen=True)
class Loss:
    """A training loss, unreduced, so that others can weigh its terms.

    terms: [events] the loss at each position
    weights: [events] or None for equal weights
    penalties: named scalars that are part of the objective
    surrogates: named scalars whose gradients belong to the objective and whose values mean nothing
        (score-function estimators)
    """

    terms: Tensor
    weights: Tensor | None = None
    penalties: Mapping[str, Tensor] = field(default_factory=dict)
    surrogates: Mapping[str, Tensor] = field(default_factory=dict)

    def data_term(self) -> Tensor:
        """The weighted mean of the terms."""
        return self._mean

    @cached_property
    def _mean(self) -> Tensor:
        if self.weights is None:
            return self.terms.mean()
        return (self.terms * self.weights).sum() / self.weights.sum().clamp(min=1e-12)

    def objective(self) -> Tensor:
        """What the optimiser descends."""
        return sum([*self.penalties.values(), *self.surrogates.values()], start=self.data_term())


@dataclass(frozen=True)
class Draws:
    """The randomness of one training step, by use."""

    streams: Streams
    unseen: UnseenItems
    step: int = 0
    """How many steps the training has taken before."""

    NAMES: ClassVar = ("dropout", "negatives", "gate", "jacobian", "masks", "sharing", "views")

    def dropout(self, *, copies: int = 1) -> Dropout:
        """Fresh dropout for one forward pass over so many copies of a batch."""
        return Dropout(partial(keep_mask, generator=self.streams["dropout"]), copies=copies)

    def negatives(self, users: Tensor, count: int) -> Tensor:
        """users [n] → [n, count] items outside the users' training parts."""
        return self.unseen.draw(users, count, self.streams["negatives"])

    def shared_negatives(self, count: int) -> Tensor:
        """[count] items of the whole catalogue, uniform, with replacement."""
        generator = self.streams["negatives"]
        return torch.randint(1, self.unseen.item_count + 1, (count,), generator=generator, device=generator.device)

    def fractions(self, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1) for what is replaced in training."""
        generator = self.streams["sharing"]
        return torch.rand(*shape, generator=generator, device=generator.device)

    def whole_numbers(self, limit: int, *shape: int) -> Tensor:
        """Uniform whole numbers in 0 … limit − 1 for what is put in its place, or for how noisy it is made."""
        generator = self.streams["sharing"]
        return torch.randint(limit, shape, generator=generator, device=generator.device)

    def view_fractions(self, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1), in double precision, for how views of windows are made."""
        generator = self.streams["views"]
        return torch.rand(*shape, generator=generator, device=generator.device, dtype=torch.float64)

    def uniforms(self, *shape: int) -> Tensor:
        """Uniform numbers in (0, 1), kept off the ends where a logit would be infinite."""
        generator = self.streams["gate"]
        return torch.rand(*shape, generator=generator, device=generator.device).clamp_(1e-6, 1 - 1e-6)

    def normals(self, *shape: int) -> Tensor:
        """Standard normal numbers."""
        generator = self.streams["jacobian"]
        return torch.randn(*shape, generator=generator, device=generator.device)


class Recommender(nn.Module):
    """A next-item recommender. Its scores are inner products of `query` and `item_table`, unless it has a `scorer` of
    its own, and where all scores are more than it takes to tell one item's, `surprises`.

    `needs` names what a model reads beside items: a subset of {"times", "users"}. A history longer than `length` is cut
    to its last `length` events; items unknown to the model must be left out by the caller; an empty history gives the
    query of padding, which ranks nothing in particular. Where `appended` is an item, it stands after each history that
    is to be ranked with, and takes one of the `length` places. One that `draws_globally` may draw from torch's own
    generators beside its `Draws`, as `nn.Dropout` does: they are seeded anew for each step.
    """

    needs: frozenset[str] = frozenset()
    length: int
    appended: int | None = None
    draws_globally: bool = False

    @property
    def mask(self) -> int | None:
        """The item that hides an event from a model that sees what comes before and after it; None where only the past
        is seen.
        """
        return self.appended

    @property
    def trained_length(self) -> int:
        """How many events a window has in training, where it has more when it is ranked with."""
        return self.length

    def prepare(self, sequences: Sequences) -> None:
        """Take from the training log what the model keeps of it beside its weights, before it is trained.

        Raises `ValueError` where the model was not built for such a log.
        """

    def resume(self, sequences: Sequences) -> None:
        """As `prepare`, where the model has the state of a training on this log, which goes on: what is kept in that
        state need not be found anew.
        """
        self.prepare(sequences)

    def row_tables(self) -> tuple[nn.Embedding, ...]:
        """The tables of which a training step reads no more than the rows that it names, so that no other row needs a
        gradient; none by default, and none where the loss looks at every item.
        """
        return ()

    def training_batches(
        self, sequences: Sequences, *, batch_size: int, generator: torch.Generator, draws: Draws
    ) -> Iterator[Batch]:
        """One epoch; `generator`, on the CPU, gives the order."""
        return training_batches(sequences, length=self.length, batch_size=batch_size, generator=generator)

    def loss(self, batch: Batch, draws: Draws) -> Loss:
        """The training loss of a batch with targets."""
        raise self._missing("loss")

    def forward(self, batch: Batch, draws: Draws) -> Loss:
        """The same, for `torch.func.functional_call`."""
        return self.loss(batch, draws)

    def query(self, batch: Batch) -> Tensor:
        """[windows, dim]: what the scores of each window's next item are computed from."""
        raise self._missing("query")

    def item_table(self) -> Tensor:
        """[items + 1, dim]; row 0 is padding and is never ranked."""
        raise self._missing("item_table")

    def scorer(self) -> Callable[[Batch], Tensor]:
        """What scores every item for each of a batch's windows: [windows, items], column 0 of item 1. It goes with the
        weights as they are now.
        """
        table = self.item_table()[1:]
        return lambda batch: self.query(batch) @ table.T

    def surprises(self, batch: Batch, items: Tensor) -> Tensor:
        """[windows]: −log p of an item for each window, where p is the softmax of the scores; items [windows]."""
        if type(self).scorer is Recommender.scorer:
            return cross_entropy(self.query(batch), self.item_table(), items)
        scores = self.scorer()
        asked = zip(batch.ends.split(SCORED_AT_A_TIME), items.split(SCORED_AT_A_TIME), strict=True)
        parts = [F.cross_entropy(scores(replace(batch, ends=ends)), of - 1, reduction="none") for ends, of in asked]
        return torch.cat(parts) if parts else batch.real.new_zeros(0)

    def diagnostics(self) -> dict[str, float]:
        """Figures worth a curve beside the loss, such as how far a gate is open."""
        return {}

    def warnings(self) -> tuple[str, ...]:
        """What a person should hear of the state that training has brought it to, a sentence each."""
        return ()

    def collapsed(self) -> bool:
        """Has a part of it switched itself off?"""
        return False

    def explain(self, batch: Batch) -> dict[str, Tensor]:
        """What it does with the batch's events beside scoring them, by name; empty where there is nothing to tell."""
        return {}

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """The optimiser's groups, where `learning_rate` is the network's; each one's `rate` is its own over that. A
        group with a `weight_decay` keeps that one; the others have the training's.
        """
        return [{"params": list(self.parameters()), "lr": learning_rate, "rate": 1.0}]

    def _missing(self, method: str) -> TypeError:
        return TypeError(f"{type(self).__name__} does not define {method}")
