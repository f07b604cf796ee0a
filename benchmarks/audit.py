"""How much noise an audit takes there to be in a log, where the answer is known.

    .venv/bin/python -m benchmarks.audit
    .venv/bin/python -m benchmarks.audit --source ../shared/data/ml-1m.parquet --order-col position
    .venv/bin/python -m benchmarks.audit --source ../shared/data/ml-100k.u.data --disliked-below 3

No network is trained. Known amounts of noise are put into a log, several times each, and `rec-denoiser audit` judges it
without labels: its share of noise with its interval, by how much it reads noise high that is planted anew, the true
share, as a whole and by label, and how well the verdicts tell noise: the area under the ROC curve with an interval over
users, how much is noise of the hundred interactions that the audit puts first, and of those of each tenth of
probability. Where the log has labels of its own (the shoppers' mis-clicks and shared events, or ratings below
--disliked-below) they are told apart from what was put in: of the log as it is they are all that is known, and in the
corrupted ones they count as noise beside what was put in.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.result import write
from tasks.audit.findings import findings
from tasks.audit.judge import judge
from tasks.corrupt import corrupt
from tasks.data_specs import Columns, CorruptSpec, NoiseKind, PrepareSpec, SourceSpec
from tasks.home import Home
from tasks.ingest import ingest
from tasks.snapshots import Snapshot
from tasks.sources.source import obtain_log
from tasks.statistics import roc

CASES: tuple[tuple[NoiseKind, float], ...] = (
    ("replace", 0.0),
    ("replace", 0.1),
    ("replace", 0.25),
    ("popular", 0.1),
    ("popular", 0.25),
    ("bots", 0.1),
    ("bots", 0.25),
)
FIRST = 100
TENTHS = 10


def main() -> None:
    """Measure, print a table, and write JSON where asked."""
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        print(f"{'noise':<14}{'seed':>5}{'true':>8}{'told':>8}{'interval':>17}{'AUROC':>8}{'interval':>15}")
        cases = []
        for case in _cases(options, Path(folder)):
            print(_line(case), flush=True)
            cases.append(case)
    result = {
        "benchmark": "audit",
        "source": options.source or "shoppers",
        "disliked_below": options.disliked_below,
        "cases": cases,
    }
    write(options.json, result)


def _cases(options: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    home = Home(folder / "home")
    clean = ingest(obtain_log(_source(options, folder), home=home), PrepareSpec(), home=home)
    for kind, ratio in CASES:
        for seed in range(options.seeds if ratio else 1):
            log = corrupt(clean, CorruptSpec(kind=kind, ratio=ratio, seed=seed), home=home)
            yield {"kind": kind, "ratio": ratio, "seed": seed} | _judged(log, folder / f"{kind}-{ratio}-{seed}", home)


def _judged(log: Snapshot, folder: Path, home: Home) -> dict[str, Any]:
    judged = judge(log, folder=folder, home=home)
    told = pd.read_parquet(judged.interactions, columns=["noise_probability", "label", "user"])
    noisy = told["label"].notna().to_numpy(dtype=bool)
    share = judged.share
    found: dict[str, Any] = {"true": float(noisy.mean()), "told": share.value, "low": share.low, "high": share.high}
    found["labels"] = {str(kind): count / len(told) for kind, count in told["label"].value_counts().items()}
    found["reads_high"] = judged.reads_high
    if noisy.any():
        suspicion = told["noise_probability"].to_numpy(dtype=np.float64)
        area = roc.auroc(noisy, suspicion, told["user"].to_numpy(dtype=np.int64))
        found |= {"auroc": area.value, "auroc_low": area.low, "auroc_high": area.high}
        first = findings(judged, interactions=log.counts.interactions, top=FIRST).suspects
        found["noise_of_the_first"] = sum(suspect.label is not None for suspect in first) / len(first)
        found["tenths"] = _tenths(suspicion, noisy)
    return found


def _tenths(said: NDArray[np.float64], noisy: NDArray[np.bool_]) -> list[dict[str, float]]:
    """Of the interactions of each tenth of probability that has any: how many, their mean, and how much is noise."""
    tenth = np.minimum((said * TENTHS).astype(int), TENTHS - 1)
    return [
        {"events": int(own.sum()), "said": float(said[own].mean()), "noise": float(noisy[own].mean())}
        for own in (tenth == number for number in range(TENTHS))
        if own.any()
    ]


def _source(options: argparse.Namespace, folder: Path) -> SourceSpec:
    """The log; with the ratings below a bound as labels where that is asked for."""
    if options.disliked_below is None:
        return SourceSpec(path=options.source, format=options.format, columns=Columns(order=options.order_col))
    labelled = folder / "labelled.parquet"
    duckdb.execute(
        "copy (select column0 as user_id, column1 as item_id, column3 as at, "
        "case when column2 < $below then 'disliked' end as noise "
        "from read_csv($log, delim='\t', header=false)) to $out (format parquet)".replace("$out", f"'{labelled}'"),
        {"below": options.disliked_below, "log": options.source},
    )
    return SourceSpec(path=str(labelled), columns=Columns(time="at", noise="noise"))


def _line(case: dict[str, Any]) -> str:
    line = f"{case['kind'] + ' ' + format(case['ratio'], '.0%'):<14}{case['seed']:>5}{case['true']:>8.1%}"
    line += f"{case['told']:>8.1%}{case['low']:>9.1%}–{case['high']:<7.1%}"
    return line + (
        f"{case['auroc']:>8.3f}{case['auroc_low']:>8.3f}–{case['auroc_high']:.3f}" if "auroc" in case else ""
    )


def _options() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", help="a log with user_id and item_id columns (default: generated shoppers)")
    parser.add_argument("--format", help="of the source, where it does not tell by itself")
    parser.add_argument("--order-col", help="its column of order")
    parser.add_argument(
        "--disliked-below", type=float, metavar="X", help="in MovieLens' u.data: ratings below X are its labels"
    )
    parser.add_argument("--seeds", type=int, default=3, help="of the noise, for each kind and amount (default 3)")
    parser.add_argument("--json", help="file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
