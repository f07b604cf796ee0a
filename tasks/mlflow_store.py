"""MLflow's runs: where they are kept, and how they are read, however many there are."""

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tasks.errors import InputError
from tasks.home import Home
from tasks.scratch import working_folder
from tasks.sources.addresses import without_secrets

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.exceptions import MlflowException

TRACKING_VARIABLE = "MLFLOW_TRACKING_URI"
RUNS_AT_A_TIME = 1000
SQLITE = "sqlite:"
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
DATABASE = "mlflow.db"
DATABASE_LOG = "mlflow.store.db.utils"
"""Where MLflow writes that a database refused something, which it raises besides."""

SECONDS_FOR_AN_ANSWER = 15.0
"""For which a server that is started anew may be away. MLflow itself would try for five minutes, and say nothing."""


def tracking_uri(home: Home) -> str:
    """`MLFLOW_TRACKING_URI` where it is set, a file in it by its full path, else a SQLite database under the state
    folder.
    """
    asked = os.environ.get(TRACKING_VARIABLE)
    if not asked:
        return own_database(home)
    if asked.startswith(f"{SQLITE}///"):
        return f"{SQLITE}///{Path(asked.removeprefix(f'{SQLITE}///')).absolute()}"
    return asked if urlsplit(asked).scheme else str(Path(asked).absolute())


def own_database(home: Home) -> str:
    """The address of the database under the state folder."""
    return f"{SQLITE}///{home.mlflow / DATABASE}"


def connect(home: Home) -> "MlflowClient":
    """A client of the tracking server and registry, which MLflow's own functions use from here on too. Raises
    `InputError` where no server answers.
    """
    import mlflow

    logging.getLogger(DATABASE_LOG).addFilter(_without_traceback)
    home.mlflow.mkdir(parents=True, exist_ok=True)
    uri = tracking_uri(home)
    ensure_database(home)
    if uri == own_database(home):
        _write_ahead(home.mlflow / DATABASE)
    elif uri.startswith(("http:", "https:")):
        _refuse_silent(uri)
    mlflow.set_tracking_uri(uri)
    return mlflow.MlflowClient()


def ensure_database(home: Home) -> None:
    """Make the database under the state folder, where runs are kept in it and it is missing.

    MLflow makes one in dozens of steps, and never takes up one that a kill or a full disk left midway: so it is made
    elsewhere, and gets its name once it is whole.
    """
    database = home.mlflow / DATABASE
    if database.exists() or tracking_uri(home) != own_database(home):
        return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    with working_folder(home.mlflow) as work:
        made = work / DATABASE
        _write_ahead(made)
        store = SqlAlchemyStore(f"{SQLITE}///{made}", (home.mlflow / "artifacts").as_uri())
        store.engine.dispose()  # so that nothing is left beside it
        with suppress(FileExistsError):  # another process was first
            database.hardlink_to(made)


def unreadable(error: "MlflowException", home: Home) -> InputError:
    """What is said where MLflow's runs cannot be read. A server's password is in no part of it."""
    uri = tracking_uri(home)
    shown = without_secrets(uri)
    reason = str(error).strip().splitlines()[0].replace(uri.rstrip("/"), shown.rstrip("/"))
    return InputError(f"the MLflow runs at {shown} cannot be read: {reason}")


def every_run(client: "MlflowClient", experiments: Sequence[str], query: str = "") -> Iterator["Run"]:
    """The runs of some experiments that a filter takes, however many."""
    if experiments:
        yield from every_page(
            lambda token: client.search_runs(list(experiments), query, max_results=RUNS_AT_A_TIME, page_token=token)
        )


def every_experiment(client: "MlflowClient") -> list[str]:
    """The ids of all experiments."""
    return [found.experiment_id for found in every_page(lambda token: client.search_experiments(page_token=token))]


def every_page(search: Callable[[str | None], Any]) -> Iterator[Any]:
    """What every page of a search of MLflow's holds; `search` gives the page of a token, the first of None."""
    token = None
    while True:
        page = search(token)
        yield from page
        token = page.token
        if not token:
            return


def _refuse_silent(uri: str) -> None:
    """Raise `InputError` where no server answers there, whatever it would say, within `SECONDS_FOR_AN_ANSWER`."""
    import requests

    until = time.monotonic() + SECONDS_FOR_AN_ANSWER
    while True:
        try:
            requests.head(uri, timeout=SECONDS_FOR_AN_ANSWER)
            return
        except requests.exceptions.SSLError:
            return  # MLflow has settings for certificates
        except (requests.ConnectionError, requests.Timeout):
            if time.monotonic() > until:
                raise InputError(
                    f"no MLflow server answers at {without_secrets(uri)}: start it, or name another in "
                    f"{TRACKING_VARIABLE}"
                ) from None
            time.sleep(1)


def _write_ahead(database: Path) -> None:
    """Have SQLite write to a log beside the database first, as Prefect has it: a write then waits for the disk once
    where it waited several times, and for none who reads. The database remembers it, so that where another
    process keeps it busy just now, or the file system cannot, it may stay as it is; what else is wrong MLflow will say.
    """
    with suppress(sqlite3.Error), closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")


def _without_traceback(record: logging.LogRecord) -> bool:
    """Let pass what tells of no error. MLflow raises those too, and who catches one says what became of it: a database
    that a neighbour keeps busy is no reason to alarm anybody with a traceback.
    """
    return not record.exc_info
