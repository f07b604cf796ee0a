"""Positions per second of other libraries' SASRec beside ours, on one log, at the same settings.

    .venv/bin/python -m benchmarks.peers --install
    .venv/bin/python -m benchmarks.peers --source ../shared/data/ml-1m.parquet --order-col position

The first makes each peer's environment in `var/peers/NAME`, from `benchmarks/peers/NAME.txt`; a gigabyte each, to be
deleted by hand. The second has all sides train an epoch in turns, in processes that otherwise wait, and then rank the
validation targets by one rule. What counts as a position is in `benchmarks.peers.side`, what a peer does otherwise than
ours in its file. With one thread seconds are the processor's, which a busy neighbour lengthens less than the clock's.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.peers.side import BATCH, BLOCKS, DIM, DROPOUT, HEADS, LENGTH, Turn
from benchmarks.result import write

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENTS = ROOT / "var" / "peers"
OURS = "ours"
PEERS = ("rectools", "replay", "recbole")
SETTINGS = {"length": LENGTH, "dim": DIM, "blocks": BLOCKS, "heads": HEADS, "dropout": DROPOUT, "batch": BATCH}
ELSEWHERE = ("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_REQUIRE_HASHES", "PYTHONHOME")
"""A machine's settings of pip that would install elsewhere, as in the Makefile."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Install, or measure, print a table, and write JSON where asked."""
    options = _options(arguments)
    peers = tuple(options.peer or PEERS)
    if options.install:
        for name in peers:
            install(name)
        return
    pythons = {name: interpreter(name) for name in (OURS, *peers)}
    with tempfile.TemporaryDirectory() as folder:
        log = _exported(options, Path(folder))
        measured = measure(pythons, log, threads=options.threads, rounds=options.rounds, notes=Path(folder))
    counted = "processor" if options.threads == 1 else "wall"
    sides = summary({name: side.turns for name, side in measured.items()}, counted=counted)
    for name, side in measured.items():
        sides[name] |= {"validation.full_unseen.ndcg_at_10": side.ndcg, "versions": side.versions}
    print(table(sides))
    result = {
        "source": options.source or "shoppers",
        "settings": SETTINGS,
        "rounds": options.rounds,
        "threads": options.threads,
        "seconds_of": counted,
        "sides": sides,
    }
    write(options.json, result)


def install(name: str) -> None:
    """Make a peer's environment anew, with the machine's own settings of pip but those that install elsewhere."""
    folder = ENVIRONMENTS / name
    print(f"Installing {name} into {folder} …", flush=True)
    venv.create(folder, clear=True, with_pip=True)
    variables = {key: value for key, value in os.environ.items() if key not in ELSEWHERE}
    pip = [str(_python(folder)), "-m", "pip", "install", "-qq", "--no-deps", "--no-warn-script-location"]
    subprocess.run([*pip, "-r", str(_requirements(name))], check=True, env=variables)


def interpreter(name: str) -> Path:
    """The Python that runs a side. Ends the process, with a sentence, where a peer is not installed."""
    if name == OURS:
        return Path(sys.executable)
    python = _python(ENVIRONMENTS / name)
    if not python.exists():
        raise SystemExit(
            f"{name} is not installed in {python.parents[1]}: make its environment with "
            f"`python -m benchmarks.peers --install --peer {name}`, or leave it out by naming others with --peer"
        )
    return python


