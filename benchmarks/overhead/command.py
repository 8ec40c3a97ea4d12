"""Greenline as its users have it: the command, in a home of its own, with its services up."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row

from overhead.sample import Sample

OURS: Final = ("GREENLINE_", "PREFECT_", "GIT_")
PROGRAM: Final = Path(sys.executable).with_name("greenline")

_ATTEMPTS = """
    SELECT a.started_at, a.completed_at, a.duration_ms, a.status,
           (a.result_json ->> 'agent_ms')::int AS agent_ms,
           (a.result_json ->> 'tests_ms')::int AS tests_ms
      FROM step_attempts a
     WHERE a.run_id = %s
     ORDER BY a.completed_at
"""


@dataclass(frozen=True)
class GreenlineStep:
    """Milliseconds of one step, from the end of the one before to its own, by the ledger.

    Attributes:
        attempt: the attempt's own duration; before it lies what Greenline does between attempts.
        agent: the agent's program.
        tests: the test command.
    """

    total: float
    attempt: float
    agent: float
    tests: float


@dataclass(frozen=True)
class GreenlineRun:
    """One `greenline run`.

    Attributes:
        steps: all but the first, which nothing precedes.
        to_first_attempt: ms from the command's start to the first attempt.
        baseline: ms of that which the first run of the suite took.
        from_last_attempt: ms from the last attempt's end to the command's exit.
    """

    steps: tuple[GreenlineStep, ...]
    to_first_attempt: float
    baseline: float
    from_last_attempt: float


class Greenline:
    """The command line in a home of its own."""

    def __init__(self, home: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        self.environment = {**kept, "GREENLINE_HOME": str(home)}

    def __call__(
        self,
        *words: str,
        folder: Path | None = None,
        program: Sequence[str] = (str(PROGRAM),),
        environment: Mapping[str, str] | None = None,
    ) -> str:
        """Run a command and return what it prints; one that fails ends the benchmark."""
        done = subprocess.run(
            [*program, *words],
            cwd=folder,
            env={**self.environment, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise SystemExit(
                f"`greenline {' '.join(words)}` ended with exit code {done.returncode}:\n"
                f"{done.stdout[-2_000:]}{done.stderr[-4_000:]}"
            )
        return done.stdout

    @contextmanager
    def up(self) -> Iterator[None]:
        """Keep the services up; whatever happens, they are down afterwards."""
        try:
            self("up", "--no-worker")
            yield
        finally:
            self("down")

    def run(self, sample: Sample, folder: Path) -> GreenlineRun:
        """Run the sample's plan on a fresh repository and read from the ledger how long it took."""
        repository = sample.repository(folder / "repository")
        url = self("ledger", "url").strip()
        begun = time.time()
        said = self("run", str(sample.plan), "--json", folder=repository)
        ended = time.time()
        return _read_run(url, json.loads(said), len(sample.steps), begun, ended)


def _read_run(
    url: str, document: Mapping[str, Any], planned: int, begun: float, ended: float
) -> GreenlineRun:
    run_id = document["run_id"]
    with psycopg.connect(url, row_factory=dict_row) as connection:
        attempts = connection.execute(_ATTEMPTS, [run_id]).fetchall()
        baseline = connection.execute(
            "SELECT duration_ms FROM verifications WHERE run_id = %s AND kind = 'baseline'",
            [run_id],
        ).fetchone()
    if len(attempts) != planned or any(one["status"] != "success" for one in attempts):
        found = [one["status"] for one in attempts]
        raise SystemExit(f"{planned} steps were to succeed at once; the ledger has {found}")
    return GreenlineRun(
        steps=tuple(
            GreenlineStep(
                total=_ms(after["completed_at"] - before["completed_at"]),
                attempt=after["duration_ms"],
                agent=after["agent_ms"],
                tests=after["tests_ms"],
            )
            for before, after in itertools.pairwise(attempts)
        ),
        to_first_attempt=attempts[0]["started_at"].timestamp() * 1000 - begun * 1000,
        baseline=float(baseline["duration_ms"]) if baseline else 0.0,
        from_last_attempt=ended * 1000 - attempts[-1]["completed_at"].timestamp() * 1000,
    )


def _ms(span: dt.timedelta) -> float:
    return span / dt.timedelta(milliseconds=1)
