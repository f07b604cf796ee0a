"""What a cleaned log gains: the same short training on the log as it is and on the cleaned one, on validation."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from tasks.audit.specs import AuditSpec
from tasks.data_specs import FilterSpec
from tasks.evaluate import Evaluated
from tasks.execution import Execution
from tasks.filter import JUDGED_BY
from tasks.plan import Cell, Data, cell_of
from tasks.snapshots import Snapshot
from tasks.specs import CellSpec, default_training, named_method
from tasks.statistics.bootstrap import interval, resample
from tasks.statistics.estimates import Estimate, gain
from tasks.statistics.panel import align, scores

METHOD = "sasrec-bce"
METRICS = ("validation.full_unseen.ndcg_at_10", "validation.sampled100.ndcg_at_10")
AS_IT_IS, CLEANED = "as-it-is", "cleaned"


@dataclass(frozen=True)
class Gain:
    """A metric of validation after training on the log as it is and on the cleaned one, and the relative gain in %,
    with its interval over users.
    """

    metric: str
    as_it_is: float
    cleaned: float
    gain: Estimate


def compared_cells(spec: AuditSpec, snapshot: Snapshot, cleaned: Snapshot, execution: Execution) -> tuple[Cell, Cell]:
    """The two trainings: on `snapshot`, and on `cleaned`, each ranked with its own histories under the protocol of
    `snapshot`. One seed, and at most `spec.gain_epochs` epochs.
    """
    training = replace(default_training(spec.source), epochs=spec.gain_epochs or 1)
    plain = CellSpec(
        dataset=spec.dataset,
        source=spec.source,
        prepare=spec.prepare,
        method=AS_IT_IS,
        model=named_method(METHOD).model,
        training=training,
    )
    left_out = plain.model_copy(update={"method": CLEANED, "filter": filter_of(spec)})
    return (
        cell_of(plain, Data(snapshot, snapshot), execution),
        cell_of(left_out, Data(snapshot, cleaned), execution),
    )


def filter_of(spec: AuditSpec) -> FilterSpec:
    """The filter that makes the cleaned log; none where no cleaned log is asked for."""
    return FilterSpec() if spec.clean_below is None else JUDGED_BY.model_copy(update={"below": spec.clean_below})


def gains(as_it_is: Evaluated, cleaned: Evaluated) -> tuple[Gain, ...]:
    """What the rankings of the two trainings say, by metric, on the same users."""
    ranks = {AS_IT_IS: pd.read_parquet(as_it_is.ranks), CLEANED: pd.read_parquet(cleaned.ranks)}
    return tuple(_gain(metric, ranks) for metric in METRICS)


def _gain(metric: str, ranks: dict[str, pd.DataFrame]) -> Gain:
    panel = align(scores(frame, metric, method=name, seed=1) for name, frame in ranks.items())
    before, after = panel.column(AS_IT_IS), panel.column(CLEANED)
    resampled = resample(panel.sample(), rng=np.random.default_rng(0))
    means = resampled.point
    return Gain(metric, float(means[before]), float(means[after]), interval(resampled, gain(after, before)))
