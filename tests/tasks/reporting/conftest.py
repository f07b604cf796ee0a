"""A study whose truth is known, and its page."""

from dataclasses import replace
from pathlib import Path

import pytest

from tasks.reporting.analysis import analysed
from tasks.reporting.page import write_report
from tasks.study.result import StudyResult
from tests.tasks.reporting.counting import RESAMPLES
from tests.tasks.study_results import METHODS, Ranks, detection, study


@pytest.fixture(scope="session")
def noise() -> tuple[StudyResult, Ranks]:
    """A study with an oracle, detection and one cell that failed, analysed."""
    result, ranks = study(
        methods=(*METHODS, "oracle"),
        oracle="oracle",
        detection=(detection("better", 0.25, strength=1.9), detection("equal", 0.25, strength=0.0)),
    )
    broken = replace(
        result.cells[-1], status="failed", failure="the loss became infinite in epoch 3", ranks=None, metrics={}
    )
    return analysed(replace(result, cells=(*result.cells[:-1], broken)), ranks, resamples=RESAMPLES), ranks


@pytest.fixture(scope="session")
def page(noise: tuple[StudyResult, Ranks], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(noise[0], None, tmp_path_factory.mktemp("report"))
