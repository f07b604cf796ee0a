"""From metrics of single trainings to the table of methods × noise."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean, stdev
from typing import Any

from tasks.detect import auroc_by_detector

COMPARED = (
    "test.full_unseen.ndcg_at_10",
    "test.full_unseen.hit_at_10",
    "test.sampled100.ndcg_at_10",
    "test.sampled100.hit_at_10",
)
RETAINED = "test.full_unseen.ndcg_at_10"


@dataclass(frozen=True)
class Cell:
    """One training's figures. `noise` says its ratio in words, as `tasks.specs.NoiseSpec.described` does."""

    method: str
    ratio: float
    noise: str
    seed: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class Row:
    """A method at a noise ratio: means over seeds, their standard deviations (None with one seed), and `retention`,
    the share of the mean `RETAINED` that is left of the method's own at the lowest ratio (None where that is 0 or not
    known).

    A method that is worse to begin with can retain more: read it beside the absolute values. detection: by detector the
    mean area under its ROC curve (`tasks.detect`), where what was trained on has labels of noise.
    """

    method: str
    ratio: float
    noise: str
    seeds: int
    means: dict[str, float]
    deviations: dict[str, float | None]
    retention: float | None
    detection: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def compare(cells: Iterable[Cell], *, least: float) -> tuple[Row, ...]:
    """One row a method and ratio, methods in the order of their first cell, ratios rising. `least` is the lowest ratio,
    at which there may be no cell of a method.

    Raises `ValueError` where there is nothing to compare.
    """
    groups: dict[tuple[str, float], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.method, cell.ratio), []).append(cell)
    if not groups:
        raise ValueError("there are no trainings to compare")
    methods = list(dict.fromkeys(method for method, _ in groups))
    return tuple(
        _row(groups[method, ratio], groups.get((method, least), ()))
        for method in methods
        for ratio in sorted(ratio for name, ratio in groups if name == method)
    )


def _row(cells: Sequence[Cell], reference: Sequence[Cell]) -> Row:
    values = {name: [cell.metrics[name] for cell in cells] for name in COMPARED}
    kept = fmean(values[RETAINED])
    base = fmean(cell.metrics[RETAINED] for cell in reference) if reference else 0.0
    return Row(
        method=cells[0].method,
        ratio=cells[0].ratio,
        noise=cells[0].noise,
        seeds=len(cells),
        means={name: fmean(numbers) for name, numbers in values.items()},
        deviations={name: stdev(numbers) if len(numbers) > 1 else None for name, numbers in values.items()},
        retention=kept / base if base else None,
        detection={name: fmean(areas) for name, areas in _detection(cells).items()},
    )


def _detection(cells: Sequence[Cell]) -> dict[str, list[float]]:
    """By detector the areas of the trainings, of those detectors that all of them have."""
    found = [auroc_by_detector(cell.metrics) for cell in cells]
    return {name: [areas[name] for areas in found] for name in found[0] if all(name in areas for areas in found)}
