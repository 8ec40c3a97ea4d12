"""OpenAI's responses.

Source: https://platform.openai.com/docs/api-reference/responses
"""

from __future__ import annotations

from typing import Any, Final

from tasks.metering.dialects.parts import count, name_of, objects, text_of, written_json
from tasks.metering.requests import Answered, Asked, TokenUsage, ToolResult, ToolUse

PROVIDER: Final = "openai"
PATH: Final = "/responses"

_ENDS: Final = ("response.completed", "response.incomplete", "response.failed")
_RESULT: Final = "_call_output"


def read(body: dict[str, Any]) -> Asked:
    """Understand a request."""
    given = body.get("input")
    items = objects(given) if isinstance(given, list) else [{"role": "user", "content": given}]
    told = [one for one in items if one.get("role") in {"system", "developer"}]
    system = [text_of(body.get("instructions")), *(text_of(one.get("content")) for one in told)]
    return Asked(
        model=name_of(body.get("model")),
        system="\n".join(filter(None, system)) or None,
        messages=tuple(one for one in items if one not in told),
        results=tuple(
            ToolResult(str(one.get("call_id", "")), one.get("output"))
            for one in items
            if str(one.get("type", "")).endswith(_RESULT)
        ),
        is_streamed=body.get("stream") is True,
    )


def answer(document: dict[str, Any]) -> Answered:
    """Understand an answer in one piece."""
    items = objects(document.get("output"))
    cut = document.get("incomplete_details")
    reason = cut.get("reason") if isinstance(cut, dict) else None
    uses = tuple(use for use in map(_tool_use, items) if use is not None)
    finish = name_of(reason) or name_of(document.get("status"))
    return Answered(
        id=name_of(document.get("id")),
        model=name_of(document.get("model")),
        text="\n".join(
            text_of(one.get("content")) for one in items if one.get("type") == "message"
        ),
        reasoning="\n".join(
            filter(
                None,
                (
                    text_of(one.get("summary")) or text_of(one.get("content"))
                    for one in items
                    if one.get("type") == "reasoning"
                ),
            )
        ),
        tool_uses=uses,
        raw_finish_reason="tool_calls" if finish == "completed" and uses else finish,
        usage=usage(document.get("usage")),
        usage_raw=document.get("usage"),
    )


def usage(said: Any) -> TokenUsage:
    """Return the usage as OpenAI counts it: what a cache had is part of the input."""
    return TokenUsage(
        input_tokens=count(said, "input_tokens"),
        output_tokens=count(said, "output_tokens"),
        cache_read_tokens=count(said, "input_tokens_details", "cached_tokens"),
        cache_write_tokens=count(said, "input_tokens_details", "cache_write_tokens"),
        reasoning_tokens=count(said, "output_tokens_details", "reasoning_tokens"),
    )


def _tool_use(item: dict[str, Any]) -> ToolUse | None:
    kind = str(item.get("type", ""))
    if not kind.endswith("_call"):
        return None
    called = str(item.get("call_id") or item.get("id") or "")
    name = str(item.get("name") or kind.removesuffix("_call"))
    if kind == "function_call":
        given, invalid = written_json(item.get("arguments"))
        return ToolUse(called, name, given, invalid)
    if kind == "custom_tool_call":
        return ToolUse(called, name, item.get("input"))
    own = {key: value for key, value in item.items() if key not in {"id", "type", "status"}}
    # The provider's own tools (a search of the web, say) need nobody's answer.
    return ToolUse(called, name, own, is_provider_executed="call_id" not in item)


class Stream:
    """Puts an answer together: its last event has all of it."""

    def __init__(self) -> None:
        self.error: dict[str, Any] | None = None
        self._begun: dict[str, Any] = {}
        self._items: list[dict[str, Any]] = []
        self._text: list[str] = []
        self._whole: dict[str, Any] | None = None

    @property
    def is_whole(self) -> bool:
        """The last event came."""
        return self._whole is not None

    def take(self, event: dict[str, Any]) -> None:
        """Take the next event."""
        kind, response = event.get("type"), event.get("response")
        if kind == "error":
            self.error = event
        elif kind in _ENDS and isinstance(response, dict):
            self._whole = response
            if kind == "response.failed":
                self.error = {"error": response.get("error")}
        elif kind == "response.created" and isinstance(response, dict):
            self._begun = response
        elif kind == "response.output_item.done" and isinstance(event.get("item"), dict):
            self._items.append(event["item"])
            self._text.clear()
        elif kind == "response.output_text.delta":
            self._text.append(str(event.get("delta", "")))

    def answered(self) -> Answered:
        """What came so far."""
        if self._whole is not None:
            return answer(
                self._whole if self._whole.get("output") else {**self._whole, "output": self._items}
            )
        rest = "".join(self._text)
        items = [*self._items]
        if rest:
            items.append({"type": "message", "content": [{"text": rest}]})
        return answer({**self._begun, "status": None, "output": items})
