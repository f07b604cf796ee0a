"""The steps as Prefect tasks: names, caching by step key, retries. What a step does is in its own module.

A cached step takes its `key` and returns plain JSON. `Steps` skips one that has been done and whose files are
still there; Prefect shows it as Cached.
"""

import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Generic, Literal, TypeVar

from httpx import TransportError
from prefect import Task, get_run_logger, runtime, task
from prefect.cache_policies import NO_CACHE, CacheKeyFnPolicy
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State, TaskRun
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency
from prefect.futures import PrefectConcurrentFuture, PrefectFuture
from prefect.task_runners import TaskRunner

from models.engine.metrics import SELECTION_METRIC
from tasks.audit.judge import judge, judged_folder
from tasks.corrupt import corrupt
from tasks.data_specs import CorruptSpec, FilterSpec, PrepareSpec
from tasks.detect import Detected, detect, detection_folder
from tasks.evaluate import Evaluated, evaluate, evaluation_folder
from tasks.execution import Execution
from tasks.filter import filtered
from tasks.home import Home
from tasks.ingest import ingest
from tasks.own_server import server_is_shared
from tasks.plan import Cell, training_code
from tasks.receipts import holds, write_receipt
from tasks.recommend import (
    load_registered,
    read_otherwise,
    recommend_all,
    recommend_one,
    scored_by_popularity,
    training_log,
    training_snapshot,
)
from tasks.register import Registered, register
from tasks.snapshots import Snapshot, open_snapshot
from tasks.sources.fetch import Kept, Remote, fetch
from tasks.sources.logs import Log
from tasks.specs import RecommendSpec, registered_name
from tasks.track import Tracker
from tasks.train import Trained, asked_of, gist, train, train_group, training_folder
from tasks.validate import validate, validate_log
from tasks.validation.report import ValidationReport, describe
from tasks.watching import SYSTEM_FILE, watched
from tasks.workers import WorkerDied, WorkerStopped, stop_workers

Json = dict[str, Any]
Work = TypeVar("Work")
LIMITS = {"cpu": "rec-denoiser-cpu", "cuda": "rec-denoiser-gpu"}
"""Prefect's global concurrency limits on trainings, by device; `flows.server` makes them."""

TAG_TRAINING_CODE = "rec_denoiser.training_sha256"
SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_LOOKS = 2.0
DATA_STEP_SECONDS = 6 * 3600.0


@dataclass(frozen=True)
class _Queue:
    """The steps of a `SideBySide` that wait for a slot of Prefect's: who has `head` looks for one. Once it is `closing`
    they wait no longer.
    """

    head: threading.Lock = field(default_factory=threading.Lock)
    closing: threading.Event = field(default_factory=threading.Event)


QUEUE: ContextVar[_Queue] = ContextVar("queue")


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
        "snapshot %s: %s interactions of %s users with %s items",
        snapshot.name,
        *(f"{count:,}" for count in (counts.interactions, counts.users, counts.items)),
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
    with _slot("cpu"):
        judged = judge(snapshot, folder=judged_folder(snapshot, key=key, home=home), home=home)
    write_receipt(key, judged.files, home=home)
    return judged.folder.name


@task(name="filter", timeout_seconds=DATA_STEP_SECONDS, **CACHED, **RETRIED)
def filter_step(snapshot: Snapshot, spec: FilterSpec, *, key: str, label: str) -> str:  # noqa: ARG001
    """The name of the snapshot without what a noise model takes for noise."""
    home = Home.from_environment()
    with _slot("cpu"):
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
    """The name of the folder that holds the ranks."""
    home = Home.from_environment()
    evaluated = _evaluate(cell, execution, home=home)
    write_receipt(key, [evaluated.ranks], home=home)
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
    """Never cached, because the champion may have changed meanwhile; a model is registered once all the same."""
    home = Home.from_environment()
    return register(
        Trained(training_folder(cell.train_key, home=home)),
        cell.snapshot,
        clean=cell.clean,
        name=registered_name(cell.dataset),
        key=cell.train_key,
        value=value,
        decided_on=decided_on,
        tags=tags,
        run_id=run_id,
        tracker=tracker,
        home=home,
        offered_by=offered_by,
    )


@task(name="recommend", cache_policy=NO_CACHE, task_run_name=_name)
def recommend_step(spec: RecommendSpec, snapshot: Snapshot, *, label: str) -> Json:  # noqa: ARG001
    """Score every user of a snapshot; never cached, because the champion may have changed meanwhile."""
    home = Home.from_environment()
    name = registered_name(spec.dataset)
    champion = load_registered(name, alias=spec.alias, home=home)
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
    )
    return {
        "model": f"{name} version {champion.version}",
        "users": snapshot.counts.users,
        "by_popularity": scored_by_popularity(path),
        "path": str(path),
    }


