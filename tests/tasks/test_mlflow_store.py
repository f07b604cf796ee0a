"""Where MLflow's runs are kept."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from tasks import mlflow_store
from tasks.errors import InputError
from tasks.home import Home
from tasks.mlflow_store import connect, ensure_database, own_database, tracking_uri


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


def test_a_database_that_was_left_midway_is_made_anew(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a full disk or a kill leaves one: with some of its tables, which MLflow takes for that of an older version."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def disk_full(engine: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as full:
        full.setattr("mlflow.store.db.utils._upgrade_db", disk_full)
        with pytest.raises(sqlite3.OperationalError):
            connect(home)
    assert connect(home).get_experiment("0").artifact_location == f"{(home.mlflow / 'artifacts').as_uri()}/0"
    with closing(sqlite3.connect(home.mlflow / "mlflow.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert {path.name.split("-")[0] for path in home.mlflow.iterdir()} == {"mlflow.db"}


def test_a_database_that_another_process_made_meanwhile_stays(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    class Slow:
        def __init__(self, uri: str, artifacts: str) -> None:
            Path(uri.removeprefix("sqlite:///")).write_text("mine")
            (home.mlflow / "mlflow.db").write_text("theirs")
            self.engine = self

        def dispose(self) -> None:
            pass

    monkeypatch.setattr("mlflow.store.tracking.sqlalchemy_store.SqlAlchemyStore", Slow)
    ensure_database(home)
    assert (home.mlflow / "mlflow.db").read_text() == "theirs"


def test_none_is_made_where_runs_are_kept_elsewhere(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://example.org:5000")
    ensure_database(home)
    assert not home.mlflow.exists()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", own_database(home))
    ensure_database(home)
    assert (home.mlflow / "mlflow.db").exists()


def test_a_server_that_is_down_is_told_soon(home: Home, monkeypatch: pytest.MonkeyPatch, free_port: int) -> None:
    monkeypatch.setattr(mlflow_store, "SECONDS_FOR_AN_ANSWER", 0.1)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ann:secret@127.0.0.1:{free_port}")
    started = time.monotonic()
    with pytest.raises(
        InputError, match=rf"no MLflow server answers at http://127\.0\.0\.1:{free_port}: start it"
    ) as told:
        connect(home)
    assert "secret" not in str(told.value)
    assert time.monotonic() - started < 5
