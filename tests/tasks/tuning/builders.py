"""Made-up searches: a file, and an outcome of every trial that is known beforehand."""

import math

from models.engine.metrics import SELECTION_METRIC
from tasks.study.result import Figures
from tasks.tuning.expand import Tuning
from tasks.tuning.result import MethodResult, TrialCell, TrialResult, TuneResult, best_of
from tasks.tuning.search import Search, Trial
from tasks.tuning.space import Range

TEXT = """\
name: some
question: At which settings?
base:
  dataset: mine
  source: {shoppers: {users: 150, items: 60}}
  noise: {ratio: 0.2}
  model: {dim: 16, dropout: 0.3}
  training: {epochs: 3}
methods: [sasrec-bce, rec-denoiser, sasrec-gbce]
space:
  training.learning_rate: {low: 1e-4, high: 1e-1, log: true}
  model: {dropout: [0.1, 0.3, 0.5]}
spaces:
  rec-denoiser:
    model.beta: {low: 0.01, high: 0.3, log: true}
  sasrec-gbce:
    model.negatives: {low: 16, high: 64, step: 16}
trials: 10
seeds: [1, 5]
"""


def value_of(trial: Trial) -> float:
    """A made-up outcome: highest at a learning rate of 0.01."""
    return -((math.log10(trial.settings["training.learning_rate"]) + 2.0) ** 2)


def trials_of(tuning: Tuning, number: int = 0) -> list[Trial]:
    search = Search(tuning.methods[number], tuning)
    trials: list[Trial] = []
    while proposed := search.propose():
        for trial in proposed:
            search.tell(trial, value_of(trial))
        trials += proposed
    return trials


def result(tuning: Tuning) -> TuneResult:
    """A made-up outcome of every trial; one failed."""
    trials: list[TrialResult] = []
    for number in range(len(tuning.methods)):
        for trial in trials_of(tuning, number):
            failed = trial.number == 4
            cells = tuple(cell(spec.seed, 0.2 + 0.01 * value_of(trial), failed=failed) for spec in trial.specs)
            value = None if failed else 0.2 + 0.01 * value_of(trial)
            trials.append(TrialResult(trial.method, trial.number, trial.settings, value, cells))
    methods = tuple(
        MethodResult(
            method.name,
            {name: dimension.described for name, dimension in method.space.items()},
            tuple(name for name, held in method.space.items() if isinstance(held, Range) and held.log),
            best_of(tuple(trial for trial in trials if trial.method == method.name)),
            False,
        )
        for method in tuning.methods
    )
    return TuneResult(
        name="some",
        question="At which settings?",
        metric=SELECTION_METRIC,
        spec=tuning.spec.model_dump(mode="json"),
        notes=tuning.notes,
        code={"rec_denoiser.code": "0123"},
        execution={"processor": "a test", "threads": 1},
        drawn_by="a test",
        started="2026-01-02T03:04:05+00:00",
        seconds=12.0,
        datasets=(),
        methods=methods,
        trials=tuple(trials),
        study="tuned.yaml",
    )


def cell(seed: int, value: float, *, failed: bool) -> TrialCell:
    metrics: dict[str, float] = {} if failed else {SELECTION_METRIC: value}
    figures = Figures() if failed else Figures(2, 3, 4.5, 1000, 2**29)
    return TrialCell(seed, "failed" if failed else "done", "diverged" if failed else None, metrics, figures, "k", "run")
