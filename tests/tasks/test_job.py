"""The job in MLflow: a parent, a child a training, none left open, all adopted again."""

import itertools
import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pandas as pd
import pytest

from models.config import ModelConfig
from models.description import DESCRIPTION_FILE, Description
from models.engine.metrics import PROTOCOLS, SELECTION_METRIC
from tasks.data_specs import SourceSpec
from tasks.errors import InputError, RunFailed
from tasks.evaluate import Evaluated
from tasks.home import Home
from tasks.job import (
    Heading,
    Job,
    best_cell,
    comparison,
    decision,
    failure_of,
    record,
    record_checks,
    record_choice,
    record_failure,
    record_folder,
    record_headlines,
    registration,
    summary,
    tracked_job,
)
from tasks.leases import lease
from tasks.plan import Data, plan
from tasks.register import Registered
from tasks.snapshots import Snapshot
from tasks.specs import NoiseSpec, RobustnessSpec, named_method
from tasks.track import TAG_NOTE, Tracker, part_of_a_name, reason
from tasks.train import Trained
from tests.tasks.builders import EXECUTION

METHODS = tuple(named_method(name) for name in ("sasrec-bce", "sasrec-softmax", "rec-denoiser"))


class Stop(BaseException):
    """As a signal would end the process."""


@pytest.fixture
def spec(request: pytest.FixtureRequest) -> RobustnessSpec:
    """A job of the test's own: other tests' runs are not its."""
    return RobustnessSpec(methods=METHODS, evaluation_seed=zlib.crc32(request.node.name.encode()) % 2**31)


@pytest.fixture
def finished(tmp_path: Path) -> tuple[Trained, Evaluated]:
    """A training of three epochs of which the second was chosen, and its ranks."""
    curve = [0.1, 0.3, 0.2]
    history = [
        {"epoch": epoch, "timestamp": 1000 + epoch, "metrics": {"train.loss": 1.0, SELECTION_METRIC: value}}
        for epoch, value in enumerate(curve, start=1)
    ]
    result = {"best_epoch": 2, "best_value": 0.3, "epochs": 3, "seconds": 1.5, "parameters": 10, "history": history,
              "made_by": {"rec_denoiser.training_sha256": "abc"}}  # fmt: skip
    (tmp_path / "result.json").write_text(json.dumps(result))
    (tmp_path / DESCRIPTION_FILE).write_text(Description(ModelConfig(), item_count=9, user_count=0).to_json())
    (tmp_path / "weights.pt").write_bytes(b"weights")
    ranks = pd.DataFrame({"split": ["validation"] * 4 + ["promotion"] * 2 + ["test"] * 4})
    for name in PROTOCOLS:
        ranks[f"rank_{name}"] = np.array([0, 50, 50, 50, 0, 0, 0, 0, 50, 50], dtype=np.float32)
    ranks.to_parquet(tmp_path / "ranks.parquet")
    offered = pd.DataFrame({"lists": [0, 3, 1], "self_information": [4.0, 2.0, 1.0]})
    offered.to_parquet(tmp_path / "exposures.parquet")
    return Trained(tmp_path), Evaluated(tmp_path)


@contextmanager
def opened(spec: RobustnessSpec, snapshot: Snapshot, home: Home, heading: Heading | None = None) -> Iterator[Job]:
    """A job whose cells are all of one snapshot, until the end of the block; by its spec's heading if by no other."""
    cells = plan(spec.cells(), lambda _: Data(snapshot, snapshot), EXECUTION)
    told_as = heading or Heading.of(spec)
    with (
        lease(home=home) as held,
        tracked_job(cells, told_as, execution=EXECUTION, flow_run="flow-run", held=held, home=home) as job,
    ):
        yield job


def run(
    spec: RobustnessSpec, snapshot: Snapshot, home: Home, finished: tuple[Trained, Evaluated], *,
    upto: int = 99, error: BaseException | None = None,
) -> Job:  # fmt: skip
    """A job that records its first `upto` trainings, then ends, with `error` if one is given."""
    with opened(spec, snapshot, home) as job:
        metrics = [record(job, number, *finished) for number in range(len(job.cells))[:upto]]
        if error is not None:
            raise error
        comparison(job, dict(enumerate(metrics)), {})
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


