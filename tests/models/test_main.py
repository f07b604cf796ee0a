"""`python -m models train`: a process that may be killed at any time, and says what it cannot do."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.__main__ import BadRequest, train
from models.group import train_group

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).resolve().parents[2]
EPOCHS = 60
"""More than a training gets through before it can be killed, however busy the machine."""
Request = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def request_for(tmp_path_factory: pytest.TempPathFactory) -> Request:
    """`request_for(folder, …)`: a request to train on a log of 40 users, changed as the keywords say."""
    generator = np.random.default_rng(0)
    lengths = generator.integers(5, 15, size=40)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    items = generator.integers(1, 31, size=offsets[-1]).astype(np.int32)
    arrays = {"items": items, "offsets": offsets, "train_lengths": lengths - 2, "item_count": np.asarray(30)}
    for split, back in (("validation", 2), ("test", 1)):
        histories = lengths - back
        arrays |= {
            f"{split}_users": np.arange(40),
            f"{split}_items": items[offsets[:-1] + histories],
            f"{split}_histories": histories,
        }
    log = tmp_path_factory.mktemp("log") / "log.npz"
    np.savez(log, **arrays)

    def make(folder: Path, **changes: Any) -> dict[str, Any]:
        return {
            "log": str(log), "clean": str(log), "folder": str(folder), "device": "cpu", "threads": 1,
            "model": {"dim": 8, "length": 8, "gate": "positional"}, "training": {"epochs": EPOCHS, "patience": EPOCHS},
            "seed": 1, "evaluation_seed": 0, "seconds": None,
        } | changes  # fmt: skip

    return make


def start(request: dict[str, Any], folder: Path) -> "subprocess.Popen[str]":
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "request.json"
    path.write_text(json.dumps(request), encoding="utf-8")
    return subprocess.Popen(
        [sys.executable, "-m", "models", "train", str(path)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def ignore(event: str, **about: Any) -> None:
    """Nobody listens."""


class Heard:
    """Keeps the epochs that a training says."""

    def __init__(self) -> None:
        self.epochs: list[dict[str, Any]] = []

    def __call__(self, event: str, **about: Any) -> None:
        if event == "epoch":
            self.epochs.append(about)


def messages(process: "subprocess.Popen[str]") -> list[dict[str, Any]]:
    """All that a process says until it ends."""
    assert process.stdout is not None
    with process.stdout:
        said = [json.loads(line) for line in process.stdout]
    process.wait()
    assert process.stdin is not None
    process.stdin.close()
    return said


def figures(history: list[dict[str, Any]]) -> list[tuple[int, dict[str, float]]]:
    """A history without its timings."""
    return [
        (record["epoch"], {name: value for name, value in record["metrics"].items() if not name.startswith("time.")})
        for record in history
    ]


def assert_same_training(one: Path, other: Path) -> None:
    results = [json.loads((folder / "result.json").read_text()) for folder in (one, other)]
    assert figures(results[0]["history"]) == figures(results[1]["history"])
    assert results[0]["best_epoch"] == results[1]["best_epoch"]
    states = [torch.load(folder / "weights.pt", weights_only=True) for folder in (one, other)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@pytest.fixture(scope="module")
def undisturbed(request_for: Request, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that nothing interrupted."""
    folder = tmp_path_factory.mktemp("undisturbed") / "training"
    train(request_for(folder), ignore)
    return folder


@pytest.mark.parametrize("end", ["killed", pytest.param("its parent is gone", marks=pytest.mark.slow)])
def test_a_training_cut_off_ends_with_the_bits_of_an_undisturbed_one(
    request_for: Request, undisturbed: Path, tmp_path: Path, end: str
) -> None:
    folder = tmp_path / "training"
    process = start(request_for(folder, ends_with_parent=True), tmp_path)
    assert process.stdout is not None
    assert process.stdin is not None
    begun, first = (json.loads(process.stdout.readline()) for _ in range(2))
    if end == "killed":
        process.send_signal(signal.SIGKILL)
    else:
        process.stdin.close()
    assert process.wait(timeout=20) == (-signal.SIGKILL if end == "killed" else 3)
    process.stdout.close()
    process.stdin.close()
    assert (begun["event"], first["epoch"]) == ("begins", 1)
    assert not (folder / "result.json").exists()
    assert (folder / "checkpoint.pt").exists()

    heard = Heard()
    train(request_for(folder), heard)
    assert [epoch["epoch"] for epoch in heard.epochs] == list(range(1, EPOCHS + 1))
    assert_same_training(folder, undisturbed)
    assert sorted(path.name for path in folder.iterdir() if path.name != ".lock") == [
        "model.json", "result.json", "weights.pt",
    ]  # fmt: skip


