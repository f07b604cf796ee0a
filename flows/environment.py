"""Where Prefect and MLflow keep their state, and how they are set up, for flows that start from a command line."""

import logging
import os
import re
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tasks.errors import InputError, RunFailed
from tasks.home import PROJECT_ROOT, Home
from tasks.paths import path_named
from tasks.sources.addresses import without_secrets

PREFECT_VARIABLE = "PREFECT_HOME"
LOCAL_HOSTS = ("127.0.0.1", "localhost")
PREFECT_PORT = 4200
LINE = "%(asctime)s  %(message)s"
PROGRESS_AT_THE_END = "Still processing items"
"""What Prefect says, of its own log lines, where a run ends soon."""

DISK_FULL = ("No space left on device", "Disk quota exceeded", "database or disk is full")
LOCKED = "database is locked"
"""What the system and SQLite say, whoever hands it on."""

SILENT = re.compile(r"API request to (\S+) failed with exception .*Max retries exceeded", re.DOTALL)
"""What MLflow says of a server that has gone away."""

INTERRUPTIONS = ("aborted by an interrupt signal", "cancelled by the task runner", "WorkerStopped(")
"""What Prefect says of a flow run and its task runs after Ctrl-C."""


def prepare_environment() -> None:
    """Set what Prefect, MLflow and Great Expectations read when they are imported; call it before that.

    What the person has set stays. The project's own settings are those of `prefect.toml`, so that they hold whatever
    the working folder is.

    Raises `InputError` where the state folder, or the one that the person has named for Prefect, cannot be made.
    """
    home = Home.from_environment()
    _make(home.prefect, said=f"the state folder {home.root}")
    if named := os.environ.get(PREFECT_VARIABLE):
        _make(path_named(named, by=PREFECT_VARIABLE), said=f"{PREFECT_VARIABLE}: {named}")
    settings = tomllib.loads((PROJECT_ROOT / "prefect.toml").read_text(encoding="utf-8"))
    settings["home"] = str(home.prefect)
    defaults = dict(_variables(settings, "PREFECT"))
    for kind in ("FLOW_RUN", "TASK_RUN", "STANDARD"):
        defaults[f"PREFECT_LOGGING_FORMATTERS_STANDARD_{kind}_FMT"] = LINE
    defaults |= {
        "PREFECT_LOGGING_FORMATTERS_STANDARD_FORMAT": LINE,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        # A minute for a server that is started anew; at MLflow's default each call holds a job up for five.
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "5",
        "GX_ANALYTICS_ENABLED": "false",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    _spare_local_hosts_the_proxy()


def expect_local_server() -> None:
    """Address the server that `rec-denoiser ui prefect` starts, unless the person has named another; call it before
    Prefect is imported.
    """
    os.environ.setdefault("PREFECT_API_URL", f"http://127.0.0.1:{PREFECT_PORT}/api")


def one_sentence_for_bad_input() -> None:
    """Keep tracebacks of what a person can put right off the terminal; Prefect's own record keeps them."""
    import prefect.main  # noqa: F401  (it sets logging up)

    for handler in logging.getLogger().handlers:
        handler.addFilter(_SentencesOnly())


def bad_input_in(error: BaseException | None) -> InputError | None:
    """The `InputError` that `error` is or was caused by."""
    return next((cause for cause in _causes(error) if isinstance(cause, InputError)), None)


def fault_of_the_machine(error: BaseException | None) -> RunFailed | None:
    """What is wrong with the machine where that is what `error` was caused by, and a person can put it right."""
    root = Home.from_environment().root
    for told in map(str, _causes(error)):
        if any(full in told for full in DISK_FULL):
            where = f"{root} or {tempfile.gettempdir()}"
            return RunFailed(f"the disk is full: make room in {where}, and the same command goes on from here")
        if LOCKED in told:
            return RunFailed(
                f"another process keeps a database in {root} locked: wait for it, or end it, and the same command goes "
                "on from here"
            )
        if away := SILENT.search(told):
            server = without_secrets(away[1]).partition("/api/")[0]
            return RunFailed(
                f"the MLflow server at {server} stopped answering: start it again, and the same command goes on from "
                "here"
            )
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and what it was caused by, one after another."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = error.__cause__ or error.__context__


class _SentencesOnly(logging.Filter):
    """Drops what is said elsewhere, in a sentence: bad input, why a run failed, what is wrong with the machine, and
    that it was interrupted.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith(("prefect.task_runs", "prefect.flow_runs")):
            message = record.getMessage()
            if "Finished in state" in message or any(interruption in message for interruption in INTERRUPTIONS):
                return False
        if record.getMessage().startswith(PROGRESS_AT_THE_END):
            return False
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        told = bad_input_in(error) or fault_of_the_machine(error)
        return told is None and not isinstance(error, RunFailed)


def _make(folder: Path, *, said: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{said} cannot be used: {error.strerror} ({error.filename})") from None


def _variables(settings: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    """Nested settings as Prefect's environment variables."""
    for name, value in settings.items():
        full = f"{prefix}_{name.upper()}"
        if isinstance(value, Mapping):
            yield from _variables(value, full)
        else:
            yield full, str(value).lower() if isinstance(value, bool) else str(value)


def _spare_local_hosts_the_proxy() -> None:
    """With a proxy for everything, the local server's websocket fails and no task run is recorded."""
    proxies = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
    if any(os.environ.get(spelt) for name in proxies for spelt in (name, name.lower())):
        for name in ("NO_PROXY", "no_proxy"):
            listed = [host for host in os.environ.get(name, "").split(",") if host]
            os.environ[name] = ",".join(dict.fromkeys([*listed, *LOCAL_HOSTS]))
