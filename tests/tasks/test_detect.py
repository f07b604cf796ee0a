"""How well noise is told in what was trained on: the rows, their labels, and the figures made of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from models.catalogue import build
from models.config import ModelConfig
from models.storage import save_model
from tasks.corrupt import corrupt
from tasks.data_specs import CorruptSpec
from tasks.detect import Detected, detect, verdicts_on
from tasks.execution import Execution
from tasks.home import Home
from tasks.machine import resolve
from tasks.plan import Data, corruptions, plan
from tasks.snapshots import Snapshot
from tasks.specs import CellSpec, ExecutionSpec, InjectedNoise, named_method
from tasks.train import Trained

Read = Callable[[Path], list[tuple[Any, ...]]]
LENGTH = 6
CPU = Execution("cpu", "", 1, "float32", "", {})


@pytest.fixture
def noisy(tiny_snapshot: Snapshot, home: Home) -> Snapshot:
    """The log's own misclicks, and replaced items beside them."""
    return corrupt(tiny_snapshot, CorruptSpec(ratio=0.3, seed=1), home=home)


@pytest.fixture
def trained(tiny_snapshot: Snapshot, home: Home) -> Trained:
    """A model with initial weights."""
    config = ModelConfig(dim=8, length=LENGTH, gate="positional")
    folder = home.steps / "train" / "model"
    folder.mkdir(parents=True)
    save_model(build(config, tiny_snapshot.counts.items, seed=1), config, folder, item_count=tiny_snapshot.counts.items)
    return Trained(folder)


@pytest.fixture
def detected(trained: Trained, noisy: Snapshot, home: Home, in_process: None) -> Detected:
    return detect(trained, noisy, execution=CPU, folder=home.steps / "detect" / "x", home=home)


def test_a_row_for_each_interaction_that_was_trained_on_with_its_label(
    detected: Detected, noisy: Snapshot, rows_of: Read
) -> None:
    judged = pd.read_parquet(detected.suspicions)
    assert list(judged.columns) == [
        "user", "position", "item", "noise", "noise_kind", "own_score", "popularity", "gate",
    ]  # fmt: skip
    train_length = {user: length for user, _, length in rows_of(noisy.users)}
    expected = [
        (user, position, item, kind is not None, kind)
        for user, item, _, position, kind in rows_of(noisy.interactions)
        if train_length[user] > 1 and train_length[user] - LENGTH <= position < train_length[user]
    ]
    rows = judged.astype(object).where(judged.notna(), None).itertuples(index=False, name=None)
    assert [row[:5] for row in rows] == expected
    assert judged["own_score"].isna().tolist() == (judged["position"] == 0).tolist()
    assert {"misclick", "replace"} <= set(judged["noise_kind"].dropna())


def test_figures_of_all_noise_and_of_each_kind_are_those_of_the_rows(detected: Detected) -> None:
    metrics = detected.metrics()
    rows = pd.read_parquet(detected.suspicions).query("position > 0")  # what every detector can judge
    assert metrics["noise.judged"] == len(rows)
    assert metrics["noise.labelled_share"] == pytest.approx(rows["noise"].mean())
    genuine = rows[~rows["noise"]]
    for name in ("own_score", "popularity", "gate"):
        for kind, own in [("", rows[rows["noise"]]), *((f".{k}", g) for k, g in rows.groupby("noise_kind"))]:
            area = stats.mannwhitneyu(own[name], genuine[name]).statistic / (len(own) * len(genuine))
            assert metrics[f"noise.{name}{kind}.auroc"] == pytest.approx(area)
            assert metrics[f"noise.{name}{kind}.auroc_low"] < area < metrics[f"noise.{name}{kind}.auroc_high"]
        assert metrics[f"noise.{name}.precision_at_share"] == metrics[f"noise.{name}.recall_at_share"]
    ranked = rows.sort_values("own_score", ascending=False)["noise"].head(int(rows["noise"].sum()))
    assert metrics["noise.own_score.precision_at_share"] == pytest.approx(ranked.mean())


def test_a_finished_detection_is_not_done_again(
    detected: Detected, trained: Trained, noisy: Snapshot, home: Home
) -> None:
    written = detected.suspicions.stat().st_mtime_ns
    again = detect(trained, noisy, execution=CPU, folder=detected.folder, home=home)
    assert again.suspicions.stat().st_mtime_ns == written
    assert again.metrics() == detected.metrics()


def test_where_all_or_none_of_what_is_judged_is_noise_there_are_no_figures() -> None:
    frame = pd.DataFrame({"user": [0, 1], "noise": [True, True], "noise_kind": "x", "own_score": [0.1, 0.2]})
    assert list(verdicts_on(frame)) == []
    assert list(verdicts_on(frame.assign(noise=[False, True], own_score=[np.nan, 0.2]))) == []


def test_cells_have_a_detection_where_what_they_train_on_is_labelled(
    tiny_snapshot: Snapshot, noisy: Snapshot, home: Home, ingest_file: Callable[..., Snapshot], tiny_log: Path
) -> None:
    execution = resolve(ExecutionSpec(device="cpu"))
    method = named_method("sasrec-bce")

    def key(clean: Snapshot, noisy: Snapshot, **noise: Any) -> str | None:
        spec = CellSpec(method=method.name, model=method.model, noise=InjectedNoise(ratio=0.3, **noise))
        data = Data(clean, *(noisy if put_in.ratio else clean for put_in in corruptions(spec.noise)))
        (cell,) = plan([spec], lambda _: data, execution)
        return cell.detect_key

    unlabelled = ingest_file(tiny_log, time="ts")
    replaced = corrupt(unlabelled, CorruptSpec(ratio=0.3, seed=1), home=home)
    deleted = corrupt(unlabelled, CorruptSpec(kind="delete", ratio=0.3, seed=1), home=home)
    assert key(unlabelled, replaced) is not None
    assert key(unlabelled, replaced, where="training") == key(unlabelled, replaced)
    assert key(unlabelled, replaced, where="histories") is None  # what is trained on has no labels
    assert key(unlabelled, deleted, kind="delete") is None  # what is lost cannot be found
    assert key(tiny_snapshot, noisy, where="histories") is not None  # the log's own misclicks
    assert key(tiny_snapshot, noisy, where="histories") != key(tiny_snapshot, noisy)
