"""Headless Chromium over the WebDriver protocol (W3C), spoken directly: a few requests need no client library."""

import base64
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

START_SECONDS = 60.0
NEEDED = ("chromium", "chromedriver")


def missing() -> str | None:
    """Why there is no browser to test with, None where there is one."""
    absent = [name for name in NEEDED if shutil.which(name) is None]
    return f"{' and '.join(absent)} not found (Debian: chromium, chromium-driver)" if absent else None


@dataclass(frozen=True)
class Browser:
    """A page in a window."""

    client: httpx.Client
    session: str

    def open(self, page: Path) -> None:
        self._send("url", url=page.resolve().as_uri())

    def run(self, script: str, *arguments: Any) -> Any:
        """What the script returns."""
        return self._send("execute/sync", script=script, args=list(arguments))

    def press(self, key: str) -> None:
        """A key on what has the focus."""
        steps = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self._send("actions", actions=[{"type": "key", "id": "keys", "actions": steps}])

    def size(self, width: int, height: int, *, scale: float = 1.0) -> None:
        """The size of the page's view in CSS pixels, as on a telephone where it is narrow."""
        self._devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=width < 600,
        )

    def prefer(self, scheme: str) -> None:
        """What the person's system asks for: "light" or "dark"."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._devtools("Emulation.setEmulatedMedia", features=features)

    def screenshot(self) -> bytes:
        """What the window shows, as PNG."""
        with_data: str = self._get("screenshot")
        return base64.b64decode(with_data)

    def logged(self) -> list[str]:
        """What the browser complained of since it was last asked."""
        return [str(entry["message"]) for entry in self._send("se/log", type="browser")]

    def _devtools(self, command: str, **parameters: Any) -> None:
        self._send("goog/cdp/execute", cmd=command, params=parameters)

    def _send(self, command: str, **body: Any) -> Any:
        return _value(self.client.post(f"/session/{self.session}/{command}", json=body))

    def _get(self, command: str) -> Any:
        return _value(self.client.get(f"/session/{self.session}/{command}"))


@contextmanager
def browser(work: Path) -> Iterator[Browser]:
    """A browser of its own, with an empty profile under `work`, that can reach no network."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    driver = subprocess.Popen(
        ["chromedriver", f"--port={port}", f"--log-path={work / 'driver.log'}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(work)},
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=START_SECONDS, trust_env=False) as client:
            _wait_for(client)
            arguments = [
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--hide-scrollbars",
                "--proxy-server=127.0.0.1:9",
                f"--user-data-dir={work / 'profile'}",
            ]
            wanted = {
                "browserName": "chrome",
                "goog:chromeOptions": {"args": arguments, "binary": shutil.which("chromium")},
                "goog:loggingPrefs": {"browser": "ALL"},
            }
            started = _value(client.post("/session", json={"capabilities": {"alwaysMatch": wanted}}))
            session = str(started["sessionId"])
            try:
                yield Browser(client, session)
            finally:
                client.delete(f"/session/{session}")
    finally:
        driver.terminate()
        driver.wait(timeout=START_SECONDS)


def _wait_for(client: httpx.Client) -> None:
    ends = time.monotonic() + START_SECONDS
    while True:
        try:
            if _value(client.get("/status"))["ready"]:
                return
        except httpx.TransportError:
            if time.monotonic() > ends:
                raise
        time.sleep(0.1)


def _value(response: httpx.Response) -> Any:
    value = response.json()["value"]
    if isinstance(value, dict) and "error" in value:
        raise RuntimeError(f"the browser refused: {value['error']}: {value['message']}")
    return value
