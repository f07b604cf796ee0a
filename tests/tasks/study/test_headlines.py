"""What a study's parent run shows: means over places that all methods share, counts of cells, and the answer."""

from dataclasses import replace
from statistics import fmean

import pytest

from models.engine.offers import OFFER_METRICS
from tasks.reporting.analysis import PAIR, analysed
from tasks.reporting.words import answer
from tasks.study.headlines import figures, tags
from tasks.study.result import StudyResult
from tests.tasks.study_results import METHODS, study

RESAMPLES = 50


def means(result: StudyResult, *ratios: float, methods: tuple[str, ...] = METHODS) -> dict[str, float]:
    """What the figures of the finished cells give at these ratios of noise."""
    return {
        f"mean.{metric}.{method}": fmean(
            cell.metrics[metric]
            for cell in result.cells
            if cell.method == method and cell.status == "done" and cell.axes["noise.ratio"] in ratios
        )
        for metric in (*PAIR, *OFFER_METRICS)
        for method in methods
    }


def with_failures(result: StudyResult, method: str, ratio: float) -> StudyResult:
    """The result where every training of a method at a ratio failed."""
    cells = (
        replace(cell, status="failed", failure="diverged", ranks=None, metrics={})
        if (cell.method, cell.axes["noise.ratio"]) == (method, ratio)
        else cell
        for cell in result.cells
    )
    return replace(result, cells=tuple(cells))


def test_each_method_has_its_mean_and_the_cells_are_counted() -> None:
    made, ranks = study()
    result = analysed(made, ranks, resamples=RESAMPLES)
    held = figures(result)
    assert held.pop("cells.done") == 18
    assert held.pop("cells.failed") == 0
    assert held == pytest.approx(means(result, 0.0, 0.1, 0.25))
    told = tags(result)
    assert told["answer"].splitlines() == list(map(str, answer(result)))
    assert (told["reference"], told["leading.method"]) == ("plain", "better")


def test_where_a_method_has_no_value_no_other_is_averaged() -> None:
    """Without noise all do better: a mean over more of it would be no match for one over less."""
    made, ranks = study()
    result = analysed(with_failures(made, "equal", 0.25), ranks, resamples=RESAMPLES)
    held = figures(result)
    assert (held.pop("cells.done"), held.pop("cells.failed")) == (16, 2)
    assert held == pytest.approx(means(result, 0.0, 0.1))
    nowhere = with_failures(with_failures(with_failures(made, "equal", 0.25), "plain", 0.1), "better", 0.0)
    found = analysed(nowhere, ranks, resamples=RESAMPLES)
    assert figures(found) == {"cells.done": 12.0, "cells.failed": 6.0}
    assert tags(found).keys() == {"answer", "reference"}


def test_the_oracle_leads_nobody() -> None:
    made, ranks = study(methods=(*METHODS, "oracle"), oracle="oracle", ratios=(0.25,))
    result = analysed(made, ranks, resamples=RESAMPLES)
    held = figures(result)
    assert held[f"mean.{PAIR[0]}.oracle"] > held[f"mean.{PAIR[0]}.better"]
    assert tags(result)["leading.method"] == "better"


def test_a_study_that_was_not_analysed_says_nothing_of_its_methods() -> None:
    made, _ = study()
    assert figures(made) == {"cells.done": 18.0, "cells.failed": 0.0}
    assert tags(made) == {}
    none = replace(made, cells=tuple(replace(cell, status="failed") for cell in made.cells))
    assert tags(none) == {"answer": "No cell of this study was finished, so there is nothing to compare."}
