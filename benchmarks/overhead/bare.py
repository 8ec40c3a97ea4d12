"""The bare loop: the same agent, the same tests, a commit; nothing checked and nothing recorded."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from overhead.sample import Sample, Step, git
from tasks.process import scrubbed_env
from tasks.verify import suite_environment


@dataclass(frozen=True)
class BareStep:
    """Wall-clock milliseconds of one step and of its parts."""

    total: float
    agent: float
    tests: float
    git: float


def run_bare(sample: Sample, folder: Path) -> list[BareStep]:
    """Do the feature in a fresh repository, step by step, in the environment that agents get."""
    repository = sample.repository(folder / "repository")
    home = folder / "home"
    home.mkdir()
    return [_do(sample, step, repository, home) for step in sample.steps]


def _do(sample: Sample, step: Step, repository: Path, home: Path) -> BareStep:
    report = home / "report.xml"
    tests = [word.replace("{report}", str(report)) for word in sample.test_command]
    told = {"GREENLINE_FILE": step.file_path, "GREENLINE_SUBTASK": step.subtask}
    begun = time.perf_counter()
    subprocess.run(
        sample.agent_command,
        cwd=repository,
        env=scrubbed_env(home, extra=told),
        input=b"Write the file.",
        capture_output=True,
        check=True,
    )
    edited = time.perf_counter()
    tested = subprocess.run(
        tests,
        cwd=repository,
        env=suite_environment(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    judged = time.perf_counter()
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", f"{step.subtask}: {step.step_type}")
    done = time.perf_counter()
    if (tested.returncode == 0) != step.green or not report.is_file():
        raise SystemExit(
            f"the sample's suite ended with {tested.returncode} after {step}:\n"
            f"{tested.stdout.decode(errors='replace')[-2_000:]}"
        )
    return BareStep(
        total=(done - begun) * 1000,
        agent=(edited - begun) * 1000,
        tests=(judged - edited) * 1000,
        git=(done - judged) * 1000,
    )
