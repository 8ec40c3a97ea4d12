"""Who sends a webhook: the secrets, and whether a request was made by somebody who knows one.

GitHub signs the body (`X-Hub-Signature-256`). GitLab sends the secret itself (`X-Gitlab-Token`), or
signs id, time and body by the Standard Webhooks specification where the webhook has a signing
token (`whsec_…`). All comparisons take the same time whatever they find.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from storage.exceptions import InputError

VARIABLE: Final = "GREENLINE_WEBHOOK_SECRET"
"""Both forges' secret; the variables with the forge's name before `WEBHOOK` come first."""

FORGES: Final = ("github", "gitlab")
SIGNING: Final = "whsec_"
TOLERANCE_S: Final = 300
"""Seconds that a signed time may be away from ours."""

_SHORTEST: Final = 16


@dataclass(frozen=True)
class Secrets:
    """What the forges know; None: requests of that forge are all refused."""

    github: bytes | None = None
    gitlab: bytes | None = None

    def __repr__(self) -> str:
        """Say which are set, and nothing of what they are."""
        told = ", ".join(f"{name}={getattr(self, name) is not None}" for name in FORGES)
        return f"Secrets({told})"

    def __bool__(self) -> bool:
        """Whether there is any."""
        return self.github is not None or self.gitlab is not None


def variables(forge: str) -> tuple[str, ...]:
    """Return the variables that may hold a forge's secret, or `…_FILE` the file it is in."""
    return (f"GREENLINE_{forge.upper()}_WEBHOOK_SECRET", VARIABLE)


def read_secrets(environ: Mapping[str, str] = os.environ) -> Secrets:
    """Return the secrets that the environment holds, or names the files of.

    Raises:
        InputError: a file cannot be read, or a secret is too short to be one.
    """
    return Secrets(**{forge: _secret(forge, environ) for forge in FORGES})


def _secret(forge: str, environ: Mapping[str, str]) -> bytes | None:
    for name in variables(forge):
        if environ.get(name):
            return _checked(name, os.fsencode(environ[name]))
        if path := environ.get(f"{name}_FILE"):
            try:
                return _checked(f"{name}_FILE", Path(path).read_bytes())
            except OSError as error:
                raise InputError(f"{name}_FILE: {path} cannot be read: {error.strerror}") from error
    return None


def _checked(name: str, secret: bytes) -> bytes:
    secret = secret.strip()
    if len(secret) < _SHORTEST:
        raise InputError(
            f"{name} holds {len(secret)} characters, which can be guessed; give at least "
            f"{_SHORTEST}, for instance of: openssl rand -hex 32"
        )
    if secret.startswith(SIGNING.encode()):
        _signing_key(secret, name)
    return secret


def _signing_key(secret: bytes, name: str = VARIABLE) -> bytes:
    """Return the key of a signing token.

    Raises:
        InputError: it is none.
    """
    try:
        return base64.b64decode(secret.removeprefix(SIGNING.encode()), validate=True)
    except binascii.Error as error:
        raise InputError(f"{name} begins with {SIGNING} and is no base64 after it") from error


def github_signature(secret: bytes, body: bytes) -> bytes:
    """Return the header `X-Hub-Signature-256` of a body."""
    return b"sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest().encode()


def gitlab_signature(secret: bytes, message_id: bytes, timestamp: bytes, body: bytes) -> bytes:
    """Return the header `webhook-signature` of a message, for a secret `whsec_…`.

    Raises:
        InputError: the secret is no signing token.
    """
    message = b".".join((message_id, timestamp, body))
    return b"v1," + base64.b64encode(
        hmac.new(_signing_key(secret), message, hashlib.sha256).digest()
    )


def is_from_github(secret: bytes | None, headers: Mapping[bytes, bytes], body: bytes) -> bool:
    """Whether GitHub sent a body: its signature is that of the secret."""
    given = headers.get(b"x-hub-signature-256")
    if secret is None or given is None:
        return False
    return hmac.compare_digest(github_signature(secret, body), given)


def is_from_gitlab(
    secret: bytes | None, headers: Mapping[bytes, bytes], body: bytes, *, at: float | None = None
) -> bool:
    """Whether GitLab sent a body.

    With a signing token as the secret, the signature is asked for and has to be a few minutes old
    at most; the plain token does not do then.

    Args:
        secret: the token.
        headers: the request's, names in lower case.
        body: the request's.
        at: now, in seconds since 1970.
    """
    if secret is None:
        return False
    if not secret.startswith(SIGNING.encode()):
        return hmac.compare_digest(secret, headers.get(b"x-gitlab-token", b""))
    timestamp = headers.get(b"webhook-timestamp", b"")
    if not (timestamp.isdigit() and len(timestamp) < 12):
        return False
    if abs((time.time() if at is None else at) - int(timestamp)) > TOLERANCE_S:
        return False
    right = gitlab_signature(secret, headers.get(b"webhook-id", b""), timestamp, body)
    given = headers.get(b"webhook-signature", b"").split(b" ")
    # There are several while a key is being changed.
    return any(hmac.compare_digest(right, one) for one in given[:10])
