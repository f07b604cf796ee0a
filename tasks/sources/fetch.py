"""Remote files: fetched once, checked, and kept with their checksums.

A log is fetched whole before it is read, although DuckDB could read some of these addresses itself: its httpfs
extension has to be downloaded first, which fails offline and behind many firewalls; a log read over the network
has no checksum, so that nobody could say later what a snapshot was made of; and a gzip file that was cut short
shows only when it is unpacked to its end.

Each address has a folder under `<home>/sources/remote/` that holds the file, `.record.json` (SHA-256, size, the
owner's ETag and date) and, while it is on its way, `.part` and `.part.json`, while one of an archive is taken out of
it, `.unpacked`. Users, passwords and queries of addresses are used to ask for the file and written nowhere.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from tasks.errors import InputError
from tasks.home import Home
from tasks.sources.addresses import address_digest, address_of, file_name, without_secrets
from tasks.sources.transport import Refused, Stamp, Unreachable, opened

Say = Callable[[str], object]

_BLOCK = 1 << 20
_SPARE_BYTES = 64 << 20
_SECONDS_BETWEEN_LINES = 10.0
_LONGEST_PAUSE = 60.0
_PART = ".part"
_PART_RECORD = ".part.json"
_UNPACKED = ".unpacked"
_RECORD = ".record.json"
_LOCK = ".lock"


@dataclass(frozen=True)
class Remote:
    """A file at an `address` (http, https or s3).

    `member`: the file of a zip archive that is wanted. The checksum of what lies at the address, where its owner
    publishes one: `md5` itself, or `md5_address` of a small text file that holds it.
    """

    address: str = field(repr=False)
    member: str | None = None
    md5: str | None = None
    md5_address: str | None = None

    @property
    def shown(self) -> str:
        """The address without secrets."""
        return without_secrets(self.address)


@dataclass(frozen=True)
class Kept:
    """A file in the state folder and the SHA-256 of its bytes."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class Patience:
    """How long is waited for a server: `timeout` seconds for each answer, and `attempts` in a row without a new byte,
    with pauses between them that double from `pause` seconds.
    """

    timeout: float = 30.0
    attempts: int = 5
    pause: float = 1.0


def fetch(remote: Remote, *, home: Home, say: Say, patience: Patience = Patience()) -> Kept:
    """The file, from the state folder where its owner has not changed it since, else from its owner.

    Bytes that an earlier, interrupted fetch left are not asked for again where the server can say that they are still
    the same file's. `say` hears lines of progress and all that is out of the ordinary. Two processes that want the
    same file fetch it once.

    Raises `InputError` in one sentence where there is no such file or no access, the server cannot be reached and
    there is no copy, what came differs from the owner's checksum or is cut short, or the disk is too full.
    """
    folder = _folder(remote, home)
    folder.mkdir(parents=True, exist_ok=True)
    with _alone_in(folder, remote, say):
        before = _record(folder)
        copy = before if before and _is_whole(folder / before.file, before) else None
        if before and not copy:
            say(f"the copy of {remote.shown} on this disk is damaged or gone: fetching it anew")
        try:
            record = _renewed(remote, folder, before=before, copy=copy, say=say, patience=patience)
        except Refused as refusal:
            if copy is None:
                raise InputError(f"{remote.shown} {refusal}") from None
            say(f"{remote.shown} {refusal}: the copy fetched on {copy.fetched} is used, its SHA-256 is right")
            record = copy
        if remote.member is None:
            return Kept(folder / record.file, record.sha256)
        return _unpacked(remote.member, remote, folder, record=record)


def probe(remote: Remote, *, home: Home) -> None:
    """Refuse a file that cannot be fetched, at the cost of one request for its beginning.

    Raises `InputError` for an address that is none, and where there is no such file, no access or no server, and no
    copy either. A server that is only busy is left to `fetch`.
    """
    address_of(remote.address)
    if is_kept(remote, home=home):
        return
    try:
        with opened(address_of(remote.address), start=0, known=None, timeout=Patience().timeout):
            return
    except Refused as refusal:
        if not refusal.busy or isinstance(refusal, Unreachable):
            raise InputError(f"{remote.shown} {refusal}") from None


def is_kept(remote: Remote, *, home: Home) -> bool:
    """Is there a copy? It is not read for that; `fetch` verifies it."""
    folder = _folder(remote, home)
    record = _record(folder)
    return record is not None and (folder / record.file).is_file()


def kept(remote: Remote, *, home: Home) -> Kept | None:
    """The copy in the state folder, without asking the file's owner or reading it; None where there is none."""
    folder = _folder(remote, home)
    record = _record(folder)
    if record is None:
        return None
    if remote.member is None:
        path, sha256 = folder / record.file, record.sha256
    else:
        path = folder / file_name(f"zip://{remote.member}")
        sha256 = record.members.get(remote.member, {}).get("sha256", "")
    return Kept(path, sha256) if sha256 and path.is_file() else None


