"""Seconds of the clock and of processors."""

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


def now() -> Taken:
    """What this process has taken so far."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Taken(time.perf_counter(), time.process_time() + children.ru_utime + children.ru_stime)


def taken_by(call: Callable[[], Any]) -> Taken:
    """What a call takes."""
    before = now()
    call()
    return now() - before
