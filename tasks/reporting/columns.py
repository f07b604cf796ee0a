"""Text in columns, for a terminal."""

import unicodedata
from collections.abc import Collection, Mapping, Sequence

from tasks.wording import on_one_line

GAP = "  "
_PLACES = {"Mn": 0, "Me": 0, "Cf": 0}
_WIDTHS = {"W": 2, "F": 2}


def columns(headings: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[str] = ()) -> str:
    """Rows under their headings, a line each; the columns named `right` stand to the right."""
    cells = [headings, *([on_one_line(text) for text in row] for row in rows)]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        GAP.join(
            _padded(text, width, to_the_right=heading in right)
            for text, heading, width in zip(row, headings, widths, strict=True)
        ).rstrip()
        for row in cells
    )


def ruled(rows: Sequence[Mapping[str, str]], *, left: Collection[str]) -> str:
    """Rows of the same keys under these and a rule, a line each; the columns named `left` stand to the left."""
    headings = list(rows[0])
    cells = [[on_one_line(row[name]) for name in headings] for row in rows]
    rule = ["─" * max(map(_width, column)) for column in zip(headings, *cells, strict=True)]
    return columns(headings, [rule, *cells], right=[name for name in headings if name not in left])


def _padded(text: str, width: int, *, to_the_right: bool) -> str:
    blank = " " * (width - _width(text))
    return blank + text if to_the_right else text + blank


def _width(text: str) -> int:
    """How many places of a terminal a text takes: two for a letter of Chinese and its kin, none for a mark on one."""
    return sum(
        _PLACES.get(unicodedata.category(sign), _WIDTHS.get(unicodedata.east_asian_width(sign), 1)) for sign in text
    )
