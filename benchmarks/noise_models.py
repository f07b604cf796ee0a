"""How well noise models find each kind of noise in a log, and how much of it they take there to be.

    .venv/bin/python -m benchmarks.noise_models --source ../shared/data/ml-1m.parquet --order-col position

No network is trained. A kind of noise is put into the log at each ratio, a noise model looks at the training part
without its labels, and is then compared with them: its estimate of the share of noise, the area under its ROC curve
with an interval over users, what it flags (more likely noise than not), and its processor time.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import torch

from benchmarks.result import write
from models.catalogue import NOISE_MODELS
from models.config import ModelConfig
from models.denoising.noise.planting import KINDS
from models.engine.sequences import Sequences, load_log, owners, training_part
from tasks.corrupt import corrupt
from tasks.data_specs import Columns, CorruptSpec, NoiseKind, PrepareSpec, SourceSpec
from tasks.home import Home
from tasks.ingest import ingest
from tasks.sequences import export_log
from tasks.snapshots import Snapshot
from tasks.sources.source import obtain_log
from tasks.statistics import roc

CASES: tuple[tuple[NoiseKind, float], ...] = (
    ("replace", 0.0), ("replace", 0.1), ("replace", 0.25), ("popular", 0.1), ("popular", 0.25), ("burst", 0.25),
    ("insert", 0.25), ("swap", 0.25), ("sharing", 0.25),
)  # fmt: skip


def main() -> None:
    """Measure, print a table, and write JSON where asked."""
    options = _options()
    torch.set_num_threads(1)
    cases = []
    with tempfile.TemporaryDirectory() as folder:
        print(
            f"{'noise':<14}{'model':<15}{'true':>7}{'told':>7}{'AUROC':>8}{'interval':>15}{'flags':>7}{'right':>7}{'CPU':>7}"
        )
        for case in _cases(options, Home(Path(folder))):
            print(_line(case), flush=True)
            cases.append(case)
    result = {
        "benchmark": "noise_models",
        "source": options.source or "shoppers",
        "seed": options.seed,
        "planted": options.planted,
        "cases": cases,
    }
    write(options.json, result)


def _cases(options: argparse.Namespace, home: Home) -> Iterator[dict[str, Any]]:
    columns = Columns(order=options.order_col) if options.order_col else Columns()
    log = obtain_log(SourceSpec(path=options.source, columns=columns), home=home)
    clean = ingest(log, PrepareSpec(), home=home)
    for kind, ratio in CASES:
        snapshot = corrupt(clean, CorruptSpec(kind=kind, ratio=ratio, seed=options.seed), home=home)
        sequences = load_log(export_log(snapshot, home=home)).sequences
        noisy = _labels(snapshot)[training_part(sequences).numpy()]
        for name in options.models:
            case = {"kind": kind, "ratio": ratio, "noise_model": name}
            yield case | _judged(name, sequences, noisy, planted=options.planted, seed=options.seed)


def _judged(name: str, sequences: Sequences, noisy: np.ndarray, *, planted: str, seed: int) -> dict[str, Any]:
    torch.manual_seed(seed)
    started = time.process_time()
    model = NOISE_MODELS[name](ModelConfig(noise_model=name, planted=planted), sequences.item_count)
    model.prepare(sequences)
    part = training_part(sequences)
    keep = model.verdict(sequences)[part].double().numpy()
    seconds = time.process_time() - started
    found: dict[str, Any] = {
        "share": float(noisy.mean()),
        "estimated_share": model.share(),
        "flagged": float((keep < 0.5).mean()),
        "processor_seconds": seconds,
    }
    if noisy.any():
        area = roc.auroc(noisy, 1.0 - keep, owners(sequences)[part].numpy())
        flags = keep < 0.5
        found |= {"auroc": area.value, "low": area.low, "high": area.high}
        found |= {
            "precision": float(noisy[flags].mean()) if flags.any() else None,
            "recall": float(flags[noisy].mean()),
        }
    return found


def _labels(snapshot: Snapshot) -> np.ndarray:
    """[events] bool: which interactions are labelled as noise, by user and position."""
    query = 'select noise_kind is not null as noisy from read_parquet(?) order by "user", position'
    return np.asarray(duckdb.execute(query, [str(snapshot.interactions)]).fetchnumpy()["noisy"], dtype=bool)


def _line(case: dict[str, Any]) -> str:
    line = f"{case['kind'] + ' ' + format(case['ratio'], '.0%'):<14}{case['noise_model']:<15}"
    line += f"{case['share']:>7.1%}{case['estimated_share']:>7.1%}"
    if "auroc" in case:
        right = "–" if case["precision"] is None else f"{case['precision']:.1%}"
        line += f"{case['auroc']:>8.3f}{case['low']:>8.3f}–{case['high']:.3f}{case['flagged']:>7.1%}{right:>7}"
    else:
        line += f"{'–':>8}{'–':>14}{case['flagged']:>8.1%}{'–':>7}"
    return f"{line}{case['processor_seconds']:>6.1f}s"


def _options() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", help="a log with user_id and item_id columns (default: generated shoppers)")
    parser.add_argument("--order-col", help="its column of order")
    parser.add_argument("--models", nargs="+", default=list(NOISE_MODELS), choices=list(NOISE_MODELS))
    parser.add_argument(
        "--planted", default="all", choices=("all", *KINDS), help="the kind of noise that they learn from"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the noise and of what is planted")
    parser.add_argument("--json", help="file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
