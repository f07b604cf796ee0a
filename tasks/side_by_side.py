"""The cached steps of one flow run: those that are done are skipped, and those that are not run so many at a time."""

import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from prefect import Task
from prefect.client.schemas.objects import State
from prefect.futures import PrefectConcurrentFuture, PrefectFuture
from prefect.task_runners import TaskRunner

from tasks.home import Home
from tasks.receipts import holds
from tasks.slots import QUEUE, Queue
from tasks.workers import stop_workers

Json = dict[str, Any]
Work = TypeVar("Work")


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
        self._queue = Queue()

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


def _stop(futures: Collection[PrefectFuture[Any]]) -> None:
    """End what was submitted. A step that is about to start its worker gets there first, hence again and again."""
    running = [future.wrapped_future for future in futures if isinstance(future, PrefectConcurrentFuture)]
    for future in running:
        future.cancel()
    while not all(future.done() for future in running):
        stop_workers()
        time.sleep(0.1)
