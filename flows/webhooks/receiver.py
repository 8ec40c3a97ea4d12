"""The webhook receiver: an ASGI application that takes pushes of GitHub and GitLab.

`POST /github` and `POST /gitlab`. A request is taken when its sender knows the secret, when it did
not come before, and when it is of a repository on the list; then the push is kept, answered with
202, and told to the Prefect server afterwards. Nothing is fetched here, Prefect is not imported.
Whatever is refused is logged, without anything secret.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from storage.exceptions import GreenlineError, InputError
from tasks.pushes.emit import emit_spooled
from tasks.pushes.payloads import PUSH_EVENTS, push_of
from tasks.pushes.remotes import remotes
from tasks.pushes.seen import Seen
from tasks.pushes.signatures import Secrets, is_from_github, is_from_gitlab
from tasks.pushes.spool import keep

if TYPE_CHECKING:
    from storage.home import Home
    from tasks.pushes.push import Push

logger = logging.getLogger("tasks.pushes.webhooks")

LARGEST_BODY: Final = 5_000_000
"""Bytes. GitHub sends 25 MB at most; a push with so many commits is not made by hand."""

_READ_AT_MOST: Final = 5 * LARGEST_BODY
"""Bytes that are read of a body, though not kept: who sends all of it first hears the answer."""

BODY_TIMEOUT_S: Final = 10.0
_EVENT: Final = {"github": b"x-github-event", "gitlab": b"x-gitlab-event"}
_SIGNED: Final = {
    "github": (b"x-hub-signature-256",),
    "gitlab": (b"x-gitlab-token", b"webhook-signature"),
}
_DELIVERY: Final = {
    "github": (b"x-github-delivery",),
    "gitlab": (b"webhook-id", b"idempotency-key", b"x-gitlab-event-uuid"),
}
#: Of these there may be one only: which of two would count?
_DECIDES: Final = (
    *(b"content-type", b"content-length", b"content-encoding", b"webhook-timestamp"),
    *_EVENT.values(),
    *(name for names in (*_SIGNED.values(), *_DELIVERY.values()) for name in names),
)
_LONGEST_SHOWN: Final = 300


class Refused(Exception):  # noqa: N818 - it says what happened
    """A request that is not taken.

    Attributes:
        status: the answer's.
    """

    def __init__(self, status: int, why: str) -> None:
        self.status = status
        super().__init__(why)


@dataclass(frozen=True)
class Receiver:
    """What requests are judged by.

    Attributes:
        home: where pushes are kept, and `webhooks.toml` is.
        secrets: the forges'.
        seen: the deliveries that were taken.
        body_timeout_s: seconds for a whole body to come.
    """

    home: Home
    secrets: Secrets
    seen: Seen
    body_timeout_s: float = BODY_TIMEOUT_S

    @classmethod
    def of(cls, home: Home, secrets: Secrets, **options: Any) -> Receiver:
        """Make one for a home.

        Raises:
            InputError: there is no secret, `webhooks.toml` is wrong, or the home cannot be used.
        """
        if not secrets:
            raise InputError(
                "there is no secret, and a webhook without one is not believed; set "
                "GREENLINE_WEBHOOK_SECRET_FILE, or GREENLINE_WEBHOOK_SECRET, to the secret that "
                "GitHub or GitLab was given"
            )
        remotes(home)
        return cls(
            home, secrets, Seen(home.folder(home.path / "pushes") / "seen.sqlite"), **options
        )

    def app(self) -> Starlette:
        """Return the application."""
        return Starlette(
            routes=[
                Route("/github", self._github, methods=["POST"]),
                Route("/gitlab", self._gitlab, methods=["POST"]),
                Route("/health", _health, methods=["GET"]),
            ]
        )

    async def _github(self, request: Request) -> Response:
        return await self._answer("github", request)

    async def _gitlab(self, request: Request) -> Response:
        return await self._answer("gitlab", request)

    async def _answer(self, forge: str, request: Request) -> Response:
        try:
            return await self._take(forge, request)
        except Refused as refusal:
            sender = request.client.host if request.client else "-"
            told = f"{forge} from {sender}: refused ({refusal.status}): {refusal}"
            logger.warning("%s", _one_line(told))
            # A body that was not read to its end cannot be followed by another request.
            return JSONResponse(
                {"refused": str(refusal)}, refusal.status, headers={"Connection": "close"}
            )

    async def _take(self, forge: str, request: Request) -> Response:
        """Take a request.

        Raises:
            Refused: it is not to be taken, or cannot be now.
        """
        headers = _headers(request)
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if kind != b"application/json":
            raise Refused(415, "send application/json (the webhook's content type)")
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise Refused(415, "send the body as it is, not compressed")
        if not any(name in headers for name in _SIGNED[forge]):
            raise Refused(401, "there is no signature; give the webhook the secret")
        body = await self._body(request, headers)
        known = is_from_github if forge == "github" else is_from_gitlab
        if not known(getattr(self.secrets, forge), headers, body):
            raise Refused(401, "the signature is not that of the secret")
        event = headers.get(_EVENT[forge], b"").decode("latin-1")
        if forge == "github" and event == "ping":
            logger.info("github: ping")
            return JSONResponse({"pong": True})
        if event != PUSH_EVENTS[forge]:
            logger.info("%s", _one_line(f"{forge}: {event or 'no event'} is of no use here"))
            return Response(status_code=204)
        delivery = next((headers[one] for one in _DELIVERY[forge] if headers.get(one)), None)
        if delivery is None:
            raise Refused(400, f"there is no {_DELIVERY[forge][0].decode()}, the delivery's id")
        try:
            push = push_of(forge, body)
        except InputError as error:
            raise Refused(400, str(error)) from error
        await asyncio.to_thread(self._keep, forge, push, delivery, body)
        logger.info("%s", _one_line(f"{forge}: {push.repository} {push.ref} {push.after} taken"))
        return JSONResponse({"accepted": push.id}, 202, background=BackgroundTask(_tell, self.home))

    async def _body(self, request: Request, headers: Mapping[bytes, bytes]) -> bytes:
        """Read a body that is neither too long nor too slow.

        Raises:
            Refused: it is.
        """
        too_long = Refused(413, f"a body has at most {LARGEST_BODY:,} bytes")
        length = headers.get(b"content-length", b"")
        if length.isdigit() and int(length[:20]) > _READ_AT_MOST:
            raise too_long
        body, size = bytearray(), 0
        try:
            async with asyncio.timeout(self.body_timeout_s):
                async for part in request.stream():
                    size += len(part)
                    if size <= LARGEST_BODY:
                        body += part
                    elif size > _READ_AT_MOST:
                        break
        except TimeoutError:
            raise Refused(408, f"the body did not come within {self.body_timeout_s:g} s") from None
        except ClientDisconnect:
            raise Refused(400, "the sender went away in the middle of the body") from None
        if size > LARGEST_BODY:
            raise too_long
        return bytes(body)

    def _keep(self, forge: str, push: Push, delivery: bytes, body: bytes) -> None:
        """Keep a push, unless it is not on the list or was taken before.

        Raises:
            Refused: it is not kept.
        """
        try:
            if push.repository not in remotes(self.home):
                raise Refused(403, f"{push.repository} is not on the list of repositories")
            marks = (f"{forge} id ".encode() + delivery, f"{forge} body ".encode() + body)
            with self.seen.first(*marks) as first:
                if not first:
                    raise Refused(409, f"this delivery of {push.repository} was taken before")
                keep(self.home, push)
        except (GreenlineError, OSError, sqlite3.Error) as error:
            logger.error("%s", _one_line(f"{forge}: a push cannot be kept: {error}"))  # noqa: TRY400
            raise Refused(503, "the push cannot be kept now; deliver it again later") from error


def _headers(request: Request) -> dict[bytes, bytes]:
    """Return a request's headers by their names in lower case.

    Raises:
        Refused: one that decides something is there twice.
    """
    raw = request.headers.raw
    counts = Counter(name.lower() for name, _ in raw)
    for name in _DECIDES:
        if counts[name] > 1:
            raise Refused(400, f"the header {name.decode()} is there {counts[name]} times")
    return {name.lower(): value for name, value in raw}


def _one_line(text: str) -> str:
    """Return a text for the log, in printable characters on one line, however it came."""
    return text.encode("unicode_escape").decode("ascii")[:_LONGEST_SHOWN]


async def _health(_request: Request) -> Response:
    return JSONResponse({"ok": True})


def _tell(home: Home) -> None:
    emit_spooled(home)
