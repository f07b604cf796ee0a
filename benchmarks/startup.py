"""What has to be waited for before anything is computed: commands, flows, and what a training costs beside its epochs.

    .venv/bin/python -m benchmarks.startup --source ../shared/data/ml-1m.parquet --order-col position

Each figure is of a process of its own, or of a call in a fresh home. Processor seconds, those of child processes
included, stand beside those of the clock: on a busy machine the clock counts what others do. The first flow of a home
makes Prefect's database, and the first training MLflow's; listing snapshots fails here if it imports torch, and the
first after something was registered asks MLflow who uses them. The parts of a training's
fixed cost are those of one training that is logged and registered; its process is measured with one epoch and with two,
of which the difference is an epoch with its validation, and what is left of the first is the process's own.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.result import write
from benchmarks.taken import Taken, now, taken_by
from tasks.data_specs import Columns, PrepareSpec, SourceSpec
from tasks.evaluate import evaluate, evaluation_folder
from tasks.execution import Execution
from tasks.home import HOME_VARIABLE, Home
from tasks.ingest import ingest
from tasks.job import Heading, record, tracked_job
from tasks.leases import lease
from tasks.machine import resolve
from tasks.plan import Cell, Data, plan
from tasks.register import register
from tasks.sequences import export_log
from tasks.sources.source import obtain_log
from tasks.specs import CellSpec, ExecutionSpec, default_training, named_method
from tasks.track import Tracker
from tasks.train import Trained, train

HELP = "import sys; sys.argv = ['rec-denoiser', '--help']; from flows.cli import main; main()"
LISTING = "import sys; from flows.cli import main; main(['snapshots']); sys.exit('torch' in sys.modules)"
FLOW = """
from flows.environment import prepare_environment
prepare_environment()
from prefect import flow
from flows.running import follow
follow(flow(lambda: {}, name="nothing"))
"""
ONCE = " (once a job)"
BOUNDS = {"help": 0.5, "flow without a server": 10.0, "training, fixed": 10.0}
"""Seconds."""


def main() -> None:
    """Measure, print a table, and write JSON where asked."""
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        os.environ[HOME_VARIABLE] = folder
        taken = _training_parts(options, home)
        taken["training, fixed"] = sum((each for name, each in taken.items() if ONCE not in name), Taken())
        taken["python alone"] = _process("pass")
        taken["help"] = _process(HELP)
        taken["list snapshots, first"] = _process(LISTING)
        taken["list snapshots, again"] = _process(LISTING)
        taken["flow without a server, first"] = _process(FLOW)
        taken["flow without a server"] = _process(FLOW)
    for name, each in taken.items():
        bound = f"   bound {BOUNDS[name]:g} s" if name in BOUNDS else ""
        print(f"{name:42} {each.wall:7.2f} s on the clock {each.processor:7.2f} s of processors{bound}")
    result = {
        "source": options.source or "shoppers",
        "seconds": {name: vars(each) for name, each in taken.items()},
        "bounds": BOUNDS,
    }
    write(options.json, result)


def _training_parts(options: argparse.Namespace, home: Home) -> dict[str, Taken]:
    """By name, what one training of the log takes beside its epochs, from a snapshot to a registered model."""
    execution = resolve(ExecutionSpec(device="cpu"))
    source = SourceSpec(path=options.source, columns=Columns(order=options.order_col) if options.source else Columns())
    snapshot = ingest(obtain_log(source, home=home), PrepareSpec(), home=home)
    training = replace(default_training(source), epochs=1)
    spec = CellSpec(source=source, method="sasrec-bce", model=named_method("sasrec-bce").model, training=training)
    (cell,) = plan([spec], lambda _: Data(snapshot, snapshot), execution)
    taken = {"training: snapshot read": taken_by(lambda: export_log(snapshot, home=home))}
    one, two = (taken_by(partial(_train, cell, epochs, execution, home)) for epochs in (1, 2))
    taken["training: process, from start to weights"] = one - (two - one)
    trained = Trained(home.steps / "epochs-1")
    folder = evaluation_folder(cell.evaluate_key, home=home)
    ranked = evaluate(
        trained, snapshot, snapshot, trained_on=snapshot,
        evaluation_seed=0, execution=execution, folder=folder, home=home,
    )  # fmt: skip
    heading = Heading(study="benchmark", name="start-up", note="", spec="{}")
    taken[f"training: MLflow imported, database made{ONCE}"] = taken_by(lambda: Tracker(home))
    with lease(home=home) as held, ExitStack() as left:
        opened = tracked_job((cell,), heading, execution=execution, flow_run="none", held=held, home=home)
        before = now()
        job = left.enter_context(opened)
        with job.tracker.curves(job.children[0], warn=print) as curves:
            for epoch in trained.result()["history"]:
                curves(epoch)
        record(job, 0, trained, ranked)
        taken["training: logged"] = now() - before
        taken["training: registered"] = taken_by(
            lambda: register(
                trained, snapshot, clean=snapshot, name="benchmark", run_id=job.children[0], key=cell.train_key,
                value=0.0, decided_on="promotion", ranks=ranked.ranks, tags={}, tracker=job.tracker, home=home,
            )
        )  # fmt: skip
    return taken


def _train(cell: Cell, epochs: int, execution: Execution, home: Home) -> Trained:
    return train(
        cell.snapshot,
        cell.clean,
        cell.model,
        replace(cell.training, epochs=epochs),
        seed=1,
        evaluation_seed=0,
        execution=execution,
        time_limit_minutes=60,
        made_by={},
        folder=home.steps / f"epochs-{epochs}",
        home=home,
    )


def _process(code: str) -> Taken:
    """A Python process that runs `code`; raises `CalledProcessError` where it fails."""
    command = [sys.executable, "-c", code]
    return taken_by(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))


def _options() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", help="a log with user_id and item_id columns (default: generated shoppers)")
    parser.add_argument("--order-col", help="its column of order")
    parser.add_argument("--json", help="file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
