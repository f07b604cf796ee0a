"""A remote file's bytes, over http, https and s3: from any byte on, and only where they are others than those known.

Users and passwords of addresses are used to ask for the file and said nowhere.
"""

import base64
import http.client
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from tasks.sources.addresses import scheme_of

_BLOCK = 1 << 20
_S3_BLOCK = 8 << 20
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_AGENT = "rec-denoiser"


@dataclass(frozen=True)
class Stamp:
    """What tells one version of a remote file from another."""

    etag: str | None = None
    modified: str | None = None
    length: int | None = None

    def is_of(self, other: "Stamp") -> bool:
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


class Refused(Exception):
    """Why a file could not be had, as what follows its address in a sentence. `busy`: another try may succeed."""

    def __init__(self, reason: str, *, busy: bool = False, pause: float | None = None) -> None:
        super().__init__(reason)
        self.busy = busy
        self.pause = pause


class Unreachable(Refused):
    """There is nobody at the other end: worth another try within a fetch, and none before one."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, busy=True)


@dataclass(frozen=True)
class Reply:
    """A remote file's bytes from `start` on. `unchanged`: the known version is still the owner's, nothing follows."""

    stamp: Stamp
    start: int
    blocks: Iterator[bytes]
    unchanged: bool = False


@contextmanager
def opened(address: str, *, start: int, known: Stamp | None, timeout: float) -> Iterator[Reply]:
    """Ask for the file at an http, https or s3 `address` from byte `start` of the version `known` on; from 0 on, only
    if it is another than `known`. `timeout`: seconds, for each answer.

    The reply may begin at 0 all the same. Raises `Refused`.
    """
    opened_there = _opened_s3 if scheme_of(address) == "s3" else _opened_http
    with opened_there(address, start=start, known=known, timeout=timeout) as reply:
        yield reply


@contextmanager
def _opened_http(address: str, *, start: int, known: Stamp | None, timeout: float) -> Iterator[Reply]:
    try:
        response = urllib.request.urlopen(_request(address, start=start, known=known), timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 304 and known:
            yield Reply(known, 0, iter(()), unchanged=True)
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


def _request(address: str, *, start: int, known: Stamp | None) -> urllib.request.Request:
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


def _http_reply(response: Any, *, start: int, known: Stamp | None) -> Reply:
    headers = response.headers
    length = int(headers["Content-Length"]) if (headers["Content-Length"] or "").isdigit() else None
    begins = 0
    if response.status == 206:
        sent = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers["Content-Range"] or "")
        if sent is None or int(sent[1]) != start:
            raise Refused("answered with another part than was asked for")
        begins = start
        length = int(sent[2]) if sent[2] != "*" else start + length if length is not None else None
    stamp = Stamp(headers["ETag"], headers["Last-Modified"], length)
    if begins and known:
        # A partial answer may leave out what the first one said.
        stamp = Stamp(stamp.etag or known.etag, stamp.modified or known.modified, length or known.length)
    return Reply(stamp, begins, _http_blocks(response))


def _http_blocks(response: Any) -> Iterator[bytes]:
    try:
        while block := response.read(_BLOCK):
            yield block
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(error) from None


def _http_refusal(error: urllib.error.HTTPError) -> Refused:
    if error.code in (401, 403):
        return Refused(f"may not be read (HTTP {error.code}): it needs a login or a valid signature, or has expired")
    if error.code in (404, 410):
        return Refused(f"does not exist (HTTP {error.code}): check the address")
    wait = error.headers.get("Retry-After", "") if error.headers else ""
    pause = float(wait) if wait.isdigit() else None
    return Refused(f"was refused by its server (HTTP {error.code})", busy=error.code in _PASSING, pause=pause)


def _unreachable(error: Exception) -> Refused:
    """Why no answer came, in words that hold no part of the address but what a socket says."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return Refused("did not answer in time", busy=True)
    if isinstance(error, urllib.error.URLError):
        words = getattr(cause, "strerror", None) or getattr(cause, "verify_message", None) or type(cause).__name__
        return Unreachable(f"cannot be reached ({words})")
    return Refused(f"broke off ({getattr(cause, 'strerror', None) or type(cause).__name__})", busy=True)


@contextmanager
def _opened_s3(address: str, *, start: int, known: Stamp | None, timeout: float) -> Iterator[Reply]:
    file = _s3_file(address, timeout=timeout)
    try:
        about = {_text(name).lower(): _text(value) for name, value in (file.metadata() or {}).items()}
        stamp = Stamp(about.get("etag"), about.get("last-modified"), file.size())
        begins = start if start and known and stamp.is_of(known) else 0
        file.seek(begins)
        yield Reply(stamp, begins, _s3_blocks(file))
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
            raise Refused("does not exist: check bucket, path, endpoint and region") from None
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


def _s3_refusal(message: str) -> Refused:
    if re.search(r"ACCESS_DENIED|FORBIDDEN|HTTP status 40[13]|INVALID_ACCESS_KEY|SIGNATURE_DOES_NOT_MATCH", message):
        return Refused("may not be read: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE")
    if "NETWORK_CONNECTION" in message or "curlCode" in message:
        return Unreachable("cannot be reached: check the network, AWS_ENDPOINT_URL and AWS_REGION")
    status = re.search(r"HTTP status (\d+)", message)
    return Refused(f"was not given by its store (HTTP {status[1]})" if status else "broke off", busy=True)
