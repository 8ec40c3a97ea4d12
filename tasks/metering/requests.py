"""A model request as it was observed: what was asked, what was answered, what it used. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

FINISH_REASONS: Final[Mapping[str, str]] = {
    # OpenAI chat completions
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool-calls",
    "function_call": "tool-calls",
    "content_filter": "content-filter",
    # OpenAI responses
    "completed": "stop",
    "max_output_tokens": "length",
    "failed": "error",
    # Anthropic messages
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool-calls",
    "refusal": "content-filter",
}
"""Providers' words for why an answer ended, in the words of the ledger."""


@dataclass(frozen=True)
class TokenUsage:
    """Tokens of one request or of several; None is not measured, which is not zero.

    Attributes:
        input_tokens: all that went in, read from and written to a cache too.
        output_tokens: all that came out, reasoning too.
        cache_read_tokens: of the input, what a cache had.
        cache_write_tokens: of the input, what was put into a cache.
        reasoning_tokens: of the output, what nobody gets to read.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None

    @property
    def total_tokens(self) -> int | None:
        """Input and output together, None unless both are known."""
        if self.input_tokens is None or self.output_tokens is None:
            return None
        return self.input_tokens + self.output_tokens

    @property
    def known_tokens(self) -> int:
        """What is known of them: the least that was used."""
        return (self.input_tokens or 0) + (self.output_tokens or 0)


NOTHING: Final = TokenUsage(0, 0, 0, 0, 0)
"""What a refused request uses: providers charge nothing for it."""


def total(usages: Sequence[TokenUsage]) -> TokenUsage:
    """Add usages up; a sum with something unknown in it is unknown. None at all: nothing known."""

    def added(values: list[int | None]) -> int | None:
        known = [value for value in values if value is not None]
        return sum(known) if known and len(known) == len(values) else None

    return TokenUsage(
        added([one.input_tokens for one in usages]),
        added([one.output_tokens for one in usages]),
        added([one.cache_read_tokens for one in usages]),
        added([one.cache_write_tokens for one in usages]),
        added([one.reasoning_tokens for one in usages]),
    )


@dataclass(frozen=True)
class ToolUse:
    """A tool that the model wants used."""

    id: str
    name: str
    input: Any
    is_invalid: bool = False  # its input is no JSON
    is_provider_executed: bool = False


@dataclass(frozen=True)
class ToolResult:
    """What a tool said, as the agent told the model."""

    id: str
    output: Any
    is_error: bool = False


@dataclass(frozen=True)
class Asked:
    """A request to a model.

    Attributes:
        model: which one.
        system: instructions to it.
        messages: the conversation so far, as the dialect has it.
        results: what tools said, of the whole conversation.
        is_streamed: the answer is wanted as server-sent events.
    """

    model: str | None
    system: str | None
    messages: tuple[Any, ...]
    results: tuple[ToolResult, ...] = ()
    is_streamed: bool = False


@dataclass(frozen=True)
class Answered:
    """What a model answered, or as much of it as came."""

    id: str | None = None
    model: str | None = None
    text: str = ""
    reasoning: str = ""
    tool_uses: tuple[ToolUse, ...] = ()
    raw_finish_reason: str | None = None
    usage: TokenUsage = TokenUsage()
    usage_raw: Any = None

    @property
    def finish_reason(self) -> str | None:
        """Why it ended, in the words of the ledger; None: it did not, as far as anybody saw."""
        if self.raw_finish_reason is None:
            return None
        return FINISH_REASONS.get(self.raw_finish_reason, "other")


@dataclass(frozen=True)
class Refusal:
    """Why there was no answer.

    Attributes:
        failure_class: what an attempt that ends with it fails as.
        message: what was said, for people and for what reads when a limit resets.
        status: of HTTP; None where nobody answered.
    """

    failure_class: str
    message: str
    status: int | None = None


@dataclass(frozen=True)
class ModelRequest:
    """One model request inside an invocation.

    Attributes:
        number: from 0.
        provider: whose dialect was spoken: openai or anthropic.
        asked: the request.
        answered: the answer; empty when it was refused.
        refusal: why there was none, or why it broke off; None when it came whole.
        began: when it came in.
        duration_ms: until the last of it was handed over.
        cost_usd: by the price table; None: the model has no price there, or tokens are unknown.
    """

    number: int
    provider: str
    asked: Asked
    answered: Answered
    refusal: Refusal | None
    began: datetime
    duration_ms: int
    cost_usd: float | None = None
    price_version: str | None = None
    new_messages: tuple[Any, ...] = field(default=())