def failures_told(home: Home, spec: RobustnessSpec) -> list[str]:
    """What the job's runs say of why they failed."""
    runs = runs_of(home, spec)
    parents = runs.pop("parent")
    return [run.data.tags["failure"] for run in [*parents, *runs.values()] if "failure" in run.data.tags]


def told(spec: RobustnessSpec, snapshot: Snapshot, home: Home, question: str, folder: Path, *files: str) -> str:
    """The parent run of a job that is told of in `folder`, whose files say what was asked."""
    for path in map((folder / question).joinpath, files):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(question)
    heading = Heading("told", "told", question, json.dumps(question), identity=("study", spec.model_dump_json()))
    with opened(spec, snapshot, home, heading) as job:
        record_checks(job, ())
        record_folder(job, heading, folder / question, names=("study.json", "report.html", "tables"))
    return job.parent


def test_what_a_finished_job_is_told_to_say_follows_its_last_start(
    spec: RobustnessSpec, tiny_snapshot: Snapshot, mlflow_home: Home, tmp_path: Path
) -> None:
    files = ("report.html", "tables/hits.csv", "tables/kinds.csv")
    first = told(spec, tiny_snapshot, mlflow_home, "Which is best?", tmp_path, *files)
    parent = told(spec, tiny_snapshot, mlflow_home, "Which is worst?", tmp_path, *files[:2])
    assert parent == first
    tracker = Tracker(mlflow_home)
    found = tracker.client.get_run(parent)
    assert (found.info.status, found.data.tags[TAG_NOTE]) == ("FINISHED", "Which is worst?")
    held_files = Path(tracker.client.download_artifacts(parent, "", str(tmp_path)))
    assert (held_files / "report.html").read_text() == "Which is worst?"
    assert json.loads((held_files / "spec.json").read_text()) == "Which is worst?"
    assert [path.name for path in (held_files / "tables").iterdir()] == ["hits.csv"]


def test_a_job_whose_report_cannot_be_made_keeps_none_of_an_earlier_start(
    spec: RobustnessSpec, tiny_snapshot: Snapshot, mlflow_home: Home, tmp_path: Path
) -> None:
    files = ("study.json", "report.html", "tables/hits.csv")
    first = told(spec, tiny_snapshot, mlflow_home, "Which is best?", tmp_path, *files)
    parent = told(spec, tiny_snapshot, mlflow_home, "Which is worst?", tmp_path, "study.json")
    assert parent == first
    held = {artifact.path for artifact in Tracker(mlflow_home).client.list_artifacts(parent)}
    assert held == {"study.json", "spec.json", "checks"}


def test_what_a_job_came_to_as_a_whole_is_that_of_its_last_start(
    spec: RobustnessSpec, tiny_snapshot: Snapshot, mlflow_home: Home, tmp_path: Path
) -> None:
    for number, failed in enumerate((2.0, 0.0)):
        kept = tmp_path / "study.json"
        kept.write_text("told")
        os.utime(kept, (1000 + number, 1000 + number))
        for _ in range(2):
            with opened(spec, tiny_snapshot, mlflow_home) as job:
                name = f"mean.test.full_unseen.ndcg_at_10.{part_of_a_name('sasrec, length 40, β 1e+06')}"
                figures = {"cells.failed": failed, name: 0.25}
                record_headlines(job, figures, {"answer": f"{failed:.0f} " + "failed " * 2000}, come_of=kept)
    client = job.tracker.client
    found = client.get_run(job.parent)
    assert found.info.status == "FINISHED"
    assert found.data.metrics == {
        "cells.failed": 0.0, "mean.test.full_unseen.ndcg_at_10.sasrec length 40 β 1e06": 0.25,
    }  # fmt: skip
    assert [point.value for point in client.get_metric_history(job.parent, "cells.failed")] == [2.0, 0.0]
    assert found.data.tags["answer"].startswith("0 failed failed")
    better = "metrics.test.full_unseen.ndcg_at_10 >= 0"
    assert job.parent not in {run.info.run_id for run in client.search_runs([job.tracker.experiment_id], better)}


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
    assert child.data.metrics["promotion.full_unseen.hit_at_10"] == 1.0
    assert child.data.metrics["test.full_unseen.coverage_at_10"] == pytest.approx(2 / 3)
    assert child.data.metrics["test.full_unseen.novelty_at_10"] == 1.75
    assert child.data.metrics["training.best_epoch"] == 2
    assert {entry.path for entry in client.list_artifacts(job.children[-1])} == {
        "exposures.parquet", "learning_curve.svg", "provenance.json", "ranks.parquet", "spec.json",
    }  # fmt: skip
    (dataset,) = child.inputs.dataset_inputs
    assert dataset.dataset.digest == tiny_snapshot.digest[:36]
    assert "comparison.md" in client.get_run(job.parent).data.tags["mlflow.note.content"]
    assert {"spec.json", "comparison.md", "comparison.json"} == {
        entry.path for entry in client.list_artifacts(job.parent)
    }


