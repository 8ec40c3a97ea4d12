"""What a run looks like in Prefect's UI, made of the ledger's rows. Pure.

A sheet is an artifact that has yet to be written. Its key is the same for the same thing, so that
the UI keeps versions together: a run's progress and steps, a step's failed attempts, a question.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Any, Final, Literal

from flows.artifacts.markdown import block, code, facts, one_line, page, words
from storage.queries import StepSummary

MOST_ROWS: Final = 500
"""How many steps a table shows; of a longer plan those that say most."""
_SHOWN_FAILURES: Final = 20
_ASKED: Final = "waits for a person"


@dataclass(frozen=True)
class Sheet:
    """An artifact to be.

    Attributes:
        key: lower-case letters, digits and dashes.
        kind: what the UI draws.
        data: Markdown, a table as JSON, or a percentage.
        description: one line of Markdown.
    """

    key: str
    kind: Literal["markdown", "table", "progress"]
    data: str | float
    description: str = ""


def run_key(run_id: str) -> str:
    """Return what tells a run's keys from those of others: the beginning of its id."""
    return run_id[:18]


def progress(
    run_id: str, steps: Sequence[StepSummary], asked: Collection[int | None] = ()
) -> Sheet:
    """Return how much of a run is done.

    Args:
        run_id: the run.
        steps: its steps.
        asked: the ids of the steps that a person is asked about.
    """
    done = sum(step["status"] == "completed" for step in steps)
    going = [step for step in steps if _under_way(step)]
    told = [f"{done} of {len(steps)} steps done"]
    told += [f"at {words(named(step))}" for step in going[:3]]
    if len(going) > 3:
        told.append(f"and {len(going) - 3} more")
    for status in ("failed", _ASKED):
        if count := sum(_status(step, asked) == status for step in steps):
            told.append(f"{count} {status}")
    share = 100 * done / len(steps) if steps else 100.0
    return Sheet(f"progress-{run_key(run_id)}", "progress", round(share, 1), ", ".join(told))


def table(run_id: str, steps: Sequence[StepSummary], asked: Collection[int | None] = ()) -> Sheet:
    """Return a run's steps as a table.

    Args:
        run_id: the run.
        steps: its steps.
        asked: the ids of the steps that a person is asked about.
    """
    shown = _telling(steps)
    left = len(steps) - len(shown)
    rows = [_row(number, step, _status(step, asked)) for number, step in shown]
    more = f" {left} steps of {len(steps)} are left out here." if left else ""
    told = f"The steps of run {run_id}.{more} In a terminal: greenline steps {run_id[:13]}"
    return Sheet(f"steps-{run_key(run_id)}", "table", json.dumps(rows), told)


def _telling(steps: Sequence[StepSummary]) -> list[tuple[int, StepSummary]]:
    """Return the numbered steps that a table has room for, in plan order.

    What failed or is under way says most, then what was tried last, then what is to come.
    """
    numbered = list(enumerate(steps, 1))
    if len(numbered) <= MOST_ROWS:
        return numbered

    def weight(item: tuple[int, StepSummary]) -> tuple[int, int]:
        number, step = item
        last = max((attempt["number"] or 0 for attempt in step["attempts"]), default=0)
        if _under_way(step) or any(each["failure_class"] for each in step["attempts"]):
            return 0, -last
        return (1, -last) if last else (2, number)

    return sorted(sorted(numbered, key=weight)[:MOST_ROWS])


def _row(number: int, step: StepSummary, status: str) -> dict[str, Any]:
    attempts = step["attempts"]
    done = step["status"] == "completed"  # else what its attempts did was taken back
    kept = [each for each in attempts if done and each["status"] in ("success", "skipped")]
    commit = kept[-1]["commit_sha_after"] if kept else None
    failures = [attempt["failure_class"] for attempt in attempts if attempt["failure_class"]]
    spent = [each["duration_ms"] for each in attempts if each["duration_ms"] is not None]
    cost = _sum(step, "cost")
    return {
        "#": number,
        "subtask": one_line(step["subtask"], longest=60),
        "step": f"{step['step_number']} {step['step_type']}",
        "file": one_line(step["file_path"] or "-", longest=120),
        "status": status,
        "attempts": ", ".join(str(attempt["number"]) for attempt in attempts) or "-",
        "failed with": ", ".join(failures) or "-",
        "tokens": _or_dash(_sum(step, "total_tokens")),
        "cost (USD)": _or_dash(None if cost is None else round(cost, 4)),
        "seconds": f"{sum(spent) / 1000:.1f}" if spent else "-",
        "commit": commit[:10] if commit else "-",
    }


def _or_dash(value: float | None) -> float | str:
    return "-" if value is None else value


def _sum(step: StepSummary, figure: str) -> float | None:
    """Return a sum over a step's attempts; unknown with one that is unknown, for it is not zero."""
    figures = [(each["token_usage"] or {}).get(figure) for each in step["attempts"]]
    return sum(figures) if figures and all(each is not None for each in figures) else None  # type: ignore[arg-type]  # none is None


def _status(step: StepSummary, asked: Collection[int | None]) -> str:
    if step["step_id"] in asked:
        return _ASKED
    return "in progress" if _under_way(step) else step["status"]


def _under_way(step: StepSummary) -> bool:
    return any(attempt["status"] == "in_progress" for attempt in step["attempts"])


def named(step: Mapping[str, Any]) -> str:
    """Return a step in a few words."""
    return f"{step['subtask']} {step['step_number']} {step['step_type']} {step['file_path']}"


def ended(
    run_id: str,
    status: str,
    steps: Sequence[StepSummary],
    *,
    branch: str,
    commit: str | None,
    repository: str,
    delivery: str,
) -> Sheet:
    """Return how a run ended, where its work is, and the commands that tell more.

    Args:
        delivery: what the settings want done with the work: `branch`, `merge` …
    """
    completed = status == "completed"
    failed = [step for step in steps if step["status"] == "failed"]
    tries = [attempt for step in steps for attempt in step["attempts"]]
    wrong = sum(attempt["status"] == "failure" for attempt in tries)
    done = sum(step["status"] == "completed" for step in steps)
    where = (
        f"git -C {quote(repository)} log -p {branch}"
        if completed
        else f"# its branch {branch} is kept in Greenline's clone, and not published"
    )
    numbers = [attempt["number"] for attempt in tries if attempt["number"] is not None]
    parts = [
        f"## The run is {code(status)}",
        facts(
            {
                "run": run_id,
                "steps": f"{done} of {len(steps)} done, {len(tries)} attempts, {wrong} failed",
                "branch": branch,
                "commit": commit,
                "delivered": delivery if completed else None,
                "repository": repository,
            }
        ),
        "### What failed\n\n"
        + "\n".join(
            f"- {code(named(step))}: {code(one_line(step['last_error'] or '-'))}"
            for step in failed[:_SHOWN_FAILURES]
        )
        if failed
        else "",
        "### More of it",
        block(
            f"{where}\ngreenline runs show {run_id}\n"
            + (f"greenline step info {numbers[-1]}\n" if numbers else "")
            + "greenline report",
            "sh",
        ),
    ]
    return Sheet(f"result-{run_key(run_id)}", "markdown", page(parts), f"Run {run_id} is {status}")
