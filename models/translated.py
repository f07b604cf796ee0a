"""A served model asked about another log than its own, by the items' raw ids."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.engine.batches import Batch
from models.engine.ranking import Protocol, rank
from models.engine.sequences import Sequences, Targets
from models.recommender import Recommender
from models.serving import Server

Score = Callable[[Batch], Tensor]


class UnknownLog(ValueError):
    """A model cannot be asked about a log: the message says why."""


class Translated(Recommender):
    """A served model whose scores are those of another log's items, in their order there; batches are in its own
    numbers. Items that it does not know come behind those that it does, and what the log lacks has no place.
    """

    def __init__(self, served: Recommender, score: Score, own: Tensor) -> None:
        """own: [items of the log] int64, the number that the served model has each by, 0 for one that it does not know.
        `score` is [windows, its own items].
        """
        super().__init__()
        self.length, self.appended = served.length, served.appended
        self.served, self._score, self._own = served, score, own

    def scorer(self) -> Score:
        unknown, columns = self._own == 0, self._own.clamp(min=1) - 1

        def scores(batch: Batch) -> Tensor:
            strangers = replace(batch, users=torch.full_like(batch.users, -1))
            of_log = self._score(strangers)[:, columns]
            known = of_log[:, ~unknown]
            below = torch.nextafter(known.amin(1, keepdim=True), known.new_tensor(-torch.inf))
            return torch.where(unknown, below, of_log)

        return scores


def translated_ranks(
    server: Server, log: Sequences, targets: Targets, *, ids: Sequence[Any], trained: Tensor
) -> NDArray[np.float32]:
    """[targets] float32: the ranks of `targets` in `log`, whose items from number 1 on have the raw `ids`, among the
    log's items less what the user had interacted with; infinite for a target that the model does not know.

    Asked as in serving: a history is what the model knows of it, without such events its answer is what is popular, and
    every user is a stranger, of whom it was trained on the first `trained` [users] int64 events all the same. Scored by
    blocks (`models.engine.ranking`), those targets alone that it knows.

    Raises `UnknownLog` where the log lacks times that the model reads, its ids are of another type, or the model knows
    none of them.
    """
    if "times" in server.model.needs and log.times is None:
        raise UnknownLog("it reads times, which this log does not have")
    kinds = {int: "whole numbers", str: "text"}
    if type(ids[0]) is not type(server.ids[0]):
        raise UnknownLog(f"it knows items by {kinds[type(server.ids[0])]}, and this log by {kinds[type(ids[0])]}")
    numbers = {raw: number for number, raw in enumerate(server.ids, start=1)}
    own = torch.tensor([numbers.get(raw, 0) for raw in ids])
    if not own.any():
        raise UnknownLog("it knows no item of this log")
    items = own[log.items.long() - 1]
    known = items > 0
    before = torch.cat([known.new_zeros(1, dtype=torch.int64), known.cumsum(0)])
    begins = log.offsets[targets.users]
    histories = before[begins + targets.histories] - before[begins]
    most = max(len(server.ids), len(ids))  # what a block of scores has room for
    own_log = replace(log, items=items.int(), train_lengths=trained, item_count=most).only(known)

    popularity = server.popularity
    by_popularity: Score = lambda batch: popularity.expand(len(batch.ends), -1)  # noqa: E731
    ranks = np.full(len(targets), np.inf, dtype=np.float32)
    can_be_found = own[targets.items - 1] > 0
    for score, rows in (
        (server.model.scorer, can_be_found & (histories > 0)),
        (lambda: by_popularity, can_be_found & (histories == 0)),
    ):
        if rows.any():
            model = Translated(server.model, score(), own)
            asked = _rows(targets, rows)
            found = rank(model, own_log, replace(asked, histories=histories[rows]), Protocol.of(log, asked, seed=0))
            ranks[rows.numpy()] = found["full_unseen"]
    return ranks


def _rows(targets: Targets, rows: Tensor) -> Targets:
    return Targets(targets.users[rows], targets.items[rows], targets.histories[rows])
