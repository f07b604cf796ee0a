"""Shared accounts: one person's events in another's history."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from tasks.corruption.draws import Stream, count_up_to, is_forbidden, random_words
from tasks.corruption.openlog import CannotCorruptError, Edits, Insertions, Integers, OpenLog

CIRCLE = 32
"""Users whose histories begin at about the same time, among whom guests are drawn."""

MOST_GUESTS = 32
"""Guests that one account has at most."""

_BLOCK = 4_000_000


def edits(log: OpenLog, count: int, seed: int) -> Edits:
    """`count` events of guests stand in their hosts' histories too, by time; the guests keep their own.

    Accounts are shared one by one in a random order, each with all that a guest did, until the number is reached;
    the last guest's later events are left out. Where all accounts have a guest they get a second one, and so on. A
    host's guest is somebody whose history begins at about the same time. Without times, an event stands where it
    is in the guest's history, relative to its length.

    Left out are events on an item that the host is ranked on, later than the first event that the host is ranked
    on, or that may not be trained on where the host's history may be.

    Raises `CannotCorruptError` where there are too few.
    """
    blocks: list[Insertions] = []
    found = 0
    for hosts, guests in _accounts(log, seed):
        for part in _blocks(log.lengths[guests]):
            blocks.append(_shared(log, hosts[part], guests[part]))
            found += len(blocks[-1].item)
            if found >= count:
                return Edits(inserted=_first(blocks, count))
    raise CannotCorruptError(
        f"the {np.count_nonzero(log.lengths)} users with open events have only {found} of the {count} events to put "
        "into each other's histories: take a smaller ratio, or a log with more users who are active at the same time"
    )


def _accounts(log: OpenLog, seed: int) -> Iterator[tuple[Integers, Integers]]:
    """Round by round the hosts, in the order in which they share, and their guests."""
    active = np.flatnonzero(log.lengths)
    circle = np.zeros(len(active), dtype=np.int64)
    if log.time is not None:
        circle[np.argsort(log.time[log.offsets[active]], kind="stable")] = np.arange(len(active)) // CIRCLE
    around = active[np.lexsort((random_words(seed, Stream.GUEST, log.users)[active], circle))]
    order = np.argsort(random_words(seed, Stream.PLACE, len(active)), kind="stable")
    for guest in range(1, min(MOST_GUESTS + 1, len(active))):
        yield around[order], np.roll(around, -guest)[order]


def _blocks(lengths: Integers) -> Iterator[slice]:
    """Slices of the accounts, so large that a block's arrays stay small."""
    block = np.cumsum(lengths) // _BLOCK
    borders = [0, *(np.flatnonzero(np.diff(block)) + 1).tolist(), len(lengths)]
    for start, end in pairwise(borders):
        yield slice(start, end)


def _shared(log: OpenLog, hosts: Integers, guests: Integers) -> Insertions:
    """What the guests did, as it stands in the hosts' histories; account by account, without what is left out."""
    lengths = log.lengths[guests]
    place = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    host, row = np.repeat(hosts, lengths), np.repeat(log.offsets[guests], lengths) + place
    starts, ends = log.offsets[host], log.offsets[host + 1]
    before: Integers
    if log.time is None:
        length = np.repeat(lengths, lengths)
        before = ((ends - starts) * (2 * place + 1) + length) // (2 * length)
        fits = np.ones(len(row), dtype=np.bool_)
    else:
        before = count_up_to(log.time, log.time[row], starts=starts, ends=ends)
        fits = log.time[row] <= log.next_time[host]
    after = before - 1
    trains = np.maximum(after, 0) < log.train_length[host]
    fits &= (log.trainable[row] | ~trains) & ~is_forbidden(log, host, items=log.item[row])
    row = row[fits]
    return Insertions(
        user=host[fits],
        after=after[fits],
        item=log.item[row],
        time=None if log.time is None else log.time[row],
    )


def _first(blocks: list[Insertions], count: int) -> Insertions:
    """The first `count` events of the blocks."""
    times = [block.time for block in blocks if block.time is not None]
    return Insertions(
        user=np.concatenate([block.user for block in blocks])[:count],
        after=np.concatenate([block.after for block in blocks])[:count],
        item=np.concatenate([block.item for block in blocks])[:count],
        time=np.concatenate(times)[:count] if times else None,
    )
