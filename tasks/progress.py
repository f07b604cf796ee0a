"""How far a job is, and how long it will still take by what it has measured."""

from collections.abc import Mapping

from tasks.wording import counted

UNDER_WAY = 0.5
"""How much of a training that is under way is taken to be done."""


class Progress:
    """Counts cells as they end. Time to go is what the trainings that are left are expected to take, at the pace of
    those of this run that have ended; before one has, as expected. Into that pace goes an average training that took
    what was expected: the first to end may be one of seconds that took a minute, and says nothing of the others.

    `trainings` are those that have to be made, by key, with the seconds that each is expected to take, so many
    `at_a_time`; None where only their proportions count. What is cached is not among them.
    """

    def __init__(
        self, cells: int, trainings: Mapping[str, float], *, started: float, at_a_time: int | None = None
    ) -> None:
        self._cells = cells
        self._at_a_time = at_a_time
        self._left = dict(trainings)
        self._usual = sum(trainings.values()) / max(1, len(trainings))
        self._started = started
        self._trained = 0.0
        self.done = 0
        self.failed = 0

    def trained(self, key: str) -> None:
        """A training has ended, with a result or without."""
        self._trained += self._left.pop(key, 0.0)

    def seconds_to_go(self, *, under_way: int, now: float) -> float | None:
        """None where nothing is measured or expected yet; 0 where nothing is left to train."""
        if not self._left:
            return 0.0
        running = UNDER_WAY * sum(list(self._left.values())[:under_way])
        if not self._trained:
            return self._expected(now)
        seconds, done = now - self._started, self._trained + running
        if self._at_a_time is not None:
            seconds, done = seconds + self._usual / self._at_a_time, done + self._usual
        return seconds * (sum(self._left.values()) - running) / done

    def _expected(self, now: float) -> float | None:
        if self._at_a_time is None:
            return None
        seconds = max(sum(self._left.values()) / self._at_a_time, *self._left.values())
        return max(0.0, seconds - (now - self._started))

    def told(self, *, under_way: int, now: float) -> str:
        """A line: "7 of 24 cells done, 1 failed, 2 running, 14 left, about 3 min to go"."""
        ended = self.done + self.failed
        running = min(under_way, self._cells - ended)
        parts = [f"{self.done} of {counted(self._cells, 'cell')} done"]
        parts += [f"{self.failed} failed"] * bool(self.failed)
        parts += [f"{running} running", f"{self._cells - ended - running} left"]
        to_go = self.seconds_to_go(under_way=under_way, now=now)
        if to_go is None:
            parts.append("time to go not known yet")
        elif ended < self._cells:
            parts.append(f"about {duration(to_go)} to go")
        return ", ".join(parts)


def duration(seconds: float) -> str:
    """Seconds as a person says them: "40 s", "7 min", "2 h 10 min"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"
