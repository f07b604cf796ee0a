"""MLflow runs: adopted after a crash, one value a step, found by the filters that people write."""

import hashlib
import json
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import pytest

from tasks.errors import InputError
from tasks.home import PROJECT_ROOT, Home
from tasks.track import DatasetNote, Tracker, code_tags


def epochs(*numbers: int) -> list[dict[str, Any]]:
    return [
        {
            "epoch": number,
            "timestamp": 1_000 + number,
            "metrics": {"train.loss": 1 / number, "other": number, "time.epoch_seconds": 2.0},
        }
        for number in numbers
    ]


def points(tracker: Tracker, run_id: str, name: str) -> list[tuple[int, float]]:
    return [(metric.step, metric.value) for metric in tracker.client.get_metric_history(run_id, name)]


def test_a_copied_state_folder_does_not_write_into_the_original(mlflow_home: Home, tmp_path: Path) -> None:
    copied, linked = Home(tmp_path / "copy"), Home(tmp_path / "link")
    # By another process: closing a file of SQLite's drops all locks that this one has on it.
    subprocess.run(["cp", "-R", str(mlflow_home.root), str(copied.root)], check=True)
    with pytest.raises(InputError, match=re.escape(f"keep their files in {mlflow_home.mlflow}")):
        Tracker(copied)
    linked.root.symlink_to(mlflow_home.root)
    assert Tracker(linked).experiment_id == Tracker(mlflow_home).experiment_id


@pytest.mark.parametrize("second", [(1, 2, 3), (3,), (2, 3), ()])
def test_history_written_again_or_in_part_has_one_value_a_step(tracker: Tracker, second: tuple[int, ...]) -> None:
    run_id = tracker.open_run("k", name="run")
    tracker.log_figures(run_id, history=epochs(1, 2))
    tracker.log_figures(run_id, history=epochs(*second))
    later = [{**record, "timestamp": record["timestamp"] + 60_000} for record in epochs(1, 2, 3, 4)]
    tracker.log_figures(run_id, history=later)
    for name in ("train.loss", "other"):
        assert [step for step, _ in points(tracker, run_id, name)] == [1, 2, 3, 4]
    assert points(tracker, run_id, "train.loss")[2] == (3, 1 / 3)


