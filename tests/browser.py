"""A headless Chromium of the system, driven by its DevTools protocol over a WebSocket.

It can reach nothing but the loopback interface: every other name is answered with "not found", and
what a page asked for is kept, so that a test can say that nothing was asked of the outer world.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self
from urllib.parse import urlsplit

from websockets.sync.client import ClientConnection, connect

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_START_S = 60
_ANSWER_S = 60
_WAIT_S = 60
_SWITCHES = (
    "--headless=new",
    "--remote-debugging-port=0",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-gpu",
    "--disable-sync",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    "--force-prefers-reduced-motion",
)


def program() -> str | None:
    """Return the path of a Chromium, None when there is none: `GREENLINE_TEST_BROWSER`, or PATH's."""
    named = os.environ.get("GREENLINE_TEST_BROWSER")
    return named or next(filter(None, map(shutil.which, _PROGRAMS)), None)


class Browser:
    """One page of one browser."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self.asked: list[str] = []
        """The addresses that pages asked for, images and scripts among them."""
        self.said: list[str] = []
        """Uncaught errors of pages."""
        for domain in ("Page", "Runtime", "Network"):
            self.send(f"{domain}.enable")

    @classmethod
    @contextlib.contextmanager
    def started(cls, width: int = 1280, height: int = 900) -> Iterator[Self]:
        """Start a browser with an empty page; it is gone at the end."""
        found = program()
        assert found is not None, "there is no Chromium"
        root = ("--no-sandbox",) if os.geteuid() == 0 else ()  # Chromium's own fence refuses root
        with TemporaryDirectory(prefix="browser", ignore_cleanup_errors=True) as profile:
            command = [
                found, *_SWITCHES, *root, f"--user-data-dir={profile}",
                f"--window-size={width},{height}", "about:blank",
            ]  # fmt: skip
            process = subprocess.Popen(
                command,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={"PATH": os.environ["PATH"], "HOME": profile, "LANG": "C.UTF-8"},
            )
            try:
                with connect(_page_of(process, Path(profile)), max_size=None) as socket:
                    yield cls(socket)
            finally:
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its answer."""
        number = next(self._ids)
        message = {"id": number, "method": method, "params": parameters}
        self._socket.send(json.dumps(message))
        deadline = time.monotonic() + _ANSWER_S
        while True:
            told = json.loads(self._socket.recv(timeout=max(0.1, deadline - time.monotonic())))
            if told.get("id") == number:
                assert "error" not in told, f"{method}: {told['error']}"
                return told["result"]
            self._note(told)

    def _note(self, event: dict[str, Any]) -> None:
        match event.get("method"):
            case "Network.requestWillBeSent":
                self.asked.append(event["params"]["request"]["url"])
            case "Runtime.exceptionThrown":
                self.said.append(json.dumps(event["params"]["exceptionDetails"]))

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression in the page."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    def go(self, address: str) -> None:
        """Open a page; what it shows is to be waited for."""
        self.send("Page.navigate", url=address)

    def text(self) -> str:
        """Return what the page shows, as text."""
        return self.evaluate("document.body ? document.body.innerText : ''") or ""

    def wait(self, expression: str, within_s: float = _WAIT_S) -> Any:
        """Return the first value of an expression that is true to JavaScript and to Python."""
        deadline = time.monotonic() + within_s
        while not (found := self.evaluate(expression)):
            assert time.monotonic() < deadline, (
                f"in vain for {within_s} s: {expression}\nthe page shows:\n{self.text()[:4000]}"
            )
            time.sleep(0.1)
        return found

    def wait_for(self, *texts: str) -> str:
        """Wait until the page shows all of these texts; return all that it shows."""
        for text in texts:
            self.wait(f"document.body && document.body.innerText.includes({json.dumps(text)})")
        return self.text()

    def click(self, text: str) -> None:
        """Click on the innermost element that has exactly this text, once it is there."""
        # Some controls listen to the pointer, others to the click.
        self.wait(
            f"""(() => {{
                const found = [...document.querySelectorAll('body *')]
                    .filter(each => (each.innerText || '').trim() === {json.dumps(text)}).pop();
                if (!found) return false;
                found.scrollIntoView({{block: 'center'}});
                for (const type of ['pointerdown', 'mousedown', 'pointerup', 'mouseup', 'click'])
                    found.dispatchEvent(new MouseEvent(type, {{bubbles: true, cancelable: true}}));
                return true;
            }})()"""
        )

    def picture(self, path: Path) -> None:
        """Write a picture of what is seen, as PNG."""
        answer = self.send("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(answer["data"]))

    def outside(self) -> list[str]:
        """Return what was asked of anything but the loopback interface."""
        inside = ("127.0.0.1", "localhost", None)
        return [each for each in self.asked if urlsplit(each).hostname not in inside]


def _page_of(process: subprocess.Popen[bytes], profile: Path) -> str:
    """Return the WebSocket's address of a browser's page, once it answers."""
    import httpx

    written = profile / "DevToolsActivePort"
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the browser ended with {process.returncode}"
        with contextlib.suppress(OSError, ValueError, httpx.HTTPError):
            port = int(written.read_text().splitlines()[0])
            pages = httpx.get(f"http://127.0.0.1:{port}/json", trust_env=False).json()
            for page in pages:
                if page["type"] == "page":
                    return str(page["webSocketDebuggerUrl"])
        time.sleep(0.05)
    raise AssertionError(f"the browser did not answer within {_START_S} s")
