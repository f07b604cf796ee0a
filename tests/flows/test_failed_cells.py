"""A job of which one training fails, with noise in the histories alone: all else is recorded, and told from it."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tasks.home import PROJECT_ROOT, Home
from tasks.track import TAG_PARENT, Tracker

pytestmark = pytest.mark.slow

JOB = """
import json, sys
from flows.environment import prepare_environment
prepare_environment()
from flows.running import run_job
from tasks.errors import RunFailed
from tasks.specs import RobustnessSpec
try:
    run_job(RobustnessSpec.model_validate_json(sys.argv[1]), json_path="result.json")
except RunFailed as failure:
    print("FAILED", failure)
"""
MODEL = {"dim": 8, "length": 10, "blocks": 1, "heads": 1, "loss": "softmax"}
BROKEN = {"gamma": 1e39}
"""A penalty that no number of 32 bits can hold: the first step leaves no finite weight."""


def spec(*methods: str) -> str:
    return json.dumps(
        {
            "source": {"path": "log.csv"},
            "noise": {"kind": "swap", "where": "histories", "ratios": [0, 0.2]},
            "methods": [{"name": name, "model": MODEL | (BROKEN if name == "broken" else {})} for name in methods],
            "training": {"epochs": 2, "batch_size": 32},
        }
    )


def start(folder: Path, *methods: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", JOB, spec(*methods)],
        cwd=folder,
        env=os.environ | {"REC_DENOISER_HOME": str(folder / "home"), "PYTHONPATH": str(PROJECT_ROOT)},
        capture_output=True, text=True, timeout=1200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout


def test_one_failing_training_sinks_no_other_and_noise_in_histories_trains_once(tmp_path: Path) -> None:
    rows = [f"u{number % 80},i{number * number % 61}" for number in range(1600)]
    (tmp_path / "log.csv").write_text("user_id,item_id\n" + "\n".join(rows) + "\n", encoding="utf-8")
    output = start(tmp_path, "good", "broken")
    (told,) = [line for line in output.splitlines() if line.startswith("FAILED")]
    assert "2 of 4 trainings failed; the others are recorded" in told
    labels = "broken, noise 0%, seed 1 / broken, noise 20% swap in histories, seed 1"
    assert f"{labels}: " in told
    assert "diverged" in told
    table, _, failures = output.partition("Failed:")
    assert [line.split()[0] for line in table.splitlines() if "%" in line][:2] == ["good", "good"]
    assert re.findall(r"^  (broken, noise .*?, seed 1): .*diverged", failures, re.MULTILINE) == labels.split(" / ")
    assert "Registered: nothing, for the best may be among what failed" in output
    rest = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert [cell["method"] for cell in rest["cells"]] == [row["method"] for row in rest["rows"]] == ["good", "good"]
    assert list(rest["failed"]) == labels.split(" / ")
    assert rest["registered"] is None
    home = Home(tmp_path / "home")
    tracker = Tracker(home)
    runs = tracker.client.search_runs([tracker.experiment_id])
    assert Counter(run.info.status for run in runs) == {"FAILED": 3, "FINISHED": 2}
    recorded = [run for run in runs if run.info.status == "FINISHED"]
    assert {run.data.params["noise_where"] for run in recorded} == {"histories"}
    assert all("promotion.full_unseen.ndcg_at_10" in run.data.metrics for run in recorded)
    assert all(TAG_PARENT in run.data.tags for run in recorded)
    shown = Path(tracker.client.download_artifacts(rest["mlflow"]["run"], "comparison.md", str(tmp_path)))
    assert all(what in shown.read_text(encoding="utf-8") for what in ("| good | 0% |", *labels.split(" / ")))
    results = list(home.steps.glob("train/*/result.json"))
    assert len(results) == 1
    made = results[0].stat().st_mtime_ns

    output = start(tmp_path, "good")
    assert "from cache" in output
    assert "20% swap in histories" in output
    assert results[0].stat().st_mtime_ns == made
    whole = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert (whole["failed"], whole["registered"]["method"]) == ({}, "good")
    cells = whole["cells"]
    assert [cell["metrics"] for cell in cells] == [cell["metrics"] for cell in rest["cells"]]
    assert cells[0]["training"] == cells[1]["training"]
    assert cells[0]["snapshot"] == cells[1]["snapshot"] != cells[1]["histories"]
    assert cells[0]["metrics"] != cells[1]["metrics"]
