"""Searches through the command line, as a person would run them, on a small generated log."""

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from flows.tune import _check
from tasks.errors import RunFailed
from tasks.track import TAG_PARENT, Tracker
from tasks.tuning.expand import read_tuning
from tasks.tuning.outcome import read_tuned
from tasks.tuning.result import TrialResult
from tests.tasks.tuning import builders
from tests.tasks.tuning.builders import TEXT

if TYPE_CHECKING:
    from tests.flows.conftest import Workplace

TINY = """\
name: tiny-search
question: At which settings?
base:
  source: {shoppers: {users: 150, items: 60}}
  noise: {ratio: 0.2}
  model: {dim: 8, length: 12, blocks: 1, heads: 1}
  training: {epochs: 2}
methods: [sasrec-bce, rec-denoiser]
space:
  training.learning_rate: {low: 1e-3, high: 2e-2, log: true}
spaces:
  rec-denoiser: {model.beta: [0.01, 0.06, 0.2]}
trials: 4
sampler: {kind: tpe, round: 2, startup: 1}
"""


def test_a_method_without_a_result_is_told_with_a_reason_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "some.yaml"
    file.write_text(TEXT, encoding="utf-8")
    found = builders.result(read_tuning(file))

    def without_result(trial: TrialResult) -> TrialResult:
        reason = {"rec-denoiser": "out of memory"}.get(trial.method)
        cells = tuple(replace(cell, failure=reason, metrics={}) for cell in trial.cells)
        return trial if trial.method == "sasrec-bce" else replace(trial, value=None, cells=cells)

    lost = replace(
        found,
        trials=tuple(map(without_result, found.trials)),
        methods=(found.methods[0], *(replace(method, best=None) for method in found.methods[1:])),
    )
    with pytest.raises(RunFailed) as told:
        _check(lost, [RunFailed("diverged")])
    assert str(told.value) == (
        "no trial of rec-denoiser has a result: out of memory; no trial of sasrec-gbce has a result: "
        "none of its trainings gave a finite validation.full_unseen.ndcg_at_10"
    )
    with pytest.raises(RunFailed, match=r"1 training failed for another reason than diverging.* First: no space left"):
        _check(found, [RunFailed("diverged"), OSError("no space left")])
    _check(found, [RunFailed("diverged")])


def result(workplace: "Workplace") -> dict[str, Any]:
    path = workplace.home.root / "studies" / "tiny-search" / "tune.json"
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


@pytest.mark.slow
def test_a_search_killed_and_taken_up_again_to_the_study_on_test(workplace: "Workplace") -> None:
    path: Path = workplace.folder / "tiny.yaml"
    path.write_text(TINY, encoding="utf-8")
    assert "are guessed from what is known of them" in workplace.run("flows.cli", "tune", str(path), "--dry-run")
    assert workplace.run("flows.cli", "tune", str(path), "--set", "metric=test.full_unseen.ndcg_at_10", status=2) == ""
    started = workplace.start("flows.cli", "tune", str(path))
    deadline = time.monotonic() + 240
    while len(workplace.trainings()) < 2:
        assert started.process.poll() is None, started.output.read_text(encoding="utf-8")
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(started.process.pid, signal.SIGKILL)
    started.process.wait()
    finished = workplace.trainings()

    output = workplace.run("flows.cli", "tune", str(path), "--json", "figures.json")
    assert "rec-denoiser" in output
    told = result(workplace)
    found = read_tuned("tiny-search", home=workplace.home)
    assert found is not None
    assert (workplace.folder / "figures.json").read_text(encoding="utf-8") == found.to_hand_on().to_json()
    after = workplace.trainings()
    assert {folder: after[folder] for folder in finished} == finished
    assert len(after) == 8
    assert [(trial["method"], trial["number"]) for trial in told["trials"] if trial["number"] == 0] == [
        ("sasrec-bce", 0), ("rec-denoiser", 0),
    ]  # fmt: skip
    assert not list(workplace.home.steps.glob("evaluate/*")), "no trial is ranked on test"
    for method in told["methods"]:
        values = [trial["value"] for trial in told["trials"] if trial["method"] == method["name"]]
        assert len(values) == 4
        assert values[method["best"]] == max(values)

    tracker = Tracker(workplace.home)
    wanted = "tags.study = 'tiny-search' and params.method = 'rec-denoiser'"
    runs = tracker.client.search_runs([tracker.experiment_id], wanted)
    assert sorted(run.data.tags["trial"] for run in runs) == ["0", "1", "2", "3"]
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert all("chosen.validation.full_unseen.ndcg_at_10" in run.data.metrics for run in runs)
    assert all(0 <= run.data.metrics["noise.gate.auroc"] <= 1 for run in runs)
    assert all("noise.own_score.auroc_low" in run.data.metrics for run in runs)
    assert not [name for run in runs for name in run.data.metrics if name.startswith(("test.", "promotion."))]
    held = tracker.client.get_run(runs[0].data.tags[TAG_PARENT]).data
    highest = {
        method["name"]: max(trial["value"] for trial in told["trials"] if trial["method"] == method["name"])
        for method in told["methods"]
    }
    assert {method: held.metrics[f"best.validation.full_unseen.ndcg_at_10.{method}"] for method in highest} == highest
    assert (held.metrics["cells.done"], held.metrics["cells.failed"]) == (8, 0)
    assert highest[held.tags["best.method"]] == max(highest.values())

    dry = workplace.run("flows.cli", "tune", str(path), "--dry-run")
    assert "cached: 8" in dry
    assert "nothing is left to train" in dry
    folder = workplace.home.root / "studies" / "tiny-search"
    assert (folder / "report.html").stat().st_size > 1000
    seed = ("--set", "axes.seed=[7]")
    assert "sasrec-bce-tuned" in workplace.run("flows.cli", "study", str(folder / "tuned.yaml"), *seed)
    assert workplace.run("flows.cli", "tune", str(path), "--set", "name=tiny-search-tested", status=2) == ""