class Process:
    """A side, spoken to line by line."""

    def __init__(self, process: "subprocess.Popen[str]", name: str, notes: Path) -> None:
        self._process, self._name, self._notes = process, name, notes
        self.versions: dict[str, str] = self._answer()["versions"]
        self.turns: list[Turn] = []
        self.ndcg = float("nan")

    def train_an_epoch(self) -> None:
        self.turns.append(Turn(**self._asked("epoch")))

    def rank(self) -> None:
        self.ndcg = self._asked("quality")["ndcg"]

    def _asked(self, line: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        """Ends this process, with what the side last said of itself, where it has ended."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            last = "\n".join(self._notes.read_text(encoding="utf-8").splitlines()[-15:])
            raise SystemExit(f"{self._name} ended before it had answered:\n{last}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def measure(pythons: Mapping[str, Path], log: Path, *, threads: int, rounds: int, notes: Path) -> dict[str, Process]:
    """Each side's turns, taken in turns, and what it reached. What libraries print goes to files in `notes`."""
    with ExitStack() as running:
        sides = {}
        for name, python in pythons.items():
            sides[name] = running.enter_context(_started(name, python, log, threads, notes / f"{name}.txt"))
            print(f"{name} is ready", file=sys.stderr, flush=True)
        for _ in range(rounds):
            for side in sides.values():
                side.train_an_epoch()
        for side in sides.values():
            side.rank()
        return sides


def summary(turns: Mapping[str, Sequence[Turn]], *, counted: str) -> dict[str, dict[str, Any]]:
    """By side: medians of positions a second, by the clock and of processors, and the median over the rounds of how
    many times as fast ours was, by the seconds `counted`.
    """

    def rates(name: str, seconds: str) -> list[float]:
        return [turn.positions / getattr(turn, seconds) for turn in turns[name]]

    return {
        name: {
            "positions_per_processor_second": statistics.median(rates(name, "processor")),
            "positions_per_second": statistics.median(rates(name, "wall")),
            "ours_over": statistics.median(
                ours / theirs for ours, theirs in zip(rates(OURS, counted), rates(name, counted), strict=True)
            ),
            "turns": [asdict(turn) for turn in taken],
        }
        for name, taken in turns.items()
    }


def table(sides: Mapping[str, Mapping[str, Any]]) -> str:
    """A line a side."""
    lines = [
        f"{'':10} {'a processor second':>19} {'a second':>10} {'ours over it':>13} {'positions':>10} {'NDCG@10':>8}"
    ]
    for name, side in sides.items():
        positions = sum(turn["positions"] for turn in side["turns"])
        lines.append(
            f"{name:10} {side['positions_per_processor_second']:19,.0f} {side['positions_per_second']:10,.0f} "
            f"{side['ours_over']:13.2f} {positions:10,} {side['validation.full_unseen.ndcg_at_10']:8.4f}"
        )
    return "\n".join(lines)


@contextmanager
def _started(name: str, python: Path, log: Path, threads: int, notes: Path) -> Iterator[Process]:
    command = [str(python), "-m", f"benchmarks.peers.{name}", str(log.resolve()), str(threads)]
    variables = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
    with (
        notes.open("w", encoding="utf-8") as errors,
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            command,
            cwd=folder,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        try:
            yield Process(process, name, notes)
        finally:
            process.kill()


def _exported(options: argparse.Namespace, folder: Path) -> Path:
    from tasks.data_specs import Columns, PrepareSpec, SourceSpec
    from tasks.home import Home
    from tasks.ingest import ingest
    from tasks.sequences import export_log
    from tasks.sources.source import obtain_log

    home = Home(folder / "home")
    columns = Columns(order=options.order_col) if options.source else Columns()
    source = SourceSpec(path=options.source, columns=columns, format=options.format)
    return export_log(ingest(obtain_log(source, home=home), PrepareSpec(), home=home), home=home)


def _python(folder: Path) -> Path:
    return folder / "bin" / "python"


def _requirements(name: str) -> Path:
    return Path(__file__).with_name(f"{name}.txt")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--install", action="store_true", help="make the peers' environments, and measure nothing")
    parser.add_argument("--peer", action="append", choices=PEERS, help="this one, and others given so (default: all)")
    parser.add_argument("--source", help="a log with user_id and item_id columns (default: generated shoppers)")
    parser.add_argument("--order-col", help="its column of order")
    parser.add_argument("--format", help="of the source, where it does not tell by itself")
    parser.add_argument("--threads", type=int, default=1, help="of each side")
    parser.add_argument("--rounds", type=int, default=3, help="epochs of each side")
    parser.add_argument("--json", help="file for the figures")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
