"""The figures of a study. Each is drawn from the frame that is its CSV file."""

from collections.abc import Callable, Iterator

from tasks.reporting import curves, detection, differences, trainings
from tasks.reporting.drawing import Figure
from tasks.study.result import StudyResult


def figures(result: StudyResult) -> tuple[Figure, ...]:
    """All that the study's axes and measurements give, in reading order."""
    if not result.comparisons:
        return ()
    makers: tuple[Callable[[StudyResult], Iterator[Figure]], ...] = (
        differences.differences,
        curves.robustness,
        curves.settings,
        differences.slices,
        detection.roc_curves,
        trainings.cost,
        trainings.gates,
        trainings.learning,
    )
    return tuple(figure for make in makers for figure in make(result))
