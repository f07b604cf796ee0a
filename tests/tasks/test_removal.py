"""What is removed is gone whole, and what somebody needs stays."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.audit.judge import judged_folder
from tasks.corrupt import corrupt
from tasks.data_specs import CorruptSpec, PrepareSpec, SourceSpec
from tasks.errors import InputError
from tasks.home import Home
from tasks.ingest import ingest
from tasks.leases import lease
from tasks.scratch import working_folder
from tasks.shelf.removal import carry_out, plan_named, plan_unused
from tasks.snapshots import Snapshot
from tasks.sources.logs import log_of
from tasks.track import Tracker


@pytest.fixture
def noisy(tiny_snapshot: Snapshot, home: Home) -> Snapshot:
    return corrupt(tiny_snapshot, CorruptSpec(ratio=0.2), home=home)


def score(snapshot: Snapshot, home: Home) -> None:
    """Leave scored users that refer to the snapshot."""
    folder = home.recommendations / f"log-v1-{snapshot.name}"
    folder.mkdir(parents=True)
    (folder / "top-10.parquet").touch()


def test_it_goes_with_what_was_derived_from_it(tiny_snapshot: Snapshot, noisy: Snapshot, home: Home) -> None:
    arrays = home.steps / "sequences" / f"{noisy.name}-v1.npz"
    others = home.steps / "sequences" / f"{tiny_snapshot.name}-v1.npz"
    docs = home.docs / noisy.name / "index.html"
    judged = judged_folder(noisy, key="0" * 64, home=home) / "interactions.parquet"
    for path, content in ((arrays, b"12345"), (others, b"1"), (docs, b"123"), (judged, b"1234")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    removal = plan_named([noisy.name[:6]], home=home)
    assert set(removal.derived) == {arrays, docs.parent, judged.parent}
    assert removal.bytes == sum(path.stat().st_size for path in noisy.path.iterdir()) + 12
    assert removal.objections == ()
    carry_out(removal, plan=lambda: plan_named([noisy.name], home=home), home=home)
    assert list(home.snapshots.iterdir()) == [tiny_snapshot.path]
    assert list(arrays.parent.iterdir()) == [others]
    assert list(home.docs.iterdir()) == []
    assert not judged.exists()


def test_a_clean_one_stays_while_noisy_ones_stand_on_it(tiny_snapshot: Snapshot, noisy: Snapshot, home: Home) -> None:
    (objection,) = plan_named([tiny_snapshot.name], home=home).objections
    assert objection == f"{tiny_snapshot.name} is what {noisy.name} was made from, which would stay"
    assert plan_named([tiny_snapshot.name, noisy.name, noisy.name], home=home).objections == ()


def test_unused_ones(tiny_snapshot: Snapshot, noisy: Snapshot, home: Home) -> None:
    more = corrupt(tiny_snapshot, CorruptSpec(ratio=0.1), home=home)
    assert {entry.name for entry in plan_unused(home=home).entries} == {tiny_snapshot.name, noisy.name, more.name}
    score(noisy, home)
    assert [entry.name for entry in plan_unused(home=home).entries] == [more.name]
    assert "were scored by" in plan_named([noisy.name], home=home).objections[0]


def test_what_a_run_refers_to_is_not_unused(
    write_log: Callable[..., Path], tracker: Tracker, mlflow_home: Home
) -> None:
    path = write_log("user_id,item_id\n" + "".join(f"walker,{item}\n" for item in "abcde"))
    own = ingest(log_of(SourceSpec(path=str(path)), path), PrepareSpec(), home=mlflow_home)
    assert own.name in {entry.name for entry in plan_unused(home=mlflow_home).entries}
    run = tracker.open_run("key", name="a training")
    tracker.log_params(run, {"snapshot": own.name})
    assert own.name not in {entry.name for entry in plan_unused(home=mlflow_home).entries}
    (objection,) = plan_named([own.name], home=mlflow_home).objections
    assert objection == f"{own.name} is in 1 MLflow run, {run}"
    shutil.rmtree(own.path)


def test_what_others_put_there_is_left_alone(tiny_snapshot: Snapshot, home: Home) -> None:
    (home.snapshots / "mine").mkdir()
    broken = home.snapshots / "0123456789abcdef"
    broken.mkdir()
    with pytest.raises(InputError, match="no snapshot of this project"):
        plan_named(["mine"], home=home)
    assert [entry.name for entry in plan_unused(home=home).entries] == [tiny_snapshot.name]
    assert [entry.path for entry in plan_named(["0123"], home=home).entries] == [broken]


def test_nothing_goes_while_somebody_works(tiny_snapshot: Snapshot, home: Home) -> None:
    removal = plan_unused(home=home)
    with lease(home=home), pytest.raises(InputError, match="another process is at work"):
        carry_out(removal, plan=lambda: removal, home=home)
    with working_folder(home.snapshots), pytest.raises(InputError, match="another process is writing"):
        carry_out(removal, plan=lambda: removal, home=home)
    assert tiny_snapshot.path.exists()
    carry_out(removal, plan=lambda: removal, home=home)
    assert list(home.snapshots.iterdir()) == []


def test_a_plan_that_has_become_another_is_not_carried_out(tiny_snapshot: Snapshot, home: Home) -> None:
    removal = plan_unused(home=home)
    score(tiny_snapshot, home)
    with pytest.raises(InputError, match="has changed in the meantime"):
        carry_out(removal, plan=lambda: plan_unused(home=home), home=home)
    assert tiny_snapshot.path.exists()


def test_a_killed_removal_leaves_no_half_of_a_snapshot(
    tiny_snapshot: Snapshot, home: Home, monkeypatch: pytest.MonkeyPatch, left_in: Callable[[], list[Path]]
) -> None:
    removal = plan_unused(home=home)
    # As if the process had ended once the folder was out of the way: nothing is deleted.
    monkeypatch.setattr("tasks.scratch.shutil.rmtree", lambda *arguments, **options: None)
    carry_out(removal, plan=lambda: removal, home=home)
    monkeypatch.undo()
    assert not tiny_snapshot.path.exists()
    assert [path.name[:5] for path in left_in()] == [".tmp-"]
    with working_folder(home.snapshots):
        pass
    assert left_in() == []
