"""What a kind of noise sees of a log, and what it may change in it."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.integer[Any]]

NEVER = np.iinfo(np.int64).max
"""The time of an event that does not come."""


class CannotCorruptError(Exception):
    """A log does not admit the noise that is asked for.

    The message is `reason` with `{user}` in place of a raw id; `user` is whose.
    """

    def __init__(self, reason: str, *, user: int = -1) -> None:
        super().__init__(reason)
        self.reason = reason
        self.user = user


@dataclass(frozen=True)
class OpenLog:
    """The open events of a log: of each user those before the first target, all where the user has none.

    item: [N] 1..catalogue, by user and position
    time: [N] microseconds, never falling within a user; None where the log has no times
    offsets: [users + 1] where each user's open events begin in `item`
    train_length: [users] how many of the first ones may be trained on
    next_time: [users] the time of the event after the open ones, `NEVER` where there is none
    forbidden_offsets: [users + 1] and forbidden_items: the items that each user is ranked on, distinct and rising
    catalogue: the number of items
    """

    item: Integers
    time: Integers | None
    offsets: Integers
    train_length: Integers
    next_time: Integers
    forbidden_offsets: Integers
    forbidden_items: Integers
    catalogue: int

    @property
    def events(self) -> int:
        """N, the number of open events."""
        return len(self.item)

    @property
    def users(self) -> int:
        """The number of users, those without open events among them."""
        return len(self.train_length)

    @cached_property
    def lengths(self) -> Integers:
        """[users] how many open events each user has."""
        return np.diff(self.offsets)

    @cached_property
    def user(self) -> Integers:
        """[N] whose event it is."""
        return np.repeat(np.arange(self.users, dtype=np.int32), self.lengths)

    @cached_property
    def position(self) -> Integers:
        """[N] the event's place in its user's history, from 0."""
        return (np.arange(self.events) - np.repeat(self.offsets[:-1], self.lengths)).astype(np.int32)

    @cached_property
    def trainable(self) -> npt.NDArray[np.bool_]:
        """[N] whether the event may be trained on."""
        return np.asarray(self.position < np.repeat(self.train_length, self.lengths))

    @cached_property
    def popularity(self) -> Integers:
        """[catalogue + 1] how often each item is in the training part; 0 for the padding."""
        return np.bincount(self.item[self.trainable], minlength=self.catalogue + 1)

    def latest(self, rows: Integers) -> Integers:
        """[n] the latest time of an event put in after the open events `rows`.

        That is the next event's time. A trainable one is also no later than all others are, so that no noise moves
        the training part beyond a moment that ends it. The log has times.
        """
        assert self.time is not None
        user, last = self.user[rows], self.offsets[1:][self.user[rows]] - 1
        following = np.where(rows == last, self.next_time[user], self.time[np.minimum(rows + 1, self.events - 1)])
        return np.where(self.trainable[rows], np.minimum(following, self.horizon), following)

    @cached_property
    def horizon(self) -> int:
        """The last time in the training part; in the whole log where nothing may be trained on. The log has times."""
        assert self.time is not None
        return int(self.time[self.trainable].max() if self.trainable.any() else self.time.max())


def _none() -> Integers:
    return np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class Insertions:
    """Events put into users' histories; those in one place stand by time, then in this order.

    after: [k] the open position that each comes after; -1 before the first
    time: [k] microseconds; None where the log has no times
    """

    user: Integers
    after: Integers
    item: Integers
    time: Integers | None


@dataclass(frozen=True)
class NewUsers:
    """Users that are put behind the log's own; all their events may be trained on.

    lengths: [m] how many events each has; item, time: [sum of lengths] theirs, one user after the other
    """

    lengths: Integers
    item: Integers
    time: Integers | None


@dataclass(frozen=True)
class Edits:
    """What a kind of noise changes in an `OpenLog`. `rows` count open events from 0.

    replaced: [r] rows that get the items of `replacements` [r]
    exchanged: [p, 2] pairs of rows that swap their items
    deleted: [d] rows that go, after they have been swapped if they are of a pair
    """

    replaced: Integers = field(default_factory=_none)
    replacements: Integers = field(default_factory=_none)
    exchanged: Integers = field(default_factory=lambda: np.zeros((0, 2), dtype=np.int64))
    deleted: Integers = field(default_factory=_none)
    inserted: Insertions | None = None
    added: NewUsers | None = None
