"""Positions per second of the training loop beside a bare loop, and beside one over padded batches.

    .venv/bin/python -m benchmarks.training
    .venv/bin/python -m benchmarks.training --source ../shared/data/ml-1m.parquet --order-col position
    .venv/bin/python -m benchmarks.training --source ../shared/data/games.txt --users 6000
    cd packed && python -m benchmarks.training --log logs/….npz --device cuda --also compiled,tf32,bf16,compiled+bf16

The bare loop runs the same module, loss, dropout and optimiser over batches and negatives drawn beforehand: what it is
faster by is what our loop costs. The padded loop is a bare one whose every history has a row of its own: what it is
slower by is what packing saves. Positions are real ones throughout, and seconds with one thread the processor's, which
a busy neighbour lengthens less. All train for the same steps and say what they reached on validation.

--also adds our loop with its steps compiled, in lower precision, or both. An epoch that compiles comes before all
others, is undone, and is told by itself. --log takes a log of `benchmarks.bare pack`, on a machine with nothing but
torch and numpy.
"""

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.logs import add_options, log_of, name_of
from benchmarks.result import write
from benchmarks.taken import clock_for
from models.catalogue import build
from models.config import FULL_PRECISION, ModelConfig, TrainingConfig
from models.engine.batches import Batch, UnseenItems, training_batches
from models.engine.memory import keep_freed
from models.engine.metrics import SELECTION_METRIC, summary
from models.engine.ranking import rank
from models.engine.sequences import InteractionLog
from models.engine.training import AS_IT_IS, Running, Training
from models.errors import NotCompiled
from models.networks.backbone import NextItem

COMPILED = "compiled"


def main() -> None:
    """Measure, print a table, and write JSON where asked."""
    options = _options()
    torch.set_num_threads(options.threads)
    keep_freed()
    log = of_some_users(log_of(options), options.users)
    device = torch.device(options.device)
    settings = ModelConfig(loss=options.loss)
    others = {f"ours, {name}": _training(log, settings, device, running_of(name)) for name in options.also}
    warming, left_out = _warmed_up(others)
    others = {name: training for name, training in others.items() if name not in left_out}
    sides = sides_of(log, settings, device, batch_size=128)
    sides |= {name: _ours(training) for name, training in others.items()}
    clock = clock_for(device.type, threads=options.threads)
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(options.rounds):
        for name, (epoch, _) in sides.items():
            started = clock.now()
            positions = epoch()
            rates[name].append(positions / (clock.now() - started))
    reached = {name: validate() for name, (_, validate) in sides.items()}
    ratios = {name: _ratio(rates["ours"], rates[name]) for name in sides if name != "ours"}
    result = {
        "source": name_of(options),
        "loss": options.loss,
        "threads": options.threads,
        "seconds_of": clock.of,
        "positions_per_second": {name: statistics.median(values) for name, values in rates.items()},
        "ours_over": ratios,
        "seconds_of_the_epoch_that_compiles": warming,
        "left_out": left_out,
        SELECTION_METRIC: reached,
    }
    for name, values in rates.items():
        print(f"{name:20} {statistics.median(values):12,.0f} positions/s   validation NDCG@10 {reached[name]:.4f}")
    for name, taken in warming.items():
        told = ", ".join(f"{seconds:.0f} {of}" for of, seconds in taken.items())
        print(f"{name}: the epoch that compiles took, in seconds: {told}")
    for name, reason in left_out.items():
        print(f"{name}: left out: {reason}")
    for name, ratio in ratios.items():
        print(f"ours over {name}: {ratio:.2f} (median of {options.rounds} alternated epochs)")
    write(options.json, result, options.device)


def _warmed_up(others: Mapping[str, Training]) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """Of those that are compiled what their first epoch took, and why one could not be: others are measured without."""
    warming, left_out = {}, {}
    for name, training in others.items():
        if training.running.compiled:
            try:
                warming[name] = _warmed(training)
            except NotCompiled as failure:
                left_out[name] = str(failure)
    return warming, left_out


Side = tuple[Callable[[], int], Callable[[], float]]
"""Trains an epoch and says how many positions that were; what validation says."""


def sides_of(log: InteractionLog, settings: ModelConfig, device: torch.device, *, batch_size: int) -> dict[str, Side]:
    """Our loop, a bare one, and a bare one over padded batches."""

    def training() -> Training:
        return _training(log, settings, device, AS_IT_IS, batch_size=batch_size)

    return {
        "ours": _ours(training()),
        "bare loop": _bare(training(), laid_out=lambda batch: batch),
        "padded loop": _bare(training(), laid_out=padded),
    }


