"""The command line's studies: list them, say what one would do, run it and print what came of it."""

import json
import time
from pathlib import Path

from flows.running import follow_and_show, refuse_unreadable, refuse_unwritable
from tasks.errors import InputError
from tasks.home import PROJECT_ROOT, Home
from tasks.machine import resolve
from tasks.progress import duration
from tasks.specs import StudyRequest
from tasks.study.expand import Study
from tasks.study.files import shipped, study_file
from tasks.study.outcome import RESULT_FILE, read_result, refuse_taken, study_folder


def list_studies() -> int:
    """Print the studies that come with the project, with their questions; exit status."""
    for path in shipped():
        asked = study_file(StudyRequest(file=str(path)))
        print(f"{path.stem:<17}{len(asked.cells):>4} cells  {asked.spec.question}")
    print(f"\nThey lie in {PROJECT_ROOT / 'studies'}; each says at its head what it needs.")
    print("`rec-denoiser study NAME --dry-run` says what one would do here.")
    return 0


def dry_run(request: StudyRequest, *, json_path: str | None) -> int:
    """Print what a study would do; exit status."""
    if json_path is not None:
        refuse_unwritable(Path(json_path))
    from tasks.study.dryrun import as_json, describe, foreseen

    home = Home.from_environment()
    asked = study_file(request)
    refuse_taken(asked.spec.name, RESULT_FILE, home=home)
    execution = resolve(asked.spec.execution)
    cells = foreseen(asked, execution, home=home)
    for line in describe(asked, cells, execution, home=home):
        print(line)
    if json_path is not None:
        Path(json_path).write_text(json.dumps(as_json(cells), indent=1) + "\n", encoding="utf-8")
    return 0


def run_study(request: StudyRequest, *, json_path: str | None) -> int:
    """Run a study and print its table; exit status. Where cells failed, the table is printed all the same."""
    if json_path is not None:
        refuse_unwritable(Path(json_path))
    asked = study_file(request)
    home = Home.from_environment()
    refuse_taken(asked.spec.name, RESULT_FILE, home=home)
    _refuse_unreadable(asked)
    from flows.study import study

    started = time.monotonic()
    steps = follow_and_show(
        lambda: study(request),
        written=study_folder(asked.spec.name, home=home) / RESULT_FILE,
        show=lambda: _show(asked.spec.name, home, json_path=json_path),
    )["steps"]
    took = duration(time.monotonic() - started)
    print(f"Steps:      {steps['done']} run, {steps['cached']} from cache, in {took}")
    print("MLflow UI:  .venv/bin/rec-denoiser ui mlflow     (runs, curves, ranks, this report)")
    print("Keep one:   .venv/bin/rec-denoiser register RUN  (of a cell, by its id in the report's list of cells)")
    return 0


def _refuse_unreadable(asked: Study) -> None:
    """Raise `InputError` where no cell has a log that can be used. Where some have, the study is made of these, and
    says what is wrong with the others.
    """
    failures = []
    logs = dict.fromkeys((cell.spec.source, cell.spec.prepare) for cell in asked.cells)
    for source, prepare in logs:
        try:
            refuse_unreadable(source, prepare)
        except InputError as failure:
            failures.append(failure)
    if len(failures) == len(logs):
        raise failures[0]


def _show(name: str, home: Home, *, json_path: str | None) -> None:
    """Print the table of a study's result, and where it lies."""
    from tasks.reporting.page import PAGE
    from tasks.study.terminal import plain

    result = read_result(name, home=home)
    assert result is not None
    print(f"\n{result.question}\n\n{plain(result)}\n")
    page = study_folder(name, home=home) / PAGE
    if page.exists():
        print(f"Report:     {page}")
    if json_path is not None:
        Path(json_path).write_text(result.to_hand_on().to_json(indent=None), encoding="utf-8")
        print(f"Figures:    {json_path}")
