"""Made-up trainings whose truth is known."""

import numpy as np

from tasks.statistics.comparison import Table, compare
from tasks.statistics.estimates import Floats
from tasks.statistics.panel import Panel, Scores, align

USERS = 400


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def training(method: str, seed: int, values: Floats, *, users: "np.ndarray | None" = None) -> Scores:
    targets = np.arange(len(values))
    return Scores(method, seed, targets, targets if users is None else users, np.asarray(values, dtype=np.float64))


def panel_of(shifts: dict[str, float], *, runs: int = 3, noise: float = 0.1, seed: int = 0) -> Panel:
    """A method a shift: a user's own level around 0.5, the shift, and noise of each training's own."""
    draw = rng(seed)
    level = draw.normal(0.5, 0.2, USERS)
    return align(
        training(method, run, level + shift + draw.normal(0.0, noise, USERS))
        for method, shift in shifts.items()
        for run in range(runs)
    )


def table_of(panel: Panel, **options: object) -> Table:
    return compare(panel, metric="test.full_unseen.ndcg_at_10", reference="base", rng=rng(), **options)  # type: ignore[arg-type]
