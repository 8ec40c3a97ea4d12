"""What the fence costs: a program that does nothing, and an attempt's agent and suite, in turns.

With and without the fence, and with the door through which an agent reaches its model, within one
run. Differences carry over to other machines roughly, absolute times don't.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tasks.fence import Fence
from tasks.fence.available import Unavailable, bubblewrap
from tasks.process import ProcessResult, run_guarded, scrubbed_env
from tasks.verify import suite_environment

AIM_MS: Final = 60.0
"""What the fence may add to an attempt: one agent with a door, one run of the suite."""
_TEST: Final = "def test_it():\n    assert True\n"


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30, help="rounds of each (default 30)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    found = bubblewrap()
    if isinstance(found, Unavailable):
        raise SystemExit(f"there can be no fence here: {found.why}; {found.mend}")
    folder = Path(tempfile.mkdtemp(prefix="greenline-benchmark-"))
    try:
        os.environ["GREENLINE_HOME"] = str(folder / "home")
        measured = measure(folder, Fence(found), options.rounds)
    finally:
        shutil.rmtree(folder)
    print(json.dumps(measured, indent=2) if options.json else report(measured))


def measure(folder: Path, fence: Fence, rounds: int) -> dict[str, Any]:
    """Run each program in turns without, with, and with a door; medians in milliseconds."""
    work, home = folder / "home/sandboxes/r/main", folder / "home/sandboxes/r/scratch"
    work.mkdir(parents=True)
    home.mkdir()
    (work / "test_it.py").write_text(_TEST)
    around = fence.opened(work, home)
    suite = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        door = fence.opened(work, home, port=proxy.getsockname()[1])

        def run(argv: list[str], within: Fence | None) -> Callable[[], ProcessResult]:
            env = suite_environment(home) if argv is suite else scrubbed_env(home)
            return lambda: run_guarded(argv, cwd=work, env=env, timeout_s=120, fence=within)

        ways = {
            "nothing": run(["true"], None),
            "nothing, fenced": run(["true"], around),
            "nothing, fenced with a door": run(["true"], door),
            "a suite of one test": run(suite, None),
            "a suite of one test, fenced": run(suite, around),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(rounds + 1):
            for name, way in ways.items():
                begun = time.perf_counter()
                done = way()
                took = (time.perf_counter() - begun) * 1000
                if done.exit_code != 0:
                    raise SystemExit(f"{name} ended with {done.exit_code}: {done.stderr}")
                if number:  # the first one looks for tools
                    times[name].append(took)
    medians = {name: round(statistics.median(each), 1) for name, each in times.items()}
    agent = medians["nothing, fenced with a door"] - medians["nothing"]
    tests = medians["a suite of one test, fenced"] - medians["a suite of one test"]
    return {
        "median_ms": medians,
        "an_agent_ms": round(agent, 1),
        "a_suite_ms": round(tests, 1),
        "an_attempt_ms": round(agent + tests, 1),
        "aim_ms": AIM_MS,
    }


def report(measured: dict[str, Any]) -> str:
    """Return what was measured as a table for people."""
    lines = [f"{name:32}{value:9.1f} ms" for name, value in measured["median_ms"].items()]
    lines.append(
        f"the fence costs an attempt {measured['an_attempt_ms']:.1f} ms "
        f"({measured['an_agent_ms']:.1f} its agent, {measured['a_suite_ms']:.1f} its suite); "
        f"aim: {measured['aim_ms']:.0f} ms"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
