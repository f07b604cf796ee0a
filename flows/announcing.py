"""Where a user interface is shown, said once it answers there.

`rec-denoiser ui` becomes the server, so that signals reach that one and none is left behind. So it is a process beside
the server that asks whether it answers, and ends with having said so. This file is that process too: it imports nothing
but the standard library, and nothing of what the person has in their folder.
"""

import http.client
import os
import select
import signal
import subprocess
import sys
import time
from urllib.parse import urlsplit

SECONDS_TO_START = 180.0
ASKED_AGAIN_AFTER = 0.2


def announce(what: str, address: str, *, seconds: float = SECONDS_TO_START) -> None:
    """Say that a server is starting, which this process is about to become, and have it said when it answers."""
    print(f"{what} is starting … (Ctrl-C ends it)", flush=True)
    alive, held = os.pipe()
    os.set_inheritable(held, True)  # it is the server's, and closes whatever ends that
    command = [sys.executable, "-I", __file__, what, address, str(seconds), str(alive)]
    subprocess.run(command, pass_fds=(alive,), check=True)
    os.close(alive)


def watch(what: str, address: str, *, seconds: float, alive: int) -> str:
    """What there is to say of a server: where it answers, or that it has ended, or does not answer within so many
    seconds. alive: a descriptor of a pipe whose other end the server holds.
    """
    ends = time.monotonic() + seconds
    while (left := ends - time.monotonic()) > 0.0:
        if _answers(address, within=left):
            return f"{what} is at {address}"
        ended, _, _ = select.select([alive], [], [], ASKED_AGAIN_AFTER)
        if ended:
            return f"{what} ended before it answered: why may be said above"
    return f"{what} has not answered at {address} for {seconds:g} s: why may be said above; it may come yet"


def _answers(address: str, *, within: float) -> bool:
    # By a client that knows of no proxy.
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=within)
    try:
        connection.request("GET", "/")
        connection.getresponse()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


if __name__ == "__main__":
    if os.fork() == 0:  # for the server waits for no child that it does not know of
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        print(watch(sys.argv[1], sys.argv[2], seconds=float(sys.argv[3]), alive=int(sys.argv[4])), flush=True)
