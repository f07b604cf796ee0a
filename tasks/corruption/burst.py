"""Runs of clicks by accident: a phone in a pocket, a child with a tablet."""

import numpy as np

from tasks.corruption.draws import Stream, below, first_in_order, random_words
from tasks.corruption.insert import inserted_after
from tasks.corruption.openlog import Edits, OpenLog

SHORTEST, LONGEST = 3, 8
"""Events in a run."""

QUICKEST, SLOWEST = 200_000, 2_000_000
"""Microseconds between two events of a run, and between the genuine event and the run."""


def edits(log: OpenLog, count: int, seed: int) -> Edits:
    """`count` events in runs of 3 to 8, each run after another open event; the last is cut short where need be.

    Nothing links a run's items to the user or to each other: they are uniform over the catalogue without those that
    the user is ranked on. Its events are 0.2 to 2 seconds apart; those for which the next genuine event leaves no
    room are at that one's time.
    """
    most = -(-count // SHORTEST)
    lengths = SHORTEST + below(random_words(seed, Stream.LENGTH, most), LONGEST - SHORTEST + 1)
    ends = np.cumsum(lengths)
    runs = int(np.searchsorted(ends, count)) + 1
    words = random_words(seed, Stream.PLACE, log.events)
    anchors = first_in_order(words, runs)
    anchors = anchors[np.argsort(words[anchors], kind="stable")]
    run = np.repeat(np.arange(runs), lengths[:runs])[:count]
    rows = anchors[run]
    time = None
    if log.time is not None:
        elapsed = np.cumsum(QUICKEST + below(random_words(seed, Stream.TIME, count), SLOWEST - QUICKEST + 1))
        before_run = np.concatenate([[0], elapsed])[(ends - lengths)[run]]
        time = np.minimum(log.time[rows] + elapsed - before_run, log.latest(rows))
    return Edits(inserted=inserted_after(log, rows, words=random_words(seed, Stream.ITEM, count), time=time))
