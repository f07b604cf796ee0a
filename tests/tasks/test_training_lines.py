"""What is said of a training while it goes on."""

import logging
import time
from typing import Any

import pytest

from tasks import training_lines
from tasks.training_lines import TrainingLines
from tasks.workers import BEGINS, EPOCH, WAITS


def test_a_training_that_goes_on_says_after_which_epoch(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(training_lines, "get_run_logger", lambda: logging.getLogger("of a training"))
    monkeypatch.setattr(training_lines, "SECONDS_BETWEEN_LINES", -1.0)
    passed: list[Any] = []
    told = TrainingLines(passed.append, label="denoiser, seed 1", epochs=9)
    told(WAITS, {})
    told(BEGINS, {})
    now = int(time.time() * 1000) + 1
    for epoch, timestamp in ((1, now - 90_000), (2, now - 80_000), (3, now), (4, now)):
        metrics = {"validation.full_unseen.ndcg_at_10": epoch / 10, "time.epoch_seconds": 2.0}
        told(EPOCH, {"epoch": epoch, "timestamp": timestamp, "metrics": metrics, "warnings": []})
    assert len(passed) == 4
    assert [record.getMessage().removeprefix("denoiser, seed 1: ") for record in caplog.records] == [
        "another process has begun this training: waiting for it",
        "training starts, at most 9 epochs",
        "it goes on after epoch 2",
        "epoch 3 of at most 9, best validation NDCG@10 0.3000, at most 12 s left",
        "epoch 4 of at most 9, best validation NDCG@10 0.4000, at most 10 s left",
    ]


def test_a_training_warns_once_of_what_every_epoch_warns_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(training_lines, "get_run_logger", lambda: logging.getLogger("of a training"))
    passed: list[Any] = []
    told = TrainingLines(passed.append, label="denoiser, seed 1", epochs=9)
    for epoch, share in enumerate(("4.0%", "3.0%"), start=1):
        told(
            EPOCH,
            {"epoch": epoch, "timestamp": 0, "metrics": {}, "warnings": [f"The gate has collapsed: {share} is open."]},
        )
    told(EPOCH, {"epoch": 3, "timestamp": 0, "metrics": {}, "warnings": ["Another: 1."]})
    assert len(passed) == 3
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warned == [
        "denoiser, seed 1: The gate has collapsed: 4.0% is open.",
        "denoiser, seed 1: Another: 1.",
    ]  # fmt: skip
