"""Long-running commands under a state folder of their own, which end with the test whatever happens."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tasks.home import PROJECT_ROOT, Home
from tests.conftest import unused_port

FOREIGN = ("PREFECT_", "MLFLOW_", "REC_DENOISER_")


@dataclass(frozen=True)
class Started:
    """A command under way, and the file that it writes to."""

    process: "subprocess.Popen[bytes]"
    output: Path

    def interrupt(self, *, within: float) -> int:
        """Ctrl-C, as a terminal sends it: to the command and all that it started. The exit status."""
        family = descendants(self.process.pid)
        os.killpg(self.process.pid, signal.SIGINT)
        status = self.process.wait(within)
        _, alive = psutil.wait_procs(family, timeout=10)
        assert not alive, f"left behind: {alive}"
        return status

    def end(self) -> None:
        """End it and all that it started, by force if need be."""
        family = descendants(self.process.pid)
        for send, patience in ((self.process.terminate, 20), (self.process.terminate, 20), (self.process.kill, 5)):
            if self.process.poll() is None:
                send()
                psutil.wait_procs([*family[:1]], timeout=patience)
                self.process.poll()
        for process in family:
            if process.is_running():
                process.kill()


def descendants(pid: int) -> list[psutil.Process]:
    """The process and all below it, where it is there."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


@dataclass(frozen=True)
class Workplace:
    """A state folder, a working folder and an environment; `start` and `run` give commands there."""

    folder: Path
    environment: dict[str, str]
    started: list[Started]

    @property
    def home(self) -> Home:
        return Home(self.folder / "home")

    def trainings(self) -> dict[str, int]:
        """By folder when each training's result was written."""
        return {path.parent.name: path.stat().st_mtime_ns for path in self.home.steps.glob("train/*/result.json")}

    def start(self, *module: str) -> Started:
        """Start `python -m module …` as a terminal would."""
        output = self.folder / f"output-{len(self.started)}.log"
        with output.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *module],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # A background shell has its children ignore Ctrl-C; a terminal does not.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        self.started.append(Started(process, output))
        return self.started[-1]

    def run(self, *module: str, folder: Path | None = None, status: int = 0) -> str:
        """Run `python -m module …` to its end; its standard output."""
        where = folder or self.folder
        done = subprocess.run(
            [sys.executable, "-m", *module],
            cwd=where,
            env=self.environment | {"PWD": str(where)},
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    def wait_for_page(self, url: str, command: Started, *, within: float) -> httpx.Response:
        """The page, once it is served."""

        def page() -> httpx.Response | None:
            assert command.process.poll() is None, command.output.read_text(encoding="utf-8")
            try:
                return httpx.get(url, timeout=10)
            except httpx.TransportError:
                return None

        answer: httpx.Response = until(page, within=within)
        return answer


def until(look: Callable[[], Any], *, within: float) -> Any:
    """What `look` gives, once it gives anything."""
    deadline = time.monotonic() + within
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"nothing within {within:.0f} s"
        time.sleep(0.5)


@pytest.fixture(scope="session")
def wait_until() -> Callable[..., Any]:
    """`wait_until(look, within=seconds)` gives what `look()` gives, once that is something."""
    return until


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prefect server, for commands that would each start one of their own otherwise."""
    place, port = _workplace(tmp_path_factory.mktemp("server")), unused_port()
    interface = place.start("flows.cli", "ui", "prefect", "--port", str(port))
    try:
        place.wait_for_page(f"http://127.0.0.1:{port}/api/health", interface, within=300)
        yield f"http://127.0.0.1:{port}/api"
    finally:
        interface.end()


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    place = _workplace(tmp_path_factory.mktemp("workplace"))
    yield place
    for started in reversed(place.started):
        started.end()


def _workplace(folder: Path) -> Workplace:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    own = {"REC_DENOISER_HOME": str(folder / "home"), "PYTHONPATH": str(PROJECT_ROOT), "PYTHONUNBUFFERED": "1"}
    return Workplace(folder, kept | own, [])
