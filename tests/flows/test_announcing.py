"""Where a user interface is shown is said once it answers, and not before."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.flows.commands import environment

BECOMES = """
import os, sys
from flows.announcing import announce
announce("It", sys.argv[1], page=("/asked.json", "/#/{experiment_id}?view"), seconds=float(sys.argv[2]))
os.execv(sys.executable, [sys.executable, "-u", "-c", sys.argv[3], sys.argv[1].rpartition(":")[2]])
"""
SERVES = """
import http.server, sys, time
time.sleep(0.7)
print("listens")
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


@contextmanager
def becoming(program: str, port: int, *, seconds: float, folder: Path) -> Iterator[Iterator[str]]:
    """The lines of a process that announces itself and becomes another, in a folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", BECOMES, f"http://127.0.0.1:{port}", str(seconds), program],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield (line.strip() for line in process.stdout)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize(
    ("answer", "page"),
    [
        ('{"experiment": {"experiment_id": "7"}}', "/#/7?view"),
        ('{"error_code": "RESOURCE_DOES_NOT_EXIST"}', ""),
        ("", ""),
    ],
)
def test_the_address_is_said_once_it_answers(answer: str, page: str, free_port: int, tmp_path: Path) -> None:
    (tmp_path / "asked.json").write_text(answer, encoding="utf-8")
    with becoming(SERVES, free_port, seconds=60.0, folder=tmp_path) as said:
        assert next(said) == "It is starting … (Ctrl-C ends it)"
        assert next(said) == "listens"
        assert next(said) == f"It is at http://127.0.0.1:{free_port}{page}"


@pytest.mark.parametrize(
    ("program", "seconds", "told"),
    [
        ("print('no disk left'); raise SystemExit(3)", 60.0, "It ended before it answered: why may be said above"),
        (
            "import time; print('no disk left'); time.sleep(60)",
            0.8,
            "It has not answered at http://127.0.0.1:{} for 0.8 s",
        ),
    ],
)
def test_one_that_does_not_come_up_is_said_not_to(
    program: str, seconds: float, told: str, free_port: int, tmp_path: Path
) -> None:
    with becoming(program, free_port, seconds=seconds, folder=tmp_path) as said:
        assert [next(said), next(said)] == ["It is starting … (Ctrl-C ends it)", "no disk left"]
        assert next(said).startswith(told.format(free_port))
