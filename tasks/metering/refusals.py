"""Why a model did not answer: what providers and agents say, as failure classes. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from storage.states import FailureClass
from tasks.metering.requests import Refusal
from tasks.parking import resets_in

_LONGEST: Final = 4_000
_MOST_TRIES: Final = 3
_LONGEST_WAIT_S: Final = 5.0
#: Headers that say when to come back; they are kept in the message for who reads it from there.
_WHEN: Final = re.compile(r"retry-after(?:-ms)?|.*ratelimit.*reset.*", re.IGNORECASE)

#: What is said in texts of all kinds, the surest first. What a number alone would say is not here:
#: "401" stands in code and line numbers too.
_SAID: Final[Mapping[FailureClass, tuple[str, ...]]] = {
    FailureClass.CONTEXT_OVERFLOW: (
        "context_length_exceeded",
        "maximum context length",
        "(?:prompt|input) is too long",
        r"exceeds? (?:the |this |its |your )?(?:model'?s )?(?:maximum )?context",
        "context window",
        "request_too_large",
        "ContextWindowExceeded",
        "too many (?:input )?tokens",
        "input length and `?max_tokens`? exceed",
    ),
    FailureClass.QUOTA_EXHAUSTED: (
        "insufficient_quota",
        "exceeded your current quota",
        "credit balance is too low",
        "billing_hard_limit",
        "out of credits",
        "payment required",
        "usage limit (?:has been )?reached",
        "(?:hit|reached) your (?:usage|session|weekly) limit",
        "spend(?:ing)? limit",
    ),
    FailureClass.RATE_LIMITED: (
        r"rate[ _-]?limit(?:_error|ed|s? (?:exceeded|reached))?\b",
        "too many requests",
        "RateLimitError",
    ),
    FailureClass.AUTH: (
        "authentication_error",
        "(?:invalid|incorrect)[ _]api[ _]key",
        "invalid x-api-key",
        "AuthenticationError",
        "permission_error",
        "PermissionDenied",
        r"\bunauthorized\b",
        "not logged in",
        "please (?:run )?/?login",
        "OAuth token has expired",
        "missing (?:api|bearer)[ _](?:key|token)",
    ),
    FailureClass.INFRA: (
        r"overloaded(?:_error)?\b",
        "internal server error",
        "InternalServerError",
        "bad gateway",
        "service ?unavailable",
        "gateway time-?out",
        "connection ?(?:refused|error|reset|closed (?:before|mid))",
        "(?:unable to|cannot) connect to",
        "experiencing high demand",
        "ECONNREFUSED|ECONNRESET|ETIMEDOUT|EAI_AGAIN",
        "APIConnectionError|APITimeoutError",
        "stream disconnected",
        r"server_error\b",
    ),
}
_PATTERNS: Final = tuple(
    (name, re.compile("|".join(words), re.IGNORECASE)) for name, words in _SAID.items()
)


def class_of(text: str) -> FailureClass | None:
    """Return the failure class that a text speaks of; None when it speaks of none.

    Args:
        text: what an agent or a provider said.
    """
    return next((name for name, pattern in _PATTERNS if pattern.search(text)), None)


def refused(status: int, headers: Mapping[str, str], body: bytes) -> Refusal:
    """Return why a provider did not answer, from what it said instead.

    Args:
        status: of HTTP, 400 or more.
        headers: of the answer.
        body: of the answer.
    """
    said = _message(body)
    told = "; ".join(f"{name}: {value}" for name, value in headers.items() if _WHEN.fullmatch(name))
    message = f"the model's server answered {status}: {said}" + (f" ({told})" if told else "")
    return Refusal(_class(status, said + body.decode("utf-8", "replace")), message, status)


def unreachable(reason: str) -> Refusal:
    """Return that nobody answered, or that the answer broke off."""
    return Refusal(FailureClass.INFRA, reason)


def gone() -> Refusal:
    """Return that the agent did not wait for its answer: it ended, or was ended."""
    return Refusal(FailureClass.AGENT_ERROR, "the agent ended the connection before its answer")


def again_in(refusal: Refusal, tries: int, now: datetime) -> float | None:
    """Return in how many seconds it is worth asking once more; None: not for now.

    Short disturbances are sat out here, so that an agent keeps what it has done so far. What takes
    longer is waited for between attempts.

    Args:
        refusal: why there was no answer.
        tries: how often was asked.
        now: when it was said, with a time zone.
    """
    passing = refusal.failure_class in (FailureClass.INFRA, FailureClass.RATE_LIMITED)
    if tries >= _MOST_TRIES or not passing:
        return None
    said = resets_in(refusal.message, now)
    wait = 0.25 * 2**tries if said is None else max(said, 0.1)
    return wait if wait <= _LONGEST_WAIT_S else None


def _class(status: int, said: str) -> str:
    by_text = class_of(said)
    match status:
        case 401 | 403:
            return FailureClass.AUTH
        case 402:
            return FailureClass.QUOTA_EXHAUSTED
        case 429:
            quota = by_text == FailureClass.QUOTA_EXHAUSTED
            return FailureClass.QUOTA_EXHAUSTED if quota else FailureClass.RATE_LIMITED
        case 413:
            return FailureClass.CONTEXT_OVERFLOW
        case 400 | 422 if by_text in (FailureClass.CONTEXT_OVERFLOW, FailureClass.QUOTA_EXHAUSTED):
            return by_text
        case 408 | 409 | 425:
            return FailureClass.INFRA
    return FailureClass.INFRA if status >= 500 else FailureClass.AGENT_ERROR


def _message(body: bytes) -> str:
    """Return the sentence in an error's document, or all of it."""
    text = body.decode("utf-8", "replace").strip()
    try:
        document: Any = json.loads(text)
    except (ValueError, RecursionError):
        return text[:_LONGEST] or "nothing else"
    error = document.get("error", document) if isinstance(document, dict) else document
    if isinstance(error, dict):
        said = [str(error[key]) for key in ("type", "code", "message") if error.get(key)]
        error = ", ".join(dict.fromkeys(said)) or json.dumps(error)
    return str(error)[:_LONGEST]
