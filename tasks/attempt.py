"""One attempt at one step: an agent edits one file, the gates judge, commit and row agree.

The order is what makes it safe to be killed anywhere: the attempt is recorded before the agent
starts; the result is written to git before the gates run, and what passed is exactly what is
committed; the row that says so is committed before the branch moves. A crash leaves either an
attempt without a result, or a recorded commit that the branch has yet to be moved to.
"""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass

from storage.ledger import Ledger
from storage.rows import AttemptRow, FailureRow
from storage.states import AttemptStatus, WorkstreamStatus
from tasks.breaker import PASSING, Decision, decide
from tasks.budget import overspent
from tasks.commits import LARGEST_FAILED, packed
from tasks.context.besides import besides
from tasks.context.of_attempt import context_of
from tasks.diffs import count_lines
from tasks.gates import SuiteRun, Verdict
from tasks.invocation import invoke
from tasks.locking import lock_and
from tasks.memories import note_failure, note_success
from tasks.process import pause
from tasks.project_commands import run_setup
from tasks.records import Work, move_workstream, record_end, record_head
from tasks.room import require_room
from tasks.run import PlannedStep, Run
from tasks.run_store import stored_results
from tasks.skills.in_run import note_skill_started
from tasks.step_gates import judge
from tasks.stuck import as_seen, instructions_for, tries_of
from tasks.tool_cache import ToolCache

logger = logging.getLogger(__name__)


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
    sandbox = run.sandbox
    before = sandbox.head
    commit = done["commit_sha_after"] or before
    with run.database.transaction() as ledger:
        attempt, _ = _skip(run, step, ledger, done, reason, commit)
        results = ledger.results_of_attempt(done["id"])
    if commit != before:
        sandbox.advance(commit, before)
        sandbox.reset()
    if results:
        run.line.baseline = run.line.baseline.after(SuiteRun(stored_results(results)))
    logger.info("%s: skipped, %s", step.name, reason)
    return AttemptOutcome(
        attempt["number"] or 0, attempt["attempt_no"], "skipped", None, reason, sandbox.head
    )


def take_over_step(run: Run, step: PlannedStep, done: AttemptRow) -> AttemptOutcome:
    """Note that the run this one goes on from did the step: its commit is part of the base."""
    reason = f"done before in run {done['run_id']}, as attempt {done['number']}"
    head = run.sandbox.head
    with run.database.transaction() as ledger:
        ledger.reopen_step(step.step_id, f"taken over: {reason}", run.run_id, step.ws_id)
        attempt, _ = _skip(run, step, ledger, done, reason, head)
    logger.info("%s: skipped, %s", step.name, reason)
    return AttemptOutcome(
        attempt["number"] or 0, attempt["attempt_no"], "skipped", None, reason, head
    )


def waive_step(run: Run, step: PlannedStep, reason: str) -> AttemptOutcome:
    """Complete a step without doing it, because a person said so."""
    head = run.sandbox.head
    with run.database.transaction() as ledger:
        attempt, _ = _skip(run, step, ledger, None, reason, head, intervened=True)
    logger.info("%s: skipped, %s", step.name, reason)
    return AttemptOutcome(
        attempt["number"] or 0, attempt["attempt_no"], "skipped", None, reason, head
    )


def _skip(
    run: Run,
    step: PlannedStep,
    ledger: Ledger,
    done: AttemptRow | None,
    reason: str,
    commit: str,
    *,
    intervened: bool = False,
) -> tuple[AttemptRow, str]:
    """Record a step's `skipped` attempt whole, and where the line stands then."""
    ledger.require_lease(run.run_id, run.owner)
    attempt = _begin_row(run, step, ledger, done["fingerprint"] if done else None)
    move_workstream(ledger, step, WorkstreamStatus.STATIC_CHECK, WorkstreamStatus.RUNTIME_CHECK)
    result: dict[str, object] = {"reason": reason}
    if done is not None:
        result["same_as"] = {"run_id": done["run_id"], "number": done["number"]}
    ledger.finish_attempt(
        attempt["id"], "skipped", commit_sha_after=commit, result=result, intervened=intervened
    )
    record_head(run, step, ledger, commit)
    return attempt, reason


