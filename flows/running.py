"""Flows started from the command line: run, and say what came of it."""

import errno
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from textwrap import fill
from typing import Any, NoReturn

from flows.announcing import announce
from flows.environment import (
    PREFECT_PORT,
    PREFECT_VARIABLE,
    bad_input_in,
    fault_of_the_machine,
    one_sentence_for_bad_input,
)
from flows.temporary import ensure_server
from tasks.data_specs import PrepareSpec, SourceSpec
from tasks.errors import InputError, PartlyFailed, RunFailed
from tasks.home import HOME_VARIABLE, PROJECT_ROOT, Home
from tasks.paths import path_named
from tasks.sources.addresses import without_secrets
from tasks.specs import IngestSpec, RecommendSpec, RobustnessSpec, registered_name
from tasks.wording import counted, on_one_line

MLFLOW_PORT = 5000
PREFECT_UI_VARIABLES = ("PREFECT_SERVER_UI_API_URL", "PREFECT_UI_API_URL")
"""By which a person names the API that the pages of Prefect's interface ask."""


def run_job(spec: RobustnessSpec, *, json_path: str | None) -> int:
    """The main job; exit status. Where trainings failed, what came of the others is told all the same."""
    if json_path is not None:
        refuse_unwritable(Path(json_path))
    refuse_unreadable(spec.source, spec.prepare)
    from flows.robustness import robustness

    started = time.monotonic()

    def show(outcome: Mapping[str, Any]) -> None:
        _show_job(outcome, seconds=time.monotonic() - started, json_path=json_path)

    try:
        outcome = follow(lambda: robustness(spec))
    except PartlyFailed as failure:
        show(failure.outcome)
        raise
    show(outcome)
    return 0


def _show_job(outcome: Mapping[str, Any], *, seconds: float, json_path: str | None) -> None:
    """Print what came of a main job, and write it where it was asked for."""
    from tasks.compare import Row
    from tasks.report import plain

    rows = [Row(**row) for row in outcome["rows"]]
    registered, steps = outcome["registered"], outcome["steps"]
    print(f"\n{plain(rows, outcome['failed'])}\n")
    if registered is None:
        print("Registered: nothing, for the best may be among what failed")
    else:
        print(f"Registered: {registered['name']} version {registered['version']} as {registered['alias']}: the method")
        print(f"            {registered['method']}, best on validation among those trained with the least noise;")
        print(f"            its NDCG@10 for {registered['decided_on']} is {registered['value']:.4f}:")
        print(fill(registered["told"], 100, initial_indent=" " * 12, subsequent_indent=" " * 12))
    if steps["done"]:
        print(f"Steps:      {steps['done']} run, {steps['cached']} from cache, in {seconds:.0f} s")
    else:
        print(f"Steps:      all {steps['cached']} from cache, nothing was computed again, in {seconds:.0f} s")
    print("MLflow UI:  .venv/bin/rec-denoiser ui mlflow     (runs, curves, ranks, models)")
    print("Prefect UI: .venv/bin/rec-denoiser ui prefect    (flow runs, artifacts, schedules)")
    if json_path is not None:
        record = {"command": ["rec-denoiser", *map(_without_secrets, sys.argv[1:])], **outcome}
        Path(json_path).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        print(f"Figures:    {json_path}")


def run_ingest(spec: IngestSpec) -> int:
    """Make a checked snapshot; exit status."""
    refuse_unreadable(spec.source, spec.prepare)
    from flows.data import ingest

    outcome = follow(lambda: ingest(spec))
    counts = outcome["counts"]
    print(f"\nSnapshot {outcome['snapshot']}")
    rows = (counted(counts[f"{what}s"], what) for what in ("interaction", "user", "item"))
    print(f"  {' · '.join(rows)}")
    print(f"  digest {outcome['digest']}")
    return 0


def run_recommend(spec: RecommendSpec) -> int:
    """Score one history, or every user of a log; exit status."""
    if spec.history is None:
        refuse_unreadable(spec.source, spec.prepare)
    from tasks.recommend import load_registered, offerable_by

    loaded = load_registered(registered_name(spec.dataset), alias=spec.alias, home=Home.from_environment())
    offerable_by(loaded, spec)
    from flows.recommend import recommend

    outcome = follow(lambda: recommend(spec))
    if "path" in outcome:
        print(f"\n{counted(outcome['users'], 'user')} scored by {outcome['model']}: {outcome['path']}")
        if outcome["by_popularity"]:
            print(f"{outcome['by_popularity']:,} of them by popularity: the model knows none of their items")
        for sentence in outcome["unknown_in_lists"]:
            print(sentence)
        return 0
    print("\n".join(told_of_one(outcome)))
    return 0


