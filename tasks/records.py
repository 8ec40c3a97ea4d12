"""What is written down of an attempt: the rows of its end, in one transaction."""

from __future__ import annotations

import hashlib
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from storage.ledger import Ledger
from storage.rows import AttemptRow, InvocationFields, ToolCallFields
from storage.states import AttemptStatus, WorkstreamStatus
from tasks.agents.base import AgentResult, Usage
from tasks.context import Context
from tasks.gates import SuiteRun, Verdict
from tasks.gates.signatures import signature
from tasks.metering.recorder import Recorder, invocation_totals
from tasks.run import PlannedStep, Run
from tasks.run_store import record_verification
from tasks.sandbox import Examined
from tasks.skills.in_run import note_skill_ended
from tasks.verify import Verification

_MESSAGE: Final = 8_000
_TRANSCRIPT: Final = 200_000


@dataclass
class Work:
    """What came to light while an attempt was made, recorded in one transaction at its end."""

    attempt: AttemptRow
    context: Context
    file_path: str
    token: int  # of the file's lock
    intervened: bool = False
    own_tries: int = 1  # at the step, those that were no fault of the agent's left out
    started: float = field(default_factory=time.monotonic)
    agent: AgentResult | None = None
    left: Examined | None = None
    verifications: list[Verification] = field(default_factory=list)
    accepted: SuiteRun | None = None
    flaky: tuple[str, ...] = ()  # tests whose outcomes differed on what the attempt left
    checked: bool = False  # the workstream has left `editing`
    skipped: bool = False
    lines: tuple[int, int] | None = None  # added and deleted by an attempt that was accepted
    recorder: Recorder | None = None  # of the model requests, where they are metered
    apart: bool = False  # a replay: nothing of the workstream moves

    @property
    def number(self) -> int:
        """The attempt's number within the project."""
        return self.attempt["number"] or 0


def move_workstream(ledger: Ledger, step: PlannedStep, *states: WorkstreamStatus) -> None:
    """Move a step's workstream on, state by state."""
    for state in states:
        ledger.update_workstream_status(step.ws_id, state)


def record_end(
    run: Run,
    step: PlannedStep,
    work: Work,
    ledger: Ledger,
    status: AttemptStatus,
    verdict: Verdict,
    commit: str | None,
) -> None:
    """Write all rows of an attempt's end: attempt, step, error, invocation, verifications.

    Args:
        commit: the head afterwards, or what a failed attempt left, None for nothing.
    """
    agent, attempt_id = work.agent, work.attempt["id"]
    failed = status == AttemptStatus.FAILURE
    reason = verdict.reason[:_MESSAGE]
    duration_ms = round((time.monotonic() - work.started) * 1000)
    ledger.update_step(step.step_id, context_snapshot=work.context.snapshot)
    ledger.finish_attempt(
        attempt_id,
        status,
        commit_sha_after=commit,
        exit_code=agent.exit_code if agent else None,
        duration_ms=duration_ms,
        token_usage=token_usage(agent.usage) if agent else None,
        failure_class=verdict.failure_class,
        intervened=work.intervened,
        result=_result(work, verdict, reason),
        error=reason if failed else None,
        signature=signature(verdict.failure_class or "unknown", verdict.reason) if failed else None,
    )
    note_skill_ended(run, step, ledger, work.attempt, verdict, duration_ms)
    if agent is not None:
        record_invocation(run, work, ledger, agent, attempt_id=attempt_id)
    for verification in work.verifications:
        record_verification(ledger, run.run_id, verification, attempt_id=attempt_id, commit=commit)


def record_head(run: Run, step: PlannedStep, ledger: Ledger, commit: str) -> None:
    """Record where the line of commits stands: the run's own, or that of the workstream's lane."""
    if run.lane is None:
        ledger.set_run_head(run.run_id, commit)
    else:
        ledger.update_workstream_metadata(step.ws_id, {"lane_head": commit})


def token_usage(usage: Usage) -> dict[str, Any] | None:
    """Return the usage as the ledger keeps it; None when nothing was measured.

    Unknown is not zero: a figure that was not measured is null, and so is a sum with it.
    """
    cost = usage.cost_computed if usage.cost_usd is None else usage.cost_usd
    if usage.input_tokens is None and usage.output_tokens is None and cost is None:
        return None
    known = usage.input_tokens is not None and usage.output_tokens is not None
    total = (usage.input_tokens or 0) + (usage.output_tokens or 0) if known else None
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": total,
        "cost": cost,
    }


def _result(work: Work, verdict: Verdict, reason: str) -> dict[str, Any]:
    result: dict[str, Any] = {"reason": reason, **verdict.counts}
    if verdict.tests:
        result["tests"] = list(verdict.tests[:50])
    result["flaky"] = list(work.flaky[:50])
    if work.left is not None:
        result |= {
            "violations": [str(violation) for violation in work.left.violations[:50]],
            "left_out": list(work.left.left_out[:50]),
            "removed": list(work.left.removed[:50]),
            "undone": list(work.left.tampered[:50]),
        }
        if work.left.changed:
            # Equal when the same change was made to the same state: the breaker looks for it.
            before = work.attempt["commit_sha_before"]
            made = f"{before} {work.left.tree}".encode()
            result["diff"] = hashlib.sha256(made).hexdigest()[:16]
    if work.agent is not None:
        result["processes_killed"] = work.agent.leftovers
        result["agent_ms"] = work.agent.duration_ms
    result["tests_ms"] = sum(verification.duration_ms for verification in work.verifications)
    said = {key: value for key, value in result.items() if value not in ([], 0, None)}
    if work.lines is not None:
        said["lines_added"], said["lines_deleted"] = work.lines
    return said


def record_invocation(
    run: Run, work: Work, ledger: Ledger, agent: AgentResult, *, attempt_id: int | None
) -> None:
    """Record an agent's process with its usage and its tool calls."""
    ended = datetime.now(UTC)
    known: InvocationFields = {
        "phase_result_id": run.phase_result_id,
        "attempt_id": attempt_id,
        "agent_type": "coder",
        "input_messages": [{"role": "user", "content": work.context.prompt}],
        "output_text": agent.transcript[-_TRANSCRIPT:],
        "warnings": [agent.error] if agent.error else None,
        "provider_metadata": {"stderr": agent.stderr[-_MESSAGE:], "exit_code": agent.exit_code},
        "cost_reported": agent.usage.cost_usd,
        "started_at": ended - timedelta(seconds=time.monotonic() - work.started),
        "completed_at": ended,
    }
    recorder = work.recorder
    if recorder is not None and recorder.requests:
        # They are there unless the ledger did not answer meanwhile.
        recorder.write(ledger, recorder.requests)
        if agent.reported is not None:
            known["provider_metadata"]["reported"] = asdict(agent.reported)
        known = {**known, **invocation_totals(recorder.requests), "id": recorder.invocation_id}
        ledger.record_invocation(**known)
        return
    usage = agent.usage
    counts = token_usage(usage) or {}
    known["model_id"] = usage.model
    known["input_tokens"] = usage.input_tokens
    known["output_tokens"] = usage.output_tokens
    known["total_tokens"] = counts.get("total_tokens")
    known["input_tokens_cache_read"] = usage.cache_read_tokens
    invocation = ledger.record_invocation(**known)
    calls: list[ToolCallFields] = [
        {
            "tool_call_id": call.tool_call_id,
            "tool_name": call.tool_name,
            "input": call.input,
            "output": call.output,
            "output_type": call.output_type,
            "error": call.error,
        }
        for call in agent.tool_calls
    ]
    ledger.record_tool_calls(invocation, calls)