def padded(batch: Batch) -> Batch:
    """Each window in a row of its own, at the row's end."""
    length = batch.items.shape[1]
    _, window = torch.unique(batch.cells // length * (length + 1) + batch.events(batch.segments), return_inverse=True)
    rows = len(batch.ends)
    cells = window * length + batch.events(batch.positions)

    def own_rows(grid: Tensor) -> Tensor:
        return grid.new_zeros(rows * length).index_copy_(0, cells, batch.events(grid)).view(rows, length)

    assert batch.targets is not None
    return replace(
        batch,
        items=own_rows(batch.items),
        users=own_rows(batch.users),
        positions=own_rows(batch.positions),
        segments=own_rows(torch.ones_like(batch.segments)),
        targets=own_rows(batch.targets),
        times=None if batch.times is None else own_rows(batch.times),
        cells=cells,
        ends=torch.arange(rows, device=cells.device) * length + length - 1,
    )


def running_of(name: str) -> Running:
    """Of names joined by +: compiled, and a precision. Raises `ValueError` on others."""
    precisions = [part for part in name.split("+") if part != COMPILED]
    if len(precisions) > 1:
        raise ValueError(f"{name} has two precisions")
    return Running(compiled=COMPILED in name.split("+"), precision=precisions[0] if precisions else FULL_PRECISION)


def _training(
    log: InteractionLog, settings: ModelConfig, device: torch.device, running: Running, *, batch_size: int = 128
) -> Training:
    model = build(settings, log.sequences.item_count, seed=1)
    config = TrainingConfig(batch_size=batch_size)
    return Training(model, log, log, config, seed=1, evaluation_seed=0, device=device, running=running)


def _warmed(training: Training) -> dict[str, float]:
    """What an epoch takes that compiles, in seconds of the processor, those of the compiler's own processes among them,
    and of the clock; the training then stands where it stood.
    """

    def now() -> dict[str, float]:
        if training.log.sequences.device.type == "cuda":
            torch.cuda.synchronize()
        used = [resource.getrusage(of) for of in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return {"processor": sum(each.ru_utime + each.ru_stime for each in used), "clock": time.perf_counter()}

    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint.pt"
        training.save(checkpoint)
        before = now()
        training.train_epoch()
        after = now()
        training.restore(checkpoint)
    return {name: after[name] - before[name] for name in before}


def _ours(training: Training) -> Side:
    positions = sum(len(batch.cells) for batch, _ in _drawn(training))

    def epoch() -> int:
        training.train_epoch()
        return positions

    return epoch, lambda: _reached(training)


def _bare(training: Training, *, laid_out: Callable[[Batch], Batch]) -> Side:
    model = training.model
    assert isinstance(model, NextItem)

    def epoch() -> int:
        total = 0
        for batch, negatives in prepared:
            losses = model.position_losses(batch, negatives, dropout=training.draws.dropout())
            training.optimizer.zero_grad()
            losses.mean().backward()
            training.optimizer.step()
            total += len(batch.cells)
        return total

    prepared = _drawn(training, laid_out)
    return epoch, lambda: _reached(training)


def _drawn(
    training: Training, laid_out: Callable[[Batch], Batch] = lambda batch: batch
) -> list[tuple[Batch, Tensor | None]]:
    """An epoch's batches, visibility and negatives included."""
    generator = torch.Generator().manual_seed(0)
    sequences = training.log.sequences
    unseen = UnseenItems(sequences, sequences.train_lengths)
    drawn: list[tuple[Batch, Tensor | None]] = []
    size = training.config.batch_size
    for packed in training_batches(sequences, length=training.model.length, batch_size=size, generator=generator):
        batch = laid_out(packed)
        _ = batch.attention_bias, batch.real
        users = batch.events(batch.users)
        drawn.append((batch, unseen.draw(users, 1, training.draws.streams["negatives"])))
    return drawn


def _reached(training: Training) -> float:
    ranks = rank(training.model, training.log.sequences, training.log.targets["validation"], training.protocol)
    return summary(ranks, "validation")[SELECTION_METRIC]


def of_some_users(log: InteractionLog, count: int | None) -> InteractionLog:
    """The log of which only `count` users are trained on, drawn at random: the first of a file are often those who
    have been there longest.
    """
    if count is None:
        return log
    lengths = log.sequences.train_lengths.clone()
    lengths[torch.randperm(len(lengths), generator=torch.Generator().manual_seed(0))[count:]] = 0
    return replace(log, sequences=replace(log.sequences, train_lengths=lengths))


def _ratio(ours: list[float], other: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(ours, other, strict=True))


def _options() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument(
        "--also",
        default=[],
        type=lambda text: text.split(","),
        metavar="RUN,RUN",
        help="ours otherwise: compiled, tf32, bf16, or two of them joined by +",
    )
    parser.add_argument("--users", type=int, help="train on so many only, drawn at random")
    parser.add_argument("--loss", default="bce", choices=("bce", "softmax"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", help="file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
