"""The context of an attempt: what the ledger knows for it, and the events around its building."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, Final

from storage.ledger import Ledger
from storage.rows import AttemptRow, FailureRow
from tasks.context import Context, EarlierFailure, FailingTest, Known, build_context
from tasks.memories import chosen, failure_sentence
from tasks.run import PlannedStep, Run

_RED: Final = ("failed", "errored", "load_error")
_TOLD: Final = 20
_PHRASE: Final = 200


def context_of(
    run: Run,
    step: PlannedStep,
    attempt: AttemptRow,
    failures: Sequence[FailureRow],
    *,
    instructions: str | None = None,
    known: Known | None = None,
) -> Context:
    """Build the context of an attempt that has begun, and record that it was.

    Args:
        run: the run.
        step: the step.
        attempt: the attempt.
        failures: the failed tries before it that are the agent's own, the oldest first.
        instructions: what a person gave in place of the plan's.
        known: skills and facts; memories and the run's notes are put in here.
    """
    budget = run.settings.limits.context_tokens
    about = {"attempt": attempt["number"], "budget": budget}
    with run.database.transaction() as ledger:
        ledger.record_event(run.run_id, step.ws_id, "context_build_started", about)
        last = failures[-1] if failures else None
        failure = earlier_failure(run, ledger, last) if last else None
        memories = recalled(run, step, ledger, failure)
    known = known or Known()
    context = build_context(
        run.sandbox.path,
        step.subtask,
        step.numbered,
        failure,
        budget=budget,
        instructions=instructions,
        known=replace(known, notes=(*known.notes, *run.notes), memories=memories),
    )
    with run.database.transaction() as ledger:
        ledger.record_event(
            run.run_id, step.ws_id, "context_build_completed", about | summary(context)
        )
    return context


def rebuilt(
    run: Run,
    step: PlannedStep,
    attempt: AttemptRow,
    failure: FailureRow | AttemptRow | None,
    *,
    instructions: str | None = None,
    known: Known | None = None,
) -> Context:
    """Build the context that an attempt had anew, for a replay: from what was known by then.

    Args:
        run: the run, in the state in which the attempt began.
        step: the step.
        attempt: the attempt.
        failure: the failed try before it.
        instructions: what a person had given in place of the plan's.
        known: skills and facts; memories and the run's notes are put in here.
    """
    with run.database.transaction() as ledger:
        told = earlier_failure(run, ledger, failure) if failure else None
        memories = recalled(run, step, ledger, told, attempt)
    known = known or Known()
    return build_context(
        run.sandbox.path,
        step.subtask,
        step.numbered,
        told,
        budget=run.settings.limits.context_tokens,
        instructions=instructions,
        known=replace(known, notes=(*known.notes, *run.notes), memories=memories),
    )


def recalled(
    run: Run,
    step: PlannedStep,
    ledger: Ledger,
    failure: EarlierFailure | None,
    attempt: AttemptRow | None = None,
) -> list[str]:
    """Return the memories that a step is told; of an attempt, those that there were by then."""
    planned = step.numbered.step
    told = []
    if failure is not None:
        told.append(failure_sentence(step, failure.failure_class, failure.message))
    return chosen(
        ledger.memories_of(run.run_id, before=attempt["started_at"] if attempt else None),
        subtask=step.subtask.key,
        files=(planned.file_path, *planned.context_files),
        told=told,
    )


def earlier_failure(run: Run, ledger: Ledger, failed: FailureRow | AttemptRow) -> EarlierFailure:
    """Return what an attempt is told of the failed one before, with the tests that failed it."""
    result = failed["result_json"] or {}
    number = failed.get("attempt_id") or failed.get("id")
    tests = failing_tests(
        ledger.results_of_attempt(int(str(number))),
        named=result.get("tests", ()),
        failed_before=[key for key, test in run.line.baseline.first.items() if test.red],
    )
    return EarlierFailure(failed["failure_class"] or "unknown", result.get("error") or "", tests)


def failing_tests(
    results: Sequence[Any], *, named: Collection[str], failed_before: Collection[str] = ()
) -> tuple[FailingTest, ...]:
    """Return the tests that speak against an attempt, with their messages.

    Args:
        results: the outcomes that the attempt's last run of the suite had.
        named: the tests that its verdict named; without them, it is all that failed.
        failed_before: the tests that failed before anybody edited anything.
    """
    red = {row["node_id"]: row["message"] or "" for row in results if row["outcome"] in _RED}
    names = [name for name in named if name in red]
    if not names and not named:
        known = set(failed_before)
        names = [name for name in red if name not in known]
    return tuple(FailingTest(name, red[name]) for name in names)


def summary(context: Context) -> dict[str, Any]:
    """Return what an event says of a context: counts and what was cut, no text of it."""
    told = [each[:_PHRASE] for each in context.left_out[:_TOLD]]
    said = {"tokens": context.tokens, "total": context.total, "left_out": told}
    if len(context.left_out) > _TOLD:
        said["left_out_more"] = len(context.left_out) - _TOLD
    return said | ({"overflow": context.overflow} if context.overflow else {})
