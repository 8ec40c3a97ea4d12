"""Runs, steps and attempts as tables and text for people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from flows.cli.output import local, print_table, say, seconds, short

_SHOWN = 100
"""Characters of a tool's input."""

if TYPE_CHECKING:
    from tasks.rollback import Planned, RolledBack
    from tasks.step_replay import Comparison


def print_runs(runs: Iterable[Mapping[str, Any]]) -> None:
    """Print the table of runs."""
    print_table(
        ("run", "project", "feature", "status", "done", "attempts", "created"),
        (
            (
                run["run_id"],
                run["project"],
                run["feature"],
                run["status"],
                f"{run['steps_completed']}/{run['steps']}",
                run["attempts"],
                run["created_at"],
            )
            for run in runs
        ),
    )


def print_steps(steps: Iterable[Mapping[str, Any]]) -> None:
    """Print the table of steps in plan order, with the attempts that each took."""
    print_table(
        ("#", "subtask", "step", "file", "status", "attempts", "seconds", "commit", "failed with"),
        (_step_row(step) for step in steps),
    )


def _step_row(step: Mapping[str, Any]) -> tuple[object, ...]:
    attempts = step["attempts"]
    numbers = ", ".join(str(attempt["number"]) for attempt in attempts)
    spent = [attempt["duration_ms"] for attempt in attempts if attempt["duration_ms"] is not None]
    done = step["status"] == "completed"  # else what its attempts did was taken back
    kept = [each for each in attempts if done and each["status"] in ("success", "skipped")]
    failures = [attempt["failure_class"] for attempt in attempts if attempt["failure_class"]]
    return (
        numbers,
        step["subtask"],
        f"{step['step_number']} {step['step_type']}",
        step["file_path"],
        step["status"],
        len(attempts),
        seconds(sum(spent)) if spent else None,
        short(kept[-1]["commit_sha_after"]) if kept else None,
        ", ".join(failures),
    )


def attempt_text(attempt: Mapping[str, Any]) -> str:
    """Return everything about an attempt as readable text."""
    usage = attempt["token_usage"] or {}
    result = attempt["result_json"] or {}
    facts = {
        "attempt": f"{attempt['number']} (try {attempt['attempt_no']})",
        "project": attempt["project"],
        "run": attempt["run_id"],
        "step": f"{attempt['subtask']} {attempt['step_name']}",
        "status": attempt["status"] + ("" if attempt["active"] else ", rolled back"),
        "failure": attempt["failure_class"],
        "commit before": attempt["commit_sha_before"],
        "commit after": attempt["commit_sha_after"],
        "parent": attempt["parent_number"],
        "agent": ", ".join(f"{k} {v}" for k, v in (attempt["agent_config"] or {}).items() if v),
        "exit code": attempt["exit_code"],
        "seconds": seconds(attempt["duration_ms"]),
        "tokens": usage.get("total_tokens"),
        "cost": usage.get("cost"),
        "started": attempt["started_at"],
        "completed": attempt["completed_at"],
    }
    lines = [f"{name:14} {_fact(value)}" for name, value in facts.items()]
    if reason := result.get("reason"):
        lines += ["", reason]
    for key in ("violations", "undone", "removed", "left_out"):
        lines += [f"{key}: {item}" for item in result.get(key, [])]
    for invocation in attempt["invocations"]:
        lines += _invocation_lines(invocation)
    for run in attempt["verifications"]:
        counts = ", ".join(
            f"{run[what]} {what.replace('_', ' ')}"
            for what in ("passed", "failed", "errored", "skipped", "load_errors")
            if run[what]
        )
        lines += [
            "",
            f"{run['kind']} suite: {counts or 'no tests'} in {seconds(run['duration_ms'])} s",
        ]
        lines += [f"  {test['outcome']:10} {test['node_id']}" for test in run["not_passed"]]
    return "\n".join(lines)


def _invocation_lines(invocation: Mapping[str, Any]) -> list[str]:
    """Return what an agent asked of its model, and the tools it used in their order."""
    if not invocation["requests"] and not invocation["tool_calls"]:
        return []
    tokens = ", ".join(
        f"{'unknown' if invocation[key] is None else invocation[key]} {what}"
        for key, what in (("input_tokens", "in"), ("output_tokens", "out"))
    )
    requests = invocation["requests"]
    asked = f"{requests} request{'s' if requests != 1 else ''}, " if requests else ""
    lines = ["", f"model {invocation['model'] or 'unknown'}: {asked}tokens {tokens}"]
    for call in invocation["tool_calls"]:
        failed = "  failed" if str(call["output_type"] or "").startswith("error") else ""
        told = json.dumps(call["input"], ensure_ascii=False)
        lines.append(
            f"  {call['tool']:14} {told[:_SHOWN]}{'…' if len(told) > _SHOWN else ''}{failed}"
        )
    return lines


