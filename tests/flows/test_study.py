"""Studies through the command line, as a person would run them, on a small generated log."""

import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tasks.track import TAG_PARENT, Tracker

if TYPE_CHECKING:
    from tests.flows.conftest import Workplace

TINY = """\
name: tiny
question: Does a denoised recommender do better?
base:
  source: {shoppers: {users: 150, items: 60}}
  noise: {ratio: 0.2}
  model: {dim: 8, length: 12, blocks: 1, heads: 1}
  training: {epochs: 2}
axes:
  method: [sasrec-bce, rec-denoiser]
  seed: [1]
reference: sasrec-bce
"""
CLEANED = "{name: cleaned, loss: bce, filter: {by: co-occurrence}}"
COLLAPSING = (
    "{name: collapsing, loss: bce, gate: positional, estimator: arm, gate_logit: 0.0, gate_rate: 50.0, "
    "beta: 100.0, beta_on: sum}"
)


@pytest.fixture(scope="module")
def tiny(workplace: "Workplace") -> Path:
    """The study's file."""
    path = workplace.folder / "tiny.yaml"
    path.write_text(TINY, encoding="utf-8")
    return path


def run(workplace: "Workplace", *arguments: str, status: int = 0) -> str:
    return workplace.run("flows.cli", "study", *arguments, status=status)


def result(workplace: "Workplace", name: str) -> dict[str, Any]:
    path = workplace.home.root / "studies" / name / "study.json"
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def without_points(told: dict[str, Any]) -> dict[str, Any]:
    """A study's result less the points of its curves and less where the pages on its data lie."""
    gates = [[layer | {"keep_by_distance": []} for layer in cell["figures"]["gate"]] for cell in told["cells"]]
    return told | {
        "file": Path(told["file"]).name,
        "cells": [
            cell | {"history": [], "figures": cell["figures"] | {"gate": gate}}
            for cell, gate in zip(told["cells"], gates, strict=True)
        ],
        "datasets": [dataset | {"docs": None} for dataset in told["datasets"]],
        "detection": [one | {"false_positive_rates": [], "true_positive_rates": []} for one in told["detection"]],
    }


