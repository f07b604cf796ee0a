"""How much sooner trainings are done side by side, a process of one thread each, than one after another.

    .venv/bin/python -m benchmarks.side_by_side --source ../shared/data/ml-1m.parquet --order-col position

The trainings differ in their seeds and are what a study's cells are: `python -m models train`, from the start of the
process to the weights on disk. The sides take turns; the figure is the median over the turns of the clock's seconds one
after another over those side by side, which only a machine that does nothing else can show: the load before each turn
is told. The weights of either side are compared, and are the same to the bit.
"""

import argparse
import os
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.result import write
from models.description import WEIGHTS_FILE
from tasks.data_specs import Columns, PrepareSpec, SourceSpec
from tasks.home import Home
from tasks.ingest import ingest
from tasks.machine import resolve, usable_cores
from tasks.snapshots import Snapshot
from tasks.sources.source import obtain_log
from tasks.specs import ExecutionSpec, default_training, named_method
from tasks.train import Trained, train


def main() -> None:
    """Measure, print, and write JSON where asked."""
    options = _options()
    columns = Columns(order=options.order_col) if options.order_col else Columns()
    source = SourceSpec(path=options.source, columns=columns)
    sides = {"one after another": 1, "side by side": options.at_a_time}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    loads = []
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        snapshot = ingest(obtain_log(source, home=home), PrepareSpec(), home=home)
        for turn in range(options.rounds):
            loads.append(os.getloadavg()[0])
            weights = []
            for name, at_a_time in sides.items():
                under = home.steps / f"turn-{turn}-{at_a_time}"
                started = time.perf_counter()
                trained = _trained(snapshot, source, options, at_a_time=at_a_time, under=under, home=home)
                seconds[name].append(time.perf_counter() - started)
                weights.append([(each.folder / WEIGHTS_FILE).read_bytes() for each in trained])
            if weights[0] != weights[1]:
                raise SystemExit("a training's weights depend on what runs beside it")
    ratios = [alone / beside for alone, beside in zip(*seconds.values(), strict=True)]
    result = {
        "source": options.source or "shoppers",
        "trainings": options.trainings,
        "epochs": options.epochs,
        "at_a_time": options.at_a_time,
        "load_before_each_turn": loads,
        "seconds": seconds,
        "ratios": ratios,
        "ratio": statistics.median(ratios),
    }
    for name, taken in seconds.items():
        print(f"{name:18} {statistics.median(taken):8.1f} s  (median of {options.rounds})")
    print(f"side by side is done {result['ratio']:.2f} times as soon; load before each turn {loads}")
    write(options.json, result)


def _trained(
    snapshot: Snapshot, source: SourceSpec, options: argparse.Namespace, *, at_a_time: int, under: Path, home: Home
) -> list[Trained]:
    """SASRec with BCE, with a seed each, so many at a time."""

    def one(seed: int) -> Trained:
        return train(
            snapshot,
            snapshot,
            named_method("sasrec-bce").model,
            replace(default_training(source), epochs=options.epochs),
            seed=seed,
            evaluation_seed=0,
            execution=resolve(ExecutionSpec(device="cpu", threads=1)),
            time_limit_minutes=240,
            made_by={},
            folder=under / str(seed),
            home=home,
        )

    with ThreadPoolExecutor(at_a_time) as pool:
        return list(pool.map(one, range(options.trainings)))


def _options() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", help="a log with user_id and item_id columns (default: generated shoppers)")
    parser.add_argument("--order-col", help="its column of order")
    parser.add_argument("--trainings", type=int, default=4)
    parser.add_argument("--at-a-time", type=int, default=usable_cores(), help="side by side (default: the cores)")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", help="file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
