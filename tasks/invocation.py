"""Running an agent for an attempt: in a folder of its own, with its model requests metered."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from storage.redaction import hide
from storage.states import FailureClass
from tasks.agents.base import AgentResult, Assignment, Usage
from tasks.budget import has_budgets, overspent
from tasks.metering.meter import CUT_SHORT, Meter
from tasks.metering.prices import Prices
from tasks.metering.recorder import Recorder

if TYPE_CHECKING:
    from tasks.records import Work
    from tasks.run import PlannedStep, Run


def invoke(run: Run, step: PlannedStep, work: Work, *, replayed: bool = False) -> AgentResult:
    """Have a step's agent work once; what it asked of models is counted and recorded meanwhile.

    Args:
        run: the run.
        step: the step.
        work: the attempt, with its context; its recorder is set where there is something to count.
        replayed: what it uses belongs to the run, and not to the attempt.
    """
    run.scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (
        tempfile.TemporaryDirectory(dir=run.scratch, prefix="agent-") as private,
        _metered(run, step, work, replayed=replayed) as (base_url, meter),
    ):
        result = step.agent.run(_assignment(run, step, work, Path(private), base_url))
    return result if meter is None else with_meter(result, meter)


@contextmanager
def _metered(
    run: Run, step: PlannedStep, work: Work, *, replayed: bool
) -> Iterator[tuple[str | None, Meter | None]]:
    endpoint = step.agent.endpoint
    if endpoint is None:
        yield None, None
        return
    from tasks.metering.proxy import proxy  # noqa: PLC0415 - 0.2 s for who has no model to meter

    hide(endpoint.api_key)
    recorder = Recorder(run.database, run.phase_result_id, None if replayed else work.attempt["id"])
    limits = run.settings.limits.model_dump()

    def over_budget() -> str | None:
        with run.database.transaction() as ledger:
            over = overspent(
                limits,
                ledger.spent(run.project_id, run.run_id, step.step_id),
                ledger.budgets_raised(run.run_id),
            )
        return over.reason if over else None

    meter = Meter(
        endpoint,
        prices=Prices.current(),
        over_budget=over_budget if has_budgets(limits) else None,
        record=recorder,
    )
    work.recorder = recorder
    with proxy().metered(meter) as base_url:
        yield base_url, meter


def with_meter(result: AgentResult, meter: Meter) -> AgentResult:
    """Return an agent's result with what was counted in place of what it says of itself.

    What it says that it cost is kept beside that. An agent that got no answer to its last request
    did not fail by its work: the reason is the model's, or the budget's.
    """
    counted = meter.usage
    usage = result.usage
    if meter.requests:
        usage = Usage(
            model=meter.model,
            input_tokens=counted.input_tokens,
            output_tokens=counted.output_tokens,
            cache_read_tokens=counted.cache_read_tokens,
            cost_usd=result.usage.cost_usd,
            cost_computed=meter.cost_usd,
        )
    result = _told_of_length(result, meter)
    refusal = meter.ended_with
    if refusal is None or refusal.failure_class not in CUT_SHORT:
        return replace(result, usage=usage, reported=result.usage)
    return replace(
        result,
        usage=usage,
        reported=result.usage,
        failure_class=str(refusal.failure_class),
        error="; ".join(part for part in (refusal.message, result.error) if part),
    )


def _told_of_length(result: AgentResult, meter: Meter) -> AgentResult:
    """Say that the last answer was cut at its length, which some agents keep quiet about."""
    last = meter.requests[-1] if meter.requests else None
    if last is None or last.answered.finish_reason != "length" or result.failure_class:
        return result
    said = "the model's last answer was cut at its length limit"
    error = "; ".join(part for part in (said, result.error) if part)
    return replace(result, error=error, failure_class=str(FailureClass.AGENT_ERROR))


def _assignment(
    run: Run, step: PlannedStep, work: Work, private: Path, base_url: str | None
) -> Assignment:
    """Return what an agent gets for an attempt."""
    planned = step.numbered.step
    entries = planned.replay
    return Assignment(
        prompt=work.context.prompt,
        worktree=run.sandbox.path,
        file_path=planned.file_path,
        step_type=planned.step_type,
        step_id=step.step_id,
        subtask=step.subtask.key,
        attempt_no=work.attempt["attempt_no"],
        context_files=tuple(planned.context_files),
        timeout_s=run.settings.limits.agent_timeout_s,
        private=private,
        base_url=base_url,
        left_out=work.context.left_out,
        replay=entries[min(work.own_tries, len(entries)) - 1] if entries else None,
        plan_dir=run.plan_dir,
        git=run.sandbox.clone.git,
        fence=run.test_command.fence,
    )
