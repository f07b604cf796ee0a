"""The job in MLflow: a parent, a child a training, none left open, all adopted again."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from models.engine.metrics import PROTOCOLS, SELECTION_METRIC
from tasks.evaluate import Evaluated
from tasks.execution import Execution
from tasks.home import Home
from tasks.job import Job, best_cell, comparison, record, tracked_job
from tasks.leases import lease
from tasks.plan import plan
from tasks.snapshots import Snapshot
from tasks.specs import RobustnessSpec
from tasks.track import Tracker
from tasks.train import Trained

EXECUTION = Execution("cpu", "some processor", 1, "float32", "3.11.0", {"torch": "2.13.0"})


class Stop(BaseException):
    """As a signal would end the process."""


@pytest.fixture
def spec(request: pytest.FixtureRequest) -> RobustnessSpec:
    """A job of the test's own: other tests' runs are not its."""
    return RobustnessSpec(evaluation_seed=abs(hash(request.node.name)) % 2**31)


@pytest.fixture
def finished(tmp_path: Path) -> tuple[Trained, Evaluated]:
    """A training of three epochs of which the second was chosen, and its ranks."""
    curve = [0.1, 0.3, 0.2]
    history = [
        {"epoch": epoch, "timestamp": 1000 + epoch, "metrics": {"train.loss": 1.0, SELECTION_METRIC: value}}
        for epoch, value in enumerate(curve, start=1)
    ]
    result = {"best_epoch": 2, "best_value": 0.3, "epochs": 3, "seconds": 1.5, "parameters": 10, "history": history}
    (tmp_path / "result.json").write_text(json.dumps(result))
    ranks = pd.DataFrame({"split": ["validation"] * 4 + ["test"] * 4})
    for name in PROTOCOLS:
        ranks[f"rank_{name}"] = np.array([0, 50, 50, 50, 0, 0, 50, 50], dtype=np.float32)
    ranks.to_parquet(tmp_path / "ranks.parquet")
    return Trained(tmp_path), Evaluated(tmp_path)


def run(
    spec: RobustnessSpec, snapshot: Snapshot, home: Home, finished: tuple[Trained, Evaluated], *,
    upto: int = 99, error: BaseException | None = None,
) -> Job:  # fmt: skip
    """A job that records its first `upto` trainings, then ends, with `error` if one is given."""
    cells = plan(spec, snapshot, dict.fromkeys(spec.noise.ratios, snapshot), EXECUTION)
    with (
        lease(home=home) as held,
        tracked_job(
            spec, cells, snapshot, execution=EXECUTION, flow_run="flow-run", held=held, home=home
        ) as job,
    ):  # fmt: skip
        metrics = [record(job, number, *finished) for number in range(len(cells))[:upto]]
        if error is not None:
            raise error
        comparison(job, metrics)
    return job


def runs_of(home: Home, spec: RobustnessSpec) -> dict[str, Any]:
    """The job's runs by id, the parent under "parent"."""
    tracker = Tracker(home)
    query = f"params.evaluation_seed = '{spec.evaluation_seed}'"
    children = tracker.client.search_runs([tracker.experiment_id], query)
    parents = {child.data.tags["mlflow.parentRunId"] for child in children}
    return {child.info.run_id: child for child in children} | {
        "parent": [tracker.client.get_run(run_id) for run_id in parents]
    }


def statuses(home: Home, spec: RobustnessSpec) -> list[str]:
    runs = runs_of(home, spec)
    parents = runs.pop("parent")
    return [run.info.status for run in [*parents, *runs.values()]]


