"""What it takes to rank a target, and to judge an event by a model's own score: nearest neighbours beside others.

    .venv/bin/python -m benchmarks.judging --source ../shared/data/ml-1m.parquet --order-col position

Each method counts the log or, untrained, is built for it, and then ranks test targets and judges the training events of
users, both drawn at random: one thread, processor seconds, of `--rounds` the least. A window takes as long whoever's it
is, so that the whole log takes as many times as much as it has targets and events. What judging takes does not depend
on what of them is noise.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from benchmarks.logs import add_options, log_of, name_of
from benchmarks.result import write
from models.catalogue import build
from models.engine.detection import own_score
from models.engine.ranking import Protocol, rank
from models.engine.sequences import Sequences, Targets
from models.recommender import Recommender
from tasks.specs import METHODS, named_method

USERS_AT_ONCE = 128
"""As in `models.engine.detection.suspicions`."""


def main() -> None:
    """Measure, print a table, and write JSON where asked."""
    options = _options()
    torch.set_num_threads(1)
    log = log_of(options)
    sequences, ranked = log.sequences, sum(map(len, log.targets.values()))
    generator = torch.Generator().manual_seed(0)
    users = _some(torch.nonzero(sequences.train_lengths > 1).squeeze(1), options.users, generator)
    rows = _some(torch.arange(len(log.targets["test"])), options.targets, generator)
    every = log.targets["test"]
    targets = Targets(every.users[rows], every.items[rows], every.histories[rows])
    protocol = Protocol.of(sequences, targets, seed=0)
    methods: dict[str, dict[str, float]] = {}
    positions = 0
    print(f"{'method':<16}{'ms a target':>12}{'all':>9}{'ms an event':>13}{'all':>9}")
    for name in options.methods:
        config = named_method(name).model
        model = build(config, sequences.item_count, seed=1, user_count=sequences.user_count).eval()
        model.prepare(sequences)
        positions = int(_judged(sequences, model).sum())
        target = _least(partial(rank, model, sequences, targets, protocol), options.rounds) / len(targets)
        judged = int(_judged(sequences, model)[users].sum())
        event = _least(partial(_judge, model, sequences, users), options.rounds) / judged
        methods[name] = {"seconds_a_target": target, "seconds_an_event": event}
        told = f"{1e3 * target:>12.3f}{ranked * target:>7.1f} s{1e3 * event:>13.3f}{positions * event:>7.1f} s"
        print(f"{name:<16}{told}", flush=True)
    result = {
        "benchmark": "judging",
        "source": name_of(options),
        "items": sequences.item_count,
        "users": sequences.user_count,
        "interactions": int(sequences.train_lengths.sum()),
        "positions": positions,
        "targets": ranked,
        "drawn": {"users": len(users), "targets": len(targets), "rounds": options.rounds},
        "methods": methods,
    }
    write(options.json, result)


@torch.inference_mode()
def _judge(model: Recommender, sequences: Sequences, users: torch.Tensor) -> None:
    judge = own_score(model, sequences)
    for block in users.split(USERS_AT_ONCE):
        judge(block)


def _judged(sequences: Sequences, model: Recommender) -> torch.Tensor:
    """[users] int64: how many events of each are judged by those before them."""
    return (sequences.train_lengths - 1).clamp(0, model.length)


def _some(of: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """At most so many, in their order."""
    return of[torch.randperm(len(of), generator=generator)[:count]].sort().values


def _least(call: Callable[[], object], rounds: int) -> float:
    """Processor seconds of the quickest round."""
    taken = []
    for _ in range(rounds):
        started = time.process_time()
        call()
        taken.append(time.process_time() - started)
    return min(taken)


def _options() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument(
        "--methods",
        nargs="+",
        default=["v-sknn", "v-sknn-window", "popularity", "markov-chain", "sasrec-bce"],
        choices=list(METHODS),
    )
    parser.add_argument("--users", type=int, default=256, help="whose events are judged")
    parser.add_argument("--targets", type=int, default=768, help="so many are ranked")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", help="file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
