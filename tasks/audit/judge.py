"""Every training interaction of a snapshot, judged: how likely it is to be noise, and what that rests on."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import sql
from tasks.engine import engine
from tasks.execution import on_one_core
from tasks.filter import JUDGED_BY, refuse_small
from tasks.home import Home
from tasks.keys import step_key
from tasks.scratch import publish, working_folder
from tasks.sequences import export_log
from tasks.snapshots import Snapshot
from tasks.statistics.estimates import LEVEL, Estimate, Floats, estimate
from tasks.workers import run_worker

INTERACTIONS_FILE = "interactions.parquet"
PROGRAM = "models.audit"
RESAMPLES = 1_000

BASIS = "basic bootstrap of users, and what the estimate was off by for noise planted anew"

_SHARE_FILE = "share.json"


@dataclass(frozen=True)
class Judged:
    """A finished judgement: its folder holds `interactions.parquet` (columns: `sql/audit/interactions.sql`)."""

    folder: Path

    @property
    def interactions(self) -> Path:
        return self.folder / INTERACTIONS_FILE

    @property
    def files(self) -> tuple[Path, Path]:
        return self.interactions, self.folder / _SHARE_FILE

    @property
    def complete(self) -> bool:
        return all(file.exists() for file in self.files)

    @property
    def share(self) -> Estimate:
        """The share of noise among the judged interactions, with its interval over users."""
        return Estimate(**self._told["share"])

    @property
    def kinds(self) -> dict[str, float]:
        """What of the share is accounted for by each kind of noise that was planted to learn from."""
        kinds: dict[str, float] = self._told["kinds"]
        return kinds

    @property
    def reads_high(self) -> float:
        """By how much the estimate exceeded the truth where that is known (`models.denoising.noise.auditing.Audit`)."""
        found: float = self._told["reads_high"]
        return found

    @cached_property
    def _told(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads((self.folder / _SHARE_FILE).read_text(encoding="utf-8"))
        return told


def judge_key(snapshot: Snapshot) -> str:
    """The key of the step that judges a snapshot."""
    settings = JUDGED_BY.model_dump(include={"reach", "seed"})
    execution = on_one_core().to_dict()
    inputs = {"snapshot": snapshot.digest, "resamples": RESAMPLES, "execution": execution, **settings}
    return step_key(("tasks.audit.judge", PROGRAM), inputs)


def judged_folder(snapshot: Snapshot, *, key: str, home: Home) -> Path:
    """Where the judgement of a snapshot with this step key lives. It holds raw ids, and goes when the snapshot does."""
    return home.steps / "audit" / f"{snapshot.name}-{key[:32]}"


def judge(snapshot: Snapshot, *, folder: Path, home: Home) -> Judged:
    """Judge the training part of `snapshot`, each interaction by what stands on both sides of it.

    The share is what the model's scores admit at most. Genuine interactions that look like noise raise it, the more so
    the more of their neighbours are noise; noise that fits its neighbours as well as what is genuine is not in it, and
    as the least of many noisy ratios it leans downward where a log is small.
    The interval is of what other users would have given, and of what the estimate is off by where as much noise is
    planted in the rest of the log (`interval`). Of noise that is nothing like what is planted it knows nothing.

    Raises `InputError` where the log is too small, and as `tasks.workers.run_worker` does.
    """
    refuse_small(snapshot)
    if not Judged(folder).complete:
        with working_folder(folder.parent) as work:
            arrays = work / "judged.npz"
            request = {
                "log": str(export_log(snapshot, home=home)),
                "reach": JUDGED_BY.reach,
                "resamples": RESAMPLES,
                "seed": JUDGED_BY.seed,
                "threads": on_one_core().threads,
                "out": str(arrays),
            }
            report = run_worker("audit", request, program=PROGRAM)
            content = work / "content"
            content.mkdir()
            with np.load(arrays, allow_pickle=False) as stored:
                columns = {name: stored[name] for name in stored.files}
            reads_high = float(report["reads_high"])
            share = interval(
                float(report["share"]),
                columns.pop("replicates"),
                reads_high=reads_high,
                users=len(set(columns["users"].tolist())),
            )
            told = {"share": share.to_dict(), "kinds": report["kinds"], "reads_high": reads_high}
            (content / _SHARE_FILE).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
            _write(pd.DataFrame(columns), content / INTERACTIONS_FILE, snapshot)
            publish(content, folder)
    return Judged(folder)


def interval(value: float, replicates: Floats, *, reads_high: float, users: int, level: float = LEVEL) -> Estimate:
    """A share with its basic bootstrap interval, 2 · value − the replicates' quantiles: an estimate that leans to one
    side does so in the replicates too, and this mends it. Within 0 and 1, and around the value.

    Either end is moved out by as much as the estimate was off for planted noise: a log's own noise need not be misread
    to the same side, which is why the value is left where it is, too.
    """
    tail = (1 - level) / 2
    high, low = (2 * value - float(np.quantile(replicates, part)) for part in (tail, 1 - tail))
    low, high = low - abs(reads_high), high + abs(reads_high)
    bounds = min(max(low, 0.0), value), max(min(high, 1.0), value)
    return estimate(value, *bounds, level=level, basis=BASIS, n=users)


def _write(judged: pd.DataFrame, path: Path, snapshot: Snapshot) -> None:
    judged = judged.rename(columns={"users": "user", "positions": "position"})
    interactions, users, items = (
        sql.literal(str(file)) for file in (snapshot.interactions, snapshot.users, snapshot.items)
    )
    query = sql.load("audit/interactions", interactions=interactions, users=users, items=items)
    with engine() as connection:
        connection.register("judged", judged)
        connection.execute(f"COPY ({query}) TO {sql.literal(str(path))} (FORMAT parquet, COMPRESSION zstd)")
