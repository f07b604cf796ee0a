"""Several comparisons at once: how the p-values grow so that a table as a whole keeps its error rate."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tasks.statistics.estimates import ALPHA


@dataclass(frozen=True)
class Adjusted:
    """A p-value adjusted for the comparisons made with it, and whether it is at most alpha."""

    p: float
    significant: bool
    comparisons: int


def holm(p_values: Sequence[float | None], *, alpha: float = ALPHA) -> list[Adjusted | None]:
    """Holm's step-down adjustment (Holm 1979, "A simple sequentially rejective multiple test procedure", Scand. J.
    Stat. 6), in the order given.

    With p₍₁₎ ≤ … ≤ p₍ₘ₎: p̃₍ᵢ₎ = max over j ≤ i of min(1, (m − j + 1) p₍ⱼ₎). The chance of any false rejection is at
    most alpha, however the tests depend on each other. None, where no test could be made, stays None and counts for no
    comparison.

    Raises `ValueError` for a p-value that is not between 0 and 1.
    """
    places = [place for place, p in enumerate(p_values) if p is not None]
    known = np.array([p for p in p_values if p is not None], dtype=np.float64)
    if not ((known >= 0.0) & (known <= 1.0)).all():
        raise ValueError(f"p-values lie between 0 and 1, and these do not: {list(p_values)}")
    order = np.argsort(known, kind="stable")
    steps = np.arange(len(known), 0, -1)
    raised = np.minimum(1.0, np.maximum.accumulate(steps * known[order]))
    adjusted: list[Adjusted | None] = [None] * len(p_values)
    for place, p in zip((places[index] for index in order), raised, strict=True):
        adjusted[place] = Adjusted(p=float(p), significant=bool(p <= alpha), comparisons=len(known))
    return adjusted
