"""What the dialects have in common: texts in parts, and JSON that models wrote."""

from __future__ import annotations

import json
from typing import Any


def text_of(content: Any) -> str:
    """Return the text of a message's content: a text, or a list of typed parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\n".join(
        str(part["text"])
        for part in content
        if isinstance(part, dict) and isinstance(part.get("text"), str)
    )


def written_json(text: Any) -> tuple[Any, bool]:
    """Return what a model wrote as a tool's input, and whether it is no JSON."""
    if not isinstance(text, str):
        return text, False
    if not text.strip():
        return {}, False
    try:
        return json.loads(text), False
    except (ValueError, RecursionError):
        return text, True


def count(document: Any, *keys: str) -> int | None:
    """Return a number of tokens below nested keys; None where none is said."""
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    good = isinstance(document, int) and not isinstance(document, bool) and document >= 0
    return document if good else None


def objects(value: Any) -> list[dict[str, Any]]:
    """Return the objects of a list; whatever else is in it, or it is, is nobody's."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def name_of(value: Any) -> str | None:
    """Return a text that may be missing."""
    return value if isinstance(value, str) and value else None