def test_a_training_goes_on_where_mlflow_does_not_answer_and_its_curves_are_whole_in_the_end(
    tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that goes away, or a database that somebody else has locked; the last write may have arrived."""
    from mlflow.exceptions import MlflowException

    monkeypatch.setattr("tasks.track.SECONDS_BETWEEN_WRITES", 0.0)
    monkeypatch.setattr("tasks.track.SHARE_FOR_WRITING", 1e9)
    run_id, told = tracker.open_run("k", name="run"), list[str]()
    log_batch, written = tracker.client.log_batch, list[int]()

    def unreliable(run: str, **content: Any) -> None:
        log_batch(run, **content)
        written.append(len(content["metrics"]))
        if len(written) in (2, 3):
            raise MlflowException("database is locked\n[SQL: INSERT …]")

    monkeypatch.setattr(tracker.client, "log_batch", unreliable)
    with tracker.curves(run_id, warn=told.append) as curves:
        for record in epochs(1, 2, 3):
            curves(record)
    (sentence,) = told
    assert sentence.startswith(f"MLflow does not take the curves of the run {run_id[:8]}, which follow when")
    assert sentence.endswith("database is locked"), "without the statement"
    tracker.log_figures(run_id, history=epochs(1, 2, 3, 4))
    assert [step for step, _ in points(tracker, run_id, "train.loss")] == [1, 2, 3, 4]


def test_a_database_that_refuses_curves_is_told_in_a_sentence_and_without_a_traceback(
    tracker: Tracker, mlflow_home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id, told = tracker.open_run("k", name="run"), list[str]()
    with closing(sqlite3.connect(mlflow_home.mlflow / "mlflow.db")) as database:
        database.execute("ALTER TABLE metrics RENAME TO elsewhere")
        try:
            with tracker.curves(run_id, warn=told.append) as curves:
                curves(epochs(1)[0])
        finally:
            database.execute("ALTER TABLE elsewhere RENAME TO metrics")
    (sentence,) = told
    assert sentence.endswith("follow when the training is done: (sqlite3.OperationalError) no such table: metrics")
    assert "Traceback" not in capsys.readouterr().err


def test_a_long_history_is_written_whole(tracker: Tracker) -> None:
    run_id = tracker.open_run("k", name="run")
    tracker.log_figures(run_id, history=epochs(*range(1, 124)))
    assert [step for step, _ in points(tracker, run_id, "other")] == list(range(1, 124))


def test_a_training_with_more_figures_than_mlflow_takes_at_once(tracker: Tracker) -> None:
    gates = {f"gate.{number}": 0.5 for number in range(400)}
    history = [record | {"metrics": record["metrics"] | gates} for record in epochs(*range(1, 8))]
    run_id = tracker.open_run("k", name="run")
    tracker.log_figures(run_id, history=history, final={f"chosen.{name}": 1.0 for name in gates}, timestamp=1)
    for name in ("train.loss", "gate.399"):
        assert [step for step, _ in points(tracker, run_id, name)] == list(range(1, 8))
    assert points(tracker, run_id, "chosen.gate.399") == [(0, 1.0)]


def test_final_figures_and_parameters_may_be_written_twice(tracker: Tracker) -> None:
    run_id = tracker.open_run("k", name="run")
    for timestamp in (5, 6):
        tracker.log_figures(run_id, final={"test.full_unseen.ndcg_at_10": 0.25}, timestamp=timestamp)
        tracker.log_params(run_id, {"noise_ratio": 0.2, "method": "m"})
    assert points(tracker, run_id, "test.full_unseen.ndcg_at_10") == [(0, 0.25)]


def test_runs_are_found_by_plain_filters(tracker: Tracker) -> None:
    wanted = tracker.open_run("a", name="a", tags={"study": "robustness"})
    other = tracker.open_run("b", name="b", tags={"study": "robustness"})
    for run_id, ratio, value in ((wanted, 0.2, 0.3), (other, 0.0, 0.1)):
        tracker.log_params(run_id, {"noise_ratio": ratio, "model.gate": "none"})
        tracker.log_figures(run_id, final={"test.full_unseen.ndcg_at_10": value}, timestamp=1)
    for query in (
        "tags.study = 'robustness' and params.noise_ratio = '0.2'",
        "metrics.test.full_unseen.ndcg_at_10 > 0.2 and params.model.gate = 'none'",
    ):
        found = tracker.client.search_runs([tracker.experiment_id], query)
        assert [run.info.run_id for run in found] == [wanted]


def test_a_killed_run_is_taken_up_again_and_a_finished_one_is_left_alone(tracker: Tracker) -> None:
    run_id = tracker.open_run("k", name="run", tags={"flow": "first"})
    tracker.close_run(run_id, "KILLED")
    assert tracker.open_run("k", name="run", tags={"flow": "second"}) == run_id
    taken_up = tracker.client.get_run(run_id)
    assert (taken_up.info.status, taken_up.data.tags["flow"]) == ("RUNNING", "second")

    tracker.close_run(run_id, "FINISHED")
    assert tracker.open_run("k", name="run", tags={"flow": "third"}) == run_id
    finished = tracker.client.get_run(run_id)
    assert (finished.info.status, finished.data.tags["flow"]) == ("FINISHED", "second")


def test_the_same_key_under_another_parent_is_another_run(tracker: Tracker) -> None:
    parents = [tracker.open_run(name, name=name) for name in ("p", "q")]
    first, second = (tracker.open_run("child", name="c", parent=parent) for parent in parents)
    assert first != second
    assert tracker.open_run("child", name="c", parent=parents[0]) == first


def test_closing_open_runs_takes_nothing_back(tracker: Tracker) -> None:
    parent = tracker.open_run("p", name="p")
    done, under_way = (tracker.open_run(key, name=key, parent=parent) for key in ("done", "under-way"))
    stranger = tracker.open_run("stranger", name="stranger")
    tracker.close_run(done, "FINISHED")

    def statuses() -> list[str]:
        return [tracker.client.get_run(run_id).info.status for run_id in (parent, done, under_way, stranger)]

    tracker.close_open_runs(parent, "KILLED")
    assert statuses() == ["KILLED", "FINISHED", "KILLED", "RUNNING"]
    tracker.close_run(parent, "FINISHED")
    tracker.close_open_runs(parent, "KILLED")
    assert statuses()[0] == "FINISHED"


@pytest.mark.parametrize(
    ("ending", "status", "failure"),
    [(None, "FINISHED", None), (InputError("row 3"), "FAILED", "row 3"), (KeyboardInterrupt(), "KILLED", None)],
)
def test_no_run_is_left_open_whatever_ends_the_work(
    tracker: Tracker, ending: BaseException | None, status: str, failure: str | None
) -> None:
    parent = tracker.open_run("p", name="p")
    done, under_way = (tracker.open_run(key, name=key, parent=parent) for key in ("done", "under-way"))
    tracker.close_run(done, "FINISHED")
    with nullcontext() if ending is None else pytest.raises(type(ending)), tracker.closing(parent):
        if ending is not None:
            raise ending
    runs = [tracker.client.get_run(run_id) for run_id in (parent, under_way, done)]
    assert [run.info.status for run in runs] == [status, status, "FINISHED"]
    assert [run.data.tags.get("failure") for run in runs] == [failure, failure, None]


def test_a_snapshot_is_one_dataset_under_our_digest(tracker: Tracker) -> None:
    run_id = tracker.open_run("k", name="run")
    digest = hashlib.sha256(b"snapshot").hexdigest()
    for _ in range(2):
        tracker.log_datasets(run_id, DatasetNote("shoppers", digest, "/data/x", {"users": 3}, "training"))
    (entry,) = tracker.client.get_run(run_id).inputs.dataset_inputs
    assert (entry.dataset.name, entry.dataset.digest) == ("shoppers", digest[:36])
    assert json.loads(entry.dataset.profile) == {"users": 3}
    assert {tag.key: tag.value for tag in entry.tags} == {"mlflow.data.context": "training", "sha256": digest}


def test_files_and_texts_become_artifacts_in_the_state_folder(
    tracker: Tracker, mlflow_home: Home, tmp_path: Path
) -> None:
    run_id = tracker.open_run("k", name="run")
    (tmp_path / "ranks.parquet").write_bytes(b"ranks")
    tracker.log_files(run_id, {"": tmp_path / "ranks.parquet"})
    tracker.log_text(run_id, {"learning_curve.svg": "<svg/>"})
    assert [entry.path for entry in tracker.client.list_artifacts(run_id)] == ["learning_curve.svg", "ranks.parquet"]
    assert tracker.client.get_run(run_id).info.artifact_uri.startswith(mlflow_home.mlflow.as_uri())


def test_tags_name_the_code_that_ran() -> None:
    tags = code_tags()
    lock = (PROJECT_ROOT / "requirements.lock").read_bytes()
    assert tags["rec_denoiser.lock_sha256"] == hashlib.sha256(lock).hexdigest()
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    if head.returncode == 0:
        assert tags["mlflow.source.git.commit"] == head.stdout.strip()


def test_a_deleted_experiment_is_said_with_what_brings_it_back(tracker: Tracker, mlflow_home: Home) -> None:
    tracker.client.create_experiment("cleared")
    cleared = tracker.client.get_experiment_by_name("cleared")
    assert cleared is not None
    tracker.client.delete_experiment(cleared.experiment_id)
    with pytest.raises(InputError, match=f"experiments restore --experiment-id {cleared.experiment_id}` brings it"):
        Tracker(mlflow_home, experiment="cleared")


def test_the_link_to_a_run_has_no_password_in_it(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracker, "uri", "https://ann:s3cret@mlflow.example.org/team")
    page = f"/#/experiments/{tracker.experiment_id}/runs/a?workflowType=machine_learning"
    assert tracker.run_url("a") == f"https://mlflow.example.org/team{page}"


def test_threads_and_other_trackers_write_at_the_same_time(tracker: Tracker, mlflow_home: Home) -> None:
    trackers = [tracker, Tracker(mlflow_home, experiment="beside")]
    failures: list[BaseException] = []

    def job(number: int) -> None:
        mine = trackers[number % 2]
        try:
            run_id = mine.open_run(f"thread-{number}", name="run")
            mine.log_params(run_id, {"seed": number})
            with mine.curves(run_id, warn=print) as curves:
                for record in epochs(*range(1, 31)):
                    curves(record)
            mine.log_figures(run_id, final={"test.full_unseen.ndcg_at_10": number / 10}, timestamp=1)
            mine.close_run(run_id, "FINISHED")
            assert [step for step, _ in points(mine, run_id, "train.loss")] == list(range(1, 31))
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=job, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_who_reads_for_long_keeps_nobody_from_writing(tracker: Tracker, mlflow_home: Home) -> None:
    run_id = tracker.open_run("k", name="run")
    with closing(sqlite3.connect(mlflow_home.mlflow / "mlflow.db")) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT status FROM runs WHERE run_uuid = ?", [run_id]).fetchone() == ("RUNNING",)
        tracker.close_run(run_id, "FINISHED")
        assert reader.execute("SELECT status FROM runs WHERE run_uuid = ?", [run_id]).fetchone() == ("RUNNING",)
    assert tracker.client.get_run(run_id).info.status == "FINISHED"


KILLED = """
import os, signal, sys
from pathlib import Path
from tasks.home import Home
from tasks.track import Tracker
tracker = Tracker(Home(Path(sys.argv[1])), experiment=sys.argv[2])
run_id = tracker.open_run("k", name="run")
metrics = {"train.loss": 0.5, "time.epoch_seconds": 2.0}
tracker.log_figures(run_id, history=[{"epoch": 1, "timestamp": 1, "metrics": metrics}])
print(run_id, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_had_written_is_there(
    tracker: Tracker, mlflow_home: Home, request: pytest.FixtureRequest
) -> None:
    command = [sys.executable, "-c", KILLED, str(mlflow_home.root), request.node.name]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    run_id = tracker.open_run("k", name="run")
    assert run_id == done.stdout.strip()
    tracker.log_figures(run_id, history=epochs(1, 2))
    assert points(tracker, run_id, "train.loss") == [(1, 0.5), (2, 0.5)]


def test_a_model_has_its_runs_figures_on_the_dataset_that_they_are_of(tracker: Tracker) -> None:
    run_id = tracker.open_run("k", name="run")
    notes = [
        DatasetNote("shoppers", "a" * 64, "/x", {}, "training"),
        DatasetNote("shoppers", "b" * 64, "/y", {}, "evaluation"),
    ]
    tracker.log_datasets(run_id, *notes)
    tracker.log_figures(run_id, history=epochs(1))
    assert tracker.chosen_epoch(run_id) == 0
    tracker.log_figures(run_id, final={"test.full_unseen.ndcg_at_10": 0.25, "training.best_epoch": 1}, timestamp=7)
    assert tracker.chosen_epoch(run_id) == 1
    model = tracker.client.create_logged_model(tracker.experiment_id, name="model", source_run_id=run_id)
    for _ in range(2):
        tracker.link_model(run_id, model.model_id)
    (metric,) = tracker.client.get_logged_model(model.model_id).metrics
    assert (metric.key, metric.value, metric.dataset_name) == ("test.full_unseen.ndcg_at_10", 0.25, "shoppers")
    assert metric.dataset_digest == "b" * 36
    assert points(tracker, run_id, "test.full_unseen.ndcg_at_10") == [(0, 0.25)], "the run's own stay as they are"


def test_two_state_folders_on_one_database_write_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/shared/mlflow.db")
    (tmp_path / "shared").mkdir()
    first, second = (Tracker(Home(tmp_path / name)) for name in ("one", "two"))
    assert first._lock == second._lock == tmp_path / "shared/.writer"
    where = first.client.get_experiment(first.experiment_id).artifact_location
    assert where == (tmp_path / "one/mlflow/artifacts").as_uri()
