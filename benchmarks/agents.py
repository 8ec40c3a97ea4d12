"""What Greenline itself takes for an attempt, beside what the agent takes.

    python benchmarks/agents.py [--agents direct,claude,codex,aider] [--json]

Carries the demo's plan out with each agent that is installed, on a scripted model that answers at
once, and reads from the ledger how long agents, test runs and everything else took. The agent's own
start, `<program> --version`, is what no other way of running it could save.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from flows.demo import DEMO_PLAN, build_demo_repository, demo_settings
from tests.acceptance.plans_model import PlansModel
from tests.acceptance.real_agents import KEY, KEY_VARIABLE, PATH, PROGRAMS, in_toml
from tests.acceptance.support import Greenline
from tests.model_server.server import ModelServer

QUERY: Final = (
    "SELECT duration_ms, coalesce((result_json ->> 'agent_ms')::int, 0),"
    " coalesce((result_json ->> 'tests_ms')::int, 0) FROM step_attempts"
    " WHERE status = 'success' ORDER BY number"
)
_STARTS: Final = 3


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", default=",".join(PROGRAMS), help="adapters (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    given = parser.parse_args()
    found = []
    for adapter in given.agents.split(","):
        program = PROGRAMS[adapter]
        if program is not None and shutil.which(program, path=PATH) is None:
            print(f"{adapter}: {program} is not installed", file=sys.stderr)
            continue
        print(f"{adapter} …", file=sys.stderr, flush=True)
        found.append({"agent": adapter, "start_ms": _start_ms(program), **measure(adapter)})
    print(json.dumps(found, indent=2) if given.json else report(found))


def measure(adapter: str) -> dict[str, Any]:
    """Carry the plan out with an agent; return medians over its attempts, in milliseconds."""
    folder = Path(tempfile.mkdtemp(prefix="greenline-bench-"))
    (folder / "home").mkdir()
    greenline = Greenline(folder / "home" / ".greenline")
    repository = build_demo_repository(folder / "sample")
    config = demo_settings(folder / "greenline.toml")
    model = PlansModel(structured=adapter == "direct", repository=repository)
    try:
        with ModelServer(model, api_key=KEY) as server:
            config.write_text(
                f"{config.read_text()}\n[agents.measured]\n{in_toml(adapter)}\n"
                f'base_url = "{server.url}/v1"\napi_key_env = "{KEY_VARIABLE}"\n'
            )
            document = greenline.json(
                "run", DEMO_PLAN, "--repo", repository, "--config", config, "--agent", "measured",
                env={KEY_VARIABLE: KEY, "PATH": PATH}, timeout=900,
            )  # fmt: skip
        rows = greenline.sql(QUERY)
    finally:
        greenline("down")
        shutil.rmtree(folder, ignore_errors=True)
    medians = [statistics.median(column) for column in zip(*rows, strict=True)]
    whole, agent, tests = medians
    own = statistics.median(whole_ms - agent_ms - tests_ms for whole_ms, agent_ms, tests_ms in rows)
    return {
        "status": document["status"],
        "attempts": len(rows),
        "attempt_ms": whole,
        "agent_ms": agent,
        "tests_ms": tests,
        "own_ms": own,
        "own_over_agent": round(own / agent, 3) if agent else None,
    }


def report(found: list[dict[str, Any]]) -> str:
    """The table that people read."""
    head = f"{'':10}{'attempts':>9}{'attempt ms':>12}{'agent ms':>10}{'its start':>11}"
    lines = [f"{head}{'tests ms':>10}{'Greenline ms':>14}{'÷ agent':>9}"]
    for one in found:
        start = "-" if one["start_ms"] is None else f"{one['start_ms']:.0f}"
        ratio = one["own_over_agent"]
        lines.append(
            f"{one['agent']:10}{one['attempts']:9}{one['attempt_ms']:12.0f}{one['agent_ms']:10.0f}"
            f"{start:>11}{one['tests_ms']:10.0f}{one['own_ms']:14.0f}"
            f"{'-' if ratio is None else f'{ratio:.2f}':>9}"
        )
    return "\n".join(lines)


def _start_ms(program: str | None) -> float | None:
    if program is None:
        return None
    taken = []
    for _ in range(_STARTS):
        began = time.perf_counter()
        path = shutil.which(program, path=PATH) or program
        subprocess.run([path, "--version"], capture_output=True, check=True)
        taken.append((time.perf_counter() - began) * 1000)
    return min(taken)


if __name__ == "__main__":
    main()
