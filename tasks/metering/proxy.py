"""The metering proxy: agents speak to it, it speaks to their models, and counts.

Each invocation has a base URL of its own on the loopback, `http://127.0.0.1:<port>/<token>/v1`.
The token is all that the agent has; the real key is added here. Only what asks a model for an
answer is passed on, and what clients need around it: nothing else can be done with the key.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import re
import secrets
import socket
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cache
from http import HTTPStatus
from typing import Any, Final

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from storage.exceptions import ServiceError
from storage.states import FailureClass
from tasks.metering.dialects import Dialect, dialect_of
from tasks.metering.events import Events, chunk_of_usage_alone
from tasks.metering.meter import Begun, Meter
from tasks.metering.refusals import again_in, gone, refused, unreachable
from tasks.metering.requests import Answered, Refusal
from tasks.metering.wire import (
    LARGEST_REQUEST,
    ask_for_usage,
    body_of,
    error_response,
    json_object,
    passed_back,
    passed_on,
    status_of,
    stopped,
    told,
)

logger = logging.getLogger(__name__)


_STARTS_WITHIN_S: Final = 20.0
_ENDS_WITHIN_S: Final = 5.0
_TIMEOUT: Final = httpx.Timeout(connect=10.0, read=900.0, write=60.0, pool=None)
_LIMITS: Final = httpx.Limits(max_connections=None, max_keepalive_connections=20)

#: Paths that ask no model for an answer and that clients ask for all the same.
_AROUND: Final = re.compile(r"/models(?:/[\w:@+-][\w.:@+-]*){0,3}|/messages/count_tokens", re.ASCII)
#: Why nobody needs to ask again in this invocation: it is waited for between attempts.
_NOT_FOR_NOW: Final = frozenset(
    {FailureClass.INFRA, FailureClass.RATE_LIMITED, FailureClass.QUOTA_EXHAUSTED}
)


class Proxy:
    """A server on the loopback for all invocations of this process."""

    def __init__(self) -> None:
        self._meters: dict[str, Meter] = {}
        self._socket = socket.create_server(("127.0.0.1", 0))
        # Accepted connections inherit it; without it each small write waits for an answer.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client: httpx.AsyncClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._noting: set[asyncio.Future[Any]] = set()
        self._under_way: dict[str, set[asyncio.Task[Any]]] = defaultdict(set)
        routes = [Route("/{token}/v1/{path:path}", self._handle, methods=["GET", "POST", "HEAD"])]
        config = uvicorn.Config(
            Starlette(routes=routes),
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_keep_alive=60,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="metering proxy", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1."""
        return int(self._socket.getsockname()[1])

    @contextmanager
    def metered(self, meter: Meter) -> Iterator[str]:
        """Give a base URL, ending in `/v1`, for one invocation; it is good for nothing afterwards.

        Raises:
            ServiceError: the proxy is not there any more.
        """
        if not self._thread.is_alive():
            raise ServiceError("the metering proxy has ended; start the command again")
        meter.get_ready()
        token = secrets.token_urlsafe(24)
        self._meters[token] = meter
        try:
            yield f"http://127.0.0.1:{self.port}/{token}/v1"
        finally:
            del self._meters[token]
            self._end_requests(token)

    def _end_requests(self, token: str) -> None:
        """End what is left of an invocation's requests; what they used is counted then."""
        loop = self._loop
        if loop is None or loop.is_closed():
            return

        async def end() -> None:
            left = self._under_way.pop(token, set())
            for task in left:
                task.cancel()
            if left:
                await asyncio.wait(left, timeout=_ENDS_WITHIN_S)
            await self._noted()

        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(end(), loop).result(2 * _ENDS_WITHIN_S)

    def _note(
        self, meter: Meter, begun: Begun, answered: Answered, refusal: Refusal | None
    ) -> None:
        """Have it counted how a request ended, and written down; no answer waits for that."""
        write = meter.end(begun, answered, refusal)
        noting = asyncio.ensure_future(asyncio.to_thread(write))
        self._noting.add(noting)
        noting.add_done_callback(self._noting.discard)

    async def _noted(self) -> None:
        """Wait until what was to be written down is."""
        if self._noting:
            await asyncio.wait(set(self._noting), timeout=_ENDS_WITHIN_S)

    def close(self) -> None:
        """Stop listening; requests under way are cut off."""
        self._server.should_exit = True
        self._thread.join(_STARTS_WITHIN_S)
        self._socket.close()

    def _serve(self) -> None:
        async def main() -> None:
            self._loop = asyncio.get_running_loop()
            async with httpx.AsyncClient(timeout=_TIMEOUT, limits=_LIMITS) as client:
                self._client = client
                await self._server.serve(sockets=[self._socket])

        # Signals are the main thread's: uvicorn leaves them alone in any other one.
        asyncio.run(main())

    async def _handle(self, request: Request) -> Response:
        token = request.path_params["token"]
        meter = self._meters.get(token)
        task = asyncio.current_task()
        if meter is None or task is None:
            return error_response(404, "this address is good for no invocation, or not any more")
        under_way = self._under_way[token]
        under_way.add(task)  # to its end, streaming included
        task.add_done_callback(under_way.discard)
        path = "/" + request.path_params["path"].rstrip("/")
        if _AROUND.fullmatch(path):
            return await self._around(request, meter, path)
        dialect = dialect_of(path)
        if dialect is None or request.method != "POST":
            return error_response(
                404, f"{request.method} {path} is not passed on: it asks no model"
            )
        try:
            document = json_object(await body_of(request))
        except OverflowError:
            return error_response(413, f"the request has more than {LARGEST_REQUEST} bytes")
        except ValueError as error:
            return error_response(400, f"the request cannot be read: {error}")
        # What was used so far counts, and a kill in the middle loses this one request at most.
        await self._noted()
        reason = meter.stopped
        if reason is None and meter.is_budgeted:
            reason = await asyncio.to_thread(meter.stop_reason)
        if reason is not None:
            return stopped(reason)
        return await self._ask(request, meter, dialect, document)

    async def _ask(
        self, request: Request, meter: Meter, dialect: Dialect, document: dict[str, Any]
    ) -> Response:
        """Pass a request for an answer on, and the answer back."""
        begun = meter.begin(dialect.PROVIDER, dialect.read(document))
        added_usage = ask_for_usage(dialect, document)
        try:
            answer, refusal, content = await self._answer(request, meter, dialect, document)
        except asyncio.CancelledError:
            self._note(meter, begun, Answered(), gone())
            raise
        if refusal is not None:
            self._note(meter, begun, Answered(), refusal)
            if refusal.failure_class in _NOT_FOR_NOW:
                meter.stop(refusal)
                return stopped(refusal)
            headers = passed_back(answer.headers) if answer else {}
            return Response(content, refusal.status or 502, headers)
        assert answer is not None  # noqa: S101 - there is one, or a refusal
        headers = passed_back(answer.headers)
        if not begun.asked.is_streamed:
            return await self._whole(meter, dialect, begun, answer, headers)
        parts = self._streamed(meter, dialect, begun, answer, drop_usage=added_usage)
        return StreamingResponse(parts, answer.status_code, headers)

    async def _answer(
        self, request: Request, meter: Meter, dialect: Dialect, document: dict[str, Any]
    ) -> tuple[httpx.Response | None, Refusal | None, bytes]:
        """Return an answer whose body is still to be read, or why there is none and its body."""
        for tries in itertools.count(1):
            answer, content = None, b""
            try:
                answer = await self._send(
                    "POST", meter, dialect.PATH, dialect.PROVIDER, request, document
                )
                if answer.status_code < HTTPStatus.BAD_REQUEST:
                    return answer, None, b""
                content = await answer.aread()
                await answer.aclose()
                refusal = refused(answer.status_code, answer.headers, content)
            except httpx.HTTPError as error:
                refusal = unreachable(f"the model's server did not answer: {told(error)}")
            wait = again_in(refusal, tries, datetime.now().astimezone())
            if wait is None:
                break
            await asyncio.sleep(wait)
        return answer, refusal, content

    async def _whole(
        self,
        meter: Meter,
        dialect: Dialect,
        begun: Begun,
        answer: httpx.Response,
        headers: dict[str, str],
    ) -> Response:
        refusal: Refusal | None = None
        answered = Answered()
        try:
            content = await answer.aread()
        except asyncio.CancelledError:
            self._note(meter, begun, answered, gone())
            raise
        except httpx.HTTPError as error:
            refusal = unreachable(f"the model's answer broke off: {told(error)}")
            self._note(meter, begun, answered, refusal)
            return error_response(502, refusal.message, kind="api_connection_error")
        finally:
            await answer.aclose()
        try:
            answered = dialect.answer(json_object(content))
        except ValueError as error:
            refusal = unreachable(f"the model's answer cannot be read: {error}")
        self._note(meter, begun, answered, refusal)
        return Response(content, answer.status_code, headers)

    async def _streamed(
        self,
        meter: Meter,
        dialect: Dialect,
        begun: Begun,
        answer: httpx.Response,
        *,
        drop_usage: bool,
    ) -> AsyncIterator[bytes]:
        """Pass the events on as they come, and put them together beside that."""
        events, stream = Events(), dialect.Stream()
        refusal: Refusal | None = gone()
        try:
            async for part in answer.aiter_bytes():
                for raw, event in events.take(part):
                    if event is not None:
                        stream.take(event)
                        if drop_usage and chunk_of_usage_alone(event):
                            continue
                    yield raw
            if events.rest:
                yield events.rest
            refusal = None
            if stream.error is not None:
                refusal = refused(status_of(stream.error), {}, json.dumps(stream.error).encode())
            elif not stream.is_whole:
                refusal = unreachable("the model's answer ended before its end")
        except httpx.HTTPError as error:
            refusal = unreachable(f"the model's answer broke off: {told(error)}")
            raise  # the agent's connection is to break off too, not to end well
        finally:
            with suppress(httpx.HTTPError):
                await answer.aclose()
            # Also when the agent is gone: what it used is counted.
            self._note(meter, begun, stream.answered(), refusal)

    async def _around(self, request: Request, meter: Meter, path: str) -> Response:
        """Pass on what costs nothing: a list of models, a count of tokens."""
        document = None
        if request.method == "POST":
            try:
                document = json_object(await body_of(request))
            except (ValueError, OverflowError) as error:
                return error_response(400, f"the request cannot be read: {error}")
        anthropic = "anthropic-version" in request.headers or path.startswith("/messages")
        provider = "anthropic" if anthropic else "openai"
        try:
            answer = await self._send(request.method, meter, path, provider, request, document)
            content = await answer.aread()
            await answer.aclose()
        except httpx.HTTPError as error:
            return error_response(502, f"the model's server did not answer: {told(error)}")
        return Response(content, answer.status_code, passed_back(answer.headers))

    async def _send(
        self,
        method: str,
        meter: Meter,
        path: str,
        provider: str,
        asked: Request,
        document: dict[str, Any] | None,
    ) -> httpx.Response:
        """Send a request with the real key; the answer's body is still to be read."""
        assert self._client is not None  # noqa: S101 - it is made before the server serves
        passed, query = passed_on(asked.headers), asked.url.query
        passed["accept-encoding"] = "identity"  # what is counted is read on its way
        if key := meter.endpoint.api_key:
            passed |= (
                {"x-api-key": key}
                if provider == "anthropic"
                else {"authorization": f"Bearer {key}"}
            )
        if provider == "anthropic":
            passed.setdefault("anthropic-version", "2023-06-01")
        content = None if document is None else json.dumps(document, ensure_ascii=False).encode()
        url = meter.endpoint.url(path, provider=provider)
        if query:
            url += f"?{query}"
        asking = self._client.build_request(method, url, headers=passed, content=content)
        return await self._client.send(asking, stream=True)


@cache
def proxy() -> Proxy:
    """Return this process's proxy; it is started by the first invocation that needs it."""
    return Proxy()
