"""Take the pictures of docs/ui.md: real runs in the real UI, by a Chromium of the system.

Run it as `make screenshots`. It works in a home of its own, which it removes.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.acceptance.scripted import SUB, TEST_SUB, Project, step, subtask
from tests.acceptance.support import Greenline
from tests.browser import Browser, program

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
_DRAWN_S = 3
"""How long the timeline takes to be drawn; nothing in the page tells that it is."""


def main() -> None:
    """Run the demo and a run that asks, and take the pictures."""
    if program() is None:
        sys.exit("there is no Chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory(prefix="screenshots") as folder:
        greenline = Greenline(Path(folder) / "home")
        try:
            address = greenline.json("up", "--no-worker")["ui"]
            demo = greenline.json("demo")
            asking = _asking(greenline, Path(folder) / "asking")
            with Browser.started(1200, 850) as browser:
                _take(browser, address, demo, asking)
        finally:
            greenline("down")


def _asking(greenline: Greenline, folder: Path) -> dict[str, Any]:
    """Return the document of a run that waits for a person."""
    project = Project(greenline, folder, rest="[limits]\non_stuck = 'ask'\nattempts = 1\n")
    wrong = SUB.replace("a - b", "b - a")
    steps = (
        step("test", "tests/test_sub.py", f"write({TEST_SUB!r})"),
        step("implementation", "calc.py", f"append({wrong!r})"),
    )
    return project.run(subtask("subtraction", *steps), ok=(3,))


def _take(browser: Browser, address: str, demo: dict[str, Any], asking: dict[str, Any]) -> None:
    browser.go(f"{address}/runs/flow-run/{demo['prefect_flow_run_id']}")
    browser.wait_for("Invoices")
    browser.click("Artifacts")
    browser.wait_for("9 of 9 steps done")
    time.sleep(_DRAWN_S)
    browser.picture(IMAGES / "ui-run.png")
    for document, kind, text in (
        (demo, "failed", "What it had changed"),
        (asking, "question", "Try the step again"),
    ):
        shown = _artifact(address, document["prefect_flow_run_id"], kind)
        browser.go(f"{address}/artifacts/artifact/{shown}")
        browser.wait_for(text)
        time.sleep(_DRAWN_S)
        browser.picture(IMAGES / f"ui-{'failed-attempt' if kind == 'failed' else kind}.png")


def _artifact(address: str, flow_run_id: str, kind: str) -> str:
    """Return the id of a flow run's artifact of that kind."""
    wanted = {"flow_runs": {"id": {"any_": [flow_run_id]}}}
    found = httpx.post(f"{address}/api/artifacts/filter", json=wanted, timeout=60).json()
    return next(each["id"] for each in found if each["key"].startswith(kind))


if __name__ == "__main__":
    main()
