"""Putting what others wrote into a prompt: quoted, so that it stays what it is, and cut to fit."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tasks.tokens import count_tokens

_MOST_CHARACTERS: Final = 32
"""A text with more characters for each token that it may have is taken as too long unread."""

_MARK: Final = 24  # tokens of the line that says what is missing
_HEAD: Final = 2 / 3  # of the room: imports and the first definitions say more than the end
_RUNS: Final = re.compile("`{3,}")


def fence(text: str) -> str:
    """Return a Markdown fence that the text cannot close."""
    longest = max((len(run) for run in _RUNS.findall(text)), default=2)
    return "`" * (longest + 1)


def inline(name: str) -> str:
    """Return a name as code within a line; what would end the line or the code is escaped."""
    shown = name if name.isprintable() else ascii(name)[1:-1]
    return f"`{shown}`" if "`" not in shown else f"`` {shown.replace('``', '` `')} ``"


def one_line(text: str, limit: int) -> str:
    """Return a text on one line of at most that many characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1].rstrip()}…"


@dataclass(frozen=True)
class Cut:
    """What is left of a text.

    Attributes:
        text: whole lines of its head and tail, with a line between them that says what is missing.
        left_out: what is missing, such as `line 7 of 900`; None: nothing is.
    """

    text: str
    left_out: str | None = None


def fits(text: str, room: int) -> bool:
    """Say whether a text has at most that many tokens."""
    return len(text) <= _MOST_CHARACTERS * max(room, 0) and count_tokens(text) <= room


def cut(text: str, room: int) -> Cut | None:
    """Cut a text to that many tokens; None when not a single line of it would be left.

    It takes time for what is kept only, however long the text is.
    """
    if fits(text, room):
        return Cut(text)
    lines = text.split("\n")
    total = len(lines) - (lines[-1] == "")
    lines = lines[:total]
    room -= _MARK
    head, used = _taken(lines, int(room * _HEAD))
    tail, _ = _taken(reversed(lines[head:]), room - used)
    if head + tail == 0 or head + tail >= total:
        return None if head + tail == 0 else Cut("\n".join(lines))
    left_out = _lines(head + 1, total - tail, total)
    kept = [*lines[:head], f"[Greenline: {left_out} left out]", *lines[total - tail :]]
    return Cut("\n".join(kept), left_out)


def _taken(lines: Iterable[str], room: int) -> tuple[int, int]:
    """Return how many of the first lines fit, and how many tokens they have."""
    number = used = 0
    for line in lines:
        if len(line) > _MOST_CHARACTERS * room:
            break
        tokens = count_tokens(line + "\n")
        if used + tokens > room:
            break
        used += tokens
        number += 1
    return number, used


def _lines(first: int, last: int, total: int) -> str:
    which = f"line {first:,}" if first == last else f"lines {first:,}–{last:,}"  # noqa: RUF001
    return f"{which} of {total:,}"
