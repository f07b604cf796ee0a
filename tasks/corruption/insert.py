"""Single clicks by accident: events that were never meant, between those that were."""

import numpy as np

from tasks.corruption.draws import Stream, Words, below, draw_items, even_weights, random_words
from tasks.corruption.openlog import CannotCorruptError, Edits, Insertions, Integers, OpenLog

LONGEST_DELAY = 3_600_000_000
"""Microseconds; somebody clicks by accident while at it, so within an hour of a genuine event."""


def edits(log: OpenLog, count: int, seed: int) -> Edits:
    """`count` events after open ones drawn one by one, on items uniform over the catalogue.

    None on an item that its user is ranked on. Each is at a random time within an hour after the event that it
    follows, and no later than the one that follows it.
    """
    rows = below(random_words(seed, Stream.PLACE, count), log.events)
    time = None
    if log.time is not None:
        room = np.minimum(log.latest(rows), log.time[rows] + LONGEST_DELAY) - log.time[rows]
        time = log.time[rows] + below(random_words(seed, Stream.TIME, count), room + 1)
    return Edits(inserted=inserted_after(log, rows, words=random_words(seed, Stream.ITEM, count), time=time))


def inserted_after(log: OpenLog, rows: Integers, *, words: Words, time: Integers | None) -> Insertions:
    """Events after the open events `rows`, on items drawn uniformly without those that the user is ranked on.

    Raises `CannotCorruptError` where nothing is left to draw for one of them.
    """
    user = log.user[rows]
    drawn = draw_items(log, words, users=user, weights=even_weights(log))
    if not drawn.all():
        raise CannotCorruptError(
            f"the catalogue of {log.catalogue} items leaves nothing to insert into the history of user {{user}}, "
            "who is ranked on all of them: take a log with more items, or a smaller ratio",
            user=int(user[drawn == 0][0]),
        )
    return Insertions(user=user, after=log.position[rows], item=drawn, time=time)
