"""A log's files as one table inside DuckDB, and the way back from a row of it to its place in a file.

Rows are counted from 1 and without the header.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import duckdb

from tasks.engine import one_row
from tasks.errors import InputError
from tasks.sources.formats import COLUMNS
from tasks.sources.layouts import Layout, broken_json_line, recognise_all
from tasks.sources.logs import Log
from tasks.sources.textfiles import refuse_broken_compression

COLUMN_OF = {
    "user": "user_id",
    "item": "item_id",
    "time": "time_text",
    "order": "order_text",
    "rating": "rating_text",
    "noise": "noise_text",
}
"""What a log's columns can be for, and what they are called in the table `log`."""


@dataclass(frozen=True)
class Part:
    """A file of a log: its layout, the link that it is read through, and how many rows of the table come before it."""

    path: Path
    link: Path
    layout: Layout
    before: int


@dataclass(frozen=True)
class Loaded:
    """A log in the table `log`, file after file."""

    parts: tuple[Part, ...]

    @property
    def names(self) -> dict[str, str]:
        """The roles that the log has (user, item, time, …) and the names that a person knows them by."""
        return self.parts[0].layout.names

    @property
    def title(self) -> str:
        """What to call the log as a whole."""
        others = len(self.parts) - 1
        return f"{self.parts[0].path}" + (f" and {others} more" if others else "")

    def place(self, connection: duckdb.DuckDBPyConnection, row: int) -> str:
        """The file and the row of it that the table's `row`, counted from 1, comes from."""
        part = next(part for part in reversed(self.parts) if part.before < row)
        within = row - part.before
        if part.layout.by_line:
            query = part.layout.sql(part.link, line="row_number() OVER ()")
            (within,) = one_row(connection, f"SELECT line FROM (\n{query}\n) LIMIT 1 OFFSET {within - 1}")
        return f"{part.path}, row {within}"


def load(connection: duckdb.DuckDBPyConnection, log: Log, *, work: Path) -> Loaded:
    """Load the log as the table `log` of the columns that it has, with rowids in the order of files and rows.

    `work` is a working folder, which has to stay as long as places are asked for. Raises `InputError` naming file and
    line where a file cannot be read.
    """
    paths = [file.path for file in log.files]
    layouts = recognise_all(paths, log.source)
    for path in paths:
        refuse_broken_compression(path)
    # Links with plain names: DuckDB takes `*`, `[` and `key=value` in a path for patterns.
    links = [work / f"log-{number}" for number in range(len(paths))]
    connection.execute("SET preserve_insertion_order = true")
    counts: list[int] = []
    for path, link, layout in zip(paths, links, layouts, strict=True):
        link.symlink_to(path.resolve())
        counts.append(_append(connection, layout, path=path, link=link, is_first=not counts))
    # From here on the row's number is a column, and what has to be sorted is sorted by name.
    connection.execute("SET preserve_insertion_order = false")
    return Loaded(_parts(paths, links, layouts, counts))


def _parts(
    paths: Sequence[Path], links: Sequence[Path], layouts: Sequence[Layout], counts: Sequence[int]
) -> tuple[Part, ...]:
    before = accumulate(counts, initial=0)
    return tuple(Part(*each) for each in zip(paths, links, layouts, before, strict=False))


def _append(connection: duckdb.DuckDBPyConnection, layout: Layout, *, path: Path, link: Path, is_first: bool) -> int:
    """Put a file's rows at the end of the table `log`, which the first makes; return how many there are."""
    # A column of nothing but nulls takes as much memory as any other.
    wanted = ", ".join(COLUMN_OF[role] for role in layout.names)
    into = "CREATE TABLE log AS" if is_first else "INSERT INTO log"
    try:
        (count,) = one_row(connection, f"{into} SELECT {wanted} FROM (\n{layout.sql(link)})")
    except duckdb.OutOfMemoryException:
        raise
    except (duckdb.InvalidInputException, duckdb.ConversionException, duckdb.IOException) as error:
        broken = broken_json_line(path) if layout.kind == "JSON lines" else None
        raise broken or _reading_error(path, layout, str(error).replace(str(link), str(path))) from None
    return int(count)


def _reading_error(path: Path, layout: Layout, message: str) -> InputError:
    """DuckDB's account of a file that it cannot read, in one sentence."""
    line = re.search(r"CSV Error on Line: (\d+)", message)
    where = f"{path}, line {line[1]}" if line else str(path)
    widths = re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", message)
    if widths:
        standard = "the first line" if layout.format == COLUMNS else f"the format ({layout.shape})"
        return InputError(f"{where}: {widths[2]} values where {standard} has {widths[1]}")
    if "unterminated quote" in message:
        return InputError(f"{where}: a quote is opened and never closed")
    if "not utf-8" in message:
        return InputError(f"{where}: not UTF-8 text, save the file as UTF-8")
    if "Invalid string encoding" in message:
        return InputError(f"{where}: a column that is read holds bytes that are no text, write them as text in UTF-8")
    if "byte order mark" in message:
        return InputError(f"{path} begins with a byte-order mark: save it as UTF-8 without one")
    if "state machine reached an invalid state" in message:
        return InputError(f"{where}: stray quotes or mixed line ends, write it as RFC 4180 describes")
    detail = message.splitlines()[0].split("Error: ", 1)[-1]
    return InputError(f"{where} cannot be read as {layout.kind} (cut short or damaged?): {detail}")
