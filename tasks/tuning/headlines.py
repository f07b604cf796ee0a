"""What a search's parent run in MLflow shows beside the report: a few figures to chart and sort by, and the answer."""

from tasks.reporting.tuning import answer
from tasks.tuning.result import TrialResult, TuneResult
from tasks.tuning.terminal import settings_words


def figures(result: TuneResult) -> dict[str, float]:
    """`cells.done` and `cells.failed`, of its trainings, and each method's highest value of the metric that was
    searched, and that of the method as it comes, as `best.validation.full_unseen.ndcg_at_10.sasrec-bce` and `first.…`.
    """
    cells = [cell for trial in result.trials for cell in trial.cells]
    failed = sum(cell.status == "failed" for cell in cells)
    told = {"cells.done": float(len(cells) - failed), "cells.failed": float(failed)}
    for method in result.methods:
        for name, trial in (("best", result.best(method)), ("first", result.of(method.name)[0])):
            if trial is not None and trial.value is not None:
                told[f"{name}.{result.metric}.{method.name}"] = trial.value
    return told


def tags(result: TuneResult) -> dict[str, str]:
    """`answer`, what was best of each method in words; and of the trial with the highest value of all `best.method`,
    `best.trial`, its number, `best.settings` and `best.run`, the runs of its trainings.
    """
    told = {"answer": "\n".join(answer(result)).replace("\N{NO-BREAK SPACE}", " ")}
    best = _best(result)
    if best is not None:
        told |= {
            "best.method": best.method,
            "best.trial": str(best.number),
            "best.settings": settings_words(best.settings),
            "best.run": ", ".join(cell.mlflow_run for cell in best.cells),
        }
    return told


def _best(result: TuneResult) -> TrialResult | None:
    found = [best for method in result.methods if (best := result.best(method)) is not None]
    return max(found, key=lambda trial: trial.value or 0.0, default=None)
