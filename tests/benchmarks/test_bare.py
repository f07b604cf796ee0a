"""A study carried to a machine without this project's other packages."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import bare
from models.config import TOUCHED_FROM, ModelConfig, TrainingConfig
from tasks.corrupt import corrupt
from tasks.data_specs import FilterSpec, PrepareSpec, ShoppersSpec, SourceSpec
from tasks.filter import filtered
from tasks.home import PROJECT_ROOT, Home
from tasks.ingest import ingest
from tasks.sequences import export_log
from tasks.sources.source import obtain_log
from tasks.specs import InjectedNoise

STUDY = """\
name: tiny
question: Does it arrive?
base:
  source: {shoppers: {users: 60, items: 50}}
  model: {length: 10, dim: 8}
  training: {epochs: 1}
axes:
  noise.ratio: [0, 0.2]
  method: [sasrec-bce, sasrec-bpr]
reference: sasrec-bce
"""
FILTERED = """\
name: tiny
question: Does what is left of it arrive?
base:
  source: {shoppers: {users: 60, items: 50}}
  noise: {ratio: 0.2}
  model: {length: 10, dim: 8}
  training: {epochs: 1}
axes:
  noise.where: [both, training, histories]
  method:
    - sasrec-bce
    - {name: filtered, loss: bce, filter: {by: co-occurrence, below: 0.5}}
reference: sasrec-bce
"""
BARE = """\
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"duckdb", "flows", "mlflow", "pandas", "prefect", "pydantic", "tasks", "yaml"}:
            raise ImportError(f"{name} is not on a bare machine")
