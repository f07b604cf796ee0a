"""Random draws that are the same on every machine and for every version of numpy.

A generator's raw 64-bit words are used, because numpy keeps them the same from version to version while its
distributions may change. A stream's first words are the same however many are taken, which is what nests the noise
of one ratio in that of a larger one.
"""

from enum import IntEnum

import numpy as np
import numpy.typing as npt

from tasks.corruption.openlog import Integers, OpenLog

Words = npt.NDArray[np.uint64]


class Stream(IntEnum):
    """Which of a seed's streams is for what. Changing a number changes every corrupted snapshot."""

    PLACE = 0
    ITEM = 1
    TIME = 2
    LENGTH = 3
    GUEST = 4
    ITEM_SET = 5


def random_words(seed: int, stream: Stream, count: int) -> Words:
    """[count] random 64-bit words, the first ones of one of the seed's streams."""
    words = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(int(stream),))).random_raw(count)
    return np.asarray(words, dtype=np.uint64)


def below(words: Words, limits: Integers | int) -> Integers:
    """[n] integers of 0..limit-1, uniform; 0 where the limit is 0."""
    uniform = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return np.floor(uniform * limits).astype(np.int64)


def first_in_order(words: Words, count: int) -> Integers:
    """The places of the `count` smallest words, ascending; of equal words the earlier come first."""
    if count == 0:
        return np.zeros(0, dtype=np.int64)
    threshold = np.partition(words, count - 1)[count - 1]
    smaller = np.flatnonzero(words < threshold)
    level = np.flatnonzero(words == threshold)[: count - len(smaller)]
    return np.sort(np.concatenate([smaller, level]))


def last_to_go(log: OpenLog, words: Words) -> Integers:
    """The row with the largest word [N] of each user with open events, of equal ones the last: where events go in the
    order of their words, the one that stays so that the user keeps one, and a target a history.
    """
    users = np.flatnonzero(log.lengths)
    largest = np.maximum.reduceat(words, log.offsets[users])
    rows = np.flatnonzero(words == np.repeat(largest, log.lengths[users]))
    last = np.append(log.user[rows][1:] != log.user[rows][:-1], True)
    return np.asarray(rows[last])


def draw_items(
    log: OpenLog, words: Words, *, users: Integers, weights: Integers, without: Integers | None = None
) -> Integers:
    """[n] items in proportion to `weights` [catalogue + 1], where the padding's is 0.

    Never one that the user [n] is ranked on, nor the item of `without` [n]. 0 where no item with a weight is left.

    The items are laid on a line, each as long as its weight. A point is drawn on what is left of the line once the
    barred pieces are cut out, and pushed on by all the pieces that were cut out before it.
    """
    line = np.concatenate([[0], np.cumsum(weights)])
    bars, starts, ends = log.forbidden_items, log.forbidden_offsets[users], log.forbidden_offsets[users + 1]
    cut = np.concatenate([[0], np.cumsum(weights[bars])])
    cut_before = cut[:-1] - np.repeat(cut[log.forbidden_offsets[:-1]], np.diff(log.forbidden_offsets))
    free = line[-1] - (cut[ends] - cut[starts])
    if without is None:
        points = below(words, free)
    else:
        barred = count_up_to(bars, without, starts=starts, ends=ends)
        own_begins = line[without] - (cut[starts + barred] - cut[starts])
        own = np.where(is_forbidden(log, users, items=without), 0, weights[without])
        free = free - own
        points = below(words, free)
        points += np.where(points >= own_begins, own, 0)
    passed = count_up_to(line[bars] - cut_before, points, starts=starts, ends=ends)
    points += cut[starts + passed] - cut[starts]
    return np.where(free > 0, np.searchsorted(line, points, side="right") - 1, 0)


def even_weights(log: OpenLog) -> Integers:
    """[catalogue + 1] ones for the items, 0 for the padding."""
    weights = np.ones(log.catalogue + 1, dtype=np.int64)
    weights[0] = 0
    return weights


def is_forbidden(log: OpenLog, users: Integers, *, items: Integers) -> npt.NDArray[np.bool_]:
    """[n] whether the user [n] is ranked on the item [n]."""
    starts, ends = log.forbidden_offsets[users], log.forbidden_offsets[users + 1]
    found = count_up_to(log.forbidden_items, items, starts=starts, ends=ends)
    last = np.maximum(starts + found - 1, 0)
    held = log.forbidden_items[last] == items if len(log.forbidden_items) else np.zeros(len(items), dtype=np.bool_)
    return np.asarray((found > 0) & held)


def count_up_to(keys: Integers, values: Integers, *, starts: Integers, ends: Integers) -> Integers:
    """[n] how many of `keys[start:end]`, which do not fall, are no larger than the value [n]."""
    low, high = starts.astype(np.int64), ends.astype(np.int64)
    open_ = np.flatnonzero(low < high)
    while open_.size:
        middle = (low[open_] + high[open_]) // 2
        above = keys[middle] <= values[open_]
        low[open_[above]] = middle[above] + 1
        high[open_[~above]] = middle[~above]
        open_ = open_[low[open_] < high[open_]]
    return low - starts
