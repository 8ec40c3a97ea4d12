"""Writes docs/state_machine.md from the table of moves: python -m storage.state_docs [--check]."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from storage.states import STATES, TRANSIENT, TRANSITIONS, FailureClass

DOCUMENT: Final = Path("docs/state_machine.md")

_INTRODUCTION: Final = """\
<!-- Generated from storage/states.py by `python -m storage.state_docs`. Do not edit. -->

# States

Everything that has a state moves as this page says and in no other way. The tables are plain data
in `storage/states.py`; `storage/transitions.py` is the one place that changes a state. It does so
by `UPDATE … WHERE id = … AND status = <the state before>`, so that of two who change at once
exactly one succeeds (the other gets a `StateConflict` that says what state it is in now), and
writes the event `<entity>_status_changed` in the same transaction.

`validate_state_transition(entity_type, from_state, to_state)` raises `IllegalTransition` (a
`ValueError`) on any other move; it names the entity, both states and what would be legal. The
refusal is recorded as a `transition_refused` event in a transaction of its own, which stays when
the caller's is rolled back. Triggers over a copy of the same tables (`legal_transitions`) refuse
illegal moves from raw SQL too, with SQLSTATE 23514 and the legal moves as a hint.

Staying in a state is no move.
"""

_NOTES: Final = {
    "run": "The ends of a run are final: what is left of it is done by another run (`--from`).",
    "workstream": (
        "A state is terminal when nothing leads out of it. `done` is not: a rollback or a review "
        "reopens it, and the gates on the merged result may still fail it."
    ),
    "step": (
        "`failed → in_progress` is a retry, `failed → pending` a reset, `completed → pending` a "
        "rollback or a review that asked for changes. A step that a person or the cache skips goes "
        "through `in_progress` to `completed` with a `skipped` attempt. Features, tasks and "
        "subtasks move in the same way."
    ),
    "attempt": "Whether an attempt still counts is not a state: a rollback makes it inactive.",
    "work_stage": (
        "A stage is a row of `work_stages`; the order is that of a workstream's rows. A stage that "
        "the subtask has no step for is left out. A workstream may begin with any stage but "
        "`completed`, since a run made with `--from` does what is left. A feature as a whole may "
        "leave out the stages that its workstreams record, and never goes back."
    ),
    "feature_phase": "Any phase but the ends can fail; `completed` is reached from `pr` alone.",
    "phase": "A phase that is done again has another row.",
    "sandbox": "A sandbox goes on after a snapshot, or is stopped.",
}
_SAME_AS_STEP: Final = ("feature", "task", "subtask")


def state_machine() -> str:
    """Return the document."""
    parts = [_INTRODUCTION]
    for entity, choice in STATES.items():
        if entity in _SAME_AS_STEP:
            continue
        moves = TRANSITIONS[entity]
        title = entity.replace("_", " ").capitalize()
        parts.append(f"## {title}\n")
        if entity in _NOTES:
            parts.append(_NOTES[entity] + "\n")
        rows = ["| state | meaning | may become |", "|---|---|---|"]
        for state in choice:
            after = [to.value for to in choice if to in moves.get(state.value, frozenset())]
            cell = ", ".join(f"`{to}`" for to in after) or "(final)"
            rows.append(f"| `{state.value}` | {state.meaning} | {cell} |")
        parts.append("\n".join(rows) + "\n")
        arrows = [
            f"    {before.value} --> {after.value}"
            for before in choice
            for after in choice
            if after in moves.get(before.value, frozenset())
        ]
        parts.append("```mermaid\nstateDiagram-v2\n" + "\n".join(arrows) + "\n```\n")
    parts.append("## Failure classes\n")
    parts.append(
        "Why an attempt failed. Transient ones use up no attempt and have a bound of their own.\n"
    )
    rows = ["| class | meaning | transient |", "|---|---|---|"]
    for failure in FailureClass:
        transient = "yes" if failure in TRANSIENT else ""
        rows.append(f"| `{failure.value}` | {failure.meaning} | {transient} |")
    parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)


def main(arguments: list[str] | None = None) -> int:
    """Write the document, or with `--check` say whether it is what it would be; 1 if not."""
    parser = argparse.ArgumentParser(prog="python -m storage.state_docs", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, 1 if it differs")
    parser.add_argument("--file", type=Path, default=DOCUMENT, help="where it is (%(default)s)")
    given = parser.parse_args(arguments)
    path: Path = given.file
    document = state_machine()
    if not given.check:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(document, encoding="utf-8")
        return 0
    there = path.read_text(encoding="utf-8") if path.exists() else None
    if there == document:
        return 0
    sys.stderr.write(f"{path} is not what storage/states.py says: python -m storage.state_docs\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
