"""Every query of the project, one a file.

A file's opening comment says what comes in and what goes out. Values are bound as parameters
(`$name`); identifiers, which cannot be bound, are `{name}` slots filled with quoted names.
"""

from pathlib import Path


def load(name: str, **identifiers: str) -> str:
    """The text of `sql/<name>.sql` with its `{slots}` filled.

    Raises `KeyError` where a slot is left unfilled.
    """
    text = (Path(__file__).parent / f"{name}.sql").read_text(encoding="utf-8")
    return text.format_map(identifiers) if identifiers else text


def quoted(identifier: str) -> str:
    """`identifier` as a quoted SQL name."""
    return '"' + identifier.replace('"', '""') + '"'


def literal(value: str) -> str:
    """`value` as a quoted SQL string, for places where DuckDB takes no parameter."""
    return "'" + value.replace("'", "''") + "'"
