"""What Great Expectations lacks for DuckDB: a data source, its engine, and one expectation.

Great Expectations' own SQL engine fetches rows after it has given the connection back, which DuckDB
does not allow: most expectations then fail with an error inside their result. The engine here keeps one
connection open, so every check runs inside DuckDB and only counts and samples come out.

Importing this module imports Great Expectations (seconds): do so inside the function that needs it.
"""

import html
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Literal

import duckdb
import sqlalchemy as sa
from duckdb_sqlalchemy import ConnectionWrapper
from great_expectations.compatibility.pydantic import validator
from great_expectations.core import ExpectationValidationResult
from great_expectations.data_context import AbstractDataContext
from great_expectations.datasource.fluent import SQLDatasource
from great_expectations.execution_engine import SqlAlchemyExecutionEngine
from great_expectations.expectations.core import UnexpectedRowsExpectation
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
from great_expectations.render import (
    CollapseContent,
    LegacyDiagnosticRendererType,
    LegacyRendererType,
    RenderedStringTemplateContent,
    RenderedTableContent,
)
from great_expectations.render.renderer.renderer import renderer

EngineType = type["DuckDBExecutionEngine"]  # `type` means something else inside a data source
UNEXPECTED_ROWS = "unexpected_rows"  # the column by which sql/validate/sample.sql counts


@contextmanager
def opened(
    context: AbstractDataContext, connection: duckdb.DuckDBPyConnection, *, name: str
) -> Generator["DuckDBDatasource", None, None]:
    """A data source of the context over the tables and views that `connection` sees, closed at the end."""
    datasource: DuckDBDatasource = context.data_sources.add_duckdb(name=name, connection_string="duckdb:///:memory:")
    execution = datasource.read_through(connection)
    try:
        yield datasource
    finally:
        execution.close()


class DuckDBExecutionEngine(SqlAlchemyExecutionEngine):
    """Runs metrics over one DuckDB connection that stays open until `close`."""

    @contextmanager
    def get_connection(self) -> Generator[sa.Connection, None, None]:
        """The one connection, opened on first use."""
        if self._connection is None:
            self._connection = self.engine.connect()
        yield self._connection

    def close(self) -> None:
        """Close the connection; an in-memory database is gone with it."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self.engine.dispose()


class DuckDBDatasource(SQLDatasource):
    """A fluent data source for DuckDB: `context.data_sources.add_duckdb(name, connection_string=…)`."""

    type: Literal["duckdb"] = "duckdb"  # type: ignore[assignment]

    def read_through(self, connection: duckdb.DuckDBPyConnection) -> "DuckDBExecutionEngine":
        """From here on everything runs over a cursor of `connection`, under that database's settings."""
        cursor = connection.cursor()
        engine = sa.create_engine(
            "duckdb:///:memory:",
            creator=lambda: ConnectionWrapper(cursor),
            poolclass=sa.StaticPool,
            # Great Expectations opens a second SQLAlchemy connection when it adds an asset. Both are the same
            # DuckDB connection, which refuses a transaction within a transaction.
            isolation_level="AUTOCOMMIT",
        )
        execution = DuckDBExecutionEngine(engine=engine)
        self._execution_engine = execution
        return execution

    @property
    def execution_engine_type(self) -> EngineType:
        """The engine that keeps its connection."""
        return DuckDBExecutionEngine

    def get_execution_engine(self) -> SqlAlchemyExecutionEngine:
        """The one over the connection that was given."""
        return self._execution_engine or super().get_execution_engine()

    def get_engine(self) -> sa.Engine:
        """The execution engine's own SQLAlchemy engine: a second one would be a second in-memory database."""
        return self.get_execution_engine().engine


class ExpectFewUnexpectedRows(UnexpectedRowsExpectation):
    """A query finds unexpected rows for at most a share of the table's rows.

    `unexpected_rows_query` is a query wrapped by `sql/validate/sample.sql`. The result holds the number of
    unexpected rows as `observed_value` and `unexpected_count`, their share of the table's rows as
    `unexpected_percent`, and the first of them as `details.unexpected_rows`, whatever the result format.
    """

    largest_share: float = 0.0

    metric_dependencies: ClassVar[tuple[str, ...]] = ("unexpected_rows_query.table", "table.row_count")
    success_keys: ClassVar[tuple[str, ...]] = ("unexpected_rows_query", "largest_share")

    @validator("unexpected_rows_query", allow_reuse=True)
    def _validate_query(cls, query: str) -> str:
        """Any query: the inherited rule warns of one that does not name its table as Great Expectations would."""
        return query

    def _validate(self, metrics: dict[str, Any], *_: Any, **__: Any) -> dict[str, Any]:
        rows = [dict(row) for row in metrics["unexpected_rows_query.table"]]
        unexpected = int(rows[0][UNEXPECTED_ROWS]) if rows else 0
        total = int(metrics["table.row_count"])
        share = unexpected / max(total, 1)
        for row in rows:
            del row[UNEXPECTED_ROWS]
        return {
            "success": share <= self.largest_share,
            "result": {
                "observed_value": unexpected,
                "element_count": total,
                "unexpected_count": unexpected,
                "unexpected_percent": min(100 * share, 100.0),  # a table may break a rule more often than it has rows
                "details": {"unexpected_rows": rows},
            },
        }

    @classmethod
    @renderer(renderer_type=LegacyRendererType.PRESCRIPTIVE)
    def _prescriptive_renderer(
        cls,
        configuration: ExpectationConfiguration | None = None,
        *_: Any,
        **__: Any,
    ) -> list[RenderedStringTemplateContent]:
        """The expectation in words; Great Expectations would print the query alone."""
        if configuration is None:
            return []
        return [
            RenderedStringTemplateContent(
                content_block_type="string_template",
                string_template={"template": "$words", "params": {"words": configuration.description}},
            )
        ]

    @classmethod
    @renderer(renderer_type=LegacyDiagnosticRendererType.UNEXPECTED_TABLE)
    def _diagnostic_unexpected_table_renderer(
        cls, *_: Any, **given: Any
    ) -> list[RenderedTableContent | CollapseContent] | None:
        """The first unexpected rows, as a table."""
        result: ExpectationValidationResult | None = given.get("result")
        details: Mapping[str, Any] = (result.result or {}).get("details") or {} if result is not None else {}
        rows = details.get("unexpected_rows")
        if not rows:
            return None
        return [
            RenderedTableContent(
                content_block_type="table",
                # What stands in a table as it is goes into the page as it is.
                header_row=[html.escape(column) for column in rows[0]],
                table=[
                    ["null" if value is None else html.escape(str(value)) for value in row.values()] for row in rows
                ],
                styling={"body": {"classes": ["table-bordered", "table-sm", "mt-3"]}},
            )
        ]
