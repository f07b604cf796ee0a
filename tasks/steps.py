"""The steps as Prefect tasks: names, caching by step key, retries. What a step does is in its own module.

A cached step takes its `key` and returns plain JSON. `tasks.side_by_side.Steps` skips one that has been done and whose
files are still there; Prefect shows it as Cached.
"""

import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from httpx import TransportError
from prefect import Task, get_run_logger, runtime, task
from prefect.cache_policies import NO_CACHE, CacheKeyFnPolicy
from prefect.client.schemas.objects import State, TaskRun

from tasks.audit.judge import judge, judged_folder
from tasks.corrupt import corrupt
from tasks.data_specs import CorruptSpec, FilterSpec, PrepareSpec
from tasks.detect import Detected, detect, detection_folder
from tasks.evaluate import Evaluated, evaluate, evaluation_folder
from tasks.execution import Execution
from tasks.filter import filtered
from tasks.home import Home
from tasks.ingest import ingest
from tasks.plan import Cell, training_code
from tasks.receipts import write_receipt
from tasks.recommend import (
    load_registered,
    offerable_by,
    read_otherwise,
    recommend_all,
    recommend_one,
    scored_by_popularity,
    training_log,
    training_snapshot,
)
from tasks.register import Registered, register
from tasks.slots import slot
from tasks.snapshots import Snapshot, open_snapshot
from tasks.sources.fetch import Kept, Remote, fetch
from tasks.sources.logs import Log
from tasks.specs import RecommendSpec, registered_name
from tasks.track import Tracker
from tasks.train import Trained, asked_of, train, train_group, training_folder
from tasks.training_lines import TrainingLines
from tasks.validate import validate, validate_log
from tasks.validation.report import ValidationReport, describe
from tasks.watching import SYSTEM_FILE, watched
from tasks.wording import counted
from tasks.workers import EPOCH, WorkerDied

Json = dict[str, Any]
TAG_TRAINING_CODE = "rec_denoiser.training_sha256"
DATA_STEP_SECONDS = 6 * 3600.0


def _key(context: Any, parameters: Mapping[str, Any]) -> str:  # noqa: ARG001
    return str(parameters["key"])


def _name() -> str:
    """The name of a task run: its task's and the label it was called with."""
    return f"{runtime.task_run.task_name}: {runtime.task_run.parameters['label']}"


def _may_pass(task: "Task[..., Any]", run: TaskRun, state: State[Any]) -> bool:  # noqa: ARG001
    """Is the failure of a kind that another try may outlive?"""
    return isinstance(state.result(raise_on_failure=False), WorkerDied | ConnectionError | TransportError)


CACHED: Json = {
    "cache_policy": CacheKeyFnPolicy(cache_key_fn=_key),
    "persist_result": True,
    "result_serializer": "json",
    "task_run_name": _name,
}
RETRIED: Json = {"retries": 2, "retry_delay_seconds": [2, 10], "retry_condition_fn": _may_pass}


@task(name="fetch", cache_policy=NO_CACHE, timeout_seconds=DATA_STEP_SECONDS, task_run_name=_name)
def fetch_step(remote: Remote, *, label: str) -> Kept:  # noqa: ARG001
    """A remote file on this machine. What `tasks.sources.fetch` keeps is the cache, by content: only by asking the
    file's owner can be known whether it is still the same, and another try after its own would be one too many.
    """
    return fetch(remote, home=Home.from_environment(), say=get_run_logger().info)


@task(name="ingest", timeout_seconds=DATA_STEP_SECONDS, **CACHED, **RETRIED)
def ingest_step(log: Log, prepare: PrepareSpec, *, key: str, label: str) -> str:  # noqa: ARG001
    """The name of the log's snapshot."""
    home = Home.from_environment()
    snapshot = ingest(log, prepare, home=home)
    write_receipt(key, [snapshot.path], home=home)
    counts = snapshot.counts
    get_run_logger().info(
        "snapshot %s: %s of %s with %s",
        snapshot.name,
        counted(counts.interactions, "interaction"),
        counted(counts.users, "user"),
        counted(counts.items, "item"),
    )
    return snapshot.name


@task(name="validate log", timeout_seconds=DATA_STEP_SECONDS, **CACHED)
def validate_log_step(log: Log, *, key: str, label: str) -> Json:  # noqa: ARG001
    """What Great Expectations found in a log, with the path of the Data Docs. A critical failure raises."""
    home = Home.from_environment()
    return _told(validate_log(log, docs=home.docs), key=key, home=home)


