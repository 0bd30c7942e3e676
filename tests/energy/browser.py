"""A headless Chromium without any package: real keys, clicks and colour schemes over its debugging pipe.

Chromium started with ``--remote-debugging-pipe`` reads commands from file descriptor 3 and writes answers to 4, JSON
ended by a zero byte each (Chrome DevTools Protocol). Every page opened remembers what went wrong on it.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--disable-extensions", "--disable-component-extensions-with-background-pages", "--remote-debugging-pipe",
)  # fmt: skip
PATIENCE_S = 60.0
SHORT = "const $ = (s) => document.querySelector(s), $$ = (s) => [...document.querySelectorAll(s)];"
WIRING = """
import fcntl, os, sys
pipes = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]
for place, pipe in zip((3, 4), pipes): os.dup2(pipe, place)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Puts the two pipes where Chromium looks for them, whatever their numbers were, and becomes Chromium."""
KEYS = {
    "Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowUp": 38,
    "ArrowRight": 39, "ArrowDown": 40,
}  # fmt: skip


def chromium() -> str | None:
    """Return where Chromium is, or None."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """One Chromium; use it as a context, so that it ends with the tests that need it."""

    def __init__(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="chromium-")
        reads, self.to = os.pipe()
        self.back, writes = os.pipe()
        program = chromium()
        assert program is not None
        flags = [*FLAGS, f"--user-data-dir={self.folder}", "about:blank"]
        command = [sys.executable, "-c", WIRING, str(reads), str(writes), program, *flags]
        self.process = subprocess.Popen(
            command, pass_fds=(reads, writes), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, close_fds=True,
            start_new_session=True,
        )  # fmt: skip
        os.close(reads)
        os.close(writes)
        self.number, self.rest = 0, b""
        self.pages: dict[str, Page] = {}

    def __enter__(self) -> Browser:
        """Return the browser, running."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the processes that were started here, and remove what they wrote."""
        try:
            self.call("Browser.close")
            self.process.wait(10)
        except (RuntimeError, OSError, TimeoutError, subprocess.TimeoutExpired):
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self.to)
        os.close(self.back)
        shutil.rmtree(self.folder, ignore_errors=True)

    def call(self, method: str, session: str | None = None, **given: Any) -> dict[str, Any]:
        """Give a command and return its answer."""
        self.number += 1
        message: dict[str, Any] = {"id": self.number, "method": method, "params": given}
        if session:
            message["sessionId"] = session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        return self.until(lambda answer: answer.get("id") == message["id"])

    def until(self, wanted: Any) -> dict[str, Any]:
        """Read messages until one is wanted; the others are told to their page."""
        end = time.monotonic() + PATIENCE_S
        while True:
            while b"\0" in self.rest:
                line, self.rest = self.rest.split(b"\0", 1)
                message = json.loads(line)
                if message.get("sessionId") in self.pages:
                    self.pages[message["sessionId"]].told(message)
                if wanted(message):
                    if "error" in message:
                        raise RuntimeError(str(message["error"]))
                    return message.get("result", message)
            if not select.select([self.back], [], [], max(0.0, end - time.monotonic()))[0]:
                raise TimeoutError(f"no answer from Chromium within {PATIENCE_S} s")
            piece = os.read(self.back, 1 << 20)
            if not piece:
                raise RuntimeError("Chromium ended")
            self.rest += piece

    def open(self, html: str, folder: Path, *, fragment: str = "", width: int = 1280, dark: bool = False,
             scripts: bool = True, print_style: bool = False) -> Page:  # fmt: skip
        """Write a page to a file and open it there, from a file address."""
        file = folder / f"page{self.number}.html"
        file.write_text(html, encoding="utf-8")
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, target, session)
        self.pages[session] = page
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        page.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        page.look(width, dark, print_style)
        page.call("Page.navigate", url=file.as_uri() + fragment)
        self.until(lambda message: message.get("method") == "Page.loadEventFired" and message["sessionId"] == session)
        return page


class Page:
    """An open page: ``errors`` are exceptions, console errors and policy violations, ``requests`` all addresses."""

    def __init__(self, browser: Browser, target: str, session: str) -> None:
        self.browser, self.target, self.session = browser, target, session
        self.errors: list[str] = []
        self.requests: list[str] = []

    def told(self, message: dict[str, Any]) -> None:
        """Remember what the browser says about this page."""
        method, given = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            details = given["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Log.entryAdded" and given["entry"]["level"] in ("error", "warning"):
            self.errors.append(given["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and given["type"] in ("error", "warning", "assert"):
            self.errors.append(str(given["args"]))
        elif method == "Network.requestWillBeSent":
            self.requests.append(given["request"]["url"])

    def call(self, method: str, **given: Any) -> dict[str, Any]:
        """Give a command to this page."""
        return self.browser.call(method, self.session, **given)

    def run(self, script: str) -> Any:
        """Run the body of an async function in the page and return its value; ``$`` and ``$$`` find elements."""
        expression = f"(async () => {{ {SHORT} {script} }})()"
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise AssertionError(details.get("exception", {}).get("description", details["text"]))
        return answer["result"].get("value")

    def look(self, width: int, dark: bool, print_style: bool = False) -> None:
        """Set the width of the window, the colour scheme and the medium."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self.call("Emulation.setEmulatedMedia", media="print" if print_style else "screen", features=features)

    def press(self, key: str, times: int = 1) -> None:
        """Press a key, as a user does."""
        self.call("Page.bringToFront")
        more = {"text": "\r"} if key == "Enter" else {"text": " "} if key == " " else {}
        for _ in range(times):
            for kind in ("keyDown", "keyUp"):
                self.call("Input.dispatchKeyEvent", type=kind, key=key, code="Space" if key == " " else key,
                          windowsVirtualKeyCode=KEYS[key], **(more if kind == "keyDown" else {}))  # fmt: skip

    def hover(self, selector: str) -> None:
        """Move the mouse over the middle of an element."""
        x, y = self._middle(selector)
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, selector: str) -> None:
        """Click the middle of an element."""
        x, y = self._middle(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def _middle(self, selector: str) -> tuple[float, float]:
        self.call("Page.bringToFront")  # input to a page behind waits for seconds
        place = f"const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: 'center'}});"
        box = self.run(f"{place} const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2];")
        return box[0], box[1]

    def screenshot(self, file: Path, *, whole: bool = True) -> None:
        """Write what is seen as a PNG."""
        data = self.call("Page.captureScreenshot", captureBeyondViewport=whole, format="png")["data"]
        file.write_bytes(base64.b64decode(data))

    def close(self) -> None:
        """Close the page."""
        self.browser.call("Target.closeTarget", targetId=self.target)
        del self.browser.pages[self.session]
