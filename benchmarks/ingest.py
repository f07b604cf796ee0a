"""What a log of 20 million interactions costs to prepare: ours beside bare DuckDB statements and pandas.

    .venv/bin/python -m benchmarks.ingest
    .venv/bin/python -m benchmarks.ingest --sides ours --memory 1GB --rounds 1

The log has about MovieLens-20M's shape: users and items by power laws, integer ids, times, ratings; it is generated
once and kept. Each side filters to the 5-core, orders, splits (leave-one-out), encodes and writes Parquet, in a process
of its own, one side after the other in every round. Time and memory are that process's, memory its whole peak. Ours
does more in its time: it checks every row, and takes digests of the log and of what it wrote.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.result import write

USERS, ITEMS = 138_493, 26_744
CORE = 5
SEED = 20
FIGURES = ("wall_seconds", "cpu_seconds", "peak_bytes")


def main() -> None:
    """Measure, print a table, and write JSON where asked; or be one side's process."""
    options = _options()
    if options.work:
        sides = {"bare": _bare, "ours": _ours, "pandas": _pandas, "generate": _generate}
        _measured(sides[options.work], options)
        return
    log = options.folder / f"log-{options.rows}-{SEED}.parquet"
    if not log.exists():
        _child("generate", options, log=log, output=log)
    rounds: dict[str, list[dict[str, float]]] = {side: [] for side in options.sides}
    for _ in range(options.rounds):
        for side, found in rounds.items():
            with tempfile.TemporaryDirectory(dir=options.folder) as output:
                found.append(_child(side, options, log=log, output=Path(output)))
    result = {
        "rows": options.rows,
        "threads": options.threads,
        "memory": options.memory,
        "median": {
            side: {figure: statistics.median(one[figure] for one in found) for figure in FIGURES}
            for side, found in rounds.items()
        },
        "rounds": rounds,
    }
    _print(result)
    write(options.json, result)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000_000, help="interactions of the generated log")
    parser.add_argument("--rounds", type=int, default=3, help="how often each side runs; medians are shown")
    parser.add_argument("--threads", type=int, default=2, help="of each side")
    parser.add_argument("--memory", help='what DuckDB may take, of either side that has it, such as "1GB"')
    parser.add_argument("--sides", nargs="+", choices=("bare", "ours", "pandas"), default=["bare", "ours", "pandas"])
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()) / "rec-denoiser-benchmarks", help="keeps the log"
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    for inner in ("--work", "--log", "--output"):
        parser.add_argument(inner, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    return options


def _child(side: str, options: argparse.Namespace, *, log: Path, output: Path) -> dict[str, float]:
    """What one side's own process took."""
    command = [sys.executable, "-m", "benchmarks.ingest", "--work", side, "--log", str(log), "--output", str(output)]
    command += ["--rows", str(options.rows), "--threads", str(options.threads), "--folder", str(options.folder)]
    command += ["--memory", options.memory] if options.memory else []
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _measured(side: Callable[[argparse.Namespace], Callable[[], object]], options: argparse.Namespace) -> None:
    """Run a side and print its figures. What it imports counts for its memory, not for its time."""
    work = side(options)
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    work()
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    unit = 1 if sys.platform == "darwin" else 1024
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps(dict(zip(FIGURES, (wall, cpu, after.ru_maxrss * unit), strict=True))))


def _generate(options: argparse.Namespace) -> Callable[[], object]:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    def work() -> None:
        rng = np.random.default_rng(SEED)
        users = max(1, round(USERS * options.rows / 20_000_000))
        activity = rng.pareto(1.2, users) + 0.3
        user = np.repeat(np.arange(users), rng.multinomial(options.rows, activity / activity.sum()))
        popularity = 1.0 / (np.arange(ITEMS) + 20.0) ** 1.3
        item = rng.permutation(ITEMS)[
            np.searchsorted(np.cumsum(popularity / popularity.sum())[:-1], rng.random(len(user)))
        ]
        joined = rng.integers(789_652_009, 1_400_000_000, users)
        columns = {
            "userId": user + 1,
            "movieId": item * 5 + 1,
            "rating": rng.integers(1, 11, len(user)) / 2,
            "timestamp": joined[user] + rng.integers(0, 20_000_000, len(user)),
        }
        partial = Path(options.output).with_suffix(".partial")
        pq.write_table(pa.table(columns), partial, row_group_size=1_000_000)
        partial.rename(options.output)

    return work