@task(name="validate", timeout_seconds=DATA_STEP_SECONDS, **CACHED)
def validate_step(snapshot: Snapshot, *, key: str, label: str) -> Json:  # noqa: ARG001
    """What Great Expectations found in a snapshot, with the path of the Data Docs. A critical failure raises."""
    home = Home.from_environment()
    return _told(validate(snapshot.path, docs=home.docs), key=key, home=home)


@task(name="corrupt", timeout_seconds=DATA_STEP_SECONDS, **CACHED)
def corrupt_step(snapshot: Snapshot, corruption: CorruptSpec, *, key: str, label: str) -> str:  # noqa: ARG001
    """The name of the corrupted snapshot."""
    home = Home.from_environment()
    corrupted = corrupt(snapshot, corruption, home=home)
    write_receipt(key, [corrupted.path], home=home)
    return corrupted.name


@task(name="judge", **CACHED, **RETRIED)
def judge_step(snapshot: Snapshot, *, key: str, label: str) -> str:  # noqa: ARG001
    """The name of the folder with the probabilities that the snapshot's training interactions are noise."""
    home = Home.from_environment()
    with slot("cpu"):
        judged = judge(snapshot, folder=judged_folder(snapshot, key=key, home=home), home=home)
    write_receipt(key, judged.files, home=home)
    return judged.folder.name


@task(name="filter", timeout_seconds=DATA_STEP_SECONDS, **CACHED, **RETRIED)
def filter_step(snapshot: Snapshot, spec: FilterSpec, *, key: str, label: str) -> str:  # noqa: ARG001
    """The name of the snapshot without what a noise model takes for noise."""
    home = Home.from_environment()
    with slot("cpu"):
        left = filtered(snapshot, spec, home=home)
    write_receipt(key, [left.path], home=home)
    gone = snapshot.counts.interactions - left.counts.interactions
    get_run_logger().info("snapshot %s: without %s of %s interactions", left.name, f"{gone:,}",
                          f"{snapshot.counts.interactions:,}")  # fmt: skip
    return left.name


@task(name="train", **CACHED, **RETRIED)
def train_step(
    cell: Cell,
    *,
    execution: Execution,
    time_limit_minutes: float,
    tracker: Tracker,
    run_id: str,
    key: str,
    label: str,
) -> str:
    """The name of the training's folder; its curves go to the MLflow run as it trains."""
    home = Home.from_environment()
    trained = _train(cell, execution, time_limit_minutes, tracker=tracker, run_id=run_id, label=label, home=home)
    write_receipt(key, trained.files, home=home)
    return trained.folder.name


@task(name="train a group", cache_policy=NO_CACHE, task_run_name=_name)
def train_group_step(
    cells: Sequence[Cell],
    *,
    execution: Execution,
    time_limit_minutes: float,
    tracker: Tracker,
    run_ids: Sequence[str],
    key: str,  # noqa: ARG001
    label: str,  # noqa: ARG001
) -> None:
    """Train cells of one kind as one stacked model, in as much time as they may take alone; their curves go to their
    MLflow runs. Each one's `train_step` finds what it made.
    """
    _train_group(cells, execution, time_limit_minutes, tracker=tracker, run_ids=run_ids, home=Home.from_environment())


@task(name="evaluate", **CACHED, **RETRIED)
def evaluate_step(cell: Cell, *, execution: Execution, key: str, label: str) -> str:  # noqa: ARG001
    """The name of the folder that holds the ranks and the exposures."""
    home = Home.from_environment()
    evaluated = _evaluate(cell, execution, home=home)
    write_receipt(key, evaluated.files, home=home)
    return evaluated.folder.name


@task(name="detect", **CACHED, **RETRIED)
def detect_step(cell: Cell, *, execution: Execution, key: str, label: str) -> str:  # noqa: ARG001
    """The name of the folder that holds what the cell's model suspects of what it was trained on."""
    home = Home.from_environment()
    detected = _detect(cell, execution, folder=detection_folder(key, home=home), home=home)
    write_receipt(key, [detected.suspicions], home=home)
    return detected.folder.name


@task(name="train again", cache_policy=NO_CACHE, task_run_name=_name, **RETRIED)
def train_again_step(
    cell: Cell,
    *,
    execution: Execution,
    time_limit_minutes: float,
    tracker: Tracker,
    run_id: str,
    folder: Path,
    label: str,
) -> Trained:
    """Train a cell in a state folder of its own, which holds nothing yet."""
    return _train(cell, execution, time_limit_minutes, tracker=tracker, run_id=run_id, label=label, home=Home(folder))