def test_a_job_has_the_figures_of_what_it_chose_and_says_what_became_of_it(
    spec: RobustnessSpec, tiny_snapshot: Snapshot, mlflow_home: Home, finished: tuple[Trained, Evaluated]
) -> None:
    with opened(spec, tiny_snapshot, mlflow_home) as job:
        metrics = record(job, 1, *finished)
        registered = Registered("rec-denoiser-shoppers", "7", "champion", "promotion", 0.5, "better")
        record_choice(job, 1, *finished, metrics, registered)
    client = job.tracker.client
    parent, child = client.get_run(job.parent), client.get_run(job.children[1])
    curves = {"train.loss", SELECTION_METRIC}
    assert parent.data.metrics == {name: value for name, value in child.data.metrics.items() if name not in curves}
    assert parent.data.metrics["test.full_unseen.hit_at_10"] == 0.5
    named = {name: value for name, value in parent.data.tags.items() if name.startswith(("best.", "registered."))}
    assert named == {
        "best.run": job.children[1], "best.method": job.cells[1].method, "best.seed": "1",
        "registered.name": "rec-denoiser-shoppers", "registered.version": "7", "registered.alias": "champion",
        "registered.reason": "better", "registered.decided_on": "promotion", "registered.told": registered.told,
    }  # fmt: skip
    query = f"tags.registered.alias = 'champion' and tags.best.run = '{job.children[1]}'"
    assert [run.info.run_id for run in client.search_runs([job.tracker.experiment_id], query)] == [job.parent]


def test_curves_have_one_value_an_epoch_and_the_chosen_weights_a_figure_of_their_own(
    spec: RobustnessSpec, tiny_snapshot: Snapshot, mlflow_home: Home, finished: tuple[Trained, Evaluated]
) -> None:
    job = run(spec, tiny_snapshot, mlflow_home, finished)
    for run_id in job.children:
        points = job.tracker.client.get_metric_history(run_id, SELECTION_METRIC)
        assert [(point.step, point.value) for point in points] == [(1, 0.1), (2, 0.3), (3, 0.2)]
        assert job.tracker.client.get_run(run_id).data.metrics[f"chosen.{SELECTION_METRIC}"] == 0.25


