"""Errors as the providers word them."""

from __future__ import annotations

import json
from typing import Any

from tests.model_server.replies import Refusal, Trouble

#: Status, type, code and message, as OpenAI has them.
OPENAI: dict[Trouble, tuple[int, str, str | None, str]] = {
    "auth": (401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    "not_found": (
        404, "invalid_request_error", "model_not_found", "The model does not exist or you do not have access to it.",
    ),
    "rate_limit": (429, "requests", "rate_limit_exceeded", "Rate limit reached for requests per minute."),
    "quota": (429, "insufficient_quota", "insufficient_quota", "You exceeded your current quota."),
    "overflow": (
        400, "invalid_request_error", "context_length_exceeded",
        "This model's maximum context length is 1000 tokens. However, your messages resulted in 2000 tokens.",
    ),
    "invalid": (400, "invalid_request_error", None, "The request is not valid."),
    "overloaded": (503, "server_error", None, "The server is overloaded."),
    "server": (500, "server_error", None, "The server had an error while processing your request."),
}  # fmt: skip

#: Status, type and message, as Anthropic has them.
ANTHROPIC: dict[Trouble, tuple[int, str, str]] = {
    "auth": (401, "authentication_error", "invalid x-api-key"),
    "not_found": (404, "not_found_error", "model: no-such-model"),
    "rate_limit": (429, "rate_limit_error", "This request would exceed your rate limit."),
    "quota": (400, "invalid_request_error", "Your credit balance is too low to access the API."),
    "overflow": (400, "invalid_request_error", "prompt is too long: 2000 tokens > 1000 maximum"),
    "invalid": (400, "invalid_request_error", "The request is not valid."),
    "overloaded": (529, "overloaded_error", "Overloaded"),
    "server": (500, "api_error", "Internal server error"),
}


def worded(refusal: Refusal, dialect: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of a refusal in the dialect of the request."""
    document: dict[str, Any]
    if dialect == "messages":
        status, kind, message = ANTHROPIC[refusal.trouble]
        error = {"type": refusal.code or kind, "message": refusal.message or message}
        document = {"type": "error", "error": error, "request_id": "req_scripted"}
    else:
        status, kind, code, message = OPENAI[refusal.trouble]
        document = {
            "error": {
                "message": refusal.message or message,
                "type": kind,
                "param": None,
                "code": refusal.code or code,
            }
        }
    body = json.dumps(document) if refusal.body is None else refusal.body
    headers = {"content-type": "application/json", **refusal.headers}
    return refusal.status or status, headers, body.encode()
