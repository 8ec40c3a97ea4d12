"""What goes over the wire: bodies that are read, headers that are passed, errors that are said."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import httpx
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from storage.states import FailureClass
from tasks.metering.dialects import Dialect
from tasks.metering.requests import Refusal

LARGEST_REQUEST: Final = 64 << 20
"""Bytes; providers take half of it at most."""

#: What is passed on of a request's headers. No key, no cookie, nothing of the agent's machine.
_ASKED: Final = ("accept", "content-type", "openai-beta", "user-agent", "x-stainless-retry-count")
_ASKED_BEGIN: Final = ("anthropic-",)
#: What is passed on of an answer's headers.
_ANSWERED: Final = (
    "content-type",
    "request-id",
    "x-request-id",
    "x-should-retry",
    "openai-version",
)
_ANSWERED_BEGIN: Final = (
    "retry-after",
    "x-ratelimit-",
    "anthropic-ratelimit-",
    "anthropic-version",
)


def passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    """Return what is passed on of a request's headers."""
    return {
        name: value
        for name, value in headers.items()
        if name in _ASKED or name.startswith(_ASKED_BEGIN)
    }


def ask_for_usage(dialect: Dialect, document: dict[str, Any]) -> bool:
    """Have a streamed answer say what it used; True when nobody but the proxy asked for it."""
    if dialect.PATH != "/chat/completions" or document.get("stream") is not True:
        return False
    options = document.get("stream_options")
    options = options if isinstance(options, dict) else {}
    if options.get("include_usage") is True:
        return False
    document["stream_options"] = {**options, "include_usage": True}
    return True


async def body_of(request: Request) -> bytes:
    """Return a request's body.

    Raises:
        OverflowError: it is larger than any provider takes.
    """
    parts, size = [], 0
    with suppress(ClientDisconnect):
        async for part in request.stream():
            size += len(part)
            if size > LARGEST_REQUEST:
                raise OverflowError
            parts.append(part)
    return b"".join(parts)


def json_object(content: bytes) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ValueError: it is none.
    """
    try:
        document = json.loads(content)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(document, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - of its content, as the rest
    return document


def passed_back(headers: httpx.Headers) -> dict[str, str]:
    """Return what is passed on of an answer's headers."""
    return {
        name: value
        for name, value in headers.items()
        if name in _ANSWERED or name.startswith(_ANSWERED_BEGIN)
    }


def status_of(error: Mapping[str, Any]) -> int:
    """Return the status that an error inside a stream would have had."""
    said = json.dumps(error)
    if "overloaded" in said:
        return 529
    if "rate_limit" in said:
        return 429
    return 400 if "invalid_request" in said or "context_length" in said else 500


def stopped(refusal: Refusal) -> Response:
    """Answer so that no agent asks again: of all errors they take this one as final (measured).

    What the provider said is not quoted: some agents look for words like `rate_limit` in it, and
    then wait by themselves. The ledger has it.
    """
    spent = refusal.failure_class == FailureClass.BUDGET_EXCEEDED
    why = "the budget is spent" if spent else "the model does not answer for now"
    return error_response(
        402,
        f"Greenline ends this invocation: {why}. Asking again does not help.",
        kind="invalid_request_error",
        code="invocation_ended",
        headers={"x-should-retry": "false"},
    )


def error_response(
    status: int,
    message: str,
    *,
    kind: str = "invalid_request_error",
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Answer with an error that clients of all dialects understand."""
    error = {"type": kind, "message": message, "param": None, "code": code}
    return JSONResponse({"type": "error", "error": error}, status, headers=headers)


def told(error: Exception) -> str:
    """Return an exception as it stands in a sentence."""
    return f"{type(error).__name__}: {error}".rstrip(": ")
