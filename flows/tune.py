"""A search as a flow: the same number of trials of every method, round by round, chosen on validation alone."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, runtime

from flows.artifacts import show_table
from flows.cells import train_and_record
from flows.data import Snapshots
from flows.server import ensure_limits, leased
from tasks import job as jobs
from tasks.errors import RunFailed
from tasks.execution import Execution
from tasks.home import Home
from tasks.machine import resolve
from tasks.plan import Cell, Data, cell_of
from tasks.reporting.tuning import write_tuning_report
from tasks.side_by_side import Steps
from tasks.study.costs import expected_seconds
from tasks.study.outcome import TUNE_FILE, refuse_taken, unreported
from tasks.track import reason
from tasks.tuning import headlines
from tasks.tuning.expand import Tuning, tune_file
from tasks.tuning.outcome import FILES, Ended, publish_tuning, trial_result, tune_result, validation_of
from tasks.tuning.result import TrialResult, TuneResult
from tasks.tuning.search import Search, Trial, label_of
from tasks.tuning.specs import TuneRequest
from tasks.tuning.terminal import table
from tasks.wording import counted

TAG_TRIAL = "trial"


def _run_name() -> str:
    request = TuneRequest.model_validate(runtime.flow_run.parameters["spec"])
    return " ".join([f"tune {Path(request.file).stem}", *request.shown])[:200]


@flow(name="tune", flow_run_name=_run_name)
def tune(spec: TuneRequest) -> dict[str, Any]:
    """Make a search's snapshots, train its trials side by side, write what was best, and the study that tests it."""
    began, started = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
    home = Home.from_environment()
    asked = tune_file(spec)
    execution = resolve(asked.spec.execution)
    refuse_taken(asked.spec.name, TUNE_FILE, home=home)
    steps = Steps(home)
    ensure_limits()
    for note in asked.notes:
        get_run_logger().info("%s", note)
    with leased(home) as held:
        snapshots = Snapshots(steps, home)
        searches = [Search(method, asked) for method in asked.methods]
        usual = [method.cell({}, seed=asked.spec.seeds[0]) for method in asked.methods]
        data = {spec.method: snapshots.of(spec) for spec in usual}
        first = tuple(cell_of(spec, data[spec.method], execution, label=label_of(spec, 0)) for spec in usual)
        heading = jobs.Heading(
            study=asked.spec.name,
            name=asked.spec.name,
            note=f"{asked.spec.question}\n\nA search on validation ({asked.spec.metric}): no trial is ranked on test.",
            spec=asked.spec.model_dump_json(indent=1),
            identity=("tune", asked.spec.model_dump_json(exclude={"question", "execution"})),
        )
        flow_run = str(runtime.flow_run.id)
        with jobs.tracked_job(first, heading, execution=execution, flow_run=flow_run, held=held, home=home) as job:
            jobs.record_checks(job, steps.reports)
            trials: list[TrialResult] = []
            failures: list[Exception] = []
            while proposed := [(search, trial) for search in searches for trial in search.propose()]:
                get_run_logger().info(_told(proposed, searches))
                ended = _trained(job, [trial for _, trial in proposed], data, asked, execution, steps, home)
                for search, trial in proposed:
                    found = trial_result(trial, ended[trial], metric=asked.spec.metric, home=home)
                    search.tell(trial, found.value)
                    trials.append(found)
                    failures += [each.failure for each in ended[trial] if each.failure is not None]
            result = tune_result(
                asked,
                searches,
                tuple(trials),
                first,
                request=spec,
                docs=snapshots.docs,
                code=job.tracker.code,
                execution=execution,
                started=started,
                seconds=time.monotonic() - began,
            )
            folder, unmade, earlier = publish_tuning(result, asked, write_tuning_report, home=home)
            if earlier is not None:
                get_run_logger().info("%s", earlier)
            jobs.record_folder(job, heading, folder, names=FILES)
            kept = folder / TUNE_FILE
            jobs.record_headlines(job, headlines.figures(result), headlines.tags(result), come_of=kept)
            told = f"{result.question} ({result.metric})"
            show_table(job, table(result), kind="tune", name=result.name, description=told)
            _check(result, failures)
            if unmade is not None:
                get_run_logger().error("the report could not be made", exc_info=unmade)
                raise unreported(result.name, unmade, kept=folder / TUNE_FILE)
    return {"folder": str(folder), "steps": {"done": steps.done, "cached": steps.cached}}


def _trained(
    job: jobs.Job,
    trials: Sequence[Trial],
    data: Mapping[str, Data],
    asked: Tuning,
    execution: Execution,
    steps: Steps,
    home: Home,
) -> Mapping[Trial, list[Ended]]:
    """Train a round's trials with every seed; how each ended."""
    pairs = [(trial, spec) for trial in trials for spec in trial.specs]
    cells = [cell_of(spec, data[trial.method], execution, label=trial.label(spec)) for trial, spec in pairs]
    opened = jobs.with_cells(job, cells, [{TAG_TRIAL: str(trial.number)} for trial, _ in pairs], execution)

    def metrics(cell: Cell) -> Mapping[str, float]:
        return validation_of(cell, home=home)

    expected = expected_seconds(cells, execution, home=home)
    failures = train_and_record(opened, asked.spec.execution, execution, steps, metrics=metrics, expected=expected)
    ended: dict[Trial, list[Ended]] = {}
    for number, (trial, _) in enumerate(pairs):
        ended.setdefault(trial, []).append(Ended(cells[number], opened.children[number], failures.get(number)))
    return ended


def _told(proposed: Sequence[tuple[Search, Trial]], searches: Sequence[Search]) -> str:
    numbers = [trial.number for _, trial in proposed]
    left = sum(search.to_come for search in searches)
    of_methods, more = counted(len(searches), "method"), counted(left, "more trial")
    return f"trials {min(numbers)} to {max(numbers)} of {of_methods}; {more} to come"


def _check(result: TuneResult, failures: Sequence[Exception]) -> None:
    """Fail where a method has no trial that ended well, or a training failed for another reason than its settings (that
    it diverged is what a search is to find out).
    """
    lost = [method.name for method in result.methods if method.best is None]
    other = [failure for failure in failures if not isinstance(failure, RunFailed)]
    if lost:
        raise RunFailed("; ".join(f"no trial of {method} has a result: {_why(result, method)}" for method in lost))
    if other:
        raise RunFailed(
            f"{counted(len(other), 'training')} failed for another reason than diverging; the others are recorded, and "
            f"the same command goes on from here. First: {reason(other[0])}"
        )


def _why(result: TuneResult, method: str) -> str:
    """Why a method has no result: the first of its trainings that failed, where one did."""
    failed = (cell.failure for trial in result.of(method) for cell in trial.cells if cell.failure is not None)
    return next(failed, f"none of its trainings gave a finite {result.metric}")
