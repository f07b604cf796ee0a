"""What length costs, beside a bare loop, and what could be saved of a closed gate's attention when a model is used.

    .venv/bin/python -m benchmarks.length
    .venv/bin/python -m benchmarks.length --lengths 50,100,200,500,1000 --json length.json

Histories fill their windows; a batch has as many windows as give `--positions` of them. Our loop, a bare loop over
batches drawn beforehand and one over padded batches take turns, epoch by epoch; processor time is counted.

A gate's mask comes after the softmax (Rec-Denoiser, eq. 5), which needs every score: what a closed cell could spare
is its part of the product with the values alone. Over the time of a use of the network stand, of both layers together:
that product as it is, which is the most that skipping could save; the same as products of sparse matrices, at several
shares of open cells, the making of these included and left out; and the attention, as where a gate has closed it all.
"""

import argparse
import functools
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.ranking import random_log
from benchmarks.result import write
from benchmarks.training import sides_of
from models.catalogue import build
from models.config import ModelConfig
from models.engine.batches import windows
from models.networks.attention import SelfAttention, split_heads

ITEMS = 3000
BATCHES = 3
OPEN_SHARES = (0.5, 0.1, 0.01)


def main() -> None:
    """Measure, print tables, and write JSON where asked."""
    options = _options()
    torch.set_num_threads(options.threads)
    lengths = [int(length) for length in options.lengths.split(",")]
    rates = {length: _rates(length, options) for length in lengths}
    used = {length: _used(length, options) for length in lengths}
    for length in lengths:
        told = "  ".join(f"{name} {rate:9,.0f}" for name, rate in rates[length].items())
        print(f"length {length:5}  positions a processor second: {told}")
    for length in lengths:
        print(
            f"length {length:5}  over a use: "
            + "  ".join(f"{name} {share:.2f}" for name, share in used[length].items())
        )
    result = {
        "positions_of_a_batch": options.positions,
        "threads": options.threads,
        "rounds": options.rounds,
        "positions_per_processor_second": rates,
        "time_of_a_use": used,
    }
    write(options.json, result)


def _rates(length: int, options: argparse.Namespace) -> dict[str, float]:
    """Of each side, the median over rounds."""
    size = max(options.positions // length, 1)
    log = random_log(ITEMS, size * BATCHES, events=length + 3)
    sides = sides_of(log, ModelConfig(length=length), torch.device("cpu"), batch_size=size)
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(options.rounds + 1):
        for name, (epoch, _) in sides.items():
            started = time.process_time()
            positions = epoch()
            rates[name].append(positions / (time.process_time() - started))
    return {name: statistics.median(values[1:]) for name, values in rates.items()}


def _used(length: int, options: argparse.Namespace) -> dict[str, float]:
    """Times over that of a query, medians of turns."""
    count = max(options.positions // length, 1)
    log = random_log(ITEMS, count, events=length + 3)
    targets = log.targets["test"]
    batch = windows(log.sequences, targets.users, targets.histories, length=length, with_targets=False)
    config = ModelConfig(length=length)
    model = build(config, ITEMS, seed=1)
    hidden = torch.randn(count, length, config.dim)
    layer = next(module for module in model.modules() if isinstance(module, SelfAttention))
    values = split_heads(hidden, config.heads).flatten(0, 1).contiguous()
    masked = {
        share: torch.rand(len(values), length, length).tril() * (torch.rand(length, length) < share)
        for share in OPEN_SHARES
    }
    ready = {share: [each.to_sparse_csr() for each in cells] for share, cells in masked.items()}
    dense = masked[OPEN_SHARES[0]]
    ways: dict[str, Callable[[], Any]] = {
        "use": lambda: model.query(batch),
        "attention": lambda: layer(hidden, hidden, batch=batch, dropout=None, gate=None),
        "product": lambda: dense @ values,
    }
    for share in OPEN_SHARES:
        ways[f"sparse product, {share:.0%} open"] = functools.partial(_made_and_multiplied, masked[share], values)
        ways[f"sparse product, {share:.0%} open, made before"] = functools.partial(_multiplied, ready[share], values)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    with torch.inference_mode():
        for _ in range(options.rounds + 2):
            for name, way in ways.items():
                started = time.process_time()
                way()
                seconds[name].append(time.process_time() - started)
    use = seconds.pop("use")[1:]
    return {
        name: config.blocks * statistics.median(own / whole for own, whole in zip(taken[1:], use, strict=True))
        for name, taken in seconds.items()
    }


def _made_and_multiplied(cells: Tensor, values: Tensor) -> list[Tensor]:
    return _multiplied([each.to_sparse_csr() for each in cells], values)


def _multiplied(cells: list[Tensor], values: Tensor) -> list[Tensor]:
    return [each @ value for each, value in zip(cells, values, strict=True)]


def _options() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", default="50,100,200,500,1000", help="with commas")
    parser.add_argument("--positions", type=int, default=6400, help="of a batch")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", help="file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