def attempt_step(run: Run, step: PlannedStep, fingerprint: str) -> AttemptOutcome:
    """Make one attempt at a step.

    Transient failures use up no attempt: they are tried again here, after a wait, until the
    breaker says otherwise.

    Returns:
        The outcome. A failure carries the breaker's decision.

    Raises:
        FileLocked: another run is editing the file, and it is not to be waited for.
        LeaseLost: the run is another process's by now.
    """
    while True:
        outcome = _attempt(run, step, fingerprint)
        decision = outcome.decision
        if outcome.failure_class not in PASSING or decision is None or not decision.retry:
            return outcome
        if decision.wait_s > 0:
            logger.info("%s: next try in %.0f s, %s", step.name, decision.wait_s, decision.reason)
            pause(decision.wait_s)


def _attempt(run: Run, step: PlannedStep, fingerprint: str) -> AttemptOutcome:
    sandbox = run.sandbox
    require_room(run, worktree=True)
    locked = lock_and(run, step, lambda ledger: _begin(run, step, ledger, fingerprint))
    begun = locked.result
    attempt, history = begun.attempt, begun.history
    # What is no fault of the agent's (its process was killed, say) tells it nothing.
    own = [failure for failure in history if failure["failure_class"] not in PASSING]
    context = context_of(
        run, step, attempt, own, instructions=begun.instructions, known=besides(run, step)
    )
    work = Work(attempt, context, step.numbered.step.file_path, token=locked.token)
    work.intervened = begun.intervened
    work.own_tries = 1 + len(own)
    logger.info("attempt %d: %s (try %d)", work.number, step.name, attempt["attempt_no"])
    if context.overflow is not None:
        too_long = Verdict(passed=False, failure_class="context_overflow", reason=context.overflow)
        return _refuse(run, step, work, too_long)
    if over := overspent(run.settings.limits.model_dump(), begun.spent, begun.raised):
        spent = Verdict(passed=False, failure_class="budget_exceeded", reason=over.reason)
        return _refuse(run, step, work, spent)
    sandbox.keep_branch()
    if sandbox.spoiled:  # by code that an earlier step left, in a test run that it passed
        sandbox.rebuild()
        run_setup(run.settings, sandbox, run.test_command)
    before = sandbox.manifest()
    work.agent = invoke(run, step, work)
    work.left = sandbox.examine(before, step.numbered.step.file_path)
    verdict = judge(run, step, work, work.agent, work.left)
    if verdict.passed:
        return _accept(run, step, work, verdict)
    require_room(run)  # a full disk is no fault of the agent's
    return _refuse(run, step, work, verdict)


@dataclass(frozen=True)
class _Begun:
    """An attempt that was recorded, and what it is made from.

    Attributes:
        instructions: what a person gave in place of the plan's.
        intervened: a person had a hand in it since the step began.
    """

    attempt: AttemptRow
    history: list[FailureRow]
    spent: dict[str, float]
    raised: dict[str, int]
    instructions: str | None
    intervened: bool


def _begin(run: Run, step: PlannedStep, ledger: Ledger, fingerprint: str) -> _Begun:
    """Record that an attempt is being made, before anything happens."""
    history = tries_of(run, step, ledger)
    spent = ledger.spent(run.project_id, run.run_id, step.step_id)
    raised = ledger.budgets_raised(run.run_id)
    instructions = instructions_for(run, step, ledger)
    if instructions is not None:
        ledger.update_step(step.step_id, instructions=instructions)
    attempt = _begin_row(run, step, ledger, fingerprint)
    note_skill_started(run, step, ledger, attempt)
    again = attempt["attempt_no"] > 1
    helped = again and (
        bool(ledger.ctas_of_step(run.run_id, step.step_id)) or _was_under_way(run, step, ledger)
    )
    return _Begun(attempt, history, spent, raised, instructions, helped)


def _was_under_way(run: Run, step: PlannedStep, ledger: Ledger) -> bool:
    """Say whether a step had begun when a person had the run taken up."""
    if run.taken_up is None:
        return False
    first = ledger.attempts_of_step(step.step_id, run.run_id)[0]
    return first["started_at"] < run.taken_up


