"""A request as scripts and tests see it, whatever its dialect."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.model_server.replies import NOTHING, Call, Reply, Served


@dataclass(frozen=True)
class Asked:
    """One request for an answer.

    Attributes:
        dialect: chat, responses or messages.
        path: as it was asked for, with whatever stands before the dialect's own end.
        headers: names in lower case.
        body: the JSON document.
        system: instructions to the model.
        prompts: what the user said, in order.
        answers: texts that the model is said to have given before.
        tools: the tools on offer and what their input looks like; None: free text.
        calls: the model's uses of tools so far, in order.
        results: what the tools said to them.
    """

    dialect: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    system: str = ""
    prompts: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    tools: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    calls: tuple[Call, ...] = ()
    results: tuple[str, ...] = ()

    @property
    def is_streamed(self) -> bool:
        """The answer is wanted as server-sent events."""
        return bool(self.body.get("stream"))

    @property
    def model(self) -> str:
        """The model that is asked."""
        return str(self.body.get("model", ""))

    @property
    def api_key(self) -> str | None:
        """The key that came along, whichever header it used."""
        bearer = self.headers.get("authorization", "")
        return self.headers.get("x-api-key") or bearer.removeprefix("Bearer ").strip() or None

    def mentions(self, text: str) -> bool:
        """The conversation names it: in the instructions or in what the user said."""
        return any(text in said for said in (self.system, *self.prompts))


@dataclass
class Exchange:
    """A request and what became of it.

    Attributes:
        asked: the request.
        reply: what the script said to it.
        status: of the answer; None when the client got none.
        whole: all of the answer was handed over.
    """

    asked: Asked
    reply: Reply
    status: int | None = None
    whole: bool = False

    @property
    def served(self) -> Served:
        """The usage that the client was told, or would have been had it asked: of whole answers."""
        return self.reply.usage if self.whole and self.status == 200 else NOTHING


def texts_of(content: Any) -> list[str]:
    """All texts of a message's content, which is a text or a list of typed parts."""
    if content is None:
        return []
    if isinstance(content, str):
        return [content]
    return [str(part["text"]) for part in content if isinstance(part, dict) and "text" in part]
