"""From a study's ranks to its statistics: comparisons, retention, gap closed and slices at every place."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import pandas as pd

from tasks.errors import InputError
from tasks.home import Home
from tasks.snapshots import snapshot_name
from tasks.statistics.bootstrap import RESAMPLES
from tasks.statistics.comparison import Table, compare, jointly, spread_by_method, uncompared
from tasks.statistics.crossed import SeedSpread
from tasks.statistics.estimates import Floats
from tasks.statistics.panel import Panel, Scores, align, attribute, averaged, scores
from tasks.statistics.relative import gaps_closed, retentions
from tasks.statistics.slices import (
    Bins,
    history_bins,
    noise_bins,
    noise_share,
    popularity_bins,
    sliced,
    tertile_edges,
)
from tasks.study.result import (
    CellResult,
    Comparison,
    Gaps,
    Noise,
    Place,
    Retained,
    SlicedMetric,
    StudyResult,
)

FULL = "test.full_unseen.ndcg_at_10"
SAMPLED = "test.sampled100.ndcg_at_10"
PAIR = (FULL, SAMPLED)
"""The main metric under both protocols: a gain counts only where it holds on both."""

HITS = ("test.full_unseen.hit_at_10", "test.sampled100.hit_at_10")
METRICS = (*PAIR, *HITS)
YARDSTICK = (*PAIR, HITS[1])
"""What a gap is closed on: a method that only moves up what is popular closes it on one and opens it on another."""
TOLD_BESIDE = ("dataset", "method", "seed", "noise.kind", "noise.ratio", "noise.where", "noise.seed")
"""Axes that the words for a place, its rows or their repetitions tell of anyhow: all others are a place's setting."""

NOISE_SHARE = "noise_share"
WITHOUT = " without noise"
SEED = 20_240_607
"""Of the bootstrap's draws: the same ranks give the same intervals."""

Ranks = Callable[[CellResult], pd.DataFrame]
"""A cell's `ranks.parquet`, with a column `noise_share` (of each target's history) where that is known."""

_Key = tuple[str, int, int | None]
"""Of a cell at a place: its variant, its repetition and its draw of noise."""


def analysed(result: StudyResult, ranks: Ranks, *, resamples: int = RESAMPLES) -> StudyResult:
    """The result with everything that is made of its ranks. Cells that failed are left out.

    Raises `InputError` where two experiments would be one value in a table.
    """
    places = _places(result, ranks, resamples=resamples)
    families: dict[tuple[str, str], list[tuple[Place, Table]]] = {}
    retained: list[Retained] = []
    gaps: list[Gaps] = []
    slices: list[SlicedMetric] = []
    for place in places:
        for metric in METRICS:
            make = compare if place.compared else uncompared
            table = make(place.panel(metric), metric=metric, reference=place.reference, rng=_rng(), resamples=resamples)
            families.setdefault((place.at.dataset, metric), []).append((place.at, table))
        if place.compared and is_loudest(result, place.at):
            slices += [cut for metric in PAIR for cut in _slices(place, metric)]
    for (dataset, metric), members in families.items():
        here = [place for place in places if place.at.dataset == dataset]
        spread = spread_by_method(table for _, table in members)
        if metric in YARDSTICK:
            gaps += [found for place in here if place.compared for found in _gaps(result, place, metric, spread)]
        if metric in PAIR:
            retained += _retained(here, metric, spread)
    comparisons = [
        Comparison(place=place, table=table)
        for members in families.values()
        for (place, _), table in zip(members, jointly([table for _, table in members]), strict=True)
    ]
    return replace(
        result, comparisons=tuple(comparisons), retained=tuple(retained), gaps=tuple(gaps), slices=tuple(slices)
    )


def ranks_in(home: Home) -> Ranks:
    """Ranks as the state folder holds them, with each history's share of noise where the snapshot is still there."""

    @lru_cache(maxsize=4)
    def interactions(digest: str) -> pd.DataFrame | None:
        path = home.snapshots / snapshot_name(digest) / "interactions.parquet"
        return pd.read_parquet(path, columns=["user", "noise_kind"]) if path.exists() else None

    def read(cell: CellResult) -> pd.DataFrame:
        if cell.ranks is None:
            raise ValueError(f"the cell {cell.label!r} has no ranks")
        frame = pd.read_parquet(home.root / cell.ranks)
        log = interactions(cell.histories) if cell.histories else None
        if log is None or log["noise_kind"].isna().all():
            return frame
        shares = noise_share(
            log["user"].to_numpy(dtype=np.int64),
            log["noise_kind"].notna().to_numpy(),
            target_users=frame["user"].to_numpy(dtype=np.int64),
            histories=frame["history"].to_numpy(dtype=np.int64),
        )
        return frame.assign(**{NOISE_SHARE: shares})

    return read


