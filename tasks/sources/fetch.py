"""Remote files: fetched once, checked, and kept with their checksums.

A log is fetched whole before it is read, although DuckDB could read some of these addresses itself: its httpfs
extension has to be downloaded first, which fails offline and behind many firewalls; a log read over the network
has no checksum, so that nobody could say later what a snapshot was made of; and a gzip file that was cut short
shows only when it is unpacked to its end.

Each address has a folder under `<home>/sources/remote/` that holds the file, `.record.json` (SHA-256, size, the
owner's ETag and date) and, while it is on its way, `.part` and `.part.json`. Users, passwords and queries of
addresses are used to ask for the file and written nowhere.
"""

import base64
import fcntl
import hashlib
import http.client
import json
import os
import re
import shutil
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, unquote, urlsplit

from tasks.errors import InputError
from tasks.home import Home
from tasks.sources.addresses import REMOTE_SCHEMES, address_digest, file_name, scheme_of, without_secrets

Say = Callable[[str], object]

_BLOCK = 1 << 20
_S3_BLOCK = 8 << 20
_SPARE_BYTES = 64 << 20
_SECONDS_BETWEEN_LINES = 10.0
_LONGEST_PAUSE = 60.0
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_AGENT = "rec-denoiser"
_PART = ".part"
_PART_RECORD = ".part.json"
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
        except _Refused as refusal:
            if copy is None:
                raise InputError(f"{remote.shown} {refusal}") from None
            say(f"{remote.shown} {refusal}: the copy fetched on {copy.fetched} is used, its SHA-256 is right")
            record = copy
        if remote.member is None:
            return Kept(folder / record.file, record.sha256)
        return _unpacked(remote.member, remote, folder, record=record)


def probe(remote: Remote, *, home: Home, patience: Patience = Patience(attempts=1)) -> None:
    """Refuse a file that cannot be fetched, at the cost of one request for its beginning.

    Raises `InputError` for an address that is none, and where there is no such file, no access or no server, and no
    copy either. A server that is only busy is left to `fetch`.
    """
    address_of(remote.address)
    if is_kept(remote, home=home):
        return
    try:
        with _opened(remote, start=0, known=None, timeout=patience.timeout):
            return
    except _Refused as refusal:
        if not refusal.busy or isinstance(refusal, _Unreachable):
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


def address_of(text: str) -> str:
    """`text`, checked to be the address of a file. Raises `InputError` where it is none."""
    scheme = scheme_of(text)
    if scheme not in REMOTE_SCHEMES:
        raise InputError(
            f"{without_secrets(text)} cannot be fetched: an address begins with http://, https:// or s3://, "
            "anything else is a path on this machine"
        )
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or re.search(r"[\s\x00-\x1f\x7f]", text):
        raise InputError(f"{without_secrets(text)!r} is no whole address: it lacks a host, or holds blanks")
    if scheme == "s3" and (urlsplit(text).query or urlsplit(text).fragment):
        raise InputError(f"{without_secrets(text)}: an s3 address ends with the file's path, without ? or #")
    if scheme == "s3" and len(urlsplit(text).path) < 2:
        raise InputError(f"{without_secrets(text)} names a bucket and no file in it: s3://bucket/path/log.parquet")
    return text


@dataclass(frozen=True)
class _Stamp:
    """What tells one version of a remote file from another."""

    etag: str | None = None
    modified: str | None = None
    length: int | None = None

    def is_of(self, other: "_Stamp") -> bool:
        """Do both belong to the same bytes, as far as can be told?"""
        if None not in (self.length, other.length) and self.length != other.length:
            return False
        if self.etag and other.etag:
            return self.etag == other.etag
        if self.modified and other.modified:
            return self.modified == other.modified
        return False

    @property
    def condition(self) -> str | None:
        """What makes a server send the rest of this version only: its strong ETag, else its date."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified


@dataclass(frozen=True)
class _Record:
    """What `record.json` says of a whole file."""

    address: str
    file: str
    sha256: str
    size: int
    fetched: str
    stamp: _Stamp
    published: str | None = None
    members: dict[str, dict[str, str]] = field(default_factory=dict)


class _Refused(Exception):
    """Why a file could not be had, as what follows its address in a sentence. `busy`: another try may succeed."""

    def __init__(self, reason: str, *, busy: bool = False, pause: float | None = None) -> None:
        super().__init__(reason)
        self.busy = busy
        self.pause = pause


@dataclass(frozen=True)
class _Reply:
    """A remote file's bytes from `start` on. `unchanged`: the known version is still the owner's, nothing follows."""

    stamp: _Stamp
    start: int
    blocks: Iterator[bytes]
    unchanged: bool = False


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
        stamp=stamp or _Stamp(),
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


def _downloaded(remote: Remote, folder: Path, *, copy: _Record | None, say: Say, patience: Patience) -> _Stamp | None:
    """Bring `part` to its full length, in as many goes as it takes; None where `copy` is still the owner's version."""
    furthest = failures = 0
    while True:
        try:
            return _one_go(remote, folder, copy=copy, say=say, timeout=patience.timeout)
        except _Refused as refusal:
            reached = _length(folder / _PART)
            failures = 1 if reached > furthest else failures + 1
            furthest = max(furthest, reached)
            if not refusal.busy or failures >= patience.attempts:
                raise
            pause = min(refusal.pause or patience.pause * 2 ** (failures - 1), _LONGEST_PAUSE)
            say(f"{remote.shown} {refusal}: another try in {pause:.0f} s")
            time.sleep(pause)


