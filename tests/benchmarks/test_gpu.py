"""All that is measured on a GPU, in one command: here on a CPU, whose figures nobody keeps."""

import json
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import bare, gpu
from tasks.home import PROJECT_ROOT

STUDY = """\
name: tiny
question: Is all of it measured?
base:
  dataset: shoppers
  method: sasrec-bce
  source: {shoppers: {users: 60, items: 50}}
  model: {length: 10, dim: 8}
  training: {epochs: 1}
axes:
  noise.ratio: [0, 0.2]
  seed: [1, 2]
include:
  - {dataset: {name: others, source: {shoppers: {users: 40, items: 60}}}, noise.ratio: 0, seed: 1}
reference: {noise.ratio: 0}
"""
OPTIONS = Namespace(device="cpu", also="bf16", rounds=1, steps=2)


@pytest.fixture
def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REC_DENOISER_HOME", str(tmp_path / "home"))
    study, folder = tmp_path / "tiny.yaml", tmp_path / "packed"
    study.write_text(STUDY, encoding="utf-8")
    bare.pack(str(study), [], folder)
    return folder


def test_every_data_set_is_trained_on_and_the_first_is_asked_all_else(packed: Path) -> None:
    cells = json.loads((packed / "cells.json").read_text(encoding="utf-8"))["cells"]
    first, other = cells[0]["clean"], cells[-1]["clean"]
    assert first != other
    named = {step.name: step.arguments for step in gpu.steps(packed, OPTIONS)}
    assert [named[f"training {name}"][1] for name in ("shoppers", "others")] == [first, other]
    assert {arguments[1] for name, arguments in named.items() if name in {"denoising", "losses", "ranking"}} == {first}


def test_what_may_take_all_the_time_comes_last_and_each_way_to_run_the_loop_fails_alone(packed: Path) -> None:
    steps = gpu.steps(packed, Namespace(**vars(OPTIONS) | {"also": "bf16,compiled"}))
    names = [step.name for step in steps]
    short, long = names[: names.index("study")], names[names.index("study") + 1 :]
    assert {"training shoppers", "training others", "denoising", "replicas", "losses", "ranking"} < set(short)
    assert long == [f"training {log}, {also}" for also in ("bf16", "compiled") for log in ("shoppers", "others")]
    assert ["--also" in step.arguments for step in steps] == [name in long for name in names]


def test_a_step_that_fails_or_has_no_time_is_told(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failing = gpu.Step("ranking", "benchmarks.ranking", ("--log", "logs/none.npz", "--device", "cpu"))
    told = gpu.measured(failing, packed, seconds=60)
    assert told["status"].startswith("failed: FileNotFoundError")
    assert told["figures"] == {}
    assert "in load_log" in capsys.readouterr().err
    assert gpu.measured(failing, packed, seconds=0.0)["status"] == "out of time"
    assert gpu.measured(failing, packed, seconds=0.1)["status"] == "out of time"


@pytest.mark.slow
def test_all_of_it_is_measured_once(packed: Path) -> None:
    first = run(packed)
    assert {name: step["status"] for name, step in first.items()} == dict.fromkeys(first, "done")
    assert set(first["training others"]["figures"]["positions_per_second"]) == {"ours", "bare loop", "padded loop"}
    assert "ours, bf16" in first["training others, bf16"]["figures"]["positions_per_second"]
    assert first["replicas"]["figures"]["replicas"] == 4
    assert [cell["status"] for cell in first["study"]["figures"]["cells"]] == ["done"] * 5
    assert first["denoising"]["figures"]["step_time_over_backbone"]["backbone"] == 1.0
    assert first["losses"]["figures"]["step_time_over_bce"]["bce"] == 1.0
    assert first["ranking"]["figures"]["targets"] == 60
    assert first["ranking, a million items"]["figures"]["items"] == 1_000_000
    assert run(packed) == first


def run(packed: Path) -> dict[str, Any]:
    """The steps of a command that finds nothing of the project but what is packed."""
    options = ["--device", "cpu", "--also", "bf16", "--rounds", "1", "--steps", "2", "--json", "gpu.json"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([sys.executable, "-m", "benchmarks.gpu", *options], cwd=packed, env=environment, check=True)
    assert not PROJECT_ROOT.is_relative_to(packed)
    found: dict[str, Any] = json.loads((packed / "gpu.json").read_text(encoding="utf-8"))["steps"]
    return found
