"""Every kind of page that a person is given, of made-up results."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tasks.audit.findings import BINS, Findings, Group, Suspect
from tasks.audit.gain import Gain
from tasks.explain import explain, history_given
from tasks.reporting.analysis import analysed
from tasks.reporting.audit import write_page
from tasks.reporting.explanation import write_explanation
from tasks.reporting.page import write_report
from tasks.reporting.tuning import write_tuning_report
from tasks.statistics.estimates import Estimate
from tasks.tuning.expand import read_tuning
from tests.tasks.explanations import ITEMS, held
from tests.tasks.study_results import METHODS, detection, study
from tests.tasks.tuning.builders import TEXT, result


def study_page(folder: Path) -> Path:
    found, ranks = study(
        methods=(*METHODS, "oracle"),
        kinds=("replace", "popular"),
        settings={"model.length": (50,), "training.learning_rate": (0.001,)},
        oracle="oracle",
        detection=(detection("better", 0.25, strength=1.9), detection("equal", 0.25, strength=0.0)),
    )
    return write_report(analysed(found, ranks, resamples=200), None, folder)


def tuning_page(folder: Path) -> Path:
    file = folder / "some.yaml"
    file.write_text(TEXT, encoding="utf-8")
    return write_tuning_report(result(read_tuning(file)), folder)


def explanation_page(folder: Path) -> Path:
    told = explain(held(), history_given(ITEMS[:38]), user="somebody", k=5)
    return write_explanation(told, folder / "why.html")[0]


def audit_page(folder: Path, **changed: Any) -> Path:
    """Of findings with what is `changed` in them."""
    users, items = (
        tuple(
            Group(f"{name}-{number:04}", 40 + number, 12.5 + number, first - 0.01 * number, "half of it is noise")
            for number in range(30)
        )
        for name, first in (("someone", 0.9), ("something", 0.8))
    )
    suspects = tuple(
        Suspect(
            user=f"someone-{number:04}",
            item=f"a rather long identifier of an item, number {number:06}",
            time=1_700_000_000_000_000 + number,
            position=number,
            probability=0.99 - 0.01 * number,
            reason="stands beside the items around it nowhere else in the log, and few people have it",
            label="replace" if number % 2 else None,
        )
        for number in range(30)
    )
    areas = {
        "all": Estimate(0.93, 0.92, 0.94, 0.95, "users", 900),
        "replace": Estimate(0.95, 0.945, 0.955, 0.95, "users", 900),
    }
    found = Findings(
        judged=40_000,
        users=900,
        items=500,
        left_alone=1_800,
        share=Estimate(0.117, 0.101, 0.129, 0.95, "users", 900),
        kinds={"uniform": 0.09, "popular": 0.027},
        reads_high=0.012,
        expected_noise=4_680.0,
        typical=0.04,
        histogram=tuple(12_000 // (1 + number) for number in range(BINS)),
        auroc=areas,
        labelled=4_000,
        suspects=suspects,
        suspicious_users=users,
        suspicious_items=items,
    )
    gains = [Gain("validation.full_unseen.ndcg_at_10", 0.1, 0.108, Estimate(8.0, -1.5, 17.5, 0.95, "users", 900))]
    facts = [("snapshot", "0123456789abcdef"), ("files", "log.csv")]
    return write_page(replace(found, **changed), "shop", folder, gains=gains, facts=facts)


PAGES: dict[str, Callable[[Path], Path]] = {
    "study": study_page,
    "tuning": tuning_page,
    "explanation": explanation_page,
    "audit": audit_page,
}