def test_every_training_is_a_logged_model_with_the_figures_of_the_chosen_weights(
    spec: RobustnessSpec, tiny_snapshot: Snapshot, mlflow_home: Home, finished: tuple[Trained, Evaluated]
) -> None:
    with pytest.raises(Stop):
        run(spec, tiny_snapshot, mlflow_home, finished, upto=2, error=Stop())
    job = run(spec, tiny_snapshot, mlflow_home, finished)
    client = job.tracker.client
    better = (
        f"params.evaluation_seed = '{spec.evaluation_seed}' AND metrics.`test.full_unseen.hit_at_10` > 0.4 "
        "AND params.noise_ratio = '0.2'"
    )
    found = client.search_logged_models([job.tracker.experiment_id], filter_string=better)
    assert sorted(model.name for model in found) == ["rec-denoiser", "sasrec-bce", "sasrec-softmax"]
    assert {model.source_run_id for model in found} == set(job.children[3:])
    for model in found:
        assert model.status == "READY"
        held = {metric.key: metric for metric in model.metrics}
        assert held[f"chosen.{SELECTION_METRIC}"].value == 0.25
        assert held["test.full_unseen.hit_at_10"].dataset_digest == tiny_snapshot.digest[:36]
        assert "training.seconds" not in held
        (output,) = client.get_run(model.source_run_id).outputs.model_outputs
        assert (output.model_id, output.step) == (model.model_id, 2)
        kept = Path(unquote(urlsplit(model.artifact_location).path)) / "weights.pt"
        assert kept.read_bytes() == b"weights"
        assert kept.samefile(finished[0].folder / "weights.pt"), "the weights take no second place on the disk"


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
    renamed = spec.model_copy(update={"dataset": "renamed", "source": SourceSpec(shoppers=spec.source.shoppers)})
    job = run(renamed, tiny_snapshot, mlflow_home, finished)
    assert job.tracker.client.get_run(job.children[0]).data.params["dataset"] == "renamed"
    assert sorted(statuses(mlflow_home, spec)) == sorted(["KILLED"] * 5 + ["FINISHED"] * 9)


def test_each_is_recorded_as_it_ends_and_one_that_fails_takes_no_other_with_it(
    spec: RobustnessSpec, tiny_snapshot: Snapshot, mlflow_home: Home, finished: tuple[Trained, Evaluated]
) -> None:
    cells = plan(spec.cells(), lambda _: Data(tiny_snapshot, tiny_snapshot), EXECUTION)
    failures = {
        4: RunFailed("diverged"),
        1: RuntimeError("Traceback:\n  File x\nValueError: no"),
        5: RunFailed("diverged"),
    }

    def attempt() -> None:
        with opened(spec, tiny_snapshot, mlflow_home) as job:
            for number in range(6):
                if number in failures:
                    record_failure(job, number, failures[number])
                else:
                    record(job, number, *finished)
                run_of = job.tracker.client.get_run(job.children[number])
                assert run_of.info.status == ("FAILED" if number in failures else "FINISHED")
            record_failure(job, 0, RunFailed("no"))
            assert job.tracker.client.get_run(job.children[0]).info.status == "FINISHED", "what was good is not lost"
            raise failure_of([cell.label for cell in cells], failures)

    with pytest.raises(RunFailed) as told:
        attempt()
    message = str(told.value)
    assert message.startswith("3 of 6 trainings failed; the others are recorded")
    assert f"{cells[1].label}: ValueError: no; {cells[4].label} / {cells[5].label}: diverged" in message
    assert "\n" not in message
    assert sorted(statuses(mlflow_home, spec)) == ["FAILED"] * 4 + ["FINISHED"] * 3
    told_by_runs = failures_told(mlflow_home, spec)
    assert sorted(told_by_runs) == sorted(["ValueError: no", "diverged", "diverged", message[:300]])
    run(spec, tiny_snapshot, mlflow_home, finished)
    assert statuses(mlflow_home, spec) == ["FINISHED"] * 7
    assert failures_told(mlflow_home, spec) == [], "what went well in the end has not failed"


def test_a_job_is_called_after_what_it_does() -> None:
    """A nightly job of one method on the log as it is."""
    one = RobustnessSpec(methods=METHODS[:1], noise=NoiseSpec(ratios=(0.0,)))
    assert Heading.of(one).name == "shoppers: 1 method, no noise"
    three = RobustnessSpec(methods=METHODS, noise=NoiseSpec(kind="swap", ratios=(0.0, 0.2)))
    assert Heading.of(three).name == "shoppers: 3 methods, noise up to 20% swap"


def test_input_that_no_cell_can_use_is_bad_input_of_the_job(tiny_snapshot: Snapshot) -> None:
    job = job_of(tiny_snapshot, ratios=(0.0, 0.2), seeds=(1,))
    wrong = InputError("no user has a validation target")
    labels = [cell.label for cell in job.cells]
    assert failure_of(labels, dict.fromkeys(range(6), wrong)) is wrong
    assert isinstance(failure_of(labels, dict.fromkeys(range(5), wrong)), RunFailed)
    assert reason(ZeroDivisionError()) == "ZeroDivisionError"
    locked = "(sqlite3.OperationalError) database is locked"
    assert reason(RuntimeError(f"{locked}\n[SQL: INSERT\nINTO tags]\n(Background on …)")) == locked


