"""The figures that a search's page and its table in the terminal show, of trials whose values are known."""

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.reporting.tuning import write_tuning_report
from tasks.study.result import Figures
from tasks.tuning.expand import read_tuning
from tasks.tuning.headlines import figures, tags
from tasks.tuning.result import MethodResult, TrialCell, TrialResult, TuneResult, best_of
from tasks.tuning.terminal import table
from tests.tasks.reading import content_of, rows_of, words_of
from tests.tasks.tuning.builders import TEXT, result

VALUES: dict[str, Sequence[float | None]] = {
    "tuned": (0.2, 0.25, None, 0.3, 0.1),
    "at-first": (0.4, 0.3, 0.2),
    "late": (None, 0.5),
    "never": (None, None),
}
"""By method, each trial's value."""


@pytest.fixture
def found(tmp_path: Path) -> TuneResult:
    """A search's outcome; a trial without a value has one training that failed. The epochs grow with the trials."""
    file = tmp_path / "some.yaml"
    file.write_text(TEXT, encoding="utf-8")
    made_up = result(read_tuning(file))
    trials = tuple(
        TrialResult(method, number, {"model.dropout": number / 10}, value, _cells(made_up.metric, number, value))
        for method, values in VALUES.items()
        for number, value in enumerate(values)
    )
    methods = tuple(
        MethodResult(method, {"model.dropout": "0 to 0.4"}, (), best_of(made.of(method)), False)
        for made in [replace(made_up, trials=trials)]
        for method in VALUES
    )
    return replace(made_up, methods=methods, trials=trials)


def _cells(metric: str, number: int, value: float | None) -> tuple[TrialCell, TrialCell]:
    figures = Figures(number, number + 1, 60.0 * (number + 1), 1000 + number, (number + 1) * 2**20)
    first = TrialCell(1, "done", None, {metric: 0.25 if value is None else value - 0.01}, figures, "k", "a")
    if value is None:
        return first, TrialCell(5, "failed", "diverged", {}, Figures(), "k", "b")
    return first, TrialCell(5, "done", None, {metric: value + 0.01}, figures, "k", "b")


def test_the_best_settings_stand_beside_what_all_trials_gave(found: TuneResult, tmp_path: Path) -> None:
    spread = "± 0.0141 over 2 seeds (standard deviation)"
    names = ("Method", "Best", "First", "Gain, %", "Median", "Lowest", "Trial", "Failed", "Settings")
    assert rows_of(content_of(write_tuning_report(found, tmp_path)), "best") == [
        dict(zip(names, row, strict=True))
        for row in (
            ("tuned", f"0.3000 {spread}", "0.2000", "+50.0", "0.2250", "0.1000", "3", "1 of 5", "dropout 0.3"),
            ("at-first", f"0.4000 {spread}", "0.4000", "0.0", "0.3000", "0.2000", "0", "0 of 3", "dropout 0"),
            ("late", f"0.5000 {spread}", "–", "–", "0.5000", "0.5000", "1", "1 of 2", "dropout 0.1"),
            ("never", "–", "–", "–", "–", "–", "–", "2 of 2", "–"),
        )
    ]


def test_seeds_that_all_gave_the_same_are_told_to(found: TuneResult, tmp_path: Path) -> None:
    same = [
        replace(trial, cells=tuple(replace(cell, metrics={found.metric: 0.3}) for cell in trial.cells))
        for trial in found.trials
    ]
    best, *_ = rows_of(content_of(write_tuning_report(replace(found, trials=tuple(same)), tmp_path)), "best")
    assert best["Best"] == "0.3000 the same with each of 2 seeds"


def test_what_the_search_took_is_counted_of_the_trainings_that_came_to_an_end(
    found: TuneResult, tmp_path: Path
) -> None:
    names = ("Method", "Trainings", "Epochs", "Seconds", "Seconds each", "Peak MiB", "Parameters of the best")
    assert rows_of(content_of(write_tuning_report(found, tmp_path)), "costs") == [
        dict(zip(names, row, strict=True))
        for row in (
            ("tuned", "10", "27", "1,620", "180.0", "5", "1,003"),
            ("at-first", "6", "12", "720", "120.0", "3", "1,000"),
            ("late", "4", "5", "300", "100.0", "2", "1,001"),
            ("never", "4", "3", "180", "90.0", "2", "–"),
        )
    ]


def test_where_every_training_failed_what_they_took_is_not_known(found: TuneResult, tmp_path: Path) -> None:
    failed = TrialCell(1, "failed", "diverged", {}, Figures(), "k", "a")
    trials = [replace(one, cells=(failed,)) if one.method == "never" else one for one in found.trials]
    *_, never = rows_of(content_of(write_tuning_report(replace(found, trials=tuple(trials)), tmp_path)), "costs")
    assert (never["Seconds each"], never["Peak MiB"], never["Parameters of the best"]) == ("–", "–", "–")


