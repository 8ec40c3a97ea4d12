"""Passwords that the environment holds for services, kept out of what is shown."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from storage.redaction import redact

_VARIABLES = ("GREENLINE_DATABASE_URL", "PREFECT_API_URL")
_IN_URL = re.compile(r"//[^/?#]*?:([^/?#]*)@")
_IN_WORDS = re.compile(r"\bpassword\s*=\s*('(?:[^'\\]|\\.)*'|[^\s&]+)", re.IGNORECASE)
_HIDDEN = "***"
_SHORTEST = 3  # shorter words stand in messages by chance


def without_passwords(text: str) -> str:
    """Return a message without secrets, and without the passwords of the environment's URLs.

    Drivers quote a URL that they cannot read, or the part of it that they took for the host.
    """
    for secret in sorted(_secrets(), key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    return redact(text)


def _secrets() -> Iterator[str]:
    for name in _VARIABLES:
        url = os.environ.get(name, "")
        for found in (*_IN_URL.findall(url), *_IN_WORDS.findall(url)):
            # An unescaped `@` in a password makes a host of what follows it.
            for part in (found, found.strip("'"), *found.split("@")):
                if len(part) >= _SHORTEST:
                    yield part
