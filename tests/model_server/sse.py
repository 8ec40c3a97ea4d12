"""Server-sent events, and texts in pieces."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

PIECE = 24


def event(document: dict[str, Any], *, named: bool = False) -> bytes:
    """One event with a document as its data; `named` puts the document's type before it."""
    name = f"event: {document['type']}\n" if named else ""
    return f"{name}data: {json.dumps(document, ensure_ascii=False)}\n\n".encode()


def pieces(text: str) -> Iterator[str]:
    """The text as a model streams it: bit by bit."""
    for start in range(0, len(text), PIECE):
        yield text[start : start + PIECE]


def written(arguments: dict[str, Any] | str) -> str:
    """A tool's input as it travels."""
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
