"""What an attempt is told besides its step: a skill, the skills in reach, facts of the project."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.context import Known
from tasks.project_facts import for_step
from tasks.skills.in_run import skill_text, skills_of_run
from tasks.tool_cache import ToolCache

if TYPE_CHECKING:
    from tasks.run import PlannedStep, Run


def besides(run: Run, step: PlannedStep) -> Known:
    """Return what a step's agent is told besides; nothing for the one that reads no prompt."""
    if step.agent.adapter == "replay":
        return Known()
    cache = ToolCache(run.database, run.project_id, run.run_id, step.ws_id)
    return Known(
        skill_text=skill_text(run, step),
        skills=skills_of_run(run).listing(),
        facts=for_step(cache, run.sandbox.clone.git, run.sandbox.head, step),
    )
