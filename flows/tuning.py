"""The command line's searches: list them, say what one would do, run it and print what came of it."""

import json
import time
from pathlib import Path

from flows.running import follow_and_show, refuse_unreadable, refuse_unwritable
from tasks.home import PROJECT_ROOT, Home
from tasks.machine import resolve
from tasks.progress import duration
from tasks.study.files import shipped_searches
from tasks.study.outcome import TUNE_FILE, refuse_taken, study_folder
from tasks.tuning.expand import tune_file
from tasks.tuning.outcome import read_tuned
from tasks.tuning.specs import TuneRequest


def list_searches() -> int:
    """Print the searches that come with the project, with their questions; exit status."""
    for path in shipped_searches():
        spec = tune_file(TuneRequest(file=str(path))).spec
        trainings = len(spec.methods) * spec.trials * len(spec.seeds)
        print(f"{path.stem:<17}{trainings:>4} trainings  {spec.question}")
    print(f"\nThey lie in {PROJECT_ROOT / 'studies'}; each says at its head what it needs.")
    print("`rec-denoiser tune NAME --dry-run` says what one would do here.")
    return 0


def dry_run(request: TuneRequest, *, json_path: str | None) -> int:
    """Print what a search would do; exit status."""
    if json_path is not None:
        refuse_unwritable(Path(json_path))
    from tasks.tuning.dryrun import describe_tuning, foreseen_tuning, tuning_json

    home = Home.from_environment()
    asked = tune_file(request)
    refuse_taken(asked.spec.name, TUNE_FILE, home=home)
    execution = resolve(asked.spec.execution)
    searches = foreseen_tuning(asked, execution, home=home)
    for line in describe_tuning(asked, searches, execution, home=home):
        print(line)
    if json_path is not None:
        Path(json_path).write_text(json.dumps(tuning_json(searches), indent=1) + "\n", encoding="utf-8")
    return 0


def run_tune(request: TuneRequest, *, json_path: str | None) -> int:
    """Run a search and print what was best; exit status. Where trainings failed, the table is printed all the same."""
    if json_path is not None:
        refuse_unwritable(Path(json_path))
    home = Home.from_environment()
    asked = tune_file(request)
    refuse_taken(asked.spec.name, TUNE_FILE, home=home)
    refuse_unreadable(asked.source_cell.source, asked.source_cell.prepare)
    from flows.tune import tune

    started = time.monotonic()
    steps = follow_and_show(
        lambda: tune(request),
        written=study_folder(asked.spec.name, home=home) / TUNE_FILE,
        show=lambda: _show(asked.spec.name, home, json_path=json_path),
    )["steps"]
    took = duration(time.monotonic() - started)
    print(f"Steps:      {steps['done']} run, {steps['cached']} from cache, in {took}")
    print("MLflow UI:  .venv/bin/rec-denoiser ui mlflow     (runs by method and trial, curves, this report)")
    return 0


def _show(name: str, home: Home, *, json_path: str | None) -> None:
    """Print what was best, and where it lies."""
    from tasks.reporting.page import PAGE
    from tasks.tuning.terminal import plain

    result = read_tuned(name, home=home)
    assert result is not None
    folder = study_folder(name, home=home)
    print(f"\n{result.question}\n\n{plain(result)}\n")
    page = folder / PAGE
    if page.exists():
        print(f"Report:     {page}")
    if result.study is not None:
        print(f"On test:    rec-denoiser study {folder / result.study}")
    if json_path is not None:
        Path(json_path).write_text(result.to_hand_on().to_json(), encoding="utf-8")
        print(f"Figures:    {json_path}")
