"""How well a trained model, and simple rules beside it, tell the labelled noise in what the model was trained on."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

import sql
from tasks.engine import engine
from tasks.execution import Execution
from tasks.home import Home
from tasks.scratch import publish, working_folder
from tasks.sequences import export_log
from tasks.snapshots import Snapshot
from tasks.statistics import roc
from tasks.statistics.estimates import Estimate, Floats, Integers
from tasks.train import Trained
from tasks.workers import run_worker

SUSPICIONS_FILE = "suspicions.parquet"
PROGRAM = "models.detect"
PREFIX = "noise."
"""What the names of its metrics begin with."""

KINDS = 12
"""Of how many kinds of noise, the most frequent first, there are figures of their own."""

_LABELS = ("user", "position", "item", "noise", "noise_kind")


@dataclass(frozen=True)
class Verdict:
    """A detector's figures on one log, over the noise of one kind, or of all kinds where `kind` is None.

    positives, negatives: how many judged interactions are noise (of the kind) and genuine, which is what unlabelled
    ones are taken for. average_precision: by chance positives / (positives + negatives). caught: the share of the noise
    among as many flagged as there is noise of all kinds; of all kinds it is precision and recall in one.
    """

    detector: str
    kind: str | None
    positives: int
    negatives: int
    auroc: Estimate
    average_precision: float
    caught: float
    curve: roc.Curve


@dataclass(frozen=True)
class Detected:
    """A finished detection: its folder holds `suspicions.parquet` (columns: `sql/detect/suspicions.sql`)."""

    folder: Path

    @property
    def suspicions(self) -> Path:
        return self.folder / SUSPICIONS_FILE

    @property
    def complete(self) -> bool:
        return self.suspicions.exists()

    @cached_property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Every detector over all noise, then over each kind where there are several; over none where the judged
        interactions are all noise, or none is.

        All detectors are measured on the same interactions: those that each of them has something to go by for.
        """
        return tuple(verdicts_on(pd.read_parquet(self.suspicions)))

    def metrics(self) -> dict[str, float]:
        """The verdicts' figures, such as `noise.own_score.auroc`, and of a kind `noise.own_score.misclick.auroc`."""
        metrics: dict[str, float] = {}
        for verdict in self.verdicts:
            if verdict.kind is None:
                metrics[f"{PREFIX}judged"] = float(verdict.positives + verdict.negatives)
                metrics[f"{PREFIX}labelled_share"] = verdict.positives / (verdict.positives + verdict.negatives)
            metrics |= {f"{_name(verdict)}.{figure}": value for figure, value in _figures(verdict).items()}
        return metrics


def detection_folder(key: str, *, home: Home) -> Path:
    """Where the detection with this step key lives."""
    return home.steps / "detect" / key[:32]


def detect(trained: Trained, snapshot: Snapshot, *, execution: Execution, folder: Path, home: Home) -> Detected:
    """Judge what `trained` was trained on, the training part of `snapshot`.

    Raises as `tasks.workers.run_worker` does.
    """
    if not Detected(folder).complete:
        with working_folder(folder.parent) as work:
            arrays = work / "suspicions.npz"
            request = {
                "log": str(export_log(snapshot, home=home)),
                "folder": str(trained.folder),
                "device": execution.device,
                "threads": execution.threads,
                "out": str(arrays),
            }
            run_worker("detect", request, program=PROGRAM)
            content = work / "content"
            content.mkdir()
            _write(arrays, content / SUSPICIONS_FILE, snapshot)
            publish(content, folder)
    return Detected(folder)


def verdicts_on(judged: pd.DataFrame) -> Iterator[Verdict]:
    """The verdicts on what a `suspicions.parquet` holds, see `Detected.verdicts`."""
    detectors = [name for name in judged.columns if name not in _LABELS]
    judged = judged.dropna(subset=detectors)
    noisy = judged["noise"].to_numpy(dtype=bool)
    if noisy.all() or not noisy.any():
        return
    users = judged["user"].to_numpy(dtype=np.int64)
    kinds = judged["noise_kind"].value_counts()
    for detector in detectors:
        suspicion = judged[detector].to_numpy(dtype=np.float64)
        flagged = roc.flagged(suspicion, int(noisy.sum()))
        yield _verdict(detector, None, noisy, suspicion, flagged, users)
        for kind in kinds.index[:KINDS] if len(kinds) > 1 else ():
            own = (judged["noise_kind"] == kind).to_numpy(dtype=bool)
            part = own | ~noisy
            yield _verdict(detector, str(kind), own[part], suspicion[part], flagged[part], users[part])


def auroc_by_detector(metrics: Mapping[str, float]) -> dict[str, float]:
    """Of a training's metrics the area of each detector over all noise."""
    pattern = re.compile(rf"{re.escape(PREFIX)}([^.]+)\.auroc")
    return {found[1]: value for name, value in metrics.items() if (found := pattern.fullmatch(name))}


def _write(arrays: Path, path: Path, snapshot: Snapshot) -> None:
    with np.load(arrays, allow_pickle=False) as stored:
        judged = pd.DataFrame({name: stored[name] for name in stored.files})
    judged = judged.rename(columns={"users": "user", "positions": "position"})
    query = sql.load("detect/suspicions", interactions=sql.literal(str(snapshot.interactions)))
    with engine() as connection:
        connection.register("judged", judged)
        connection.execute(f"COPY ({query}) TO {sql.literal(str(path))} (FORMAT parquet, COMPRESSION zstd)")


def _verdict(
    detector: str, kind: str | None, noisy: roc.Flags, suspicion: Floats, flagged: Floats, users: Integers
) -> Verdict:
    return Verdict(
        detector=detector,
        kind=kind,
        positives=int(noisy.sum()),
        negatives=int((~noisy).sum()),
        auroc=roc.auroc(noisy, suspicion, users),
        average_precision=roc.average_precision(noisy, suspicion),
        caught=float(flagged[noisy].mean()),
        curve=roc.curve(noisy, suspicion, points=roc.POINTS),
    )


def _figures(verdict: Verdict) -> dict[str, float]:
    figures: dict[str, float | None] = {
        "auroc": verdict.auroc.value,
        "auroc_low": verdict.auroc.low,
        "auroc_high": verdict.auroc.high,
        "average_precision": verdict.average_precision,
        "recall_at_share": verdict.caught,
        "precision_at_share": verdict.caught if verdict.kind is None else None,
    }
    return {name: value for name, value in figures.items() if value is not None}


def _name(verdict: Verdict) -> str:
    """With a kind as MLflow lets a metric be called."""
    kind = "" if verdict.kind is None else "." + re.sub(r"[^A-Za-z0-9_-]", "_", verdict.kind)
    return f"{PREFIX}{verdict.detector}{kind}"
