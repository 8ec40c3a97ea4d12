"""A workstream, one subtask inside one run: its stages, its end, its review."""

from __future__ import annotations

import logging
from typing import Any

from storage.ledger import Ledger
from storage.ledger.recovery import WORKSTREAM_ENDS
from storage.rows import AttemptRow
from storage.states import StepStatus, WorkStage, WorkstreamStatus
from tasks.commits import fetch
from tasks.gates import judge_suite
from tasks.plan import Subtask
from tasks.run import PlannedStep, Run

logger = logging.getLogger(__name__)


def stand(run: Run, subtask: Subtask) -> bool:
    """Say whether a workstream can be worked on now that those it depends on are over.

    Returns:
        True: it is ready, or was begun before the run was cut off. False: it is done, failed, or
        blocked because one it depends on did not get done.
    """
    ws_id = f"{run.run_id}/{subtask.key}"
    with run.database.transaction() as ledger:
        row = ledger.get_workstream(ws_id)
        status = row["status"] if row else ""
        if status in WORKSTREAM_ENDS:
            return False
        if status != WorkstreamStatus.PENDING:
            return True
        needed = {key: ledger.get_workstream(f"{run.run_id}/{key}") for key in subtask.depends_on}
        states = {key: row["status"] if row else "" for key, row in needed.items()}
        lost = [key for key, state in states.items() if state != WorkstreamStatus.DONE]
        if lost:
            reason = f"not done: {', '.join(lost)}"
            ledger.update_workstream_status(ws_id, WorkstreamStatus.BLOCKED, reason=reason)
            logger.warning("%s is blocked: %s", subtask.key, reason)
            return False
        ledger.require_lease(run.run_id, run.owner)
        ledger.update_workstream_status(ws_id, WorkstreamStatus.READY)
        if row is not None and row["subtask_id"] is not None:
            ledger.settle_subtask(row["subtask_id"], StepStatus.IN_PROGRESS)
        ledger.settle_tasks(run.feature_id)
    return True


def done_steps(run: Run, ws_id: str) -> set[int]:
    """Return the steps of a workstream that this run has done, and that stand."""
    with run.database.transaction() as ledger:
        return set(ledger.completed_steps(ws_id))


def move_subtask(ledger: Ledger, ws_id: str, status: StepStatus) -> None:
    """Let the plan's subtask say what its workstream has come to."""
    row = ledger.get_workstream(ws_id)
    if row is not None and row["subtask_id"] is not None:
        ledger.settle_subtask(row["subtask_id"], status)


def enter_step(run: Run, planned: PlannedStep, fingerprint: str) -> AttemptRow | None:
    """Record the work stage that a step belongs to; a workstream never goes back in the order.

    Returns:
        The attempt that did the step before on the same commit, None if it is to be done. It
        counts while it is active: a step that was rolled back since is done again.
    """
    with run.database.transaction() as ledger:
        ledger.require_lease(run.run_id, run.owner)
        move_to_stage(
            ledger, planned.ws_id, planned.numbered.stage, planned.numbered.step.assigned_to
        )
        taken_over = run.taken_over.get((planned.subtask.key, planned.numbered.number))
        if taken_over is not None:
            return ledger.attempt_by_number(run.project_id, taken_over)
        # A step of the tree that another run did, and that is to be done anew.
        ledger.reopen_step(planned.step_id, "to be done anew", run.run_id, planned.ws_id)
        done = ledger.find_done_step(run.project_id, fingerprint, run.sandbox.head)
    commit = done["commit_sha_after"] if done else None
    if commit is not None and not fetch(run.database, run.sandbox.clone.git, commit):
        return None  # another host did it, and its commit is not to be had
    return done


def move_to_stage(
    ledger: Ledger, ws_id: str, stage: str, assigned_agent: str | None = None
) -> None:
    """Enter a stage unless the workstream is in it, or in a later one, already."""
    order = list(WorkStage)
    current = ledger.current_stage(ws_id)
    if current is not None and order.index(WorkStage(current)) >= order.index(WorkStage(stage)):
        return
    ledger.enter_stage(WorkStage(stage), ws_id=ws_id, assigned_agent=assigned_agent)


def fail(
    run: Run,
    planned: PlannedStep,
    reason: str,
    failure_class: str | None = None,
    *,
    status: WorkstreamStatus = WorkstreamStatus.FAILED,
) -> None:
    """End a workstream that cannot go on; its commits stay on the run's branch."""
    told = "; ".join(part for part in (failure_class, reason) if part)
    with run.database.transaction() as ledger:
        ledger.require_lease(run.run_id, run.owner)
        ledger.update_workstream_status(planned.ws_id, status, reason=f"{planned.name}: {told}")
        move_subtask(ledger, planned.ws_id, StepStatus.FAILED)
    logger.error("%s failed at %s: %s", planned.subtask.key, planned.name, reason)


def review(run: Run, steps: tuple[PlannedStep, ...]) -> bool:
    """Review a finished workstream by what can be checked without anybody's opinion.

    No test that was there is gone, the suite is no worse than at the run's start, and nothing but
    the files of the subtask's steps has changed since the workstream began.

    Returns:
        True when it is done, False when it failed.
    """
    subtask, ws_id = steps[0].subtask, steps[0].ws_id
    with run.database.transaction() as ledger:
        ledger.require_lease(run.run_id, run.owner)
        move_to_stage(ledger, ws_id, WorkStage.REVIEW)
    findings, facts = _findings(run, steps)
    with run.database.transaction() as ledger:
        ledger.record_event(run.run_id, ws_id, "review", facts)
        if findings:
            ledger.update_workstream_status(
                ws_id, WorkstreamStatus.FAILED, reason="review: " + "; ".join(findings)
            )
            move_subtask(ledger, ws_id, StepStatus.FAILED)
            logger.error("%s failed its review: %s", subtask.key, "; ".join(findings))
            return False
        move_to_stage(ledger, ws_id, WorkStage.COMPLETED)
        ledger.update_workstream_status(ws_id, WorkstreamStatus.DONE)
        move_subtask(ledger, ws_id, StepStatus.COMPLETED)
    logger.info("%s is done", subtask.key)
    return True


def _findings(run: Run, steps: tuple[PlannedStep, ...]) -> tuple[list[str], dict[str, Any]]:
    """Return what speaks against a workstream, and the facts of its whole change."""
    sandbox = run.sandbox
    with run.database.transaction() as ledger:
        spans = ledger.spans_of(steps[0].ws_id)
    end = spans[-1][1] if spans else sandbox.head
    changed = sorted({path for span in spans for path in sandbox.changed_files(*span)})
    planned = {planned.numbered.step.file_path for planned in steps}
    findings = [f"{path} changed, no step names it" for path in sorted(set(changed) - planned)]
    tree = sandbox.tree(end)
    verification = run.line.verified.get((tree, run.test_command.command_hash()))
    if verification is not None:
        verdict = judge_suite(run.line.baseline, verification.run, may_lose=may_lose(run))
        # Red tests of other workstreams that are not done yet are theirs to answer for.
        if not verdict.passed and set(verdict.tests) & _own_tests(run, planned):
            findings.append(verdict.reason)
    return findings, {"files": changed, "findings": findings}


def may_lose(run: Run) -> set[str]:
    """Return the files that the plan allows a step to remove tests from."""
    return {
        planned.numbered.step.file_path
        for steps in run.steps.values()
        for planned in steps
        if planned.numbered.step.may_remove_tests
    }


def _own_tests(run: Run, files: set[str]) -> set[str]:
    return {key for key, test in run.line.baseline.last.items() if test.file_path in files}