def test_every_trial_has_its_value_and_the_best_are_marked(found: TuneResult, tmp_path: Path) -> None:
    rows = rows_of(content_of(write_tuning_report(found, tmp_path)), "trials")
    assert [(row["Method"], row["Trial"], row["Value"], row["Epochs"]) for row in rows] == [
        ("tuned", "0", "0.2000", "2"),
        ("tuned", "1", "0.2500", "4"),
        ("tuned", "2", "–", "3"),
        ("tuned", "3", "0.3000 (best)", "8"),
        ("tuned", "4", "0.1000", "10"),
        ("at-first", "0", "0.4000 (best)", "2"),
        ("at-first", "1", "0.3000", "4"),
        ("at-first", "2", "0.2000", "6"),
        ("late", "0", "–", "1"),
        ("late", "1", "0.5000 (best)", "4"),
        ("never", "0", "–", "1"),
        ("never", "1", "–", "2"),
    ]
    assert (rows[3]["Settings"], rows[3]["Runs"]) == ("dropout 0.3", "a, b")


def test_the_best_so_far_never_falls(found: TuneResult, tmp_path: Path) -> None:
    write_tuning_report(found, tmp_path)
    with (tmp_path / "tables" / "best-so-far.csv").open(encoding="utf-8") as file:
        rows = [tuple(row.values()) for row in csv.DictReader(file)]
    assert rows == [
        ("tuned", "0", "0.2", "0.2"),
        ("tuned", "1", "0.25", "0.25"),
        ("tuned", "3", "0.3", "0.3"),
        ("tuned", "4", "0.1", "0.3"),
        ("at-first", "0", "0.4", "0.4"),
        ("at-first", "1", "0.3", "0.4"),
        ("at-first", "2", "0.2", "0.4"),
        ("late", "1", "0.5", "0.5"),
    ]


def test_the_answer_says_what_came_of_each_method(found: TuneResult, tmp_path: Path) -> None:
    answer = content_of(write_tuning_report(found, tmp_path)).find(".//div[@class='answer']")
    assert answer is not None
    assert [words_of(item) for item in answer.findall("ul[1]/li")] == [
        "tuned: 0.3000, +50.0 % over its first trial, in trial 3 of 0 to 4, at dropout 0.3.",
        "at-first: nothing beat the method as it comes (0.4000).",
        "late: 0.5000, in trial 1 of 0 to 1, at dropout 0.1.",
        "never: no trial came to an end.",
    ]


def test_the_table_in_the_terminal_has_the_same_figures(found: TuneResult) -> None:
    names = ("Method", "Best", "First", "Median", "Trial", "Trainings", "Epochs", "Time", "Settings")
    assert table(found) == [
        dict(zip(names, row, strict=True))
        for row in (
            ("tuned", "0.3000", "0.2000", "0.2250", "3 of 0–4", "10", "27", "27 min", "dropout 0.3"),
            ("at-first", "0.4000", "0.4000", "0.3000", "0 of 0–2", "6", "12", "12 min", "dropout 0"),
            ("late", "0.5000", "–", "0.5000", "1 of 0–1", "4", "5", "5 min", "dropout 0.1"),
            ("never", "–", "–", "–", "–", "4", "3", "3 min", "–"),
        )
    ]


def test_a_page_says_nothing_of_trials_that_were_not_made_or_of_a_study_that_is_not_there(
    found: TuneResult, tmp_path: Path
) -> None:
    with_study = words_of(content_of(write_tuning_report(found, tmp_path)))
    assert "The study that was written beside this page" in with_study
    assert "is for the study on test" in with_study
    exhausted = tuple(replace(method, exhausted=method.name == "late") for method in found.methods)
    page = words_of(content_of(write_tuning_report(replace(found, methods=exhausted, study=None), tmp_path)))
    assert "late: its space holds no more than 2 trials" in page
    assert "and had fewer only where its space holds no more" in page
    assert "the study" not in page.lower()


def test_the_parent_run_shows_the_best_of_each_method_beside_the_first(found: TuneResult) -> None:
    held = figures(found)
    assert (held.pop("cells.done"), held.pop("cells.failed")) == (20, 4)
    assert held == {
        f"{name}.{found.metric}.{method}": value
        for name, method, value in (
            ("best", "tuned", 0.3), ("first", "tuned", 0.2), ("best", "at-first", 0.4), ("first", "at-first", 0.4),
            ("best", "late", 0.5),
        )
    }  # fmt: skip
    told = tags(found)
    assert told.pop("answer").splitlines() == [
        "tuned: 0.3000, +50.0 % over its first trial, in trial 3 of 0 to 4, at dropout 0.3.",
        "at-first: nothing beat the method as it comes (0.4000).",
        "late: 0.5000, in trial 1 of 0 to 1, at dropout 0.1.",
        "never: no trial came to an end.",
    ]
    assert told == {"best.method": "late", "best.trial": "1", "best.settings": "dropout 0.1", "best.run": "a, b"}
    assert tags(replace(found, methods=found.methods[3:])).keys() == {"answer"}
