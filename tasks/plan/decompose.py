"""Storing the small form of a plan: further steps for one subtask of a stored plan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from storage.database import Database
from storage.exceptions import InputError
from storage.states import WorkstreamStatus
from tasks.plan import Decomposition, FeaturePlan, check_plan_against_repository
from tasks.repository import UserRepository

_OVER = (WorkstreamStatus.DONE, WorkstreamStatus.ABANDONED)


@dataclass(frozen=True)
class StoredSteps:
    """What was stored.

    Attributes:
        subtask_id: the subtask in the ledger.
        step_ids: the new steps, in their order.
        warnings: what speaks against them without forbidding them.
    """

    subtask_id: int
    step_ids: tuple[int, ...]
    warnings: tuple[str, ...]


def store_decomposition(database: Database, decomposition: Decomposition) -> StoredSteps:
    """Add steps to a stored subtask, after those that it has, whole or not at all.

    They become part of its run's stored plan; the run does them when it is carried on.

    Raises:
        InputError: there is no such subtask, it is done, or a step does not fit the repository.
    """
    with database.transaction() as ledger:
        found = ledger.find_subtask(decomposition.subtask_id)
        if found is None:
            raise InputError(
                f"there is no stored subtask {decomposition.subtask_id!r}; give the id or the key "
                "of one whose plan has been run (table subtasks)"
            )
        if found["workstream_status"] in _OVER:
            raise InputError(
                f"subtask {found['key']} is {found['workstream_status']} in run {found['run_id']}; "
                "only one that is not over can be given further steps"
            )
        ledger.record_event(
            found["run_id"],
            found["ws_id"],
            "step_decomposition_started",
            {"subtask_id": found["subtask_id"], "steps": len(decomposition.steps)},
        )
        plan = _extended(FeaturePlan.model_validate(found["plan"]), found["key"], decomposition)
        repository = UserRepository.open(Path(found["repo_path"]))
        warnings = check_plan_against_repository(plan, repository.tree(found["base_commit"]))
        before = ledger.list_steps_by_subtask(found["subtask_id"])
        parent = before[-1]["id"] if before else None
        step_ids: list[int] = []
        for number, step in enumerate(decomposition.steps, start=len(before) + 1):
            parent = ledger.create_step(
                found["project_id"],
                found["subtask_id"],
                number,
                step.step_type,
                step.assigned_to,
                file_path=step.file_path,
                instructions=step.instructions,
                context_files=list(step.context_files),
                parent_step_id=parent,
            )
            step_ids.append(parent)
        ledger.update_run_metadata(
            found["run_id"], {"plan": plan.model_dump(mode="json"), "plan_hash": plan.sha256()}
        )
        ledger.record_event(
            found["run_id"], found["ws_id"], "step_decomposition_completed", {"step_ids": step_ids}
        )
    return StoredSteps(found["subtask_id"], tuple(step_ids), tuple(map(str, warnings)))


def _extended(plan: FeaturePlan, key: str, decomposition: Decomposition) -> FeaturePlan:
    """Return the plan with the steps at the end of its subtask.

    They follow the integration steps where there are any, so that numbers stay as they are.
    """
    document = plan.model_dump(mode="json")
    steps = [step.model_dump(mode="json") for step in decomposition.steps]
    for task in document["tasks"]:
        for subtask in task["subtasks"]:
            if subtask["key"] == key:
                subtask["integration" if subtask["integration"] else "steps"] += steps
    return FeaturePlan.model_validate(document)
