"""What is tried of a setting: some values, or a range."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import product
from typing import Any, Literal, get_origin

import numpy as np

from models.config import ModelConfig, TrainingConfig
from tasks.study.document import Document, Where, unknown
from tasks.study.settings import Settings, names

SEARCHED = ("model.", "training.")
"""What names of settings begin with that a search may choose: the others say what is predicted and on what."""

KEYS = ("low", "high", "log", "step")
DIGITS, DIGITS_OF_STEPS = 4, 12
"""Of a number that was drawn from a range: more would only be harder to read; and of one that lies so many steps above
its low end, where all but the last are the file's own.
"""


@dataclass(frozen=True)
class Choices:
    """One of these values."""

    values: tuple[Any, ...]

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values that show whether all can be used."""
        return self.values

    @property
    def all(self) -> tuple[Any, ...] | None:
        return self.values

    @property
    def described(self) -> str:
        return ", ".join(map(str, self.values))

    def holds(self, value: Any) -> bool:
        return any(value == held and isinstance(value, bool) == isinstance(held, bool) for held in self.values)

    def drawn(self, rng: np.random.Generator) -> Any:
        return self.values[int(rng.integers(len(self.values)))]


@dataclass(frozen=True)
class Range:
    """A number from `low` to `high`, both included; log: each power of ten is as likely as the next. step: only low and
    what lies so many steps above it; whole: no fractions.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None
    whole: bool = False

    @property
    def top(self) -> float:
        """The highest value that is reached."""
        return self.high if self.step is None else self._at(self._steps)

    @property
    def ends(self) -> tuple[Any, ...]:
        return (self.rounded(self.low), self.rounded(self.top))

    @property
    def all(self) -> tuple[Any, ...] | None:
        """Every value, None where there are endlessly many."""
        if self.step is not None:
            return tuple(self.rounded(self._at(number)) for number in range(self._steps + 1))
        return tuple(range(int(self.low), int(self.high) + 1)) if self.whole else None

    @property
    def described(self) -> str:
        how = " on a logarithmic scale" if self.log else f" in steps of {self.step:g}" if self.step else ""
        return f"{self.low:g} to {self.high:g}{how}"

    def holds(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        return self.step is None or any(math.isclose(value, held) for held in self.all or ())

    def drawn(self, rng: np.random.Generator) -> Any:
        if self.step is not None:
            return self.rounded(self._at(int(rng.integers(self._steps + 1))))
        if self.whole and not self.log:
            return int(rng.integers(int(self.low), int(self.high) + 1))
        half = 0.5 if self.whole else 0.0
        low, high = self.low - half, self.high + half
        value = math.exp(rng.uniform(math.log(low), math.log(high))) if self.log else float(rng.uniform(low, high))
        return self.rounded(value)

    def rounded(self, value: float) -> Any:
        """A value as a trial is given it."""
        digits = DIGITS if self.step is None else DIGITS_OF_STEPS
        held = round(value) if self.whole else float(f"{value:.{digits}g}")
        return type(held)(min(max(held, self.low), self.high))

    @property
    def _steps(self) -> int:
        return math.floor((self.high - self.low) / (self.step or 1.0) + 1e-9)

    def _at(self, number: int) -> float:
        return self.low + number * (self.step or 0.0)


Dimension = Choices | Range
Space = Mapping[str, Dimension]
"""By setting what is tried of it."""


def drawn(space: Space, rng: np.random.Generator) -> Settings:
    """A value of each setting, each value as likely as the next."""
    return {name: dimension.drawn(rng) for name, dimension in space.items()}


def size(space: Space) -> float:
    """How many combinations there are; infinity where a range holds endlessly many values."""
    counts = [dimension.all for dimension in space.values()]
    return math.prod(math.inf if values is None else len(values) for values in counts)


def every(space: Space) -> Iterator[Settings]:
    """Every combination of a space that is not endless."""
    for values in product(*(dimension.all or () for dimension in space.values())):
        yield dict(zip(space, values, strict=True))


def read_space(document: Document, values: Any, path: Where, *, prefix: str = "") -> dict[str, Dimension]:
    """The space that is written at `path`, nested or by dotted names.

    Raises `InputError` on a setting that does not exist or that no search chooses, and on values that cannot be.
    """
    if not isinstance(values, Mapping):
        raise document.fault(path, "write settings, each with a list of values or a mapping with low and high")
    known = names()
    space: dict[str, Dimension] = {}
    for key, value in values.items():
        name, here = f"{prefix}{key}", (*path, key)
        if name.startswith(SEARCHED) and name in known:
            space[name] = _dimension(document, name, value, here)
        elif any(each.startswith(f"{name}.") for each in known) and f"{name}.".startswith(SEARCHED):
            space |= read_space(document, value, here, prefix=f"{name}.")
        elif name in known or any(each.startswith(f"{name}.") for each in known):
            raise document.fault(
                here,
                f"a search chooses settings of model and training, and {name} has to be the same for all its trials: "
                f"write it under {'seeds' if name == 'seed' else 'methods' if name == 'method' else 'base'}",
            )
        else:
            raise document.fault(here, unknown("setting", name, [each for each in known if each.startswith(SEARCHED)]))
    return space


def _dimension(document: Document, name: str, value: Any, path: Where) -> Dimension:
    if isinstance(value, list):
        return _choices(document, name, value, path)
    if isinstance(value, Mapping):
        return _range(document, name, value, path)
    raise document.fault(path, f"{name}: write a list of values or {{low: …, high: …}}; one alone belongs under base")


def _choices(document: Document, name: str, values: list[Any], path: Where) -> Choices:
    for number, value in enumerate(values):
        if value is None or isinstance(value, list | Mapping):
            raise document.fault((*path, number), f"{name}: {value!r} is no value of a setting")
        if value in values[:number]:
            raise document.fault((*path, number), f"{name}: {value!r} is there twice")
    if len(values) < 2:
        raise document.fault(path, f"{name}: there is nothing to choose from; a single value belongs under base")
    return Choices(tuple(values))


def _range(document: Document, name: str, held: Mapping[str, Any], path: Where) -> Range:
    for key in held:
        if key not in KEYS:
            raise document.fault((*path, key), unknown(f"part of a range, here of {name},", key, KEYS))
    kind = _kind(name)
    if kind not in (int, float):
        raise document.fault(path, f"{name} is no number, so that it has no range: write a list of values")
    log = held.get("log", False)
    if not isinstance(log, bool):
        raise document.fault((*path, "log"), f"{name}: log is true or false, not {log!r}")
    for key in ("low", "high", *(["step"] if "step" in held else [])):
        value = held.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise document.fault((*path, key), f"{name}: {key} has to be a number" + _given(value))
        if kind is int and value != int(value):
            raise document.fault((*path, key), f"{name} takes whole numbers, which {key} {value!r} is not")
    low, high, step = held["low"], held["high"], held.get("step")
    if low >= high:
        raise document.fault(path, f"{name}: low ({low}) has to be less than high ({high})")
    if log and low <= 0:
        raise document.fault(path, f"{name}: a logarithmic range begins above 0, not at {low}")
    if step is not None and (log or not 0 < step <= high - low):
        why = "a logarithmic range has no steps" if log else f"a step of {step} does not fit between {low} and {high}"
        raise document.fault((*path, "step"), f"{name}: {why}")
    return Range(kind(low), kind(high), log=log, step=None if step is None else kind(step), whole=kind is int)


def _given(value: Any) -> str:
    return ", and is missing" if value is None else f", not {value!r}"


def _kind(name: str) -> Any:
    part, _, field = name.partition(".")
    config = ModelConfig if part == "model" else TrainingConfig
    kind = {each.name: each.type for each in fields(config)}[field]
    return str if get_origin(kind) is Literal else kind
