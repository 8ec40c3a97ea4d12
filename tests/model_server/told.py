"""What a client makes of an answer: the dialects read again, by other code than wrote them."""

from __future__ import annotations

import json
from typing import Any

import httpx

Document = dict[str, Any]

#: Text, tool calls with their input, and why the answer ended in the dialect's own word.
Told = tuple[str, list[tuple[str, Any]], str]


def events_of(response: httpx.Response) -> list[Document]:
    """The documents of a stream."""
    lines = [line.removeprefix("data: ") for line in response.text.splitlines()]
    return [json.loads(line) for line in lines if line.startswith("{")]


def told(path: str, response: httpx.Response, *, streamed: bool) -> Told:
    """Text, tool calls and ending that a client of the dialect makes of an answer."""
    if path == "/chat/completions":
        return told_chat(events_of(response) if streamed else [response.json()])
    if path == "/responses":
        whole = events_of(response)[-1]["response"] if streamed else response.json()
        return told_response(whole)
    return told_message(events_of(response)) if streamed else told_blocks(response.json())


def told_chat(documents: list[Document]) -> Told:
    """Of the chunks of a chat completion; a whole one is one chunk."""
    text, ending = "", ""
    calls: dict[int, tuple[str, str]] = {}
    for choice in (choice for one in documents for choice in one["choices"]):
        said = choice.get("delta") or choice.get("message") or {}
        text += said.get("content") or ""
        for place, one in enumerate(said.get("tool_calls", [])):
            name, arguments = calls.get(one.get("index", place), ("", ""))
            function = one["function"]
            calls[one.get("index", place)] = (
                name + function.get("name", ""),
                arguments + function["arguments"],
            )
        ending = choice["finish_reason"] or ending
    return text, [(name, json.loads(arguments)) for name, arguments in calls.values()], ending


def told_response(whole: Document) -> Told:
    """Of a response, which a stream has in its last event."""
    text = "".join(
        part["text"]
        for item in whole["output"]
        if item["type"] == "message"
        for part in item["content"]
    )
    calls = [
        (item["name"], json.loads(item["arguments"]))
        for item in whole["output"]
        if item["type"] == "function_call"
    ]
    return text, calls, whole["status"]


def told_blocks(document: Document) -> Told:
    """Of a whole message."""
    text = "".join(one["text"] for one in document["content"] if one["type"] == "text")
    calls = [
        (one["name"], one["input"]) for one in document["content"] if one["type"] == "tool_use"
    ]
    return text, calls, document["stop_reason"]


def told_message(documents: list[Document]) -> Told:
    """Of a message's events."""
    blocks: dict[int, tuple[Document, list[str]]] = {}
    ending = ""
    for one in documents:
        if one["type"] == "content_block_start":
            blocks[one["index"]] = (one["content_block"], [])
        elif one["type"] == "content_block_delta":
            delta = one["delta"]
            blocks[one["index"]][1].append(delta.get("text", "") + delta.get("partial_json", ""))
        elif one["type"] == "message_delta":
            ending = one["delta"]["stop_reason"]
    for block, bits in blocks.values():
        said = "".join(bits)
        if block["type"] == "text":
            block["text"] = said
        else:
            block["input"] = json.loads(said)
    return told_blocks({"content": [block for block, _ in blocks.values()], "stop_reason": ending})


def usage_documents(response: httpx.Response, *, streamed: bool) -> list[Document]:
    """All usage that an answer tells, in its order."""
    documents = events_of(response) if streamed else [response.json()]
    found = [
        one.get("usage") or (one.get("message") or one.get("response") or {}).get("usage")
        for one in documents
    ]
    return [one for one in found if one]