def test_past_its_time_limit_it_leaves_a_checkpoint_to_go_on_from(
    request_for: Request, undisturbed: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "training"
    with pytest.raises(TimeoutError, match="after epoch 0"):
        train(request_for(folder, seconds=0), ignore)
    assert not (folder / "result.json").exists()
    with pytest.raises(TimeoutError, match=r"after epoch [1-9]"):
        train(request_for(folder, seconds=0.05), ignore)
    assert (folder / "checkpoint.pt").exists()
    report = train(request_for(folder), ignore)
    assert report["epochs"] == EPOCHS
    assert_same_training(folder, undisturbed)


def test_a_finished_training_is_not_done_again(request_for: Request, undisturbed: Path) -> None:
    written = (undisturbed / "weights.pt").stat().st_mtime_ns
    assert train(request_for(undisturbed), ignore)["epochs"] == EPOCHS
    assert (undisturbed / "weights.pt").stat().st_mtime_ns == written


def test_a_request_that_makes_no_sense_is_said_in_a_sentence(request_for: Request, tmp_path: Path) -> None:
    process = start(request_for(tmp_path / "training", model={"loss": "hope"}), tmp_path)
    begun, said = messages(process)
    assert begun == {"event": "begins"}
    assert process.returncode == 1
    assert said["kind"] == "invalid"
    assert "there is no loss 'hope': choose from bce, bpr, " in said["message"]


@pytest.mark.parametrize("changes", [{"model": {"width": 3}}, {"training": {"epochs": 0}}, {"model": {"dim": 9}}])
def test_settings_that_cannot_be_are_refused(request_for: Request, tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"width|epochs|multiple"):
        train(request_for(tmp_path / "training", **changes), ignore)
    assert not (tmp_path / "training" / "result.json").exists()


def test_promotion_and_test_targets_choose_nothing(request_for: Request, undisturbed: Path, tmp_path: Path) -> None:
    """Other targets there, or none at all: the same curves, the same epoch, the same weights."""
    arrays = dict(np.load(request_for(tmp_path)["log"]))
    for split, others in (("test", arrays["test_items"] % 30 + 1), ("promotion", arrays["test_items"])):
        log = tmp_path / f"{split}.npz"
        changed = {"users": np.arange(40), "items": others, "histories": arrays["test_histories"]}
        np.savez(log, **(arrays | {f"{split}_{name}": values for name, values in changed.items()}))
        train(request_for(tmp_path / split, log=str(log), clean=str(log)), ignore)
        assert_same_training(tmp_path / split, undisturbed)


def test_a_log_without_validation_targets_is_refused(request_for: Request, tmp_path: Path) -> None:
    arrays = dict(np.load(request_for(tmp_path)["log"]))
    for name in ("users", "items", "histories"):
        arrays[f"promotion_{name}"] = arrays[f"validation_{name}"]
        arrays[f"validation_{name}"] = np.zeros(0, dtype=np.int64)
    np.savez(tmp_path / "log.npz", **arrays)
    log = str(tmp_path / "log.npz")
    with pytest.raises(ValueError, match=r"no user has a validation target.*less of it to promotion"):
        train(request_for(tmp_path / "training", log=log, clean=log), ignore)


def test_a_mask_that_closes_in_training_is_told_by_its_epochs_and_its_result(
    request_for: Request, tmp_path: Path
) -> None:
    """A penalty that outweighs all else closes every cell from the first step on."""
    literal = {"gate": "positional", "estimator": "arm", "gate_logit": 0.0, "gate_rate": 1.0, "beta_on": "sum"}
    told = Heard()
    model = {"dim": 8, "length": 8, "beta": 1.0, "gamma": 0.001, **literal}
    report = train(request_for(tmp_path / "closed", model=model, training={"epochs": 3, "patience": 3}), told)
    assert (report["collapsed"], report["collapsed_epoch"]) == (True, 1)
    assert all(epoch["metrics"]["gate.collapsed"] == 1.0 for epoch in told.epochs)
    assert all("has collapsed" in epoch["warnings"][0] for epoch in told.epochs)
    training = {"epochs": 3, "patience": 3}
    report = train(request_for(tmp_path / "open", training=training), told)
    assert (report["collapsed"], report["collapsed_epoch"]) == (False, None)
    assert told.epochs[-1]["warnings"] == []


def test_a_result_says_in_which_precision_it_was_trained(request_for: Request, tmp_path: Path) -> None:
    training = {"epochs": 2}
    usual = train(request_for(tmp_path / "usual", training=training), ignore)
    lower = train(request_for(tmp_path / "lower", training=training, precision="bf16"), ignore)
    assert [(each["compiled"], each["precision"]) for each in (usual, lower)] == [(False, "float32"), (False, "bf16")]
    with pytest.raises(BadRequest, match="precision must be one of"):
        train(request_for(tmp_path / "half", precision="half"), ignore)
    with pytest.raises(BadRequest, match="cannot be compiled"):
        train(request_for(tmp_path / "gated", compiled=True), ignore)


def test_a_group_leaves_in_each_folder_what_a_training_alone_does(request_for: Request, tmp_path: Path) -> None:
    settings = {"model": {"dim": 8, "length": 8}, "training": {"epochs": 3}}
    cells = [request_for(tmp_path / f"stacked-{seed}", seed=seed, **settings) for seed in (1, 2)]
    common = {"device": "cpu", "threads": 1, "seconds": None}
    heard = Heard()
    told = train_group({"cells": cells, **common}, heard)
    assert [(said["cell"], said["epoch"]) for said in heard.epochs] == [(cell, n) for n in (1, 2, 3) for cell in (0, 1)]
    assert [report["group"] for report in told["cells"]] == [["stacked-1", "stacked-2"]] * 2
    for seed in (1, 2):
        alone, stacked = tmp_path / f"alone-{seed}", tmp_path / f"stacked-{seed}"
        assert train(request_for(alone, seed=seed, **settings), ignore)["group"] == []
        assert {path.name for path in stacked.iterdir()} == {path.name for path in alone.iterdir()}
        results = [json.loads((folder / "result.json").read_text()) for folder in (stacked, alone)]
        for (epoch, ours), (same, own) in zip(*(figures(result["history"]) for result in results), strict=True):
            assert epoch == same
            assert ours == pytest.approx(own, rel=1e-3)

    written = (tmp_path / "stacked-1" / "weights.pt").stat().st_mtime_ns
    assert train_group({"cells": cells, **common}, ignore) == told
    assert (tmp_path / "stacked-1" / "weights.pt").stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("models", "complaint"),
    [(({"dim": 8}, {"dim": 4}), "one model"), (({"gate": "positional"},) * 2, "cannot be stacked")],
)
def test_a_group_of_what_cannot_be_stacked_is_refused(
    request_for: Request, tmp_path: Path, models: tuple[dict[str, Any], ...], complaint: str
) -> None:
    cells = [request_for(tmp_path / str(number), model=model) for number, model in enumerate(models)]
    with pytest.raises(BadRequest, match=complaint):
        train_group({"cells": cells, "device": "cpu", "threads": 1, "seconds": None}, ignore)