def test_a_finished_job_and_what_its_runs_hold(
    spec: RobustnessSpec, tiny_snapshot: Snapshot, mlflow_home: Home, finished: tuple[Trained, Evaluated]
) -> None:
    job = run(spec, tiny_snapshot, mlflow_home, finished)
    assert statuses(mlflow_home, spec) == ["FINISHED"] * 7
    client = job.tracker.client
    child = client.get_run(job.children[-1])
    assert child.data.tags["prefect.flow_run_id"] == "flow-run"
    assert child.data.tags["mlflow.parentRunId"] == job.parent
    assert (child.data.params["method"], child.data.params["noise_ratio"]) == ("rec-denoiser", "0.2")
    assert child.data.metrics["test.full_unseen.hit_at_10"] == 0.5
    assert child.data.metrics["training.best_epoch"] == 2
    assert {entry.path for entry in client.list_artifacts(job.children[-1])} == {
        "execution.json", "learning_curve.svg", "ranks.parquet",
    }  # fmt: skip
    (dataset,) = child.inputs.dataset_inputs
    assert dataset.dataset.digest == tiny_snapshot.digest[:36]
    assert {"spec.json", "comparison.md", "comparison.json"} == {
        entry.path for entry in client.list_artifacts(job.parent)
    }


def test_curves_have_one_value_an_epoch_and_the_chosen_weights_a_figure_of_their_own(
    spec: RobustnessSpec, tiny_snapshot: Snapshot, mlflow_home: Home, finished: tuple[Trained, Evaluated]
) -> None:
    job = run(spec, tiny_snapshot, mlflow_home, finished)
    for run_id in job.children:
        points = job.tracker.client.get_metric_history(run_id, SELECTION_METRIC)
        assert [(point.step, point.value) for point in points] == [(1, 0.1), (2, 0.3), (3, 0.2)]
        assert job.tracker.client.get_run(run_id).data.metrics[f"chosen.{SELECTION_METRIC}"] == 0.25


@pytest.mark.parametrize(
    ("error", "status"), [(RuntimeError("no"), "FAILED"), (Stop(), "KILLED")], ids=["fails", "is ended"]
)
def test_a_job_that_does_not_finish_leaves_no_run_open_and_is_taken_up_again(
    spec: RobustnessSpec, tiny_snapshot: Snapshot, mlflow_home: Home, finished: tuple[Trained, Evaluated],
    error: BaseException, status: str,
) -> None:  # fmt: skip
    with pytest.raises(type(error)):
        run(spec, tiny_snapshot, mlflow_home, finished, upto=2, error=error)
    assert sorted(statuses(mlflow_home, spec)) == sorted([status] * 5 + ["FINISHED"] * 2)
    before = set(runs_of(mlflow_home, spec))
    run(spec, tiny_snapshot, mlflow_home, finished)
    assert set(runs_of(mlflow_home, spec)) == before
    assert statuses(mlflow_home, spec) == ["FINISHED"] * 7


def test_a_finished_job_started_again_stays_finished_whatever_happens(
    spec: RobustnessSpec, tiny_snapshot: Snapshot, mlflow_home: Home, finished: tuple[Trained, Evaluated]
) -> None:
    run(spec, tiny_snapshot, mlflow_home, finished)
    with pytest.raises(Stop):
        run(spec, tiny_snapshot, mlflow_home, finished, upto=0, error=Stop())
    assert statuses(mlflow_home, spec) == ["FINISHED"] * 7


def test_the_same_log_under_another_name_has_runs_of_its_own(
    spec: RobustnessSpec, tiny_snapshot: Snapshot, mlflow_home: Home, finished: tuple[Trained, Evaluated]
) -> None:
    with pytest.raises(Stop):
        run(spec, tiny_snapshot, mlflow_home, finished, upto=2, error=Stop())
    renamed = spec.model_copy(update={"dataset": "renamed"})
    job = run(renamed, tiny_snapshot, mlflow_home, finished)
    assert job.tracker.client.get_run(job.children[0]).data.params["dataset"] == "renamed"
    assert sorted(statuses(mlflow_home, spec)) == sorted(["KILLED"] * 5 + ["FINISHED"] * 9)


def test_the_best_on_validation_of_the_least_noisy_data_is_registered(
    spec: RobustnessSpec, tiny_snapshot: Snapshot, mlflow_home: Home, finished: tuple[Trained, Evaluated]
) -> None:
    job = run(spec, tiny_snapshot, mlflow_home, finished)
    figures = [0.1, 0.3, 0.2, 0.9, 0.9, 0.9]
    assert best_cell(job, [{SELECTION_METRIC: value} for value in figures]) == 1
