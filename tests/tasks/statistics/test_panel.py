"""Trainings' ranks brought into line."""

import numpy as np
import pandas as pd
import pytest

from models.engine.metrics import PROTOCOLS, summary
from tasks.statistics.panel import Scores, align, attribute, scores
from tests.tasks.statistics.panels import training


def frame(ranks: list[float], *, split: str = "test") -> pd.DataFrame:
    size = len(ranks)
    return pd.DataFrame(
        {"target": np.arange(size)[::-1], "split": split, "user": np.arange(size) // 2, "history": np.arange(size)}
        | {f"rank_{name}": np.array(ranks, dtype=np.float32) for name in PROTOCOLS}
    )


@pytest.mark.parametrize("name", ["hit_at_5", "ndcg_at_10", "mrr_at_20"])
def test_per_target_values_have_the_metric_as_their_mean(name: str) -> None:
    ranks = pd.concat([frame([0.0, 3.5, 7.0, 19.0, 40.0]), frame([0.0, 0.0], split="validation")])
    found = scores(ranks, f"test.full_all.{name}", method="a", seed=1)
    expected = summary({"full_all": ranks[ranks["split"] == "test"]["rank_full_all"].to_numpy()}, "test")
    assert found.values.mean() == pytest.approx(expected[f"test.full_all.{name}"])
    assert len(found.targets) == 5


def test_a_name_that_is_no_metric_is_refused() -> None:
    for name in ("test.full_unseen.recall_at_10", "ndcg_at_10", "test.full_unseen.ndcg_at_0"):
        with pytest.raises(ValueError, match="names no metric"):
            scores(frame([0.0]), name, method="a", seed=0)


def test_trainings_are_brought_into_line_by_target_number() -> None:
    first = Scores("a", 2, np.array([5, 3, 9]), np.array([1, 0, 1]), np.array([0.5, 0.3, 0.9]))
    second = Scores("a", 1, np.array([9, 5, 3]), np.array([1, 1, 0]), np.array([9.0, 5.0, 3.0]))
    panel = align([first, second])
    assert panel.targets.tolist() == [3, 5, 9]
    assert panel.users.tolist() == [0, 1, 1]
    assert panel.seeds == {"a": (1, 2)}
    assert panel.values["a"].tolist() == [[3.0, 5.0, 9.0], [0.3, 0.5, 0.9]]
    ranks = pd.DataFrame({"target": [9, 3, 5, 4], "popularity": [90, 30, 50, 40]})
    assert attribute(ranks, "popularity", panel).tolist() == [30.0, 50.0, 90.0]
    with pytest.raises(ValueError, match="target 9 has no popularity"):
        attribute(ranks[ranks["target"] != 9], "popularity", panel)


def test_trainings_on_other_targets_are_refused_by_name() -> None:
    whole = training("a", 1, np.zeros(9))
    short = Scores("b", 2, np.array([*range(1, 9), 77]), np.array([*range(1, 9), 77]), np.zeros(9))
    with pytest.raises(ValueError, match=r"b with seed 2 .* a with seed 1: it lacks target 0 and has besides.* 77"):
        align([whole, short])
    many = Scores("b", 2, np.arange(2), np.arange(2), np.zeros(2))
    with pytest.raises(ValueError, match="lacks targets 2, 3, 4, 5, 6 and 2 more"):
        align([whole, many])
    with pytest.raises(ValueError, match="other users than a with seed 1 at targets 0, 1, 2"):
        align([whole, training("b", 2, np.zeros(9), users=np.array([5, 6, 7, 3, 4, 5, 6, 7, 8]))])
    with pytest.raises(ValueError, match="a with seed 1 is there twice"):
        align([whole, whole])
    with pytest.raises(ValueError, match="has target 4 twice"):
        align([Scores("a", 1, np.array([4, 4]), np.array([1, 1]), np.zeros(2))])
    with pytest.raises(ValueError, match="no finite value for target 1"):
        align([training("a", 1, np.array([0.0, np.nan]))])
    with pytest.raises(ValueError, match="no targets"):
        align([])
