"""Expectations as values, before Great Expectations is asked to evaluate them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import sql
from tasks.validation.limits import Severity
from tasks.validation.report import Json

SAMPLED_ROWS = 20  # of the unexpected rows, kept in the report and the Data Docs

_PARAMETER = re.compile(r"(?<![:\w\\])(:\w+)(?![:\w])")
"""What SQLAlchemy takes for a parameter in a text: `:name`, and not the `::type` of a cast."""


@dataclass(frozen=True)
class Check:
    """One expectation about a table: `kind` and `options` say which of Great Expectations' and with what."""

    name: str
    table: str
    column: str | None
    kind: str
    options: Json
    severity: Severity = "critical"


def finds_none(name: str, table: str, column: str | None, query: str, *, severity: Severity = "critical") -> Check:
    """A query of `sql/validate/` finds no unexpected rows."""
    return finds_few(name, table, column, query, largest_share=0.0, severity=severity)


def finds_few(
    name: str, table: str, column: str | None, query: str, *, largest_share: float, severity: Severity
) -> Check:
    """A query of `sql/validate/` finds unexpected rows for at most a share of the table's rows."""
    sample = sql.load("validate/sample", query=query.strip(), rows=str(SAMPLED_ROWS))
    # Great Expectations fills slots of its own, and SQLAlchemy takes what a column is called for a parameter.
    escaped = _PARAMETER.sub(r"\\\1", sample.replace("{", "{{").replace("}", "}}"))
    options = {"unexpected_rows_query": escaped, "largest_share": largest_share}
    return Check(name, table, column, "ExpectFewUnexpectedRows", options, severity)


def not_null(table: str, column: str) -> Check:
    """No value of the column is null."""
    return Check(f"the {column} is never null", table, column, "ExpectColumnValuesToNotBeNull", {"column": column})


def unique(table: str, column: str) -> Check:
    """No value of the column occurs twice."""
    return Check(f"the {column} is unique", table, column, "ExpectColumnValuesToBeUnique", {"column": column})


def between(name: str, table: str, column: str, least: int, most: int) -> Check:
    """The column's values lie in a range, both ends included."""
    return Check(
        f"{name} ({least:,} to {most:,})",
        table,
        column,
        "ExpectColumnValuesToBeBetween",
        {"column": column, "min_value": least, "max_value": most},
    )


def row_count(table: str, rows: int) -> Check:
    """The table has exactly so many rows."""
    return Check(
        f"the table {table} has the manifest's {rows:,} rows",
        table,
        None,
        "ExpectTableRowCountToEqual",
        {"value": rows},
    )


def at_least(name: str, table: str, least: int, *, severity: Severity) -> Check:
    """The table has at least so many rows."""
    return Check(name, table, None, "ExpectTableRowCountToBeBetween", {"min_value": least}, severity)


def list_literal(values: Iterable[str]) -> str:
    """Texts as a list in SQL."""
    return "[" + ", ".join(sql.literal(value) for value in values) + "]"
