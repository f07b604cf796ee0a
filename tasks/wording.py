"""Counts, times and ids as people read them."""

import unicodedata
from datetime import UTC, datetime, timedelta

BREAKING = {"Cc", "Zl", "Zp"}
"""Unicode's categories of what breaks a line or steers a terminal."""
_1970 = datetime(1970, 1, 1, tzinfo=UTC)


def counted(number: int, what: str) -> str:
    """As "1 cell" and "2,000 cells": `what` is one of them."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def moment(time: int, form: str = "%Y-%m-%d %H:%M") -> str:
    """A time in microseconds since 1970, as UTC; "–" where it is beyond the calendar."""
    try:
        return (_1970 + timedelta(microseconds=time)).strftime(form)
    except OverflowError:
        return "–"


def on_one_line(said: object) -> str:
    """An id, or a text with something of a log's in it, with escapes in place of what would break its line."""
    return "".join(
        character.encode("unicode_escape").decode() if unicodedata.category(character) in BREAKING else character
        for character in str(said)
    )
