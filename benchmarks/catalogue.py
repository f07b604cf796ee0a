"""What a training step costs as the catalogue grows, with a step that updates every row of the item table and with one
that updates those it touches.

    .venv/bin/python -m benchmarks.catalogue
    .venv/bin/python -m benchmarks.catalogue --items 100000,1000000 --loss gbce --negatives 64 --json catalogue.json

Each side trains SASRec on a log drawn at random, 50 events a user, 128 users a step. The sides take turns, step by
step, and processor time is counted; rates are of medians. What comes once an epoch is timed apart: rows that wait and
catch up, the best weights' copy, and a checkpoint. `peak_bytes` is the most memory that the process has had: read it
from a run of one side (`--rows touched`).
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.ranking import peak_bytes, random_log
from benchmarks.result import write
from models.catalogue import build
from models.config import ModelConfig, TrainingConfig
from models.engine.training import Training

BATCH = 128


def main() -> None:
    """Measure, print a table, and write JSON where asked."""
    options = _options()
    torch.set_num_threads(options.threads)
    sides = {
        (rows, items): _training(items, rows, options)
        for items in (int(each) for each in options.items.split(","))
        for rows in options.rows.split(",")
    }
    rates = _rates({side: _stepper(training) for side, training in sides.items()}, options)
    costs = {side: _once_an_epoch(training) for side, training in sides.items()}
    result = {
        "loss": options.loss,
        "negatives": options.negatives,
        "dim": options.dim,
        "threads": options.threads,
        "steps": options.steps,
        "sides": [
            {"rows": rows, "items": items, "positions_per_processor_second": rates[rows, items], **costs[rows, items]}
            for rows, items in sides
        ],
        "peak_bytes": peak_bytes(),
    }
    for (rows, items), rate in rates.items():
        print(f"{rows:8} {items:10,} items  {rate:12,.0f} positions a processor second   rows caught up in "
              f"{costs[rows, items]['settle_seconds']:.2f} s, best copied in "
              f"{costs[rows, items]['copy_seconds']:.2f} s, checkpoint "
              f"{costs[rows, items]['checkpoint_seconds']:.2f} s, "
              f"{costs[rows, items]['checkpoint_bytes'] / 2**20:,.0f} MiB")  # fmt: skip
    write(options.json, result)


def _training(items: int, rows: str, options: argparse.Namespace) -> Training:
    log = random_log(items, (options.steps + 1) * BATCH)
    model = build(ModelConfig(dim=options.dim, loss=options.loss, negatives=options.negatives), items, seed=1)
    config = TrainingConfig.from_dict({"batch_size": BATCH, "table_rows": rows})
    return Training(model, log, log, config, seed=1, evaluation_seed=0, device=torch.device("cpu"))


def _stepper(training: Training) -> Callable[[], int]:
    """One training step, batch and draws included; how many positions it had."""
    batches = training.model.training_batches(
        training.log.sequences, batch_size=BATCH, generator=training.order["order"], draws=training.draws
    )

    def step() -> int:
        batch = next(batches)
        loss = training.model.loss(batch, replace(training.draws, step=training.progress.steps))
        training.optimizer.zero_grad()
        loss.objective().backward()
        training.optimizer.step()
        return len(batch.cells)

    return step


def _rates(steppers: dict[Any, Callable[[], int]], options: argparse.Namespace) -> dict[Any, float]:
    """Positions a second of processor time; the first turn is a warm-up."""
    rates: dict[Any, list[float]] = {side: [] for side in steppers}
    for _ in range(options.steps + 1):
        for side, step in steppers.items():
            started = time.process_time()
            positions = step()
            rates[side].append(positions / (time.process_time() - started))
    return {side: statistics.median(values[1:]) for side, values in rates.items()}


def _once_an_epoch(training: Training) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.pt"
        started = time.process_time()
        training.optimizer.settle()
        settled = time.process_time()
        training.keep_as_best()
        copied = time.process_time()
        training.save(path)
        saved = time.process_time()
        return {
            "settle_seconds": settled - started,
            "copy_seconds": copied - settled,
            "checkpoint_seconds": saved - copied,
            "checkpoint_bytes": path.stat().st_size,
        }


def _options() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", default="10000,100000,1000000", help="sizes of the catalogue, with commas")
    parser.add_argument("--rows", default="all,touched", help="which rows a step updates, with commas")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--loss", default="bce", choices=("bce", "bpr", "gbce", "gbce-shared", "sampled-softmax"))
    parser.add_argument("--negatives", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--json", help="file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
