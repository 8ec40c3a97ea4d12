"""Anthropic's messages.

Source: https://docs.anthropic.com/en/api/messages
"""

from __future__ import annotations

from typing import Any, Final

from tasks.metering.dialects.parts import count, name_of, objects, text_of, written_json
from tasks.metering.requests import Answered, Asked, TokenUsage, ToolResult, ToolUse

PROVIDER: Final = "anthropic"
PATH: Final = "/messages"


def read(body: dict[str, Any]) -> Asked:
    """Understand a request."""
    messages = objects(body.get("messages"))
    parts = [part for one in messages for part in objects(one.get("content"))]
    return Asked(
        model=name_of(body.get("model")),
        system=text_of(body.get("system")) or None,
        messages=tuple(messages),
        results=tuple(
            ToolResult(
                str(part.get("tool_use_id", "")),
                text_of(part.get("content")),
                is_error=part.get("is_error") is True,
            )
            for part in parts
            if part.get("type") == "tool_result"
        ),
        is_streamed=body.get("stream") is True,
    )


def answer(document: dict[str, Any]) -> Answered:
    """Understand an answer in one piece."""
    blocks = objects(document.get("content"))
    return Answered(
        id=name_of(document.get("id")),
        model=name_of(document.get("model")),
        text="\n".join(str(one.get("text", "")) for one in blocks if one.get("type") == "text"),
        reasoning="\n".join(
            str(one.get("thinking", "")) for one in blocks if one.get("type") == "thinking"
        ),
        tool_uses=tuple(
            _tool_use(one) for one in blocks if str(one.get("type", "")).endswith("tool_use")
        ),
        raw_finish_reason=name_of(document.get("stop_reason")),
        usage=usage(document.get("usage")),
        usage_raw=document.get("usage"),
    )


def usage(said: Any) -> TokenUsage:
    """Return the usage with the cache's part in the input, which Anthropic counts apart."""
    parts = [
        count(said, key)
        for key in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    ]
    fresh, read_, written = parts
    return TokenUsage(
        input_tokens=None if fresh is None else fresh + (read_ or 0) + (written or 0),
        output_tokens=count(said, "output_tokens"),
        cache_read_tokens=read_,
        cache_write_tokens=written,
        reasoning_tokens=count(said, "output_tokens_details", "thinking_tokens"),
    )


def _tool_use(block: dict[str, Any]) -> ToolUse:
    given, invalid = written_json(block.get("input"))
    return ToolUse(
        str(block.get("id", "")),
        str(block.get("name", "")),
        given,
        invalid,
        is_provider_executed=block.get("type") == "server_tool_use",
    )


class Stream:
    """Puts an answer together block by block; usage comes in two parts, the later one holds."""

    def __init__(self) -> None:
        self.error: dict[str, Any] | None = None
        self._message: dict[str, Any] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._written: dict[int, list[str]] = {}
        self._ended = False

    @property
    def is_whole(self) -> bool:
        """The last event came."""
        return self._ended

    def take(self, event: dict[str, Any]) -> None:
        """Take the next event."""
        place = event.get("index")
        match event.get("type"):
            case "error":
                self.error = event
            case "message_start" if isinstance(event.get("message"), dict):
                self._message = dict(event["message"])
                # A number of its own for what comes out is there at the end only.
                self._message["usage"] = {
                    **(self._message.get("usage") or {}),
                    "output_tokens": None,
                }
            case "content_block_start" if isinstance(place, int):
                block = event.get("content_block")
                self._blocks[place] = dict(block) if isinstance(block, dict) else {}
            case "content_block_delta" if isinstance(place, int):
                self._add(place, event.get("delta"))
            case "message_delta":
                self._end(event)
            case "message_stop":
                self._ended = True

    def _add(self, place: int, delta: Any) -> None:
        block = self._blocks.setdefault(place, {})
        if not isinstance(delta, dict):
            return
        for key in ("text", "thinking"):
            if isinstance(delta.get(key), str):
                block[key] = str(block.get(key, "")) + delta[key]
        if isinstance(delta.get("partial_json"), str):
            self._written.setdefault(place, []).append(delta["partial_json"])

    def _end(self, event: dict[str, Any]) -> None:
        said = event.get("usage")
        if isinstance(said, dict):
            known = {key: value for key, value in said.items() if value is not None}
            self._message["usage"] = {**(self._message.get("usage") or {}), **known}
        delta = event.get("delta")
        if isinstance(delta, dict):
            self._message["stop_reason"] = delta.get("stop_reason")

    def answered(self) -> Answered:
        """What came so far."""
        blocks = []
        for place in sorted(self._blocks):
            block = dict(self._blocks[place])
            if place in self._written:
                block["input"] = "".join(self._written[place])
            if block.get("type") == "text":
                block.setdefault("text", "")
            blocks.append(block)
        return answer({**self._message, "content": blocks})
