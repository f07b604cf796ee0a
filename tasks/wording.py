"""Counts and ids as people read them."""

import unicodedata

BREAKING = {"Cc", "Zl", "Zp"}
"""Unicode's categories of what breaks a line or steers a terminal."""


def counted(number: int, what: str) -> str:
    """As "1 cell" and "2,000 cells": `what` is one of them."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def on_one_line(text: str) -> str:
    """A text with something of a log's in it, as an id, with escapes in place of what would break its line."""
    return "".join(
        character.encode("unicode_escape").decode() if unicodedata.category(character) in BREAKING else character
        for character in text
    )
