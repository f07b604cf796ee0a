"""The Rec-Denoiser paper's noise: events whose item is another one, drawn uniformly."""

from tasks.corruption.draws import Stream, draw_items, even_weights, first_in_order, random_words
from tasks.corruption.openlog import CannotCorruptError, Edits, Integers, OpenLog


def edits(log: OpenLog, count: int, seed: int) -> Edits:
    """`count` open events get other items, uniform over the catalogue.

    Never the event's own item, and none that its user is ranked on.
    """
    return replaced(log, count, seed, weights=even_weights(log))


def replaced(log: OpenLog, count: int, seed: int, *, weights: Integers) -> Edits:
    """`count` open events in a random order get other items, in proportion to `weights` [catalogue + 1].

    Raises `CannotCorruptError` where nothing is left to draw for one of them.
    """
    rows = first_in_order(random_words(seed, Stream.PLACE, log.events), count)
    words = random_words(seed, Stream.ITEM, log.events)[rows]
    drawn = draw_items(log, words, users=log.user[rows], weights=weights, without=log.item[rows])
    if not drawn.all():
        raise CannotCorruptError(
            f"the catalogue of {log.catalogue} items leaves nothing to replace an item of user {{user}} with: "
            "take a log with more items, or a smaller ratio",
            user=int(log.user[rows[drawn == 0][0]]),
        )
    return Edits(replaced=rows, replacements=drawn)