def _one_go(remote: Remote, folder: Path, *, copy: _Record | None, say: Say, timeout: float) -> _Stamp | None:
    part = folder / _PART
    begun = _begun(folder)
    start = _length(part) if begun and begun.condition else 0
    known = begun if start else copy.stamp if copy else None
    complete = begun is not None and start == begun.length
    with _opened(remote, start=0 if complete else start, known=known, timeout=timeout) as reply:
        if complete and begun and (reply.unchanged or reply.stamp.is_of(begun)):
            return begun
        # A copy is compared with what is offered now even where an interrupted fetch is gone on with.
        if copy and (reply.unchanged or reply.stamp.is_of(copy.stamp)):
            part.unlink(missing_ok=True)
            return None
        if reply.start and begun and not reply.stamp.is_of(begun):
            part.unlink()
            raise _Refused("was changed by its owner while it was fetched", busy=True)
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
        raise _Refused(f"was cut short at {length:,} of {reply.stamp.length:,} bytes", busy=True)
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
        with _opened(sidecar, start=0, known=None, timeout=timeout) as reply:
            text = next(reply.blocks, b"")[:1_000].decode("utf-8", errors="replace")
    except _Refused as refusal:
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
    partial = folder / _PART
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


@contextmanager
def _opened(remote: Remote, *, start: int, known: _Stamp | None, timeout: float) -> Iterator[_Reply]:
    """Ask for a file from byte `start` of the version `known` on; from 0 on, only if it is another than `known`.

    The reply may begin at 0 all the same. Raises `_Refused`.
    """
    address = address_of(remote.address)
    opened = _opened_s3 if scheme_of(address) == "s3" else _opened_http
    with opened(address, start=start, known=known, timeout=timeout) as reply:
        yield reply


@contextmanager
def _opened_http(address: str, *, start: int, known: _Stamp | None, timeout: float) -> Iterator[_Reply]:
    try:
        response = urllib.request.urlopen(_request(address, start=start, known=known), timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 304 and known:
            yield _Reply(known, 0, iter(()), unchanged=True)
            return
        if error.code != 416 or not start:
            raise _http_refusal(error) from None
        # What was begun is longer than the file is now.
        with _opened_http(address, start=0, known=None, timeout=timeout) as reply:
            yield reply
        return
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        raise _unreachable(error) from None
    with response:
        yield _http_reply(response, start=start, known=known)


def _request(address: str, *, start: int, known: _Stamp | None) -> urllib.request.Request:
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    path, query = (quote(part, safe="/%:@!$&'()*+,;=~?") for part in (parts.path, parts.query))
    request = urllib.request.Request(parts._replace(netloc=host, path=path, query=query, fragment="").geturl())
    request.add_header("User-Agent", _AGENT)
    request.add_header("Accept-Encoding", "identity")
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        # Unredirected: another host that the server points to does not get the password.
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
    if start and known and known.condition:
        request.add_header("Range", f"bytes={start}-")
        request.add_header("If-Range", known.condition)
    elif known and known.etag:
        request.add_header("If-None-Match", known.etag)
    elif known and known.modified:
        request.add_header("If-Modified-Since", known.modified)
    return request


def _http_reply(response: Any, *, start: int, known: _Stamp | None) -> _Reply:
    headers = response.headers
    length = int(headers["Content-Length"]) if (headers["Content-Length"] or "").isdigit() else None
    begins = 0
    if response.status == 206:
        sent = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers["Content-Range"] or "")
        if sent is None or int(sent[1]) != start:
            raise _Refused("answered with another part than was asked for")
        begins = start
        length = int(sent[2]) if sent[2] != "*" else start + length if length is not None else None
    stamp = _Stamp(headers["ETag"], headers["Last-Modified"], length)
    if begins and known:
        # A partial answer may leave out what the first one said.
        stamp = _Stamp(stamp.etag or known.etag, stamp.modified or known.modified, length or known.length)
    return _Reply(stamp, begins, _http_blocks(response))


def _http_blocks(response: Any) -> Iterator[bytes]:
    try:
        while block := response.read(_BLOCK):
            yield block
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(error) from None


