"""May a new model take the place of a champion that was trained on other data?

Figures of different targets do not compare, so the champion is asked about the new log: of each of its promotion
targets, with the history that the user has there, among the items of the new log less what the user has had. Both
models are thus ranked on the same targets. The champion is asked as it serves (`models.translated`): it takes raw ids,
passes over items that it does not know and cannot offer them, so that a target that it does not know is not found. The
new model's ranks are those of its evaluation with the same histories, under which a model with vectors of users knows
them, and in serving, as the champion here, it does not.

The new model takes the champion's place unless it is significantly worse: unless the 95 % interval of the paired
difference in NDCG@10, new less champion, lies wholly below 0. The interval is bootstrapped over users
(`tasks.statistics.bootstrap`). A tie goes to the new model, which knows the newer items; where there is no interval,
because of too few users or no difference, nothing is shown against it.

A history may hold events that the champion was trained on: so it does in production. A target that it was trained on
favours the champion, and is told. In a log that has grown there are hardly any, for a user's targets are the last
events; where there are many, the log has lost later rows than these.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

import sql
from models.engine.metrics import gains
from tasks.engine import engine, one_row
from tasks.errors import InputError
from tasks.home import Home
from tasks.sequences import export_log
from tasks.served import Served, Unservable, served
from tasks.snapshots import Snapshot, open_snapshot, snapshot_name
from tasks.statistics.bootstrap import cluster, interval, resample
from tasks.statistics.estimates import LEVEL, difference
from tasks.track import reason
from tasks.wording import counted

if TYPE_CHECKING:
    from torch import Tensor

SPLIT = "promotion"
CUTOFF = 10
SEED = 0
"""Of the draws of the bootstrap: the same ranks have the same interval."""


@dataclass(frozen=True)
class Comparison:
    """A new model beside the champion of this version, on the same targets. `refused` says why there is none.

    value, champion_value: NDCG@10 over the targets; low, high: the interval of the first less the second, None where
    there is none; users, targets: how many; learned: how many of the targets the champion was trained on, None where
    the snapshot of its training is gone.
    """

    version: str
    value: float | None = None
    champion_value: float | None = None
    low: float | None = None
    high: float | None = None
    users: int = 0
    targets: int = 0
    learned: int | None = None
    refused: str | None = None

    @property
    def is_worse(self) -> bool:
        """Is the new model significantly worse?"""
        return self.high is not None and self.high < 0.0

    @property
    def told(self) -> str:
        """Figures, interval and what to know of them, in words."""
        if self.refused is not None:
            return self.refused
        assert self.value is not None
        assert self.champion_value is not None
        limits = (
            "which has no interval"
            if self.low is None or self.high is None
            else f"{100 * LEVEL:g} % interval {_signed(self.low)} to {_signed(self.high)}"
        )
        learned = f"; it was trained on {self.learned:,} of the {self.targets:,} targets" if self.learned else ""
        return (
            f"version {self.version} has {self.champion_value:.4f}, the difference is "
            f"{_signed(self.value - self.champion_value)} ({limits}, {counted(self.users, 'user')}){learned}"
        )


def compared(
    name: str,
    version: str,
    *,
    clean: Snapshot,
    ids: Sequence[Any],
    ranks: Path,
    decided_on: str,
    home: Home,
) -> Comparison:
    """The new model, whose `ranks` are those of the targets of `clean` with its histories, beside the champion: that
    version of the registered model. `ids` are the raw ones of the items of `clean`.

    One pass over the promotion targets, by blocks. A champion that cannot be asked is none to be compared with, and the
    comparison says why. Raises `InputError` where MLflow cannot be read.
    """
    if decided_on != SPLIT:
        return Comparison(version, refused="this log has no promotion targets")
    try:
        champion = served(name, version, home=home)
    except Unservable as error:
        return Comparison(version, refused=str(error))
    from models.engine.sequences import load_log
    from models.translated import UnknownLog, translated_ranks

    log = load_log(export_log(clean, home=home))
    trained_on = _snapshot(champion, home=home)
    trained = _trained(clean, trained_on)
    try:
        found = translated_ranks(champion.server, log.sequences, log.targets[SPLIT], ids=ids, trained=trained)
    except UnknownLog as error:
        return Comparison(version, refused=str(error))
    except MemoryError:
        raise
    except Exception as error:  # whatever the code of a person's own, or of another version's state, may come to
        return Comparison(version, refused=f"it cannot be asked any more: {reason(error)}")
    new = pd.read_parquet(ranks, columns=["target", "split", "user", "rank_full_unseen"]).query("split == @SPLIT")
    new = new.sort_values("target")
    values = np.column_stack([gains(new["rank_full_unseen"].to_numpy(), CUTOFF), gains(found, CUTOFF)])
    resampled = resample(cluster(values, new["user"].to_numpy(np.int64)), rng=np.random.default_rng(SEED))
    between = interval(resampled, difference(0, 1))
    value, champion_value = map(float, resampled.point)
    return Comparison(
        version,
        value=value,
        champion_value=champion_value,
        low=between.low,
        high=between.high,
        users=between.n,
        targets=len(new),
        learned=None if trained_on is None else _learned(clean, trained_on),
    )


def _snapshot(champion: Served, *, home: Home) -> Snapshot | None:
    """What the champion was trained on; None where it is gone, or written by another version."""
    try:
        return open_snapshot(home.snapshots / snapshot_name(champion.snapshot))
    except InputError:
        return None


def _trained(clean: Snapshot, trained_on: Snapshot | None) -> "Tensor":
    """[users] int64: on how many of the first events of every user of `clean` the champion was trained."""
    import torch

    if trained_on is None:
        return torch.zeros(clean.counts.users, dtype=torch.int64)
    query = sql.load("recommend/trained", **_files(clean), **_files(trained_on, of="trained_on_"))
    with engine() as connection:
        return torch.tensor(connection.execute(query).df()["trained"].to_numpy(np.int64))


def _learned(clean: Snapshot, trained_on: Snapshot) -> int:
    """How many of the promotion targets of `clean` the champion was trained on."""
    files = _files(clean) | _files(trained_on, of="trained_on_") | {"targets": sql.literal(str(clean.targets))}
    with engine() as connection:
        return int(one_row(connection, sql.load("register/learned", **files), {"split": SPLIT})[0])


def _files(snapshot: Snapshot, *, of: str = "") -> dict[str, str]:
    return {f"{of}{name}": sql.literal(str(getattr(snapshot, name))) for name in ("interactions", "users", "items")}


def _signed(number: float) -> str:
    said = f"{number:+.4f}"
    return said[1:] if float(said) == 0.0 else said.replace("-", "−")
