"""A real Chromium without a window, told by its DevTools protocol over two pipes: what a page looks like, and on
paper."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.required import program

PATIENCE = 30  # seconds for an answer
OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # root has none
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-extensions",
    "--disable-background-networking",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)


class Browser:
    """One tab of a browser that can reach nothing but files."""

    def __init__(self, process: subprocess.Popen[bytes], to: int, back: int) -> None:
        self._process, self._to, self._back = process, to, back
        self._rest, self._number = b"", 0
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._session: str | None = None
        target = self.tell("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.tell("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.tell(f"{domain}.enable")

    def tell(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command, and wait for its answer; what is told meanwhile is kept."""
        self._number += 1
        number, session = self._number, {} if self._session is None else {"sessionId": self._session}
        data = json.dumps({"id": number, "method": method, "params": parameters, **session}).encode() + b"\0"
        while data:
            data = data[os.write(self._to, data) :]
        while (found := self._read()).get("id") != number:
            self._hear(found)
        assert "error" not in found, (method, found["error"])
        return found["result"]

    def _read(self) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._back], [], [], max(end - time.monotonic(), 0))
            assert ready, "the browser does not answer"
            data = os.read(self._back, 1 << 20)
            assert data, f"the browser has ended: {self._process.poll()}"
            self._rest += data
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)

    def _hear(self, event: dict[str, Any]) -> None:
        method, told = event.get("method"), event.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        if method == "Log.entryAdded":
            self.complaints.append(told["entry"]["text"])
        if method == "Runtime.exceptionThrown":
            self.complaints.append(str(told["exceptionDetails"]))
        if method == "Page.javascriptDialogOpening":
            self.complaints.append(f"dialog: {told['message']}")
            self._number += 1

    def open(self, file: Path, *, width: int = 1280, dark: bool = False, mobile: bool = False) -> None:
        """Show a file."""
        self.requests, self.complaints = [], []
        scale = 2 if mobile else 1
        self.tell("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=scale, mobile=mobile)
        scheme = "dark" if dark else "light"
        self.tell("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.tell("Page.navigate", url=file.resolve().as_uri())
        deadline = time.monotonic() + PATIENCE
        while self.evaluate("document.readyState") != "complete":
            assert time.monotonic() < deadline, "the page does not load"

    def evaluate(self, script: str) -> Any:
        """The value of an expression, of a promise what it comes to."""
        found = self.tell("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def picture(self, *, whole: bool = False, clip: dict[str, float] | None = None) -> bytes:
        """A PNG of what is seen, or of the whole page."""
        if whole and clip is None:
            size = self.tell("Page.getLayoutMetrics")["cssContentSize"]
            clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 16000), "scale": 1}
        options = {} if clip is None else {"clip": {"scale": 1, **clip}, "captureBeyondViewport": True}
        return base64.b64decode(self.tell("Page.captureScreenshot", format="png", **options)["data"])

    def paper(self) -> bytes:
        """A PDF of the page, as it is printed."""
        told = self.tell("Page.printToPDF", preferCSSPageSize=True, printBackground=False, displayHeaderFooter=False)
        return base64.b64decode(told["data"])


@contextlib.contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser that ends with the block. profile: an empty directory of its own."""
    command = program("chromium") or "chromium"
    (its_in, to), (back, its_out) = os.pipe(), os.pipe()
    redirected = f'exec "$@" 3<&{its_in} 4>&{its_out}'
    process = subprocess.Popen(
        ["bash", "-c", redirected, "bash", command, *OPTIONS, f"--user-data-dir={profile}"],
        pass_fds=(its_in, its_out),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(its_in)
    os.close(its_out)
    try:
        yield Browser(process, to, back)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()
        os.close(to)
        os.close(back)
