"""OpenAI's chat completions, which most other providers speak too.

Source: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

from typing import Any, Final

from tasks.metering.dialects.parts import count, name_of, objects, text_of, written_json
from tasks.metering.requests import Answered, Asked, TokenUsage, ToolResult, ToolUse

PROVIDER: Final = "openai"
PATH: Final = "/chat/completions"


def read(body: dict[str, Any]) -> Asked:
    """Understand a request."""
    messages = objects(body.get("messages"))
    said = [one for one in messages if one.get("role") in {"system", "developer"}]
    return Asked(
        model=name_of(body.get("model")),
        system="\n".join(text_of(one.get("content")) for one in said) or None,
        messages=tuple(one for one in messages if one not in said),
        results=tuple(
            ToolResult(str(one.get("tool_call_id", "")), text_of(one.get("content")))
            for one in messages
            if one.get("role") == "tool"
        ),
        is_streamed=body.get("stream") is True,
    )


def answer(document: dict[str, Any]) -> Answered:
    """Understand an answer in one piece."""
    choice = next(iter(objects(document.get("choices"))), {})
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    return Answered(
        id=name_of(document.get("id")),
        model=name_of(document.get("model")),
        text=text_of(message.get("content")),
        reasoning=text_of(message.get("reasoning_content") or message.get("reasoning")),
        tool_uses=tuple(map(_tool_use, objects(message.get("tool_calls")))),
        raw_finish_reason=name_of(choice.get("finish_reason")),
        usage=usage(document.get("usage")),
        usage_raw=document.get("usage"),
    )


def usage(said: Any) -> TokenUsage:
    """Return the usage as OpenAI counts it: what a cache had is part of the prompt."""
    return TokenUsage(
        input_tokens=count(said, "prompt_tokens"),
        output_tokens=count(said, "completion_tokens"),
        cache_read_tokens=count(said, "prompt_tokens_details", "cached_tokens"),
        cache_write_tokens=count(said, "prompt_tokens_details", "cache_write_tokens"),
        reasoning_tokens=count(said, "completion_tokens_details", "reasoning_tokens"),
    )


def _tool_use(call: dict[str, Any]) -> ToolUse:
    function = call.get("function")
    function = function if isinstance(function, dict) else {}
    given, invalid = written_json(function.get("arguments"))
    return ToolUse(str(call.get("id", "")), str(function.get("name", "")), given, invalid)


class Stream:
    """Puts an answer together from its chunks."""

    def __init__(self) -> None:
        self.error: dict[str, Any] | None = None
        self._head: dict[str, Any] = {}
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._calls: dict[int, dict[str, Any]] = {}
        self._finish: str | None = None

    @property
    def is_whole(self) -> bool:
        """A reason to finish was given."""
        return self._finish is not None

    def take(self, event: dict[str, Any]) -> None:
        """Take the next chunk."""
        if isinstance(event.get("error"), dict):
            self.error = event
            return
        for key in ("id", "model", "usage"):
            if event.get(key):
                self._head[key] = event[key]
        for choice in objects(event.get("choices"))[:1]:
            self._finish = name_of(choice.get("finish_reason")) or self._finish
            delta = choice.get("delta")
            if isinstance(delta, dict):
                self._add(delta)

    def _add(self, delta: dict[str, Any]) -> None:
        self._text.append(text_of(delta.get("content")))
        self._reasoning.append(text_of(delta.get("reasoning_content") or delta.get("reasoning")))
        for part in objects(delta.get("tool_calls")):
            place = part.get("index")
            place = place if isinstance(place, int) else 0
            call = self._calls.setdefault(place, {"id": "", "function": {}})
            call["id"] = part.get("id") or call["id"]
            function = part.get("function")
            for key in ("name", "arguments"):
                if isinstance(function, dict) and isinstance(function.get(key), str):
                    call["function"][key] = call["function"].get(key, "") + function[key]

    def answered(self) -> Answered:
        """What came so far."""
        message = {
            "content": "".join(self._text),
            "reasoning_content": "".join(self._reasoning),
            "tool_calls": [self._calls[place] for place in sorted(self._calls)],
        }
        choice = {"message": message, "finish_reason": self._finish}
        return answer({**self._head, "choices": [choice]})
