"""One attempt at one step: an agent edits one file, the gates judge, commit and row agree.

The order is what makes it safe to be killed anywhere: the attempt is recorded before the agent
starts; the result is written to git before the gates run, and what passed is exactly what is
committed; the row that says so is committed before the branch moves. A crash leaves either an
attempt without a result, or a recorded commit that the branch has yet to be moved to.
"""

from __future__ import annotations

import logging
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from storage.ledger import Ledger
from storage.rows import AttemptRow, FailureRow
from storage.states import TRANSIENT, AttemptStatus, WorkstreamStatus
from tasks.agents.base import Assignment
from tasks.breaker import Decision, Failure, decide, overspent
from tasks.context import EarlierFailure, build_context
from tasks.gates import SuiteRun, Verdict
from tasks.project_commands import run_setup
from tasks.records import Work, move_workstream, record_end
from tasks.run import PlannedStep, Run
from tasks.run_store import stored_results
from tasks.step_gates import judge

logger = logging.getLogger(__name__)

_FIRST_WAIT_S: Final = 1.0
_LONGEST_WAIT_S: Final = 300.0


@dataclass(frozen=True)
class AttemptOutcome:
    """How an attempt ended.

    Attributes:
        number: the attempt's number within the project.
        status: success, failure or skipped.
        failure_class: its class when it failed.
        reason: why, as a sentence.
        commit: the head of the line afterwards.
        decision: after a failure, whether to try again.
    """

    number: int
    attempt_no: int
    status: str
    failure_class: str | None
    reason: str
    commit: str
    decision: Decision | None = None


def skip_step(run: Run, step: PlannedStep, done: AttemptRow) -> AttemptOutcome:
    """Take over what an earlier attempt did on the same commit, as a `skipped` attempt."""
    reason = f"done before on the same commit, as attempt {done['number']} of run {done['run_id']}"
    sandbox = run.line.sandbox
    before = sandbox.head
    with run.database.transaction() as ledger:
        attempt = _begin(run, step, ledger, done["fingerprint"])
        move_workstream(ledger, step, WorkstreamStatus.STATIC_CHECK, WorkstreamStatus.RUNTIME_CHECK)
        ledger.finish_attempt(
            attempt["id"],
            "skipped",
            commit_sha_after=done["commit_sha_after"],
            result={
                "reason": reason,
                "same_as": {"run_id": done["run_id"], "number": done["number"]},
            },
        )
        results = ledger.results_of_attempt(done["id"])
    if done["commit_sha_after"] and done["commit_sha_after"] != before:
        sandbox.advance(done["commit_sha_after"], before)
        sandbox.reset()
    if results:
        run.line.baseline = run.line.baseline.after(SuiteRun(stored_results(results)))
    logger.info("%s: skipped, %s", step.name, reason)
    return AttemptOutcome(
        attempt["number"] or 0, attempt["attempt_no"], "skipped", None, reason, sandbox.head
    )


def attempt_step(run: Run, step: PlannedStep, fingerprint: str) -> AttemptOutcome:
    """Make one attempt at a step.

    Transient failures use up no attempt: they are tried again here, after a wait, until the
    breaker says otherwise.

    Returns:
        The outcome. A failure carries the breaker's decision.
    """
    waits = 0
    while True:
        outcome = _attempt(run, step, fingerprint)
        if outcome.failure_class not in TRANSIENT or not (
            outcome.decision and outcome.decision.retry
        ):
            return outcome
        waits += 1
        time.sleep(min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** (waits - 1)))


def _attempt(run: Run, step: PlannedStep, fingerprint: str) -> AttemptOutcome:
    sandbox = run.line.sandbox
    with run.database.transaction() as ledger:
        history = ledger.failures_of_step(step.step_id)
        spent = ledger.spent(run.project_id, run.run_id, step.step_id)
        attempt = _begin(run, step, ledger, fingerprint)
    earlier = _told(history[-1]) if history else None
    context = build_context(sandbox.path, step.subtask, step.numbered, earlier)
    work = Work(attempt, context, step.numbered.step.file_path)
    logger.info("attempt %d: %s (try %d)", work.number, step.name, attempt["attempt_no"])
    if over := overspent(run.settings.limits.model_dump(), spent):
        return _refuse(
            run, step, work, Verdict(passed=False, failure_class="budget_exceeded", reason=over)
        )
    before = sandbox.manifest()
    with tempfile.TemporaryDirectory(dir=run.scratch, prefix="agent-") as private:
        work.agent = step.agent.run(_assignment(run, step, work, Path(private)))
    work.left = sandbox.examine(before, step.numbered.step.file_path)
    verdict = judge(run, step, work, work.agent, work.left)
    if verdict.passed:
        return _accept(run, step, work, verdict)
    return _refuse(run, step, work, verdict)