def _http_refusal(error: urllib.error.HTTPError) -> _Refused:
    if error.code in (401, 403):
        return _Refused(f"may not be read (HTTP {error.code}): it needs a login or a valid signature, or has expired")
    if error.code in (404, 410):
        return _Refused(f"does not exist (HTTP {error.code}): check the address")
    wait = error.headers.get("Retry-After", "") if error.headers else ""
    pause = float(wait) if wait.isdigit() else None
    return _Refused(f"was refused by its server (HTTP {error.code})", busy=error.code in _PASSING, pause=pause)


def _unreachable(error: Exception) -> _Refused:
    """Why no answer came, in words that hold no part of the address but what a socket says."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return _Refused("did not answer in time", busy=True)
    if isinstance(error, urllib.error.URLError):
        words = getattr(cause, "strerror", None) or getattr(cause, "verify_message", None) or type(cause).__name__
        return _Unreachable(f"cannot be reached ({words})")
    return _Refused(f"broke off ({getattr(cause, 'strerror', None) or type(cause).__name__})", busy=True)


class _Unreachable(_Refused):
    """There is nobody at the other end: worth another try within a fetch, and none before one."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, busy=True)


@contextmanager
def _opened_s3(address: str, *, start: int, known: _Stamp | None, timeout: float) -> Iterator[_Reply]:
    file = _s3_file(address, timeout=timeout)
    try:
        about = {_text(name).lower(): _text(value) for name, value in (file.metadata() or {}).items()}
        stamp = _Stamp(about.get("etag"), about.get("last-modified"), file.size())
        begins = start if start and known and stamp.is_of(known) else 0
        file.seek(begins)
        yield _Reply(stamp, begins, _s3_blocks(file))
    finally:
        file.close()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _s3_blocks(file: Any) -> Iterator[bytes]:
    try:
        while block := file.read(_S3_BLOCK):
            yield block
    except OSError as error:
        raise _s3_refusal(str(error)) from None


def _s3_file(address: str, *, timeout: float) -> Any:
    """An object opened for reading, with the login of the address, else that of the environment, else without one and,
    where that may not read it, with what the machine itself may.
    """
    from pyarrow import fs

    parts = urlsplit(address)
    key = f"{parts.netloc.rpartition('@')[2]}{parts.path}"
    logins: list[dict[str, Any]] = [{"anonymous": True}, {}]
    if parts.username is not None:
        logins = [{"access_key": unquote(parts.username), "secret_key": unquote(parts.password or "")}]
    elif _has_aws_login():
        logins = [{}]
    options = _s3_options() | {
        "connect_timeout": timeout,
        "request_timeout": timeout,
        "retry_strategy": fs.AwsStandardS3RetryStrategy(max_attempts=1),
    }
    while True:
        try:
            return fs.S3FileSystem(**logins.pop(0), **options).open_input_file(key)
        except FileNotFoundError:
            raise _Refused("does not exist: check bucket, path, endpoint and region") from None
        except OSError as error:
            refusal = _s3_refusal(str(error))
            if refusal.busy or not logins:
                raise refusal from None


def _s3_options() -> dict[str, Any]:
    """Endpoint and region, as the environment sets them."""
    options: dict[str, Any] = {}
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        scheme, _, host = endpoint.rpartition("://")
        options = {"endpoint_override": host.rstrip("/"), "scheme": scheme or "https"}
    if region or endpoint:
        options["region"] = region or "us-east-1"
    return options


def _has_aws_login() -> bool:
    names = ("ACCESS_KEY_ID", "PROFILE", "WEB_IDENTITY_TOKEN_FILE", "CONTAINER_CREDENTIALS_RELATIVE_URI")
    if any(os.environ.get(f"AWS_{name}") for name in names):
        return True
    return Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")).expanduser().is_file()


def _s3_refusal(message: str) -> _Refused:
    if re.search(r"ACCESS_DENIED|FORBIDDEN|HTTP status 40[13]|INVALID_ACCESS_KEY|SIGNATURE_DOES_NOT_MATCH", message):
        return _Refused("may not be read: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE")
    if "NETWORK_CONNECTION" in message or "curlCode" in message:
        return _Unreachable("cannot be reached: check the network, AWS_ENDPOINT_URL and AWS_REGION")
    status = re.search(r"HTTP status (\d+)", message)
    return _Refused(f"was not given by its store (HTTP {status[1]})" if status else "broke off", busy=True)


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


def _begun(folder: Path) -> _Stamp | None:
    """The version that `part` is of."""
    said = _json(folder / _PART_RECORD)
    return _Stamp(**said) if said else None


def _record(folder: Path) -> _Record | None:
    said = _json(folder / _RECORD)
    return _Record(**(said | {"stamp": _Stamp(**said["stamp"])})) if said else None


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
