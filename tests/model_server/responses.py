"""OpenAI's responses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.model_server.asked import Asked, texts_of
from tests.model_server.replies import Call, Reply, Served
from tests.model_server.sse import event, pieces, written

NAME = "responses"
PATH = "/responses"


def read(path: str, headers: dict[str, str], body: dict[str, Any]) -> Asked:
    """Understand a request."""
    items = body.get("input", [])
    if isinstance(items, str):
        items = [{"role": "user", "content": items}]
    said: dict[str, list[str]] = {"system": [], "user": [], "assistant": []}
    calls: list[Call] = []
    results: list[str] = []
    for item in items:
        kind = item.get("type", "message")
        if kind == "message":
            role = "system" if item["role"] == "developer" else item["role"]
            said[role] += texts_of(item.get("content"))
        elif kind == "function_call":
            calls.append(Call(item["name"], json.loads(item["arguments"] or "{}")))
        elif kind == "custom_tool_call":
            calls.append(Call(item["name"], item["input"]))
        elif kind in {"function_call_output", "custom_tool_call_output"}:
            results.append("\n".join(texts_of(item["output"])))
    return Asked(
        dialect=NAME,
        path=path,
        headers=headers,
        body=body,
        system="\n".join([body.get("instructions") or "", *said["system"]]),
        prompts=tuple(said["user"]),
        answers=tuple(said["assistant"]),
        tools=dict(_tools([*(body.get("tools") or []), *items])),
        calls=tuple(calls),
        results=tuple(results),
    )


def _tools(offers: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """The tools on offer, those in namespaces and those among the input's items too."""
    for offer in offers:
        kind = offer.get("type")
        if kind in {"namespace", "additional_tools"}:
            yield from _tools(offer["tools"])
        elif kind in {"function", "custom"}:
            yield offer["name"], offer.get("parameters", {}) if kind == "function" else None


def document(reply: Reply, asked: Asked, number: int) -> dict[str, Any]:
    """The answer in one piece."""
    cut = reply.ending == "length"
    return {
        "id": f"resp_{number}",
        "object": "response",
        "created_at": 1_763_700_000,
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "error": None,
        "model": asked.model,
        "output": _items(reply, asked, number),
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": usage(reply.usage),
    }


def events(reply: Reply, asked: Asked, number: int) -> Iterator[bytes]:
    """The answer as a stream."""
    whole = document(reply, asked, number)
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    counter = iter(range(1_000_000))

    def one(kind: str, **fields: Any) -> bytes:
        return event({"type": kind, "sequence_number": next(counter), **fields}, named=True)

    yield one("response.created", response=begun)
    for place, item in enumerate(whole["output"]):
        where = {"item_id": item["id"], "output_index": place}
        yield one("response.output_item.added", output_index=place, item=_empty(item))
        if item["type"] == "message":
            part = {"type": "output_text", "text": "", "annotations": []}
            text = item["content"][0]["text"]
            yield one("response.content_part.added", **where, content_index=0, part=part)
            for piece in pieces(text):
                yield one("response.output_text.delta", **where, content_index=0, delta=piece)
            yield one("response.output_text.done", **where, content_index=0, text=text)
        elif item["type"] == "function_call":
            for piece in pieces(item["arguments"]):
                yield one("response.function_call_arguments.delta", **where, delta=piece)
        else:
            for piece in pieces(item["input"]):
                yield one("response.custom_tool_call_input.delta", **where, delta=piece)
        yield one("response.output_item.done", output_index=place, item=item)
    yield one(f"response.{whole['status']}", response=whole)


def usage(served: Served) -> dict[str, Any]:
    """Usage in this dialect. Codex knows of writing to a cache; a client need not."""
    cache = {"cached_tokens": served.cache_read_tokens}
    if served.cache_write_tokens:
        cache["cache_write_tokens"] = served.cache_write_tokens
    return {
        "input_tokens": served.input_tokens,
        "input_tokens_details": cache,
        "output_tokens": served.output_tokens,
        "output_tokens_details": {"reasoning_tokens": served.reasoning_tokens},
        "total_tokens": served.input_tokens + served.output_tokens,
    }


def _items(reply: Reply, asked: Asked, number: int) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if reply.text:
        items.append(
            {
                "type": "message",
                "id": f"msg_{number}",
                "status": "completed",
                "role": "assistant",
                "content": [{"type": "output_text", "text": reply.text, "annotations": []}],
            }
        )
    for place, one in enumerate(reply.calls):
        free = asked.tools.get(one.name, {}) is None
        items.append(
            {
                "type": "custom_tool_call" if free else "function_call",
                "id": f"{'ctc' if free else 'fc'}_{number}_{place}",
                "status": "completed",
                "call_id": f"call_{number}_{place}",
                "name": one.name,
                ("input" if free else "arguments"): written(one.input),
            }
        )
    return items


def _empty(item: dict[str, Any]) -> dict[str, Any]:
    blank: dict[str, Any] = {"content": [], "arguments": "", "input": ""}
    return {
        **item,
        "status": "in_progress",
        **{key: empty for key, empty in blank.items() if key in item},
    }