sys.meta_path.insert(0, Missing())
sys.path.insert(0, ".")
sys.argv = ["bare", "run", ".", "--device", "cpu", "--stacked", "2", "--json", "result.json"]
from benchmarks.bare import main
main()
"""


@pytest.mark.slow
def test_a_packed_study_runs_without_the_project_and_goes_on(tmp_path: Path) -> None:
    """Two cells are trained as one stacked model, the others alone, of which one fails: that is told and takes no other
    with it.
    """
    (tmp_path / "tiny.yaml").write_text(STUDY, encoding="utf-8")
    packed = tmp_path / "packed"
    pack = [sys.executable, "-m", "benchmarks.bare", "pack", str(tmp_path / "tiny.yaml"), "--out", str(packed)]
    home = os.environ | {"REC_DENOISER_HOME": str(tmp_path / "home")}
    subprocess.run(pack, cwd=PROJECT_ROOT, env=home, check=True)
    described = json.loads((packed / "cells.json").read_text(encoding="utf-8"))
    described["cells"][1]["model"]["heads"] = 3
    (packed / "cells.json").write_text(json.dumps(described), encoding="utf-8")

    first = run(packed, status=1)
    assert [cell["status"] for cell in first["cells"]] == ["done", "failed", "done", "done"]
    assert "multiple of heads" in first["cells"][1]["failure"]
    done = [cell for cell in first["cells"] if cell["status"] == "done"]
    assert [cell["group"] for cell in done] == [["000", "002"], ["000", "002"], []]
    assert {cell["epochs"] for cell in done} == {1}
    for name in ("test.full_unseen.ndcg_at_10", "test.full_unseen.coverage_at_10", "test.full_unseen.gini_at_10"):
        assert all(0 <= cell["metrics"][name] <= 1 for cell in done)
    assert {cell["noise"]["ratio"] for cell in done} == {0.0, 0.2}
    trained = trainings(packed)

    described["cells"][1]["model"]["heads"] = 2
    (packed / "cells.json").write_text(json.dumps(described), encoding="utf-8")
    second = run(packed)
    assert [cell["status"] for cell in second["cells"]] == ["done"] * 4
    assert [cell for number, cell in enumerate(second["cells"]) if number != 1] == done
    assert trained.items() < trainings(packed).items()


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("say('error', kind='invalid', message='no user'); sys.exit(1)", "no user"),
        ("raise KeyError('what was wrong')", "KeyError: 'what was wrong'"),
        ("os.kill(os.getpid(), 9)", "it was ended from outside, with the status -9"),
    ],
)
def test_why_a_worker_failed_is_told(tmp_path: Path, code: str, told: str) -> None:
    """And not what it said before."""
    said = "def say(event, **about): print(json.dumps({'event': event, **about}), flush=True)"
    (tmp_path / "worker.py").write_text(
        f"import json, os, sys\n{said}\nsay('begins')\nprint('a library')\n{code}\n", encoding="utf-8"
    )
    with pytest.raises(RuntimeError, match=told):
        bare._worker(tmp_path, "worker", "train", {}, tmp_path)


def test_a_packed_cell_has_the_logs_that_the_whole_project_would_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, packed, study = Home(tmp_path / "home"), tmp_path / "packed", tmp_path / "tiny.yaml"
    monkeypatch.setenv("REC_DENOISER_HOME", str(home.root))
    study.write_text(FILTERED, encoding="utf-8")
    bare.pack(str(study), [], packed)
    source = SourceSpec(shoppers=ShoppersSpec(users=60, items=50))
    clean = ingest(obtain_log(source, home=home), PrepareSpec(), home=home)
    noisy = corrupt(clean, InjectedNoise(ratio=0.2).corruption, home=home)
    left_out = FilterSpec(by="co-occurrence", below=0.5)
    of_clean, of_noisy = (filtered(log, left_out, home=home) for log in (clean, noisy))
    assert of_noisy.counts.interactions < noisy.counts.interactions

    cells = json.loads((packed / "cells.json").read_text(encoding="utf-8"))["cells"]
    for cell in cells:
        spared, spoilt = (of_clean, of_noisy) if cell["method"] == "filtered" else (clean, noisy)
        where = cell["noise"]["where"]
        for name, snapshot in (
            ("log", spared if where == "histories" else spoilt),
            ("histories", spared if where == "training" else spoilt),
            ("clean", clean),
        ):
            assert (packed / cell[name]).read_bytes() == export_log(snapshot, home=home).read_bytes(), (cell, name)
    assert [cell["filter"] for cell in cells] == [FilterSpec().model_dump(), left_out.model_dump()] * 3


@pytest.mark.parametrize(
    ("items", "rows", "together"), [(50, "auto", 2), (TOUCHED_FROM, "auto", 1), (50, "touched", 1)]
)
def test_what_moves_touched_rows_alone_is_neither_stacked_nor_compiled(
    tmp_path: Path, items: int, rows: str, together: int
) -> None:
    log = {"train_lengths": np.array([3, 4]), "item_count": np.asarray(items)}
    np.savez(tmp_path / "log.npz", allow_pickle=False, **log)
    model, training = ModelConfig(), TrainingConfig.from_dict({"table_rows": rows})
    cell = {"log": "log.npz", "clean": "log.npz", "model": model.to_dict(), "effective": model.effective()}
    cells = [cell | {"training": training.to_dict(), "seed": seed} for seed in (1, 2)]
    assert [len(numbers) for numbers in bare.groups(tmp_path, cells, most=8)] == [together] * (2 // together)
    assert bare._can_be_compiled(tmp_path, cells[0], "cuda") == (together == 2)
    assert not bare._can_be_compiled(tmp_path, cells[0] | {"model": {"backbone": "bert4rec"}}, "cuda")


def run(packed: Path, *, status: int = 0) -> dict[str, Any]:
    """The result of running a packed study where nothing but torch and numpy can be imported."""
    assert subprocess.run([sys.executable, "-c", BARE], cwd=packed).returncode == status
    result: dict[str, Any] = json.loads((packed / "result.json").read_text(encoding="utf-8"))
    return result


def trainings(packed: Path) -> dict[str, int]:
    """By folder when each training's result was written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in packed.glob("done/*/result.json")}
