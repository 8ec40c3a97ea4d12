"""What a run remembers for its later steps: written when it happens, recalled into prompts.

Memories are sentences. One about a step begins with its subtask and names its file, which is how
the most useful ones for another step are found.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from storage.ledger import Ledger
from storage.rows import AttemptRow, CtaRow, MemoryRow
from storage.states import FeaturePhase, MemoryKind
from tasks.approvals import standing, stuck_answer, verdict
from tasks.breaker import PASSING
from tasks.config import Settings
from tasks.context.quoting import one_line
from tasks.plan import FeaturePlan
from tasks.run import PlannedStep, Run

MOST: Final = 20
"""The memories that one prompt tells."""

_LONGEST: Final = 500
_SAID: Final = 240
_NAMED: Final = 10


def remember(
    ledger: Ledger,
    run_id: str,
    kind: str,
    content: str,
    *,
    phase: str = FeaturePhase.IMPLEMENTATION,
    phase_result_id: str | None = None,
    invocation_id: str | None = None,
) -> str:
    """Keep a memory of a run for its later steps; return its id.

    Args:
        ledger: the transaction that what is remembered happens in.
        run_id: the run.
        kind: `insight`, `failure`, `decision` or `constraint`.
        content: a sentence or two; longer ones are cut.
        phase: the phase in which it came up.
        phase_result_id: the phase's record.
        invocation_id: the agent that left it, for insights of agents.

    Raises:
        InputError: there is nothing in it, or no such kind or phase.
    """
    return ledger.remember(
        run_id,
        kind,
        one_line(content, _LONGEST),
        phase=phase,
        phase_result_id=phase_result_id or None,
        invocation_id=invocation_id,
    )


# --- writing -------------------------------------------------------------------------------------


def constraints(
    plan: FeaturePlan, settings: Settings, facts: Mapping[str, Any], flaky: Collection[str] = ()
) -> list[str]:
    """Return what binds every step of a run, as sentences.

    Args:
        plan: the plan.
        settings: the project's settings.
        facts: what the analysis phase found.
        flaky: the tests that differed on one tree.
    """
    said = []
    if settings.project.test:
        said.append(f"Tests are run with `{settings.project.test}`.")
    said += [f"`{each}` must accept each file that is edited." for each in settings.project.lint]
    failing = sorted(set(facts.get("baseline", {}).get("failing", ())) - set(flaky))
    if failing:
        said.append(
            f"Failed before anybody edited anything, and are not for you to mend: {_named(failing)}"
        )
    if flaky:
        said.append(f"Pass and fail without any change (flaky): {_named(sorted(flaky))}")
    removable = {
        numbered.step.file_path
        for subtask in plan.subtasks
        for numbered in subtask.numbered_steps()
        if numbered.step.may_remove_tests
    }
    if removable:
        said.append(f"Tests may be removed from these files only: {_named(sorted(removable))}")
    return said


def note_constraints(run: Run, ledger: Ledger, facts: Mapping[str, Any]) -> None:
    """Remember what binds every step, at a run's start."""
    found = ledger.latest_phase(run.run_id, FeaturePhase.ANALYSIS)
    for sentence in constraints(run.plan, run.settings, facts, run.line.flaky):
        remember(
            ledger,
            run.run_id,
            MemoryKind.CONSTRAINT,
            sentence,
            phase=FeaturePhase.ANALYSIS,
            phase_result_id=found,
        )


def failure_sentence(step: PlannedStep, failure_class: str, reason: str) -> str:
    """Return how a failed attempt is remembered."""
    return f"{_where(step)}: failed with {failure_class}: {one_line(reason, _SAID)}"


def note_failure(
    run: Run,
    step: PlannedStep,
    ledger: Ledger,
    *,
    given_up: str | None = None,
) -> None:
    """Remember the latest failure of a step if it is a new one, and that the step was given up.

    What is no fault of the agent's says nothing about the work, and is not remembered.

    Args:
        run: the run.
        step: the step.
        ledger: the transaction that records the failure, which it has recorded already.
        given_up: why the step is not tried again, None: it is.
    """
    failures = ledger.failures_of_step(step.step_id, run.run_id)
    if failures and failures[-1]["failure_class"] not in PASSING:
        last = failures[-1]
        known = {failure["signature"] for failure in failures[:-1]}
        if last["signature"] is None or last["signature"] not in known:
            said = failure_sentence(step, last["failure_class"], last["message"] or "")
            remember(
                ledger, run.run_id, MemoryKind.FAILURE, said, phase_result_id=run.phase_result_id
            )
    if given_up is not None:
        told = f"{_where(step)}: given up: {one_line(given_up, _SAID)}"
        remember(ledger, run.run_id, MemoryKind.FAILURE, told, phase_result_id=run.phase_result_id)


