"""The main job through the command line, as a person would run it, on a small log."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tasks.home import PROJECT_ROOT
from tasks.shoppers import generate
from tasks.specs import ShoppersSpec


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small log in it."""
    folder = tmp_path_factory.mktemp("main-job")
    generate(ShoppersSpec(users=120, items=60), folder / "shop.parquet")
    return folder


def rec_denoiser(workplace: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", *arguments],
        cwd=workplace,
        env=os.environ | {"REC_DENOISER_HOME": str(workplace / "home"), "PYTHONPATH": str(PROJECT_ROOT)},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


def run(workplace: Path, name: str, *more: str) -> tuple[str, dict[str, Any]]:
    done = rec_denoiser(
        workplace,
        *("run", "--source", "shop.parquet", "--time-col", "time", "--noise-col", "noise", "--noise", "0,0.3"),
        *("--methods", "sasrec-softmax,rec-denoiser", "--epochs", "2", "--dim", "16", "--length", "20"),
        *("--json", name, *more),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, json.loads((workplace / name).read_text(encoding="utf-8"))


def test_from_a_log_to_a_registered_model_and_again_from_cache(workplace: Path) -> None:
    output, first = run(workplace, "first.json")
    assert [(row["method"], row["ratio"]) for row in first["rows"]] == [
        ("sasrec-softmax", 0.0),
        ("sasrec-softmax", 0.3),
        ("rec-denoiser", 0.0),
        ("rec-denoiser", 0.3),
    ]
    assert first["steps"] == {"done": 17, "cached": 0}
    assert "Noise detection" in output
    for row in first["rows"]:  # the log has labels of its own, so that there is something to detect without more noise
        gate = {"gate"} if row["method"] == "rec-denoiser" else set()
        assert row["detection"].keys() == {"own_score", "popularity"} | gate
        assert all(0.0 < area < 1.0 for area in row["detection"].values())
    assert "Retention" in output
    assert "rec-denoiser-shop version 1 as champion" in output
    assert "ui mlflow" in output
    assert "ui prefect" in output

    output, again = run(workplace, "again.json")
    assert "all 17 from cache" in output
    assert again["rows"] == first["rows"]
    assert again["registered"] == first["registered"]
    assert again["mlflow"]["run"] == first["mlflow"]["run"]

    _, wider = run(workplace, "wider.json", "--noise", "0,0.1,0.3")
    assert wider["steps"]["cached"] == 17
    assert wider["steps"]["done"] == 2 + 2 * 3
    assert wider["mlflow"]["run"] != first["mlflow"]["run"]
    same = {(cell["method"], cell["noise_ratio"]): cell["metrics"] for cell in wider["cells"]}
    for cell in first["cells"]:
        assert same[cell["method"], cell["noise_ratio"]] == cell["metrics"]
