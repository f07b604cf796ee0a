"""Positions per second of the training loop beside a bare loop.

    .venv/bin/python -m benchmarks.training
    .venv/bin/python -m benchmarks.training --source ../shared/data/ml-1m.parquet --order-col position

The bare loop runs the same module, loss, dropout and optimiser over batches and negatives drawn beforehand: what it is
faster by is what our loop costs. Both train for the same steps and say what they reached on validation.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.catalogue import build
from models.config import ModelConfig, TrainingConfig
from models.engine.batches import Batch, UnseenItems, training_batches
from models.engine.metrics import SELECTION_METRIC, summary
from models.engine.ranking import rank
from models.engine.sequences import InteractionLog, load_log
from models.engine.training import Training
from models.networks.backbone import NextItem
from tasks.home import Home
from tasks.ingest import ingest
from tasks.sequences import export_log
from tasks.sources.source import obtain_log
from tasks.specs import Columns, PrepareSpec, SourceSpec


def main() -> None:
    """Measure, print a table, and write JSON where asked."""
    options = _options()
    torch.set_num_threads(options.threads)
    log = log_of(options)
    device = torch.device(options.device)
    settings = ModelConfig(loss=options.loss)
    sides = {"ours": _ours(log, settings, device), "bare loop": _bare(log, settings, device)}
    rates: dict[str, list[float]] = {name: [] for name in sides}
    reached: dict[str, float] = {}
    for _ in range(options.rounds):
        for name, (epoch, validate) in sides.items():
            started = time.perf_counter()
            positions = epoch()
            if device.type == "cuda":
                torch.cuda.synchronize()
            rates[name].append(positions / (time.perf_counter() - started))
            reached[name] = validate()
    ratio = statistics.median(a / b for a, b in zip(rates["ours"], rates["bare loop"], strict=True))
    result = {
        "source": options.source or "shoppers",
        "loss": options.loss,
        "threads": options.threads,
        "device": options.device,
        "machine": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "positions_per_second": {name: statistics.median(values) for name, values in rates.items()},
        "ours_over_bare": ratio,
        SELECTION_METRIC: reached,
    }
    for name, values in rates.items():
        print(f"{name:10} {statistics.median(values):12,.0f} positions/s   validation NDCG@10 {reached[name]:.4f}")
    print(f"ours over bare: {ratio:.1%} (median of {options.rounds} alternated epochs)")
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


Side = tuple[Callable[[], int], Callable[[], float]]
"""Trains an epoch and says how many positions that were; what validation says."""


def _ours(log: InteractionLog, settings: ModelConfig, device: torch.device) -> Side:
    training = _training(log, settings, device)
    positions = sum(len(batch.cells) for batch, _ in _drawn(training))

    def epoch() -> int:
        training.train_epoch()
        return positions

    return epoch, lambda: _reached(training)


def _bare(log: InteractionLog, settings: ModelConfig, device: torch.device) -> Side:
    training = _training(log, settings, device)
    model = training.model
    assert isinstance(model, NextItem)

    def epoch() -> int:
        total = 0
        for batch, negatives in prepared.pop():
            losses = model.position_losses(batch, negatives, dropout=training.draws.dropout())
            training.optimizer.zero_grad(set_to_none=True)
            losses.mean().backward()
            training.optimizer.step()
            total += len(batch.cells)
        prepared.append(_drawn(training))
        return total

    prepared = [_drawn(training)]
    return epoch, lambda: _reached(training)


def _training(log: InteractionLog, settings: ModelConfig, device: torch.device) -> Training:
    model = build(settings, log.sequences.item_count, seed=1)
    return Training(model, log, log, TrainingConfig(), seed=1, evaluation_seed=0, device=device)


def _drawn(training: Training) -> list[tuple[Batch, Tensor | None]]:
    """An epoch's batches, visibility and negatives included."""
    generator = torch.Generator().manual_seed(0)
    sequences = training.log.sequences
    unseen = UnseenItems(sequences, sequences.train_lengths)
    drawn = []
    for batch in training_batches(sequences, length=training.model.length, batch_size=128, generator=generator):
        _ = batch.attention_bias, batch.real
        users = batch.events(batch.users)
        drawn.append((batch, unseen.draw(users, 1, training.draws.streams["negatives"])))
    return drawn


def _reached(training: Training) -> float:
    ranks = rank(training.model, training.log.sequences, training.log.targets["validation"], training.protocol)
    return summary(ranks, "validation")[SELECTION_METRIC]


def log_of(options: argparse.Namespace) -> InteractionLog:
    """The log that the options `source` and `order_col` name."""
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        columns = Columns(order=options.order_col) if options.source else Columns()
        source = SourceSpec(path=options.source, columns=columns)
        snapshot = ingest(obtain_log(source, home=home), PrepareSpec(), home=home)
        return load_log(export_log(snapshot, home=home))


def _options() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", help="a log with user_id and item_id columns (default: generated shoppers)")
    parser.add_argument("--order-col", help="its column of order")
    parser.add_argument("--loss", default="bce", choices=("bce", "softmax"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", help="file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
