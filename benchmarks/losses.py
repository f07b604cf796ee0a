"""What each loss costs a step, and which reaches the best validation NDCG in the same processor time.

    .venv/bin/python -m benchmarks.losses --source ../shared/data/ml-1m.parquet --order-col position

The losses take turns on the same batches, and processor time is counted, on a GPU and with several threads the clock's:
a ratio is the median of the step's time over BCE's of the same turn. "softmax, whole" is full softmax with every score
of a batch held at once, as torch's own cross-entropy takes it; it trains the same. "…, bf16" has its products in
bfloat16 (`--precision bf16`). With --seconds, each loss then trains so long from the start and is validated at the end.
"""

import argparse
import itertools
import statistics
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from benchmarks.logs import add_options, log_of, name_of
from benchmarks.result import write
from benchmarks.taken import Clock, clock_for
from models.catalogue import build
from models.config import ModelConfig, TrainingConfig
from models.engine.batches import Batch, training_batches
from models.engine.losses import in_one_piece
from models.engine.metrics import SELECTION_METRIC, summary
from models.engine.ranking import rank
from models.engine.sequences import InteractionLog
from models.engine.training import AS_IT_IS, Running, Training
from models.networks.backbone import NextItem

BASE = "bce"
WHOLE = "softmax, whole"
LOWER = ", bf16"
"""Ends the name of what trains in lower precision."""


class WholeSoftmax:
    """Cross-entropy with a [positions, items] tensor of scores."""

    negatives: ClassVar[int] = 0
    shares_negatives: ClassVar[bool] = False
    lowers_precision: ClassVar[bool] = False

    def __call__(self, hidden: Tensor, table: Tensor, targets: Tensor, negatives: Tensor | None) -> Tensor:
        return in_one_piece(hidden, table, targets)


def main() -> None:
    """Measure, print a table, and write JSON where asked."""
    options = _options()
    torch.set_num_threads(options.threads)
    log = log_of(options)
    sampled = {"negatives": options.negatives}
    configs = {
        BASE: ModelConfig(),
        f"{BASE}{LOWER}": ModelConfig(),
        "softmax": ModelConfig(loss="softmax"),
        f"softmax{LOWER}": ModelConfig(loss="softmax"),
        "sampled-softmax": ModelConfig(loss="sampled-softmax", **sampled),
        "gbce": ModelConfig(loss="gbce", **sampled),
        "gbce-shared": ModelConfig(loss="gbce-shared", **sampled),
    }
    ratios, milliseconds = _step_times(log, configs, options)
    reached = {name: _reached(log, name, config, options) for name, config in configs.items() if options.seconds}
    for name, ratio in ratios.items():
        after = f"   {reached[name]:.4f} after {options.seconds:g} s" if name in reached else ""
        print(f"{name:16} {milliseconds[name]:7.1f} ms  {ratio:6.2f} × BCE's step{after}")
    result = {
        "source": name_of(options),
        "threads": options.threads,
        "negatives": options.negatives,
        "step_milliseconds": milliseconds,
        "step_time_over_bce": ratios,
        "seconds_of": clock_for(options.device, threads=options.threads).of,
        "seconds_trained": options.seconds,
        SELECTION_METRIC: reached,
    }
    write(options.json, result, options.device)


def _step_times(
    log: InteractionLog, configs: dict[str, ModelConfig], options: argparse.Namespace
) -> tuple[dict[str, float], dict[str, float]]:
    """The steps' times over BCE's, medians over turns, and their own medians in milliseconds."""
    trainings = {name: _training(log, name, config, options) for name, config in configs.items()}
    trainings[WHOLE] = _training(log, WHOLE, configs["softmax"], options)
    whole = trainings[WHOLE].model
    assert isinstance(whole, NextItem)
    whole.objective = WholeSoftmax()
    seconds: dict[str, list[float]] = {name: [] for name in trainings}
    generator = torch.Generator().manual_seed(0)
    clock = clock_for(options.device, threads=options.threads)
    sequences = trainings[BASE].log.sequences
    epoch = list(training_batches(sequences, length=50, batch_size=128, generator=generator))
    for number, batch in enumerate(itertools.islice(itertools.cycle(epoch), options.steps + 1)):
        for name, training in trainings.items():
            taken = _step(training, replace(batch), clock)
            if number:  # the first is a warm-up
                seconds[name].append(taken)
    ratios = {
        name: statistics.median(own / base for own, base in zip(values, seconds[BASE], strict=True))
        for name, values in seconds.items()
    }
    return ratios, {name: 1000 * statistics.median(values) for name, values in seconds.items()}


def _reached(log: InteractionLog, name: str, config: ModelConfig, options: argparse.Namespace) -> float:
    """Validation's NDCG after the time that is allowed, making of batches included."""
    training = _training(log, name, config, options)
    clock = clock_for(options.device, threads=options.threads)
    started = clock.now()
    while clock.now() - started < options.seconds:
        epoch = training.model.training_batches(
            training.log.sequences, batch_size=128, generator=training.order["order"], draws=training.draws
        )
        for batch in epoch:
            _step(training, batch, clock)
            if clock.now() - started >= options.seconds:
                break
    ranks = rank(training.model, training.log.sequences, training.log.targets["validation"], training.protocol)
    return summary(ranks, "validation")[SELECTION_METRIC]


def _step(training: Training, batch: Batch, clock: Clock) -> float:
    started = clock.now()
    with training.running.autocast(batch.items.device):
        loss = training.model.loss(batch, training.draws)
    training.optimizer.zero_grad()
    loss.objective().backward()
    training.optimizer.step()
    return clock.now() - started


def _training(log: InteractionLog, name: str, config: ModelConfig, options: argparse.Namespace) -> Training:
    model = build(config, log.sequences.item_count, seed=1)
    running = Running(precision="bf16") if name.endswith(LOWER) else AS_IT_IS
    device = torch.device(options.device)
    return Training(model, log, log, TrainingConfig(), seed=1, evaluation_seed=0, device=device, running=running)


def _options() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--negatives", type=int, default=256, help="of the losses that sample")
    parser.add_argument("--seconds", type=float, default=0.0, help="that each loss trains for")
    parser.add_argument("--json", help="file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
