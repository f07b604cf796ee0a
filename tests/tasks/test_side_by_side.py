"""Steps side by side: in what order they begin and are heard of, that one that fails stops no other, and how they wait
for slots.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

import httpx
import pytest
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError

from tasks import slots as slots_module
from tasks.side_by_side import SideBySide
from tasks.workers import WorkerStopped


class Threads:
    """Stands for `Steps`: runs what it is given in threads of its own, without Prefect, and as Prefect does in a copy
    of the context.
    """

    def __init__(self, executor: ThreadPoolExecutor) -> None:
        self._executor = executor
        self.begun: list[str] = []

    def submit(self, step: Callable[[], None], *, key: str, runner: Any) -> "Future[None]":
        self.begun.append(key)
        return self._executor.submit(copy_context().run, step)

    def failure(self, future: "Future[None]") -> BaseException | None:
        return future.exception()

    def join(self) -> None:
        """Wait until all that has begun has ended, and what is done at its end with it."""
        self._executor.shutdown()


@pytest.fixture
def threads() -> Iterator[Threads]:
    with ThreadPoolExecutor() as executor:
        yield Threads(executor)


def side_by_side(threads: Threads, at_a_time: int) -> SideBySide[str]:
    steps: Any = threads
    runner: Any = None
    return SideBySide(steps, runner, at_a_time=at_a_time)


def at_once() -> None:
    """Done before it is looked at."""


def test_what_follows_an_ended_step_comes_before_what_waits(threads: Threads) -> None:
    step: Any = at_once
    with side_by_side(threads, 1) as work:
        for name in ("a", "b", "c"):
            work.add(f"train {name}", step, key=f"train {name}")
        for ended, failure in work:
            assert failure is None
            if ended.startswith("train"):
                follower = ended.replace("train", "rank")
                work.add_next(follower, step, key=follower)
    assert threads.begun == [f"{verb} {name}" for name in ("a", "b", "c") for verb in ("train", "rank")]


def test_no_more_than_so_many_are_under_way_and_the_first_to_end_is_heard_of_first(threads: Threads) -> None:
    gates = {name: threading.Event() for name in ("slow", "quick", "last")}
    with side_by_side(threads, 2) as work:
        for name, gate in gates.items():
            step: Any = gate.wait
            work.add(name, step, key=name)
        heard = iter(work)
        gates["quick"].set()
        assert next(heard) == ("quick", None)
        assert threads.begun == ["slow", "quick"]
        work.fill()
        assert threads.begun == ["slow", "quick", "last"]
        for gate in gates.values():
            gate.set()
        assert {name for name, _ in heard} == {"slow", "last"}


def test_a_step_that_fails_stops_no_other(threads: Threads) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with side_by_side(threads, 2) as work:
        for number in range(6):
            step: Any = fail if number % 2 else at_once
            work.add(str(number), step, key=str(number))
        ended = dict(work)
    assert {name for name, failure in ended.items() if isinstance(failure, ZeroDivisionError)} == {"1", "3", "5"}
    assert {name for name, failure in ended.items() if failure is None} == {"0", "2", "4"}


def test_an_interruption_lets_none_of_the_waiting_begin(threads: Threads) -> None:
    step: Any = at_once

    def interrupted() -> None:
        with side_by_side(threads, 1) as work:
            for number in range(5):
                work.add(str(number), step, key=str(number))
            for _ in work:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    threads.join()
    assert threads.begun == ["0"]


class Slots:
    """Stands for Prefect's limit: refuses as Prefect does where no slot is free."""

    def __init__(self, free: int, status: int = 423) -> None:
        self.free = free
        self.status = status
        self.asked = threading.Event()
        self.seems_free = False

    def look(self, limit: str) -> bool:
        self.asked.set()
        return self.seems_free or self.free > 0

    @contextmanager
    def __call__(
        self, limit: str, *, occupy: int, strict: bool, max_retries: int, raise_on_lease_renewal_failure: bool
    ) -> Iterator[None]:
        assert not raise_on_lease_renewal_failure
        if not self.free:
            answer = httpx.Response(self.status, request=httpx.Request("POST", "http://server"))
            refused = httpx.HTTPStatusError("refused", request=answer.request, response=answer)
            raise ConcurrencySlotAcquisitionError(f"Unable to acquire slots on {limit}") from refused
        self.free -= occupy
        try:
            yield
        finally:
            self.free += occupy


@pytest.fixture
def slots(monkeypatch: pytest.MonkeyPatch) -> Slots:
    slots = Slots(0)
    monkeypatch.setattr(slots_module, "server_is_shared", lambda: True)
    monkeypatch.setattr(slots_module, "concurrency", slots)
    monkeypatch.setattr(slots_module, "_has_room", slots.look)
    monkeypatch.setattr(slots_module, "get_run_logger", lambda: logging.getLogger("waits"))
    return slots


def hold_a_slot() -> None:
    with slots_module.slot("cpu"):
        pass


@pytest.mark.parametrize("seems_free", [False, True])
def test_who_waits_for_a_slot_of_others_is_stopped_with_the_rest(
    threads: Threads, slots: Slots, *, seems_free: bool
) -> None:
    slots.seems_free = seems_free
    ended: list[BaseException] = []

    def wait_for_a_slot() -> None:
        try:
            hold_a_slot()
        except WorkerStopped as stopped:
            ended.append(stopped)

    def interrupted() -> None:
        step: Any = wait_for_a_slot
        with side_by_side(threads, 3) as work:
            for number in range(3):
                work.add(str(number), step, key=str(number))
            work.fill()
            assert slots.asked.wait(10)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    deadline = time.monotonic() + 10
    while len(ended) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(ended) == 3


def test_a_slot_that_becomes_free_is_taken_and_given_back(
    threads: Threads, slots: Slots, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And it is said, once, what is waited for."""
    caplog.set_level(logging.INFO, logger="waits")
    monkeypatch.setattr(slots_module, "SECONDS_BETWEEN_LOOKS", 0.01)
    step: Any = hold_a_slot
    with side_by_side(threads, 1) as work:
        work.add("waiting", step, key="waiting")
        work.fill()
        assert slots.asked.wait(10)
        slots.free = 1
        assert list(work) == [("waiting", None)]
    assert slots.free == 1
    (said,) = caplog.messages
    assert said.startswith("all of Prefect's limit rec-denoiser-cpu is taken")
    slots.free, slots.status, slots.seems_free = 0, 500, True
    with pytest.raises(ConcurrencySlotAcquisitionError):
        hold_a_slot()
