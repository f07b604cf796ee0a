"""Made-up studies whose truth is known: one method is really better than the reference, one is the same."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from models.engine.metrics import PROTOCOLS, summary
from models.engine.offers import OFFER_METRICS
from tasks.detect import verdicts_on
from tasks.gates import GateLayer
from tasks.study.result import (
    CellResult,
    Dataset,
    Detection,
    Epoch,
    Figures,
    Noise,
    Place,
    SourceFile,
    StudyResult,
)

USERS = 400
METHODS = ("plain", "better", "equal")
STRENGTH = {"plain": 0.0, "better": 0.9, "equal": 0.0, "oracle": 1.6}
MODELS = {
    "plain": {"backbone": "sasrec", "loss": "bce", "dim": 50, "length": 50},
    "better": {"backbone": "sasrec", "loss": "softmax", "dim": 50, "length": 50},
    "equal": {"backbone": "sasrec", "loss": "bce", "dim": 50, "gate": "positional", "estimator": "arm-per-token"},
    "oracle": {"backbone": "sasrec", "loss": "bce", "dim": 50, "length": 50},
}

Ranks = Callable[[CellResult], pd.DataFrame]


def study(
    *,
    name: str = "noise",
    methods: tuple[str, ...] = METHODS,
    kinds: tuple[str, ...] = ("replace",),
    ratios: tuple[float, ...] = (0.0, 0.1, 0.25),
    seeds: tuple[int, ...] = (1, 2),
    settings: Mapping[str, tuple[Any, ...]] | None = None,
    **changes: Any,
) -> tuple[StudyResult, Ranks]:
    """A study's result before it is analysed, and its ranks."""
    settings = settings or {}
    frames: dict[str, pd.DataFrame] = {}
    cells = []
    for method, kind, ratio, seed, *values in product(methods, kinds, ratios, seeds, *settings.values()):
        own = dict(zip(settings, values, strict=True))
        shift = 0.25 * sum(float(value) / max(held) for value, held in zip(values, settings.values(), strict=True))
        key = f"{method}/{kind if ratio else None}/{ratio}/{seed}/{values}"
        frames[key] = ranks_of(method, ratio, seed, kind=kind, shift=shift)
        axes = {"method": method, "noise.kind": kind, "noise.ratio": ratio, "seed": seed, **own}
        cells.append(_cell(method, kind, ratio, seed, key, axes, frames[key]))
    result = StudyResult(
        name=name,
        question="Which recommender survives clicks that were never meant?",
        reference="plain",
        spec={"name": name, "axes": {"method": list(methods), "noise.ratio": list(ratios), "seed": list(seeds)}},
        axes={
            "method": methods,
            "noise.kind": kinds,
            "noise.ratio": ratios,
            "seed": seeds,
            **{axis: tuple(held) for axis, held in settings.items()},
        },
        code={"rec_denoiser.code": "0123456789abcdef", "rec_denoiser.lock_sha256": "fedcba9876543210"},
        execution={"device": "cpu", "processor": "a test", "threads": 1, "libraries": {"torch": "2.13.0"}},
        started="2026-01-02T03:04:05+00:00",
        seconds=754.0,
        datasets=tuple(_dataset(kind, ratio) for kind, ratio in product(kinds, ratios)),
        cells=tuple(cells),
        file="studies/noise.yaml",
        overrides=("axes.seed=[1, 2]", "name=noise"),
    )
    return replace(result, **changes), lambda cell: frames[str(cell.ranks)]


def ranks_of(method: str, ratio: float, seed: int, *, kind: str, shift: float) -> pd.DataFrame:
    """Ranks as `sql/evaluate/ranks.sql` gives them: methods share what is hard about a user, the rest is their own."""
    shared = np.random.default_rng(11)
    ease, popularity, history = (
        shared.normal(0.0, 1.0, USERS),
        shared.integers(1, 300, USERS),
        shared.integers(3, 80, USERS),
    )
    own = np.random.default_rng([seed, *method.encode(), int(100 * ratio), len(kind) if ratio else 0])
    quality = STRENGTH.get(method, 0.3) * (0.6 + ratio) + shift - 4.0 * ratio * (0.5 if kind == "popular" else 1.0)
    score = ease + quality + own.normal(0.0, 0.25, USERS)
    full = np.floor(np.exp(np.clip(3.2 - score, -1.0, 6.5)))
    columns: dict[str, Any] = {
        "target": np.arange(USERS),
        "split": ["test"] * USERS,
        "user": np.arange(USERS),
        "item": shared.integers(1, 100, USERS),
        "history": history,
        "popularity": popularity,
        "noise_share": np.clip(shared.normal(ratio, 0.1, USERS), 0.0, 1.0) if ratio else np.zeros(USERS),
    }
    ranks = {"full_unseen": full, "full_all": full + 2.0, "sampled100": np.minimum(np.floor(full / 8.0), 100.0)}
    return pd.DataFrame(columns | {f"rank_{name}": ranks[name].astype(np.float32) for name in PROTOCOLS})


