"""Who refers to a snapshot is read from MLflow and from the folders of scored users."""

import hashlib
from pathlib import Path

import pytest

from tasks import mlflow_store
from tasks.errors import InputError
from tasks.home import Home
from tasks.runs import read_run
from tasks.shelf.references import ModelReference, References, last_references, references
from tasks.track import DatasetNote, Tracker


def digest_of(name: str) -> str:
    """A digest that no other test of this database refers to."""
    return hashlib.sha256(f"references: {name}".encode()).hexdigest()


def test_looking_makes_no_database(home: Home) -> None:
    assert references(["0123456789abcdef"], home=home) == {"0123456789abcdef": References()}
    assert not home.root.exists()


def test_runs_are_found_by_parameter_and_by_dataset(tracker: Tracker, mlflow_home: Home) -> None:
    first, second, other = (digest_of(name) for name in ("first", "second", "other"))
    child = tracker.open_run("child", name="a training", tags={"dataset": "shoppers"})
    tracker.log_params(child, {"snapshot": first[:16], "snapshot_histories": second[:16]})
    parent = tracker.open_run("parent", name="a job")
    tracker.log_datasets(parent, DatasetNote("shoppers", second, "/somewhere", {}, "clean"))
    tracker.close_run(parent, "FINISHED")
    deleted = tracker.open_run("deleted", name="deleted")
    tracker.log_params(deleted, {"snapshot": other[:16]})
    tracker.client.delete_run(deleted)

    found = references([digest[:16] for digest in (first, second, other)], home=mlflow_home)
    assert [(run.run_id, run.name, run.dataset) for run in found[first[:16]].runs] == [
        (child, "a training", "shoppers")
    ]
    assert {run.run_id: run.status for run in found[second[:16]].runs} == {child: "RUNNING", parent: "FINISHED"}
    assert not found[other[:16]]


def test_more_runs_than_a_page_holds(tracker: Tracker, mlflow_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.mlflow_store.RUNS_AT_A_TIME", 2)
    name = digest_of("many")[:16]
    for number in range(5):
        tracker.log_params(tracker.open_run(f"key-{number}", name="n"), {"snapshot": name})
    assert len(references([name], home=mlflow_home)[name].runs) == 5


def test_a_job_of_more_runs_than_a_page_holds_is_closed_whole_and_counted_whole(
    tracker: Tracker, mlflow_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.mlflow_store.RUNS_AT_A_TIME", 2)
    parent = tracker.open_run("many", name="a job of many")
    children = [tracker.open_run(f"child-{number}", name="n", parent=parent) for number in range(5)]
    tracker.close_open_runs(parent, "KILLED")
    assert {tracker.client.get_run(run).info.status for run in (parent, *children)} == {"KILLED"}
    with pytest.raises(InputError, match="is a job of 5 trainings"):
        read_run(parent, home=mlflow_home)


def test_a_model_refers_to_the_snapshots_it_was_made_from(tracker: Tracker, mlflow_home: Home) -> None:
    clean, noisy, client = digest_of("clean"), digest_of("noisy"), tracker.client
    run = tracker.open_run("trained", name="trained")
    tracker.log_params(run, {"snapshot": noisy[:16]})
    client.create_registered_model("references")
    version = client.create_model_version(
        "references", "file:///nowhere", run_id=run, tags={"rec_denoiser.snapshot": clean}
    )
    client.set_registered_model_alias("references", "champion", version.version)
    found = references([clean[:16], noisy[:16]], home=mlflow_home)
    expected = (ModelReference("references", "1", ("champion",)),)
    assert found[clean[:16]].models == found[noisy[:16]].models == expected
    assert (len(found[clean[:16]].runs), len(found[noisy[:16]].runs)) == (0, 1)


def test_what_was_said_last_is_kept_until_the_database_is_written_to(
    tracker: Tracker, mlflow_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "9" * 16

    def runs() -> list[str]:
        return [run.run_id for run in last_references([name], home=mlflow_home)[name].runs]

    first = tracker.open_run("first of these", name="first")
    tracker.log_params(first, {"snapshot": name})
    assert runs() == [first]
    with monkeypatch.context() as silenced:
        silenced.setattr("tasks.shelf.references.connect", lambda home: pytest.fail("MLflow was asked"))
        assert runs() == [first]
    second = tracker.open_run("second of these", name="second")
    tracker.log_params(second, {"snapshot": name})
    assert set(runs()) == {first, second}
    assert last_references([name], home=mlflow_home) == references([name], home=mlflow_home)
    (mlflow_home.mlflow / "references.json").write_text("{}", encoding="utf-8")
    assert set(runs()) == {first, second}


def test_scored_users_refer_too(home: Home) -> None:
    folder = home.recommendations / f"shoppers-v1-{'a' * 16}"
    folder.mkdir(parents=True)
    assert not references(["a" * 16], home=home)["a" * 16]
    (folder / "top-10.parquet").touch()
    assert references(["a" * 16], home=home)["a" * 16].scored == (folder,)


def test_a_server_that_is_not_there(home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:s3cret@127.0.0.1:9")
    monkeypatch.setattr(mlflow_store, "SECONDS_FOR_AN_ANSWER", 0.1)
    for ask in (lambda: references(["a" * 16], home=home), lambda: read_run("a" * 8, home=home)):
        with pytest.raises(InputError, match=r"no MLflow server answers at http://127\.0\.0\.1:9") as refused:
            ask()
        assert "s3cret" not in str(refused.value)