@dataclass(frozen=True)
class _Record:
    """What `record.json` says of a whole file."""

    address: str
    file: str
    sha256: str
    size: int
    fetched: str
    stamp: Stamp
    published: str | None = None
    members: dict[str, dict[str, str]] = field(default_factory=dict)


def _renewed(
    remote: Remote, folder: Path, *, before: _Record | None, copy: _Record | None, say: Say, patience: Patience
) -> _Record:
    """The record of the file as its owner has it now: `copy` where that is still the same, else downloaded."""
    stamp = _downloaded(remote, folder, copy=copy, say=say, patience=patience)
    if stamp is None and copy is not None:
        say(f"{remote.shown} has not changed since {copy.fetched}: the copy on this disk is used")
        return copy
    part = folder / _PART
    published = _verified(remote, part, say=say, timeout=patience.timeout)
    record = _Record(
        address=remote.shown,
        file=file_name(remote.address),
        sha256=_digest(part, "sha256"),
        size=part.stat().st_size,
        fetched=datetime.now(UTC).strftime("%Y-%m-%d"),
        stamp=stamp or Stamp(),
        published=published,
    )
    with part.open("rb") as file:
        os.fsync(file.fileno())
    if copy is not None and (copy.file, copy.sha256) == (record.file, record.sha256):
        part.unlink()  # an ingest may be reading the one that is there
    else:
        part.replace(folder / record.file)
    _write(folder, record)
    (folder / _PART_RECORD).unlink(missing_ok=True)
    if before and before.sha256 != record.sha256:
        say(
            f"{remote.shown} is not what it was on {before.fetched}: its SHA-256 was {before.sha256[:16]}… "
            f"and is {record.sha256[:16]}… now"
        )
    say(f"{remote.shown} fetched: {_size(record.size)}, SHA-256 {record.sha256}")
    return record


def _downloaded(remote: Remote, folder: Path, *, copy: _Record | None, say: Say, patience: Patience) -> Stamp | None:
    """Bring `part` to its full length, in as many goes as it takes; None where `copy` is still the owner's version."""
    furthest = failures = 0
    while True:
        try:
            return _one_go(remote, folder, copy=copy, say=say, timeout=patience.timeout)
        except Refused as refusal:
            reached = _length(folder / _PART)
            failures = 1 if reached > furthest else failures + 1
            furthest = max(furthest, reached)
            if not refusal.busy or failures >= patience.attempts:
                raise
            pause = min(refusal.pause or patience.pause * 2 ** (failures - 1), _LONGEST_PAUSE)
            say(f"{remote.shown} {refusal}: another try in {pause:.0f} s")
            time.sleep(pause)


def _one_go(remote: Remote, folder: Path, *, copy: _Record | None, say: Say, timeout: float) -> Stamp | None:
    part = folder / _PART
    begun = _begun(folder)
    start = _length(part) if begun and begun.condition else 0
    known = begun if start else copy.stamp if copy else None
    complete = begun is not None and start == begun.length
    with opened(address_of(remote.address), start=0 if complete else start, known=known, timeout=timeout) as reply:
        if complete and begun and (reply.unchanged or reply.stamp.is_of(begun)):
            return begun
        # A copy is compared with what is offered now even where an interrupted fetch is gone on with.
        if copy and (reply.unchanged or reply.stamp.is_of(copy.stamp)):
            part.unlink(missing_ok=True)
            return None
        if reply.start and begun and not reply.stamp.is_of(begun):
            part.unlink()
            raise Refused("was changed by its owner while it was fetched", busy=True)
        _refuse_full_disk(folder, (reply.stamp.length or 0) - reply.start, what=remote.shown)
        (folder / _PART_RECORD).write_text(json.dumps(asdict(reply.stamp)), encoding="utf-8")
        with (
            _Progress(remote.shown, total=reply.stamp.length, done=reply.start, say=say) as progress,
            part.open("r+b" if reply.start else "wb") as file,
        ):
            file.seek(reply.start)
            file.truncate()
            for block in reply.blocks:
                file.write(block)
                progress.add(len(block))
    length = _length(part)
    if reply.stamp.length is not None and length != reply.stamp.length:
        if not reply.stamp.condition or length > reply.stamp.length:
            part.unlink()
        raise Refused(f"was cut short at {length:,} of {reply.stamp.length:,} bytes", busy=True)
    return reply.stamp


def _verified(remote: Remote, part: Path, *, say: Say, timeout: float) -> str | None:
    """The checksum that the owner publishes, which `part` has. Raises `InputError` where it has another."""
    expected = remote.md5
    if remote.md5_address:
        expected = _published_md5(replace(remote, address=remote.md5_address), say=say, timeout=timeout)
    if expected is None:
        return None
    found = _digest(part, "md5")
    if found != expected:
        part.unlink()
        raise InputError(
            f"{remote.shown} came with the MD5 checksum {found} where its owner publishes {expected}: "
            "it was damaged on the way or replaced, try again, and ask its owner if that does not help"
        )
    return f"md5:{expected}"


