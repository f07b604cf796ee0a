"""A study on a machine that has Python, torch and numpy and nothing of this project, such as a rented GPU.

    .venv/bin/python -m benchmarks.bare pack studies/published.yaml --out packed      # here
    cd packed && python -m benchmarks.bare run . --device cuda --json published.json  # there, with the folder copied

`pack` reads the study, prepares, corrupts and filters its logs and lays them down as arrays, beside `models/` and this
file. `run` trains and ranks the cells, so many at a time (`--side-by-side`), each in a process of its own, or, on a
GPU, those that differ in nothing but their logs and seeds as one stacked model (`--stacked`, `models.group`); where
that fails, each of them goes on alone. Given again, it goes on: at the epoch where a training was interrupted, and past
the cells that are done. A cell that fails is told in the result and takes no other with it. The result has of each cell
its settings, test and validation metrics, curve and seconds, the cells that it was stacked with, and the snapshots'
digests; it is what `studies/results/` keeps.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.result import write
from models.config import AT_MOST_STACKED, FULL_PRECISION, PRECISIONS, ModelConfig, TrainingConfig
from models.engine import offers
from models.engine.metrics import SELECTION_METRIC, summary

ROOT = Path(__file__).resolve().parents[1]
CARRIED = (
    "__init__",
    "bare",
    "denoising",
    "gpu",
    "logs",
    "losses",
    "ranking",
    "replicas",
    "result",
    "taken",
    "training",
)
"""The modules beside this one that are packed: all that is measured on such a machine (`benchmarks.gpu`)."""
CELLS_FILE = "cells.json"
RESULT_FILE = "result.json"
RANKS_FILE = "ranks.npz"
KEPT = (
    "best_epoch",
    "epochs",
    "seconds",
    "parameters",
    "users",
    "positions",
    "collapsed",
    "device",
    "threads",
    "group",
    "compiled",
    "precision",
)


def main() -> None:
    """Pack or run."""
    options = _options()
    if options.action == "pack":
        pack(options.study, options.set, Path(options.out))
    else:
        sys.exit(run(Path(options.folder), options))


def pack(file: str, overrides: list[str], out: Path) -> None:
    """Everything that the cells of a study need, in a new folder."""
    from tasks.corrupt import corrupt
    from tasks.data_specs import CorruptSpec, FilterSpec, PrepareSpec, SourceSpec
    from tasks.filter import filtered
    from tasks.home import Home
    from tasks.ingest import ingest
    from tasks.plan import corruptions
    from tasks.sequences import export_log
    from tasks.snapshots import Snapshot
    from tasks.sources.source import obtain_log
    from tasks.study.expand import read_study
    from tasks.study.files import located

    study, home = read_study(located(file), overrides), Home.from_environment()
    logs = out / "logs"
    logs.mkdir(parents=True)
    cells, snapshots = [], {}

    @cache
    def clean_log(source: SourceSpec, prepare: PrepareSpec) -> Snapshot:
        return ingest(obtain_log(source, home=home), prepare, home=home)

    @cache
    def made(source: SourceSpec, prepare: PrepareSpec, put_in: CorruptSpec, left_out: FilterSpec) -> Snapshot:
        return filtered(corrupt(clean_log(source, prepare), put_in, home=home), left_out, home=home)

    def laid_down(snapshot: Snapshot) -> str:
        if snapshot.name not in snapshots:
            shutil.copyfile(export_log(snapshot, home=home), logs / f"{snapshot.name}.npz")
            snapshots[snapshot.name] = {"digest": snapshot.digest, **snapshot.counts.model_dump()}
        return f"logs/{snapshot.name}.npz"

    for cell in study.cells:
        spec = cell.spec
        trained_on, histories = (
            made(spec.source, spec.prepare, put_in, spec.filter) for put_in in corruptions(spec.noise)
        )
        cells.append(
            {
                "label": cell.label,
                "axes": dict(cell.axes),
                "dataset": spec.dataset,
                "method": spec.method,
                "noise": spec.noise.model_dump(),
                "filter": spec.filter.model_dump(),
                "log": laid_down(trained_on),
                "histories": laid_down(histories),
                "clean": laid_down(clean_log(spec.source, spec.prepare)),
                "model": spec.model.to_dict(),
                "effective": spec.model.effective(),
                "training": spec.training.to_dict(),
                "seed": spec.seed,
                "evaluation_seed": spec.evaluation_seed,
            }
        )
    content = {"study": study.spec.name, "question": study.spec.question, "set": overrides}
    (out / CELLS_FILE).write_text(json.dumps(content | {"snapshots": snapshots, "cells": cells}, indent=1) + "\n")
    shutil.copytree(ROOT / "models", out / "models", ignore=shutil.ignore_patterns("__pycache__"))
    (out / "benchmarks").mkdir()
    for name in CARRIED:
        shutil.copyfile(ROOT / "benchmarks" / f"{name}.py", out / "benchmarks" / f"{name}.py")
    print(f"{out}: {len(cells)} cells, {len(snapshots)} logs")


def run(folder: Path, options: argparse.Namespace) -> int:
    """Every cell of a packed folder, and the result where one is asked for, written anew as each cell ends; exit
    status, 1 where a cell failed.
    """
    packed = json.loads((folder / CELLS_FILE).read_text(encoding="utf-8"))
    cells = packed.pop("cells")
    done: dict[int, dict[str, Any]] = {}
    telling = threading.Lock()
    execution = {
        "command": " ".join(["python -m benchmarks.bare", *sys.argv[1:]]),
        "device": options.device,
        "side_by_side": options.side_by_side,
        "threads": options.threads,
        "stacked": options.stacked,
        "compiled": options.compile,
        "precision": options.precision,
    }

    def together(numbers: tuple[int, ...]) -> None:
        if len(numbers) > 1:
            try:
                _group(folder, {number: cells[number] for number in numbers}, options)
            except RuntimeError as error:
                print(f"{len(numbers)} cells were not stacked to the end and go on alone: {error}", flush=True)
        for number in numbers:
            one(number)

    def one(number: int) -> None:
        try:
            outcome = _cell(folder, number, cells[number], options)
        except RuntimeError as error:
            outcome = {"status": "failed", "failure": str(error)}
        told = {name: value for name, value in cells[number].items() if name != "model"}
        with telling:
            done[number] = told | outcome
            print(f"{cells[number]['label']}: {_in_short(outcome)}", flush=True)
            result = packed | {"execution": execution, "cells": [done[each] for each in sorted(done)]}
            write(options.json, result, options.device)

    with ThreadPoolExecutor(options.side_by_side) as pool:
        list(pool.map(together, groups(folder, cells, most=options.stacked)))
    return int(any(outcome["status"] == "failed" for outcome in done.values()))


def groups(folder: Path, cells: list[dict[str, Any]], *, most: int) -> list[tuple[int, ...]]:
    """The cells' numbers, at most so many together: those that can be stacked, and differ in log and seed alone."""

    @cache
    def trainable(log: str) -> int:
        with np.load(folder / log, allow_pickle=False) as stored:
            return int((stored["train_lengths"] > 1).sum())

    alike: dict[str, list[int]] = {}
    for number, cell in enumerate(cells):
        try:
            stackable = ModelConfig.from_dict(cell["model"]).can_be_stacked and _moves_all_rows(folder, cell)
        except ValueError:
            stackable = False  # its own training says what is wrong with it
        kind = [cell[name] for name in ("effective", "training", "clean")]
        alike.setdefault(json.dumps([*kind, trainable(cell["log"])] if stackable else number), []).append(number)
    return [
        tuple(numbers[start : start + most]) for numbers in alike.values() for start in range(0, len(numbers), most)
    ]


