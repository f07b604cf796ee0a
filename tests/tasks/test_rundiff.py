"""Two runs beside each other: what differs, and a paired test only where both rank the same."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from models.engine.metrics import PROTOCOLS
from tasks.home import Home
from tasks.plan import Data, cell_of
from tasks.provenance import provenance
from tasks.rundiff import difference, paired_tests
from tasks.runs import HeldRun
from tasks.snapshots import Snapshot
from tasks.specs import CellSpec, named_method
from tests.tasks.builders import EXECUTION


def run(snapshot: Snapshot, method: str, metrics: dict[str, float], **more: Any) -> HeldRun:
    spec = CellSpec(method=method, model=named_method(method).model, **more)
    made_from = provenance(cell_of(spec, Data(snapshot, snapshot), EXECUTION), EXECUTION, code={"commit": "a"})
    return HeldRun("0" * 32, method, spec, made_from, metrics, {})


def ranks(values: "np.ndarray[Any, Any]") -> pd.DataFrame:
    frame = pd.DataFrame({"target": range(len(values)), "split": "test", "user": range(len(values)), "item": 1})
    return frame.assign(**{f"rank_{name}": values.astype(np.float32) for name in PROTOCOLS})


@pytest.fixture
def known_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    values = ranks(np.arange(30) % 13)
    monkeypatch.setattr(HeldRun, "ranks", lambda self, home: values)


@pytest.mark.usefixtures("known_ranks")
def test_every_kind_of_difference_stands_in_its_place(tiny_snapshot: Snapshot, home: Home) -> None:
    a = run(tiny_snapshot, "sasrec-bce", {"filter.recall": 0.5, "test.x": 0.25, "train.loss": 1.0, "system/cpu": 5.0})
    b = run(tiny_snapshot, "rec-denoiser", {"filter.recall": 0.75, "test.x": 0.5}, seed=2)
    packages = b.provenance.environment.packages | {"numpy": "0.1"}
    environment = b.provenance.environment.model_copy(update={"packages": packages, "cores": 999})
    b = replace(b, provenance=b.provenance.model_copy(update={"environment": environment, "code": {"commit": "b"}}))
    found = difference(a, b, home=home)
    assert found.spec["seed"] == (1, 2)
    assert found.spec["method"] == ("sasrec-bce", "rec-denoiser")
    assert found.spec["model.beta"] == (None, 0.06), "a setting that A does not read"
    assert found.data == {}
    assert found.code == {"commit": ("a", "b")}
    assert found.packages == {"numpy": (a.provenance.environment.packages["numpy"], "0.1")}
    assert set(found.machine) == {"cores"}
    differences = {pair.name: pair.difference for pair in found.metrics}
    assert differences == {"filter.recall": 0.25, "test.x": 0.25, "train.loss": None}
    assert found.untested is None
    assert all(test.difference == 0 and "the same as A for every user" in test.verdict for test in found.tests)
    assert json.loads(json.dumps(found.to_dict()))["metrics"][0]["difference"] == 0.25


@pytest.mark.usefixtures("known_ranks")
def test_what_one_version_does_not_know_is_told_from_what_one_model_does_not_have(
    tiny_snapshot: Snapshot, home: Home
) -> None:
    old = run(tiny_snapshot, "sasrec-bce", {"test.x": 0.25})
    new = run(tiny_snapshot, "sasrec-bce", {"test.x": 0.25, "test.new": 0.5})
    newer = replace(new, provenance=new.provenance.model_copy(update={"evaluate_code": "f" * 64}))

    def unknown(a: HeldRun, b: HeldRun) -> dict[str, str | None]:
        return {pair.name: pair.unknown_to for pair in difference(a, b, home=home).metrics}

    assert unknown(old, newer) == {"test.new": "A", "test.x": None}
    assert unknown(newer, old) == {"test.new": "B", "test.x": None}
    assert unknown(old, new) == {"test.new": None, "test.x": None}, "the same code"
    other = replace(newer, spec=newer.spec.model_copy(update={"seed": 2}))
    assert unknown(old, other) == {"test.new": None, "test.x": None}, "the settings may be why"
    trial = replace(old, metrics={"train.loss": 1.0})
    assert set(unknown(trial, newer).values()) == {None}, "it was never ranked"


@pytest.mark.usefixtures("known_ranks")
def test_runs_that_rank_something_else_are_not_tested(tiny_snapshot: Snapshot, home: Home, tmp_path: Path) -> None:
    a = run(tiny_snapshot, "sasrec-bce", {})
    assert "different evaluation seeds" in str(
        difference(a, run(tiny_snapshot, "sasrec-bce", {}, evaluation_seed=1), home=home).untested
    )
    other = a.provenance.clean.model_copy(update={"digest": "f" * 64})
    found = difference(a, replace(a, provenance=a.provenance.model_copy(update={"clean": other})), home=home)
    assert "different data" in str(found.untested)
    assert found.tests == ()
    assert set(found.data) == {"clean.digest"}


def test_a_trial_that_was_never_ranked_is_told_from_the_other_all_the_same(tiny_snapshot: Snapshot, home: Home) -> None:
    ranked = run(tiny_snapshot, "sasrec-bce", {"test.x": 0.25})
    trial = run(tiny_snapshot, "rec-denoiser", {"chosen.validation.x": 0.5})
    for a, b, said in ((ranked, trial, "B is a trial"), (trial, ranked, "A is a trial"), (trial, trial, "both are")):
        found = difference(a, b, home=home)
        assert str(found.untested).startswith(said)
        assert str(found.untested).endswith("never ranked")
        assert found.tests == ()
    found = difference(ranked, trial, home=home)
    assert found.spec["method"] == ("sasrec-bce", "rec-denoiser")
    assert {pair.name: pair.difference for pair in found.metrics} == {"chosen.validation.x": None, "test.x": None}


def test_the_test_is_the_paired_one_over_users() -> None:
    rng = np.random.default_rng(4)
    first = rng.integers(0, 30, 200)
    second = np.maximum(0, first - rng.integers(-2, 8, 200))
    found = {test.metric: test for test in paired_tests(ranks(first), ranks(second))}
    gain = {name: np.where(values < 10, 1 / np.log2(values + 2), 0.0) for name, values in (("a", first), ("b", second))}
    ndcg = found["test.full_unseen.ndcg_at_10"]
    assert ndcg.difference == pytest.approx(float((gain["b"] - gain["a"]).mean()))
    p = stats.ttest_rel(gain["b"], gain["a"]).pvalue
    assert ndcg.t_p is not None
    assert p <= ndcg.t_p <= 4 * p * (1 + 1e-9), "Holm over four metrics"
    assert "significantly better than A" in ndcg.verdict
    assert (ndcg.users, ndcg.targets) == (200, 200)
