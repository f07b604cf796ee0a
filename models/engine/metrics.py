"""Ranking metrics from ranks, and the names they are logged under.

A rank counts from 0: the number of items scored strictly higher plus half of those tied with the target.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from models.config import SELECTED_BY

CUTOFFS = (5, 10, 20)
PROTOCOLS = ("full_unseen", "full_all", "sampled100")
"""The whole catalogue less what the user had interacted with; the whole catalogue; 100 unseen negatives."""

VALIDATED = tuple(f"validation.{metric}" for metric in SELECTED_BY)
"""What a training measures on validation."""
SELECTION_METRIC = VALIDATED[0]
"""What chooses the model that is registered, and a checkpoint where nothing else is asked for."""

Ranks = Mapping[str, NDArray[np.float32]]
"""By protocol, one rank a target."""


def hits(ranks: NDArray[np.float32], cutoff: int) -> NDArray[np.float64]:
    """1 where the target is among the first `cutoff`."""
    return (ranks < cutoff).astype(np.float64)


def gains(ranks: NDArray[np.float32], cutoff: int) -> NDArray[np.float64]:
    """NDCG with one relevant item: 1 / log2(rank + 2) among the first `cutoff`, else 0."""
    return np.where(ranks < cutoff, 1.0 / np.log2(ranks.astype(np.float64) + 2.0), 0.0)


def reciprocal_ranks(ranks: NDArray[np.float32], cutoff: int) -> NDArray[np.float64]:
    """1 / (rank + 1) among the first `cutoff`, else 0."""
    return np.where(ranks < cutoff, 1.0 / (ranks.astype(np.float64) + 1.0), 0.0)


def summary(ranks: Ranks, split: str, cutoffs: Sequence[int] = CUTOFFS) -> dict[str, float]:
    """Means under their protocol's name, such as `test.full_unseen.ndcg_at_10`."""
    measures = {"hit": hits, "ndcg": gains, "mrr": reciprocal_ranks}
    return {
        f"{split}.{protocol}.{name}_at_{cutoff}": float(measure(values, cutoff).mean())
        for protocol, values in ranks.items()
        for name, measure in measures.items()
        for cutoff in cutoffs
    }
