"""`rec-denoiser snapshots`: what it says, what it changes, and how it ends."""

import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.cli import main
from tasks import mlflow_store
from tasks.corrupt import corrupt
from tasks.data_specs import CorruptSpec, PrepareSpec, SourceSpec
from tasks.home import PROJECT_ROOT, Home
from tasks.ingest import ingest
from tasks.leases import lease
from tasks.register import TAG_SNAPSHOT
from tasks.snapshots import Snapshot
from tasks.sources.source import log_of
from tasks.track import Tracker

Say = Callable[..., str]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A state folder that commands of this process use."""
    settings = {"REC_DENOISER_HOME": str(tmp_path / "home"), "PYTHONPATH": str(PROJECT_ROOT)}
    monkeypatch.setattr(os, "environ", dict(os.environ) | settings)
    return Home(tmp_path / "home")


@pytest.fixture
def clean(home: Home, tmp_path: Path) -> Snapshot:
    rows = [f"u{user},i{(user * 3 + event * 5) % 20}" for user in range(12) for event in range(8)]
    log = tmp_path / "shop.csv"
    log.write_text("\n".join(["user_id,item_id", *rows]) + "\n", encoding="utf-8")
    return ingest(log_of(SourceSpec(path=str(log)), log), PrepareSpec(), home=home)


@pytest.fixture
def noisy(clean: Snapshot, home: Home) -> Snapshot:
    return corrupt(clean, CorruptSpec(ratio=0.2), home=home)


@pytest.fixture
def say(home: Home, capsys: pytest.CaptureFixture[str]) -> Say:
    """`say("show", name, status=0)` runs the command and gives what it printed, to whichever stream."""

    def run(*arguments: str, status: int = 0) -> str:
        capsys.readouterr()
        assert main(["snapshots", *arguments]) == status
        printed = capsys.readouterr()
        assert printed.err.count("\n") == (1 if status == 2 else 0)
        return printed.err if status == 2 else printed.out

    return run


def used_by_a_run(snapshot: Snapshot, home: Home) -> tuple[str, Tracker]:
    tracker = Tracker(home)
    run = tracker.open_run(snapshot.name, name="a training", tags={"dataset": "shop"})
    tracker.log_params(run, {"snapshot": snapshot.name})
    return run, tracker


def test_an_empty_shelf_is_a_sentence(say: Say, home: Home) -> None:
    for arguments in ((), ("list",)):
        assert say(*arguments) == f"There are no snapshots in {home.snapshots}: `rec-denoiser ingest` makes one.\n"
    assert say("remove", "--unused").startswith("There are no snapshots")
    assert not home.mlflow.exists()


def test_the_list_shows_lineage_and_what_is_not_readable(
    say: Say, clean: Snapshot, noisy: Snapshot, home: Home
) -> None:
    (home.snapshots / "mine").mkdir()
    shutil.copytree(clean.path, home.snapshots / "0123456789abcdef")
    heading, first, second, *rest = say().splitlines()
    assert heading.split()[0] == "SNAPSHOT"
    assert first.split()[0] == clean.name
    assert all(word in first for word in ("shop.csv", "96", "12", "20", "leave-one-out"))
    assert second.startswith(f"  {noisy.name} ")
    assert "with 20 % replace" in second
    assert len(rest) == 2
    assert any(line.startswith(f"Foreign: {home.snapshots / 'mine'}") for line in rest)
    assert any(line.startswith(f"Not readable: {home.snapshots / '0123456789abcdef'}") for line in rest)


def test_show(say: Say, clean: Snapshot, noisy: Snapshot, home: Home) -> None:
    page = say("show", noisy.name[:7])
    for said in (noisy.digest, f"{clean.name} with 20 % replace (seed 0)", "corrupt.ratio = 0.2", "shop.csv"):
        assert said in page
    assert f"Made of it  {noisy.name} with 20 % replace (seed 0)\n" in say("show", clean.name)
    content = json.loads(say("show", clean.name, "--json"))
    assert content["manifest"] == clean.manifest.model_dump(mode="json")
    assert content["noisy"] == [noisy.name]
    assert content["references"] == {"runs": [], "models": [], "scored": []}
    assert "there is no snapshot 'zz'" in say("show", "zz", status=2)


def test_verify_names_every_fault(say: Say, clean: Snapshot, noisy: Snapshot) -> None:
    assert say("verify").count("is whole") == 2
    for path in (clean.users, noisy.interactions):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    told = say("verify", status=1)
    assert f"{clean.users} is damaged" in told
    assert f"{noisy.interactions} is damaged" in told
    assert f"{noisy.interactions} is damaged" not in say("verify", clean.name, status=1)


def test_diff(say: Say, clean: Snapshot, noisy: Snapshot) -> None:
    told = say("diff", clean.name, noisy.name)
    assert told.startswith(f"A is {clean.name}, B is {noisy.name}. B is A with 20 % replace (seed 0).")
    assert "corrupt.kind: – → replace" in told
    assert f"replaced: {noisy.counts.noisy} events" in told
    assert told.count("(unlabelled → replace)\n") == 5
    assert say("diff", clean.name, clean.name).endswith("the same snapshot.\n")


def test_an_event_that_one_snapshot_has_is_told_with_its_label_there(say: Say, clean: Snapshot, home: Home) -> None:
    longer = corrupt(clean, CorruptSpec(kind="insert", ratio=0.2), home=home)
    for pair in ((clean.name, longer.name), (longer.name, clean.name)):
        told = say("diff", *pair)
        assert told.count("(insert)\n") == 5
        assert "unlabelled" not in told


def test_remove_asks_and_obeys(say: Say, clean: Snapshot, noisy: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "--yes answers beforehand" in say("remove", noisy.name, status=2)

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal("\n"))
    assert say("remove", noisy.name).endswith("Nothing was removed.\n")
    monkeypatch.setattr(sys, "stdin", Terminal(""))
    assert say("remove", noisy.name).endswith("Nothing was removed.\n"), "Ctrl-D is no yes"
    assert "which would stay: --force" in say("remove", clean.name, "--yes", status=2)
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    assert "Removed 1 snapshot" in say("remove", noisy.name)
    assert not noisy.path.exists()
    assert clean.path.exists()


@pytest.mark.slow
def test_what_a_run_refers_to_stays_unless_forced(say: Say, clean: Snapshot, noisy: Snapshot, home: Home) -> None:
    run, _ = used_by_a_run(noisy, home)
    assert "1 run" in say()
    assert run in say("show", noisy.name)
    assert say("remove", "--unused", "--yes") == "Every snapshot is in use: there is nothing to remove.\n"
    assert f"{noisy.name} is in 1 MLflow run" in say("remove", noisy.name, "--yes", status=2)
    with lease(home=home):
        assert "another process is at work" in say("remove", noisy.name, "--yes", "--force", status=2)
    assert noisy.path.exists()
    assert "Removed 1 snapshot" in say("remove", noisy.name, "--yes", "--force")
    assert "Removed 1 snapshot" in say("remove", "--unused", "--yes")
    assert list(home.snapshots.iterdir()) == []


def test_a_tracking_server_that_is_not_there_stops_no_list_but_a_removal(
    say: Say, clean: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setattr(mlflow_store, "SECONDS_FOR_AN_ANSWER", 0.1)
    assert "Who uses them is not known: no MLflow server answers at http://127.0.0.1:9" in say()
    assert "no MLflow server answers" in say("remove", "--unused", "--yes", status=2)
    assert "no MLflow server answers" in say("remove", clean.name, "--yes", status=2)
    assert "Removed 1 snapshot" in say("remove", clean.name, "--yes", "--force")


@pytest.mark.slow
def test_forgetting_a_person_names_what_still_knows_them(
    say: Say, clean: Snapshot, noisy: Snapshot, home: Home
) -> None:
    run, tracker = used_by_a_run(noisy, home)
    tracker.client.create_registered_model("rec-denoiser-shop")
    version = tracker.client.create_model_version(
        "rec-denoiser-shop", "file:///nowhere", run_id=run, tags={TAG_SNAPSHOT: clean.digest}
    )
    tracker.client.set_registered_model_alias("rec-denoiser-shop", "champion", version.version)

    told = say("--forget-user", "u3,u4")
    assert f"is {clean.name} without 2 users, their 16 events" in told
    for said in (
        f"  {noisy.name} with 20 % replace (seed 0)\n",
        "shop.csv",
        "rec-denoiser-shop version 1 (champion)",
        run,
    ):
        assert said in told
    assert told.endswith(f"rec-denoiser snapshots remove {clean.name} {noisy.name} --force\n")
    (new,) = (path for path in home.snapshots.iterdir() if path.name not in (clean.name, noisy.name))
    assert str(new) in told
    assert f"  rec-denoiser run --source snapshot://{new.name} --dataset shop\n" in told
    assert "without 2 users" in say()
    say("remove", clean.name, noisy.name, "--force", "--yes")
    assert list(home.snapshots.iterdir()) == [new]
    assert say("verify").startswith(f"{new.name} is whole")
    assert f"{clean.name} (not here any more) without 2 users" in say("show", new.name)


def test_who_cannot_be_forgotten(say: Say, clean: Snapshot, noisy: Snapshot) -> None:
    assert "no clean snapshot has a user 'U3'" in say("--forget-user", "U3", status=2)
    assert "the nearest ids are 'u3'" in say("forget", clean.name, "--user", "U3", status=2)
    assert f"in the clean one, {clean.name}" in say("forget", noisy.name, "--user", "u3", status=2)
    say("forget", clean.name, "--user", "u3")
    assert f"several snapshots have such a user: name one with `forget NAME --user ID`: {clean.name}" in say(
        "--forget-user", "u4", status=2
    )
    assert "--forget-user stands alone" in say("--forget-user", "u4", "list", status=2)
