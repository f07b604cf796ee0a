"""Where MLflow's runs are kept."""

from pathlib import Path

import pytest

from tasks.home import Home
from tasks.mlflow_store import tracking_uri


def test_another_server_is_used_where_it_is_configured(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri(home) == f"sqlite:///{home.mlflow}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://example.org:5000")
    assert tracking_uri(home) == "http://example.org:5000"


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("sqlite:///runs.db", "sqlite:///{here}/runs.db"),
        ("sqlite:////data/runs.db", "sqlite:////data/runs.db"),
        ("mlruns", "{here}/mlruns"),
        ("postgresql://ann@db/runs", "postgresql://ann@db/runs"),
    ],
)
def test_a_file_is_meant_from_the_folder_that_it_was_asked_for_in(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str, meant: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", asked)
    assert tracking_uri(home) == meant.format(here=tmp_path)