def _begin_row(run: Run, step: PlannedStep, ledger: Ledger, fingerprint: str | None) -> AttemptRow:
    move_workstream(ledger, step, WorkstreamStatus.EDITING)
    return ledger.begin_attempt(
        run.run_id,
        step.ws_id,
        step.step_id,
        commit_sha_before=run.sandbox.head,
        agent_config=step.agent.describe(),
        fingerprint=fingerprint,
    )


# --- the end: commit and row, both or neither ----------------------------------------------------


def _accept(run: Run, step: PlannedStep, work: Work, verdict: Verdict) -> AttemptOutcome:
    """Commit what passed: the commit, then the row that names it, then the branch."""
    sandbox, number = run.sandbox, work.number
    head = sandbox.head
    commit = head
    made = []
    status = AttemptStatus.SKIPPED if work.skipped else AttemptStatus.SUCCESS
    if not work.skipped and work.left is not None:
        commit = sandbox.commit(work.left.tree, _message(run, step, number))
        work.lines = count_lines(sandbox.clone.git, head, commit)
        made = [packed(sandbox.clone.git, commit, head)]
    with run.database.transaction() as ledger:
        ledger.require_lease(run.run_id, run.owner)
        ledger.require_file_lock(run.project_id, work.file_path, work.token)
        if work.skipped:
            move_workstream(
                ledger, step, WorkstreamStatus.STATIC_CHECK, WorkstreamStatus.RUNTIME_CHECK
            )
        record_end(run, step, work, ledger, status, verdict, commit)
        if not work.skipped:
            note_success(run, step, ledger, work.attempt)
        ledger.keep_commits(run.project_id, made)
        record_head(run, step, ledger, commit)
        ledger.unlock_file(run.project_id, work.file_path, work.token)
    if commit != head:
        sandbox.keep_branch()
        sandbox.advance(commit, head)
        if step.agent.adapter != "replay":  # it is told nothing, so nothing was looked up for it
            cache = ToolCache(run.database, run.project_id, run.run_id, step.ws_id)
            cache.invalidate(f"{work.file_path} was written")
    if work.accepted is not None:
        run.line.baseline = run.line.baseline.after(work.accepted)
    logger.info("attempt %d: %s, %s", number, status, verdict.reason)
    return AttemptOutcome(number, work.attempt["attempt_no"], status, None, verdict.reason, commit)


def _refuse(run: Run, step: PlannedStep, work: Work, verdict: Verdict) -> AttemptOutcome:
    """Keep what a failed attempt left for people to read, record it, and clean up after it."""
    sandbox, number = run.sandbox, work.number
    failure_class = verdict.failure_class or "unknown"
    kept = None
    made = []
    if work.left is not None and work.left.changed:
        kept = sandbox.keep_failed(number, work.left.tree, _message(run, step, number))
        made = [packed(sandbox.clone.git, kept, sandbox.head)]
    limits = run.settings.limits
    with run.database.transaction() as ledger:
        ledger.require_lease(run.run_id, run.owner)
        record_end(run, step, work, ledger, AttemptStatus.FAILURE, verdict, kept)
        ledger.keep_commits(
            run.project_id, [each for each in made if len(each["pack"]) <= LARGEST_FAILED]
        )
        if kept is not None and work.left is not None:
            size = sum(entry.size for entry in work.left.manifest.entries.values())
            ledger.save_sandbox(run.sandbox_id, size_bytes=size)
        failures = [as_seen(failure) for failure in tries_of(run, step, ledger)]
        decision = decide(
            failures,
            attempts=limits.attempts,
            transient=limits.transient,
            jitter=random.random(),  # noqa: S311 - no secret
        )
        ledger.record_event(
            run.run_id,
            step.ws_id,
            "step_retried" if decision.retry else "step_stopped",
            {"attempt": number, "reason": decision.reason, "wait_s": decision.wait_s},
        )
        note_failure(run, step, ledger, given_up=None if decision.retry else decision.reason)
        if not work.checked:  # it was refused before any command ran on it
            move_workstream(ledger, step, WorkstreamStatus.STATIC_CHECK)
        move_workstream(ledger, step, WorkstreamStatus.FIXING)
        ledger.unlock_file(run.project_id, work.file_path, work.token)
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
