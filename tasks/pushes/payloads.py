"""What a forge's webhook says, as a push: total functions over whatever JSON there is."""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import urlsplit

from storage.exceptions import InputError
from tasks.pushes.push import Push

PUSH_EVENTS: Final = {"github": "push", "gitlab": "Push Hook"}
"""The event of a pushed branch by forge; every other one is of no use here."""


def push_of(forge: str, body: bytes) -> Push:
    """Return the push that a body tells of.

    Args:
        forge: `github` or `gitlab`.
        body: the request's, whose sender is known.

    Raises:
        InputError: it is no JSON, or not of a push.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InputError(f"the body is no JSON: {str(error)[:200]}") from error
    return _of_github(document) if forge == "github" else _of_gitlab(document)


def _of_github(document: Any) -> Push:
    return Push.of(
        repository=_name(_text(document, "repository", "html_url")),
        ref=_text(document, "ref"),
        before=_text(document, "before"),
        after=_text(document, "after"),
        pusher=_text(document, "pusher", "name", default=""),
    )


def _of_gitlab(document: Any) -> Push:
    return Push.of(
        repository=_name(_text(document, "project", "web_url")),
        ref=_text(document, "ref"),
        before=_text(document, "before"),
        after=_text(document, "after"),
        pusher=_text(document, "user_username", default=""),
    )


def _text(document: Any, *path: str, default: str | None = None) -> str:
    """Return a text somewhere in a document.

    Raises:
        InputError: there is none, and no default.
    """
    for name in path:
        document = document.get(name) if isinstance(document, dict) else None
    if isinstance(document, str):
        return document
    if default is not None:
        return default
    raise InputError(f"the body has no text at {'.'.join(path)}")


def _name(address: str) -> str:
    """Return `host/owner/name` of the address of a repository's page.

    Raises:
        InputError: it is no such address.
    """
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise InputError(f"{address[:200]!r} is no address of a repository") from error
    where = host if port in (None, 443) else f"{host}:{port}"
    return f"{where}{parts.path.rstrip('/').removesuffix('.git')}".lower()