@task(name="recommend one", cache_policy=NO_CACHE, task_run_name=_name)
def recommend_one_step(spec: RecommendSpec, *, label: str) -> Json:  # noqa: ARG001
    """Score the one history of the spec."""
    name = registered_name(spec.dataset)
    champion = load_registered(name, alias=spec.alias, home=Home.from_environment())
    offered = recommend_one(champion.model, spec.history or (), k=spec.k, exclude_seen=spec.exclude_seen)
    return {"model": f"{name} version {champion.version}"} | offered


class Steps:
    """The cached steps of one flow run: runs those that are not done yet, and counts."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self.done = 0
        self.cached = 0
        self.reports: list[Json] = []

    def run(self, step: "Task[..., Any]", *arguments: Any, key: str, **options: Any) -> Any:
        """Run a step now, unless it has been done and its files are still there."""
        return self._result(self._renewed(step, key)(*arguments, key=key, return_state=True, **options))

    def submit(
        self, step: "Task[..., Any]", *, key: str, runner: TaskRunner[Any], **parameters: Any
    ) -> PrefectFuture[Any]:
        """As `run`, on a task runner; `failure` says how it ended."""
        future: PrefectFuture[Any] = runner.submit(self._renewed(step, key), parameters={**parameters, "key": key})
        return future

    def failure(self, future: PrefectFuture[Any]) -> Exception | None:
        """Why a submitted step failed, or None where it did not; waits for its end."""
        future.wait()
        try:
            self._result(future.state)
        except Exception as failure:
            return failure
        return None

    def holds(self, key: str) -> bool:
        """Has the step been done, and is all that it left still there?"""
        return holds(key, home=self._home)

    def _result(self, state: State[Any]) -> Any:
        result = state.result()
        if state.name == "Cached":
            self.cached += 1
        else:
            self.done += 1
        return result

    def _renewed(self, step: "Task[..., Any]", key: str) -> "Task[..., Any]":
        return step.with_options(refresh_cache=not self.holds(key))


class SideBySide(Generic[Work]):
    """Steps of one flow run on a task runner, so many at a time, heard of one by one as they end.

    What is worked for is the caller's: any value goes in with a step and comes back when it has ended. A step that
    fails stops no other. Leaving the block before all have ended, by Ctrl-C or an error, stops those under way and lets
    none of the waiting begin.
    """

    def __init__(self, steps: Steps, runner: TaskRunner[Any], *, at_a_time: int) -> None:
        self._steps = steps
        self._runner = runner
        self._at_a_time = at_a_time
        self._waiting: deque[tuple[Work, Callable[[], PrefectFuture[Any]]]] = deque()
        self._under_way: dict[PrefectFuture[Any], Work] = {}
        self._ended: SimpleQueue[PrefectFuture[Any]] = SimpleQueue()
        self._queue = _Queue()

    def __enter__(self) -> "SideBySide[Work]":
        return self

    def __exit__(self, *failure: object) -> None:
        self._queue.closing.set()
        _stop(self._under_way)

    def add(self, work: Work, step: "Task[..., Any]", *, key: str, **parameters: Any) -> None:
        """Let a step wait for its turn, after those that wait already."""
        self._waiting.append((work, self._start(step, key, parameters)))

    def add_next(self, work: Work, step: "Task[..., Any]", *, key: str, **parameters: Any) -> None:
        """Let a step wait for its turn, before those that wait already."""
        self._waiting.appendleft((work, self._start(step, key, parameters)))

    @property
    def under_way(self) -> int:
        """How many steps have begun and not ended."""
        return len(self._under_way)

    def fill(self) -> None:
        """Begin what there is room for; worth a call before the caller is busy with something else for long."""
        while self._waiting and len(self._under_way) < self._at_a_time:
            work, start = self._waiting.popleft()
            future = start()
            self._under_way[future] = work
            future.add_done_callback(self._ended.put)

    def __iter__(self) -> Iterator[tuple[Work, Exception | None]]:
        """What has ended, in the order in which it does, with its failure if it failed. More may be added meanwhile."""
        self.fill()
        while self._under_way:
            future = self._ended.get()
            work = self._under_way.pop(future)
            yield work, self._steps.failure(future)
            self.fill()

    def _start(
        self, step: "Task[..., Any]", key: str, parameters: Mapping[str, Any]
    ) -> Callable[[], PrefectFuture[Any]]:
        def start() -> PrefectFuture[Any]:
            # A step runs in a copy of the context in which it is submitted.
            context = copy_context()
            context.run(QUEUE.set, self._queue)
            return context.run(lambda: self._steps.submit(step, key=key, runner=self._runner, **parameters))

        return start


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
    with _slot(execution.device), tracker.curves(run_id, warn=get_run_logger().warning) as curves:
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
            on_epoch=_Told(curves, label=label, epochs=cell.training.epochs),
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
        stack.enter_context(_slot(execution.device))
        warn = get_run_logger().warning
        curves = [stack.enter_context(tracker.curves(run_id, warn=warn)) for run_id in run_ids]
        told = [
            _Told(each, label=cell.label, epochs=cell.training.epochs) for each, cell in zip(curves, cells, strict=True)
        ]
        train_group(
            asked,
            execution=execution,
            time_limit_minutes=time_limit_minutes * len(cells),
            on_epoch=lambda place, record: told[place](record),
            watch=lambda pid: watched(pid, folders[0] / SYSTEM_FILE, device=execution.device),
        )
    for folder in folders[1:]:
        shutil.copyfile(folders[0] / SYSTEM_FILE, folder / SYSTEM_FILE)


def _evaluate(cell: Cell, execution: Execution, *, home: Home) -> Evaluated:
    """A cell's ranking in the state folder `home`, which holds its training."""
    with _slot(execution.device):
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
    with _slot(execution.device):
        trained = Trained(training_folder(cell.train_key, home=home))
        return detect(trained, cell.snapshot, execution=execution, folder=folder, home=home)


