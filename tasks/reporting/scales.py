"""From numbers to places on a page, with ticks that people can read."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

WIDE = 30.0
"""Values further apart than this ratio are placed evenly instead of by size."""


@dataclass(frozen=True)
class Tick:
    """A mark on an axis."""

    value: float
    label: str


@dataclass(frozen=True)
class Scale:
    """A linear map of [low, high] to [start, end]."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def span(values: Iterable[float], *, pad: float = 0.06) -> tuple[float, float]:
    """Limits somewhat wider than the values; around one value, or none, something to show it in."""
    held = [value for value in values if math.isfinite(value)]
    if not held:
        return 0.0, 1.0
    low, high = min(held), max(held)
    margin = (high - low) * pad or abs(high) * 0.1 or 1.0
    return low - margin, high + margin


def ticks(low: float, high: float, *, most: int = 6, least: float = 0.0) -> tuple[Tick, ...]:
    """Round numbers 1, 2 or 5 times a power of ten apart within the limits, at most so many, equally precise. `least`
    is how far apart they are in any case: 1 for what is counted.
    """
    rough = max((high - low) / most, least)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * times for times in (1.0, 2.0, 5.0, 10.0) if power * times >= rough * (1.0 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return tuple(Tick(number * step, signless(f"{number * step:,.{decimals}f}")) for number in range(first, last + 1))


def log_ticks(low: float, high: float, *, most: int = 6, least: float = 0.0) -> tuple[Tick, ...]:
    """Ticks of a logarithmic axis, in the units of its limits, which are exponents of ten: 1, 2 and 5 times powers of
    ten; powers of ten alone where those would be more than `most`, and not each of them where these would be. Where
    fewer than two are within the limits the values of `ticks` are marked, at least `least` apart.
    """
    powers = range(math.floor(low), math.floor(high) + 1)
    fine, coarse = (
        [times * 10.0**power for power in powers for times in steps if low <= power + math.log10(times) <= high]
        for steps in ((1.0, 2.0, 5.0), (1.0,))
    )
    if len(fine) < 2:
        near = ticks(10.0**low, 10.0**high, most=most, least=least)
        return tuple(Tick(math.log10(tick.value), tick.label) for tick in near)
    shown = fine if len(fine) <= most else coarse[:: math.ceil(len(coarse) / most)]
    return tuple(Tick(math.log10(value), f"{value:,g}") for value in shown)


def evenly(values: Sequence[float]) -> bool:
    """Whether values are too far apart to be placed by size: 0, 0.001 and 1 on one axis."""
    sizes = [abs(value) for value in values if value]
    return len(values) > 2 and bool(sizes) and max(sizes) / min(sizes) > WIDE


def signless(text: str) -> str:
    """A number with a true minus sign, and none before a zero."""
    if text.startswith("-"):
        return text.replace("-", "−") if any(sign in text for sign in "123456789") else text[1:]
    return text
