"""Folders that appear whole or not at all.

Work is done in a hidden folder beside its final place and renamed there when it is complete.
Its lock says that its process lives: a folder whose lock nobody holds was left by a killed
process and is removed by whoever comes next.
"""

import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.locks import is_held, locked

_PREFIX = ".tmp-"
_LOCK = "lock"


@contextmanager
def working_folder(parent: Path) -> Iterator[Path]:
    """A new temporary folder inside `parent`, deleted at the end whatever happens.

    Build the result in a folder inside it and hand that to `publish`; what else lies in it
    (spilled data, downloads) goes away with it. `parent` is made where it is missing, and
    what killed processes left in it is removed first.
    """
    parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(parent)
    folder = parent / f"{_PREFIX}{secrets.token_hex(8)}"
    with locked(parent):  # else a folder could be judged between its creation and its lock's
        folder.mkdir()
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def publish(folder: Path, final: Path) -> None:
    """Rename the complete `folder` to `final`, its bytes safely on the disk first.

    Where `final` exists already, another process made the same content: `folder` is left
    to go away with its working folder, and `final` stays as it is.
    """
    _flush(folder)
    try:
        folder.rename(final)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    else:
        _flush_one(final.parent)


def publish_over(folder: Path, final: Path) -> None:
    """Rename the complete `folder` to `final`, in the place of what lies there, which is left beside `folder` to go
    away with its working folder. Of several processes that do so at once, the last one's stays.
    """
    with locked(final.parent):  # else another could put its own there after this one took the earlier away
        if final.exists():
            final.rename(folder.with_name(f"{folder.name}-earlier"))
        folder.rename(final)


def remove_abandoned(parent: Path) -> list[Path]:
    """Delete the temporary folders in `parent` whose process is gone; return their paths."""
    if not parent.is_dir():
        return []
    with locked(parent):
        abandoned = [folder for folder in parent.glob(f"{_PREFIX}*") if not is_held(folder / _LOCK)]
        for folder in abandoned:
            shutil.rmtree(folder, ignore_errors=True)
    return abandoned


def held_folders(parent: Path) -> list[Path]:
    """The temporary folders in `parent` that a living process works in."""
    if not parent.is_dir():
        return []
    with locked(parent):
        return [folder for folder in sorted(parent.glob(f"{_PREFIX}*")) if is_held(folder / _LOCK)]


def _flush(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        _flush_one(path)
    _flush_one(folder)


def _flush_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
