"""The meter of one invocation: every model request that an agent makes, what it used and cost."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from storage.states import FailureClass
from tasks.metering.endpoint import Endpoint
from tasks.metering.prices import Prices
from tasks.metering.requests import (
    NOTHING,
    Answered,
    Asked,
    ModelRequest,
    Refusal,
    TokenUsage,
    ToolResult,
    total,
)

logger = logging.getLogger(__name__)

CUT_SHORT: Final = frozenset(
    {
        FailureClass.BUDGET_EXCEEDED,
        FailureClass.AUTH,
        FailureClass.RATE_LIMITED,
        FailureClass.QUOTA_EXHAUSTED,
        FailureClass.INFRA,
        FailureClass.CONTEXT_OVERFLOW,
    }
)
"""Why an agent's model stopped answering it, when that and not its work is what failed."""

_GIVES_UP_AFTER: Final = 3
"""Answers that broke off in a row, after which no further request is made."""

Record = Callable[[ModelRequest, tuple[ToolResult, ...]], None]
"""Writes a request down, with what tools said since the one before."""


@dataclass
class Begun:
    """A request under way."""

    number: int
    provider: str
    asked: Asked
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    clock: float = field(default_factory=time.monotonic)


class Meter:
    """Counts the model requests of one invocation.

    It is used from the proxy's thread and read from the attempt's.

    Attributes:
        endpoint: where its requests go.
        requests: those that are over, in the order of their ends.
        stopped: why no further request may be made, where that is known already.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        prices: Prices,
        over_budget: Callable[[], str | None] | None = None,
        record: Record = lambda _request, _results: None,
    ) -> None:
        self.endpoint = endpoint
        self.requests: list[ModelRequest] = []
        self._prices = prices
        self._over_budget = over_budget
        self._record = record
        self._guard = threading.Lock()
        self._begun = 0
        self._conversation = 0  # messages that were seen of it
        self._results: set[str] = set()
        self.stopped: Refusal | None = None
        self._broken = 0  # answers that broke off, in a row

    def stop_reason(self) -> Refusal | None:
        """Say why no further request may be made; None while one may.

        A budget may be overdrawn by one request: what that uses is known when it is over.
        """
        over = self._over_budget() if self.stopped is None and self._over_budget else None
        if over is not None:
            self.stop(Refusal(FailureClass.BUDGET_EXCEEDED, over))
        return self.stopped

    @property
    def is_budgeted(self) -> bool:
        """Whether there is a budget to be asked about before each request."""
        return self._over_budget is not None

    def get_ready(self) -> None:
        """Load what pricing a request takes, so that no answer waits for it."""
        self._prices.cost("gpt-4o", NOTHING, datetime.now(UTC))

    def stop(self, refusal: Refusal) -> None:
        """Let no further request be made: its model will not answer for now."""
        self.stopped = self.stopped or refusal

    def begin(self, provider: str, asked: Asked) -> Begun:
        """Note that a request came in."""
        with self._guard:
            number, self._begun = self._begun, self._begun + 1
        return Begun(number, provider, asked)

    def end(self, begun: Begun, answered: Answered, refusal: Refusal | None) -> Callable[[], None]:
        """Note how a request ended; return what writes it down, which takes a while."""
        usage = NOTHING if _is_free(answered, refusal) else answered.usage
        answered = _with_usage(answered, usage)
        cost, version = self._prices.cost(
            answered.model or begun.asked.model, usage, begun.began, provider=begun.provider
        )
        with self._guard:
            new = begun.asked.messages[self._conversation :] or begun.asked.messages
            self._conversation = len(begun.asked.messages)
            results = tuple(one for one in begun.asked.results if one.id not in self._results)
            self._results |= {one.id for one in results}
            request = ModelRequest(
                number=begun.number,
                provider=begun.provider,
                asked=begun.asked,
                answered=answered,
                refusal=refusal,
                began=begun.began,
                duration_ms=round((time.monotonic() - begun.clock) * 1000),
                cost_usd=cost,
                price_version=version,
                new_messages=new,
            )
            self.requests.append(request)
            broke_off = refusal is not None and refusal.failure_class == FailureClass.INFRA
            self._broken = self._broken + 1 if broke_off else 0
            if refusal is not None and self._broken >= _GIVES_UP_AFTER:
                self.stop(refusal)
        return lambda: self._record(request, results)

    @property
    def usage(self) -> TokenUsage:
        """What all requests used together."""
        return total([one.answered.usage for one in self.requests])

    @property
    def cost_usd(self) -> float | None:
        """What all requests cost together; None when that of one is not known."""
        costs = [one.cost_usd for one in self.requests if one.answered.usage != NOTHING]
        known = [cost for cost in costs if cost is not None]
        return sum(known) if known and len(known) == len(costs) else None

    @property
    def model(self) -> str | None:
        """Which model answered last, as its provider named it."""
        named = [one.answered.model or one.asked.model for one in self.requests]
        return next((name for name in reversed(named) if name), None)

    @property
    def ended_with(self) -> Refusal | None:
        """Why the last request got no whole answer; None when it did, or there was none."""
        if self.stopped is not None:
            return self.stopped
        return self.requests[-1].refusal if self.requests else None


def _is_free(answered: Answered, refusal: Refusal | None) -> bool:
    """Say whether nothing was used: who answers with an error, or not at all, charges nothing.

    Of an answer that broke off, or that nobody waited for, it is not known.
    """
    if refusal is None or answered != Answered():
        return False
    return refusal.status is not None or refusal.failure_class == FailureClass.INFRA


def _with_usage(answered: Answered, usage: TokenUsage) -> Answered:
    return (
        answered
        if answered.usage == usage
        else Answered(
            answered.id,
            answered.model,
            answered.text,
            answered.reasoning,
            answered.tool_uses,
            answered.raw_finish_reason,
            usage,
            answered.usage_raw,
        )
    )
