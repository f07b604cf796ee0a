"""What a study's parent run in MLflow shows beside the report: a few figures to chart and sort by, and the answer."""

from statistics import fmean

from models.engine.offers import OFFER_METRICS
from tasks.reporting.analysis import FULL, PAIR
from tasks.reporting.sights import Sight, offer_means, oracles, sights
from tasks.reporting.words import answer, listed
from tasks.study.result import StudyResult
from tasks.track import part_of_a_name


def figures(result: StudyResult) -> dict[str, float]:
    """`cells.done` and `cells.failed`, and under both protocols each method's mean NDCG@10 on test, as
    `mean.test.full_unseen.ndcg_at_10.sasrec-bce`: over the places (data, noise, setting) where every method has a
    value, each of which counts alike. A method that was not ranked at a hard place would look better for it. So with
    what it recommends, as `mean.test.full_unseen.coverage_at_10.sasrec-bce`.

    No name begins as that of a training's own figure, so that a search for trainings does not find studies.
    """
    failed = sum(cell.status == "failed" for cell in result.cells)
    means = {metric: _means(result, metric) for metric in PAIR} | _offers(result)
    return {"cells.done": float(len(result.cells) - failed), "cells.failed": float(failed)} | {
        f"mean.{metric}.{part_of_a_name(method)}": value
        for metric, by_method in means.items()
        for method, value in by_method.items()
    }


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
    methods, shared = _shared(result)
    return {method: fmean(_value(sight, metric, method) for sight in shared) for method in methods if shared}


def _offers(result: StudyResult) -> dict[str, dict[str, float]]:
    """As `_means`, by the figures of what is recommended; nothing where a training lacks them."""
    methods, shared = _shared(result)
    held = {method: [offer_means(result, sight, method) for sight in shared] for method in methods}
    if not shared or not all(map(all, held.values())):
        return {}
    return {
        metric: {method: fmean(means[metric] for means in by_place) for method, by_place in held.items()}
        for metric in OFFER_METRICS
    }


def _shared(result: StudyResult) -> tuple[list[str], list[Sight]]:
    """The methods, and the places where every one of them has a value."""
    found = sights(result)
    methods = dict.fromkeys(method for sight in found for method in sight.methods)
    return list(methods), [sight for sight in found if methods.keys() <= set(sight.methods)]


def _value(sight: Sight, metric: str, method: str) -> float:
    return sight.row(metric, method).over_users.value or 0.0
