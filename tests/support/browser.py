"""Chromium for tests of pages: one process, spoken to over two pipes in its DevTools protocol."""

import base64
import contextlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.support.debian import needed

_ARGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip


class Browser:
    """A page of a running browser. complaints: what the console, the log and exceptions said;
    asked_for: the addresses of all requests."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, os.fdopen(answers, "rb", closefd=False)
        self._number = 0
        self._session = ""
        self.complaints: list[str] = []
        self.asked_for: list[str] = []
        target = self("Target.createTarget", url="about:blank")["targetId"]
        attached = self("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self(f"{domain}.enable")

    def __call__(self, method: str, **params: Any) -> dict[str, Any]:
        """A command, and what it answers; what happened until then is kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            found = self._next()
            if found.get("id") == self._number:
                assert "error" not in found, f"{method}: {found.get('error')}"
                result: dict[str, Any] = found["result"]
                return result

    def _next(self) -> dict[str, Any]:
        raw = bytearray()
        while (byte := self._answers.read(1)) != b"\0":
            assert byte, "the browser is gone"
            raw += byte
        found: dict[str, Any] = json.loads(raw)
        params = found.get("params", {})
        match found.get("method"):
            case "Runtime.consoleAPICalled" | "Runtime.exceptionThrown" | "Log.entryAdded":
                self.complaints.append(json.dumps(params))
            case "Network.requestWillBeSent":
                self.asked_for.append(params["request"]["url"])
        return found

    def open(
        self, page: Path, width: int = 1280, media: str = "screen", scheme: str = "light"
    ) -> None:
        """Show a page so wide, in CSS pixels; scheme: light or dark."""
        self(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=900, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self("Emulation.setEmulatedMedia", media=media, features=[feature])
        self("Page.navigate", url=page.as_uri())
        loaded = (
            "new Promise(done => document.readyState === 'complete' ? done(location.href) : "
            "addEventListener('load', () => done(location.href)))"
        )
        assert self.value(loaded) == page.as_uri()

    def value(self, expression: str) -> Any:
        """What an expression comes to in the page."""
        found = self(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        return found["result"].get("value")

    def pdf(self) -> bytes:
        """The page as it is printed: on the sheets that it asks for."""
        return base64.b64decode(self("Page.printToPDF", preferCSSPageSize=True)["data"])

    def picture(self) -> bytes:
        """The whole page as PNG."""
        size = self("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot: Mapping[str, Any] = self(
            "Page.captureScreenshot", captureBeyondViewport=True, clip=clip
        )
        return base64.b64decode(shot["data"])


@contextlib.contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser for as long as the block; profile: a folder of its own. Skips without chromium."""
    program = needed("chromium")
    (read_commands, commands), (answers, write_answers) = os.pipe(), os.pipe()
    # The protocol wants the descriptors 3 and 4; a plain sh knows none of two digits.
    shell = f'exec "$0" "$@" 200<&{read_commands} 201>&{write_answers} 3<&200 4>&201 200<&- 201>&-'
    running = subprocess.Popen(
        [needed("bash"), "-c", shell, program, *_ARGS, f"--user-data-dir={profile}"],
        pass_fds=(read_commands, write_answers), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(read_commands)
    os.close(write_answers)
    try:
        yield Browser(commands, answers)
    finally:
        os.close(commands)
        running.terminate()
        running.wait(60)
        os.close(answers)
