"""What every side of the comparison has in common: the log, the settings, the counting rule, and how it is spoken to.

A side is a process, `python -m benchmarks.peers.NAME LOG.npz THREADS`. It says a JSON object a line: first its
versions, then, for each line `epoch` that it reads, a turn, and for `quality` its validation NDCG@10. numpy alone is
needed here, as each side has other packages.

The counting rule: a position is an event that is read with the next one as its target, and that the loss is taken at.
Padding is none, and neither is a target before which there is only padding.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

LENGTH, DIM, BLOCKS, HEADS, DROPOUT = 50, 50, 2, 2, 0.2
BATCH, LEARNING_RATE, BETAS = 128, 1e-3, (0.9, 0.98)
CUTOFF = 10
USERS_OF_A_BLOCK = 512


@dataclass(frozen=True)
class Log:
    """Histories as `models.engine.sequences.load_log` describes them, and who is ranked on what.

    items: [events] 1 … item_count; offsets: [users + 1]; train_lengths: [users]
    users, targets, histories: [targets] of the validation split
    """

    items: NDArray[np.int64]
    offsets: NDArray[np.int64]
    train_lengths: NDArray[np.int64]
    item_count: int
    users: NDArray[np.int64]
    targets: NDArray[np.int64]
    histories: NDArray[np.int64]

    @classmethod
    def read(cls, path: Path) -> "Log":
        with np.load(path, allow_pickle=False) as stored:
            whole = {name: stored[name].astype(np.int64) for name in stored.files if stored[name].dtype.kind == "i"}
        return cls(
            items=whole["items"],
            offsets=whole["offsets"],
            train_lengths=whole["train_lengths"],
            item_count=int(whole["item_count"]),
            users=whole["validation_users"],
            targets=whole["validation_items"],
            histories=whole["validation_histories"],
        )

    def training_parts(self) -> list[NDArray[np.int64]]:
        """The events that may be trained on, of each user that has two or more."""
        starts = self.offsets[:-1]
        parts = zip(starts.tolist(), (starts + self.train_lengths).tolist(), strict=True)
        return [self.items[start:end] for start, end in parts if end - start > 1]

    def steps_of_epoch(self) -> int:
        return -(-int((self.train_lengths > 1).sum()) // BATCH)

    def histories_before_targets(self) -> NDArray[np.int64]:
        """[targets, LENGTH]: the last events before each target, with zeros before them."""
        places = (self.offsets[self.users] + self.histories)[:, None] + np.arange(-LENGTH, 0)
        within = places >= self.offsets[self.users][:, None]
        return np.where(within, self.items[places.clip(min=0)], 0)


@dataclass(frozen=True)
class Turn:
    """An epoch's positions, and its seconds by the clock and of the processors."""

    positions: int
    wall: float
    processor: float


class Side(Protocol):
    """One library's training."""

    def epoch(self) -> Turn:
        """Train on every user once, or for as many steps where the library has other batches."""

    def factors(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Of the validation targets' histories [targets, dim], and of items [item_count + 1, dim], by their numbers in
        the log: score = product. An item that the library does not know has zeros.
        """


class Watch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._wall, self._processor = time.perf_counter(), time.process_time()

    def turn(self, positions: int) -> Turn:
        return Turn(positions, time.perf_counter() - self._wall, time.process_time() - self._processor)


def serve(made_of: Callable[[Log], Side], packages: tuple[str, ...]) -> None:
    """Answer for a side until standard input ends; `packages` are those whose versions matter."""
    path, threads = Path(sys.argv[1]), int(sys.argv[2])
    say = _speaker()
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(1)
    log = Log.read(path)
    side = made_of(log)
    say(versions={name: version(name) for name in (*packages, "torch", "numpy")})
    for line in sys.stdin:
        if line.strip() == "epoch":
            say(**asdict(side.epoch()))
        else:
            say(ndcg=ndcg(*side.factors(), log))


def counted(read: Any, targets: Any) -> int:
    """By the rule above, from which cells of a batch hold an event [rows, length], and which a target."""
    return int((read & targets).sum())


def ndcg(queries: NDArray[np.float32], table: NDArray[np.float32], log: Log) -> float:
    """NDCG@10 of the validation targets among the items that their users had not had before."""
    gains = []
    for start in range(0, len(queries), USERS_OF_A_BLOCK):
        rows = np.arange(start, min(start + USERS_OF_A_BLOCK, len(queries)))
        scores = queries[rows] @ table.T
        own = scores[np.arange(len(rows)), log.targets[rows]].copy()
        scores[:, 0] = -np.inf
        for row, number in enumerate(rows):
            first = log.offsets[log.users[number]]
            scores[row, log.items[first : first + log.histories[number]]] = -np.inf
        ties = (scores == own[:, None]).sum(1) - (scores[np.arange(len(rows)), log.targets[rows]] == own)
        ranks = (scores > own[:, None]).sum(1) + ties / 2
        gains.append(np.where(ranks < CUTOFF, 1 / np.log2(ranks + 2), 0.0))
    return float(np.concatenate(gains).mean())


def _speaker() -> Callable[..., None]:
    """Speaks where standard output went; what libraries print goes to standard error."""
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def say(**content: Mapping[str, Any]) -> None:
        channel.write(json.dumps(content) + "\n")
        channel.flush()

    return say
