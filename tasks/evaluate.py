"""Rank every target under every protocol; keep the ranks, from which all metrics are computed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd

import sql
from models.engine.metrics import PROTOCOLS, summary
from tasks.execution import Execution
from tasks.home import Home
from tasks.scratch import publish, working_folder
from tasks.sequences import SPLITS, export_log
from tasks.snapshots import Snapshot
from tasks.train import Trained
from tasks.workers import run_worker

RANKS_FILE = "ranks.parquet"


@dataclass(frozen=True)
class Evaluated:
    """A finished ranking: its folder holds `ranks.parquet`, one row a target (columns: `sql/evaluate/ranks.sql`)."""

    folder: Path

    @property
    def ranks(self) -> Path:
        return self.folder / RANKS_FILE

    @property
    def complete(self) -> bool:
        return self.ranks.exists()

    def metrics(self) -> dict[str, float]:
        """Every metric of both splits under its protocol's name."""
        ranks = pd.read_parquet(self.ranks)
        metrics: dict[str, float] = {}
        for split in SPLITS:
            rows = ranks[ranks["split"] == split]
            metrics |= summary({name: rows[f"rank_{name}"].to_numpy() for name in PROTOCOLS}, split)
        return metrics


def evaluation_folder(key: str, *, home: Home) -> Path:
    """Where the ranking with this step key lives."""
    return home.steps / "evaluate" / key[:32]


def evaluate(
    trained: Trained,
    snapshot: Snapshot,
    clean: Snapshot,
    *,
    evaluation_seed: int,
    execution: Execution,
    folder: Path,
    home: Home,
) -> Evaluated:
    """Rank the targets given the histories of `snapshot`, under the protocol of `clean`."""
    if not Evaluated(folder).complete:
        with working_folder(folder.parent) as work:
            arrays = work / "ranks.npz"
            request = {
                "log": str(export_log(snapshot, home=home)),
                "clean": str(export_log(clean, home=home)),
                "folder": str(trained.folder),
                "evaluation_seed": evaluation_seed,
                "device": execution.device,
                "threads": execution.threads,
                "out": str(arrays),
            }
            run_worker("rank", request, on_epoch=_ignore)
            content = work / "content"
            content.mkdir()
            _write_ranks(arrays, content / RANKS_FILE, snapshot, clean)
            publish(content, folder)
    return Evaluated(folder)


def _write_ranks(arrays: Path, path: Path, snapshot: Snapshot, clean: Snapshot) -> None:
    with np.load(arrays, allow_pickle=False) as stored:
        ranked = pd.concat(
            pd.DataFrame(
                {"split": split, "number": np.arange(len(stored[f"{split}_full_all"]))}
                | {f"rank_{name}": stored[f"{split}_{name}"] for name in PROTOCOLS}
            )
            for split in SPLITS
        )
    query = sql.load(
        "evaluate/ranks",
        targets=sql.literal(str(snapshot.targets)),
        clean_interactions=sql.literal(str(clean.interactions)),
        clean_users=sql.literal(str(clean.users)),
    )
    with duckdb.connect() as connection:
        connection.register("ranked", ranked)
        connection.execute(f"COPY ({query}) TO {sql.literal(str(path))} (FORMAT parquet, COMPRESSION zstd)")


def _ignore(record: dict[str, Any]) -> None:
    """A ranking has no epochs."""
