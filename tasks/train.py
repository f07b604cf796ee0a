"""Train one model on one snapshot, in a process of its own, resumable at the epoch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.config import ModelConfig, TrainingConfig
from models.description import MODEL_FILES
from tasks.execution import Execution
from tasks.home import Home
from tasks.sequences import export_log
from tasks.snapshots import Snapshot
from tasks.workers import Hear, Watch, run_worker, unheard, unwatched

RESULT_FILE = "result.json"
GROUP_PROGRAM = "models.group"


@dataclass(frozen=True)
class Trained:
    """A finished training: its folder holds the model's files and `result.json`."""

    folder: Path

    def result(self) -> dict[str, Any]:
        """best_epoch, best_value, epochs, collapsed and collapsed_epoch (whether and from when a part of the model had
        switched itself off), seconds (of all its starts together), parameters, users, positions (real in an epoch),
        device, threads, group (the folders' names of all that were trained with it as one stacked model, none where it
        was alone), compiled, precision, batch_size, max_epochs, peak_memory_bytes (of its last start),
        made_by (what code trained it, by `tasks.track`'s tags), history (one record an epoch).
        """
        content: dict[str, Any] = json.loads((self.folder / RESULT_FILE).read_text(encoding="utf-8"))
        return content

    @property
    def warnings(self) -> tuple[str, ...]:
        """What its epochs warned of, each warning as it was first put."""
        told = (warning for epoch in self.result()["history"] for warning in epoch.get("warnings", ()))
        return tuple({gist(warning): warning for warning in reversed(list(told))}.values())[::-1]

    @property
    def files(self) -> list[Path]:
        return [self.folder / RESULT_FILE, *self.model_files]

    @property
    def model_files(self) -> list[Path]:
        """What the model is made of again."""
        return [self.folder / name for name in MODEL_FILES]


def gist(warning: str) -> str:
    """What two warnings share that differ in their figures alone, which come after a colon."""
    return warning.partition(":")[0]


def training_folder(key: str, *, home: Home) -> Path:
    """Where the training with this step key lives."""
    return home.steps / "train" / key[:32]


def train(
    snapshot: Snapshot,
    clean: Snapshot,
    model: ModelConfig,
    training: TrainingConfig,
    *,
    seed: int,
    evaluation_seed: int,
    execution: Execution,
    time_limit_minutes: float,
    made_by: Mapping[str, str],
    folder: Path,
    home: Home,
    hear: Hear = unheard,
    watch: Watch = unwatched,
) -> Trained:
    """Train, or go on from the checkpoint that an interrupted run left in `folder`.

    `hear` is told of every epoch `{"epoch", "timestamp", "metrics", "warnings"}`, those before an interruption
    included, and where it begins or waits. `clean` is the snapshot without injected noise, whose validation protocol
    counts; the histories that validation ranks with while it trains are those of `snapshot`, whatever others it is
    evaluated with later.
    `made_by` says what code trains, and is kept with the result. `watch` has its eye on the process that trains.

    Raises as `tasks.workers.run_worker` does.
    """
    asked = asked_of(
        snapshot,
        clean,
        model,
        training,
        seed=seed,
        evaluation_seed=evaluation_seed,
        made_by=made_by,
        folder=folder,
        home=home,
    )
    request = asked | {"compiled": execution.compiled} | _common(execution, time_limit_minutes)
    run_worker("train", request, hear=hear, watch=watch)
    return Trained(folder)


def train_group(
    asked: Sequence[Mapping[str, Any]],
    *,
    execution: Execution,
    time_limit_minutes: float,
    hear: Hear = unheard,
    watch: Watch = unwatched,
) -> None:
    """Train as one stacked model what is `asked_of` each, into their folders, in so many minutes for all.

    `hear` is told as by `train`, of an epoch as `cell` the place of its training. Which of them diverged is left for
    `train` to say, which goes on with what is not finished.

    Raises as `tasks.workers.run_worker` does, `InputError` where they cannot be stacked.
    """
    run_worker(
        "train",
        {"cells": list(asked)} | _common(execution, time_limit_minutes),
        hear=hear,
        watch=watch,
        program=GROUP_PROGRAM,
    )


def asked_of(
    snapshot: Snapshot,
    clean: Snapshot,
    model: ModelConfig,
    training: TrainingConfig,
    *,
    seed: int,
    evaluation_seed: int,
    made_by: Mapping[str, str],
    folder: Path,
    home: Home,
) -> dict[str, Any]:
    """What a worker is told of one training; the parameters are those of `train`."""
    return {
        "log": str(export_log(snapshot, home=home)),
        "clean": str(export_log(clean, home=home)),
        "model": model.to_dict(),
        "training": training.to_dict(),
        "seed": seed,
        "evaluation_seed": evaluation_seed,
        "folder": str(folder),
        "made_by": dict(made_by),
    }


def _common(execution: Execution, minutes: float) -> dict[str, Any]:
    return {
        "device": execution.device,
        "threads": execution.threads,
        "precision": execution.precision,
        "seconds": minutes * 60,
    }