def compared_axes(result: StudyResult) -> tuple[str, ...]:
    """The axes whose values are compared with each other: those that the reference names."""
    return ("method",) if isinstance(result.reference, str) else tuple(result.reference)


def variant(cell: CellResult, result: StudyResult) -> str:
    """What a cell is called beside those that it is compared with."""
    others = [axis for axis in compared_axes(result) if axis != "method" and axis in cell.axes]
    several = len({other.method for other in result.cells}) > 1
    parts = [f"{axis_label(axis)} {value_label(cell.axes[axis])}" for axis in others]
    return ", ".join([cell.method, *parts] if several or not parts else parts)


def place_of(cell: CellResult, result: StudyResult) -> Place:
    """Where a cell is compared. No noise is the same place whatever its kind would have been."""
    elsewhere = {*compared_axes(result), *TOLD_BESIDE}
    setting = {axis: value for axis, value in cell.axes.items() if axis not in elsewhere}
    return Place(dataset=cell.dataset, noise=noise_of(cell), setting=setting)


def noise_of(cell: CellResult) -> Noise | None:
    """A cell's noise whatever its draw, None where there is none."""
    return cell.noise.without_seed if cell.noise is not None and cell.noise.ratio > 0.0 else None


def axis_label(axis: str) -> str:
    """An axis as a reader knows it: a setting of a model or a training by its name, another with what it belongs to."""
    known = {"model.beta": "β", "model.gamma": "γ", "model.gate_logit": "Φ₀", "model.jacobian": "γ"}
    *above, name = axis.split(".")[-2:]
    told = [name] if above in (["model"], ["training"]) else [*above, name]
    return known.get(axis, " ".join(told).replace("_", " "))


def value_label(value: object) -> str:
    """A value of an axis, short."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else "none" if value is None else str(value)


def repetition(result: StudyResult) -> Literal["seed", "draw"]:
    """What the repetitions of an experiment differ in: the seed, or where one seed stands beside several draws of noise
    the draw.

    Several draws of a seed are one repetition. Where seeds share them, the pairs are not each a repetition: what a seed
    does, and what a draw does, is in many of them, and taken for as many it would be thought to be known far better.
    """
    done = [cell for cell in result.cells if cell.status == "done"]
    draws = {_drawn(cell) for cell in done} - {None}
    return "draw" if len(draws) > 1 and len({cell.seed for cell in done}) == 1 else "seed"


@dataclass(frozen=True)
class _Placed:
    """The finished cells of a place by variant, repetition and draw of noise, with their ranks; the reference may be
    missing.
    """

    at: Place
    reference: str
    cells: Mapping[_Key, CellResult]
    ranks: Ranks
    resamples: int

    @property
    def compared(self) -> bool:
        """Whether the reference has a finished training here."""
        return any(name == self.reference for name, _, _ in self.cells)

    def scores(self, metric: str, *, named: str = "{}") -> Iterator[Scores]:
        """The values of every repetition, over its draws of noise; `named` says what a variant is called."""
        repetitions: dict[tuple[str, int], list[CellResult]] = {}
        for (name, number, _), cell in self.cells.items():
            repetitions.setdefault((name, number), []).append(cell)
        for (name, number), cells in repetitions.items():
            yield averaged(
                [
                    scores(self.ranks(cell), metric, method=named.format(name), seed=number, training=cell.train_key)
                    for cell in cells
                ]
            )

    def panel(self, metric: str) -> Panel:
        return align(self.scores(metric))

    def met_by_the_reference(self) -> pd.DataFrame:
        """By target its item's popularity, its history's length and, where that is known, share of noise: the means
        over the reference's own trainings, as the values are over theirs, each with the draw of noise that it met.
        """
        frames = [self.ranks(cell) for (name, _, _), cell in self.cells.items() if name == self.reference]
        known = [name for name in ("popularity", "history", NOISE_SHARE) if all(name in frame for frame in frames)]
        # A mean of equal shares is off by its rounding, and may fall below the edge that they lie on.
        return pd.concat(frames).groupby("target", as_index=False)[known].mean().round(12)


def _places(result: StudyResult, ranks: Ranks, *, resamples: int) -> list[_Placed]:
    groups: dict[str, tuple[Place, dict[_Key, CellResult]]] = {}
    done = [cell for cell in result.cells if cell.status == "done"]
    repeated = repetition(result)

    def key(cell: CellResult) -> _Key:
        drawn = _drawn(cell)
        number = cell.seed if repeated == "seed" else -1 if drawn is None else drawn
        return variant(cell, result), number, drawn

    for cell in done:
        at = place_of(cell, result)
        _, members = groups.setdefault(repr(at), (at, {}))
        held = members.setdefault(key(cell), cell)
        if held.evaluate_key != cell.evaluate_key:
            raise InputError(
                f"the cells {held.label!r} and {cell.label!r} are two experiments and would be one value in a table: "
                "give them methods of different names, or make an axis of what they differ in"
            )
    placed = []
    for at, members in groups.values():
        reference = _reference(members.values(), result)
        if reference is None:
            borrowed = {
                key(cell): cell for cell in done if _is_reference(cell, result) and _agrees(place_of(cell, result), at)
            }
            members = {**borrowed, **members}
            reference = _reference([*borrowed.values(), *result.cells], result) or str(result.reference)
        placed.append(_Placed(at=at, reference=reference, cells=members, ranks=ranks, resamples=resamples))
    return placed


def _reference(cells: Iterable[CellResult], result: StudyResult) -> str | None:
    """What the first reference among the cells is called, None where there is none."""
    return next((variant(cell, result) for cell in cells if _is_reference(cell, result)), None)


def _agrees(own: Place, other: Place) -> bool:
    """Whether a place has the same dataset and noise, and no axis with another value."""
    same = own.dataset == other.dataset and own.noise == other.noise
    return same and all(value is None or other.setting.get(axis) == value for axis, value in own.setting.items())


def _is_reference(cell: CellResult, result: StudyResult) -> bool:
    if isinstance(result.reference, str):
        return cell.method == result.reference
    held: dict[str, Any] = {"method": cell.method, **cell.axes}
    return all(held.get(axis) == value for axis, value in result.reference.items())


def _drawn(cell: CellResult) -> int | None:
    """The seed of a cell's noise, None where it has none."""
    return cell.noise.seed if cell.noise is not None and cell.noise.ratio > 0.0 else None


