"""Great Expectations at work: checks in, outcomes and Data Docs out."""

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from tasks.validation.checks import SAMPLED_ROWS, Check
from tasks.validation.pages import make_self_contained
from tasks.validation.report import Json, Outcome, first_line, plain

if TYPE_CHECKING:
    from great_expectations.core import ExpectationValidationResult
    from great_expectations.data_context import EphemeralDataContext
    from great_expectations.expectations.expectation import Expectation

    from tasks.gx_duckdb import DuckDBDatasource

_GX_PROJECT = threading.Lock()  # Great Expectations keeps its current project in a global: one at a time


def evaluate(
    checks: Sequence[Check], connection: duckdb.DuckDBPyConnection, *, subject: str, site: Path
) -> tuple[Outcome, ...]:
    """Run the checks on the tables and views of `connection`, write the Data Docs to the folder `site`.

    An expectation that crashes is an outcome of its own, failed and critical.
    """
    from tasks.gx_duckdb import opened

    outcomes: dict[int, Outcome] = {}
    with _GX_PROJECT:
        context = _context(site)
        with opened(context, connection, name="duckdb") as datasource:
            for table in dict.fromkeys(check.table for check in checks):
                numbered = {n: check for n, check in enumerate(checks) if check.table == table}
                outcomes |= _run_suite(context, datasource, table, numbered, subject=subject)
        context.build_data_docs()
    ordered = tuple(outcomes[n] for n in range(len(checks)))
    make_self_contained(site, ordered, subject=subject)
    return ordered


def _context(site: Path) -> "EphemeralDataContext":
    """A context in memory, without analytics and progress bars, whose Data Docs go to the folder `site`."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    docs = {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(site.resolve())},
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
    }
    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        data_docs_sites={"local": docs},
        analytics_enabled=False,
        progress_bars=ProgressBarsConfig(globally=False),
    )
    return gx.get_context(project_config=config, mode="ephemeral")


def _run_suite(
    context: "EphemeralDataContext",
    datasource: "DuckDBDatasource",
    table: str,
    checks: Mapping[int, Check],
    *,
    subject: str,
) -> dict[int, Outcome]:
    """Run the checks of one table; the keys are those of `checks`."""
    import great_expectations as gx

    asset = datasource.add_table_asset(name=table, table_name=table)
    batch = asset.add_batch_definition_whole_table("all rows")
    suite = context.suites.add(
        gx.ExpectationSuite(
            name=f"{subject} {table}", expectations=[_expectation(n, check) for n, check in checks.items()]
        )
    )
    definition = context.validation_definitions.add(
        gx.ValidationDefinition(name=f"{subject} {table}", data=batch, suite=suite)
    )
    result = definition.run(
        result_format={
            "result_format": "SUMMARY",
            "include_unexpected_rows": True,
            "partial_unexpected_count": SAMPLED_ROWS,
        }
    )
    found = {r.expectation_config.meta["check"]: r for r in result.results if r.expectation_config is not None}
    return {n: _outcome(check, found.get(n)) for n, check in checks.items()}


def _expectation(number: int, check: Check) -> "Expectation":
    import great_expectations.expectations as gxe

    from tasks.gx_duckdb import ExpectFewUnexpectedRows

    own: dict[str, Callable[..., Expectation]] = {"ExpectFewUnexpectedRows": ExpectFewUnexpectedRows}
    make = own.get(check.kind) or getattr(gxe, check.kind)
    return make(
        **check.options,
        description=check.name,
        severity=check.severity,
        meta={"check": number, "name": check.name},
    )


def _outcome(check: Check, result: "ExpectationValidationResult | None") -> Outcome:
    """One result as an outcome. A result that is absent or holds an exception anywhere is a crash."""
    crash = "no result came back" if result is None else _crash(result.exception_info)
    details: Json = {} if result is None or crash is not None else dict(result.result or {})
    rows = details.get("unexpected_rows") or details.get("details", {}).get("unexpected_rows") or []
    return Outcome(
        name=check.name,
        table=check.table,
        column=check.column,
        severity=check.severity if crash is None else "critical",
        success=crash is None and result is not None and bool(result.success),
        unexpected=details.get("unexpected_count"),
        rows=tuple({key: plain(value) for key, value in dict(row).items()} for row in rows),
        observed=plain(details.get("observed_value")),
        crash=crash,
    )


def _crash(info: Any) -> str | None:
    """What was raised, from an `exception_info`: flat, or nested one level or more under metric names."""
    if not isinstance(info, Mapping):
        return None
    if info.get("raised_exception"):
        return first_line(info.get("exception_message")) or "an error without a message"
    return next((crash for nested in info.values() if (crash := _crash(nested)) is not None), None)