def _fact(value: object) -> str:
    if value is None:
        return "-"
    return local(value) if isinstance(value, datetime) else str(value)


def print_rollback_plan(planned: Planned) -> None:
    """Print what a rollback takes back, what is in its way and what it leaves as it is."""
    print_table(
        ("#", "subtask", "step", "status", "failed with", "commit"),
        (
            (
                row["number"],
                row["ws_id"].partition("/")[2],
                row["step_name"],
                row["status"],
                row["failure_class"],
                short(row["commit_sha_after"]) if row["status"] != "failure" else None,
            )
            for row in planned.attempts
        ),
    )
    count = len(planned.commits)
    commits = f"{count} commit{'' if count == 1 else 's'}"
    goes = (
        f"would go from {planned.old_head[:10]} to {planned.head[:10]} ({commits})"
        if count
        else f"stays at {planned.head[:10]}"
    )
    say(f"branch {planned.branch} {goes}")
    for obstacle in planned.obstacles:
        say(f"in the way: {obstacle}")
    for line in planned.notes:
        say(f"note: {line}")


def print_rolled_back(done: RolledBack) -> None:
    """Print what was rolled back, and how to get it back."""
    planned = done.planned
    at = f"{planned.branch} is at {planned.head[:10]}"
    say(f"rollback {done.rollback_id} is done: branch {at}, the steps are pending")
    for line in done.notes:
        if line not in planned.notes:
            say(f"note: {line}")
    if planned.commits:
        say(f"to get the old commits back as a branch: {done.way_back}")
    say(f"to do the steps anew: greenline run --from {planned.run_id}")


def rollback_document(planned: Planned, done: RolledBack | None = None) -> dict[str, Any]:
    """Return a rollback as `step rollback --json` prints it; without `done` it is a dry run.

    `head` is where the run's branch stands at the end of the command, `rolled_back_to` where the
    rollback puts it.
    """
    obstacles = () if done else planned.obstacles
    return {
        "run_id": planned.run_id,
        "number": planned.number,
        "branch": planned.branch,
        "rolled_back_to": planned.head,
        "head": planned.head if done else planned.old_head,
        "attempts": planned.numbers,
        "commits": list(planned.commits),
        "backup_ref": done.backup_ref if done else None,
        "clone": str(planned.clone),
        "dry_run": done is None,
        "notes": [
            *(f"it would be refused now: {obstacle}" for obstacle in obstacles),
            *(done.notes if done else planned.notes),
        ],
    }


def comparison_document(done: Comparison) -> dict[str, Any]:
    """Return an attempt and its replay as `step replay --json` prints them."""
    return {
        "number": done.number,
        "agent": done.replay.agent,
        "commit_sha_before": done.commit_before,
        "original": asdict(done.original),
        "replay": asdict(done.replay),
        "same_change": done.same_change,
        "ref": done.ref,
    }


def print_comparison(done: Comparison) -> None:
    """Print an attempt and its replay side by side."""
    sides = (done.original, done.replay)
    facts: dict[str, tuple[object, ...]] = {
        "agent": tuple(side.agent for side in sides),
        "status": tuple(side.status for side in sides),
        "failed with": tuple(side.failure_class for side in sides),
        "reason": tuple((side.reason or "").split("\n", 1)[0] for side in sides),
        "exit code": tuple(side.exit_code for side in sides),
        "tests": tuple(
            ", ".join(f"{n} {what}" for what, n in side.tests.items()) if side.tests else None
            for side in sides
        ),
        "lines": tuple(
            f"+{side.lines_added} -{side.lines_deleted}" if side.lines_added is not None else None
            for side in sides
        ),
        "tokens in": tuple(side.input_tokens for side in sides),
        "tokens out": tuple(side.output_tokens for side in sides),
        "cost (USD)": tuple(side.cost_usd for side in sides),
        "seconds": tuple(seconds(side.duration_ms) for side in sides),
        "commit": tuple(short(side.commit) for side in sides),
    }
    print_table(
        ("", f"attempt {done.number}", "replay"),
        ((name, *values) for name, values in facts.items()),
    )
    same = "the same change" if done.same_change else "different changes"
    kept = f"; the replay's is kept as {done.ref} in Greenline's clone" if done.ref else ""
    say(f"{same}{kept}")
