"""Text in columns, for a terminal."""

from collections.abc import Collection, Mapping, Sequence

from tasks.wording import on_one_line

GAP = "  "


def columns(headings: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[str] = ()) -> str:
    """Rows under their headings, a line each; the columns named `right` stand to the right."""
    cells = [headings, *([on_one_line(text) for text in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        GAP.join(
            text.rjust(width) if heading in right else text.ljust(width)
            for text, heading, width in zip(row, headings, widths, strict=True)
        ).rstrip()
        for row in cells
    )


def ruled(rows: Sequence[Mapping[str, str]], *, left: Collection[str]) -> str:
    """Rows of the same keys under these and a rule, a line each; the columns named `left` stand to the left."""
    headings = list(rows[0])
    cells = [[on_one_line(row[name]) for name in headings] for row in rows]
    rule = ["─" * max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    return columns(headings, [rule, *cells], right=[name for name in headings if name not in left])