@task(name="evaluate again", cache_policy=NO_CACHE, task_run_name=_name, **RETRIED)
def evaluate_again_step(cell: Cell, *, execution: Execution, folder: Path, label: str) -> Evaluated:  # noqa: ARG001
    """Rank with what `train_again_step` left in the same folder."""
    return _evaluate(cell, execution, home=Home(folder))


@task(name="detect again", cache_policy=NO_CACHE, task_run_name=_name, **RETRIED)
def detect_again_step(cell: Cell, *, execution: Execution, folder: Path, key: str, label: str) -> Detected:  # noqa: ARG001
    """Judge with what `train_again_step` left in the same folder."""
    home = Home(folder)
    return _detect(cell, execution, folder=detection_folder(key, home=home), home=home)


@task(name="register", cache_policy=NO_CACHE, task_run_name=_name)
def register_step(
    cell: Cell,
    *,
    value: float,
    decided_on: str,
    tags: Mapping[str, str],
    tracker: Tracker,
    run_id: str,
    label: str,  # noqa: ARG001
    offered_by: Literal["job", "person"] = "job",
) -> Registered:
    """Never cached, because the champion may have changed meanwhile; a model is registered once all the same, and
    compared with a champion once. The cell has been ranked with clean histories.
    """
    home = Home.from_environment()
    registered = register(
        Trained(training_folder(cell.train_key, home=home)),
        cell.snapshot,
        clean=cell.clean,
        name=registered_name(cell.dataset),
        key=cell.train_key,
        value=value,
        decided_on=decided_on,
        ranks=evaluated_by(cell.on_clean_histories).ranks,
        tags=tags,
        run_id=run_id,
        tracker=tracker,
        home=home,
        offered_by=offered_by,
    )
    if registered.reason in ("worse", "not compared"):
        get_run_logger().warning(
            "%s version %s as %s: %s", registered.name, registered.version, registered.alias, registered.told
        )
    return registered


@task(name="recommend", cache_policy=NO_CACHE, task_run_name=_name)
def recommend_step(spec: RecommendSpec, snapshot: Snapshot, *, label: str) -> Json:  # noqa: ARG001
    """Score every user of a snapshot; never cached, because the champion may have changed meanwhile."""
    home = Home.from_environment()
    name = registered_name(spec.dataset)
    champion = load_registered(name, alias=spec.alias, home=home)
    offerable = offerable_by(champion, spec)
    trained_on, trained_as = training_snapshot(champion.model, home=home), training_log(champion, home=home)
    if trained_on is not None and trained_as is not None:
        otherwise = read_otherwise(spec, snapshot, trained_as=trained_as, trained_on=trained_on)
        if otherwise is not None:
            get_run_logger().warning("%s", otherwise)
    path = recommend_all(
        champion.model,
        snapshot,
        home.recommendations / f"{spec.dataset}-v{champion.version}-{snapshot.name}",
        trained_on=trained_on,
        k=spec.k,
        exclude_seen=spec.exclude_seen,
        offerable=offerable,
    )
    return {
        "model": f"{name} version {champion.version}",
        "users": snapshot.counts.users,
        "by_popularity": scored_by_popularity(path),
        "unknown_in_lists": list(offerable.unknown),
        "path": str(path),
    }


@task(name="recommend one", cache_policy=NO_CACHE, task_run_name=_name)
def recommend_one_step(spec: RecommendSpec, *, label: str) -> Json:  # noqa: ARG001
    """Score the one history of the spec."""
    name = registered_name(spec.dataset)
    champion = load_registered(name, alias=spec.alias, home=Home.from_environment())
    offerable = offerable_by(champion, spec)
    offered = recommend_one(
        champion.model, spec.history or (), k=spec.k, exclude_seen=spec.exclude_seen, offerable=offerable
    )
    return {"model": f"{name} version {champion.version}", "unknown_in_lists": list(offerable.unknown)} | offered


def snapshot_named(name: str) -> Snapshot:
    """The snapshot of that name in the state folder."""
    return open_snapshot(Home.from_environment().snapshots / name)


def trained_by(cell: Cell) -> Trained:
    """A cell's finished training."""
    return Trained(training_folder(cell.train_key, home=Home.from_environment()))


def evaluated_by(cell: Cell) -> Evaluated:
    """A cell's finished ranking."""
    return Evaluated(evaluation_folder(cell.evaluate_key, home=Home.from_environment()))


