"""Command lines of a shell, as help and documentation write them."""

import re
import shlex

REDIRECTIONS = (">", ">>", "2>", "|")


def words(line: str) -> list[str]:
    """The words of a command that may go on over lines by backslashes, send its output somewhere, and end in a comment;
    of the command alone.
    """
    found = shlex.split(re.sub(r"\\\n\s*", " ", line), comments=True)
    ends = [found.index(mark) for mark in REDIRECTIONS if mark in found]
    return found[: min(ends, default=len(found))]
