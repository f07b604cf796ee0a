"""What the cells of a job have to do with one another."""

from types import SimpleNamespace
from typing import Any

import pytest

from flows import cells
from tasks.errors import RunFailed


def test_a_failure_that_mlflow_does_not_take_sinks_no_other_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    def refused(*_: Any) -> None:
        raise RuntimeError("(sqlite3.OperationalError) database is locked")

    logger = SimpleNamespace(error=lambda text, *values: said.append(text % values))
    monkeypatch.setattr(cells, "get_run_logger", lambda: logger)
    monkeypatch.setattr(cells.jobs, "record_failure", refused)
    job, diverged = SimpleNamespace(cells=[SimpleNamespace(label="a cell")]), RunFailed("diverged")
    assert cells._failed(job, [0], diverged) == {0: diverged}  # type: ignore[arg-type]
    assert said == [
        "a cell failed: diverged",
        "that a cell failed is not in MLflow: (sqlite3.OperationalError) database is locked",
    ]
