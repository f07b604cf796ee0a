"""A search's outcome for the terminal."""

from statistics import median
from typing import Any

from tasks.progress import duration
from tasks.reporting.analysis import axis_label, value_label
from tasks.reporting.columns import ruled
from tasks.tuning.result import MethodResult, TuneResult

LEGEND = (
    "{metric} on validation, the mean over the seeds; first is the method as it comes, median that of its trials.\n"
    "The best of several trials is partly the luckiest: fresh seeds, on test, say what is left of it."
)


def table(result: TuneResult) -> list[dict[str, str]]:
    """A row a method as text cells, the same keys in each."""
    return [_row(result, method) for method in result.methods]


def plain(result: TuneResult) -> str:
    """The table in columns, its legend, what was noted, and the trials that failed."""
    lines = [ruled(table(result), left=("Method", "Settings")), "", LEGEND.format(metric=result.metric)]
    lines += [f"Note: {note}" for note in noted(result)]
    failed = failures(result)
    return "\n".join([*lines, *(["", "Failed:", *(f"  {each}" for each in failed)] if failed else [])])


def noted(result: TuneResult) -> list[str]:
    """What a person should know of the search."""
    exhausted = [
        f"{method.name}: its space holds no more than {len(result.of(method.name))} trials, all of which were made"
        for method in result.methods
        if method.exhausted
    ]
    return [*result.notes, *exhausted]


def failures(result: TuneResult) -> list[str]:
    """The trainings that failed, with their settings and why."""
    return [
        f"{trial.method}, trial {trial.number}, seed {cell.seed} ({settings_words(trial.settings)}): {cell.failure}"
        for trial in result.trials
        for cell in trial.cells
        if cell.failure is not None
    ]


def settings_words(settings: dict[str, Any]) -> str:
    """Settings in a few words: "learning rate 0.002, dropout 0.1"."""
    return ", ".join(f"{axis_label(name)} {value_label(value)}" for name, value in settings.items())


def _row(result: TuneResult, method: MethodResult) -> dict[str, str]:
    trials, best = result.of(method.name), result.best(method)
    values = [trial.value for trial in trials if trial.value is not None]
    cells = [cell for trial in trials for cell in trial.cells]
    return {
        "Method": method.name,
        "Best": _number(best.value if best else None),
        "First": _number(trials[0].value if trials else None),
        "Median": _number(median(values) if values else None),
        "Trial": "–" if best is None else f"{best.number} of 0–{len(trials) - 1}",
        "Trainings": str(len(cells)),
        "Epochs": str(sum(cell.figures.epochs or 0 for cell in cells)),
        "Time": duration(sum(cell.figures.seconds or 0.0 for cell in cells)),
        "Settings": "–" if best is None else settings_words(best.settings),
    }


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
