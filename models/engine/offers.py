"""What a recommender offers, whoever is right: how much of the catalogue, how well known, how evenly.

A rank says where the target stands, and nothing of what stands before it. Here are the first `OFFERED` items of each
target's list, and of how many lists each item is in: its exposure.
"""

import numpy as np
from numpy.typing import NDArray

OFFERED = 10
"""How many items a list has, where its user has not had nearly all."""
OFFERED_IN = "test"
"""The split whose lists are told of."""

Offers = NDArray[np.int32]
"""[targets, OFFERED] item numbers, from 1 on; 0 where a list is shorter."""


def exposures(offers: Offers, item_count: int) -> NDArray[np.int64]:
    """[items]: in how many lists each item stands."""
    return np.bincount(offers.ravel(), minlength=item_count + 1)[1:].astype(np.int64)


def self_information(having: NDArray[np.int64], users: int) -> NDArray[np.float64]:
    """[items] in bits: −log2 of the share of `users` who have an item, which `having` [items] of them do. What nobody
    has counts as if one had it.

    Zhou et al. 2010 (PNAS 107, 4511), log2(u / k) with k the item's degree.
    """
    return np.log2(users / np.maximum(having, 1))


def coverage(lists: NDArray[np.int64]) -> float:
    """lists [items], the exposures → the share of the catalogue that is in at least one list."""
    return float((lists > 0).mean())


def novelty(lists: NDArray[np.int64], information: NDArray[np.float64]) -> float:
    """lists, information [items] → the mean self-information of what is offered in bits, of all places of lists."""
    return float(lists @ information / lists.sum())


def gini(lists: NDArray[np.int64]) -> float:
    """lists [items] → the Gini index of the exposures over the whole catalogue: 0 where every item is offered equally
    often, 1 where one alone is. Where all lists hold the same L items of n it is (n − L) / (n − 1).

    Σ (2i − n − 1) p_i / (n − 1) over the shares p_i of all places, rising (Castells, Hurley & Vargas, Recommender
    Systems Handbook, "Novelty and Diversity in Recommender Systems"); 0 of a single item.
    """
    count = len(lists)
    weights = 2.0 * np.arange(1, count + 1) - count - 1
    return float(weights @ np.sort(lists) / lists.sum() / max(count - 1, 1))


def summary(lists: NDArray[np.int64], information: NDArray[np.float64]) -> dict[str, float]:
    """The figures under their names, `OFFER_METRICS`; none where nothing was offered to anybody."""
    if not lists.any():
        return {}
    return dict(zip(OFFER_METRICS, (coverage(lists), novelty(lists, information), gini(lists)), strict=True))


OFFER_METRICS = tuple(f"{OFFERED_IN}.full_unseen.{name}_at_{OFFERED}" for name in ("coverage", "novelty", "gini"))
