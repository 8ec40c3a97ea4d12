"""Where the time of a step goes: the `greenline` command with marks around its parts.

Run as a program in place of the command: `marks.py OUT WORD…`. Work goes on in threads, one at a
time; each mark counts the time inside it without what inner marks count. What no mark covers
between the ends of the first and the last attempt is Prefect's and the event loop's.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final

#: What is measured: (part, where, name). A mark inside another takes its time away from that one.
MARKS: Final = (
    ("agent", "tasks.agents.command", "run_guarded"),
    ("tests", "tasks.verify", "run_guarded"),
    ("git", "tasks.git:Git", "call"),
    ("manifest, sandbox", "tasks.sandbox:Sandbox", "manifest"),
    ("manifest, sandbox", "tasks.sandbox:Sandbox", "examine"),
    ("manifest, sandbox", "tasks.sandbox:Sandbox", "clean_after_tests"),
    ("manifest, sandbox", "tasks.sandbox:Sandbox", "commit"),
    ("manifest, sandbox", "tasks.sandbox:Sandbox", "advance"),
    ("gates, context", "tasks.attempt", "attempt_step"),
    ("gates, context", "tasks.workstream", "stand"),
    ("gates, context", "tasks.workstream", "enter_step"),
    ("gates, context", "tasks.workstream", "review"),
)
LEDGER: Final = "ledger"
PREFECT: Final = "Prefect, between"
PARTS: Final = (*dict.fromkeys(part for part, _, _ in MARKS), LEDGER, PREFECT)


class Clock:
    """Adds up the time inside marks, by part."""

    def __init__(self) -> None:
        self.spent: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.ends: list[tuple[float, Counter[str], Counter[str]]] = []
        self._inner = threading.local()

    @contextmanager
    def mark(self, part: str) -> Iterator[None]:
        """Count the time inside as that part's."""
        stack: list[float] = self._inner.__dict__.setdefault("stack", [])
        begun = time.perf_counter()
        stack.append(0.0)
        try:
            yield
        finally:
            whole = time.perf_counter() - begun
            self.spent[part] += whole - stack.pop()  # type: ignore[assignment]  # seconds
            self.calls[part] += 1
            if stack:
                stack[-1] += whole

    def attempt_ended(self) -> None:
        """Note where everything stands at an attempt's end."""
        self.ends.append((time.perf_counter(), self.spent.copy(), self.calls.copy()))

    def per_step(self) -> dict[str, dict[str, float]]:
        """Each part's mean and largest ms, and its mean number, from one attempt's end to the next.

        The first attempt is left out: nothing precedes it.
        """
        steps = [self._between(before, after) for before, after in itertools.pairwise(self.ends)]
        calls_before, calls = self.ends[0][2], self.ends[-1][2]
        return {
            part: {
                "ms": sum(step[part] for step in steps) / len(steps),
                "largest": max(step[part] for step in steps),
                "calls": (calls[part] - calls_before[part]) / len(steps),
            }
            for part in PARTS
        }

    @staticmethod
    def _between(
        before: tuple[float, Counter[str], Counter[str]],
        after: tuple[float, Counter[str], Counter[str]],
    ) -> dict[str, float]:
        """Each part's milliseconds between two ends; Prefect's is what no mark covers."""
        found = {part: (after[1][part] - before[1][part]) * 1000 for part in PARTS}
        found[PREFECT] = (after[0] - before[0]) * 1000 - sum(found.values())
        return found


def install(clock: Clock) -> None:
    """Put the marks in place."""
    for part, where, name in MARKS:
        module, _, inner = where.partition(":")
        owner: Any = importlib.import_module(module)
        owner = getattr(owner, inner) if inner else owner
        done = clock.attempt_ended if name == "attempt_step" else None
        setattr(owner, name, _marked(clock, part, getattr(owner, name), done))
    database: Any = importlib.import_module("storage.database").Database
    database.transaction = _marked_transaction(clock, database.transaction)


def _marked(
    clock: Clock, part: str, function: Callable[..., Any], done: Callable[[], None] | None
) -> Callable[..., Any]:
    @functools.wraps(function)
    def inside(*arguments: Any, **options: Any) -> Any:
        with clock.mark(part):
            result = function(*arguments, **options)
        if done is not None:
            done()
        return result

    return inside


def _marked_transaction(
    clock: Clock, transaction: Callable[[Any], AbstractContextManager[Any]]
) -> Callable[[Any], AbstractContextManager[Any]]:
    @contextmanager
    def inside(database: Any) -> Iterator[Any]:
        with clock.mark(LEDGER), transaction(database) as ledger:
            yield ledger

    return inside


def main() -> None:
    """Run the command with marks, and write what they counted."""
    out, *words = sys.argv[1:]
    clock = Clock()
    install(clock)
    from flows.cli import main as greenline  # noqa: PLC0415 - after the marks

    sys.argv = ["greenline", *words]
    try:
        greenline()
    finally:
        if len(clock.ends) > 1:
            Path(out).write_text(json.dumps(clock.per_step()), encoding="utf-8")


if __name__ == "__main__":
    main()