def told_of_one(outcome: Mapping[str, Any]) -> Iterator[str]:
    """What one history is offered, as lines for a terminal."""
    yield f"\n{outcome['model']}, by {outcome['basis']}:"
    for item, score in zip(outcome["items"], outcome["scores"], strict=True):
        yield f"  {score:9.4f}  {on_one_line(item)}"
    if not outcome["items"]:
        yield "  nothing: the history holds every item that may be offered (--include-seen offers them again)"
    if outcome["unknown"]:
        yield f"Passed over, for the model does not know them: {', '.join(map(on_one_line, outcome['unknown']))}"
    yield from outcome["unknown_in_lists"]


def open_ui(which: str, *, port: int | None) -> NoReturn:
    """Become the server of a user interface. Raises `InputError` where MLflow has one already, or the port is taken."""
    from tasks.mlflow_store import ensure_database, tracking_uri
    from tasks.track import EXPERIMENT, TRAININGS

    home = Home.from_environment()
    if which == "mlflow" and (served := tracking_uri(home)).startswith(("http:", "https:")):
        raise InputError(f"MLflow is served by another machine or process already: open {without_secrets(served)}")
    chosen = port or (MLFLOW_PORT if which == "mlflow" else PREFECT_PORT)
    _refuse_taken(chosen)
    home.mlflow.mkdir(parents=True, exist_ok=True)
    if which == "mlflow":
        ensure_database(home)
        name = "MLflow"
        asked = f"/api/2.0/mlflow/experiments/get-by-name?experiment_name={EXPERIMENT}"
        page = asked, f"/#/experiments/{{experiment_id}}{TRAININGS}"
        # By the environment: a command line, and a password in it, is shown to everybody on the machine.
        os.environ["MLFLOW_BACKEND_STORE_URI"] = tracking_uri(home)
        # Else there are eight processes more, a gigabyte, for jobs on language models. They outlive a server that is
        # terminated.
        os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
        command = [
            "mlflow", "server",
            "--artifacts-destination", (home.mlflow / "artifacts").as_uri(),
            "--host", "127.0.0.1", "--workers", "1", "--port", str(chosen),
        ]  # fmt: skip
    else:
        name, page = "Prefect", ("/", "")
        # Else its pages ask the server of PREFECT_API_URL, or that at Prefect's usual port, whatever port this one has.
        if not any(os.environ.get(name) for name in PREFECT_UI_VARIABLES):
            os.environ[PREFECT_UI_VARIABLES[0]] = f"http://127.0.0.1:{chosen}/api"
        command = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(chosen)]
    announce(name, f"http://127.0.0.1:{chosen}", page=page)
    become(*command)


def become(*module: str) -> NoReturn:
    """Turn this process into `python -m …` in the project's root, so that signals reach it and none is left behind."""
    from tasks.mlflow_store import TRACKING_VARIABLE, tracking_uri

    # Said in full, because they may be relative to the folder that is left here.
    home = Home.from_environment()
    os.environ[HOME_VARIABLE] = str(home.root)
    if os.environ.get(TRACKING_VARIABLE):
        os.environ[TRACKING_VARIABLE] = tracking_uri(home)
    if os.environ.get(PREFECT_VARIABLE):
        os.environ[PREFECT_VARIABLE] = str(path_named(os.environ[PREFECT_VARIABLE], by=PREFECT_VARIABLE).absolute())
    os.chdir(PROJECT_ROOT)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", *module])


def follow(run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Run a flow. Raises `InputError` where bad input is behind a failure, else `RunFailed`."""
    from tasks.track import reason

    one_sentence_for_bad_input()
    ensure_server()
    try:
        return run()
    except PartlyFailed:
        raise
    except Exception as error:
        raise bad_input_in(error) or fault_of_the_machine(error) or RunFailed(reason(error)) from None


def follow_and_show(run: Callable[[], dict[str, Any]], *, written: Path, show: Callable[[], None]) -> dict[str, Any]:
    """Run a flow, then `show` what it wrote; where it failed after it had written anew, that is shown all the same."""
    before = written.stat().st_mtime_ns if written.exists() else None
    try:
        outcome = follow(run)
    except Exception:
        if written.exists() and written.stat().st_mtime_ns != before:
            show()
        raise
    show()
    return outcome


def refuse_unreadable(source: SourceSpec, prepare: PrepareSpec) -> None:
    """Say that a file is wrong, or cannot be prepared so, before Prefect is imported and a server is started for it."""
    from tasks.sources.source import inspect_source

    inspect_source(source, prepare)


def _without_secrets(argument: str) -> str:
    """An argument as it may be kept: of an address, with its option or alone, without password and signature."""
    option, mark, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
    return f"{option}{mark}{without_secrets(value)}"


def refuse_unwritable(path: Path, *, option: str = "--json") -> None:
    """Raise `InputError` where a result could not be written to `path`, which `option` names, in the end."""
    if path.is_dir():
        raise InputError(f"{option}: {path} is a folder: name a file")
    if not path.parent.is_dir():
        raise InputError(f"{option}: there is no folder {path.parent}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise InputError(f"{option}: {path} cannot be written: permission denied")


def _refuse_taken(port: int) -> None:
    """Raise `InputError` where another program listens on `port` already, or none may."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
            raise InputError(f"port {port} {reason}: choose another with --port") from None