def detection(method: str, ratio: float, *, strength: float, seed: int = 1) -> Detection:
    """The own score of a method whose scores of noise are higher by so many standard deviations."""
    draw = np.random.default_rng([seed, *method.encode()])
    noisy = draw.random(2000) < ratio
    place = Place("ml-100k", Noise("replace", ratio, "both"), {})
    scores = draw.normal(0.0, 1.0, 2000) + strength * noisy
    columns = {"user": np.arange(2000) // 20, "noise": noisy, "noise_kind": np.where(noisy, "replace", None)}
    (verdict,) = verdicts_on(pd.DataFrame(columns | {"own_score": scores}))
    return Detection.of(verdict, place=place, method=method, seed=seed)


def _cell(
    method: str, kind: str, ratio: float, seed: int, key: str, axes: dict[str, Any], frame: pd.DataFrame
) -> CellResult:
    epochs = 12 + 5 * seed
    final = {name: frame[f"rank_{name}"].to_numpy() for name in PROTOCOLS}
    peak = summary(final, "validation")["validation.full_unseen.ndcg_at_10"]
    draw = np.random.default_rng([seed, *method.encode()])
    curve = [
        peak * (1.0 - 0.85 * float(np.exp(-epoch / 4.0))) + float(draw.normal(0.0, 0.002)) for epoch in range(epochs)
    ]
    return CellResult(
        axes=axes,
        label=f"{method}, noise {ratio:.0%}, seed {seed}",
        dataset="ml-100k",
        method=method,
        noise=Noise(kind, ratio, "both", 0),
        model=MODELS.get(method, MODELS["plain"]),
        training={"epochs": 60},
        seed=seed,
        status="done",
        failure=None,
        snapshot="ab" * 32,
        histories="ab" * 32,
        train_key=f"train/{key}",
        evaluate_key=f"evaluate/{key}",
        ranks=key,
        mlflow_run=hashlib.md5(key.encode(), usedforsecurity=False).hexdigest(),
        figures=Figures(
            best_epoch=int(np.argmax(curve)) + 1,
            epochs=epochs,
            seconds={"better": 190.0, "equal": 82.0}.get(method, 60.0) + 3.0 * seed,
            parameters=120_000,
            peak_memory_bytes={"better": 900, "equal": 520}.get(method, 480) * 2**20,
            gate=_gate(seed) if "gate" in MODELS.get(method, {}) else (),
        ),
        history=tuple(
            Epoch(epoch + 1, {"train.loss": 1.0 / (epoch + 1), "validation.full_unseen.ndcg_at_10": value})
            for epoch, value in enumerate(curve)
        ),
        metrics=summary(final, "test") | _offers(method, ratio, seed),
    )


def _offers(method: str, ratio: float, seed: int) -> dict[str, float]:
    """Noise makes the better one flee to the popular, and the others scatter."""
    spread = 0.4 + 0.01 * seed + (-0.8 if method == "better" else 0.4) * ratio
    return dict(zip(OFFER_METRICS, (spread, 10.0 * spread, 1.0 - spread), strict=True))


def _gate(seed: int) -> tuple[GateLayer, ...]:
    """Two layers; the second keeps less, and nothing is that far apart in it as in the first."""
    return (
        GateLayer(1, 0.9 - 0.1 * seed, 0.9 - 0.2 * seed, (0.9, 0.7, 0.5 + 0.1 * seed)),
        GateLayer(2, 0.4, 0.3 - 0.1 * seed, (0.5 - 0.1 * seed, 0.1)),
    )


def _dataset(kind: str, ratio: float) -> Dataset:
    return Dataset(
        name="ml-100k",
        digest=("c0ffee" if ratio == 0.0 else f"{int(100 * ratio):02d}beef") * 10,
        clean="c0ffee" * 10,
        counts={"interactions": 100_000, "users": USERS, "items": 1_682, "noisy": int(98_000 * ratio)},
        sources=(SourceFile("u.data", 1_979_173, "06" * 32),),
        noise=Noise(kind, ratio, "both") if ratio else None,
        docs=None,
    )