def _published_md5(sidecar: Remote, *, say: Say, timeout: float) -> str | None:
    try:
        with opened(address_of(sidecar.address), start=0, known=None, timeout=timeout) as reply:
            text = next(reply.blocks, b"")[:1_000].decode("utf-8", errors="replace")
    except Refused as refusal:
        say(f"{sidecar.shown} {refusal}: the owner's checksum could not be compared")
        return None
    found = re.search(r"\b[0-9a-f]{32}\b", text.lower())
    if found is None:
        say(f"{sidecar.shown} holds no MD5 checksum: the owner's checksum could not be compared")
    return found[0] if found else None


def _unpacked(member: str, remote: Remote, folder: Path, *, record: _Record) -> Kept:
    """A file of the archive, unpacked once. Only its last name decides where it goes."""
    path = folder / file_name(f"zip://{member}")
    known = record.members.get(member)
    if known and path.is_file() and _digest(path, "sha256") == known["sha256"]:
        return Kept(path, known["sha256"])
    partial = folder / _UNPACKED  # `.part` may be what has come of a newer archive
    try:
        with zipfile.ZipFile(folder / record.file) as archive:
            about = archive.getinfo(member)
            _refuse_full_disk(folder, about.file_size, what=f"{member} of {remote.shown}")
            with archive.open(about) as packed, partial.open("wb") as file:
                shutil.copyfileobj(packed, file, _BLOCK)
                os.fsync(file.fileno())
    except KeyError:
        raise InputError(f"{remote.shown} is an archive without a file {member}: its owner has changed it") from None
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        partial.unlink(missing_ok=True)
        raise InputError(f"{remote.shown} cannot be unpacked: {error}") from None
    if partial.stat().st_size != about.file_size:
        partial.unlink()
        raise InputError(f"{member} of {remote.shown} is not as long as its archive says: the archive is damaged")
    partial.replace(path)
    sha256 = _digest(path, "sha256")
    _write(folder, replace(record, members={**record.members, member: {"sha256": sha256}}))
    return Kept(path, sha256)


class _Progress:
    """How far a download is: one line that is written over in a terminal, lines now and then elsewhere."""

    def __init__(self, shown: str, *, total: int | None, done: int, say: Say) -> None:
        self._shown = shown
        self._total = total
        self._done = self._first = done
        self._say = say
        self._begun = self._said = time.monotonic()
        self._terminal = sys.stderr.isatty()

    def __enter__(self) -> "_Progress":
        return self

    def add(self, count: int) -> None:
        self._done += count
        now = time.monotonic()
        if now - self._said < (0.5 if self._terminal else _SECONDS_BETWEEN_LINES):
            return
        self._said = now
        line = self._line(now)
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r{line[:width]:<{width}}", end="", file=sys.stderr, flush=True)
        else:
            self._say(line)

    def __exit__(self, *failure: object) -> None:
        if self._terminal and self._said != self._begun:
            print(f"\r{'':<{shutil.get_terminal_size().columns - 1}}\r", end="", file=sys.stderr, flush=True)

    def _line(self, now: float) -> str:
        pace = (self._done - self._first) / max(now - self._begun, 1e-3)
        if self._total is None:
            return f"fetching {self._shown}: {_size(self._done)} at {_size(pace)}/s"
        left = (self._total - self._done) / max(pace, 1.0)
        share = self._done / max(self._total, 1)
        return f"fetching {self._shown}: {share:.0%} of {_size(self._total)} at {_size(pace)}/s, {left:.0f} s left"


@contextmanager
def _alone_in(folder: Path, remote: Remote, say: Say) -> Iterator[None]:
    """Keep other processes from fetching the same file at the same time."""
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another process is fetching {remote.shown}: waiting for it")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _refuse_full_disk(folder: Path, needed: int, *, what: str) -> None:
    free = shutil.disk_usage(folder).free
    if needed + _SPARE_BYTES > free:
        raise InputError(
            f"{what} takes {_size(needed)} and {folder} has {_size(free)} left: make room, "
            "or set REC_DENOISER_HOME to a folder on a larger disk"
        )


def _folder(remote: Remote, home: Home) -> Path:
    return home.sources / "remote" / address_digest(remote.address)


def _is_whole(path: Path, record: _Record) -> bool:
    return _length(path) == record.size and _digest(path, "sha256") == record.sha256


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _begun(folder: Path) -> Stamp | None:
    """The version that `part` is of."""
    said = _json(folder / _PART_RECORD)
    return Stamp(**said) if said else None


def _record(folder: Path) -> _Record | None:
    said = _json(folder / _RECORD)
    return _Record(**(said | {"stamp": Stamp(**said["stamp"])})) if said else None


def _json(path: Path) -> dict[str, Any] | None:
    with suppress(OSError, ValueError):
        return cast(dict[str, Any], json.loads(path.read_text(encoding="utf-8")))
    return None


def _write(folder: Path, record: _Record) -> None:
    partial = folder / f"{_RECORD}.part"
    partial.write_text(json.dumps(asdict(record), indent=1) + "\n", encoding="utf-8")
    partial.replace(folder / _RECORD)


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
