"""The log that edits make of a log."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.corruption.draws import Stream, last_to_go, random_words
from tasks.corruption.openlog import Edits, Insertions, Integers, NewUsers, OpenLog

Flags = npt.NDArray[np.bool_]
Column = npt.NDArray[Any]


@dataclass(frozen=True)
class Edited:
    """The open events after the edits, by user and position; new users come last.

    user, item, position: [M]; time: [M] or None
    source: [M] the row that the event was before; -1 for one that was put in
    touched: [M] whether the event is noise: put in, replaced or swapped
    train_length: [users + new users]
    growth: [users + new users] by how much the open events of each became more
    """

    user: Integers
    item: Integers
    time: Integers | None
    position: Integers
    source: Integers
    touched: Flags
    train_length: Integers
    growth: Integers


def apply(log: OpenLog, edits: Edits) -> Edited:
    """Make the edits: replace and swap items, take out what is deleted, put in what is inserted, add the new users.

    An event inserted after an open position may be trained on where that position may be; one before the first
    where the first may be.
    """
    columns, growth, train_length = _kept(log, edits)
    if edits.inserted is not None:
        trains = np.maximum(edits.inserted.after, 0) < log.train_length[edits.inserted.user]
        train_length = train_length + np.bincount(edits.inserted.user[trains], minlength=log.users)
        growth = growth + np.bincount(edits.inserted.user, minlength=log.users)
        columns = _with_inserted(log, columns, edits.inserted)
    if edits.added is not None:
        train_length = np.append(train_length, edits.added.lengths)
        growth = np.append(growth, edits.added.lengths)
        columns = _with_added(log, columns, edits.added)
    lengths = np.bincount(columns["user"], minlength=len(growth))
    position = np.arange(len(columns["user"])) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return Edited(
        user=columns["user"],
        item=columns["item"],
        time=columns.get("time"),
        position=position,
        source=columns["source"],
        touched=columns["touched"],
        train_length=train_length,
        growth=growth,
    )


def taken_out(log: OpenLog, edits: Edits, *, seed: int) -> Edits:
    """What is left to do where all noise that edits make is found and left out: nothing is put in, and what was
    replaced or swapped is gone.

    A user whose open events are all noise keeps one of them as the noise that it is, the last to go in the order of
    this seed, as `tasks.corruption.delete` leaves one: a target has a history.
    """
    noisy = np.unique(np.concatenate([edits.replaced, edits.exchanged.ravel(), edits.deleted]))
    bare = np.bincount(log.user[noisy], minlength=log.users) == log.lengths
    last = last_to_go(log, random_words(seed, Stream.PLACE, log.events))
    spared = last[bare[log.user[last]]]
    replaced = np.isin(edits.replaced, spared)
    return Edits(
        replaced=edits.replaced[replaced],
        replacements=edits.replacements[replaced],
        exchanged=edits.exchanged[np.isin(edits.exchanged, spared).any(axis=1)],
        deleted=np.setdiff1d(noisy, spared),
    )


def _kept(log: OpenLog, edits: Edits) -> tuple[dict[str, Column], Integers, Integers]:
    """The rows that stay, with their new items; each user's growth and train length without what is deleted."""
    item, touched = log.item.copy(), np.zeros(log.events, dtype=np.bool_)
    item[edits.replaced] = edits.replacements
    item[edits.exchanged] = log.item[edits.exchanged[:, ::-1]]
    touched[edits.replaced] = True
    touched[edits.exchanged] = True
    deleted = edits.deleted
    trained = deleted[log.trainable[deleted]]
    growth = -np.bincount(log.user[deleted], minlength=log.users)
    train_length = log.train_length - np.bincount(log.user[trained], minlength=log.users)
    stays = np.ones(log.events, dtype=np.bool_)
    stays[deleted] = False
    rows = np.flatnonzero(stays)
    columns = {"user": log.user[rows], "item": item[rows], "source": rows, "touched": touched[rows]}
    if log.time is not None:
        columns["time"] = log.time[rows]
    return columns, growth, train_length


def _with_inserted(log: OpenLog, columns: dict[str, Column], new: Insertions) -> dict[str, Column]:
    """The columns with the inserted events in their places.

    A user with n open events has n + 1 gaps, before the first to behind the last; gaps are counted through.
    """
    gap = log.offsets[new.user] + new.after + 1 + new.user
    order = np.argsort(gap, kind="stable") if new.time is None else np.lexsort((new.time, gap))
    gap = gap[order]
    inserted_up_to = np.cumsum(np.bincount(gap, minlength=log.events + log.users))
    rows = columns["source"]
    old_places = np.arange(len(rows)) + inserted_up_to[rows + columns["user"]]
    new_places = np.arange(len(gap)) + np.searchsorted(rows, gap - new.user[order])
    inserted = _noise(
        user=new.user[order], item=new.item[order], time=new.time if new.time is None else new.time[order]
    )
    merged = {}
    for name, old in columns.items():
        merged[name] = np.empty(len(rows) + len(gap), dtype=old.dtype)
        merged[name][old_places] = old
        merged[name][new_places] = inserted[name]
    return merged


def _with_added(log: OpenLog, columns: dict[str, Column], new: NewUsers) -> dict[str, Column]:
    """The columns with the new users' events behind them."""
    users = np.arange(log.users, log.users + len(new.lengths))
    added = _noise(user=np.repeat(users, new.lengths), item=new.item, time=new.time)
    return {name: np.concatenate([old, added[name].astype(old.dtype)]) for name, old in columns.items()}


def _noise(*, user: Integers, item: Integers, time: Integers | None) -> dict[str, Column]:
    """The columns of events that were put in."""
    count = len(item)
    columns: dict[str, Column] = {
        "user": user,
        "item": item,
        "source": np.full(count, -1),
        "touched": np.ones(count, dtype=np.bool_),
    }
    return columns if time is None else {**columns, "time": time}
