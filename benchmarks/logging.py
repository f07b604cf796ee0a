"""What logging to MLflow takes of a training's time.

    .venv/bin/python -m benchmarks.logging
    .venv/bin/python -m benchmarks.logging --source ../shared/data/ml-100k.parquet --order-col position --rounds 5

The same training with and without tracking, in turn: with it, a run is opened and described, its curves are written as
it trains, the process is watched, and figures, ranks and plots are logged at the end. The medians differ by whatever
else the machine does meanwhile, so the time inside the tracker's calls is measured too: on one core that is the cost.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.evaluate import Evaluated, evaluate, evaluation_folder
from tasks.execution import Execution, resolve
from tasks.home import Home
from tasks.ingest import ingest
from tasks.job import Heading, Job, record, tracked_job
from tasks.leases import lease
from tasks.plan import Cell, Data, plan
from tasks.sources.source import obtain_log
from tasks.specs import CellSpec, Columns, ExecutionSpec, PrepareSpec, SourceSpec, default_training, named_method
from tasks.track import Tracker
from tasks.train import Trained, train
from tasks.watching import SYSTEM_FILE, watched
from tasks.workers import unwatched

BOUND = 0.02


@dataclass
class Clock:
    """Seconds inside the calls that were timed."""

    seconds: float = 0.0

    def timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            started = time.perf_counter()
            try:
                return call(*arguments, **options)
            finally:
                self.seconds += time.perf_counter() - started

        return run


def main() -> None:
    """Measure, print, and write JSON where asked."""
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        execution = resolve(ExecutionSpec(device="cpu"))
        source = SourceSpec(
            path=options.source, columns=Columns(order=options.order_col) if options.source else Columns()
        )
        snapshot = ingest(obtain_log(source, home=home), PrepareSpec(), home=home)
        spec = CellSpec(source=source, method=options.method, model=named_method(options.method).model,
                        training=default_training(source))  # fmt: skip
        (cell,) = plan([spec], lambda _: Data(snapshot, snapshot), execution)
        ranked = _rank_once(cell, execution, home)
        Tracker(home)
        tracked, bare, logging = [], [], []
        for number in range(options.rounds):
            seconds, spent = _tracked(cell, execution, ranked, number, home)
            tracked.append(seconds)
            logging.append(spent)
            bare.append(_bare(cell, execution, number, home))
    share = statistics.median(logging) / statistics.median(bare)
    result = {
        "source": options.source or "shoppers",
        "method": options.method,
        "execution": execution.to_dict(),
        "rounds": options.rounds,
        "seconds": {"with tracking": tracked, "without": bare, "in the tracker's calls": logging},
        "medians": {"with tracking": statistics.median(tracked), "without": statistics.median(bare)},
        "added_share": statistics.median(a / b for a, b in zip(tracked, bare, strict=True)) - 1,
        "logging_share": share,
        "bound": BOUND,
    }
    print(f"without tracking   {statistics.median(bare):8.2f} s  (median of {options.rounds})")
    print(
        f"with tracking      {statistics.median(tracked):8.2f} s  ({result['added_share']:+.2%}, median of the pairs)"
    )
    print(f"in its calls       {statistics.median(logging):8.3f} s  ({share:.2%} of a training; bound {BOUND:.0%})")
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _rank_once(cell: Cell, execution: Execution, home: Home) -> Evaluated:
    """The ranks that every tracked round logs."""
    trained = _train(cell, execution, home.steps / "first", home, on_epoch=lambda _: None, watch=unwatched)
    folder = evaluation_folder(cell.evaluate_key, home=home)
    return evaluate(
        trained, cell.histories, cell.clean, evaluation_seed=0, execution=execution, folder=folder, home=home
    )


def _bare(cell: Cell, execution: Execution, number: int, home: Home) -> float:
    started = time.perf_counter()
    _train(cell, execution, home.steps / f"bare-{number}", home, on_epoch=lambda _: None, watch=unwatched)
    return time.perf_counter() - started


def _tracked(cell: Cell, execution: Execution, ranked: Evaluated, number: int, home: Home) -> tuple[float, float]:
    """Seconds of the training with all its logging, and of those the seconds in the logging's calls."""
    clock = Clock()
    folder = home.steps / f"tracked-{number}"
    heading = Heading(study="benchmark", name=f"round {number}", note="", spec="{}", identity=(str(number),))
    started = time.perf_counter()
    with lease(home=home) as held:
        opened = tracked_job((cell,), heading, execution=execution, flow_run="none", held=held, home=home)
        job: Job = clock.timed(opened.__enter__)()
        with job.tracker.curves(job.children[0]) as curves:
            trained = _train(
                cell, execution, folder, home, on_epoch=clock.timed(curves),
                watch=lambda pid: watched(pid, folder / SYSTEM_FILE, device=execution.device),
            )  # fmt: skip
            flushed = time.perf_counter()
        clock.seconds += time.perf_counter() - flushed
        clock.timed(record)(job, 0, trained, ranked)
        clock.timed(opened.__exit__)(None, None, None)
    return time.perf_counter() - started, clock.seconds


def _train(cell: Cell, execution: Execution, folder: Path, home: Home, **heard: Any) -> Trained:
    return train(
        cell.snapshot,
        cell.clean,
        cell.model,
        cell.training,
        seed=1,
        evaluation_seed=0,
        execution=execution,
        time_limit_minutes=240,
        made_by={},
        folder=folder,
        home=home,
        **heard,
    )


def _options() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", help="a log with user_id and item_id columns (default: generated shoppers)")
    parser.add_argument("--order-col", help="its column of order")
    parser.add_argument("--method", default="sasrec-bce", help="of those that `rec-denoiser run` knows")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", help="file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
