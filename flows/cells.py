"""Train, rank, judge and record the cells of a job, several side by side: for the main job, studies and searches."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from prefect import get_run_logger, runtime
from prefect.task_runners import ThreadPoolTaskRunner

from tasks import job as jobs
from tasks.errors import InputError
from tasks.execution import Execution
from tasks.machine import side_by_side
from tasks.plan import Cell
from tasks.progress import Progress
from tasks.register import Registered
from tasks.side_by_side import SideBySide, Steps
from tasks.specs import ExecutionSpec
from tasks.steps import (
    detect_step,
    detected_by,
    evaluate_step,
    evaluated_by,
    register_step,
    train_group_step,
    train_step,
    trained_by,
)
from tasks.track import TAG_PREFECT, Tracker, job_key, reason
from tasks.wording import counted


@dataclass(frozen=True)
class Outcomes:
    """By a cell's number its metrics, or why it has none."""

    metrics: dict[int, dict[str, float]]
    failures: dict[int, Exception]


def train_rank_and_record(
    job: jobs.Job,
    spec: ExecutionSpec,
    execution: Execution,
    steps: Steps,
    *,
    expected: Mapping[str, float],
) -> Outcomes:
    """Train every cell, several at a time; as soon as one is trained, measure how well it tells the labelled noise in
    what it was trained on, where there is some, then rank with it and record it.

    Only this thread records. A cell that fails is said and recorded as such, and stops no other. `expected` gives the
    seconds that trainings (by key) will presumably take, for the time to go; those that it lacks count alike.
    """

    def record(number: int) -> dict[str, float]:
        cell = job.cells[number]
        return jobs.record(job, number, trained_by(cell), evaluated_by(cell), detected_by(cell))

    get_run_logger().info(
        "%s, %s, %s at a time, on %s",
        counted(len(job.cells), "cell"),
        counted(len({cell.train_key for cell in job.cells}), "training"),
        side_by_side(spec, execution),
        execution.processor,
    )
    return _carry_out(job, spec, execution, steps, expected=expected, then=_add_rankings, record=record)


def train_and_record(
    job: jobs.Job,
    spec: ExecutionSpec,
    execution: Execution,
    steps: Steps,
    *,
    metrics: Callable[[Cell], Mapping[str, float]],
    expected: Mapping[str, float],
) -> dict[int, Exception]:
    """As `train_rank_and_record`, but none is ranked. `metrics` gives those of validation that a finished training has.
    By a cell's number, why it has none.
    """

    def record(number: int) -> dict[str, float]:
        cell, found = job.cells[number], dict(metrics(job.cells[number]))
        jobs.record_trial(job, number, trained_by(cell), found, detected_by(cell))
        return found

    return _carry_out(job, spec, execution, steps, expected=expected, then=None, record=record).failures


def _carry_out(
    job: jobs.Job,
    spec: ExecutionSpec,
    execution: Execution,
    steps: Steps,
    *,
    expected: Mapping[str, float],
    then: "Callable[[SideBySide[Any], jobs.Job, tuple[int, ...], Execution], None] | None",
    record: Callable[[int], dict[str, float]],
) -> Outcomes:
    """Train and judge the cells, add what comes `then` of those that share a training, and record each."""
    cells = job.cells
    at_a_time = side_by_side(spec, execution)
    trainings = _grouped((cell.train_key, number) for number, cell in enumerate(cells))
    fresh = {key: expected.get(key, 1.0) for key in trainings if not steps.holds(key)}
    progress = _progress(cells, fresh, expected, at_a_time)
    outcomes = Outcomes({}, {})
    runner: ThreadPoolTaskRunner[Any]
    with (
        ThreadPoolTaskRunner(max_workers=at_a_time) as runner,
        SideBySide[_Group | _Training | _Detection | _Ranking](steps, runner, at_a_time=at_a_time) as work,
    ):
        _add_trainings(work, job, trainings, spec, execution, steps)
        for ended, failure in work:
            if isinstance(ended, _Group):
                _add_each(work, job, ended, failure, spec, execution)
                continue
            cell = cells[ended.cells[0]]
            progress.trained(cell.train_key)
            if failure is None and isinstance(ended, _Training):
                if cell.train_key not in fresh:
                    _warn_again(cell)
                if cell.detect_key is not None:
                    _add_detection(work, _Detection(ended.cells), cell, execution)
                    continue
            if failure is None and then is not None and not isinstance(ended, _Ranking):
                then(work, job, ended.cells, execution)
                continue
            work.fill()
            if failure is not None:
                outcomes.failures.update(_failed(job, ended.cells, failure))
            else:
                for number in ended.cells:
                    try:
                        outcomes.metrics[number] = record(number)
                    except Exception as unrecorded:
                        outcomes.failures.update(_failed(job, (number,), unrecorded))
            progress.done, progress.failed = len(outcomes.metrics), len(outcomes.failures)
            get_run_logger().info("%s", progress.told(under_way=work.under_way, now=time.monotonic()))
    return outcomes


