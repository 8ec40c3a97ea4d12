"""What is recorded of a skill that a step names: events around each attempt that is told it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from storage.ledger import Ledger
from tasks.skills.collection import Skills

_LONGEST: Final = 2_000


def record_skills_loaded(ledger: Ledger, run_id: str, skills: Skills) -> int:
    """Record which skills a run has in reach, and which were skipped; return the event's id."""
    where = {name: skills.look_up(name).source for name in skills.names}
    skipped = [_cut(warning) for warning in skills.warnings[:50]]
    return ledger.record_event(run_id, None, "skills_loaded", {"skills": where, "skipped": skipped})


def record_skill_started(
    ledger: Ledger,
    run_id: str,
    ws_id: str,
    skills: Skills,
    name: str,
    parameters: Mapping[str, Any],
    *,
    attempt: int,
) -> int:
    """Record that an attempt is told a skill; return the event's id.

    Args:
        ledger: the transaction.
        run_id: the run.
        ws_id: the workstream.
        skills: the skills in reach.
        name: the skill.
        parameters: the values that the step gives it.
        attempt: the attempt's number within the project.

    Raises:
        SkillError: there is no such skill, or a value is wrong.
    """
    found = skills.look_up(name)
    text = skills.render(name, parameters)
    facts = {
        "skill": name,
        "source": found.source,
        "sha256": skills.get(name).sha256,
        "parameters": {key: _shortened(value) for key, value in parameters.items()},
        "characters": len(text),
        "attempt": attempt,
    }
    return ledger.record_event(run_id, ws_id, "skill_execution_started", facts)


def record_skill_ended(
    ledger: Ledger,
    run_id: str,
    ws_id: str,
    name: str,
    *,
    attempt: int,
    passed: bool,
    reason: str,
    duration_ms: int,
) -> int:
    """Record how an attempt ended that was told a skill; return the event's id.

    Args:
        ledger: the transaction.
        run_id: the run.
        ws_id: the workstream.
        name: the skill.
        attempt: the attempt's number within the project.
        passed: whether the gates took what it made.
        reason: their verdict as a sentence.
        duration_ms: how long the attempt took.
    """
    facts = {
        "skill": name,
        "attempt": attempt,
        "result": _cut(reason),
        "duration_ms": duration_ms,
    }
    event = "skill_execution_completed" if passed else "skill_execution_failed"
    return ledger.record_event(run_id, ws_id, event, facts)


def _shortened(value: Any) -> Any:
    """Return a value as it is where it is short, else the beginning of its JSON."""
    text = json.dumps(value, ensure_ascii=False)
    return value if len(text) <= _LONGEST else _cut(text)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
