"""Where a user interface is shown, said once it answers there.

`rec-denoiser ui` becomes the server, so that signals reach that one and none is left behind. So it is a process beside
the server that asks whether it answers, and ends with having said so. This file is that process too: it imports nothing
but the standard library, and nothing of what the person has in their folder.
"""

import http.client
import json
import os
import select
import signal
import subprocess
import sys
import time
from urllib.parse import urlsplit

SECONDS_TO_START = 180.0
ASKED_AGAIN_AFTER = 0.2


def announce(what: str, address: str, *, page: tuple[str, str] = ("/", ""), seconds: float = SECONDS_TO_START) -> None:
    """Say that a server is starting, which this process is about to become, and have it said when it answers.

    page: the path by which it is asked, and that of the page which is named then. `{experiment_id}` in it is MLflow's
    number of the experiment that was asked for; where there is none yet, only the address is said.
    """
    print(f"{what} is starting … (Ctrl-C ends it)", flush=True)
    alive, held = os.pipe()
    os.set_inheritable(held, True)  # it is the server's, and closes whatever ends that
    command = [sys.executable, "-I", __file__, what, address, *page, str(seconds), str(alive)]
    subprocess.run(command, pass_fds=(alive,), check=True)
    os.close(alive)


def watch(what: str, address: str, *, page: tuple[str, str], seconds: float, alive: int) -> str:
    """What there is to say of a server: where it answers, or that it has ended, or does not answer within so many
    seconds. page: as in `announce`; alive: a descriptor of a pipe whose other end the server holds.
    """
    path, named = page
    ends = time.monotonic() + seconds
    while (left := ends - time.monotonic()) > 0.0:
        answer = _answer(address, path, within=left)
        if answer is not None:
            return f"{what} is at {address}{_filled(named, answer)}"
        ended, _, _ = select.select([alive], [], [], ASKED_AGAIN_AFTER)
        if ended:
            return f"{what} ended before it answered: why may be said above"
    return f"{what} has not answered at {address} for {seconds:g} s: why may be said above; it may come yet"


def _answer(address: str, path: str, *, within: float) -> bytes | None:
    """What the server answers, whatever that is; None where it does not."""
    # By a client that knows of no proxy.
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=within)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _filled(page: str, answer: bytes) -> str:
    """The page of what was asked for; "" where the answer knows of none."""
    if not page:
        return ""
    try:
        return page.format(experiment_id=json.loads(answer)["experiment"]["experiment_id"])
    except (ValueError, KeyError, TypeError):
        return ""


if __name__ == "__main__":
    if os.fork() == 0:  # for the server waits for no child that it does not know of
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        what, address, asked, named, seconds, alive = sys.argv[1:]
        print(watch(what, address, page=(asked, named), seconds=float(seconds), alive=int(alive)), flush=True)
