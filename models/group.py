"""`python -m models.group train|rank REQUEST.json`: many trainings as one stacked model, many rankings in one process.

A program of its own beside `models.__main__`, which speaks as that one does: a study is hundreds of networks far too
small for a modern GPU (`models.engine.replicas`). A request: `cells`, each what `models.__main__` takes to train or to
rank one, less what is common to all: `device`, `threads`, `precision`, `seconds` (of the whole group; to train),
`ends_with_parent` and `channel`. An epoch is said with the number of its `cell`. At the end, as `cells`: each one's
report, or of a training that diverged `{"failure": {"kind": "diverged", "message": …}}`.

Each training keeps a folder of its own, with what it would hold had it been trained alone, its checkpoint included:
either way goes on where the other stopped. `result.json` has in `group` the folders' names of all that were stacked
with it; its seconds are a share of the group's, its memory is that of all.
"""

import contextlib
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import torch

from models.__main__ import (
    CHECKPOINT_FILE,
    FAILURES,
    Say,
    Verb,
    as_asked,
    is_finished,
    keep,
    only_one_in,
    rank_targets,
    report_of,
    run,
    training_of,
)
from models.config import ModelConfig
from models.engine.memory import keep_freed
from models.engine.replicas import Replicas
from models.engine.sequences import InteractionLog, load_log
from models.errors import Diverged


def train_group(request: dict[str, Any], say: Say) -> dict[str, Any]:
    """Train as asked those whose folders hold no result yet, and `say` how they get on.

    Raises `models.__main__.BadRequest` where they cannot be stacked, and `TimeoutError` past the time limit.
    """
    cells = _cells(request)
    folders = [Path(cell["folder"]) for cell in cells]
    with contextlib.ExitStack() as locks:
        for folder in sorted(set(folders)):
            locks.enter_context(only_one_in(folder, say))
        missing = [number for number, folder in enumerate(folders) if not is_finished(folder)]
        failures = _train({number: cells[number] for number in missing}, say) if missing else {}
        return {
            "cells": [
                {"failure": failures[number]} if number in failures else report_of(folder)
                for number, folder in enumerate(folders)
            ]
        }


def rank_group(request: dict[str, Any]) -> dict[str, Any]:
    """Rank with each, one after the other. Raises as `models.__main__.rank_targets` does."""
    return {"cells": [rank_targets(cell) for cell in _cells(request)]}


def _train(requests: Mapping[int, dict[str, Any]], say: Say) -> dict[int, dict[str, str]]:
    """Train the cells of these numbers; by number, why one failed."""
    say("begins")
    keep_freed()
    numbers, cells = list(requests), list(requests.values())
    folders = [Path(cell["folder"]) for cell in cells]
    device, seconds = torch.device(cells[0]["device"]), cells[0]["seconds"]

    @cache
    def read(path: Path) -> InteractionLog:
        return load_log(path).to(device)

    failures: dict[int, dict[str, str]] = {}

    def ended(place: int, failure: Diverged | None) -> None:
        if failure is None:
            keep(trainings[place], cells[place], group=[folder.name for folder in folders])
        else:
            failures[numbers[place]] = {"kind": FAILURES[Diverged], "message": str(failure)}

    with as_asked():
        _refuse_unlike(cells)
        trainings = [
            training_of(cell, read, checkpoint=folder / CHECKPOINT_FILE)
            for cell, folder in zip(cells, folders, strict=True)
        ]
        replicas = Replicas(trainings)
    replicas.run(
        on_epoch=lambda place, epoch: say("epoch", cell=numbers[place], **asdict(epoch)),
        on_end=ended,
        deadline=None if seconds is None else time.monotonic() + seconds,
    )
    return failures


def _cells(request: dict[str, Any]) -> list[dict[str, Any]]:
    """The request of each cell, with what is common to all."""
    common = {name: value for name, value in request.items() if name != "cells"}
    return [common | cell for cell in request["cells"]]


def _refuse_unlike(cells: Sequence[dict[str, Any]]) -> None:
    """Raises `ValueError` where cells are not of one model that can be stacked."""
    models = [ModelConfig.from_dict(cell["model"]) for cell in cells]
    if any(model.effective() != models[0].effective() for model in models):
        raise ValueError("a group trains one model: train those of other settings in groups of their own")
    if not models[0].can_be_stacked:
        raise ValueError("such a model cannot be stacked (see STACKED in models/config.py): train each alone")


if __name__ == "__main__":
    verbs: dict[str, Verb] = {"train": train_group, "rank": lambda request, _: rank_group(request)}
    sys.exit(run(sys.argv[1:], verbs, usage=__doc__ or ""))