def test_figures_are_of_the_trainings_and_not_of_the_start_that_tells_of_them(
    tiny_snapshot: Snapshot, finished: tuple[Trained, Evaluated]
) -> None:
    job = job_of(tiny_snapshot, ratios=(0.0, 0.2), seeds=(1,))
    metrics = dict.fromkeys(range(6), finished[1].metrics())
    registered = Registered("model", "1", "champion", *decision(metrics[0]), "first")
    trained = dict.fromkeys(range(6), finished[0])
    offered = registration(job.cells[0], registered)
    told = summary(RobustnessSpec(), job, (), metrics, {}, trained, execution=EXECUTION, registered=offered)
    assert json.loads(json.dumps(told)) == told
    assert told["cells"][0]["training"] == {
        "best_epoch": 2, "epochs": 3, "seconds": 1.5, "parameters": 10,
        "made_by": {"rec_denoiser.training_sha256": "abc"},
    }  # fmt: skip
    assert (told["cells"][3]["noise_kind"], told["cells"][3]["noise_where"]) == ("replace", "both")
    assert [told["registered"][name] for name in ("decided_on", "value", "reason")] == ["promotion", 1.0, "first"]


def job_of(snapshot: Snapshot, *, ratios: tuple[float, ...], seeds: tuple[int, ...], where: str = "both") -> Job:
    """A job of three methods that no tracker knows."""
    noise = NoiseSpec.model_validate({"ratios": ratios, "where": where})
    spec = RobustnessSpec(methods=METHODS, noise=noise, seeds=seeds)
    cells = plan(spec.cells(), lambda _: Data(snapshot, snapshot), EXECUTION)
    unknown: Any = SimpleNamespace(experiment_id="0")
    return Job(unknown, cells, "parent", tuple(str(number) for number in range(len(cells))), {})


def on_validation(*figures: float) -> list[dict[str, float]]:
    return [{SELECTION_METRIC: value} for value in figures]


def test_the_best_on_validation_of_the_least_noisy_data_is_registered(tiny_snapshot: Snapshot) -> None:
    job = job_of(tiny_snapshot, ratios=(0.0, 0.2), seeds=(1,))
    assert best_cell(job, on_validation(0.1, 0.3, 0.2, 0.9, 0.9, 0.9)) == 1
    assert best_cell(job, on_validation(0.3, 0.3, 0.3, 0.9, 0.9, 0.9)) == 0


def test_the_method_with_the_best_mean_is_registered_and_not_the_luckiest_seed(tiny_snapshot: Snapshot) -> None:
    job = job_of(tiny_snapshot, ratios=(0.1,), seeds=(1, 2))
    methods = [cell.method for cell in job.cells]
    assert methods[:3] == methods[3:]
    best = best_cell(job, on_validation(0.5, 0.4, 0.1, 0.1, 0.41, 0.1))
    assert (job.cells[best].method, job.cells[best].seed) == ("sasrec-softmax", 2)


def test_the_test_split_chooses_nothing(tiny_snapshot: Snapshot) -> None:
    """Whatever the figures on test are, the same cell is the candidate, with the same figure for promotion."""
    job = job_of(tiny_snapshot, ratios=(0.0,), seeds=(1,))
    metrics = [
        {SELECTION_METRIC: validation, "promotion.full_unseen.ndcg_at_10": 0.3, "test.full_unseen.ndcg_at_10": 0.5}
        for validation in (0.1, 0.3, 0.2)
    ]
    for test in itertools.permutations((0.0, 0.5, 1.0)):
        changed = [
            {name: other if name.startswith("test.") else value for name, value in figures.items()}
            for figures, other in zip(metrics, test, strict=True)
        ]
        best = best_cell(job, changed)
        assert best == 1
        assert decision(changed[best]) == ("promotion", 0.3)


def test_validation_decides_on_promotion_where_there_are_no_targets_for_it() -> None:
    assert decision({SELECTION_METRIC: 0.25, "test.full_unseen.ndcg_at_10": 0.9}) == ("validation", 0.25)