TIRING = """
from torch import nn
from models.recommender import Loss, Recommender


class Tiring(Recommender):
    steps = 0

    def __init__(self, item_count, length, most=99):
        super().__init__()
        self.most = most
        self.length, self.items = length, nn.Embedding(item_count + 1, 4)

    def prepare(self, sequences):
        if sequences.item_count > self.most:
            raise ValueError("too many for me")

    def loss(self, batch, draws):
        self.steps += 1
        if self.steps == 2:
            raise RuntimeError("I have had enough")
        return Loss(self.items(batch.events(batch.items)).sum(-1))

    def query(self, batch):
        return self.items(batch.items.flatten()[batch.ends])

    def item_table(self):
        return self.items.weight
"""


def test_what_a_person_s_own_file_raises_is_said_in_a_sentence(request_for: Request, tmp_path: Path) -> None:
    """For another try would raise it again, and they know their lines and not ours."""
    own = {"backbone": "own-objective", "own": "mine.py:Tiring", "own_code": TIRING, "length": 8}
    process = start(request_for(tmp_path / "training", model=own, training={"batch_size": 8}), tmp_path)
    _, said = messages(process)
    assert (process.returncode, said["kind"]) == (1, "invalid")
    assert said["message"] == "own mine.py:Tiring, line 21: RuntimeError: I have had enough"
    own["own"] = "mine.py:Tiring(most=2)"
    with pytest.raises(BadRequest, match=r"^own mine\.py:Tiring\(most=2\), line 16: ValueError: too many for me$"):
        train(request_for(tmp_path / "other", model=own), ignore)
