"""Events whose item is another one that is popular: the noise of trends, best-seller lists and front pages."""

from tasks.corruption.openlog import Edits, OpenLog
from tasks.corruption.replace import replaced


def edits(log: OpenLog, count: int, seed: int) -> Edits:
    """`count` open events, the same as `replace` takes, get other items in proportion to their popularity.

    Popularity is how often an item is in the training part before any noise. Never the event's own item, and none
    that its user is ranked on.
    """
    return replaced(log, count, seed, weights=log.popularity)
