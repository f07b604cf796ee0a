"""How Prefect and MLflow are set up for a command, and what of their logs a person sees."""

import errno
import logging
import os
import sqlite3
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from flows.environment import bad_input_in, fault_of_the_machine, one_sentence_for_bad_input, prepare_environment
from tasks.errors import InputError


@pytest.fixture
def variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment of the test's own."""
    own = {"PATH": os.environ["PATH"], "REC_DENOISER_HOME": str(tmp_path / "home")}
    monkeypatch.setattr(os, "environ", own)
    return own


def test_state_lies_in_the_state_folder(variables: dict[str, str], tmp_path: Path) -> None:
    prepare_environment()
    assert variables["PREFECT_HOME"] == str(tmp_path / "home" / "prefect")
    assert variables["PREFECT_RESULTS_PERSIST_BY_DEFAULT"] == "true"
    assert variables["GX_ANALYTICS_ENABLED"] == "false"


def test_what_the_person_has_set_stays(variables: dict[str, str], tmp_path: Path) -> None:
    variables["PREFECT_HOME"] = elsewhere = str(tmp_path / "elsewhere")
    prepare_environment()
    assert variables["PREFECT_HOME"] == elsewhere


@pytest.mark.parametrize("proxy", ["HTTPS_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_the_local_server_is_reached_past_a_proxy(variables: dict[str, str], proxy: str) -> None:
    variables |= {proxy: "http://proxy:3128", "NO_PROXY": "intranet"}
    prepare_environment()
    assert variables["NO_PROXY"].split(",") == ["intranet", "127.0.0.1", "localhost"]


def test_a_state_folder_that_cannot_be(variables: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "home").write_text("in the way", encoding="utf-8")
    with pytest.raises(InputError, match=r"the state folder .*home cannot be used"):
        prepare_environment()


def test_a_folder_for_prefect_that_cannot_be_is_told_by_the_name_of_its_variable(
    variables: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    for named, said in (
        ("~nobody-of-this-name/prefect", "begins with a person's home folder, and this machine knows of none"),
        (str(tmp_path / "file" / "prefect"), "cannot be used: Not a directory"),
    ):
        variables["PREFECT_HOME"] = named
        with pytest.raises(InputError, match=f"^PREFECT_HOME: {named} {said}"):
            prepare_environment()


def test_how_long_a_server_of_mlflow_is_waited_for(variables: dict[str, str]) -> None:
    prepare_environment()
    assert variables["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "5"
    variables["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "9"
    prepare_environment()
    assert variables["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "9"


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "the disk is full: make room in {home} or"),
        (sqlite3.OperationalError("database or disk is full"), "the disk is full: make room in {home} or"),
        (sqlite3.OperationalError("database is locked"), "another process keeps a database in {home} locked"),
        (
            MlflowException(
                "API request to https://ann:secret@host:5000/api/2.0/mlflow/runs/search failed with exception "
                "HTTPConnectionPool(host='host', port=5000): Max retries exceeded with url: /api/2.0/mlflow/runs/search"
            ),
            "the MLflow server at https://host:5000 stopped answering: start it again",
        ),
        (OSError(errno.ENOENT, "No such file"), None),
    ],
)
def test_what_is_wrong_with_the_machine_is_said_in_a_sentence_and_without_a_traceback(
    variables: dict[str, str], told: Exception, said: str | None
) -> None:
    failure = RuntimeError("(Background on this error at …)")
    failure.__cause__ = told
    found = fault_of_the_machine(failure)
    assert (found is None) == (said is None)
    if said is not None:
        assert str(found).startswith(said.format(home=variables["REC_DENOISER_HOME"]))
    one_sentence_for_bad_input()  # the first time sets Prefect's logging up, which replaces the handlers
    handler = logging.StreamHandler()
    logging.getLogger().addHandler(handler)
    try:
        one_sentence_for_bad_input()
        record = logging.LogRecord("prefect", logging.ERROR, "f", 1, "Encountered", (), (OSError, failure, None))
        assert bool(handler.filter(record)) is (said is None)
    finally:
        logging.getLogger().removeHandler(handler)


def test_bad_input_is_found_behind_what_it_caused() -> None:
    fault, failure = InputError("row 3"), RuntimeError("the flow failed")
    failure.__cause__ = fault
    assert bad_input_in(failure) is fault
    assert bad_input_in(RuntimeError("a fault of ours")) is None
    assert bad_input_in(None) is None


def test_only_faults_of_the_program_show_their_traceback() -> None:
    one_sentence_for_bad_input()  # the first time sets Prefect's logging up, which replaces the handlers
    handler = logging.StreamHandler()
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        one_sentence_for_bad_input()
        hidden, shown = InputError("row 3"), RuntimeError("a fault of ours")
        for error, passes in ((hidden, False), (shown, True)):
            record = logging.LogRecord(
                "prefect.flow_runs", logging.ERROR, "f", 1, "Encountered", (), (type(error), error, None)
            )
            assert bool(handler.filter(record)) is passes
        crash = "Crash detected! Execution was aborted by an interrupt signal."
        record = logging.LogRecord("prefect.flow_runs", logging.ERROR, "f", 1, crash, (), None)
        assert not handler.filter(record)
        waiting = "Still processing items: 1 items remaining..."
        assert not handler.filter(logging.LogRecord("APILogWorker", logging.WARNING, "f", 1, waiting, (), None))
    finally:
        root.removeHandler(handler)
