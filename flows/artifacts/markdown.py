"""Markdown of words that others wrote: it shows what they wrote and does nothing else. Pure.

The agent, the repository and who sends a plan are hostile. What comes from them stands in code
spans and code blocks, and in no other place: no heading, link, picture, table or HTML can be made
there, and no address in it becomes a link.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from storage.redaction import redact

_TICKS: Final = re.compile("`+")
#: Characters that move the cursor, turn the direction of writing round or cannot be seen.
_UNSEEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)
#: Of these characters nothing but words is made; `_` aside, which is escaped.
_WORDS: Final = re.compile(r"[A-Za-z0-9 _./,()+=?'-]+")
_CUT: Final = 10
"""How much more than is shown is looked through for secrets, as a factor."""


def code(value: object, *, longest: int = 200) -> str:
    """Return a value as a code span of one line, at most so many characters of it."""
    text = " ".join(_seen(redact(str(value)[: longest * _CUT])).split())
    if len(text) > longest:
        text = f"{text[:longest]}…"
    fence = "`" * (_longest_ticks(text) + 1)
    pad = " " if text.startswith(("`", " ")) or text.endswith(("`", " ")) else ""
    return f"{fence}{pad}{text or '-'}{pad}{fence}"


def words(text: str, *, longest: int = 200) -> str:
    """Return a text as words where nothing else can be made of it, else as a code span.

    In cards and timelines the UI leaves out code spans.
    """
    shown = one_line(text, longest=longest)
    if _WORDS.fullmatch(shown) and "www." not in shown.lower():
        return shown.replace("_", "\\_")
    return code(text, longest=longest)


def block(text: str, language: str = "", *, longest: int = 20_000) -> str:
    """Return a text as a code block, at most so many characters of it in whole lines.

    Args:
        text: whatever it is.
        language: for colours; our own word, never theirs.
        longest: how many characters are shown; how much is left out is said below the block.
    """
    shown = _seen(redact(text[: longest * _CUT])).rstrip("\n")
    left = max(0, len(text) - longest * _CUT)
    note = ""
    if len(shown) > longest:
        kept = shown[:longest]
        kept = kept[: kept.rfind("\n")] if "\n" in kept else kept
        left += len(shown) - len(kept)
        shown = kept
    if left:
        note = f"\n\n… and {left:,} more characters"
    fence = "`" * max(3, _longest_ticks(shown) + 1)
    return f"{fence}{language}\n{shown}\n{fence}{note}"


def facts(pairs: Mapping[str, object]) -> str:
    """Return facts as a list, one a line; those that are None are left out.

    Args:
        pairs: names of ours with whatever value; :class:`Ready` is Markdown already.
    """
    return "\n".join(
        f"- {name}: {value if isinstance(value, Ready) else code(value)}"
        for name, value in pairs.items()
        if value is not None
    )


def page(parts: Iterable[str]) -> str:
    """Return paragraphs, lists and blocks as one text; empty ones are left out."""
    return "\n\n".join(part for part in parts if part)


class Ready(str):
    """Markdown made here."""

    __slots__ = ()


def link(words: str, address: str) -> Ready:
    """Return a link with words and address of ours."""
    return Ready(f"[{words}]({address})")


def one_line(text: str, *, longest: int = 200) -> str:
    """Return a text for places that show plain text: cells of a table, messages of states."""
    shown = " ".join(_seen(redact(text[: longest * _CUT])).split())
    return shown if len(shown) <= longest else f"{shown[:longest]}…"


def slug(text: str, *, longest: int = 40) -> str:
    """Return what an artifact's key may hold: lower-case letters, digits and dashes."""
    kept = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:longest].strip("-")
    return kept or "x"


def _seen(text: str) -> str:
    """Return a text in which every character can be seen; lines end with a line feed."""
    text = text.replace("\r\n", "\n").replace("\t", "    ")
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _longest_ticks(text: str) -> int:
    return max(map(len, _TICKS.findall(text)), default=0)
