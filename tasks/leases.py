"""Which runs are under way, so that those of a killed process can be told from the living.

A process holds a lock on a file that names its runs. The system frees the lock of a killed process: a lease
that nobody holds is an abandoned one.
"""

import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Generator, Iterator
from contextlib import contextmanager

from tasks.errors import InputError
from tasks.home import Home
from tasks.locks import is_held, locked


class Lease:
    """A held lease. `note` adds what is under way."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._runs: dict[str, str] = {}

    def note(self, **runs: str) -> None:
        """Add runs, as kind=id."""
        self._runs |= runs
        content = json.dumps(self._runs).encode()
        os.pwrite(self._descriptor, content, 0)
        os.ftruncate(self._descriptor, len(content))


@contextmanager
def lease(*, home: Home) -> Iterator[Lease]:
    """Hold a lease until the end of the block."""
    home.leases.mkdir(parents=True, exist_ok=True)
    path = home.leases / f"{secrets.token_hex(8)}.json"
    # Named for others only once it is locked: before that it would look abandoned.
    unnamed = path.with_suffix(".new")
    descriptor = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with locked(home.leases, shared=True):
            unnamed.rename(path)
        yield Lease(descriptor)
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def abandoned(*, home: Home) -> Generator[dict[str, str], None, None]:
    """What each abandoned lease said; a lease goes away when its turn is over, so that a clean-up that is itself
    killed is done again by the next start.
    """
    for path in sorted(home.leases.glob("*.json")):
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.fstat(descriptor).st_nlink:  # its process has given it back meanwhile
                continue
            runs = _noted(os.pread(descriptor, 1 << 16, 0))
            if runs:
                yield runs
            path.unlink(missing_ok=True)
        except BlockingIOError:
            continue
        finally:
            os.close(descriptor)


def _noted(content: bytes) -> dict[str, str]:
    """What a lease says; nothing where its process, or the machine, stopped before it was written."""
    try:
        runs: dict[str, str] = json.loads(content)
    except ValueError:
        return {}
    return runs


@contextmanager
def nobody_at_work(*, home: Home) -> Iterator[None]:
    """Keep every other process from taking a lease until the end of the block.

    Raises `InputError` where one is held already.
    """
    home.leases.mkdir(parents=True, exist_ok=True)
    with locked(home.leases):
        if any(is_held(path) for path in home.leases.glob("*.json")):
            raise InputError(f"another process is at work in {home.root}: wait until it is done, then ask again")
        yield


@contextmanager
def sole_holder(work: str, *, home: Home) -> Iterator[None]:
    """Keep a second process from the same work. Raises `InputError` where another is at it."""
    folder = home.leases / "work"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / hashlib.sha256(work.encode()).hexdigest()[:32]).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError("another process is running this very job: wait for it, then ask again") from None
        yield
