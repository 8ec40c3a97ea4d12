"""What a step costs above a bare loop, and how soon `greenline steps` answers.

The same feature is done by Greenline and by a bare loop of the same agent, the same test command
and a git commit, in turns within one run, so that both have the same machine. The agent is instant.
Ratios carry over to other machines, absolute times don't.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from overhead import marks
from overhead.bare import BareStep, run_bare
from overhead.command import Greenline, GreenlineRun
from overhead.sample import Sample

AIM_RATIO: Final = 1.15
"""A step of Greenline's against one of the bare loop."""
AIM_STEPS_S: Final = 0.4
"""`greenline steps` with the services up."""


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=_even, default=16, help="steps of the feature (default 16)")
    parser.add_argument("--rounds", type=_some, default=3, help="rounds of both (default 3)")
    parser.add_argument("--commands", type=_some, default=15, help="starts of each command (15)")
    parser.add_argument(
        "--plain", action="store_true", help="a suite without the pytest plugins installed here"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    folder = Path(tempfile.mkdtemp(prefix="greenline-benchmark-"))
    try:
        sample = Sample.make(folder / "sample", options.steps, plugins=not options.plain)
        found = measure(folder, sample, options.rounds, options.commands)
    finally:
        shutil.rmtree(folder)
    print(json.dumps(found, indent=2) if options.json else report(found))


def measure(folder: Path, sample: Sample, rounds: int, commands: int) -> dict[str, Any]:
    """Do everything in a folder; services are down afterwards."""
    greenline = Greenline(folder / "home")
    steps = len(sample.steps)
    ours: list[GreenlineRun] = []
    bare: list[list[BareStep]] = []
    with greenline.up():
        for number in range(1, rounds + 1):
            _note(f"round {number} of {rounds}: {steps} steps with Greenline …")
            ours.append(greenline.run(sample, folder / f"greenline-{number}"))
            _note(f"round {number} of {rounds}: {steps} steps in a bare loop …")
            bare.append(run_bare(sample, folder / f"bare-{number}")[1:])
        _note("where the time goes: once more, with marks …")
        parts = _parts(greenline, sample, folder / "marked")
        _note("commands that read …")
        started = _commands(greenline, folder / "greenline-1" / "repository", commands)
    return {
        "steps": steps,
        "rounds": rounds,
        "step": _compared(ours, bare),
        "parts": parts,
        "run": {
            name: _spread([getattr(run, name) for run in ours])
            for name in ("to_first_attempt", "baseline", "from_last_attempt")
        },
        "commands": started,
        "aims": {"ratio": AIM_RATIO, "greenline_steps_ms": AIM_STEPS_S * 1000},
    }


def _compared(ours: list[GreenlineRun], bare: list[list[BareStep]]) -> dict[str, Any]:
    our_steps = [step for run in ours for step in run.steps]
    bare_steps = [step for steps in bare for step in steps]
    totals = [step.total for step in our_steps], [step.total for step in bare_steps]
    return {
        "ratio": statistics.median(totals[0]) / statistics.median(totals[1]),
        "above_bare_ms": statistics.median(totals[0]) - statistics.median(totals[1]),
        "slowest_ms": {"greenline": max(totals[0]), "bare": max(totals[1])},
        "ratio_by_round": [
            statistics.median(step.total for step in run.steps)
            / statistics.median(step.total for step in steps)
            for run, steps in zip(ours, bare, strict=True)
        ],
        "greenline": {
            "total": _spread(totals[0]),
            "attempt": _spread([step.attempt for step in our_steps]),
            "agent": _spread([step.agent for step in our_steps]),
            "tests": _spread([step.tests for step in our_steps]),
            "rest of the attempt": _spread(
                [step.attempt - step.agent - step.tests for step in our_steps]
            ),
            "between attempts": _spread([step.total - step.attempt for step in our_steps]),
        },
        "bare": {
            "total": _spread(totals[1]),
            "agent": _spread([step.agent for step in bare_steps]),
            "tests": _spread([step.tests for step in bare_steps]),
            "git": _spread([step.git for step in bare_steps]),
        },
    }


def _parts(greenline: Greenline, sample: Sample, folder: Path) -> dict[str, dict[str, float]]:
    repository = sample.repository(folder / "repository")
    out = folder / "parts.json"
    program = (sys.executable, "-m", marks.__name__, str(out))
    places = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    path = {"PYTHONPATH": os.pathsep.join(filter(None, places))}
    greenline("run", str(sample.plan), folder=repository, program=program, environment=path)
    found: dict[str, dict[str, float]] = json.loads(out.read_text(encoding="utf-8"))
    return found


def _commands(greenline: Greenline, folder: Path, times: int) -> dict[str, dict[str, float]]:
    """Start commands in turns; milliseconds from start to exit."""
    commands: dict[str, Callable[[], object]] = {
        "python -c pass": lambda: greenline("-c", "pass", folder=folder, program=[sys.executable]),
        "greenline --help": lambda: greenline("--help", folder=folder),
        "greenline steps": lambda: greenline("steps", folder=folder),
        "greenline steps --json": lambda: greenline("steps", "--json", folder=folder),
    }
    spent: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(times + 1):
        for name, command in commands.items():
            begun = time.perf_counter()
            command()
            if turn > 0:  # the first one brings files into memory
                spent[name].append((time.perf_counter() - begun) * 1000)
    found = {name: _spread(times_of) for name, times_of in spent.items()}
    base = found["python -c pass"]["median"]
    return {name: {**spread, "ratio": spread["median"] / base} for name, spread in found.items()}


def report(found: dict[str, Any]) -> str:
    """What was measured, for people."""
    step, aims, commands = found["step"], found["aims"], found["commands"]
    by_round = ", ".join(f"{ratio:.3f}" for ratio in step["ratio_by_round"])
    reading, slowest = commands["greenline steps"]["median"], step["slowest_ms"]
    return "\n".join(
        (
            f"A step, of {found['steps']} in {found['rounds']} rounds (without each one's first)",
            _row("", "median", "quartiles"),
            *(
                _spread_row(title if name == "total" else f"  {name}", spread)
                for side, title in (("greenline", "Greenline"), ("bare", "bare loop"))
                for name, spread in step[side].items()
            ),
            f"the slowest step: {slowest['greenline']:.0f} ms, bare {slowest['bare']:.0f} ms",
            f"above the bare loop: {step['above_bare_ms']:.0f} ms a step",
            f"ratio of the medians: {step['ratio']:.3f} (by round: {by_round})",
            _verdict(step["ratio"], aims["ratio"]),
            "",
            "Where a step's time goes: one more run, with marks",
            _row("", "mean ms", "largest", "times"),
            *(
                _row(name, f"{one['ms']:.1f}", f"{one['largest']:.1f}", _times(one))
                for name, one in found["parts"].items()
            ),
            "",
            "A run, beside its steps",
            _row("", "median", "quartiles"),
            _spread_row("command to first attempt", found["run"]["to_first_attempt"]),
            _spread_row("  the baseline suite in it", found["run"]["baseline"]),
            _spread_row("last attempt to exit", found["run"]["from_last_attempt"]),
            "",
            "Commands, services up",
            _row("", "median", "quartiles", "ratio"),
            *(_spread_row(name, one, f"{one['ratio']:.1f}") for name, one in commands.items()),
            _verdict(reading, aims["greenline_steps_ms"]),
        )
    )


def _row(name: str, *values: str) -> str:
    widths = (10, 18, 8)
    cells = (f"{value:>{width}}" for value, width in zip(values, widths, strict=False))
    return f"{name:<26}{''.join(cells)}".rstrip()


def _spread_row(name: str, spread: dict[str, float], *more: str) -> str:
    quartiles = f"{spread['lower']:.1f} … {spread['upper']:.1f}"
    return _row(name, f"{spread['median']:.1f}", quartiles, *more)


def _times(part: dict[str, float]) -> str:
    return f"{part['calls']:.1f}" if part["calls"] else ""


def _verdict(value: float, aim: float) -> str:
    return f"the aim, {aim:g}, is {'met' if value <= aim else 'missed'}"


def _spread(values: Sequence[float]) -> dict[str, float]:
    if len(values) < 2:
        return dict.fromkeys(("median", "lower", "upper"), values[0])
    lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": median, "lower": lower, "upper": upper}


def _note(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _some(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"give 1 or more, received {text}")
    return number


def _even(text: str) -> int:
    number = int(text)
    if number < 4 or number % 2:
        raise argparse.ArgumentTypeError(f"give an even number from 4, received {text}")
    return number


if __name__ == "__main__":
    main()
