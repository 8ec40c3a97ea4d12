"""Anthropic's messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.model_server.asked import Asked, texts_of
from tests.model_server.replies import Call, Finish, Reply, Served
from tests.model_server.sse import event, pieces, written

NAME = "messages"
PATH = "/messages"
COUNT_PATH = "/messages/count_tokens"
FINISH: dict[Finish, str] = {"stop": "end_turn", "length": "max_tokens", "tool": "tool_use"}


def read(path: str, headers: dict[str, str], body: dict[str, Any]) -> Asked:
    """Understand a request."""
    said: dict[str, list[str]] = {"user": [], "assistant": [], "system": []}
    calls: list[Call] = []
    results: list[str] = []
    for message in body.get("messages", []):
        said[message["role"]] += texts_of(message["content"])
        for part in message["content"] if isinstance(message["content"], list) else []:
            if part["type"] == "tool_use":
                calls.append(Call(part["name"], part["input"]))
            elif part["type"] == "tool_result":
                results.append("\n".join(texts_of(part.get("content"))))
    return Asked(
        dialect=NAME,
        path=path,
        headers=headers,
        body=body,
        system="\n".join([*texts_of(body.get("system")), *said["system"]]),
        prompts=tuple(said["user"]),
        answers=tuple(said["assistant"]),
        tools={
            tool["name"]: tool["input_schema"]
            for tool in body.get("tools") or []
            if "input_schema" in tool
        },
        calls=tuple(calls),
        results=tuple(results),
    )


def document(reply: Reply, asked: Asked, number: int) -> dict[str, Any]:
    """The answer in one piece."""
    blocks: list[dict[str, Any]] = [{"type": "text", "text": reply.text}] if reply.text else []
    blocks += [
        {"type": "tool_use", "id": f"toolu_{number}_{place}", "name": one.name, "input": one.input}
        for place, one in enumerate(reply.calls)
    ]
    return {
        "id": f"msg_{number}",
        "type": "message",
        "role": "assistant",
        "model": asked.model,
        "content": blocks,
        "stop_reason": FINISH[reply.ending],
        "stop_sequence": None,
        "usage": usage(reply.usage),
    }


def events(reply: Reply, asked: Asked, number: int) -> Iterator[bytes]:
    """The answer as a stream: the input's usage comes first, all of it last, and it adds up."""
    whole = document(reply, asked, number)
    begun = {
        **whole,
        "content": [],
        "stop_reason": None,
        "usage": {**usage(reply.usage), "output_tokens": 1},
    }
    yield event({"type": "message_start", "message": begun}, named=True)
    yield event({"type": "ping"}, named=True)
    for place, block in enumerate(whole["content"]):
        is_text = block["type"] == "text"
        empty = {**block, "text": ""} if is_text else {**block, "input": {}}
        content = block["text"] if is_text else written(block["input"])
        yield _block("start", place, content_block=empty)
        for piece in pieces(content):
            delta = (
                {"type": "text_delta", "text": piece}
                if is_text
                else {"type": "input_json_delta", "partial_json": piece}
            )
            yield _block("delta", place, delta=delta)
        yield _block("stop", place)
    yield event(
        {
            "type": "message_delta",
            "delta": {"stop_reason": whole["stop_reason"], "stop_sequence": None},
            "usage": whole["usage"],
        },
        named=True,
    )
    yield event({"type": "message_stop"}, named=True)


def usage(served: Served) -> dict[str, Any]:
    """Usage in this dialect: the input without what has to do with caches."""
    return {
        "input_tokens": served.fresh_tokens,
        "cache_creation_input_tokens": served.cache_write_tokens,
        "cache_read_input_tokens": served.cache_read_tokens,
        "output_tokens": served.output_tokens,
    }


def _block(what: str, place: int, **fields: Any) -> bytes:
    return event({"type": f"content_block_{what}", "index": place, **fields}, named=True)
