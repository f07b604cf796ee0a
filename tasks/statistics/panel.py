"""Methods × seeds × targets: per-target values of several trainings, brought into line by target number."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from models.engine.metrics import PROTOCOLS, gains, hits, reciprocal_ranks
from tasks.statistics.bootstrap import Sample, cluster
from tasks.statistics.estimates import Floats, Integers


@dataclass(frozen=True)
class Scores:
    """One training's values: targets [n] (numbers), users [n], values [n]; training: which one it is, where its values
    elsewhere are compared too.
    """

    method: str
    seed: int
    targets: Integers
    users: Integers
    values: Floats
    training: str | None = None


@dataclass(frozen=True)
class Panel:
    """The same targets under every training: targets [n] rising, users [n], values [seeds, n] by method.

    `seeds` names the rows of each method's values, rising, and `trainings` what was trained with each; methods may have
    different ones.
    """

    targets: Integers
    users: Integers
    seeds: Mapping[str, tuple[int, ...]]
    values: Mapping[str, Floats]
    trainings: Mapping[str, tuple[str | None, ...]]

    @property
    def methods(self) -> tuple[str, ...]:
        return tuple(self.values)

    def column(self, method: str) -> int:
        """The method's column in `sample`. Raises `ValueError` for a method that is not there."""
        if method not in self.values:
            raise ValueError(f"there is no method {method!r}; there are {', '.join(self.methods)}")
        return self.methods.index(method)

    def sample(self) -> Sample:
        """The values, averaged over seeds, by user: a column a method."""
        return cluster(np.column_stack([values.mean(axis=0) for values in self.values.values()]), self.users)

    def user_values(self, method: str) -> Floats:
        """The method's means over each user's targets [seeds, users]."""
        means: Floats = cluster(self.values[method].T, self.users).user_means.T
        return means

    def user_weights(self) -> Floats:
        """What each user counts in a mean over targets [users]: their number of targets, as a multiple of the mean."""
        counts = cluster(np.zeros((len(self.users), 0)), self.users).counts
        weights: Floats = counts / counts.mean()
        return weights

    def seed_means(self, method: str) -> Floats:
        """The method's means over targets [seeds]."""
        means: Floats = self.values[method].mean(axis=1)
        return means

    def seed_pairs(self, method: str, *others: str) -> tuple[Floats, ...]:
        """The means of several methods at the seeds that all have, seed by seed."""
        names = (method, *others)
        common = sorted(set.intersection(*(set(self.seeds[name]) for name in names)))
        return tuple(
            self.seed_means(name)[[self.seeds[name].index(seed) for seed in common]] if common else np.zeros(0)
            for name in names
        )

    def only(self, chosen: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> "Panel":
        """The panel of some targets [n]."""
        return Panel(
            targets=self.targets[chosen],
            users=self.users[chosen],
            seeds=self.seeds,
            values={method: values[:, chosen] for method, values in self.values.items()},
            trainings=self.trainings,
        )


def align(trainings: Iterable[Scores]) -> Panel:
    """One panel of several trainings, methods in the order of their first one.

    Raises `ValueError` where there is nothing, where a method has a seed or a training a target twice, and where two
    trainings differ in their targets or in a target's user: it says which.
    """
    first: Scores | None = None
    rows: dict[str, dict[int, Scores]] = {}
    for training in trainings:
        current = _by_target(training)
        if first is None:
            first = current
        _check_same(first, current)
        if current.seed in rows.setdefault(current.method, {}):
            raise ValueError(f"{_name(current)} is there twice")
        rows[current.method][current.seed] = current
    if first is None or len(first.targets) == 0:
        raise ValueError("there are no targets to compare on")
    ordered = {method: [by_seed[seed] for seed in sorted(by_seed)] for method, by_seed in rows.items()}
    return Panel(
        targets=first.targets,
        users=first.users,
        seeds={method: tuple(one.seed for one in held) for method, held in ordered.items()},
        values={method: np.stack([one.values for one in held]) for method, held in ordered.items()},
        trainings={method: tuple(one.training for one in held) for method, held in ordered.items()},
    )


def averaged(trainings: Sequence[Scores]) -> Scores:
    """Several trainings as one, named as the first: at each target their mean.

    Raises `ValueError` as `align` does where they differ in their targets.
    """
    first, *others = map(_by_target, trainings)
    for other in others:
        _check_same(first, other)
    names = dict.fromkeys(one.training for one in trainings)
    return replace(
        first,
        values=np.mean([one.values for one in (first, *others)], axis=0),
        training=None if None in names else " ".join(map(str, names)),
    )


def scores(ranks: pd.DataFrame, metric: str, *, method: str, seed: int, training: str | None = None) -> Scores:
    """The per-target values of a metric such as `test.full_unseen.ndcg_at_10` from a frame of `ranks.parquet`.

    Their mean is what `models.engine.metrics.summary` gives under that name. Raises `ValueError` for another name.
    """
    match = re.fullmatch(rf"(\w+)\.({'|'.join(PROTOCOLS)})\.(hit|ndcg|mrr)_at_([1-9]\d*)", metric)
    if match is None:
        raise ValueError(f"{metric!r} names no metric; one is test.full_unseen.ndcg_at_10")
    split, protocol, name, cutoff = match.groups()
    rows = ranks[ranks["split"] == split]
    measure = {"hit": hits, "ndcg": gains, "mrr": reciprocal_ranks}[name]
    return Scores(
        method=method,
        seed=seed,
        targets=rows["target"].to_numpy(dtype=np.int64),
        users=rows["user"].to_numpy(dtype=np.int64),
        values=measure(rows[f"rank_{protocol}"].to_numpy(), int(cutoff)),
        training=training,
    )


def attribute(ranks: pd.DataFrame, column: str, panel: Panel) -> Floats:
    """A column of `ranks.parquet`, such as popularity or history, at the panel's targets [n].

    Raises `ValueError` where a target is not in the frame.
    """
    values = ranks.set_index("target")[column].reindex(panel.targets)
    if values.isna().any():
        raise ValueError(f"target {int(values.index[values.isna()][0])} has no {column} in these ranks")
    return values.to_numpy(dtype=np.float64)


def _by_target(training: Scores) -> Scores:
    lengths = {len(training.targets), len(training.users), len(training.values)}
    if len(lengths) > 1:
        raise ValueError(f"{_name(training)} has columns of different lengths")
    order = np.argsort(training.targets, kind="stable")
    targets = training.targets[order]
    twice = targets[1:][targets[1:] == targets[:-1]]
    if len(twice):
        raise ValueError(f"{_name(training)} has {_targets(twice)} twice")
    values = np.asarray(training.values, dtype=np.float64)[order]
    if not np.isfinite(values).all():
        raise ValueError(f"{_name(training)} has no finite value for {_targets(targets[~np.isfinite(values)])}")
    return replace(training, targets=targets, users=training.users[order], values=values)


def _check_same(first: Scores, other: Scores) -> None:
    if not np.array_equal(first.targets, other.targets):
        lacks = np.setdiff1d(first.targets, other.targets)
        extra = np.setdiff1d(other.targets, first.targets)
        parts = [f"lacks {_targets(lacks)}"] * bool(len(lacks)) + [f"has besides {_targets(extra)}"] * bool(len(extra))
        raise ValueError(f"{_name(other)} was ranked on other targets than {_name(first)}: it {' and '.join(parts)}")
    differ = first.users != other.users
    if differ.any():
        where = first.targets[differ]
        raise ValueError(f"{_name(other)} has other users than {_name(first)} at {_targets(where)}")


def _name(training: Scores) -> str:
    return f"{training.method} with seed {training.seed}"


def _targets(numbers: Integers) -> str:
    named = ", ".join(str(number) for number in numbers[:5])
    more = f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
    return f"target{'s' if len(numbers) > 1 else ''} {named}{more}"
