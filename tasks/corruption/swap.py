"""Neighbouring events in the wrong order: late tracking, clocks that disagree, batches."""

import numpy as np

from tasks.corruption.draws import Stream, Words, first_in_order, random_words
from tasks.corruption.openlog import CannotCorruptError, Edits, Integers, OpenLog


def edits(log: OpenLog, count: int, seed: int) -> Edits:
    """`count / 2` pairs of neighbouring open events exchange their items; times stay; no event is in two pairs.

    A pair has two items, and both its events may be trained on or neither: no item crosses into the training part.

    Raises `CannotCorruptError` where there are fewer pairs.
    """
    words = random_words(seed, Stream.PLACE, log.events)
    first = np.flatnonzero(_can_swap_with_next(log))
    pairs = _disjoint(first, words)
    if 2 * len(pairs) < count:
        alone = np.setdiff1d(np.flatnonzero(log.lengths), log.user[first])
        example = " (user {user} has no such pair)" if alone.size else ""
        raise CannotCorruptError(
            f"only {2 * len(pairs)} of the {log.events} open events can be swapped with a neighbour of the same user "
            f"that has another item, where {count} are asked for{example}: "
            "take a smaller ratio, or a log with longer histories",
            user=int(alone[0]) if alone.size else -1,
        )
    chosen = pairs[first_in_order(words[pairs], count // 2)]
    return Edits(exchanged=np.stack([chosen, chosen + 1], axis=1))


def _can_swap_with_next(log: OpenLog) -> np.ndarray:
    """[N] whether the event and the one after it are a pair that may be swapped."""
    able = np.zeros(log.events, dtype=np.bool_)
    able[:-1] = (
        (log.user[1:] == log.user[:-1]) & (log.item[1:] != log.item[:-1]) & (log.trainable[1:] == log.trainable[:-1])
    )
    return able


def _disjoint(first: Integers, words: Words) -> Integers:
    """Of the pairs (row, row + 1) with `first` rows, those that taking them in the order of their words would take.

    A pair whose word is smaller than those of both pairs that it overlaps is taken and the two are left; so again
    with what remains, until nothing does. Each round settles a constant share of the pairs.
    """
    taken = []
    while first.size:
        order = words[first]
        touches_next = np.append(first[1:] == first[:-1] + 1, False)
        beaten_by_next = touches_next & np.append(order[1:] < order[:-1], False)
        beaten = beaten_by_next.copy()
        beaten[1:] |= touches_next[:-1] & ~beaten_by_next[:-1]
        taken.append(first[~beaten])
        settled = ~beaten
        settled[1:] |= touches_next[:-1] & ~beaten[:-1]
        settled[:-1] |= touches_next[:-1] & ~beaten[1:]
        first = first[~settled]
    return np.sort(np.concatenate(taken)) if taken else first
