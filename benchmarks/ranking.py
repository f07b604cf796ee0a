"""What ranking costs: every protocol for every user of a log, and for a catalogue of a million items.

    .venv/bin/python -m benchmarks.ranking --source ../shared/data/ml-1m.parquet --order-col position
    .venv/bin/python -m benchmarks.ranking --items 1000000 --users 500
    cd packed && python -m benchmarks.ranking --log logs/….npz --device cuda

An untrained SASRec ranks the test targets, and in turns with that also takes the lists of what it offers, once to warm
up and then `--rounds` times, with one thread, then with two.
Processor seconds stand beside those of the clock, which count whatever else the machine does; on a busy one, set
OMP_WAIT_POLICY=PASSIVE, as the pipeline does for its own processes. With `--items` the log is drawn at random, 50
events a user. Memory is the most that the process has had, of a GPU what torch has taken there, less the most that it
had before ranking.
"""

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from benchmarks.logs import add_options, log_of, name_of
from benchmarks.result import write
from benchmarks.taken import wall_clock
from models.catalogue import build
from models.config import ModelConfig
from models.engine.ranking import Protocol, rank, rank_and_offer
from models.engine.sequences import InteractionLog, Sequences, Targets

EVENTS = 50
RANKS, LISTS = "ranks", "ranks and lists"


def main() -> None:
    """Measure, print a table, and write JSON where asked."""
    options = _options()
    log = random_log(options.items, options.users) if options.items else log_of(options)
    device = torch.device(options.device)
    log = log.to(device)
    model = build(ModelConfig(dim=options.dim), log.sequences.item_count, seed=1).to(device)
    targets = log.targets["test"]
    protocol = Protocol.of(log.sequences, targets, seed=0)
    before = peak_bytes(options.device)
    asked = (model, log.sequences, targets, protocol)
    sides = {RANKS: lambda: rank(*asked), LISTS: lambda: rank_and_offer(*asked)}
    seconds = {threads: _rounds(sides, options, threads=threads) for threads in options.threads}
    added = peak_bytes(options.device) - before
    table = log.sequences.item_count * options.dim * 4
    result = {
        "source": f"{options.items} items at random" if options.items else name_of(options),
        "items": log.sequences.item_count,
        "targets": len(targets),
        "dim": options.dim,
        "rounds": options.rounds,
        "medians": {str(threads): taken[RANKS] for threads, taken in seconds.items()},
        "medians_with_lists": {str(threads): taken[LISTS] for threads, taken in seconds.items()},
        "item_table_bytes": table,
        "peak_bytes_before": before,
        "peak_bytes_added": added,
        "whole_score_matrix_bytes": log.sequences.item_count * len(targets) * 4,
    }
    print(f"{len(targets):,} targets, {log.sequences.item_count:,} items, width {options.dim}")
    for threads, sides_taken in seconds.items():
        for side, taken in sides_taken.items():
            told = f"{taken['wall']:7.2f} s on the clock  {taken['processor']:7.2f} s of processors"
            print(f"{threads} thread(s)  {side:<16}{told}")
    print(f"memory added {added / 2**20:,.0f} MiB; all scores at once would take "
          f"{result['whole_score_matrix_bytes'] / 2**20:,.0f} MiB")  # fmt: skip
    write(options.json, result, options.device)


def random_log(item_count: int, user_count: int, *, events: int = EVENTS) -> InteractionLog:
    """A leave-one-out log of `events` uniform items a user."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(1, item_count + 1, (user_count, events), generator=generator, dtype=torch.int32)
    users = torch.arange(user_count)
    sequences = Sequences(
        items=drawn.flatten(),
        offsets=torch.arange(user_count + 1) * events,
        train_lengths=torch.full((user_count,), events - 2),
        item_count=item_count,
    )
    targets = {
        split: Targets(users, drawn[:, -back].long(), torch.full((user_count,), events - back))
        for split, back in (("validation", 2), ("test", 1))
    }
    return InteractionLog(sequences, targets)


def _rounds(
    sides: Mapping[str, Callable[[], object]], options: argparse.Namespace, *, threads: int
) -> dict[str, dict[str, float]]:
    """By side, which take turns, medians of the clock's and the processors' seconds, the first round left out."""
    torch.set_num_threads(threads)
    clock = wall_clock(options.device)
    taken: dict[str, list[tuple[float, float]]] = {side: [] for side in sides}
    for _ in range(options.rounds + 1):
        for side, ranked in sides.items():
            started, worked = clock(), time.process_time()
            ranked()
            taken[side].append((clock() - started, time.process_time() - worked))
    return {
        side: dict(zip(("wall", "processor"), map(statistics.median, zip(*each[1:], strict=True)), strict=True))
        for side, each in taken.items()
    }


def peak_bytes(device: str = "cpu") -> int:
    """The most memory that this process has had, in bytes; of a GPU, there."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _options() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--items", type=int, help="a random log with so many items, in place of a source")
    parser.add_argument("--users", type=int, default=500, help="of a random log")
    parser.add_argument("--dim", type=int, default=50)
    parser.add_argument("--threads", type=int, nargs="+", default=(1, 2))
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", help="file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
