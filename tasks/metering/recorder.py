"""Writing down an invocation while it is under way: each request is in the ledger once it is over.

So what an agent used is known even when Greenline is killed before the agent ends, and a budget
counts what other agents of the same run are using at that moment.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from storage.database import Database
from storage.exceptions import GreenlineError
from storage.ledger import Ledger
from storage.rows import AgentStepFields, InvocationTotals, ModelCallFields, ToolCallFields
from tasks.metering.requests import NOTHING, ModelRequest, TokenUsage, ToolResult, total

logger = logging.getLogger(__name__)

_LONGEST: Final = 200_000
"""Characters that are kept of one text; the end of it, which says how it went on."""


@dataclass
class Recorder:
    """Writes the requests of one invocation.

    Attributes:
        database: the ledger.
        phase_result_id: the phase that it belongs to.
        attempt_id: the attempt that it is for, None for a conversation of Greenline's own.
        agent_type: of the ledger's enum.
        invocation_id: its row, which the first request makes.
    """

    database: Database
    phase_result_id: str
    attempt_id: int | None = None
    agent_type: str = "coder"
    invocation_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    requests: list[ModelRequest] = field(default_factory=list)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, request: ModelRequest, results: Iterable[ToolResult]) -> None:
        """Write a request down, and what tools said since the one before.

        A ledger that does not answer keeps no agent from its work: the attempt's end writes what
        is missing, or fails itself.
        """
        with self._guard:  # what they add up to is written by one at a time
            self.requests.append(request)
            self._written(request, results)

    def _written(self, request: ModelRequest, results: Iterable[ToolResult]) -> None:
        try:
            with self.database.transaction() as ledger:
                self.write(ledger, [request], results)
        except GreenlineError as error:
            logger.warning("a model request is not in the ledger yet: %s", error)

    def write(
        self, ledger: Ledger, requests: Iterable[ModelRequest], results: Iterable[ToolResult] = ()
    ) -> None:
        """Write requests in a transaction of the caller's; those that are there stay.

        Args:
            ledger: the transaction.
            requests: some of those that were made; at least one was.
            results: what tools said.
        """
        ledger.record_invocation(
            id=self.invocation_id,
            phase_result_id=self.phase_result_id,
            attempt_id=self.attempt_id,
            agent_type=self.agent_type,
            started_at=min(one.began for one in self.requests),
            **invocation_totals(self.requests),
        )
        for request in requests:
            (step_id,) = ledger.record_agent_steps(self.invocation_id, [_step(request)])
            calls: list[ToolCallFields] = [
                {
                    "tool_call_id": use.id or f"{request.number}/{place}",
                    "tool_name": use.name,
                    "step_id": step_id,
                    "input": use.input,
                    "is_invalid": use.is_invalid,
                    "is_provider_executed": use.is_provider_executed,
                }
                for place, use in enumerate(request.answered.tool_uses)
            ]
            ledger.record_tool_calls(self.invocation_id, calls)
        for result in results:
            ledger.record_tool_output(
                self.invocation_id,
                result.id,
                _shortened(result.output),
                "error-text" if result.is_error else "text",
            )


def invocation_totals(requests: list[ModelRequest]) -> InvocationTotals:
    """Return the columns of an invocation that its requests add up to.

    `usage_raw` has what is known at least, for budgets: a sum with something unknown in it is
    unknown, but what it is over is over.
    """
    usage = total([one.answered.usage for one in requests])
    last = requests[-1] if requests else None
    costs = [one.cost_usd for one in requests if one.answered.usage != NOTHING]
    known = [cost for cost in costs if cost is not None]
    versions = sorted({one.price_version for one in requests if one.price_version})
    return {
        "model_provider": last.provider if last else None,
        "model_id": last.asked.model if last else None,
        "response_model_id": next(
            (one.answered.model for one in reversed(requests) if one.answered.model), None
        ),
        "finish_reason": _finish(last) if last else None,
        "raw_finish_reason": last.answered.raw_finish_reason if last else None,
        "step_count": len(requests),
        **_tokens(usage),
        "usage_raw": {
            "tokens": sum(one.answered.usage.known_tokens for one in requests),
            "usd": round(sum(known), 9),
            "requests": len(requests),
        },
        "cost_computed": sum(known) if known and len(known) == len(costs) else None,
        "price_version": ", ".join(versions) or None,
    }


def _step(request: ModelRequest) -> AgentStepFields:
    asked, answered = request.asked, request.answered
    warnings = [request.refusal.message] if request.refusal else None
    return {
        "step_number": request.number,
        "created_at": request.began + timedelta(milliseconds=request.duration_ms),
        "model_provider": request.provider,
        "model_id": asked.model,
        "response_model_id": answered.model,
        "response_id": answered.id,
        # It is the same in each request: once is enough.
        "system_prompt": _shortened(asked.system) if request.number == 0 else None,
        "input_messages": _shortened(list(request.new_messages)),
        "output_text": _shortened(answered.text) or None,
        "output_reasoning_text": _shortened(answered.reasoning) or None,
        "finish_reason": _finish(request),
        "raw_finish_reason": answered.raw_finish_reason,
        "warnings": warnings,
        "provider_metadata": {
            "duration_ms": request.duration_ms,
            "status": request.refusal.status if request.refusal else 200,
            "failure_class": str(request.refusal.failure_class) if request.refusal else None,
            "cost_usd": request.cost_usd,
        },
        "usage_raw": answered.usage_raw,
        **_tokens(answered.usage),
    }


def _finish(request: ModelRequest) -> str | None:
    return "error" if request.refusal else request.answered.finish_reason


def _tokens(usage: TokenUsage) -> ModelCallFields:
    read, written = usage.cache_read_tokens, usage.cache_write_tokens
    fresh = None
    if usage.input_tokens is not None:
        fresh = max(usage.input_tokens - (read or 0) - (written or 0), 0)
    spoken = None
    if usage.output_tokens is not None and usage.reasoning_tokens is not None:
        spoken = max(usage.output_tokens - usage.reasoning_tokens, 0)
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "input_tokens_no_cache": fresh,
        "input_tokens_cache_read": read,
        "input_tokens_cache_write": written,
        "output_tokens_text": spoken,
        "output_tokens_reasoning": usage.reasoning_tokens,
    }


def _shortened(value: Any) -> Any:
    """Return a JSON value with its texts cut to what is kept of them."""
    if isinstance(value, str):
        return value if len(value) <= _LONGEST else f"…{value[-_LONGEST:]}"
    if isinstance(value, dict):
        return {key: _shortened(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_shortened(item) for item in value]
    return value