def _ours(options: argparse.Namespace) -> Callable[[], object]:
    os.environ["REC_DENOISER_THREADS"] = str(options.threads)
    if options.memory:
        os.environ["REC_DENOISER_MEMORY"] = options.memory
    from tasks.data_specs import Columns, PrepareSpec, SourceSpec
    from tasks.home import Home
    from tasks.ingest import ingest
    from tasks.sources.source import obtain_log

    home = Home(Path(options.output))
    columns = Columns(user="userId", item="movieId", time="timestamp")
    prepare = PrepareSpec(user_core=CORE, item_core=CORE)
    return lambda: ingest(obtain_log(SourceSpec(path=options.log, columns=columns), home=home), prepare, home=home)


def _bare(options: argparse.Namespace) -> Callable[[], object]:
    import duckdb

    connection = duckdb.connect(config={"threads": options.threads, "temp_directory": f"{options.output}/spill"})
    if options.memory:
        connection.execute(f"SET memory_limit = '{options.memory}'")
    statements = Path(__file__).with_name("ingest.sql").read_text(encoding="utf-8").split(";\n")
    texts = [text.format(log=options.log, output=options.output, core=CORE) for text in statements]
    load, filtering, *rest = texts

    def work() -> None:
        connection.execute(load)
        left = -1
        while left != (left := connection.sql("SELECT count(*) FROM events").fetchall()[0][0]):
            connection.execute(filtering)
        for text in rest:
            connection.execute(text)

    return work


def _pandas(options: argparse.Namespace) -> Callable[[], object]:
    import pandas as pd
    import pyarrow as pa

    pa.set_cpu_count(options.threads)

    def work() -> None:
        events = pd.read_parquet(options.log, columns=["userId", "movieId", "timestamp"])
        left = -1
        while left != (left := len(events)):
            for column in ("userId", "movieId"):
                counts = events[column].value_counts()
                events = events[events[column].isin(counts.index[counts >= CORE])]
        events = events.sort_values(["userId", "timestamp"], kind="stable", ignore_index=True)
        user, user_ids = pd.factorize(events["userId"], sort=True)
        item, item_ids = pd.factorize(events["movieId"], sort=True)
        interactions = pd.DataFrame(
            {"user": user.astype("int32"), "item": (item + 1).astype("int32"), "time": events["timestamp"] * 1_000_000}
        )
        del events, user, item
        by_user = interactions.groupby("user")
        interactions["position"] = by_user.cumcount().astype("int32")
        events_of = by_user.size()
        left_after = interactions["user"].map(events_of) - interactions["position"]
        targets = interactions[(left_after <= 2) & (interactions["user"].map(events_of) >= 3)]
        targets = targets.assign(split=left_after.map({1: "test", 2: "validation"}))
        users = pd.DataFrame({"user_id": user_ids, "train_length": (events_of - 2).where(events_of >= 3, events_of)})
        for name, table in {
            "interactions": interactions,
            "targets": targets.sort_values(["split", "user"]),
            "users": users,
            "items": pd.DataFrame({"item_id": item_ids}),
        }.items():
            table.to_parquet(f"{options.output}/{name}.parquet")

    return work


def _print(result: dict[str, Any]) -> None:
    base = result["median"].get("bare")
    print(f"{result['rows']:,} interactions, {result['threads']} threads, memory {result['memory'] or 'as it comes'}")
    print(f"{'':8}{'wall s':>10}{'CPU s':>10}{'peak GB':>10}   (times the bare statements')")
    for side, found in result["median"].items():
        wall, cpu, peak = (found[figure] for figure in FIGURES)
        ratios = " / ".join(f"{found[figure] / base[figure]:.2f}" for figure in FIGURES) if base else ""
        print(f"{side:8}{wall:10.1f}{cpu:10.1f}{peak / 1e9:10.2f}   {ratios}")


if __name__ == "__main__":
    main()
