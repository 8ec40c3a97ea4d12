"""Who decides what the model says: lists of replies, functions, and a choice by conversation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tests.model_server.asked import Asked
from tests.model_server.replies import Reply, refuse

#: From a request to the reply. Called in the server's thread, one request at a time.
Script = Callable[[Asked], Reply]


def ran_out(asked: Asked) -> Reply:
    """Refuse so that no agent tries again: they retry 5xx for a minute."""
    return refuse(
        "invalid", message=f"the script has no further reply to a {asked.dialect} request"
    )


class InTurn:
    """Replies in their order, whoever asks; then refusals."""

    def __init__(self, replies: Sequence[Reply]) -> None:
        self._replies = list(replies)

    def __call__(self, asked: Asked) -> Reply:
        return self._replies.pop(0) if self._replies else ran_out(asked)

    @property
    def left(self) -> int:
        """How many replies nobody asked for yet."""
        return len(self._replies)


class ByConversation:
    """A script for each conversation, chosen by a text that it mentions.

    The longest key that a request mentions wins, so that `src/roman.py` is not taken for `roman.py`.
    A request that mentions none is `otherwise`'s.
    """

    def __init__(
        self,
        scripts: Mapping[str, Script | Sequence[Reply]],
        otherwise: Script = ran_out,
    ) -> None:
        self._scripts = {key: as_script(script) for key, script in scripts.items()}
        self._otherwise = otherwise

    def __call__(self, asked: Asked) -> Reply:
        keys = [key for key in self._scripts if asked.mentions(key)]
        script = self._scripts[max(keys, key=len)] if keys else self._otherwise
        return script(asked)


def first(replies: Sequence[Reply], then: Script) -> Script:
    """These replies to the first requests, whatever they ask; then a script."""
    head = InTurn(replies)
    return lambda asked: head(asked) if head.left else then(asked)


def as_script(script: Script | Sequence[Reply]) -> Script:
    """A list of replies is a script too."""
    return script if callable(script) else InTurn(script)
