"""What the scripted model says: texts, calls of tools, refusals, and how badly it is delivered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Finish = Literal["stop", "length", "tool"]

#: Refusals that each dialect words in its own way.
Trouble = Literal[
    "auth", "not_found", "rate_limit", "quota", "overflow", "invalid", "overloaded", "server"
]


@dataclass(frozen=True)
class Served:
    """The tokens of one answer, or of several added up.

    Attributes:
        input_tokens: all of the prompt, what came from a cache or went into one among them.
        output_tokens: all of the answer, reasoning among it.
        cache_read_tokens: the part of the input that came from the provider's cache.
        cache_write_tokens: the part of the input that went into it.
        reasoning_tokens: the part of the output that nobody sees.
    """

    input_tokens: int = 100
    output_tokens: int = 20
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0

    def __add__(self, other: Served) -> Served:
        return Served(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cache_read_tokens + other.cache_read_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )

    @property
    def fresh_tokens(self) -> int:
        """The input that no cache had to do with: what Anthropic calls `input_tokens`."""
        return self.input_tokens - self.cache_read_tokens - self.cache_write_tokens


NOTHING = Served(0, 0)


@dataclass(frozen=True)
class Call:
    """The model's wish to use a tool. A free-form tool takes a text instead of a document."""

    name: str
    input: dict[str, Any] | str


@dataclass(frozen=True)
class Refusal:
    """An answer that is an error.

    Attributes:
        trouble: what is wrong; gives status and body in the dialect of the request.
        status: in place of the dialect's own.
        message: in place of the dialect's own.
        code: in place of the dialect's own `code` (OpenAI) or `type` (Anthropic).
        headers: further ones, such as `retry-after`.
        body: in place of all of it, sent as it is.
    """

    trouble: Trouble
    status: int | None = None
    message: str | None = None
    code: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: str | None = None


@dataclass(frozen=True)
class Delivery:
    """How an answer travels.

    Attributes:
        before_s: the wait before the first byte.
        between_s: the wait between events of a stream.
        piece_bytes: cut the stream into pieces of so many bytes, through events and characters.
        drop_after: close the connection after so many events of a stream, before its last one in
            any case; of a document at most one half gets through.
        hang_after: say nothing more after so many events (0: not even headers), before the last one
            in any case, until the client or the server goes away; of a document not even headers
            get through.
        broken: the JSON does not parse.
    """

    before_s: float = 0
    between_s: float = 0
    piece_bytes: int | None = None
    drop_after: int | None = None
    hang_after: int | None = None
    broken: bool = False

    def hangs_at_once(self, *, streamed: bool) -> bool:
        """Not even headers get through."""
        return self.hang_after is not None and (self.hang_after == 0 or not streamed)

    @property
    def is_whole(self) -> bool:
        """The client gets all of it."""
        return self.drop_after is None and self.hang_after is None and not self.broken


@dataclass(frozen=True)
class Reply:
    """One answer of the model; `finish` follows from the calls unless it is given."""

    text: str = ""
    calls: tuple[Call, ...] = ()
    usage: Served = field(default_factory=Served)
    finish: Finish | None = None
    refusal: Refusal | None = None
    delivery: Delivery = field(default_factory=Delivery)

    @property
    def ending(self) -> Finish:
        """Why the answer ends."""
        return self.finish or ("tool" if self.calls else "stop")


def say(text: str, **more: Any) -> Reply:
    """Answer with a text; `more` are fields of :class:`Reply`."""
    return Reply(text=text, **more)


def call(name: str, arguments: dict[str, Any] | str, **more: Any) -> Reply:
    """Ask for one tool; `more` are fields of :class:`Reply`."""
    return Reply(calls=(Call(name, arguments),), **more)


def refuse(trouble: Trouble, **more: Any) -> Reply:
    """Answer with an error; `more` are fields of :class:`Refusal`."""
    return Reply(refusal=Refusal(trouble, **more), usage=NOTHING)
