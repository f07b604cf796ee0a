"""Headless Chromium over its DevTools protocol, spoken directly: it needs no driver, and a few commands no client."""

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import connect
from websockets.sync.connection import Connection

START_SECONDS = 120.0
ANSWER_SECONDS = 300.0
KEEPING_SECONDS = 1.0
KEYS = {"Enter": {"code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}}
COMPLAINTS = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")


def missing() -> str | None:
    """Why there is no browser to test with, None where there is one."""
    return None if shutil.which("chromium") else "chromium not found (Debian: chromium)"


@dataclass
class Browser:
    """A page in a window."""

    connection: Connection
    sent: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)

    def open(self, page: Path) -> None:
        """Show a file, and wait until it is there.

        Raises:
            RuntimeError: it cannot be shown.
        """
        self.visit(page.resolve().as_uri())

    def visit(self, address: str) -> None:
        """Show what lies at an address, and wait until its own document has loaded."""
        self.events = [event for event in self.events if event["method"] != "Page.loadEventFired"]
        answer = self._send("Page.navigate", url=address)
        if "errorText" in answer:
            raise RuntimeError(f"the browser cannot open {address}: {answer['errorText']}")
        ends = time.monotonic() + ANSWER_SECONDS
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self._receive(ends)

    def reopen(self, page: Path) -> None:
        """Show a file that has stored something a moment ago, which a page finds once the browser has kept it."""
        time.sleep(KEEPING_SECONDS)
        self.open(page)

    def run(self, script: str, *arguments: Any) -> Any:
        """What the body of a function returns, which is given the arguments as `arguments`."""
        called = f"(function () {{ {script} }}).apply(null, {json.dumps(arguments)})"
        answer = self._send("Runtime.evaluate", expression=called, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"the page refused: {json.dumps(answer['exceptionDetails'])}")
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """A key, one of `KEYS`, on what has the focus."""
        self._send("Input.dispatchKeyEvent", type="keyDown", key=key, **KEYS[key])
        self._send("Input.dispatchKeyEvent", type="keyUp", key=key, **KEYS[key])

    def size(self, width: int, height: int, *, scale: float = 1.0) -> None:
        """The size of the page's view in CSS pixels, as on a telephone where it is narrow."""
        self._send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=width < 600,
        )

    def prefer(self, scheme: str) -> None:
        """What the person's system asks for: "light" or "dark"."""
        self._send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self) -> bytes:
        """What the window shows, as PNG."""
        return base64.b64decode(self._send("Page.captureScreenshot", format="png")["data"])

    def logged(self) -> list[str]:
        """What the browser complained of, and what the page wrote to its console, since it was last asked."""
        self.run("return null")  # what was said before it was answered has arrived
        complaints = [json.dumps(event["params"]) for event in self.events if event["method"] in COMPLAINTS]
        self.events = [event for event in self.events if event["method"] not in COMPLAINTS]
        return complaints

    def _send(self, command: str, **parameters: Any) -> Any:
        self.sent += 1
        self.connection.send(json.dumps({"id": self.sent, "method": command, "params": parameters}))
        ends = time.monotonic() + ANSWER_SECONDS
        while (answer := self._receive(ends)) is None or answer["id"] != self.sent:
            pass
        if "error" in answer:
            raise RuntimeError(f"the browser refused {command}: {answer['error']['message']}")
        return answer["result"]

    def _receive(self, ends: float) -> Any:
        """The next answer; None for an event, which is kept."""
        told = json.loads(self.connection.recv(timeout=max(ends - time.monotonic(), 0)))
        if "id" in told:
            return told
        self.events.append(told)
        return None


@contextmanager
def browser(work: Path) -> Iterator[Browser]:
    """A browser of its own, with an empty profile under `work`, that can reach nothing but this machine."""
    profile = work / "profile"
    arguments = [
        "--headless=new",
        "--no-sandbox",
        "--no-first-run",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        "--proxy-server=127.0.0.1:9",  # where nothing listens; addresses of this machine go by no proxy
        "--remote-debugging-port=0",
        f"--user-data-dir={profile}",
    ]
    process = subprocess.Popen(
        ["chromium", *arguments, "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(work)},
    )
    try:
        with connect(_page_of(profile, process), proxy=None, max_size=None, open_timeout=START_SECONDS) as connection:
            opened = Browser(connection)
            for domain in ("Page", "Runtime", "Log"):
                opened._send(f"{domain}.enable")
            yield opened
    finally:
        process.terminate()
        process.wait(timeout=START_SECONDS)


def _page_of(profile: Path, process: subprocess.Popen[bytes]) -> str:
    """The address of the first page's DevTools, once the browser has said at which port they are."""
    said = profile / "DevToolsActivePort"
    ends = time.monotonic() + START_SECONDS
    while time.monotonic() < ends and process.poll() is None:
        if said.is_file() and (lines := said.read_text(encoding="ascii").split()):
            listed = httpx.get(f"http://127.0.0.1:{lines[0]}/json/list", timeout=START_SECONDS, trust_env=False)
            for target in listed.json():
                if target["type"] == "page":
                    return str(target["webSocketDebuggerUrl"])
        time.sleep(0.1)
    raise RuntimeError(f"chromium did not start (exit code {process.poll()})")
