"""Seconds: of the clock, of processors, and those by which sides are compared."""

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Taken:
    """Seconds of the clock and of processors, those of child processes that have ended included."""

    wall: float = 0.0
    processor: float = 0.0

    def __add__(self, other: "Taken") -> "Taken":
        return Taken(self.wall + other.wall, self.processor + other.processor)

    def __sub__(self, other: "Taken") -> "Taken":
        return Taken(self.wall - other.wall, self.processor - other.processor)


@dataclass(frozen=True)
class Clock:
    """`now` in seconds `of` the clock or the processor."""

    of: str
    now: Callable[[], float]


def now() -> Taken:
    """What this process has taken so far."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Taken(time.perf_counter(), time.process_time() + children.ru_utime + children.ru_stime)


def taken_by(call: Callable[[], Any]) -> Taken:
    """What a call takes."""
    before = now()
    call()
    return now() - before


def clock_for(device: str, *, threads: int) -> Clock:
    """That by which sides that take turns are timed: of one thread the processor's, which a busy neighbour lengthens
    less; else the clock's.
    """
    one_processor = device == "cpu" and threads == 1
    return Clock("processor", time.process_time) if one_processor else Clock("clock", wall_clock(device))


def wall_clock(device: str) -> Callable[[], float]:
    """The clock's seconds, of a GPU once it has done what it was asked for."""
    return time.perf_counter if device == "cpu" else _synchronised


def _synchronised() -> float:
    import torch  # a second that start-up's benchmark shall not take

    torch.cuda.synchronize()
    return time.perf_counter()
