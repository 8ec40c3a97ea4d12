"""The page of a failed attempt: why it failed, what its tests said, what it had changed. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from shlex import quote
from typing import Any, Final

from flows.artifacts.markdown import block, code, facts, page, slug, words
from flows.artifacts.sheets import Sheet, named, run_key
from storage.queries import AttemptDetails, VerificationSummary

_SHOWN_TESTS: Final = 20
_DIFF: Final = 20_000
_MESSAGE: Final = 1_500
_REASON: Final = 3_000
_INSTRUCTIONS: Final = 2_000


def failed_attempt(attempt: AttemptDetails, diff: str, comes_next: str | None) -> Sheet:
    """Return why an attempt failed, what its tests said and what it had changed.

    Args:
        attempt: the attempt.
        diff: what it left, as a patch.
        comes_next: what the breaker says.
    """
    result = attempt["result_json"] or {}
    number, project = attempt["number"], quote(attempt["project"])
    agent = (attempt["agent_config"] or {}).get("name")
    parts = [
        f"## Attempt {number} failed: {code(attempt['failure_class'])}",
        block(result.get("reason") or "no reason is known", longest=_REASON),
        facts(
            {
                "step": named(attempt),
                "try": f"{attempt['attempt_no']} of this step",
                "agent": agent,
                "exit code": attempt["exit_code"],
                "started from": attempt["commit_sha_before"],
                "next": comes_next,
            }
        ),
        *_findings(result),
        *_failing_tests(attempt["verifications"]),
        "### What it had changed",
        block(diff, "diff", longest=_DIFF) if diff else "Nothing.",
        "### What it was told to do",
        block(attempt["instructions"] or "-", longest=_INSTRUCTIONS),
        "### More of it",
        block(
            f"greenline step info {number} --project {project}\n"
            f"greenline step diff {number} --project {project}",
            "sh",
        ),
    ]
    key = slug(f"{attempt['subtask'] or ''}-{attempt['step_number'] or 0}")
    return Sheet(
        f"failed-{run_key(attempt['run_id'])}-{key}",
        "markdown",
        page(parts),
        f"Attempt {number}, {words(named(attempt))}: {words(attempt['failure_class'] or '-')}",
    )


def _findings(result: Mapping[str, Any]) -> list[str]:
    """Return what was refused or taken back of what an attempt left."""
    names = {
        "violations": "Changed against the rules",
        "undone": "Undone",
        "removed": "Removed",
    }
    return [
        f"### {title}\n\n{block(chr(10).join(map(str, result[key])), longest=_REASON)}"
        for key, title in names.items()
        if result.get(key)
    ]


def _failing_tests(runs: Sequence[VerificationSummary]) -> list[str]:
    """Return the tests that did not pass in the last run of the suite, with what they said."""
    if not runs:
        return []
    last = runs[-1]
    tests = last["not_passed"]
    counts = {
        what: last[what]
        for what in ("passed", "failed", "errored", "skipped", "load_errors")
        if last[what]
    }
    told = ", ".join(f"{n} {what.replace('_', ' ')}" for what, n in counts.items()) or "no tests"
    parts = [f"### Its tests: {told}"]
    for test in tests[:_SHOWN_TESTS]:
        parts += [
            f"{code(test['node_id'])} {test['outcome'].replace('_', ' ')}",
            block(test["message"] or "no message", longest=_MESSAGE),
        ]
    if len(tests) > _SHOWN_TESTS:
        parts.append(f"… and {len(tests) - _SHOWN_TESTS} more")
    return parts
