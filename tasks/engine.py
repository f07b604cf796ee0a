"""DuckDB as the data steps use it: in memory, spilling to a folder of theirs."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb


@contextmanager
def engine(spill: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection of its own; what does not fit into memory goes to `spill`; dates without a zone are UTC."""
    with duckdb.connect(":memory:", config={"temp_directory": str(spill)}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def one_row(
    connection: duckdb.DuckDBPyConnection, query: str, parameters: Mapping[str, Any] | None = None
) -> tuple[Any, ...]:
    """The one row of a query that always gives one."""
    row = connection.execute(query, dict(parameters) if parameters else None).fetchone()
    if row is None:
        raise RuntimeError(f"a query that always gives one row gave none: {query}")
    return row
