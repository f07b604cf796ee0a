"""Prefect's temporary server, for as long as one command.

Prefect starts such a server by itself, and imports all of its code into the process that asks for it, only to start
another that imports it again. Here the process that asks imports none of it; and the server ends with that process,
however that ends, where Prefect's lives on after a kill.
"""

import atexit
import gc
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress

from tasks.errors import RunFailed
from tasks.home import PROJECT_ROOT
from tasks.locks import locked

HOST = "127.0.0.1"
BACKLOG = 2048
SECONDS_TO_END = 20.0
"""For which a server may write down what it has heard last."""


def ensure_server() -> None:
    """Start a temporary server and address it from here on, where no server is set and Prefect may start one.

    The terminal's Ctrl-C does not reach it: it has to outlive the flow run to hear how that ended. Raises `RunFailed`
    where it does not start.
    """
    from prefect.context import refresh_global_settings_context
    from prefect.logging import get_logger
    from prefect.settings import get_current_settings

    from tasks.own_server import OWN_SERVER_VARIABLE

    settings = get_current_settings()
    if settings.api.url is not None or not settings.server.ephemeral.enabled:
        return
    get_logger("temporary").info("Starting a temporary Prefect server")
    # Whoever asks before the server is ready waits in the queue of a socket that listens already: no port is tried that
    # another process may take meanwhile, and one question tells when it is up.
    settings.home.mkdir(parents=True, exist_ok=True)
    # A server that starts makes Prefect's database, or brings it up to date: two at once spoil that for each other.
    with locked(settings.home):
        with socket.create_server((HOST, 0), backlog=BACKLOG) as listening:
            port: int = listening.getsockname()[1]
            process = _start(listening, settings.to_environment_variables(exclude_unset=True))
        atexit.register(_end, process)
        _wait_for(process, port, seconds=settings.server.ephemeral.startup_timeout_seconds)
    address = f"http://{HOST}:{port}/api"
    os.environ |= {"PREFECT_API_URL": address, OWN_SERVER_VARIABLE: address}
    os.environ.setdefault("PREFECT_UI_URL", "")  # it serves no pages that a log line could lead to
    refresh_global_settings_context()


def serve(descriptor: int) -> None:
    """Be that server, on the listening socket of that number, until the process that started it is gone."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Of what an import makes next to nothing is garbage, and looking for it takes a fifth of the time.
    gc.disable()
    import uvicorn
    from prefect.server.api.server import create_app

    server = uvicorn.Server(uvicorn.Config(create_app(ephemeral=True, final=True), log_level="error", lifespan="on"))
    gc.freeze()
    gc.enable()
    server.run(sockets=[socket.socket(fileno=descriptor)])


def _start(listening: socket.socket, settings: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """This module as a process. It reads our end of a pipe, which closes whatever ends us."""
    paths = [str(PROJECT_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        # -P: a folder named `flows` where the person works is not ours.
        [sys.executable, "-P", "-m", "flows.temporary", str(listening.fileno())],
        stdin=subprocess.PIPE,
        pass_fds=(listening.fileno(),),
        env={**os.environ, **settings, "PYTHONPATH": os.pathsep.join(paths), "PREFECT_UI_ENABLED": "false"},
        start_new_session=True,
    )


def _wait_for(process: "subprocess.Popen[bytes]", port: int, *, seconds: float) -> None:
    """Wait until the server answers. Raises `RunFailed` where it ends before, or takes longer."""
    # By a client that knows of no proxy.
    connection = http.client.HTTPConnection(HOST, port, timeout=seconds)
    try:
        connection.request("GET", "/api/health")
        status = connection.getresponse().status
    except TimeoutError:
        _end(process)
        raise RunFailed(
            f"Prefect's temporary server did not start within {seconds:g} s: give it longer with "
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS, or name a running server in PREFECT_API_URL"
        ) from None
    except (OSError, http.client.HTTPException):
        with suppress(subprocess.TimeoutExpired):
            process.wait(SECONDS_TO_END)  # who has closed its socket is about to end by itself
        _end(process)
        raise RunFailed(
            f"Prefect's temporary server did not start, it ended with status {process.returncode}: why is said above"
        ) from None
    finally:
        connection.close()
    if status != http.HTTPStatus.OK:
        _end(process)
        raise RunFailed(f"Prefect's temporary server does not work: it says of its health {status}")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the server, and wait until it has."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
    assert process.stdin is not None
    process.stdin.close()


def _end_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)  # nothing is ever written to it; a buffer's lock would be in the way of our own end
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(SECONDS_TO_END)
    os._exit(1)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
