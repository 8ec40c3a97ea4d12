"""Secrets, kept out of everything that is stored, logged or shown.

Two kinds are known: values that this process holds (variables of its environment whose names say
that they are secret, and what :func:`hide` was told), and texts that look like what providers hand
out. What is left in their place says which kind it was.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

HIDDEN: Final = "[redacted]"
_SHORTEST: Final = 8
"""Characters; shorter values stand in texts by chance."""

#: Variables whose values are secret by their names.
_SECRET_NAME: Final = re.compile(
    r"(?:^|_)(?:API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|PGPASSWORD|"
    r"CREDENTIALS?|AUTH)(?:_|$)",
    re.IGNORECASE,
)
_OF_NO_USE: Final = re.compile(r"[\w.-]{0,7}|true|false|none|null|/[\w./-]*|\d+", re.IGNORECASE)

#: What providers' keys look like, each beginning with what tells it from other text. The forms are
#: the providers' own, as they document them for secret scanning.
_FORMS: Final = (
    r"sk-ant-[A-Za-z0-9_-]{16,}",  # Anthropic
    r"sk-or-v1-[A-Za-z0-9]{16,}",  # OpenRouter
    r"sk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{20,}",  # OpenAI and those who took its form
    r"(?:ghp|gho|ghu|ghs|ghr)_[A-Za-z0-9]{20,}",  # GitHub
    r"github_pat_[A-Za-z0-9_]{20,}",
    r"gl(?:pat|rt|dt|cbt|ptt|ft|soat)-[A-Za-z0-9_.-]{16,}",  # GitLab
    r"(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{16}\b",  # AWS
    r"AIza[A-Za-z0-9_-]{30,}",  # Google
    r"ya29\.[A-Za-z0-9_-]{20,}",
    r"xox[abeoprs]-[A-Za-z0-9-]{10,}",  # Slack
    r"xapp-\d-[A-Za-z0-9-]{10,}",
    r"hf_[A-Za-z0-9]{20,}",  # Hugging Face
    r"gsk_[A-Za-z0-9]{20,}",  # Groq
    r"xai-[A-Za-z0-9]{20,}",
    r"r8_[A-Za-z0-9]{20,}",  # Replicate
    r"pplx-[A-Za-z0-9]{20,}",
    r"npm_[A-Za-z0-9]{30,}",
    r"pypi-[A-Za-z0-9_-]{30,}",
    r"dop_v1_[a-f0-9]{40,}",  # DigitalOcean
    r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",  # SendGrid
    r"(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,}",  # Stripe
    r"whsec_[A-Za-z0-9+/=]{20,}",
    r"AGE-SECRET-KEY-1[A-Z0-9]{20,}",
    r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",  # a JSON web token
)
_BEGINS: Final = (
    "sk-", "sk_", "rk_", "pk_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-",
    "glrt-", "gldt-", "glcbt-", "glptt-", "glft-", "glsoat-", "akia", "asia", "aroa", "aida",
    "aiza",
    "ya29.", "xox", "xapp-", "hf_", "gsk_", "xai-", "r8_", "pplx-", "npm_", "pypi-", "dop_v1_",
    "sg.", "whsec_", "age-secret-key-", "eyj",
)  # fmt: skip
_NAMES: Final = ("key", "token", "secret", "passw", "passphrase")


@dataclass(frozen=True)
class _Looks:
    """What a kind of secret looks like, and what is in every text that has one (lower case)."""

    hints: tuple[str, ...]
    pattern: re.Pattern[str]


#: Secrets by what stands before them: a form, a header, a variable, a key of JSON, a user in a URL.
_LOOKS: Final = (
    _Looks(
        ("private key",),
        re.compile(
            r"(?P<before>-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----)"
            r"(?P<secret>.+?)(?:(?=-----END [A-Z0-9 ]*PRIVATE KEY-----)|\Z)",
            re.DOTALL,
        ),
    ),
    _Looks(_BEGINS, re.compile(rf"(?P<before>(?<![A-Za-z0-9]))(?P<secret>{'|'.join(_FORMS)})")),
    _Looks(
        ("authorization",),
        re.compile(
            r"(?P<before>authorization[\"']?\s*[:=]\s*[\"']?(?:bearer|basic|token)\s+)"
            r"(?P<secret>[A-Za-z0-9._~+/=-]{8,})",
            re.IGNORECASE,
        ),
    ),
    _Looks(
        ("x-api-key", "x-auth-token", "x-goog-api-key"),
        re.compile(
            r"(?P<before>x-(?:api-key|auth-token|goog-api-key)[\"']?\s*[:=]\s*[\"']?)"
            r"(?P<secret>[A-Za-z0-9._~+/=-]{8,})",
            re.IGNORECASE,
        ),
    ),
    _Looks(
        _NAMES,
        re.compile(
            r"(?P<before>(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE)[ \t]*=[ \t]*[\"']?)"
            r"(?P<secret>[^\s\"'`$<>{}()\[\],;\\]{8,})"
        ),
    ),
    _Looks(
        _NAMES,
        re.compile(
            r"(?P<before>[\"'](?:api_?key|access_?token|refresh_?token|auth_?token|client_?secret|"
            r"secret_?key|private_?key|password|passwd)[\"']\s*:\s*[\"'])"
            r"(?P<secret>[^\"'\s]{6,})",
            re.IGNORECASE,
        ),
    ),
    _Looks(
        ("://",),
        # `password` is what examples have there, Greenline's own among them.
        re.compile(
            r"(?P<before>://[^/\s:@\"']{0,64}:)(?P<secret>(?!password@)[^/\s@\"']{3,})(?=@)"
        ),
    ),
)

_told: set[str] = set()
_told_guard = threading.Lock()


def hide(*values: str | None) -> None:
    """Keep these values out of everything from now on; too short ones cannot be told apart."""
    with _told_guard:
        _told.update(value for value in values if value and len(value) >= _SHORTEST)
    _values.cache_clear()


def redact(text: str) -> str:
    """Return the text without secrets.

    Redacting it once more changes nothing. Digests, ids and commits are none and stay.
    """
    values = _values(int(time.monotonic()))
    if values is not None and values.search(text):
        text = values.sub(HIDDEN, text)
    folded = text.lower()
    for looks in _LOOKS:
        if any(hint in folded for hint in looks.hints):
            text = looks.pattern.sub(_hidden, text)
    return text


def redact_json(value: Any) -> Any:
    """Return a JSON value without secrets in any of its texts and keys."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {redact(str(key)): redact_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact_json(item) for item in value]
    return value


def _hidden(found: re.Match[str]) -> str:
    return found[0] if HIDDEN in found["secret"] else f"{found['before']}{HIDDEN}"


@lru_cache(maxsize=1)
def _values(_second: int) -> re.Pattern[str] | None:
    """Return what finds the values that this process holds, None when it holds none.

    The environment is looked through once a second at most: rows have many texts.
    """
    with _told_guard:
        told = frozenset(_told)
    return _pattern(told | frozenset(_of_environment(os.environ.items())))


def _of_environment(variables: Iterable[tuple[str, str]]) -> Iterator[str]:
    for name, value in variables:
        if (
            len(value) >= _SHORTEST
            and _SECRET_NAME.search(name)
            and _OF_NO_USE.fullmatch(value) is None
        ):
            yield value


@lru_cache(maxsize=8)
def _pattern(values: frozenset[str]) -> re.Pattern[str] | None:
    longest_first = sorted(values, key=lambda value: (-len(value), value))
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