def _group(folder: Path, cells: dict[int, dict[str, Any]], options: argparse.Namespace) -> None:
    """Train cells as one stacked model, those that are not trained yet, and rank with those that came to an end and
    are not ranked yet. Raises `RuntimeError`.
    """
    places = {number: _place(folder, number) for number in cells}
    first = places[min(places)]
    trainings = [_training(folder, cell, places[number]) for number, cell in cells.items()]
    if not all(_trained(place) for place in places.values()):
        _worker(folder, "models.group", "train", _common(options) | {"cells": trainings, "seconds": None}, first)
    rankings = [
        _ranking(folder, cell, places[number])
        for number, cell in cells.items()
        if _trained(places[number]) and not (places[number] / RANKS_FILE).exists()
    ]
    if rankings:
        _worker(folder, "models.group", "rank", _common(options) | {"cells": rankings}, first)


def _cell(folder: Path, number: int, cell: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Train and rank what is not yet, and tell of it. Raises `RuntimeError`."""
    place = _place(folder, number)
    if not _trained(place):
        compiled = options.compile and _can_be_compiled(folder, cell, options.device)
        request = _common(options) | _training(folder, cell, place) | {"seconds": None, "compiled": compiled}
        _worker(folder, "models", "train", request, place)
    if not (place / RANKS_FILE).exists():
        _worker(folder, "models", "rank", _common(options) | _ranking(folder, cell, place), place)
    return _outcome(place)


def _can_be_compiled(folder: Path, cell: dict[str, Any], device: str) -> bool:
    try:
        return ModelConfig.from_dict(cell["model"]).can_be_compiled(device) and _moves_all_rows(folder, cell)
    except ValueError:
        return False  # its own training says what is wrong with it


def _moves_all_rows(folder: Path, cell: dict[str, Any]) -> bool:
    """Does a step of the cell's training update its whole item table? Otherwise it is neither stacked nor compiled.

    Raises `ValueError` where its settings make no sense.
    """
    with np.load(folder / cell["log"], allow_pickle=False) as stored:
        items = int(stored["item_count"])
    possible = not ModelConfig.from_dict(cell["model"]).reads_whole_table
    return not TrainingConfig.from_dict(cell["training"]).touches_rows(items, possible=possible)


def _place(folder: Path, number: int) -> Path:
    place = (folder / "done" / f"{number:03}").resolve()
    place.mkdir(parents=True, exist_ok=True)
    return place


def _trained(place: Path) -> bool:
    return (place / RESULT_FILE).exists()


def _common(options: argparse.Namespace) -> dict[str, Any]:
    common = {"device": options.device, "threads": options.threads, "precision": options.precision}
    return common | {"ends_with_parent": True}


def _training(folder: Path, cell: dict[str, Any], place: Path) -> dict[str, Any]:
    settings = {name: cell[name] for name in ("model", "training", "seed", "evaluation_seed")}
    return settings | _files(folder, cell, "log") | {"folder": str(place)}


def _ranking(folder: Path, cell: dict[str, Any], place: Path) -> dict[str, Any]:
    told = {"folder": str(place), "out": str(place / RANKS_FILE), "evaluation_seed": cell["evaluation_seed"]}
    return told | _files(folder, cell, "histories") | {"trained_on": _files(folder, cell, "log")["log"]}


def _files(folder: Path, cell: dict[str, Any], log: str) -> dict[str, str]:
    return {"log": str((folder / cell[log]).resolve()), "clean": str((folder / cell["clean"]).resolve())}


def _outcome(place: Path) -> dict[str, Any]:
    """What a cell that is trained and ranked came to."""
    result = json.loads((place / RESULT_FILE).read_text(encoding="utf-8"))
    with np.load(place / RANKS_FILE) as stored:
        metrics = {
            name: value
            for split in ("validation", "test")
            for name, value in summary(
                {name.removeprefix(f"{split}_"): stored[name] for name in stored.files if name.startswith(split)}, split
            ).items()
        }
        metrics |= offers.summary(stored["lists"], stored["self_information"])
    curve = [
        (epoch["epoch"], epoch["metrics"][SELECTION_METRIC])
        for epoch in result["history"]
        if SELECTION_METRIC in epoch["metrics"]
    ]
    return {"status": "done", **{name: result[name] for name in KEPT}, "metrics": metrics, "curve": curve}


def _worker(folder: Path, program: str, verb: str, request: dict[str, Any], place: Path) -> None:
    """`python -m PROGRAM VERB`, from the packed folder's own code. Raises `RuntimeError` with why it failed."""
    path = place / f"{program}.{verb}.json"
    path.write_text(json.dumps(request), encoding="utf-8")
    ended = subprocess.Popen(
        [sys.executable, "-m", program, verb, str(path)],
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    said, complaint = _heard(ended)
    if ended.returncode:
        raise RuntimeError(_why(said, complaint, status=ended.returncode))


def environment(folder: Path) -> dict[str, str]:
    """In which a packed folder's own code runs, and no other."""
    return os.environ | {"PYTHONPATH": str(folder.resolve())}


def _heard(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """What a worker said to its end. Its standard input stays open meanwhile, by which it knows that we live."""
    assert process.stdout is not None
    assert process.stderr is not None
    with ThreadPoolExecutor(1) as pool:
        complaint = pool.submit(process.stderr.read)
        said = process.stdout.read()
        process.wait()
        return said, complaint.result()


def _why(said: str, complaint: str, *, status: int) -> str:
    """What a worker that failed with this status said was wrong, where it did; or the last that it complained of, and
    where it was killed, that.
    """
    for line in said.splitlines():  # between which libraries may have said something, too
        if line.startswith('{"event": "error"'):
            return str(json.loads(line)["message"])
    complaints = complaint.strip().splitlines()
    if status < 0 or not complaints:
        return f"it was ended from outside, with the status {status}: by the system, for want of memory, perhaps"
    return complaints[-1]


def _in_short(outcome: dict[str, Any]) -> str:
    if outcome["status"] == "failed":
        return f"failed: {outcome['failure']}"
    metrics = outcome["metrics"]
    full, sampled = metrics["test.full_unseen.ndcg_at_10"], metrics["test.sampled100.hit_at_10"]
    return (
        f"NDCG@10 {full:.4f}, s100 Hit@10 {sampled:.4f}, {outcome['epochs']} epochs, best {outcome['best_epoch']}, "
        f"{outcome['seconds']:.0f} s"
    )


def _options() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(dest="action", required=True)
    packing = actions.add_parser("pack")
    packing.add_argument("study", help="a study's file, or the name of a shipped one")
    packing.add_argument("--set", action="append", default=[], metavar="A.B=C", help="as of `rec-denoiser study`")
    packing.add_argument("--out", required=True, help="a new folder")
    running = actions.add_parser("run")
    running.add_argument("folder", help="a packed folder")
    running.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    running.add_argument("--threads", type=int, default=1, help="of each training")
    running.add_argument("--side-by-side", type=int, default=1, help="trainings at a time")
    running.add_argument(
        "--stacked", type=int, help="as one model, at most (default: 32 on cuda; 1, each alone, on cpu)"
    )
    running.add_argument(
        "--compile", action="store_true", help="steps where a model allows it, each training alone (torch.compile)"
    )
    running.add_argument(
        "--precision", default=FULL_PRECISION, choices=PRECISIONS, help="of products of matrices in training"
    )
    running.add_argument("--json", help="file for the result")
    options = parser.parse_args()
    if options.action == "run" and options.stacked is None:
        options.stacked = 1 if options.compile else AT_MOST_STACKED[options.device]
    if options.action == "run" and options.compile and options.stacked > 1:
        parser.error("compiled trainings run each alone: leave --stacked out, or --compile")
    return options


if __name__ == "__main__":
    main()
