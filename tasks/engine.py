"""DuckDB as the data steps use it: in memory, within the bounds that a person sets, spilling to a folder of theirs."""

import os
import re
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from tasks.errors import InputError

MEMORY_VARIABLE = "REC_DENOISER_MEMORY"
THREADS_VARIABLE = "REC_DENOISER_THREADS"


@contextmanager
def engine(spill: Path | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection of its own; what does not fit into memory goes to `spill`, or to the system's temporary folder;
    dates without a zone are UTC.

    It takes at most REC_DENOISER_MEMORY (default: 80 % of the machine's) and REC_DENOISER_THREADS (default: every
    core); neither changes a result. Raises `InputError` where one of them makes no sense, or where that memory turns
    out too little.
    """
    folder = spill or Path(tempfile.gettempdir()) / f"rec-denoiser-{secrets.token_hex(8)}"
    with duckdb.connect(":memory:", config={"temp_directory": str(folder), **limits()}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        try:
            yield connection
        except duckdb.OutOfMemoryException as error:
            (allowed,) = one_row(connection, "SELECT current_setting('memory_limit')")
            raise InputError(
                f"the data need more memory than the {allowed} that DuckDB may take, or more disk than there is: "
                f"allow more with {MEMORY_VARIABLE} (or --memory), or use fewer threads ({THREADS_VARIABLE}): "
                f"{str(error).splitlines()[0]}"
            ) from None


def limits() -> dict[str, str]:
    """What the environment says about DuckDB's memory and threads, as DuckDB's own settings.

    Raises `InputError` where that makes no sense.
    """
    found: dict[str, str] = {}
    if memory := os.environ.get(MEMORY_VARIABLE):
        found["memory_limit"] = memory_size(memory)
    if threads := os.environ.get(THREADS_VARIABLE):
        if not re.fullmatch(r"[1-9][0-9]{0,3}", threads):
            raise InputError(f"{THREADS_VARIABLE} is {threads!r}: give a whole number from 1 on")
        found["threads"] = threads
    return found


def memory_size(text: str) -> str:
    """`text` where it is an amount of memory that DuckDB can work with. Raises `InputError` where it is none."""
    size = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?) ?([MGT])(i?)B", text.strip())
    if size is None:
        raise InputError(f"{text!r} is no amount of memory: give a number and its unit, such as 4GB or 512MB")
    base = 1024 if size[3] else 1000
    if float(size[1]) * base ** (2 + "MGT".index(size[2])) < 100e6:
        raise InputError(f"{text!r} is too little memory to work with: give 100MB or more")
    return text.strip()


def one_row(
    connection: duckdb.DuckDBPyConnection, query: str, parameters: Mapping[str, Any] | None = None
) -> tuple[Any, ...]:
    """The one row of a query that always gives one."""
    row = connection.execute(query, dict(parameters) if parameters else None).fetchone()
    if row is None:
        raise RuntimeError(f"a query that always gives one row gave none: {query}")
    return row
