"""What logging to MLflow takes of a training's time.

    .venv/bin/python -m benchmarks.logging
    .venv/bin/python -m benchmarks.logging --source ../shared/data/ml-100k.parquet --order-col position --rounds 5

The same training with and without tracking, in turn: with it, a run is opened and described, its curves are written as
it trains, the process is watched, and figures, ranks and plots are logged at the end. The medians differ by whatever
else the machine does meanwhile, so the time inside the tracker's calls is measured too: on one core that is the cost.
Processor seconds, child processes' included, stand beside those of the clock; much of the rest is waiting for the disk.
The first round, which finds the process as a job's first training does, is in the medians and is told apart too.
"""

import argparse
import os
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.result import write
from benchmarks.taken import Taken, now, taken_by
from tasks.data_specs import Columns, PrepareSpec, SourceSpec
from tasks.evaluate import Evaluated, evaluate, evaluation_folder
from tasks.execution import Execution
from tasks.home import Home
from tasks.ingest import ingest
from tasks.job import Heading, Job, record, tracked_job
from tasks.leases import lease
from tasks.machine import resolve
from tasks.plan import Cell, Data, plan
from tasks.sources.source import obtain_log
from tasks.specs import CellSpec, ExecutionSpec, default_training, named_method
from tasks.track import Tracker
from tasks.train import Trained, train
from tasks.watching import SYSTEM_FILE, watched
from tasks.workers import EPOCH, Hear, Watch, unheard, unwatched

BOUND = 0.02


@dataclass
class Clock:
    """What the calls that were timed took."""

    taken: Taken = field(default_factory=Taken)

    def timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            before = now()
            try:
                return call(*arguments, **options)
            finally:
                self.taken += now() - before

        return run


def main() -> None:
    """Measure, print, and write JSON where asked."""
    options = _options()
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # as flows have it
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
            whole, spent = _tracked(cell, execution, ranked, number, home)
            tracked.append(whole)
            logging.append(spent)
            bare.append(taken_by(partial(_bare, cell, execution, number, home)))
    sides = {"with tracking": tracked, "without": bare, "in the tracker's calls": logging}
    medians = {name: _median(rounds) for name, rounds in sides.items()}
    first, whole, spent = logging[0], medians["without"], medians["in the tracker's calls"]
    shares = {
        "wall": spent.wall / whole.wall,
        "processor": spent.processor / whole.processor,
        "wall, first round": first.wall / whole.wall,
        "processor, first round": first.processor / whole.processor,
    }
    result = {
        "source": options.source or "shoppers",
        "method": options.method,
        "execution": execution.to_dict(),
        "rounds": options.rounds,
        "seconds": {name: [vars(each) for each in rounds] for name, rounds in sides.items()},
        "medians": {name: vars(each) for name, each in medians.items()},
        "added_share": statistics.median(a.wall / b.wall for a, b in zip(tracked, bare, strict=True)) - 1,
        "logging_share": shares,
        "bound": BOUND,
    }
    for name, each in [*medians.items(), ("the same, first round", first)]:
        print(f"{name:24} {each.wall:8.3f} s on the clock {each.processor:8.3f} s of processors")
    print(f"with tracking over without {result['added_share']:+.2%} on the clock, median of the pairs")
    told = ", ".join(f"{share:.2%} ({name})" for name, share in shares.items())
    print(f"in the tracker's calls, of a training: {told}; bound {BOUND:.0%}")
    write(options.json, result)


def _median(rounds: list[Taken]) -> Taken:
    return Taken(statistics.median(each.wall for each in rounds), statistics.median(each.processor for each in rounds))


def _rank_once(cell: Cell, execution: Execution, home: Home) -> Evaluated:
    """The ranks that every tracked round logs."""
    trained = _train(cell, execution, home.steps / "first", home, watch=unwatched)
    folder = evaluation_folder(cell.evaluate_key, home=home)
    return evaluate(
        trained, cell.histories, cell.clean, trained_on=cell.snapshot,
        evaluation_seed=0, execution=execution, folder=folder, home=home,
    )  # fmt: skip


def _bare(cell: Cell, execution: Execution, number: int, home: Home) -> None:
    _train(cell, execution, home.steps / f"bare-{number}", home, watch=unwatched)


def _tracked(cell: Cell, execution: Execution, ranked: Evaluated, number: int, home: Home) -> tuple[Taken, Taken]:
    """What the training with all its logging took, and of that what the logging's calls did."""
    clock = Clock()
    folder = home.steps / f"tracked-{number}"
    heading = Heading(study="benchmark", name=f"round {number}", note="", spec="{}", identity=(str(number),))
    started = now()
    with lease(home=home) as held:
        opened = tracked_job((cell,), heading, execution=execution, flow_run="none", held=held, home=home)
        job: Job = clock.timed(opened.__enter__)()
        with job.tracker.curves(job.children[0], warn=print) as curves:
            told = clock.timed(curves)
            trained = _train(
                cell, execution, folder, home, hear=lambda event, about: told(about) if event == EPOCH else None,
                watch=lambda pid: watched(pid, folder / SYSTEM_FILE, device=execution.device),
            )  # fmt: skip
            left = now()
        clock.taken += now() - left
        clock.timed(record)(job, 0, trained, ranked)
        clock.timed(opened.__exit__)(None, None, None)
    return now() - started, clock.taken


def _train(
    cell: Cell, execution: Execution, folder: Path, home: Home, *, hear: Hear = unheard, watch: Watch
) -> Trained:
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
        hear=hear,
        watch=watch,
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
