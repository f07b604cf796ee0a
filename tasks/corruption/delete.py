"""Events that happened and are not in the log: lost, or done elsewhere."""

import numpy as np

from tasks.corruption.draws import Stream, first_in_order, last_to_go, random_words
from tasks.corruption.openlog import CannotCorruptError, Edits, OpenLog


def edits(log: OpenLog, count: int, seed: int) -> Edits:
    """`count` open events go, in a random order; the one that would be a user's last to go stays.

    Raises `CannotCorruptError` where fewer can go.
    """
    words = random_words(seed, Stream.PLACE, log.events)
    free = np.ones(log.events, dtype=np.bool_)
    free[last_to_go(log, words)] = False
    rows = np.flatnonzero(free)
    if len(rows) < count:
        raise CannotCorruptError(
            f"only {len(rows)} of the {log.events} open events can be deleted where {count} are asked for, because "
            "every user keeps one (user {user} has no other): take a smaller ratio, or a log with longer histories",
            user=int(np.flatnonzero(log.lengths == 1)[0]),
        )
    return Edits(deleted=rows[first_in_order(words[rows], count)])
