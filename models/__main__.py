"""`python -m models train|rank REQUEST.json`: one training or ranking in a process of its own.

The pipeline starts it, so that a training has its own threads, memory and end; on a bare GPU machine it is run by
hand. It speaks in JSON objects, one a line: of a training `{"event": "waits"}` where another process trains in the
same folder, `{"event": "begins"}` where it trains itself, and `{"event": "epoch", …}` after each epoch; at the end
`{"event": "done", …}` or `{"event": "error", "kind": "invalid" | "timeout" | "diverged", "message": …}`, with exit
status 0 or 1. Any other failure is a traceback on standard error.

A train request: `log`, `clean` (files of `models.engine.sequences.load_log`), `model`, `training`, `seed`,
`evaluation_seed`, `device`, `threads`, `seconds` (time limit or null), `folder` (gets the model, its history and, while
it trains, a checkpoint from which the same request goes on), `made_by` (JSON that says what code trains; left out or
kept beside the result), `compiled` and `precision` (of `models.engine.training.Running`; left out for neither).
A rank request: `log`, `clean`, `trained_on` (the log of the training; left out where that is `log`), `folder` (of the
training), `evaluation_seed`, `device`, `threads`, `out` (an .npz file of ranks, and of what is offered on test).
Either may hold `ends_with_parent`, true to end when standard input is closed, and `channel`, the number of an open file
descriptor to speak to, so that nothing that a library prints comes in between; left out, it speaks to standard output.
"""

import contextlib
import fcntl
import json
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.catalogue import build
from models.config import ModelConfig, TrainingConfig, WrongChoice
from models.description import MODEL_FILES, described
from models.engine.files import save_arrays, written_whole
from models.engine.memory import keep_freed
from models.engine.offers import OFFERED, OFFERED_IN, Offers, exposures, self_information
from models.engine.ranking import Protocol, rank, rank_and_offer, users_by_item
from models.engine.sequences import InteractionLog, Sequences, load_log
from models.engine.training import Running, Training
from models.errors import Diverged, NotCompiled
from models.own import faults_of_files_told
from models.storage import load_model, save_model

RESULT_FILE = "result.json"
CHECKPOINT_FILE = "checkpoint.pt"


class BadRequest(ValueError):
    """The request, or a file that it names, cannot be used as it is."""


FAILURES: Mapping[type[Exception], str] = {
    BadRequest: "invalid",
    WrongChoice: "invalid",
    NotCompiled: "invalid",
    TimeoutError: "timeout",
    Diverged: "diverged",
}
"""Those that are told in a sentence, by the kind that is said."""

Say = Callable[..., None]
"""Says an event, by name and with what belongs to it."""

Verb = Callable[[dict[str, Any], Say], dict[str, Any]]
"""From a request, and whom to tell how it gets on, to the report at the end."""


def main(arguments: list[str]) -> int:
    """Train or rank as asked; the exit status."""
    verbs: dict[str, Verb] = {"train": train, "rank": lambda request, _: rank_targets(request)}
    return run(arguments, verbs, usage=__doc__ or "")


def run(arguments: list[str], verbs: Mapping[str, Verb], *, usage: str) -> int:
    """Run the request with the verb of its name; the exit status."""
    if len(arguments) != 2 or arguments[0] not in verbs:
        print(usage, file=sys.stderr)
        return 2
    verb, path = arguments
    request = json.loads(Path(path).read_text(encoding="utf-8"))
    if request.get("ends_with_parent"):
        threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(request["threads"])
    say = _speaker(request.get("channel"))
    try:
        report = verbs[verb](request, say)
    except tuple(FAILURES) as error:
        kind = next(kind for failure, kind in FAILURES.items() if isinstance(error, failure))
        say("error", kind=kind, message=str(error))
        return 1
    say("done", **report)
    return 0


def train(request: dict[str, Any], say: Say) -> dict[str, Any]:
    """Train as asked and `say` how it gets on, unless the folder holds the result already; what is in `result.json`,
    less its history.

    Raises `BadRequest`, `TimeoutError` past the time limit, `models.errors.Diverged` and `models.errors.NotCompiled`;
    what a person's own file raises (`models.own`) as `WrongChoice`.
    """
    folder = Path(request["folder"])
    with only_one_in(folder, say):
        if not is_finished(folder):
            say("begins")
            _train(request, folder, say)
        return report_of(folder)


def is_finished(folder: Path) -> bool:
    """Does a training's folder hold all that it was to make?"""
    return all((folder / name).exists() for name in (RESULT_FILE, *MODEL_FILES))


def report_of(folder: Path) -> dict[str, Any]:
    """What is in a finished training's `result.json`, less its history."""
    finished: dict[str, Any] = json.loads((folder / RESULT_FILE).read_text(encoding="utf-8"))
    return {name: value for name, value in finished.items() if name != "history"}