def detected_by(cell: Cell) -> Detected | None:
    """A cell's finished detection; None where its log has no labels to measure it by."""
    key = cell.detect_key
    return None if key is None else Detected(detection_folder(key, home=Home.from_environment()))


def _train(
    cell: Cell,
    execution: Execution,
    time_limit_minutes: float,
    *,
    tracker: Tracker,
    run_id: str,
    label: str,
    home: Home,
) -> Trained:
    """A cell's training in the state folder `home`, its curves in the MLflow run, unless a group has left it there."""
    folder = training_folder(cell.train_key, home=home)
    trained = Trained(folder)
    if all(path.exists() for path in trained.files):
        return trained
    with slot(execution.device), tracker.curves(run_id, warn=get_run_logger().warning) as curves:
        return train(
            cell.snapshot,
            cell.clean,
            cell.model,
            cell.training,
            seed=cell.seed,
            evaluation_seed=cell.evaluation_seed,
            execution=replace(execution, compiled=cell.compiled),
            time_limit_minutes=time_limit_minutes,
            made_by={**tracker.code, TAG_TRAINING_CODE: training_code()},
            folder=folder,
            home=home,
            hear=TrainingLines(curves, label=label, epochs=cell.epochs),
            watch=lambda pid: watched(pid, folder / SYSTEM_FILE, device=execution.device),
        )


def _train_group(
    cells: Sequence[Cell],
    execution: Execution,
    time_limit_minutes: float,
    *,
    tracker: Tracker,
    run_ids: Sequence[str],
    home: Home,
) -> None:
    """The trainings of cells in the state folder `home`, their curves in the MLflow runs. What the process took of the
    machine is told with each.
    """
    folders = [training_folder(cell.train_key, home=home) for cell in cells]
    asked = [
        asked_of(
            cell.snapshot,
            cell.clean,
            cell.model,
            cell.training,
            seed=cell.seed,
            evaluation_seed=cell.evaluation_seed,
            made_by={**tracker.code, TAG_TRAINING_CODE: training_code()},
            folder=folder,
            home=home,
        )
        for cell, folder in zip(cells, folders, strict=True)
    ]
    with ExitStack() as stack:
        stack.enter_context(slot(execution.device))
        warn = get_run_logger().warning
        curves = [stack.enter_context(tracker.curves(run_id, warn=warn)) for run_id in run_ids]
        lines = [
            TrainingLines(each, label=cell.label, epochs=cell.epochs) for each, cell in zip(curves, cells, strict=True)
        ]

        def hear(event: str, about: dict[str, Any]) -> None:
            for line in [lines[about.pop("cell")]] if event == EPOCH else lines:
                line(event, about)

        train_group(
            asked,
            execution=execution,
            time_limit_minutes=time_limit_minutes * len(cells),
            hear=hear,
            watch=lambda pid: watched(pid, folders[0] / SYSTEM_FILE, device=execution.device),
        )
    for folder in folders[1:]:
        shutil.copyfile(folders[0] / SYSTEM_FILE, folder / SYSTEM_FILE)


def _evaluate(cell: Cell, execution: Execution, *, home: Home) -> Evaluated:
    """A cell's ranking in the state folder `home`, which holds its training."""
    with slot(execution.device):
        return evaluate(
            Trained(training_folder(cell.train_key, home=home)),
            cell.histories,
            cell.clean,
            trained_on=cell.snapshot,
            evaluation_seed=cell.evaluation_seed,
            execution=execution,
            folder=evaluation_folder(cell.evaluate_key, home=home),
            home=home,
        )


def _detect(cell: Cell, execution: Execution, *, folder: Path, home: Home) -> Detected:
    """A cell's detection in the state folder `home`, which holds its training."""
    with slot(execution.device):
        trained = Trained(training_folder(cell.train_key, home=home))
        return detect(trained, cell.snapshot, execution=execution, folder=folder, home=home)


def _told(report: ValidationReport, *, key: str, home: Home) -> Json:
    """The report as JSON, its warnings said and its files noted. Its Data Docs are named as they lie in the folder of
    all Data Docs: a copied state folder has its own.
    """
    logger = get_run_logger()
    for warning in report.warnings:
        logger.warning("%s: a warning, which stops nothing: %s", report.subject, describe(warning))
    write_receipt(key, [report.docs], home=home)
    met = sum(outcome.success for outcome in report.outcomes)
    logger.info("%s: %s of %s expectations met", report.subject, met, len(report.outcomes))
    return report.to_json() | {"docs": f"{report.docs.parent.name}/{report.docs.name}"}
