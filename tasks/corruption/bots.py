"""Traffic of machines: accounts that nobody has, clicking away at a few items."""

import numpy as np

from tasks.corruption.draws import Stream, below, random_words
from tasks.corruption.openlog import Edits, NewUsers, OpenLog

SHORTEST, LONGEST = 50, 150
"""Events of a bot."""

ITEMS = 5
"""Items that a bot clicks at."""

QUICKEST, SLOWEST = 50_000, 500_000
"""Microseconds between two events of a bot: it never changes its pace."""


def edits(log: OpenLog, count: int, seed: int) -> Edits:
    """`count` events of new users with 50 to 150 each, the last with what remains.

    Each clicks at no more than five items, drawn uniformly from the catalogue, at one steady pace of 2 to 20 events
    a second, some time between the log's first event and the last that may be trained on.
    """
    most = -(-count // SHORTEST)
    lengths = SHORTEST + below(random_words(seed, Stream.LENGTH, most), LONGEST - SHORTEST + 1)
    ends = np.cumsum(lengths)
    bots = int(np.searchsorted(ends, count)) + 1
    bot = np.repeat(np.arange(bots), lengths[:bots])[:count]
    sets = 1 + below(random_words(seed, Stream.ITEM_SET, bots * ITEMS), log.catalogue).reshape(bots, ITEMS)
    item = sets[bot, below(random_words(seed, Stream.ITEM, count), ITEMS)]
    time = None
    if log.time is not None:
        words = random_words(seed, Stream.TIME, 2 * bots).reshape(bots, 2)
        pace = QUICKEST + below(words[:, 0], SLOWEST - QUICKEST + 1)
        begin = int(log.time.min())
        room = np.maximum(log.horizon - begin - lengths[:bots] * pace, 0)
        start = begin + below(words[:, 1], room + 1)
        place = np.arange(count) - (ends - lengths)[bot]
        time = np.minimum(start[bot] + place * pace[bot], log.horizon)
    return Edits(added=NewUsers(lengths=np.bincount(bot), item=item, time=time))
