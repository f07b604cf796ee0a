r"""What is to be measured on a GPU, in one command, on a machine with Python, torch and numpy alone.

    # here: 6 ratios × 5 seeds of MovieLens-1M, and one cell of a log with many items and few events
    .venv/bin/python -m benchmarks.bare pack figure-2 --out packed --set 'axes.method=[sasrec-bce]' \
        --set 'axes.seed=[1, 2, 3, 4, 5]' --set 'include=[{dataset: amazon-video-games-2014, noise.ratio: 0, seed: 1}]'
    # there, with the folder copied
    cd packed && python -m benchmarks.gpu --json gpu.json

First what takes seconds: the training loop beside a bare one and a padded one on each data set, the denoiser's price,
what stacking replicas gains, the losses' steps, ranking, also among a million items. Then what takes minutes: the
packed study itself, and the training loop in lower precision and, last, compiled. Each is another benchmark's command
in a process of its own, and says there what it does and how it counts. One that fails is told and takes no other with
it; so is one for which `--minutes` leaves no time. Given again, with the same `--json`, what is done is not done again,
and the study goes on where it was.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bare import CELLS_FILE, environment
from benchmarks.result import write

DONE = "done"
MILLION = ("--items", "1000000", "--users", "300", "--dim", "64")


@dataclass(frozen=True)
class Step:
    """A benchmark, `python -m MODULE ARGUMENTS`, under a name of its own."""

    name: str
    module: str
    arguments: tuple[str, ...]

    @property
    def command(self) -> str:
        return " ".join(["python -m", self.module, *self.arguments])


def main() -> None:
    """Measure all that there is time for; the result is written anew after each step."""
    options = _options()
    folder = Path(options.folder)
    until = time.monotonic() + 60 * options.minutes
    done = _done(options.json)
    for step in steps(folder, options):
        if done.get(step.name, {}).get("command") == step.command:
            print(f"{step.name}: done before", flush=True)
            continue
        print(f"{step.name}: {step.command}", flush=True)
        done[step.name] = measured(step, folder, seconds=until - time.monotonic())
        print(f"{step.name}: {done[step.name]['status']}", flush=True)
        write(options.json, {"steps": done}, options.device)
    if any(each["status"] != DONE for each in done.values()):
        sys.exit(1)


def steps(folder: Path, options: argparse.Namespace) -> list[Step]:
    """What is measured of a packed folder: what is short first, what may take all the time last."""
    cells = json.loads((folder / CELLS_FILE).read_text(encoding="utf-8"))["cells"]
    logs = {cell["dataset"]: cell["clean"] for cell in cells}
    first = logs[cells[0]["dataset"]]
    on = ("--device", options.device)
    turns, repeated = ("--rounds", str(options.rounds)), ("--steps", str(options.steps))

    def trainings(also: str = "") -> list[Step]:
        """The loop on each data set, one way more to run it beside it."""
        told, asked = (f", {also}", ("--also", also)) if also else ("", ())
        return [
            Step(f"training {name}{told}", "benchmarks.training", ("--log", log, *asked, *turns, *on))
            for name, log in logs.items()
        ]

    return [
        *trainings(),
        Step("denoising", "benchmarks.denoising", ("--log", first, *repeated, *on)),
        Step("replicas", "benchmarks.replicas", ("--packed", ".", *turns, *on)),
        Step("losses", "benchmarks.losses", ("--log", first, *repeated, *on)),
        Step("ranking", "benchmarks.ranking", ("--log", first, "--threads", "1", *turns, *on)),
        Step("ranking, a million items", "benchmarks.ranking", (*MILLION, "--threads", "1", *turns, *on)),
        Step("study", "benchmarks.bare", ("run", ".", *on)),
        *(step for also in options.also.split(",") for step in trainings(also)),
    ]


def measured(step: Step, folder: Path, *, seconds: float) -> dict[str, Any]:
    """What a step came to in so many seconds: its status, and the figures that it has written, whole or in part."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        written = Path(scratch) / "figures.json"
        command = [sys.executable, "-m", step.module, *step.arguments, "--json", str(written)]
        status = _ended(command, folder, seconds=seconds)
        figures = json.loads(written.read_text(encoding="utf-8")) if written.exists() else {}
    figures.pop("machine", None)
    return {"command": step.command, "status": status, "seconds": time.monotonic() - started, "figures": figures}


def _ended(command: list[str], folder: Path, *, seconds: float) -> str:
    """`DONE`, or why not."""
    out_of_time = "out of time"
    if seconds <= 0:
        return out_of_time
    try:
        ended = subprocess.run(
            command, cwd=folder, env=environment(folder), stderr=subprocess.PIPE, text=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        return out_of_time
    if not ended.returncode:
        return DONE
    print(ended.stderr, file=sys.stderr, flush=True)
    complaint = ended.stderr.strip().splitlines()
    return f"failed: {complaint[-1] if complaint else ended.returncode}"


def _done(path: str | None) -> dict[str, dict[str, Any]]:
    """The steps that a result has whole."""
    if path is None or not Path(path).exists():
        return {}
    found = json.loads(Path(path).read_text(encoding="utf-8"))["steps"]
    return {name: step for name, step in found.items() if step["status"] == DONE}


def _options() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", default=".", help="of `benchmarks.bare pack` (default: this one)")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--minutes", type=float, default=30.0, help="for all of it")
    parser.add_argument("--also", default="tf32,bf16,compiled,compiled+bf16", help="as of benchmarks.training")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side")
    parser.add_argument("--steps", type=int, default=20, help="of each loss and each way to denoise")
    parser.add_argument("--json", help="file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
