"""What an agent is told: a prompt within a budget, and a record of what it was made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tasks.context.files import Read, read_file
from tasks.context.parts import EarlierFailure, FailingTest, Part, Wanted, wanted_parts
from tasks.context.quoting import inline
from tasks.plan import NumberedStep, Subtask
from tasks.tokens import count_tokens

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["BUDGET", "Context", "EarlierFailure", "FailingTest", "Known", "build_context"]

BUDGET: Final = 100_000
"""Tokens of a prompt where nothing else is said."""

_TOLD: Final = 20  # parts that did not fit, one by one; more are counted
_PHRASE: Final = 200  # characters of one of them
_ROUNDS: Final = 6

_DONE_WHEN: Final = {
    ("test", "red"): (
        "At least one new or changed test in this file fails because what it tests is missing or "
        "wrong, not because the test itself is broken. Tests of other files keep their outcome, "
        "and no test is removed, skipped or weakened."
    ),
    ("test", "green"): (
        "The tests of this file run and pass on the code as it is. No test is removed, skipped or "
        "weakened."
    ),
    ("test", "unchanged"): "This is a support file: no test's outcome changes.",
    ("implementation", "green"): (
        "Every test of this subtask passes, and no test that passed before fails, vanishes or is "
        "skipped. The tests themselves may not be edited."
    ),
    ("implementation", "unchanged"): (
        "No test gets worse. A later step of this subtask makes its tests pass."
    ),
}


@dataclass(frozen=True)
class Known:
    """What an agent is told besides its step and the files.

    Attributes:
        skill_text: the text of the skill that the step names; part of the instructions.
        notes: what else it has to know; never cut.
        memories: what the run remembers, the most useful first.
        facts: short lines about the project.
        skills: name and description of each skill in reach.
    """

    skill_text: str | None = None
    notes: Sequence[str] = ()
    memories: Sequence[str] = ()
    facts: Sequence[str] = ()
    skills: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Context:
    """A step's prompt and what it was built from.

    Attributes:
        prompt: the text for the agent, with at most `budget` tokens unless there is an overflow.
        snapshot: per file its SHA-256 and modification time in ns (no content), None if missing.
        left_out: what did not fit or could not be read, as phrases.
        tokens: how many each section has, as it stands in the prompt.
        total: how many the prompt has.
        budget: how many it may have.
        overflow: why no agent can be given this prompt, as a sentence; None: it can.
    """

    prompt: str
    snapshot: dict[str, Any]
    left_out: tuple[str, ...]
    tokens: dict[str, int] = field(default_factory=dict)
    total: int = 0
    budget: int = BUDGET
    overflow: str | None = None


def build_context(
    worktree: Path,
    subtask: Subtask,
    numbered: NumberedStep,
    failure: EarlierFailure | None = None,
    *,
    budget: int = BUDGET,
    instructions: str | None = None,
    known: Known | None = None,
) -> Context:
    """Build the prompt for one attempt at one step.

    What it has to say (instructions with their skill and notes, what counts as done, criteria) is
    never cut. What is left of the budget goes to the failure, the step's file, the context files
    in the plan's order, memories, facts and the list of skills, in this order.

    Args:
        worktree: the sandbox, clean at the commit the step starts from.
        subtask: the step's subtask.
        numbered: the step.
        failure: why the attempt before failed, None for a first one.
        budget: how many tokens the prompt may have.
        instructions: what a person gave in place of the plan's instructions.
        known: what else it is told.

    Returns:
        The context. Files that are missing, no text or too large are left out and named; symbolic
        links are never followed.
    """
    step, known = numbered.step, known or Known()
    paths = dict.fromkeys((step.file_path, *step.context_files))
    files = {path: read_file(worktree, path) for path in paths}
    fixed = {
        "step_type": step.step_type,
        "title": subtask.title,
        "file_path": inline(step.file_path),
        "exists": files[step.file_path] != Read(),
        "description": subtask.description,
        "instructions": instructions or step.instructions,
        "skill_text": known.skill_text,
        "notes": list(known.notes),
        "done_when": _DONE_WHEN[step.step_type, numbered.expect],
        "acceptance_criteria": list(subtask.acceptance_criteria),
    }
    wanted = wanted_parts(failure, files, step.file_path, known.memories, known.facts, known.skills)
    return _fitted(fixed, wanted, files, budget)


def _fitted(
    fixed: dict[str, Any], wanted: Sequence[Wanted], files: dict[str, Read], budget: int
) -> Context:
    """Put in what fits: less and less of it, until the prompt as it is rendered does."""
    snapshot = {path: file.record for path, file in files.items()}
    unread = [f"{path} ({file.problem})" for path, file in files.items() if file.problem]
    plain = _render(fixed, [], "")
    room = budget - count_tokens(plain)
    parts: list[Part] = []
    for _ in range(_ROUNDS):
        parts, left_out = _chosen(wanted, room)
        left_out = [*unread, *left_out]
        prompt = _render(fixed, parts, _told(left_out))
        total = count_tokens(prompt)
        if total <= budget or room <= 0:
            break
        room -= total - budget + 8
    if total > budget:  # with nothing but what is never cut, and a list of what is not there
        parts, left_out = [], [*unread, *(f"{each.name} (no room)" for each in wanted)]
        for said in (f"{len(left_out)} parts did not fit.", ""):
            prompt = _render(fixed, [], said)
            total = count_tokens(prompt)
            if total <= budget:
                break
    tokens = _tokens_of(fixed)
    overflow = _overflow(tokens, total, budget) if total > budget else None
    for part in parts:
        tokens[part.section] = tokens.get(part.section, 0) + count_tokens(part.text)
    return Context(prompt, snapshot, tuple(left_out), tokens, total, budget, overflow)


def _chosen(wanted: Sequence[Wanted], room: int) -> tuple[list[Part], list[str]]:
    """Return the parts that fit into that many tokens, in the prompt's order, and what does not."""
    parts: list[Part] = []
    left_out: list[str] = []
    for each in wanted:
        part = each.fitting(room)
        if part is None:
            left_out.append(f"{each.name} (no room)")
            continue
        if part.left_out:
            left_out.append(f"{each.name}: {part.left_out}")
        room -= part.cost
        parts.append(part)
    return sorted(parts, key=lambda part: part.place), left_out


