"""The temporary server of a command: its own, found past a proxy, gone with the command, its history kept."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from tasks.home import PROJECT_ROOT, Home

pytestmark = pytest.mark.slow

FLOW = """
import sys, time
from flows.environment import prepare_environment
prepare_environment()
from prefect import flow, task
from flows.running import follow
from tasks.errors import RunFailed
from tasks.own_server import server_is_shared

@task
def step():
    return 1

@flow(name="counted")
def counted():
    step()
    print("under way", server_is_shared(), flush=True)
    time.sleep(float(sys.argv[1]))
    return {}

try:
    follow(counted)
except RunFailed as failure:
    print("FAILED", failure)
print([name for name in sys.modules if name.startswith("prefect.server.api")])
"""


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., "subprocess.Popen[str]"]:
    """`start(seconds, VARIABLE=…)` starts a flow of one task that then takes so long; its proxy is not there."""

    def run(seconds: float, **variables: str) -> "subprocess.Popen[str]":
        own = {"REC_DENOISER_HOME": str(tmp_path / "home"), "PYTHONPATH": str(PROJECT_ROOT)}
        proxies = {"HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}
        return subprocess.Popen(
            [sys.executable, "-c", FLOW, str(seconds)],
            cwd=tmp_path,
            env=os.environ | proxies | own | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )  # fmt: skip

    return run


def left_behind(tmp_path: Path) -> list[int]:
    """Processes that have this test's home in their environment."""
    home = str(tmp_path / "home")
    return [process.pid for process in psutil.process_iter(["environ"]) if home in str(process.info["environ"])]


def states(tmp_path: Path, table: str) -> list[str]:
    with closing(sqlite3.connect(Home(tmp_path / "home").prefect / "prefect.db")) as database:
        return [state for (state,) in database.execute(f"SELECT state_type FROM {table}")]


def test_two_at_once_have_a_server_each_and_one_history(tmp_path: Path, start: Callable[..., Any]) -> None:
    (tmp_path / "flows").mkdir()  # a folder of the person's, by the name of one of ours
    both = [start(5), start(5)]  # in a new home, where the first has to make the database
    for output in [process.communicate(timeout=400)[0] for process in both]:
        assert "under way False" in output
        assert output.splitlines()[-1] == "[]", "the server's code is imported by the server alone"
        assert "View at" not in output, "it has no pages"
    assert states(tmp_path, "flow_run") == ["COMPLETED"] * 2
    assert states(tmp_path, "task_run") == ["COMPLETED"] * 2
    assert left_behind(tmp_path) == []


def test_a_killed_command_leaves_no_server(tmp_path: Path, start: Callable[..., Any], wait_until: Any) -> None:
    process = start(600)
    wait_until(lambda: "under way" in process.stdout.readline(), within=400)
    assert len(left_behind(tmp_path)) == 2
    wait_until(lambda: states(tmp_path, "task_run") == ["COMPLETED"], within=60)  # the server has heard of its end
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_until(lambda: not left_behind(tmp_path), within=60)
    assert states(tmp_path, "task_run") == ["COMPLETED"], "what was written down is there"


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "1"}, "did not start within 1 s: give it longer with"),
        ({"PREFECT_API_DATABASE_CONNECTION_URL": "sqlite+aiosqlite:////no/such/x.db"}, "it ended with status 3: why"),
        ({"PREFECT_SERVER_EPHEMERAL_ENABLED": "false"}, "No Prefect API URL provided"),
    ],
    ids=["too slow", "no database", "not wanted"],
)  # fmt: skip
def test_a_server_that_does_not_start_is_told_in_a_sentence(
    tmp_path: Path, start: Callable[..., Any], variables: dict[str, str], told: str
) -> None:
    output, _ = start(0, **variables).communicate(timeout=400)
    (failed,) = [line for line in output.splitlines() if line.startswith("FAILED")]
    assert told in failed
    assert left_behind(tmp_path) == []
