"""Positions per second of trainings stacked as one model beside the same ones, one after another.

    .venv/bin/python -m benchmarks.replicas --source ../shared/data/ml-1m.parquet --order-col position --replicas 4
    cd packed && python -m benchmarks.replicas --packed . --device cuda --json replicas.json  # of benchmarks.bare

Of a log the replicas are seeds; of a packed study they are the most cells that it can stack. The sides take turns, an
epoch of every replica a turn; the ratio is the median of the turns'. Both train for the same epochs and say what each
replica reached on validation. Seconds on a CPU with one thread are the processor's, which a busy neighbour lengthens
less. Validation is not stacked; that of all replicas is timed once.
"""

import argparse
import json
import statistics
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch

from benchmarks.logs import add_options, log_of, name_of
from benchmarks.result import write
from benchmarks.taken import clock_for
from models.__main__ import training_of
from models.config import ModelConfig, TrainingConfig
from models.engine.metrics import SELECTION_METRIC, summary
from models.engine.ranking import rank
from models.engine.replicas import Replicas
from models.engine.sequences import InteractionLog, load_log
from models.engine.training import Training


def main() -> None:
    """Measure, print a table, and write JSON where asked."""
    options = _options()
    torch.set_num_threads(options.threads)
    make = _packed(options) if options.packed else _seeds(options)
    apart, together = make(), make()
    positions = sum(_positions(training) for training in apart)
    replicas = Replicas(together)
    sides: dict[str, Callable[[], object]] = {
        "one after another": lambda: [training.train_epoch() for training in apart],
        "stacked": lambda: replicas.train_epoch(range(len(together))),
    }
    clock = clock_for(options.device, threads=options.threads).now
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(options.rounds):
        for name, epoch in sides.items():
            started = clock()
            epoch()
            seconds[name].append(clock() - started)
    started = clock()
    reached = {"one after another": _reached(apart)}
    validation = clock() - started
    reached["stacked"] = _reached(together)
    rates = {name: [positions / each for each in taken] for name, taken in seconds.items()}
    ratio = statistics.median(
        alone / stacked for alone, stacked in zip(seconds["one after another"], seconds["stacked"], strict=True)
    )
    differences = [abs(one - other) for one, other in zip(*reached.values(), strict=True)]
    result = {
        "of": options.packed or name_of(options),
        "replicas": len(together),
        "threads": options.threads,
        "rounds": options.rounds,
        "positions_of_an_epoch": positions,
        "positions_per_second": {name: statistics.median(values) for name, values in rates.items()},
        "stacked_over_one_after_another": ratio,
        "seconds_of_a_validation_of_all": validation,
        SELECTION_METRIC: reached,
    }
    for name, values in rates.items():
        told = f"{statistics.median(values):12,.0f} positions/s"
        print(f"{name:18} {told}   mean validation NDCG@10 {statistics.mean(reached[name]):.4f}")
    print(f"stacked over one after another: {ratio:.2f} (median of {options.rounds} turns, {len(together)} replicas)")
    print(f"validation NDCG@10 differs by at most {max(differences):.5f}; validating all takes {validation:.2f} s")
    write(options.json, result, options.device)


Make = Callable[[], list[Training]]
"""Makes the trainings, always the same."""


def _seeds(options: argparse.Namespace) -> Make:
    """SASRec on one log, with a seed each."""
    device = torch.device(options.device)
    log = log_of(options).to(device)
    common = {"log": "", "clean": "", "evaluation_seed": 0, "device": options.device}
    common |= {"model": ModelConfig(loss=options.loss).to_dict(), "training": TrainingConfig().to_dict()}
    return lambda: [training_of(common | {"seed": seed}, lambda _: log) for seed in range(options.replicas)]


def _packed(options: argparse.Namespace) -> Make:
    """The cells of a packed study's largest group."""
    from benchmarks.bare import CELLS_FILE, groups

    folder, device = Path(options.packed), torch.device(options.device)
    cells = json.loads((folder / CELLS_FILE).read_text(encoding="utf-8"))["cells"]
    numbers = max(groups(folder, cells, most=options.replicas), key=len)

    @cache
    def read(path: Path) -> InteractionLog:
        return load_log(folder / path).to(device)

    return lambda: [training_of(cells[number] | {"device": options.device}, read) for number in numbers]


def _positions(training: Training) -> int:
    """What a training learns from in an epoch."""
    return int((training.log.sequences.train_lengths - 1).clamp(0, training.model.length).sum())


def _reached(trainings: list[Training]) -> list[float]:
    found = [
        rank(training.model, training.log.sequences, training.log.targets["validation"], training.protocol)
        for training in trainings
    ]
    return [summary(ranks, "validation")[SELECTION_METRIC] for ranks in found]


def _options() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--packed", metavar="FOLDER", help="of `benchmarks.bare pack`, for a machine without the project"
    )
    add_options(parser)
    parser.add_argument("--loss", default="bce", help="of the replicas of a log")
    parser.add_argument("--replicas", type=int, default=30, help="how many, of a packed study at most")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cuda", "cpu"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", help="file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