def _told(left_out: Sequence[str]) -> str:
    """Return what did not fit as a sentence."""
    if not left_out:
        return ""
    more = len(left_out) - _TOLD
    shown = [each if each.isprintable() else ascii(each)[1:-1] for each in left_out[:_TOLD]]
    # The end of a phrase says why, that of a path which file it is.
    named = [each if len(each) <= _PHRASE else f"…{each[1 - _PHRASE :]}" for each in shown]
    return "; ".join([*named, f"{more} more"] if more > 0 else named) + "."


def _tokens_of(fixed: dict[str, Any]) -> dict[str, int]:
    """Return how many tokens each section has that is never cut."""
    sections = {
        "description": fixed["description"] or "",
        "instructions": fixed["instructions"],
        "skill": fixed["skill_text"] or "",
        "notes": "\n\n".join(fixed["notes"]),
        "done_when": fixed["done_when"],
        "criteria": "\n".join(fixed["acceptance_criteria"]),
    }
    return {name: count_tokens(text) for name, text in sections.items() if text}


def _overflow(tokens: dict[str, int], total: int, budget: int) -> str:
    name, most = max(tokens.items(), key=lambda item: item[1])
    return (
        f"what is never cut has {total:,} tokens, {most:,} of them the {name.replace('_', ' ')}, "
        f"and limits.context_tokens is {budget:,}: shorten it, or raise the limit"
    )


def _render(fixed: dict[str, Any], parts: Sequence[Part], left_out: str) -> str:
    return _template().render(**fixed, parts=parts, left_out=left_out)


@lru_cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415 - for runs only

    environment = Environment(
        loader=PackageLoader("tasks", "prompts"),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - a prompt is plain text, not a page
        keep_trailing_newline=True,
    )
    return environment.get_template("step.md.j2")
