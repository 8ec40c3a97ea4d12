"""Skills in a run: those of the commit it starts from, and what an attempt is told of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storage.home import Home
from tasks.repository import CommitTree
from tasks.skills import Skills, skills_of_commit
from tasks.skills.events import record_skill_ended, record_skill_started

if TYPE_CHECKING:
    from storage.ledger import Ledger
    from storage.rows import AttemptRow
    from tasks.gates import Verdict
    from tasks.run import PlannedStep, Run


def skills_of_run(run: Run) -> Skills:
    """Return the skills in reach of a run: as its plan was checked, whatever agents wrote since."""
    tree = CommitTree(run.sandbox.clone.git, run.base_commit)
    return skills_of_commit(tree, Home.current().path)


def skill_text(run: Run, step: PlannedStep) -> str | None:
    """Return the text of the skill that a step names, its parameters filled in; None: none.

    Raises:
        SkillError: it is not in reach any more, or takes other parameters now.
    """
    named = step.numbered.step.skill
    return skills_of_run(run).render(named.name, named.parameters) if named else None


def skill_digest(run: Run, step: PlannedStep) -> str | None:
    """Return the digest of the skill that a step names: with another text it is another step."""
    named = step.numbered.step.skill
    return skills_of_run(run).get(named.name).sha256 if named else None


def note_skill_started(run: Run, step: PlannedStep, ledger: Ledger, attempt: AttemptRow) -> None:
    """Record that an attempt is told the skill that its step names, where it names one."""
    if named := step.numbered.step.skill:
        record_skill_started(
            ledger, run.run_id, step.ws_id, skills_of_run(run), named.name, named.parameters,
            attempt=attempt["number"] or 0,
        )  # fmt: skip


def note_skill_ended(
    run: Run,
    step: PlannedStep,
    ledger: Ledger,
    attempt: AttemptRow,
    verdict: Verdict,
    duration_ms: int,
) -> None:
    """Record how the attempt came out that was told a skill."""
    if named := step.numbered.step.skill:
        record_skill_ended(
            ledger, run.run_id, step.ws_id, named.name, attempt=attempt["number"] or 0,
            passed=verdict.passed, reason=verdict.reason, duration_ms=duration_ms,
        )  # fmt: skip
