"""Leases: a killed process is told from a living one."""

import fcntl
import json
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tasks import leases
from tasks.errors import InputError
from tasks.home import PROJECT_ROOT, Home
from tasks.leases import abandoned, lease, nobody_at_work

HOLDER = """
import sys, time
from pathlib import Path
from tasks.home import Home
from tasks.leases import lease
print("starting", flush=True)
with lease(home=Home(Path(sys.argv[1]))) as held:
    held.note(flow_run="f", mlflow_run="m")
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def holder(home: Home) -> Iterator[Callable[..., bytes]]:
    """A process that takes a lease and keeps it until the end, from the moment at which nothing but the lease is left
    to wait for; `said(within=seconds)` is the next that it says, if anything.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(home.root)], cwd=PROJECT_ROOT, stdout=subprocess.PIPE, bufsize=0
    )
    assert process.stdout is not None
    output = process.stdout

    def said(*, within: float) -> bytes:
        return output.readline() if select.select([output], [], [], within)[0] else b""

    try:
        with output:
            assert said(within=120) == b"starting\n"
            yield said
    finally:
        process.kill()
        process.wait()


def test_a_held_lease_is_nobody_elses_and_leaves_nothing(home: Home) -> None:
    with lease(home=home) as held:
        held.note(flow_run="a")
        held.note(mlflow_run="b")
        (path,) = home.leases.iterdir()
        assert json.loads(path.read_text()) == {"flow_run": "a", "mlflow_run": "b"}
        assert list(abandoned(home=home)) == []
    assert list(home.leases.iterdir()) == []


def test_without_a_state_folder_nothing_is_abandoned(home: Home) -> None:
    assert list(abandoned(home=home)) == []


def test_what_a_killed_process_held_is_taken_once(home: Home) -> None:
    with holder(home) as said:
        assert said(within=60) == b"held\n"
        assert list(abandoned(home=home)) == []
    assert list(abandoned(home=home)) == [{"flow_run": "f", "mlflow_run": "m"}]
    assert list(abandoned(home=home)) == []


def test_a_lease_that_nobody_finished_writing_says_nothing_and_goes(home: Home) -> None:
    home.leases.mkdir(parents=True)
    for name, content in (("empty", ""), ("half", '{"flow_run": "f')):
        (home.leases / f"{name}.json").write_text(content, encoding="utf-8")
    assert list(abandoned(home=home)) == []
    assert list(home.leases.iterdir()) == []


def test_a_lease_given_back_while_it_is_looked_at_is_nobodys(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    with ExitStack() as living:
        living.enter_context(lease(home=home)).note(flow_run="alive")

        def lock_late(descriptor: int, how: int) -> None:
            living.close()  # between the opening and the lock
            flock(descriptor, how)

        flock = fcntl.flock
        monkeypatch.setattr(leases.fcntl, "flock", lock_late)
        assert list(abandoned(home=home)) == []


def test_a_clean_up_that_fails_leaves_the_lease_for_the_next(home: Home) -> None:
    home.leases.mkdir(parents=True)
    (home.leases / "left.json").write_text('{"flow_run": "f"}', encoding="utf-8")
    broken_off = abandoned(home=home)
    assert next(broken_off) == {"flow_run": "f"}
    broken_off.close()
    assert list(abandoned(home=home)) == [{"flow_run": "f"}]


def test_nobody_begins_while_nobody_may_work(home: Home) -> None:
    with ExitStack() as stack:
        with nobody_at_work(home=home):
            said = stack.enter_context(holder(home))
            assert said(within=0.5) == b""
        assert said(within=60) == b"held\n"
        with pytest.raises(InputError, match="another process is at work"), nobody_at_work(home=home):
            pass
    with nobody_at_work(home=home):
        assert len(list(abandoned(home=home))) == 1