@dataclass(frozen=True)
class _Group:
    """Trainings under way as one stacked model, each for the cells of these numbers."""

    trainings: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class _Training:
    """A training under way, for the cells of these numbers."""

    cells: tuple[int, ...]


@dataclass(frozen=True)
class _Detection:
    """A detection under way, for the cells of these numbers."""

    cells: tuple[int, ...]


@dataclass(frozen=True)
class _Ranking:
    """A ranking under way, for the cells of these numbers."""

    cells: tuple[int, ...]


def offered(
    cell: Cell,
    metrics: Mapping[str, float],
    execution: Execution,
    steps: Steps,
    *,
    tracker: Tracker,
    run_id: str,
    offered_by: Literal["job", "person"] = "job",
) -> Registered:
    """A cell's model offered to the registry of its data set, by its figure with histories without injected noise,
    under which models are compared for promotion. `metrics` are the cell's own, with the histories that it has.
    """
    decided_on, value = jobs.decision(_on_clean_histories(cell, metrics, execution, steps))
    return register_step(
        cell,
        value=value,
        decided_on=decided_on,
        tags={"method": cell.method, "dataset": cell.dataset, TAG_PREFECT: str(runtime.flow_run.id)},
        tracker=tracker,
        run_id=run_id,
        label=cell.label,
        offered_by=offered_by,
    )


def _on_clean_histories(
    cell: Cell, metrics: Mapping[str, float], execution: Execution, steps: Steps
) -> Mapping[str, float]:
    """A cell's metrics ranked with histories without injected noise."""
    clean = cell.on_clean_histories
    if clean is cell:
        return metrics
    steps.run(evaluate_step, clean, key=clean.evaluate_key, label=clean.label, execution=execution)
    return evaluated_by(clean).metrics()


def _progress(
    cells: Sequence[Cell], fresh: Mapping[str, float], expected: Mapping[str, float], at_a_time: int
) -> Progress:
    """How far the cells are, whose `fresh` trainings have to be made, said once before they begin."""
    now = time.monotonic()
    in_seconds = fresh.keys() <= expected.keys()
    progress = Progress(len(cells), fresh, started=now, at_a_time=at_a_time if in_seconds else None)
    get_run_logger().info("%s", progress.told(under_way=0, now=now))
    return progress


def _add_trainings(
    work: SideBySide[Any],
    job: jobs.Job,
    trainings: Mapping[str, tuple[int, ...]],
    spec: ExecutionSpec,
    execution: Execution,
    steps: Steps,
) -> None:
    """Let the trainings (by key, for the cells of these numbers) wait for their turn: what is still to do and can be
    stacked in groups, the others each alone.
    """
    if plain := sorted({cell.method for cell in job.cells if execution.compiled and not cell.compiled}):
        get_run_logger().warning("these cannot be compiled and train as they are: %s", ", ".join(plain))
    for group in _groups(job.cells, trainings, steps):
        if len(group) == 1:
            _add_training(work.add, job, group[0], spec, execution)
            continue
        cells = [job.cells[numbers[0]] for numbers in group]
        work.add(
            _Group(group),
            train_group_step,
            key=job_key(cell.train_key for cell in cells),
            label=f"{len(cells)} trainings from {cells[0].label}",
            cells=cells,
            execution=execution,
            time_limit_minutes=spec.time_limit_minutes,
            tracker=job.tracker,
            run_ids=[job.children[numbers[0]] for numbers in group],
        )


