"""Batches and draws of several replicas of one model, stacked, so that one launch serves all of them.

Replicas share a network's shape and nothing else: each has a log, weights and generators of its own. Their logs are
joined, so that one gather lays out the batches of all; what is drawn comes from each replica's own generators, as much
and in the order as when it trains alone, and only then is stacked. Batches differ in how many rows and events they
have, and are padded to the most: a padding row sees nothing, a padding event is one of the replica's again and has a
weight of 0.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.engine.batches import pack, placed, sent
from models.engine.randomness import Dropout, Streams, draw_words, keep_masks, word_count
from models.engine.sequences import Sequences
from models.recommender import Draws


@dataclass(frozen=True)
class StackedBatch:
    """A batch of each replica.

    grids: the tensors of a `Batch` by their names, each with a dimension for the replicas before its own; users are
        numbered as in the joined log
    real: [replicas, events] float32, 0 where an event is padding
    rows, events: how many of them are each replica's own
    """

    grids: dict[str, Tensor]
    real: Tensor
    rows: tuple[int, ...]
    events: tuple[int, ...]


def joined(logs: Sequence[Sequences]) -> Sequences:
    """The users of all logs, one log after another, without times and judgements."""
    before = [0]
    for log in logs:
        before.append(before[-1] + len(log.items))
    offsets = [log.offsets[1:] + skipped for log, skipped in zip(logs, before, strict=False)]
    return Sequences(
        items=torch.cat([log.items for log in logs]),
        offsets=torch.cat([logs[0].offsets[:1], *offsets]),
        train_lengths=torch.cat([log.train_lengths for log in logs]),
        item_count=max(log.item_count for log in logs),
    )


def stacked_windows(log: Sequences, users: Sequence[Tensor], stops: Sequence[Tensor], *, length: int) -> StackedBatch:
    """As `models.engine.batches.windows` with targets, for each replica, whose windows share no row with another's.

    users, stops: of each replica [windows] int64 on the CPU, the users numbered as in the joined `log`
    """
    sizes = [each.clamp(max=length) for each in stops]
    packed = [pack(each.numpy(), length) for each in sizes]
    replicas, rows = len(packed), max(row_count for _, row_count in packed)
    first_rows = torch.arange(replicas) * rows
    places = [torch.cat([place[:1] + first, place[1:]]) for (place, _), first in zip(packed, first_rows, strict=True)]
    batch = placed(
        log,
        torch.cat(list(users)),
        torch.cat(list(stops)),
        torch.cat(places, dim=1),
        replicas * rows,
        length=length,
        with_targets=True,
    )
    windows, events = [len(each) for each in sizes], [int(each.sum()) for each in sizes]
    counts = sent(torch.tensor([windows, events]), log.device)[:, :, None]
    first_cells = torch.arange(replicas, device=log.device)[:, None] * rows * length

    def of_each(cells: Tensor, counts: Tensor, most: int) -> Tensor:
        """Cells of the replicas, one after another → [replicas, most], of each one's own grid; its last one repeated
        where it has fewer.
        """
        within = torch.arange(most, device=log.device).minimum(counts - 1)
        return cells[within + counts.cumsum(0) - counts] - first_cells

    def grid(cells: Tensor | None) -> Tensor:
        assert cells is not None
        return cells.unflatten(0, (replicas, rows))

    grids = {
        "items": grid(batch.items),
        "users": grid(batch.users),
        "positions": grid(batch.positions),
        "segments": grid(batch.segments),
        "targets": grid(batch.targets),
        "cells": of_each(batch.cells, counts[1], max(events)),
        "ends": of_each(batch.ends, counts[0], max(windows)),
    }
    return StackedBatch(
        grids=grids,
        real=(torch.arange(max(events), device=log.device) < counts[1]).float(),
        rows=tuple(row_count for _, row_count in packed),
        events=tuple(events),
    )


class StackedStreams(Streams):
    """The streams of several replicas."""

    def __init__(self, replicas: Sequence[Streams]) -> None:
        self._replicas = tuple(replicas)

    def __getitem__(self, name: str) -> torch.Generator:
        raise TypeError(f"replicas do not draw from {name!r} side by side: such a model trains alone")

    def each(self, name: str) -> list[torch.Generator]:
        """The stream of this name of each replica."""
        return [streams[name] for streams in self._replicas]


@dataclass(frozen=True, kw_only=True)
class StackedDraws(Draws):
    """The randomness of one step of several replicas, for a loss that `torch.vmap` maps over them.

    `unseen` is of the joined log; `batch` is what the step trains on; `anchor` is any tensor that is mapped, for draws
    that depend on none.
    """

    streams: StackedStreams
    batch: StackedBatch
    anchor: Tensor

    def dropout(self, *, copies: int = 1) -> Dropout:
        if copies != 1:
            raise TypeError("replicas take one pass a step: such a model trains alone")
        return Dropout(self._keep_masks)

    def negatives(self, users: Tensor, count: int) -> Tensor:
        def draw(users: Tensor) -> Tensor:
            numbers = torch.zeros(*users.shape, count, dtype=torch.int64, device=users.device)
            for own, events, generator in zip(numbers, self.batch.events, self.streams.each("negatives"), strict=True):
                own[:events].random_(generator=generator)
            return self.unseen.at(users[..., None], numbers)

        return _for_each(users, draw)

    def shared_negatives(self, count: int) -> Tensor:
        def draw(anchor: Tensor) -> Tensor:
            drawn = torch.empty(len(anchor), count, dtype=torch.int64, device=anchor.device)
            for own, generator in zip(drawn, self.streams.each("negatives"), strict=True):
                own.random_(1, self.unseen.item_count + 1, generator=generator)
            return drawn

        return _for_each(self.anchor, draw)

    def _keep_masks(self, values: Tensor, probability: float) -> Tensor:
        """Masks for the rows that are each replica's own; those of padding mean nothing."""

        def draw(values: Tensor) -> Tensor:
            shape = values.shape[1:]
            cells_of_row = shape[1:].numel()
            words = torch.zeros(len(values), word_count(shape.numel()), dtype=torch.int64, device=values.device)
            for own, rows, generator in zip(words, self.batch.rows, self.streams.each("dropout"), strict=True):
                draw_words(own[: word_count(rows * cells_of_row)], generator)
            return keep_masks(words, shape, probability, dtype=values.dtype)

        return _for_each(values, draw)


def _for_each(mapped: Tensor, draw: Callable[[Tensor], Tensor]) -> Tensor:
    """Within `torch.vmap`: what `draw` makes of `mapped` with its dimension of replicas, first in both."""
    drawn: Tensor = _ForEach.apply(mapped, draw)  # type: ignore[no-untyped-call]
    return drawn


class _ForEach(torch.autograd.Function):
    """The way to see through a map: vmap itself draws the same for all, or from one generator."""

    @staticmethod
    def forward(mapped: Tensor, draw: Callable[[Tensor], Tensor]) -> Tensor:
        raise TypeError("replicas draw within torch.vmap alone")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Nothing is differentiated."""

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], mapped: Tensor, draw: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, int]:
        dimension = in_dims[0]
        assert dimension is not None
        return draw(mapped.detach().movedim(dimension, 0)), 0
