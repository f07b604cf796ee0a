"""Steps side by side: in what order they begin and are heard of, and that one that fails stops no other."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tasks import steps as steps_module
from tasks.steps import SideBySide


class Threads:
    """Stands for `Steps`: runs what it is given in threads of its own, without Prefect."""

    def __init__(self, executor: ThreadPoolExecutor) -> None:
        self._executor = executor
        self.begun: list[str] = []

    def submit(self, step: Callable[[], None], *, key: str, runner: Any) -> "Future[None]":
        self.begun.append(key)
        return self._executor.submit(step)

    def failure(self, future: "Future[None]") -> BaseException | None:
        return future.exception()


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
    time.sleep(0.05)
    assert threads.begun == ["0"]


def test_a_training_warns_once_of_what_every_epoch_warns_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(steps_module, "get_run_logger", lambda: logging.getLogger("of a training"))
    passed: list[Any] = []
    told = steps_module._Told(passed.append, label="denoiser, seed 1", epochs=9)
    for epoch, share in enumerate(("4.0%", "3.0%"), start=1):
        told({"epoch": epoch, "metrics": {}, "warnings": [f"The gate has collapsed: {share} is open."]})
    told({"epoch": 3, "metrics": {}, "warnings": ["Another: 1."]})
    assert len(passed) == 3
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warned == [
        "denoiser, seed 1: The gate has collapsed: 4.0% is open.",
        "denoiser, seed 1: Another: 1.",
    ]  # fmt: skip
