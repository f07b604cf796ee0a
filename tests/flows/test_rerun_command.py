"""`rerun` and `diff` as a person gives them, after a small job."""

import json
import shutil
from pathlib import Path

import pytest

from tasks.data_specs import ShoppersSpec
from tasks.shoppers import generate
from tests.flows.commands import rec_denoiser

pytestmark = pytest.mark.slow


def test_a_run_is_made_again_even_when_its_snapshots_are_gone(tmp_path: Path) -> None:
    generate(ShoppersSpec(users=120, items=60), tmp_path / "shop.parquet")
    done = rec_denoiser(
        tmp_path,
        *("run", "--source", "shop.parquet", "--time-col", "time", "--noise-col", "noise", "--noise", "0.3"),
        *("--methods", "sasrec-softmax,rec-denoiser", "--epochs", "2", "--dim", "16", "--json", "job.json"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    first, second = (cell["mlflow_run"] for cell in json.loads((tmp_path / "job.json").read_text())["cells"])

    shutil.rmtree(tmp_path / "home" / "snapshots")
    done = rec_denoiser(tmp_path, "rerun", second[:16], "--home", "again")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Identical to the bit." in done.stdout
    assert "machine:" not in done.stdout
    assert len(list((tmp_path / "again" / "steps" / "train").iterdir())) == 1
    done = rec_denoiser(tmp_path, "rerun", second[:16], "--home", "again")
    assert done.returncode == 2
    assert "is not an empty folder" in done.stderr

    done = rec_denoiser(tmp_path, "diff", first[:16], second[:16], "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["spec"]["method"] == ["sasrec-softmax", "rec-denoiser"]
    assert found["data"] == found["packages"] == {}
    assert len(found["tests"]) == 4
    pairs = {pair["name"]: pair for pair in found["metrics"]}
    assert None not in (pairs["noise.own_score.auroc"]["a"], pairs["noise.own_score.auroc"]["b"])
    assert pairs["noise.gate.auroc"]["a"] is None  # the first has no gate
