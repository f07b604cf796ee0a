"""What a study's ranks say, computed anew from these alone."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tasks.study.result import CellResult, StudyResult
from tests.tasks.study_results import Ranks

RESAMPLES = 200


def finished(result: StudyResult, method: str, ratio: float) -> list[CellResult]:
    return [c for c in result.cells if c.method == method and c.noise and c.noise.ratio == ratio and c.ranks]


def ndcg(rank: float) -> float:
    return 1.0 / np.log2(rank + 2.0) if rank < 10.0 else 0.0


def hit(rank: float) -> float:
    return float(rank < 10.0)


def by_user(
    result: StudyResult,
    ranks: Ranks,
    method: str,
    ratio: float,
    protocol: str,
    *,
    measure: Callable[[float], float] = ndcg,
) -> "np.ndarray":
    """The measure of each user, meant over seeds: computed here from the ranks alone."""
    cells = finished(result, method, ratio)
    values = [list(map(measure, ranks(cell)[f"rank_{protocol}"].to_numpy(dtype=float))) for cell in cells]
    return np.mean(values, axis=0)


def drawn_anew(result: StudyResult, draws: dict[int, tuple[int, int]]) -> StudyResult:
    """A study whose seeds are taken for pairs of a seed and a draw of noise."""
    cells = []
    for cell in result.cells:
        seed, draw = draws[cell.seed]
        assert cell.noise is not None
        axes = {**cell.axes, "seed": seed, **({"noise.seed": draw} if cell.noise.ratio else {})}
        cells.append(replace(cell, seed=seed, noise=replace(cell.noise, seed=draw), axes=axes))
    return replace(result, cells=tuple(cells))
