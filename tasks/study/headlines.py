"""What a study's parent run in MLflow shows beside the report: a few figures to chart and sort by, and the answer."""

from statistics import fmean

from tasks.reporting.analysis import FULL, PAIR
from tasks.reporting.sights import Sight, oracles, sights
from tasks.reporting.words import answer, listed
from tasks.study.result import StudyResult
from tasks.track import part_of_a_name


def figures(result: StudyResult) -> dict[str, float]:
    """`cells.done` and `cells.failed`, and under both protocols each method's mean NDCG@10 on test, as
    `mean.test.full_unseen.ndcg_at_10.sasrec-bce`: over the places (data, noise, setting) where every method has a
    value, each of which counts alike. A method that was not ranked at a hard place would look better for it.

    No name begins as that of a training's own figure, so that a search for trainings does not find studies.
    """
    failed = sum(cell.status == "failed" for cell in result.cells)
    means = {
        f"mean.{metric}.{part_of_a_name(method)}": value
        for metric in PAIR
        for method, value in _means(result, metric).items()
    }
    return {"cells.done": float(len(result.cells) - failed), "cells.failed": float(failed)} | means


def tags(result: StudyResult) -> dict[str, str]:
    """`answer`, the sentences that open the report; `reference`; and `leading.method`, with the highest mean NDCG@10 of
    `figures` in full ranking, the oracle aside, which need not be significantly better than another. Nothing where
    there are trainings that were not compared, for want of a report.
    """
    found = sights(result)
    if not found and any(cell.status == "done" for cell in result.cells):
        return {}
    told = {"answer": "\n".join(map(str, answer(result)))}
    if references := listed(dict.fromkeys(sight.reference for sight in found)):
        told["reference"] = references
    known = oracles(result)
    rivals = {method: value for method, value in _means(result, FULL).items() if method not in known}
    if rivals:
        told["leading.method"] = listed(method for method, value in rivals.items() if value == max(rivals.values()))
    return told


def _means(result: StudyResult, metric: str) -> dict[str, float]:
    """By method the mean over the places where every method has a value; nothing where there is no such place."""
    found = sights(result)
    methods = dict.fromkeys(method for sight in found for method in sight.methods)
    shared = [sight for sight in found if methods.keys() <= set(sight.methods)]
    return {method: fmean(_value(sight, metric, method) for sight in shared) for method in methods if shared}


def _value(sight: Sight, metric: str, method: str) -> float:
    return sight.row(metric, method).over_users.value or 0.0