def note_success(
    run: Run,
    step: PlannedStep,
    ledger: Ledger,
    attempt: AttemptRow,
) -> None:
    """Remember what was wrong before a step was done, if anything was.

    Args:
        run: the run.
        step: the step.
        ledger: the transaction that records the success.
        attempt: the one that did it.
    """
    tries = ledger.failures_of_step(step.step_id, run.run_id)
    failures = [failure for failure in tries if failure["failure_class"] not in PASSING]
    if not failures:
        return
    # Of those that failed in the same way one tells enough.
    ways = {failure["signature"] or failure["attempt_id"]: failure for failure in failures}
    wrong = [
        f"{failure['failure_class']}: {one_line(failure['message'] or '', _SAID // 2)}"
        for failure in list(ways.values())[-3:]
    ]
    said = (
        f"{_where(step)}: done by attempt {attempt['number']} after {len(failures)} that failed; "
        f"what was wrong: {'; '.join(wrong)}"
    )
    remember(ledger, run.run_id, MemoryKind.INSIGHT, said, phase_result_id=run.phase_result_id)


def note_answers(run: Run, step: PlannedStep, ledger: Ledger, asked: Sequence[CtaRow]) -> None:
    """Remember what people decided about a step; what is remembered already stays as it is."""
    for cta in asked:
        answer = stuck_answer(cta)
        if answer is None:
            continue
        decided = {
            "retry": "a person had it tried again",
            "instructions": f"a person changed the instructions: {answer.text}",
            "skip": "a person had it skipped",
            "abandon": "a person gave the run up here",
        }[answer.action]
        because = f", because: {cta['response_reason']}" if cta["response_reason"] else ""
        remember(
            ledger,
            run.run_id,
            MemoryKind.DECISION,
            f"{_where(step)}: {decided}{because}",
            phase_result_id=cta["phase_result_id"],
        )


def note_approval(run: Run, ledger: Ledger, asked: CtaRow) -> None:
    """Remember what a person said to the delivery."""
    if standing(asked) != "answered":
        return
    said = f"A person said {'yes' if verdict(asked) == 'approved' else 'no'} to the delivery"
    if asked["response_reason"]:
        said += f": {asked['response_reason']}"
    remember(ledger, run.run_id, MemoryKind.DECISION, said, phase=FeaturePhase.PR)


# --- reading -------------------------------------------------------------------------------------


def chosen(
    memories: Sequence[MemoryRow],
    *,
    subtask: str,
    files: Sequence[str],
    told: Collection[str] = (),
) -> list[str]:
    """Return what a step is told: what binds it, what concerns it, then the newest of the rest.

    Args:
        memories: what the run remembers, the newest first.
        subtask: the step's subtask.
        files: the step's file, then those that it is shown.
        told: what it is told elsewhere.

    Returns:
        At most `MOST` sentences, none twice.
    """

    def rank(memory: MemoryRow) -> int:
        content = memory["content"]
        if memory["kind"] == MemoryKind.CONSTRAINT:
            return 0
        if any(f" of {path})" in content for path in files[:1]):
            return 1
        if content.startswith(f"{subtask}, "):
            return 2
        if any(path in content for path in files):
            return 3
        return 4 if memory["kind"] == MemoryKind.DECISION else 5

    ranked = sorted(memories, key=rank)
    sentences = dict.fromkeys(f"{memory['kind']}: {memory['content']}" for memory in ranked)
    hidden = {f"{MemoryKind.FAILURE.value}: {sentence}" for sentence in told}
    return [sentence for sentence in sentences if sentence not in hidden][:MOST]


def _where(step: PlannedStep) -> str:
    planned = step.numbered.step
    return (
        f"{step.subtask.key}, step {step.numbered.number} "
        f"({planned.step_type} of {planned.file_path})"
    )


def _named(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    shown = ", ".join(names[:_NAMED])
    return f"{shown} and {more} more." if more > 0 else f"{shown}."
