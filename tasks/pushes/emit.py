"""Telling the Prefect server of pushes: `python -m tasks.pushes.emit --home HOME`, by the hooks.

It has to be quick to start and gets along with the standard library. Whatever is wrong (no server,
no deployment `on-push`, its trigger paused) the pushes stay where they are, and the next one that
comes by tells of them: another push, `greenline up`, the `reconcile` flow.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import logging
import os
import sys
from contextlib import contextmanager, suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from storage import detached
from storage.exceptions import GreenlineError
from storage.home import Home
from storage.supervision import LOOPBACK, open_private
from tasks.pushes.spool import note_sent, pushes_in, telling, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger("tasks.pushes.emit")  # it runs as __main__, too

FLOW: Final = "on-push"
"""The flow, and its deployment, that pushes are for."""

API_VARIABLE: Final = "PREFECT_API_URL"
_SERVER: Final = "prefect"  # as `greenline up` records it among the home's services
_TIMEOUT_S: Final = 10.0
_LOG_BYTES: Final = 500_000


class _NotTaken(Exception):  # noqa: N818 - it says what happened
    """The server is not there, or takes no pushes now."""


def emit_spooled(home: Home, api_url: str | None = None) -> int:
    """Tell the Prefect server of the pushes that wait; return how many were told.

    Args:
        home: whose pushes.
        api_url: the server's API; by default what `PREFECT_API_URL` names, else the server of the
            home, if it runs. None is started.
    """
    if not waiting(home):
        return 0
    try:
        with telling(home):
            server = _Server(api_url or _api_url(home))
            server.require_listener()
            return sum(_tell(home, server, file) for file in waiting(home))
    except (_NotTaken, GreenlineError, OSError, http.client.HTTPException) as error:
        logger.info("%d pushes wait: %s", len(waiting(home)), repr(error))
        return 0


def _tell(home: Home, server: _Server, file: Path) -> int:
    """Tell of the pushes in one file, which is gone then."""
    try:
        pushes = pushes_in(file)
    except FileNotFoundError:
        return 0
    told = 0
    for push in pushes:
        status, said = server.ask("POST", "/events", [push.event()])
        if status == http.client.UNPROCESSABLE_ENTITY:  # asking again would not help
            logger.warning("the Prefect server refuses the push %s: %r", push.id, said[:300])
            continue
        if status not in (http.client.OK, http.client.CREATED, http.client.NO_CONTENT):
            raise _NotTaken(f"the Prefect server answers {status}: {said[:200]!r}")
        note_sent(home, push)
        logger.info("told of %s %s..%s of %s", push.ref, push.before, push.after, push.repository)
        told += 1
    file.unlink(missing_ok=True)
    return told


def _api_url(home: Home) -> str:
    """Where the Prefect server is.

    Raises:
        _NotTaken: it does not run.
    """
    named = os.environ.get(API_VARIABLE, "").strip()
    if named:
        return named
    found = detached.running(home, _SERVER)
    if found is None:
        raise _NotTaken("the Prefect server does not run; `greenline up` starts it")
    return f"http://{LOOPBACK}:{found.port}/api"


class _Server:
    """The API of a Prefect server, over one connection at a time."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise _NotTaken(f"{API_VARIABLE} is no address of a server: {url[:100]!r}")
        self._parts = parts

    def ask(self, method: str, path: str, document: Any = None) -> tuple[int, str]:
        """Return status and text of an answer.

        Raises:
            OSError: the server cannot be reached.
            http.client.HTTPException: it does not speak HTTP.
        """
        parts = self._parts
        secure = parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=_TIMEOUT_S)
        try:
            body = None if document is None else json.dumps(document)
            connection.request(method, parts.path.rstrip("/") + path, body, _headers())
            answer = connection.getresponse()
            return answer.status, answer.read(1_000_000).decode(errors="replace")
        finally:
            connection.close()

    def require_listener(self) -> None:
        """See that a push starts the flow now.

        Raises:
            _NotTaken: it would start nothing.
            OSError: the server cannot be reached.
            http.client.HTTPException: it does not speak HTTP.
        """
        status, said = self.ask("GET", f"/deployments/name/{FLOW}/{FLOW}")
        if status != http.client.OK:
            raise _NotTaken(f"the Prefect server has no deployment {FLOW} ({status})")
        with suppress(ValueError, KeyError, TypeError):
            resource = quote(f"prefect.deployment.{json.loads(said)['id']}")
            status, said = self.ask("GET", f"/automations/related-to/{resource}")
            if any(one["enabled"] for one in json.loads(said)):
                return
        raise _NotTaken(f"the trigger of the deployment {FLOW} is missing, or paused")


def _headers() -> dict[str, str]:
    """Who asks: nobody on a server of one's own, else as the environment says to Prefect."""
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if key := os.environ.get("PREFECT_API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    elif pair := os.environ.get("PREFECT_API_AUTH_STRING"):
        headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    return headers


@contextmanager
def logged(home: Home, name: str) -> Iterator[None]:
    """Have what the pushes' loggers say in a file of the home's logs, of bounded size."""
    path = home.folder(home.logs) / name
    os.close(open_private(home, path, os.O_WRONLY))
    handler = RotatingFileHandler(path, maxBytes=_LOG_BYTES, backupCount=1, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    ours = logging.getLogger("tasks.pushes")
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)
    try:
        yield
    finally:
        ours.removeHandler(handler)
        handler.close()


def main(arguments: list[str] | None = None) -> int:
    """Tell what waits; for the hooks, which nobody waits for and whose words nobody reads."""
    parser = argparse.ArgumentParser(prog="python -m tasks.pushes.emit")
    parser.add_argument("--home", required=True, type=Path)
    given = parser.parse_args(arguments)
    os.umask(0o077)
    home = Home(given.home)
    with suppress(GreenlineError, OSError), logged(home, "pushes.log"):
        emit_spooled(home)
    return 0


if __name__ == "__main__":
    sys.exit(main())
