"""Signatures: the form of an error message that stays the same from run to run.

Two failures are the same when their signatures are equal; durations, addresses, paths, line
numbers, ids and times change between runs and are replaced by what they are. Numbers inside the
assertion itself stay: `assert 3 == 4` and `assert 3 == 5` are different failures.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

_RULES: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    (re.compile(r"\x1b\[[0-9;]*[A-Za-z]"), ""),
    (
        re.compile(
            r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.IGNORECASE
        ),
        "<uuid>",
    ),
    (
        re.compile(
            r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?"
        ),
        "<time>",
    ),
    (re.compile(r"\b\d{1,2}:\d\d:\d\d(?:[.,]\d+)?\b"), "<time>"),
    (re.compile(r"\b0x[0-9a-f]+\b", re.IGNORECASE), "<address>"),
    (re.compile(r"\b[0-9a-f]{40}\b|\b[0-9a-f]{64}\b"), "<hash>"),
    (
        re.compile(r"(?<![\w.])\d+(?:\.\d+)?\s?(?:ns|us|µs|ms|s|sec|secs|seconds?|minutes?)\b"),
        "<duration>",
    ),
    # An absolute path keeps its last part: which file failed is part of what failed.
    (re.compile(r"(?<![\w.:/])(?:[A-Za-z]:)?(?:/[\w.@+~-]+)+/(?=[\w.@+~-])"), "<path>/"),
    (re.compile(r"(\.\w{1,5}):\d+(?::\d+)?\b"), r"\1:<line>"),
    (re.compile(r"\bline \d+\b"), "line <line>"),
    (re.compile(r"\b(pid|port|tid)([ =:]+)\d+\b", re.IGNORECASE), r"\1\2<number>"),
    (re.compile(r"\s+"), " "),
)
MAX_LENGTH: Final = 4_000


def normalise(message: str) -> str:
    """Return the message with everything that changes from run to run replaced by its kind."""
    text = message[:MAX_LENGTH]
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text.strip()


def signature(failure_class: str, message: str) -> str:
    """Return the signature of a failure: its class and a digest of its normalised message.

    Returns:
        `<class>:<16 hex digits>`, short enough for an index and a table in a terminal.
    """
    digest = hashlib.sha256(normalise(message).encode("utf-8", "surrogatepass")).hexdigest()
    return f"{failure_class}:{digest[:16]}"