def test_a_study_from_its_file_to_its_report(
    workplace: "Workplace", tiny: Path, prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(workplace.environment, "PREFECT_API_URL", prefect_api)
    filtered = f"axes.method=[sasrec-bce, rec-denoiser, {CLEANED}, {COLLAPSING}]"
    assert "not known before the data is read" in run(workplace, str(tiny), "--set", filtered, "--dry-run")
    output = run(workplace, str(tiny), "--set", filtered, "--json", "figures.json")
    assert "NDCG@10" in output
    assert "reference" in output
    told = result(workplace, "tiny")
    assert json.loads((workplace.folder / "figures.json").read_text(encoding="utf-8")) == without_points(told)
    assert [(cell["method"], cell["status"]) for cell in told["cells"]] == [
        ("sasrec-bce", "done"), ("rec-denoiser", "done"), ("cleaned", "done"), ("collapsing", "done"),
    ]  # fmt: skip
    for cell in told["cells"]:
        assert cell["noise"] == {"kind": "replace", "ratio": 0.2, "where": "both", "seed": 0}
        assert (workplace.home.root / cell["ranks"]).exists()
        assert cell["figures"]["peak_memory_bytes"] > 1e8
        assert 0 < cell["metrics"]["test.full_unseen.coverage_at_10"] <= 1
        assert [epoch["epoch"] for epoch in cell["history"]] == [1, 2]
    metrics = {compared["table"]["metric"] for compared in told["comparisons"]}
    assert "test.full_unseen.ndcg_at_10" in metrics
    assert all(compared["table"]["reference"] == "sasrec-bce" for compared in told["comparisons"])
    folder = workplace.home.root / "studies" / "tiny"
    assert "<h2>What is recommended</h2>" in (folder / "report.html").read_text(encoding="utf-8")
    assert list(folder.glob("tables/*.csv"))

    tracker = Tracker(workplace.home)
    wanted = "tags.study = 'tiny' and params.noise_ratio = '0.2' and params.method = 'rec-denoiser'"
    (found,) = tracker.client.search_runs([tracker.experiment_id], f"{wanted} and metrics.noise.own_score.auroc > 0.1")
    assert {"system/cpu_utilization_percentage", "system/memory_usage_megabytes"} <= found.data.metrics.keys()
    assert {"noise.gate.auroc_low", "noise.popularity.replace.recall_at_share"} <= found.data.metrics.keys()
    assert {entry.path for entry in tracker.client.list_artifacts(found.info.run_id, "detection")} == {
        "detection/suspicions.parquet", "detection/roc.csv", "detection/roc.svg",
    }  # fmt: skip
    areas = {(each["method"], each["detector"]): each["auroc"] for each in told["detection"] if each["kind"] is None}
    assert areas["rec-denoiser", "gate"] == found.data.metrics["noise.gate.auroc"]
    assert len(areas) == 10
    of_filter = tracker.client.get_run(told["cells"][2]["mlflow_run"]).data.metrics
    assert {f"filter.{name}" for name in ("left_out", "auroc", "precision", "recall")} <= of_filter.keys()
    assert "filter.auroc" not in found.data.metrics
    assert len({cell["snapshot"] for cell in told["cells"]}) == 2
    assert len({cell["train_key"] for cell in told["cells"]}) == 4
    assert found.info.run_id == told["cells"][1]["mlflow_run"]
    parent = found.data.tags[TAG_PARENT]
    assert {"report.html", "study.json", "tables", "spec.json"} <= {
        entry.path for entry in tracker.client.list_artifacts(parent)
    }
    held = tracker.client.get_run(parent).data
    assert held.metrics.items() >= {"cells.done": 4.0, "cells.failed": 0.0}.items()
    for cell in told["cells"]:
        for name in ("ndcg", "coverage", "novelty", "gini"):
            mean = held.metrics[f"mean.test.full_unseen.{name}_at_10.{cell['method']}"]
            assert mean == pytest.approx(cell["metrics"][f"test.full_unseen.{name}_at_10"])
    assert held.tags["reference"] == "sasrec-bce"
    assert held.tags["leading.method"] in {cell["method"] for cell in told["cells"]}
    assert held.tags["answer"].startswith("At 20 % replace noise: ")
    shown = httpx.post(f"{prefect_api}/artifacts/latest/filter", json={"limit": 200}).json()
    assert {artifact["key"] for artifact in shown} >= {"study-tiny", "study-mlflow-tiny"} | {
        f"study-{name}-tiny"
        for name in ("comparison", "hits", "offers", "effects", "noise-detection", "costs", "datasets", "cells")
    }
    dry = run(workplace, str(tiny), "--set", filtered, "--dry-run")
    assert "cached: 4 trained, 4 ranked" in dry
    assert "nothing is left to train" in dry

    assert [cell["figures"]["collapsed"] for cell in told["cells"]] == [False, False, False, True]
    sentence = (
        "The gate of 1 of 4 trainings collapsed in a layer or in all, whose attention was all but off (1 of collapsing)"
    )
    assert sentence in output
    assert sentence in (folder / "report.html").read_text(encoding="utf-8")
    tags = [tracker.client.get_run(cell["mlflow_run"]).data.tags for cell in told["cells"]]
    assert ["collapsed" in held for held in tags] == [False, False, False, True]
    assert (tags[3]["collapsed"], tags[3]["collapsed.epoch"]) == ("true", "1")
    again = workplace.start("flows.cli", "study", str(tiny), "--set", filtered)
    assert again.process.wait(timeout=300) == 0
    warnings = [line for line in again.output.read_text(encoding="utf-8").splitlines() if "gate has collapsed" in line]
    assert len(warnings) == 1, "a training from the cache warns again, once"
    assert "collapsing, noise 20%, seed 1: The gate has collapsed" in warnings[0]


@pytest.mark.slow
def test_a_cell_of_another_study_is_not_run_again(workplace: "Workplace", tiny: Path) -> None:
    run(workplace, str(tiny))
    before = workplace.trainings()
    wider = ("--set", "name=wider", "--set", "axes.seed=[1, 2]", "--set", "axes.method=[sasrec-bce]")
    dry = run(workplace, str(tiny), *wider, "--dry-run")
    assert "cached: 1 trained, 1 ranked" in dry
    run(workplace, str(tiny), *wider)
    after = workplace.trainings()
    assert len(after) == len(before) + 1
    assert {folder: after[folder] for folder in before} == before
    first, second = result(workplace, "tiny")["cells"][0], result(workplace, "wider")["cells"][0]
    assert first["train_key"] == second["train_key"]
    assert first["metrics"] == second["metrics"]
    assert first["mlflow_run"] != second["mlflow_run"]


@pytest.mark.slow
def test_a_failing_cell_is_named_and_sinks_no_other(workplace: "Workplace", tiny: Path) -> None:
    rates = ("--set", "axes.training.learning_rate=[0.002, 1e30]", "--set", "axes.method=[sasrec-bce]")
    output = run(workplace, str(tiny), "--set", "name=failing", *rates, status=1)
    told = result(workplace, "failing")
    assert [cell["status"] for cell in told["cells"]] == ["done", "failed"]
    assert "diverged" in told["cells"][1]["failure"]
    assert "Failed:" in output
    assert told["cells"][1]["label"] in output
    tracker = Tracker(workplace.home)
    runs = tracker.client.search_runs([tracker.experiment_id], "tags.study = 'failing'")
    assert sorted(run.info.status for run in runs) == ["FAILED", "FAILED", "FINISHED"]
    (parent,) = (run for run in runs if TAG_PARENT not in run.data.tags)
    assert parent.data.metrics.items() >= {"cells.done": 1.0, "cells.failed": 1.0}.items()


@pytest.mark.slow
def test_a_log_that_cannot_be_used_fails_its_own_cells(workplace: "Workplace", tiny: Path) -> None:
    (workplace.folder / "short.csv").write_text("user_id,item_id\nu1,i1\nu1,i2\n", encoding="utf-8")
    logs = (
        "axes.dataset=[{name: short, source: {path: short.csv}}, {name: gone, source: {path: gone.csv}}, "
        "{name: shoppers}]"
    )
    run(workplace, str(tiny), "--set", "name=short", "--set", logs, "--set", "axes.method=[sasrec-bce]", status=1)
    short, gone, shoppers = result(workplace, "short")["cells"]
    assert (short["status"], short["mlflow_run"], shoppers["status"]) == ("failed", None, "done")
    assert short["failure"]
    assert (gone["status"], "gone.csv" in gone["failure"]) == ("failed", True)


@pytest.mark.slow
def test_trainings_that_differ_in_data_and_seed_are_stacked_and_say_so(workplace: "Workplace", tiny: Path) -> None:
    """Those of the plain backbone are; those of the denoiser are trained alone."""
    before = set(workplace.trainings())
    arguments = ("--set", "name=stacked", "--set", "axes.seed=[5, 6]", "--set", "execution.stacked=2")
    run(workplace, str(tiny), *arguments)
    told = result(workplace, "stacked")
    assert {cell["status"] for cell in told["cells"]} == {"done"}
    made = {name: workplace.home.steps / "train" / name for name in set(workplace.trainings()) - before}
    groups = [json.loads((folder / "result.json").read_text(encoding="utf-8"))["group"] for folder in made.values()]
    assert sorted(map(len, groups)) == [0, 0, 2, 2]
    (group,) = {tuple(group) for group in groups if group}
    assert set(group) < set(made)
    tracker = Tracker(workplace.home)
    runs = tracker.client.search_runs([tracker.experiment_id], filter_string="tags.stacked = '2'")
    assert {run.data.tags["stacked.folders"] for run in runs} == {", ".join(group)}


@pytest.mark.slow
def test_killed_and_started_again_it_goes_on(workplace: "Workplace", tiny: Path) -> None:
    longer = (
        *("--set", "base.training.epochs=40", "--set", "base.training.patience=40", "--set", "axes.seed=[5, 6]"),
        *("--set", "name=killed", "--side-by-side", "1"),
    )
    before = set(workplace.trainings())
    started = workplace.start("flows.cli", "study", str(tiny), *longer)
    deadline = time.monotonic() + 240
    while len(set(workplace.trainings()) - before) < 1 or not list(workplace.home.steps.glob("train/*/checkpoint.pt")):
        assert started.process.poll() is None, started.output.read_text(encoding="utf-8")
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(started.process.pid, signal.SIGKILL)
    started.process.wait()
    finished = {folder: when for folder, when in workplace.trainings().items() if folder not in before}
    interrupted = [path.parent for path in workplace.home.steps.glob("train/*/checkpoint.pt")]
    again = time.time() * 1000
    run(workplace, str(tiny), *longer)
    for folder in interrupted:
        history = json.loads((folder / "result.json").read_text(encoding="utf-8"))["history"]
        assert next(epoch["epoch"] for epoch in history if epoch["timestamp"] > again) > 1, "it went on"
    told = result(workplace, "killed")
    assert {cell["status"] for cell in told["cells"]} == {"done"}
    after = workplace.trainings()
    assert {folder: after[folder] for folder in finished} == finished
    tracker = Tracker(workplace.home)
    runs = tracker.client.search_runs([tracker.experiment_id], "tags.study = 'killed'")
    assert {found.info.status for found in runs} == {"FINISHED"}
    for cell in told["cells"]:
        steps = [point.step for point in tracker.client.get_metric_history(cell["mlflow_run"], "train.loss")]
        assert sorted(steps) == list(range(1, len(steps) + 1))


@pytest.mark.slow
def test_quick_in_a_smaller_form(workplace: "Workplace") -> None:
    smaller = ("base.source.shoppers.users=150", "base.source.shoppers.items=60", "base.training.epochs=2")
    run(workplace, "quick", *(part for each in smaller for part in ("--set", each)))
    told = result(workplace, "quick")
    assert len(told["cells"]) == 12
    assert {cell["status"] for cell in told["cells"]} == {"done"}


def test_what_is_wrong_is_said_before_anything_runs(workplace: "Workplace", tiny: Path) -> None:
    for arguments in (("quik",), (str(tiny), "--set", "axes.sed=[1]"), (str(tiny), "--set", "base.source.path=no.csv")):
        assert run(workplace, *arguments, status=2) == ""
    listed = run(workplace)
    assert "figure-2" in listed
    assert "12 cells" in listed
