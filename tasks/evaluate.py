"""Rank every target under every protocol; keep the ranks, and on test how often each item is offered: all metrics are
computed from these.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import sql
from models.engine import offers
from models.engine.metrics import PROTOCOLS, summary
from tasks.engine import engine
from tasks.execution import Execution
from tasks.home import Home
from tasks.scratch import publish, working_folder
from tasks.sequences import SPLITS, export_log
from tasks.snapshots import Snapshot
from tasks.train import Trained
from tasks.workers import run_worker

RANKS_FILE = "ranks.parquet"
EXPOSURES_FILE = "exposures.parquet"


@dataclass(frozen=True)
class Evaluated:
    """A finished ranking: its folder holds `ranks.parquet`, one row a target (columns: `sql/evaluate/ranks.sql`), and
    `exposures.parquet`, one row an item (`sql/evaluate/exposures.sql`).
    """

    folder: Path

    @property
    def ranks(self) -> Path:
        return self.folder / RANKS_FILE

    @property
    def exposures(self) -> Path:
        return self.folder / EXPOSURES_FILE

    @property
    def files(self) -> tuple[Path, ...]:
        return self.ranks, self.exposures

    @property
    def complete(self) -> bool:
        return all(path.exists() for path in self.files)

    def metrics(self) -> dict[str, float]:
        """Every metric under its split's and protocol's name, of the splits that have targets; and what the lists of
        test are like as a whole (`models.engine.offers`).
        """
        columns = {name: f"rank_{name}" for name in PROTOCOLS}
        ranks = pd.read_parquet(self.ranks, columns=["split", *columns.values()])
        metrics: dict[str, float] = {}
        for split in SPLITS:
            rows = ranks[ranks["split"] == split]
            if len(rows):
                metrics |= summary({name: rows[column].to_numpy() for name, column in columns.items()}, split)
        offered = pd.read_parquet(self.exposures, columns=["lists", "self_information"])
        return metrics | offers.summary(offered["lists"].to_numpy(), offered["self_information"].to_numpy())


def evaluation_folder(key: str, *, home: Home) -> Path:
    """Where the ranking with this step key lives."""
    return home.steps / "evaluate" / key[:32]


def evaluate(
    trained: Trained,
    histories: Snapshot,
    clean: Snapshot,
    *,
    trained_on: Snapshot,
    evaluation_seed: int,
    execution: Execution,
    folder: Path,
    home: Home,
) -> Evaluated:
    """Rank the targets of every split given their histories in `histories`, under the protocol of `clean`.

    `trained_on` is what was trained on: what a noise model has counted there does not vouch for itself in a history.
    Raises as `tasks.workers.run_worker` does.
    """
    if not Evaluated(folder).complete:
        with working_folder(folder.parent) as work:
            arrays = work / "ranks.npz"
            request = {
                "log": str(export_log(histories, home=home)),
                "clean": str(export_log(clean, home=home)),
                "trained_on": str(export_log(trained_on, home=home)),
                "folder": str(trained.folder),
                "evaluation_seed": evaluation_seed,
                "device": execution.device,
                "threads": execution.threads,
                "out": str(arrays),
            }
            run_worker("rank", request)
            content = work / "content"
            content.mkdir()
            _write_ranks(arrays, content / RANKS_FILE, histories, clean)
            _write_exposures(arrays, content / EXPOSURES_FILE, clean)
            if folder.exists() and not Evaluated(folder).complete:
                folder.rename(work / "incomplete")
            publish(content, folder)
    return Evaluated(folder)


def _write_ranks(arrays: Path, path: Path, histories: Snapshot, clean: Snapshot) -> None:
    with np.load(arrays, allow_pickle=False) as stored:
        ranks = {name: [stored[f"{split}_{name}"] for split in SPLITS] for name in PROTOCOLS}
    sizes = [len(values) for values in ranks[PROTOCOLS[0]]]
    ranked = pd.DataFrame(
        {"split": np.repeat(SPLITS, sizes), "number": np.concatenate([np.arange(size) for size in sizes])}
        | {f"rank_{name}": np.concatenate(values) for name, values in ranks.items()}
    )
    query = sql.load(
        "evaluate/ranks",
        targets=sql.literal(str(histories.targets)),
        clean_interactions=sql.literal(str(clean.interactions)),
        clean_users=sql.literal(str(clean.users)),
    )
    _write(query, path, ranked=ranked)


def _write_exposures(arrays: Path, path: Path, clean: Snapshot) -> None:
    with np.load(arrays, allow_pickle=False) as stored:
        columns = {name: stored[name] for name in ("lists", "users", "self_information")}
    offered = pd.DataFrame({"item": np.arange(1, clean.counts.items + 1), **columns})
    _write(sql.load("evaluate/exposures", items=sql.literal(str(clean.items))), path, offered=offered)


def _write(query: str, path: Path, **frames: pd.DataFrame) -> None:
    with engine() as connection:
        for name, frame in frames.items():
            connection.register(name, frame)
        connection.execute(f"COPY ({query}) TO {sql.literal(str(path))} (FORMAT parquet, COMPRESSION zstd)")
