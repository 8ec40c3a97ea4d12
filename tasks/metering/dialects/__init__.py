"""The dialects that agents speak to models: what a request asks, and what an answer says. Pure.

Each module has the same functions: `read` (a request's document), `answer` (an answer's document)
and a class `Stream` that puts an answer together from its events.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from tasks.metering.dialects import anthropic_messages, openai_chat, openai_responses
from tasks.metering.requests import Answered, Asked


class Stream(Protocol):
    """Puts an answer together from the events of a stream."""

    def take(self, event: dict[str, Any]) -> None:
        """Take the next event's document."""

    def answered(self) -> Answered:
        """What came so far."""

    @property
    def is_whole(self) -> bool:
        """The answer came to its end."""

    @property
    def error(self) -> dict[str, Any] | None:
        """What the provider said instead of going on."""


class Dialect(Protocol):
    """How one kind of API speaks."""

    PROVIDER: str
    PATH: str

    def read(self, body: dict[str, Any]) -> Asked:
        """Understand a request."""

    def answer(self, document: dict[str, Any]) -> Answered:
        """Understand an answer in one piece."""

    def Stream(self) -> Stream:  # noqa: N802 - a class of the module
        """Begin to put a streamed answer together."""


DIALECTS: Final[tuple[Dialect, ...]] = (openai_chat, openai_responses, anthropic_messages)


def dialect_of(path: str) -> Dialect | None:
    """Return the dialect of a path below the base URL; None: it asks no model for an answer."""
    return next((one for one in DIALECTS if path == one.PATH), None)
