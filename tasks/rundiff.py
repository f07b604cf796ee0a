"""What two runs say differently: spec, data, code, environment and metrics, with a paired test where there is one."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tasks.compare import COMPARED
from tasks.dotted import differing
from tasks.home import Home
from tasks.provenance import Changes, code_changes, data_changes, machine_changes, package_changes
from tasks.runs import HeldRun
from tasks.statistics.comparison import Table, compare, jointly
from tasks.statistics.panel import align, scores
from tasks.track import FINAL

if TYPE_CHECKING:
    import pandas as pd

SHOWN_METRICS = (*FINAL, "training.", "train.")
SEED = 0
"""Of the bootstrap, so that the same two runs always give the same intervals."""


@dataclass(frozen=True)
class MetricPair:
    """A metric of both runs, None where one has none; `difference` is B's less A's. `unknown_to`: of two runs that
    differ by their code and by neither spec nor data, the one whose version does not know the metric.
    """

    name: str
    a: float | None
    b: float | None
    unknown_to: Literal["A", "B"] | None = None

    @property
    def difference(self) -> float | None:
        return None if self.a is None or self.b is None else self.b - self.a


@dataclass(frozen=True)
class PairedTest:
    """B against A on one metric, over users. `low`, `high`: of the interval of the mean difference; p: of the paired t
    test and of Wilcoxon's, by Holm over the metrics, None where there is no test, for the reason in `verdict`.
    """

    metric: str
    targets: int
    users: int
    difference: float | None
    low: float | None
    high: float | None
    t_p: float | None
    wilcoxon_p: float | None
    verdict: str


@dataclass(frozen=True)
class RunDifference:
    """Each of the changes: name → how it is in A and in B. `untested`: why there are no tests, None where there are."""

    spec: Changes
    data: Changes
    code: Changes
    packages: Changes
    machine: Changes
    metrics: tuple[MetricPair, ...]
    tests: tuple[PairedTest, ...]
    untested: str | None

    def to_dict(self) -> dict[str, Any]:
        """JSON can hold it."""
        pairs = [asdict(pair) | {"difference": pair.difference} for pair in self.metrics]
        return asdict(self) | {"metrics": pairs}


def difference(a: HeldRun, b: HeldRun, *, home: Home) -> RunDifference:
    """Compare two runs. Raises `InputError` where their ranks cannot be read."""
    untested = _untested(a, b)
    tests = paired_tests(a.ranks(home=home), b.ranks(home=home)) if untested is None else ()
    spec, data = differing(_settings(a), _settings(b)), data_changes(a.provenance, b.provenance)
    code = code_changes(a.provenance, b.provenance)
    alike = not (spec or data) and a.is_ranked == b.is_ranked
    return RunDifference(
        spec=spec,
        data=data,
        code=code,
        packages=package_changes(a.provenance, b.provenance),
        machine=machine_changes(a.provenance, b.provenance),
        metrics=_pairs(a.metrics, b.metrics, by_version=alike and bool(code)),
        tests=tests,
        untested=untested,
    )


def paired_tests(a: "pd.DataFrame", b: "pd.DataFrame") -> tuple[PairedTest, ...]:
    """B's ranks against A's of the same targets, on every metric that tables show."""
    rng = np.random.default_rng(SEED)
    tables = jointly([_table(a, b, metric, rng) for metric in COMPARED])
    return tuple(map(_paired_test, tables))


def _untested(a: HeldRun, b: HeldRun) -> str | None:
    """Why there can be no test of the two, where there can be none."""
    if a.provenance.clean.digest != b.provenance.clean.digest:
        return "the runs stand on different data, so their targets are not the same"
    if a.spec.evaluation_seed != b.spec.evaluation_seed:
        return "the runs have different evaluation seeds, so they rank among different candidates"
    if not (a.is_ranked or b.is_ranked):
        return "both are trials of a search and were never ranked"
    if not (a.is_ranked and b.is_ranked):
        return f"{'A' if b.is_ranked else 'B'} is a trial of a search and was never ranked"
    return None


def _table(a: "pd.DataFrame", b: "pd.DataFrame", metric: str, rng: np.random.Generator) -> Table:
    panel = align([scores(a, metric, method="A", seed=0), scores(b, metric, method="B", seed=0)])
    return compare(panel, metric=metric, reference="A", rng=rng)


def _paired_test(table: Table) -> PairedTest:
    (against,) = (row.against for row in table.rows if row.against is not None)
    return PairedTest(
        metric=table.metric,
        targets=table.targets,
        users=table.users,
        difference=against.difference.value,
        low=against.difference.low,
        high=against.difference.high,
        t_p=against.t_adjusted.p if against.t_adjusted else None,
        wilcoxon_p=against.wilcoxon_adjusted.p if against.wilcoxon_adjusted else None,
        verdict=against.verdict,
    )


def _settings(run: HeldRun) -> dict[str, Any]:
    """A run's spec; of the model's settings those that it reads."""
    return run.spec.model_dump(mode="json") | {"model": run.spec.model.effective()}


def _pairs(a: Mapping[str, float], b: Mapping[str, float], *, by_version: bool) -> tuple[MetricPair, ...]:
    """`by_version`: what one of them lacks, its version does not know."""
    names = sorted(name for name in {**a, **b} if name.startswith(SHOWN_METRICS))
    return tuple(_pair(name, a.get(name), b.get(name), by_version=by_version) for name in names)


def _pair(name: str, a: float | None, b: float | None, *, by_version: bool) -> MetricPair:
    if not by_version or (a is None) == (b is None):
        return MetricPair(name, a, b)
    return MetricPair(name, a, b, unknown_to="A" if a is None else "B")