def _retained(places: Sequence[_Placed], metric: str, spread: Mapping[str, SeedSpread]) -> Iterator[Retained]:
    """At every noisy place that has one without noise beside it, what each variant of both keeps."""
    quiet = {repr((place.at.dataset, place.at.setting)): place for place in places if place.at.noise is None}
    for place in places:
        base = quiet.get(repr((place.at.dataset, place.at.setting)))
        if place.at.noise is None or base is None:
            continue
        panel = align([*place.scores(metric), *base.scores(metric, named="{}" + WITHOUT)])
        bases = {name: name + WITHOUT for name in panel.methods if name + WITHOUT in panel.methods}
        if bases:
            yield Retained(
                place=place.at,
                metric=metric,
                retentions=retentions(
                    panel,
                    bases,
                    rng=_rng(),
                    spread={name: spread[name.removesuffix(WITHOUT)] for name in panel.methods if spread},
                    resamples=place.resamples,
                ),
            )


def _gaps(result: StudyResult, place: _Placed, metric: str, spread: Mapping[str, SeedSpread]) -> Iterator[Gaps]:
    names = {variant(cell, result): cell.method for cell in place.cells.values()}
    oracle = next((name for name, method in names.items() if method == result.oracle), None)
    others = [name for name in names if name not in (oracle, place.reference)]
    if oracle is not None and oracle != place.reference and others:
        found = gaps_closed(
            place.panel(metric),
            others,
            noisy=place.reference,
            oracle=oracle,
            rng=_rng(),
            spread=spread,
            resamples=place.resamples,
        )
        yield Gaps(place=place.at, metric=metric, gaps=found)


def is_loudest(result: StudyResult, place: Place) -> bool:
    """Whether the study has no more noise of this kind on this dataset."""
    found = {noise_of(cell) for cell in result.cells if cell.dataset == place.dataset and cell.status == "done"}
    if place.noise is None:
        return found == {None}
    own = (place.noise.kind, place.noise.where)
    return place.noise.ratio == max(noise.ratio for noise in found if noise and (noise.kind, noise.where) == own)


def _slices(place: _Placed, metric: str) -> Iterator[SlicedMetric]:
    panel, frame = place.panel(metric), place.met_by_the_reference()
    popularity, history = attribute(frame, "popularity", panel), attribute(frame, "history", panel)
    cuts: list[tuple[Floats, Bins]] = [
        (popularity, popularity_bins(tertile_edges(popularity))),
        (history, history_bins(tertile_edges(history))),
    ]
    if NOISE_SHARE in frame:
        shares = frame.set_index("target")[NOISE_SHARE].reindex(panel.targets).to_numpy(dtype=np.float64)
        cuts.append((shares, noise_bins()))
    for quantity, bins in cuts:
        cut = sliced(panel, quantity, bins, reference=place.reference, rng=_rng(), resamples=place.resamples)
        if sum(part.targets > 0 for part in cut.slices) > 1:
            yield SlicedMetric(place=place.at, metric=metric, sliced=cut)


def _rng() -> np.random.Generator:
    return np.random.default_rng(SEED)
