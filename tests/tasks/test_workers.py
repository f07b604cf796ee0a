"""Trainings in a process of their own: what they say is heard, and how they end is told apart."""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.errors import InputError, RunFailed
from tasks.workers import BEGINS, EPOCH, WAITS, WorkerDied, run_worker


@pytest.fixture
def request_for_training(tmp_path: Path) -> dict[str, Any]:
    """Twenty users with eight events each, two of them held out."""
    items = np.random.default_rng(0).integers(1, 16, size=160).astype(np.int32)
    starts = np.arange(20) * 8
    arrays: dict[str, Any] = {
        "items": items,
        "offsets": np.arange(21) * 8,
        "train_lengths": np.full(20, 6),
        "item_count": np.asarray(15),
    }
    for split, history in (("validation", 6), ("test", 7)):
        arrays |= {
            f"{split}_users": np.arange(20),
            f"{split}_items": items[starts + history],
            f"{split}_histories": np.full(20, history),
        }
    np.savez(tmp_path / "log.npz", **arrays)
    return {
        "log": str(tmp_path / "log.npz"), "clean": str(tmp_path / "log.npz"), "folder": str(tmp_path / "training"),
        "device": "cpu", "threads": 1, "model": {"dim": 8, "length": 6}, "training": {"epochs": 3},
        "seed": 1, "evaluation_seed": 0, "seconds": None, "made_by": {"code": "abc"},
    }  # fmt: skip


def run(request: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
    """The report, and the epochs that were heard of."""
    heard: list[int] = []

    def hear(event: str, about: dict[str, Any]) -> None:
        if event == EPOCH:
            heard.append(about["epoch"])

    return run_worker("train", request, hear=hear), heard


def test_what_a_library_prints_comes_in_no_ones_way(
    request_for_training: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chatty = tmp_path / "chatty"
    chatty.mkdir()
    (chatty / "sitecustomize.py").write_text(
        "import os, threading, time\n"
        "print('welcome', flush=True)\n"
        "def talk():\n"
        "    while True:\n"
        "        os.write(1, b'not a line of JSON'); os.write(2, b'nor this'); time.sleep(0.01)\n"
        "threading.Thread(target=talk, daemon=True).start()\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("PYTHONPATH", str(chatty))
    report, heard = run(request_for_training)
    assert heard == [1, 2, 3]
    assert report["epochs"] == 3
    result = json.loads((Path(request_for_training["folder"]) / "result.json").read_text(encoding="utf-8"))
    assert result["made_by"] == {"code": "abc"}
    assert result["seconds"] == pytest.approx(sum(r["metrics"]["time.epoch_seconds"] for r in result["history"]))


@pytest.mark.parametrize(
    ("changes", "failure", "said"),
    [
        ({"training": {"epochs": 3, "learning_rate": 1e30}}, RunFailed, "diverged"),
        ({"model": {"loss": "hope"}}, InputError, "there is no loss 'hope'"),
        pytest.param({"seconds": 0}, TimeoutError, "time limit", marks=pytest.mark.slow),
        pytest.param({"log": "/no/log.npz"}, WorkerDied, "No such file or directory", marks=pytest.mark.slow),
    ],
    ids=["diverged", "invalid", "too long", "a crash"],
)
def test_how_a_training_ends_is_told_apart(
    request_for_training: dict[str, Any], changes: dict[str, Any], failure: type[Exception], said: str
) -> None:
    with pytest.raises(failure, match=said):
        run(request_for_training | changes)
    assert not (Path(request_for_training["folder"]) / "result.json").exists()


def test_one_that_waits_for_another_says_so_and_is_not_watched_meanwhile(request_for_training: dict[str, Any]) -> None:
    """And nothing is heard of one that another has finished, nor is it watched."""
    folder = Path(request_for_training["folder"])
    folder.mkdir()
    told: list[str] = []

    @contextmanager
    def watch(pid: int) -> Iterator[None]:
        told.append("watched")
        yield
        told.append("no longer watched")

    with (folder / ".lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)

        def hear(event: str, about: dict[str, Any]) -> None:
            told.append(event)
            if event == WAITS:
                fcntl.flock(other, fcntl.LOCK_UN)

        run_worker("train", request_for_training, hear=hear, watch=watch)
    assert told == [WAITS, "watched", BEGINS, EPOCH, EPOCH, EPOCH, "no longer watched"]
    told.clear()
    run_worker("train", request_for_training, hear=hear, watch=watch)
    assert told == []
