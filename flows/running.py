"""Flows started from the command line: run, and say what came of it."""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from flows.environment import PREFECT_PORT, bad_input_in, one_sentence_for_bad_input
from tasks.errors import RunFailed
from tasks.home import PROJECT_ROOT, Home
from tasks.specs import IngestSpec, RecommendSpec, RobustnessSpec

MLFLOW_PORT = 5000


def run_job(spec: RobustnessSpec, *, json_path: str | None) -> int:
    """The main job; exit status."""
    from flows.robustness import robustness
    from tasks.compare import Row
    from tasks.report import plain
    from tasks.source import obtain_log

    # A wrong file is said before a server is started for it.
    obtain_log(spec.source, home=Home.from_environment())
    started = time.monotonic()
    outcome = _flow(lambda: robustness(spec))
    seconds = time.monotonic() - started
    rows = [Row(**row) for row in outcome["rows"]]
    registered = outcome["registered"]
    steps = outcome["steps"]
    print(f"\n{plain(rows)}\n")
    print(f"Registered: {registered['name']} version {registered['version']} as {registered['alias']}: the method")
    print(f"            {registered['method']}, best on validation among those trained on the least noisy data")
    if steps["done"]:
        print(f"Steps:      {steps['done']} run, {steps['cached']} from cache, in {seconds:.0f} s")
    else:
        print(f"Steps:      all {steps['cached']} from cache, nothing was computed again, in {seconds:.0f} s")
    print("MLflow UI:  .venv/bin/rec-denoiser ui mlflow     (runs, curves, ranks, models)")
    print("Prefect UI: .venv/bin/rec-denoiser ui prefect    (flow runs, artifacts, schedules)")
    if json_path is not None:
        record = {"command": ["rec-denoiser", *sys.argv[1:]], "seconds": seconds} | outcome
        Path(json_path).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        print(f"Figures:    {json_path}")
    return 0


def run_ingest(spec: IngestSpec) -> int:
    """Make a checked snapshot; exit status."""
    from flows.data import ingest
    from tasks.source import obtain_log

    obtain_log(spec.source, home=Home.from_environment())
    outcome = _flow(lambda: ingest(spec))
    counts = outcome["counts"]
    print(f"\nSnapshot {outcome['snapshot']}")
    print(f"  {counts['interactions']:,} interactions · {counts['users']:,} users · {counts['items']:,} items")
    print(f"  digest {outcome['digest']}")
    return 0


def run_recommend(spec: RecommendSpec) -> int:
    """Score one history, or every user of a log; exit status."""
    from flows.recommend import recommend

    outcome = _flow(lambda: recommend(spec))
    if "path" in outcome:
        print(f"\n{outcome['users']:,} users scored by {outcome['model']}: {outcome['path']}")
        return 0
    print(f"\n{outcome['model']}, by {outcome['basis']}:")
    for item, score in zip(outcome["items"], outcome["scores"], strict=True):
        print(f"  {score:9.4f}  {item}")
    return 0


def open_ui(which: str, *, port: int | None) -> NoReturn:
    """Become the server of a user interface."""
    from tasks.track import tracking_uri

    home = Home.from_environment()
    home.mlflow.mkdir(parents=True, exist_ok=True)
    if which == "mlflow":
        command = [
            "mlflow", "server", "--backend-store-uri", tracking_uri(home),
            "--artifacts-destination", (home.mlflow / "artifacts").as_uri(),
            "--host", "127.0.0.1", "--workers", "1", "--port", str(port or MLFLOW_PORT),
        ]  # fmt: skip
    else:
        command = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port or PREFECT_PORT)]
    print(f"http://127.0.0.1:{port or (MLFLOW_PORT if which == 'mlflow' else PREFECT_PORT)}  (Ctrl-C ends it)")
    become(*command)


def become(*module: str) -> NoReturn:
    """Turn this process into `python -m …` in the project's root, so that signals reach it and none is left behind."""
    os.chdir(PROJECT_ROOT)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", *module])


def _flow(run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Run a flow. Raises `InputError` where bad input is behind a failure, else `RunFailed`."""
    one_sentence_for_bad_input()
    try:
        return run()
    except Exception as error:
        raise bad_input_in(error) or RunFailed(str(error)) from None
