"""`python -m models …` as a child process: its own threads, memory and end.

The child ends with us: it reads our end of a pipe that closes whatever kills us.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from pathlib import Path
from typing import Any

import psutil

from tasks.errors import InputError, RunFailed
from tasks.home import PROJECT_ROOT


class WorkerDied(RuntimeError):
    """The process ended without a result (out of memory, a crash): trying again may help."""


class WorkerStopped(RuntimeError):
    """The process was told to stop, as by `stop_workers`: trying again is for whoever stopped it to decide."""


PROGRAM = "models"

Watch = Callable[[int], AbstractContextManager[None]]
"""Given a process's id, a block during which it is watched."""

EPOCH = "epoch"
BEGINS = "begins"
WAITS = "waits"
"""What is heard of a worker before its end: `models.__main__` says when."""

Hear = Callable[[str, dict[str, Any]], None]
"""Hears an event and what was said of it."""


def unwatched(pid: int) -> AbstractContextManager[None]:  # noqa: ARG001
    """Watches nothing."""
    return nullcontext()


def unheard(event: str, about: dict[str, Any]) -> None:
    """Hears nothing."""


def run_worker(
    verb: str,
    request: Mapping[str, Any],
    *,
    hear: Hear = unheard,
    watch: Watch = unwatched,
    program: str = PROGRAM,
) -> dict[str, Any]:
    """Run one request of `models.__main__`, or of another `program` in models, and return its report; `hear` is told
    how it gets on, and `watch` has its eye on the process from where it begins, not while it waits for another.

    Raises `InputError` where the request cannot be fulfilled as it is, `RunFailed` where the training diverged,
    `TimeoutError` past its time limit, `WorkerStopped` where the process was told to stop, and `WorkerDied` where it
    ended otherwise, with the end of what it printed.
    """
    with tempfile.TemporaryDirectory(prefix="rec-denoiser-") as folder, tempfile.TemporaryFile() as complaints:
        path = Path(folder) / "request.json"
        ours, theirs = os.pipe()
        with os.fdopen(ours, encoding="utf-8") as lines:
            try:
                path.write_text(json.dumps({**request, "ends_with_parent": True, "channel": theirs}), encoding="utf-8")
                process = subprocess.Popen(
                    [sys.executable, "-m", program, verb, str(path)],
                    stdin=subprocess.PIPE,
                    stdout=complaints,
                    stderr=complaints,
                    pass_fds=(theirs,),
                    cwd=folder,
                    env=_environment(int(request["threads"])),
                    # Ctrl-C in the terminal is for us to hear: a worker that heard it too would seem to have died.
                    start_new_session=True,
                )
            finally:
                os.close(theirs)
            try:
                with ExitStack() as watching:

                    def told(event: str, about: dict[str, Any]) -> None:
                        if event == BEGINS:
                            watching.enter_context(watch(process.pid))
                        hear(event, about)

                    last = _listen(lines, told)
                    process.wait()
            finally:
                _end(process)
        complaints.seek(0)
        return _report(last, process.returncode, complaints.read().decode("utf-8", "replace"))


def stop_workers() -> None:
    """Tell every worker of this process to stop, whichever thread waits for it."""
    for child in psutil.Process().children():
        with suppress(psutil.Error):
            command = child.cmdline()[1:3]
            if len(command) == 2 and command[0] == "-m" and command[1].partition(".")[0] == PROGRAM:
                child.terminate()


def _listen(lines: Iterable[str], hear: Hear) -> dict[str, Any]:
    """Pass on how it gets on; what is said at its end, once the process has closed its end of the channel."""
    last: dict[str, Any] = {}
    for line in lines:
        if not line.endswith("\n"):
            break  # the process was killed in the middle of a message
        message = json.loads(line)
        event = message.pop("event")
        if event in (EPOCH, BEGINS, WAITS):
            hear(event, message)
        else:
            last = message
    return last


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.kill()
    process.wait()
    assert process.stdin is not None
    process.stdin.close()


def _report(last: dict[str, Any], status: int, complaints: str) -> dict[str, Any]:
    if status == 0:
        return last
    if last.get("kind") == "invalid":
        raise InputError(last["message"])
    if last.get("kind") == "timeout":
        raise TimeoutError(last["message"])
    if last.get("kind") == "diverged":
        raise RunFailed(last["message"])
    if status == -signal.SIGTERM:
        raise WorkerStopped("the training process was told to stop")
    raise WorkerDied(f"the training process ended with status {status}: {complaints.strip()[-2000:] or 'no message'}")


def _environment(threads: int) -> dict[str, str]:
    """Threads that sleep when they wait: on a busy machine spinning ones bring everything to a halt."""
    paths = [str(PROJECT_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",
    }
