"""Where a method gains: parts of the targets by popularity, history length or noise in the history.

A slice says where to look. Its intervals are each of their own and not adjusted for how many slices there are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tasks.statistics.bootstrap import RESAMPLES, interval, resample
from tasks.statistics.estimates import LEVEL, Estimate, Floats, Integers, column, difference, missing
from tasks.statistics.panel import Panel


@dataclass(frozen=True)
class Bins:
    """Parts of a quantity: below the first edge, from one edge to under the next, from the last one on.

    Two edges may be equal: the part between them is empty. Raises `ValueError` where edges fall, or where there is not
    one label more than edges.
    """

    quantity: str
    edges: tuple[float, ...]
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        if any(high < low for low, high in pairwise(self.edges)):
            raise ValueError(f"the edges of {self.quantity} must rise, and these do not: {self.edges}")
        if len(self.labels) != len(self.edges) + 1:
            raise ValueError(f"{len(self.edges)} edges of {self.quantity} need {len(self.edges) + 1} labels")


@dataclass(frozen=True)
class Slice:
    """One part of the targets: by method the mean, and the difference to the reference, with intervals over users.

    low, high: the part's edges, low included and high not; None where it has no end.
    """

    label: str
    low: float | None
    high: float | None
    targets: int
    users: int
    means: dict[str, Estimate]
    differences: dict[str, Estimate]


@dataclass(frozen=True)
class Sliced:
    """All parts, those without targets too. `unplaced`: targets for which the quantity is not defined."""

    quantity: str
    reference: str
    unplaced: int
    slices: tuple[Slice, ...]


def sliced(
    panel: Panel,
    quantity: Floats,
    bins: Bins,
    *,
    reference: str,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Sliced:
    """Every part of the panel by a quantity [targets], NaN where it is not defined."""
    panel.column(reference)
    places = place(quantity, bins.edges)
    limits = (None, *bins.edges, None)
    slices = []
    for index, label in enumerate(bins.labels):
        part = panel.only(places == index)
        means, differences = _estimates(part, reference, rng=rng, resamples=resamples)
        slices.append(
            Slice(
                label=label,
                low=limits[index],
                high=limits[index + 1],
                targets=len(part.targets),
                users=len(np.unique(part.users)),
                means=means,
                differences=differences,
            )
        )
    return Sliced(quantity=bins.quantity, reference=reference, unplaced=int((places < 0).sum()), slices=tuple(slices))


def place(quantity: Floats, edges: Sequence[float]) -> Integers:
    """Which part each value [targets] lies in, −1 for NaN."""
    numbers = np.asarray(quantity, dtype=np.float64)
    places = np.searchsorted(np.asarray(edges, dtype=np.float64), numbers, side="right")
    return np.where(np.isnan(numbers), -1, places).astype(np.int64)


def history_bins(edges: Sequence[float]) -> Bins:
    """Parts by the number of interactions before the target."""
    return Bins("history length", tuple(edges), _labels(edges, "{:g}"))


def noise_bins(edges: Sequence[float] = (0.1, 0.25)) -> Bins:
    """Parts by the share of noise in the history; a history without any is a part of its own."""
    above_zero = float(np.nextafter(0.0, 1.0))
    return Bins("noise in the history", (above_zero, *edges), ("none", *_labels(edges, "{:.3g} %", scale=100.0)))


def popularity_bins(edges: tuple[float, float]) -> Bins:
    """Tail, middle and head by the target item's interactions in training.

    Cut at `tertile_edges` of the targets, each holds a third of the interactions that are predicted, so the head is a
    few items and the tail most of them: parts by interactions and not by numbers of items, as is usual (Abdollahpouri
    et al. 2021, "User-centered evaluation of popularity bias in recommender systems", with 20, 60 and 20 %). Thirds of
    the catalogue would leave nearly every target in the head; and of equal parts none has a much wider interval than
    the others. The edges are a log's own: of one log they are the same for every method, of two logs they differ.
    """
    names = zip(("tail", "middle", "head"), _labels(edges, "{:g}"), strict=True)
    return Bins("popularity of the target", edges, tuple(f"{name}: {label}" for name, label in names))


def tertile_edges(quantity: Floats) -> tuple[float, float]:
    """Edges that part the values in three of about the same size; equal values stay together, NaN counts for nothing.

    Raises `ValueError` where there are no values.
    """
    values = np.asarray(quantity, dtype=np.float64)
    values = values[~np.isnan(values)]
    if len(values) == 0:
        raise ValueError("there are no values to part in three")
    low, high = np.quantile(values, [1 / 3, 2 / 3], method="higher")
    return float(low), float(high)


def noise_share(users: Integers, noisy: NDArray[np.bool_], *, target_users: Integers, histories: Integers) -> Floats:
    """The share of noise among the interactions before each target [targets]; NaN where there are none.

    users, noisy [interactions]: sorted by user and position, as a snapshot holds them. histories [targets]: how many
    interactions of its user come before each target.

    Raises `ValueError` where a history is longer than its user's interactions.
    """
    starts = np.searchsorted(users, target_users, side="left")
    ends = starts + histories
    beyond = ends > np.searchsorted(users, target_users, side="right")
    if beyond.any():
        row = int(np.flatnonzero(beyond)[0])
        raise ValueError(f"user {target_users[row]} has fewer interactions than the history of {histories[row]}")
    before = np.concatenate([[0], np.cumsum(noisy)])
    counts = (before[ends] - before[starts]).astype(np.float64)
    shares = np.full(len(histories), np.nan)
    np.divide(counts, histories, out=shares, where=histories > 0)
    return shares


def _estimates(
    part: Panel, reference: str, *, rng: np.random.Generator, resamples: int
) -> tuple[dict[str, Estimate], dict[str, Estimate]]:
    others = [method for method in part.methods if method != reference]
    if len(part.targets) == 0:
        nothing = missing("the slice has no targets", level=LEVEL, basis="bca bootstrap over users", n=0)
        return dict.fromkeys(part.methods, nothing), dict.fromkeys(others, nothing)
    resampled = resample(part.sample(), rng=rng, resamples=resamples)
    means = {method: interval(resampled, column(part.column(method))) for method in part.methods}
    base = part.column(reference)
    return means, {method: interval(resampled, difference(part.column(method), base)) for method in others}


def _labels(edges: Sequence[float], form: str, *, scale: float = 1.0) -> tuple[str, ...]:
    said = [form.format(scale * edge) for edge in edges]
    between = [f"{low} to under {high}" for low, high in pairwise(said)]
    return (f"under {said[0]}", *between, f"{said[-1]} and over")
