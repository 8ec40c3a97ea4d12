"""OpenAI's chat completions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.model_server.asked import Asked, texts_of
from tests.model_server.replies import Call, Finish, Reply, Served
from tests.model_server.sse import event, pieces, written

NAME = "chat"
PATH = "/chat/completions"
FINISH: dict[Finish, str] = {"stop": "stop", "length": "length", "tool": "tool_calls"}


def read(path: str, headers: dict[str, str], body: dict[str, Any]) -> Asked:
    """Understand a request."""
    said: dict[str, list[str]] = {"system": [], "user": [], "assistant": [], "tool": []}
    calls: list[Call] = []
    for message in body.get("messages", []):
        role = "system" if message["role"] == "developer" else message["role"]
        said[role] += ["\n".join(texts_of(message.get("content")))]
        calls += [
            Call(one["function"]["name"], json.loads(one["function"]["arguments"] or "{}"))
            for one in message.get("tool_calls") or []
        ]
    return Asked(
        dialect=NAME,
        path=path,
        headers=headers,
        body=body,
        system="\n".join(said["system"]),
        prompts=tuple(said["user"]),
        answers=tuple(filter(None, said["assistant"])),
        tools={
            tool["function"]["name"]: tool["function"].get("parameters", {})
            for tool in body.get("tools") or []
            if tool.get("type") == "function"
        },
        calls=tuple(calls),
        results=tuple(said["tool"]),
    )


def document(reply: Reply, asked: Asked, number: int) -> dict[str, Any]:
    """The answer in one piece."""
    message: dict[str, Any] = {"role": "assistant", "content": reply.text or None}
    if reply.calls:
        message["tool_calls"] = _calls(reply, number)
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 1_763_700_000,
        "model": asked.model,
        "choices": [{"index": 0, "message": message, "finish_reason": FINISH[reply.ending]}],
        "usage": usage(reply.usage),
    }


def events(reply: Reply, asked: Asked, number: int) -> Iterator[bytes]:
    """The answer as a stream; usage only for those who ask for it, as OpenAI has it."""
    head = {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion.chunk",
        "created": 1_763_700_000,
        "model": asked.model,
    }

    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return event({**head, "choices": [choice]})

    yield chunk({"role": "assistant", "content": ""})
    for piece in pieces(reply.text):
        yield chunk({"content": piece})
    for place, one in enumerate(_calls(reply, number)):
        arguments = one["function"].pop("arguments")
        one["function"]["arguments"] = ""
        yield chunk({"tool_calls": [{"index": place, **one}]})
        for piece in pieces(arguments):
            yield chunk({"tool_calls": [{"index": place, "function": {"arguments": piece}}]})
    yield chunk({}, FINISH[reply.ending])
    if (asked.body.get("stream_options") or {}).get("include_usage"):
        yield event({**head, "choices": [], "usage": usage(reply.usage)})
    yield b"data: [DONE]\n\n"


def usage(served: Served) -> dict[str, Any]:
    """Usage in this dialect, which knows no writing to a cache."""
    return {
        "prompt_tokens": served.input_tokens,
        "completion_tokens": served.output_tokens,
        "total_tokens": served.input_tokens + served.output_tokens,
        "prompt_tokens_details": {"cached_tokens": served.cache_read_tokens},
        "completion_tokens_details": {"reasoning_tokens": served.reasoning_tokens},
    }


def _calls(reply: Reply, number: int) -> list[dict[str, Any]]:
    return [
        {
            "id": f"call_{number}_{place}",
            "type": "function",
            "function": {"name": one.name, "arguments": written(one.input)},
        }
        for place, one in enumerate(reply.calls)
    ]
