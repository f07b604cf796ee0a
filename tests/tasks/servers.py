"""Servers of the tests' own, on this machine: an owner of a file, as well behaved as a test wants it."""

import io
import re
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Owner:
    """What a server offers and how it behaves; `heard` are the requests that it got.

    files: path → bytes; etag: None for no validators; ranges: does it resume; faults: for each coming request a
    status to answer with, or how many bytes to send before the line is cut; wait: seconds before each answer;
    moved: path → where it points to; lengths: does it say how long a file is.
    """

    files: dict[str, bytes]
    etag: str | None = '"one"'
    ranges: bool = True
    conditions: bool = True
    lengths: bool = True
    wait: float = 0.0
    faults: list[int] = field(default_factory=list)
    moved: dict[str, str] = field(default_factory=dict)
    heard: list[Any] = field(default_factory=list)
    address: str = ""


@contextmanager
def serving(owner: Owner) -> Iterator[Owner]:
    """Serve until the end; `owner.address` is http://127.0.0.1:PORT."""

    class Handler(_Handler):
        offered = owner

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    owner.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield owner
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def archive(files: dict[str, bytes]) -> bytes:
    """A ZIP archive of these files, by name."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as written:
        for name, content in files.items():
            written.writestr(name, content)
    return packed.getvalue()


class _Handler(BaseHTTPRequestHandler):
    offered: Owner

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: `heard` is the record."""

    def _answer(self) -> None:
        owner = self.offered
        headers = {name.lower(): value for name, value in self.headers.items()}
        owner.heard.append({"method": self.command, "path": self.path, **headers})
        time.sleep(owner.wait)
        fault = owner.faults.pop(0) if owner.faults else None
        path = self.path.split("?")[0]
        if fault is not None and fault in (401, 403, 416, 500, 503):
            return self._refuse(fault)
        if path in owner.moved:
            self.send_response(302)
            self.send_header("Location", owner.moved[path])
            self.send_header("Content-Length", "0")
            return self.end_headers()
        if path not in owner.files:
            return self._refuse(404)
        return self._send(owner.files[path], cut=fault)

    def _refuse(self, status: int) -> None:
        self.send_response(status)
        if status == 503:
            self.send_header("Retry-After", "0")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, content: bytes, *, cut: int | None) -> None:
        owner, headers = self.offered, self.headers
        if owner.conditions and owner.etag and headers["If-None-Match"] == owner.etag:
            self.send_response(304)
            return self.end_headers()
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", headers["Range"] or "")
        same = headers["If-Range"] in (None, owner.etag)
        start, end = 0, len(content)
        if owner.ranges and wanted and same:
            start = int(wanted[1])
            end = min(int(wanted[2]) + 1, end) if wanted[2] else end
            if start >= len(content):
                return self._refuse(416)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(content)}")
        else:
            self.send_response(200)
        if owner.etag:
            self.send_header("ETag", owner.etag)
            self.send_header("Last-Modified", "Thu, 01 Jan 2015 00:00:00 GMT")
        if owner.lengths:
            self.send_header("Content-Length", str(end - start))
        self.end_headers()
        if self.command == "GET":
            part = content[start:end]
            # Who asks may have heard enough.
            with suppress(ConnectionError):
                self.wfile.write(part if cut is None else part[:cut])
        self.close_connection = True
        return None
