"""What is said of a training while it goes on, in the terminal and in Prefect."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from prefect import get_run_logger

from models.engine.metrics import SELECTION_METRIC
from tasks.train import gist
from tasks.wording import counted
from tasks.workers import BEGINS, WAITS

SECONDS_BETWEEN_LINES = 10.0


class TrainingLines:
    """Hears how a training gets on: says that it begins, or waits for another process that has begun the same, then how
    it goes now and then, and each warning once; passes its epochs on. One that goes on from a checkpoint tells its
    earlier epochs first.
    """

    def __init__(self, pass_on: Callable[[Mapping[str, Any]], None], *, label: str, epochs: int) -> None:
        self._pass_on = pass_on
        self._label = label
        self._epochs = epochs
        self._logger = get_run_logger()
        self._said = time.monotonic()
        self._since = time.time() * 1000
        self._earlier = 0
        self._best = 0.0
        self._warned: set[str] = set()

    def __call__(self, event: str, about: Mapping[str, Any]) -> None:
        """`about` is the record of an epoch, and of nothing where it begins or waits."""
        if event == WAITS:
            self._logger.info("%s: another process has begun this training: waiting for it", self._label)
        elif event == BEGINS:
            self._logger.info("%s: training starts, at most %s", self._label, counted(self._epochs, "epoch"))
        else:
            self._epoch(about)

    def _epoch(self, record: Mapping[str, Any]) -> None:
        self._pass_on(record)
        for warning in record.get("warnings", ()):
            if gist(warning) not in self._warned:
                self._warned.add(gist(warning))
                self._logger.warning("%s: %s", self._label, warning)
        self._best = max(self._best, record["metrics"].get(SELECTION_METRIC) or 0.0)
        if record["timestamp"] < self._since:
            self._earlier = record["epoch"]
            return
        if self._earlier:
            self._logger.info("%s: it goes on after epoch %s", self._label, self._earlier)
            self._earlier = 0
        now = time.monotonic()
        if now - self._said > SECONDS_BETWEEN_LINES:
            self._said = now
            left = (self._epochs - record["epoch"]) * record["metrics"]["time.epoch_seconds"]
            self._logger.info(
                "%s: epoch %s of at most %s, best validation NDCG@10 %.4f, at most %.0f s left",
                self._label,
                record["epoch"],
                self._epochs,
                self._best,
                left,
            )