def _stop(futures: Collection[PrefectFuture[Any]]) -> None:
    """End what was submitted. A step that is about to start its worker gets there first, hence again and again."""
    running = [future.wrapped_future for future in futures if isinstance(future, PrefectConcurrentFuture)]
    for future in running:
        future.cancel()
    while not all(future.done() for future in running):
        stop_workers()
        time.sleep(0.1)


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


@contextmanager
def _slot(device: str) -> Iterator[None]:
    """A place among the trainings of all flow runs on a Prefect server.

    With a server of one's own there is nobody to share with, and a killed process would leave its slot taken for ever.
    """
    if not server_is_shared():
        yield
        return
    queue = QUEUE.get(None) or _Queue()
    with ExitStack() as held:
        with queue.head:
            _wait_for(LIMITS[device], held, closing=queue.closing)
        yield


def _wait_for(limit: str, held: ExitStack, *, closing: threading.Event) -> None:
    """Take a slot of a limit into `held`, as soon as there is one. Raises `WorkerStopped` once it is `closing`."""
    if _has_taken(limit, held):
        return
    get_run_logger().info(
        "all of Prefect's limit %s is taken: this waits until a training of another flow run ends "
        "(`prefect gcl inspect %s` shows its slots)",
        limit,
        limit,
    )
    while not _has_taken(limit, held):
        if closing.wait(SECONDS_BETWEEN_LOOKS):
            raise WorkerStopped("it was told to stop while it waited for a slot")


def _has_taken(limit: str, held: ExitStack) -> bool:
    """Take a slot of a limit into `held`; False where others have all of them just now. Prefect would wait by itself,
    and nothing could end its waiting. A server that is away for a while ends no training that has its slot.
    """
    if not _has_room(limit):
        return False
    try:
        taken = concurrency(limit, occupy=1, strict=True, max_retries=0, raise_on_lease_renewal_failure=False)
        held.enter_context(taken)
    except ConcurrencySlotAcquisitionError as refused:
        answer = getattr(refused.__cause__, "response", None)
        if answer is not None and answer.status_code == HTTPStatus.LOCKED:
            return False
        raise
    return True


def _has_room(limit: str) -> bool:
    """Does a limit look as if it had a free slot? Prefect calls it an error to ask for one in vain."""
    with get_client(sync_client=True) as client:
        found = client.read_global_concurrency_limit_by_name(limit)
    return not found.active or found.active_slots < found.limit


class _Told:
    """Hears a training's epochs: passes them on, says how it goes now and then, and each warning once. One that goes on
    from a checkpoint tells its earlier epochs first.
    """

    def __init__(self, pass_on: Callable[[Mapping[str, Any]], None], *, label: str, epochs: int) -> None:
        self._pass_on = pass_on
        self._label = label
        self._epochs = epochs
        self._logger = get_run_logger()
        self._said = time.monotonic()
        self._since = time.time() * 1000
        self._earlier = 0
        self._best = 0.0
        self._warned: set[str] = set()
        self._logger.info("%s: training starts, at most %s epochs", label, epochs)

    def __call__(self, record: Mapping[str, Any]) -> None:
        self._pass_on(record)
        for warning in record.get("warnings", ()):
            if gist(warning) not in self._warned:
                self._warned.add(gist(warning))
                self._logger.warning("%s: %s", self._label, warning)
        self._best = max(self._best, record["metrics"].get(SELECTION_METRIC) or 0.0)
        if record["timestamp"] < self._since:
            self._earlier = record["epoch"]
            return
        if self._earlier:
            self._logger.info("%s: it goes on after epoch %s", self._label, self._earlier)
            self._earlier = 0
        now = time.monotonic()
        if now - self._said > SECONDS_BETWEEN_LINES:
            self._said = now
            left = (self._epochs - record["epoch"]) * record["metrics"]["time.epoch_seconds"]
            self._logger.info(
                "%s: epoch %s of at most %s, best validation NDCG@10 %.4f, at most %.0f s left",
                self._label,
                record["epoch"],
                self._epochs,
                self._best,
                left,
            )
