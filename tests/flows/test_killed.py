"""A job killed while it ingests and while it trains ends with the numbers of an undisturbed one."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tasks.data_specs import ShoppersSpec
from tasks.home import PROJECT_ROOT, Home
from tasks.shoppers import generate
from tasks.track import Tracker

pytestmark = pytest.mark.slow

PATIENCE = 240.0


HELD = """
import sys, time
from pathlib import Path
from flows.cli import main
rename = Path.rename

def held(path, target):
    if Path(target).parent.name == "snapshots":
        print("whole, and not in its place", flush=True)
        time.sleep(600)
    return rename(path, target)

Path.rename = held
sys.exit(main())
"""
"""The command line, held where a snapshot is written and not yet there."""


def start(folder: Path, home: Path, result: Path, *program: str) -> "subprocess.Popen[bytes]":
    """The job, by `python -m flows.cli` unless Python is given something else to run."""
    return subprocess.Popen(
        [
            *(sys.executable, *(program or ("-m", "flows.cli")), "run", "--source", "shop.parquet"),
            *(
                "--time-col",
                "time",
                "--noise",
                "0,0.3",
                "--methods",
                "sasrec-softmax,rec-denoiser",
                "--epochs",
                "12",
                "--patience",
                "12",
            ),
            *("--dim", "16", "--json", str(result)),
        ],
        cwd=folder,
        env=os.environ | {"REC_DENOISER_HOME": str(home), "PYTHONPATH": str(PROJECT_ROOT)},
        stdout=subprocess.PIPE if program else subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def kill_when(process: "subprocess.Popen[bytes]", moment: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not moment():
        assert process.poll() is None, "the job ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()


def at_work_in(home: Home) -> list[int]:
    """Processes that have this home in their environment."""
    return [
        process.pid for process in psutil.process_iter(["environ"]) if str(home.root) in str(process.info["environ"])
    ]


def cells(result: Path) -> list[tuple[Any, ...]]:
    content = json.loads(result.read_text(encoding="utf-8"))
    return [(cell["method"], cell["noise_ratio"], cell["snapshot"], cell["metrics"]) for cell in content["cells"]]


def test_killed_while_ingesting_and_while_training(tmp_path: Path, wait_until: Callable[..., Any]) -> None:
    generate(ShoppersSpec(users=2000, items=400), tmp_path / "shop.parquet")
    undisturbed, killed = tmp_path / "undisturbed", Home(tmp_path / "killed")
    calm = start(tmp_path, undisturbed, tmp_path / "calm.json")
    assert calm.wait(timeout=3 * PATIENCE) == 0

    first = start(tmp_path, killed.root, tmp_path / "never.json", "-c", HELD)
    assert first.stdout is not None
    with first.stdout:
        assert first.stdout.readline() == b"whole, and not in its place\n"
    kill_when(first, lambda: any(killed.snapshots.glob(".tmp-*/*")))
    assert not list(killed.snapshots.glob("[!.]*"))

    second = start(tmp_path, killed.root, tmp_path / "never.json")
    kill_when(second, lambda: len(list(killed.steps.glob("train/*/checkpoint.pt"))) >= 2)
    trainers = [process for process in psutil.process_iter(["cmdline"]) if str(killed.root) in str(process.info)]
    psutil.wait_procs(trainers, timeout=10)
    tracker = Tracker(killed)
    statuses = Counter(run.info.status for run in tracker.client.search_runs([tracker.experiment_id]))
    assert statuses["RUNNING"] >= 1

    interrupted = [path.parent for path in killed.steps.glob("train/*/checkpoint.pt")]
    again = time.time() * 1000
    third = start(tmp_path, killed.root, tmp_path / "resumed.json")
    assert third.wait(timeout=3 * PATIENCE) == 0
    assert cells(tmp_path / "resumed.json") == cells(tmp_path / "calm.json")
    assert interrupted
    for folder in interrupted:
        history = json.loads((folder / "result.json").read_text(encoding="utf-8"))["history"]
        assert next(epoch["epoch"] for epoch in history if epoch["timestamp"] > again) > 1, "it went on"
    assert not list(killed.snapshots.glob(".tmp-*"))
    assert not list(killed.leases.glob("*.json"))

    runs = tracker.client.search_runs([tracker.experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len(runs) == 5
    for run in runs:
        history = tracker.client.get_metric_history(run.info.run_id, "train.loss")
        steps = [metric.step for metric in history]
        assert sorted(steps) == list(range(1, len(steps) + 1)), "one value a step"

    with sqlite3.connect(killed.prefect / "prefect.db") as database:
        states = [state for (state,) in database.execute("select state_type from flow_run order by created")]
        unended = database.execute("select count(*) from task_run where state_type = 'RUNNING'").fetchone()
    assert states == ["CRASHED", "CRASHED", "COMPLETED"]
    assert unended == (0,)
    wait_until(lambda: not at_work_in(killed), within=60)  # the temporary servers of killed jobs end too