def rank_targets(request: dict[str, Any]) -> dict[str, Any]:
    """Rank every split and write `<split>_<protocol>` arrays, empty for a split without targets; and as arrays [items]
    `lists`, in how many lists on test each item is offered, `users`, how many have it in the clean log's training part,
    and its `self_information` in bits.

    Raises `BadRequest`, and `models.errors.Diverged` where the scores are not finite; what a person's own file raises
    as `WrongChoice`.
    """
    device = torch.device(request["device"])
    with as_asked():
        log, clean = load_log(Path(request["log"])).to(device), load_log(Path(request["clean"])).to(device)
        histories = log.sequences
        if request.get("trained_on", request["log"]) != request["log"]:
            histories = histories.read_after(load_log(Path(request["trained_on"])).sequences.to(device))
        model = load_model(Path(request["folder"]), device=device)
        config = described(Path(request["folder"])).config
    arrays: dict[str, np.ndarray] = {}
    offers: Offers = np.zeros((0, OFFERED), dtype=np.int32)
    started = time.monotonic()
    for split, targets in log.targets.items():
        protocol = Protocol.of(clean.sequences, clean.targets[split], seed=request["evaluation_seed"])
        with faults_of_files_told(config):
            if split == OFFERED_IN:
                ranks, offers = rank_and_offer(model, histories, targets, protocol)
            else:
                ranks = rank(model, histories, targets, protocol)
        arrays |= {f"{split}_{name}": values for name, values in ranks.items()}
    save_arrays(Path(request["out"]), **arrays, **_offered(offers, clean.sequences))
    return {"seconds": time.monotonic() - started}


def _offered(offers: Offers, clean: Sequences) -> dict[str, np.ndarray]:
    having = users_by_item(clean).cpu().numpy()
    return {
        "lists": exposures(offers, clean.item_count),
        "users": having,
        "self_information": self_information(having, int((clean.train_lengths > 0).sum())),
    }


def _train(request: dict[str, Any], folder: Path, say: Say) -> None:
    keep_freed()
    with as_asked():
        config = ModelConfig.from_dict(request["model"])
    with as_asked(), faults_of_files_told(config):
        training = training_of(request, load_log, checkpoint=folder / CHECKPOINT_FILE)
    seconds = request["seconds"]
    with faults_of_files_told(config):
        training.run(
            on_epoch=lambda epoch: say("epoch", **asdict(epoch)),
            deadline=None if seconds is None else time.monotonic() + seconds,
        )
    keep(training, request, group=[])


def training_of(
    request: dict[str, Any], read: Callable[[Path], InteractionLog], *, checkpoint: Path | None = None
) -> Training:
    """The training that is asked for, of logs as they are `read`, where it stood at its `checkpoint` if that exists.
    Raises `ValueError` where there can be none.
    """
    config = ModelConfig.from_dict(request["model"])
    running = Running(**{name: request[name] for name in ("compiled", "precision") if name in request})
    log, clean = read(Path(request["log"])), read(Path(request["clean"]))
    sequences = log.sequences
    return Training(
        build(config, sequences.item_count, seed=request["seed"], user_count=sequences.user_count),
        log,
        clean,
        TrainingConfig.from_dict(request["training"]).of(config),
        seed=request["seed"],
        evaluation_seed=request["evaluation_seed"],
        device=torch.device(request["device"]),
        running=running,
        checkpoint=checkpoint,
    )


def keep(training: Training, request: dict[str, Any], *, group: list[str]) -> None:
    """Write what a training that has ended made into its folder, the result last; its checkpoint goes.

    `group` names the folders of those that were trained as one stacked model, this one's among them; none where it
    was trained alone.
    """
    folder, config = Path(request["folder"]), ModelConfig.from_dict(request["model"])
    progress, sequences = training.progress, training.log.sequences
    (folder / RESULT_FILE).unlink(missing_ok=True)
    save_model(training.model, config, folder, item_count=sequences.item_count, user_count=sequences.user_count)
    report = {
        "best_epoch": progress.best_epoch,
        "best_value": progress.best_value,
        "epochs": progress.epoch,
        "collapsed": progress.collapsed_epoch is not None,
        "collapsed_epoch": progress.collapsed_epoch,
        "seconds": progress.seconds,
        "parameters": sum(parameter.numel() for parameter in training.model.parameters()),
        "users": len(sequences.train_lengths),
        "positions": int((sequences.train_lengths - 1).clamp(0, config.length).sum()),
        "device": request["device"],
        "threads": request["threads"],
        "compiled": training.running.compiled,
        "precision": training.running.precision,
        "group": group,
        "batch_size": training.config.batch_size,
        "table_rows": "touched" if training.touches_rows else "all",
        "max_epochs": training.config.epochs,
        "peak_memory_bytes": _peak_memory(),
        "made_by": request.get("made_by", {}),
        "history": [asdict(epoch) for epoch in progress.history],
    }
    with written_whole(folder / RESULT_FILE) as file:
        file.write(json.dumps(report, indent=1).encode())
    (folder / CHECKPOINT_FILE).unlink(missing_ok=True)


def _peak_memory() -> int:
    """The most memory that this process has had, in bytes; what lies on a GPU is not in it."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@contextlib.contextmanager
def as_asked() -> Iterator[None]:
    """What cannot be built in here was asked for wrongly; a `ValueError` from anywhere else is a fault of ours."""
    try:
        yield
    except ValueError as error:
        raise BadRequest(str(error)) from error


def _speaker(channel: int | None) -> Say:
    """Says each event as a line of JSON on the channel, which nothing else that runs here knows of."""
    lines = sys.stdout if channel is None else os.fdopen(channel, "w", encoding="utf-8")

    def say(event: str, **about: Any) -> None:
        print(json.dumps({"event": event, **about}), file=lines, flush=True)

    return say


@contextlib.contextmanager
def only_one_in(folder: Path, say: Say) -> Iterator[None]:
    """Make `folder` and wait until no other process trains in it; the system frees the lock of a killed one."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waits")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _end_with_parent() -> None:
    """The parent holds the other end of standard input and never writes: its end is our end."""
    while os.read(0, 1):
        pass
    os._exit(3)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
