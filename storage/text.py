"""Text as it is stored: what PostgreSQL takes, and no secrets.

What agents, tests and tools print is not always that. Every text of theirs comes through here on
its way into the ledger.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any, Final

from storage.redaction import redact

_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
_LONGEST_KEY: Final = 1000


def clean_text(value: str) -> str:
    """Return the text without secrets, and without what PostgreSQL refuses.

    That is NUL, and halves of surrogate pairs: how Python carries undecodable bytes. They become
    visible escapes.
    """
    value = redact(value)
    if "\x00" in value:
        value = value.replace("\x00", _REPLACEMENT)
    if value.isascii():
        return value
    return value.encode("utf-8", "backslashreplace").decode("utf-8")


def clean_json(value: Any) -> Any:
    """Return a JSON value with clean text everywhere; NaN and infinities are unknown: null."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {clean_text(str(key)): clean_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean_json(item) for item in value]
    return value


def index_key(value: str) -> str:
    """Return clean text that fits an index entry; a longer one ends with a hash of the whole."""
    value = clean_text(value)
    if len(value.encode()) <= _LONGEST_KEY:
        return value
    digest = hashlib.sha256(value.encode()).hexdigest()
    return value.encode()[: _LONGEST_KEY - len(digest) - 1].decode("utf-8", "ignore") + "~" + digest