def _begin(run: Run, step: PlannedStep, ledger: Ledger, fingerprint: str | None) -> AttemptRow:
    """Record that an attempt is being made, before anything happens."""
    move_workstream(ledger, step, WorkstreamStatus.EDITING)
    return ledger.begin_attempt(
        run.run_id,
        step.ws_id,
        step.step_id,
        commit_sha_before=run.line.sandbox.head,
        agent_config=step.agent.describe(),
        fingerprint=fingerprint,
    )


def _told(failure: FailureRow) -> EarlierFailure:
    return EarlierFailure(failure["failure_class"], failure["message"] or "")


def _assignment(run: Run, step: PlannedStep, work: Work, private: Path) -> Assignment:
    planned = step.numbered.step
    tries = work.attempt["attempt_no"]
    entries = planned.replay
    return Assignment(
        prompt=work.context.prompt,
        worktree=run.line.sandbox.path,
        file_path=planned.file_path,
        step_type=planned.step_type,
        step_id=step.step_id,
        subtask=step.subtask.key,
        attempt_no=tries,
        context_files=tuple(planned.context_files),
        timeout_s=run.settings.limits.agent_timeout_s,
        private=private,
        replay=entries[min(tries, len(entries)) - 1] if entries else None,
        plan_dir=run.plan_dir,
        git=run.line.sandbox.clone.git,
    )


# --- the end: commit and row, both or neither ----------------------------------------------------


def _accept(run: Run, step: PlannedStep, work: Work, verdict: Verdict) -> AttemptOutcome:
    """Commit what passed: the commit, then the row that names it, then the branch."""
    sandbox, number = run.line.sandbox, work.number
    head = sandbox.head
    commit = head
    status = AttemptStatus.SKIPPED if work.skipped else AttemptStatus.SUCCESS
    if not work.skipped and work.left is not None:
        commit = sandbox.commit(work.left.tree, _message(run, step, number))
    with run.database.transaction() as ledger:
        if work.skipped:
            move_workstream(
                ledger, step, WorkstreamStatus.STATIC_CHECK, WorkstreamStatus.RUNTIME_CHECK
            )
        record_end(run, step, work, ledger, status, verdict, commit)
    if commit != head:
        sandbox.advance(commit, head)
    if work.accepted is not None:
        run.line.baseline = run.line.baseline.after(work.accepted)
    logger.info("attempt %d: %s, %s", number, status, verdict.reason)
    return AttemptOutcome(number, work.attempt["attempt_no"], status, None, verdict.reason, commit)


def _refuse(run: Run, step: PlannedStep, work: Work, verdict: Verdict) -> AttemptOutcome:
    """Keep what a failed attempt left for people to read, record it, and clean up after it."""
    sandbox, number = run.line.sandbox, work.number
    failure_class = verdict.failure_class or "unknown"
    kept = None
    if work.left is not None and work.left.changed:
        kept = sandbox.keep_failed(number, work.left.tree, _message(run, step, number))
    limits = run.settings.limits
    with run.database.transaction() as ledger:
        record_end(run, step, work, ledger, AttemptStatus.FAILURE, verdict, kept)
        failures = [
            Failure(failure["failure_class"], failure["signature"] or "")
            for failure in ledger.failures_of_step(step.step_id)
        ]
        decision = decide(failures, attempts=limits.attempts, transient=limits.transient)
        ledger.record_event(
            run.run_id,
            step.ws_id,
            "step_retried" if decision.retry else "step_stopped",
            {"attempt": number, "reason": decision.reason},
        )
        if not work.checked:  # it was refused before any command ran on it
            move_workstream(ledger, step, WorkstreamStatus.STATIC_CHECK)
        move_workstream(ledger, step, WorkstreamStatus.FIXING)
    if sandbox.reset():
        sandbox.rebuild()
        run_setup(run.settings, sandbox, run.test_command)
    logger.warning("attempt %d: %s: %s", number, failure_class, verdict.reason)
    return AttemptOutcome(
        number, work.attempt["attempt_no"], "failure", failure_class, verdict.reason,
        sandbox.head, decision,
    )  # fmt: skip


def _message(run: Run, step: PlannedStep, number: int) -> str:
    """Return an attempt's commit message with the trailers that tie it to its row."""
    planned = step.numbered.step
    first = planned.instructions.strip().splitlines()[0][:72]
    return (
        f"{step.subtask.key}: {first}\n\n"
        f'{planned.step_type} step {step.numbered.number} of "{step.subtask.title}": '
        f"{planned.file_path}\n\n"
        f"Greenline-Run: {run.run_id}\n"
        f"Greenline-Step: {step.step_id}\n"
        f"Greenline-Attempt: {number}\n"
    )
