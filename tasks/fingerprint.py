"""The fingerprint of a step: equal when doing the step again could not come out differently."""

from __future__ import annotations

import hashlib
import json

from tasks.run import PlannedStep, Run
from tasks.skills.in_run import skill_digest


def step_fingerprint(run: Run, step: PlannedStep) -> str:
    """Return the fingerprint of a step on any commit.

    It covers what the agent is told, who the agent is, and the gates; the files it depends on are
    those of the commit it starts from, which a look-up compares besides.

    Returns:
        64 hexadecimal digits.
    """
    subtask, planned = step.subtask, step.numbered.step
    project = run.settings.project
    document = {
        "subtask": [subtask.title, subtask.description, list(subtask.acceptance_criteria)],
        "step": planned.model_dump(mode="json", exclude={"assigned_to"}),
        "expect": step.numbered.expect,
        "agent": step.agent.fingerprint(),
        "skill": skill_digest(run, step),
        "gates": {
            "test": project.test,
            "test_files": project.test_files,
            "full_suite": project.full_suite,
            "lint": list(project.lint),
            "test_steps": list(step.done_tests),
            "targets": list(subtask.target_files),
        },
    }
    written = json.dumps(document, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(written.encode()).hexdigest()