def _groups(
    cells: Sequence[Cell], trainings: Mapping[str, tuple[int, ...]], steps: Steps
) -> list[tuple[tuple[int, ...], ...]]:
    """The trainings, those together that become one stacked model."""
    alike: dict[str, list[tuple[int, ...]]] = {}
    for key, numbers in trainings.items():
        cell = cells[numbers[0]]
        alone = cell.stacked == 1 or steps.holds(key)
        alike.setdefault(key if alone else cell.kind, []).append(numbers)
    return [
        tuple(together[start : start + most])
        for together in alike.values()
        for most in [cells[together[0][0]].stacked]
        for start in range(0, len(together), most)
    ]


def _add_each(
    work: SideBySide[Any],
    job: jobs.Job,
    group: _Group,
    failure: Exception | None,
    spec: ExecutionSpec,
    execution: Execution,
) -> None:
    """Let each training of a group have its turn next: it finds what the group made of it, or goes on alone."""
    if failure is not None:
        get_run_logger().warning(
            "%s trainings were not stacked to the end and go on alone: %s", len(group.trainings), reason(failure)
        )
    for numbers in reversed(group.trainings):
        _add_training(work.add_next, job, numbers, spec, execution)


def _add_training(
    add: Callable[..., None], job: jobs.Job, numbers: tuple[int, ...], spec: ExecutionSpec, execution: Execution
) -> None:
    """Let the one training of these cells wait for its turn."""
    cell = job.cells[numbers[0]]
    add(
        _Training(numbers),
        train_step,
        key=cell.train_key,
        label=cell.label,
        cell=cell,
        execution=execution,
        time_limit_minutes=spec.time_limit_minutes,
        tracker=job.tracker,
        run_id=job.children[numbers[0]],
    )


def _add_detection(work: SideBySide[Any], judged: _Detection, cell: Cell, execution: Execution) -> None:
    """Let it be measured next how well a trained cell tells labelled noise."""
    assert cell.detect_key is not None
    work.add_next(judged, detect_step, key=cell.detect_key, label=cell.label, cell=cell, execution=execution)


def _add_rankings(work: SideBySide[Any], job: jobs.Job, numbers: tuple[int, ...], execution: Execution) -> None:
    """Let it be ranked next with a trained model, once for those of its cells that rank alike."""
    for key, alike in _grouped((job.cells[number].evaluate_key, number) for number in numbers).items():
        cell = job.cells[alike[0]]
        work.add_next(_Ranking(alike), evaluate_step, key=key, label=cell.label, cell=cell, execution=execution)


def _warn_again(cell: Cell) -> None:
    """Say what a training warned of that was made before."""
    for warning in trained_by(cell).warnings:
        get_run_logger().warning("%s: %s", cell.label, warning)


def _failed(job: jobs.Job, numbers: Iterable[int], failure: Exception) -> dict[int, Exception]:
    """Say and record that cells failed; where it cannot be recorded, that is said, and the others go on."""
    for number in numbers:
        label = job.cells[number].label
        if not isinstance(failure, InputError):
            get_run_logger().error("%s failed: %s", label, reason(failure))
        try:
            jobs.record_failure(job, number, failure)
        except Exception as unrecorded:
            get_run_logger().error("that %s failed is not in MLflow: %s", label, reason(unrecorded))
    return dict.fromkeys(numbers, failure)


def _grouped(numbers: Iterable[tuple[str, int]]) -> dict[str, tuple[int, ...]]:
    """The numbers that go with each key."""
    groups: dict[str, tuple[int, ...]] = {}
    for key, number in numbers:
        groups[key] = (*groups.get(key, ()), number)
    return groups
