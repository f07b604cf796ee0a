"""Folders appear whole or not at all, and what killed processes left goes away."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tasks.home import PROJECT_ROOT
from tasks.scratch import publish, publish_over, remove_abandoned, working_folder

HOLD = """
import sys, time
from pathlib import Path
from tasks.scratch import working_folder
with working_folder(Path(sys.argv[1])) as folder:
    (folder / "content").mkdir()
    (folder / "content" / "half").write_text("half")
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process that works in a folder, and that folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=PROJECT_ROOT
    )
    assert process.stdout is not None
    yield process, Path(process.stdout.readline().strip())
    process.kill()
    process.communicate()


def test_a_held_folder_stays_and_an_abandoned_one_goes(
    tmp_path: Path, holder: tuple[subprocess.Popen[str], Path]
) -> None:
    process, folder = holder
    assert remove_abandoned(tmp_path) == []
    with working_folder(tmp_path):
        assert (folder / "content" / "half").is_file()
    process.send_signal(signal.SIGKILL)
    process.wait()
    with working_folder(tmp_path) as mine:
        assert not folder.exists()
        assert mine.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_its_lock_is_abandoned(tmp_path: Path) -> None:
    (tmp_path / ".tmp-0123").mkdir()
    (tmp_path / "kept").mkdir()
    assert remove_abandoned(tmp_path) == [tmp_path / ".tmp-0123"]
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_nothing_to_remove_where_nothing_is(tmp_path: Path) -> None:
    assert remove_abandoned(tmp_path / "absent") == []
    assert not (tmp_path / "absent").exists()


def test_an_exception_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with working_folder(tmp_path) as folder:
            (folder / "part").write_text("part")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_publishing_renames_and_the_first_to_finish_wins(tmp_path: Path) -> None:
    final = tmp_path / "final"
    for text in ("first", "second"):
        with working_folder(tmp_path) as folder:
            (folder / "content").mkdir()
            (folder / "content" / "file").write_text(text)
            publish(folder / "content", final)
    assert (final / "file").read_text() == "first"
    assert list(tmp_path.iterdir()) == [final]


def test_folders_that_replace_one_another_at_once_are_each_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With time between a look at the place and the renaming into it, in which the other would be in the way."""
    final, real = tmp_path / "final", Path.exists

    def looked(path: Path) -> bool:
        found = real(path)
        if path == final:
            time.sleep(0.02)
        return found

    monkeypatch.setattr(Path, "exists", looked)

    def replace_it(name: int) -> None:
        for _ in range(5):
            with working_folder(tmp_path) as folder:
                (folder / "content").mkdir()
                (folder / "content" / "file").write_text(f"whole {name}")
                publish_over(folder / "content", final)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(replace_it, range(3)))
    assert (final / "file").read_text().startswith("whole")
    assert list(tmp_path.iterdir()) == [final]


def test_many_processes_at_once_leave_one_result(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from tasks.scratch import publish, working_folder
parent = Path(sys.argv[1])
for round in range(30):
    with working_folder(parent) as folder:
        (folder / "content").mkdir()
        (folder / "content" / "file").write_text("whole")
        publish(folder / "content", parent / f"final-{round}")
"""
    processes = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], cwd=PROJECT_ROOT) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"final-{n}" for n in range(30))
    assert all((folder / "file").read_text() == "whole" for folder in tmp_path.iterdir())
