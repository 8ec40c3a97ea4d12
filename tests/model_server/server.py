"""The server: one for all dialects, on the loopback, in a thread of its own."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterable, Sequence
from functools import reduce
from operator import add
from types import ModuleType
from typing import Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.model_server import chat, messages, responses
from tests.model_server.asked import Asked, Exchange
from tests.model_server.refusals import worded
from tests.model_server.replies import NOTHING, Refusal, Reply, Served, refuse
from tests.model_server.script import Script, as_script

DIALECTS: tuple[ModuleType, ...] = (chat, responses, messages)


class DroppedError(ConnectionError):
    """The script wants the connection to end here."""


class _Uvicorn(uvicorn.Server):
    """Ends at once when it is told to; the usual one looks at the clock and waits for clients."""

    closing: asyncio.Event

    async def main_loop(self) -> None:
        await self.closing.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for listener in self.servers:
            listener.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # in which the transports close their sockets


class ModelServer:
    """A model that says what a script has it say, and remembers what it was asked.

    A base URL may have anything before the dialect's own path: `<url>/<token>/v1/chat/completions`
    is answered like `<url>/chat/completions`.

    Attributes:
        exchanges: all requests for an answer, in the order in which they came in.
        others: method and path of all further requests: listings of models, counting of tokens,
            and what is unknown here, which gets a 404.
    """

    def __init__(
        self,
        script: Script | Sequence[Reply],
        *,
        api_key: str | None = None,
        models: Iterable[str] = ("scripted",),
        counted_tokens: int = 100,
    ) -> None:
        self.exchanges: list[Exchange] = []
        self.others: list[str] = []
        self._script = as_script(script)
        self._api_key = api_key
        self._models = tuple(models)
        self._counted_tokens = counted_tokens
        self._closing = asyncio.Event()
        self._started = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._socket = socket.create_server(("127.0.0.1", 0))
        # Accepted connections inherit it: small writes do not wait for each other's answers.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        app = Starlette(routes=[Route("/{path:path}", self._answer, methods=["GET", "POST"])])
        config = uvicorn.Config(app, log_config=None, log_level="critical", lifespan="off")
        self._server = _Uvicorn(config)
        self._server.closing = self._closing
        self._thread = threading.Thread(target=self._serve, name="model server", daemon=True)

    @property
    def url(self) -> str:
        """Where it is, without a path."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    @property
    def served(self) -> Served:
        """The usage of all answers that were handed over whole."""
        return reduce(add, (exchange.served for exchange in self.exchanges), NOTHING)

    def __enter__(self) -> Self:
        self._thread.start()  # the socket listens already: whoever comes too early waits
        return self

    def __exit__(self, *_: object) -> None:
        self._started.wait()
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()

    def _serve(self) -> None:
        async def main() -> None:
            self._loop = asyncio.get_running_loop()
            self._started.set()
            await self._server.serve(sockets=[self._socket])

        asyncio.run(main())

    async def _answer(self, request: Request) -> Response:
        path = request.url.path
        dialect = next((one for one in DIALECTS if path.endswith(one.PATH)), None)
        if request.method == "GET" or dialect is None:
            return self._other(request.method, path)
        body = json.loads(await request.body())
        asked: Asked = dialect.read(path, dict(request.headers), body)
        denied = self._api_key is not None and asked.api_key != self._api_key
        reply = refuse("auth") if denied else self._script(asked)
        exchange = Exchange(asked, reply)
        self.exchanges.append(exchange)
        number = len(self.exchanges)
        await asyncio.sleep(reply.delivery.before_s)
        if reply.delivery.hangs_at_once(streamed=asked.is_streamed):
            await self._hang(request)
        if reply.refusal is not None:
            return self._refused(reply.refusal, exchange)
        exchange.status = 200
        if asked.is_streamed:
            parts = list(dialect.events(reply, asked, number))
            kind, headers = "text/event-stream", {"cache-control": "no-cache"}
        else:
            parts = _halves(json.dumps(dialect.document(reply, asked, number)).encode())
            kind, headers = "application/json", {"content-length": str(sum(map(len, parts)))}
        if reply.delivery.broken:
            parts = [part.replace(b'"', b"'", 3) for part in parts]
        headers["x-request-id"] = f"req_{number}"
        return StreamingResponse(self._sent(parts, exchange), headers=headers, media_type=kind)

    def _other(self, method: str, path: str) -> Response:
        self.others.append(f"{method} {path}")
        if path.endswith(messages.COUNT_PATH):
            return JSONResponse({"input_tokens": self._counted_tokens})
        if path.endswith("/models"):
            data = [{"id": name, "object": "model", "type": "model"} for name in self._models]
            return JSONResponse({"object": "list", "data": data, "has_more": False})
        return JSONResponse({"error": {"message": f"nothing is at {path}"}}, status_code=404)

    def _refused(self, refusal: Refusal, exchange: Exchange) -> Response:
        status, headers, body = worded(refusal, exchange.asked.dialect)
        exchange.status, exchange.whole = status, True
        return Response(body, status, headers)

    async def _hang(self, request: Request) -> None:
        gone = asyncio.ensure_future(request.receive())  # the body is read: what comes is the end
        closing = asyncio.ensure_future(self._closing.wait())
        _, pending = await asyncio.wait({gone, closing}, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        raise DroppedError

    async def _sent(self, parts: list[bytes], exchange: Exchange) -> AsyncIterator[bytes]:
        """The answer as its delivery has it. An error in here ends the connection."""
        delivery = exchange.reply.delivery
        last = len(parts) - 1
        for place, part in enumerate(parts):
            if delivery.hang_after is not None and place >= min(delivery.hang_after, last):
                await self._closing.wait()  # a client that goes away cancels this
                raise DroppedError
            if delivery.drop_after is not None and place >= min(delivery.drop_after, last):
                raise DroppedError
            # Said before the last part goes out: a test looks as soon as its client has it.
            exchange.whole = delivery.is_whole and place == last
            size = delivery.piece_bytes or len(part)
            for start in range(0, len(part), size):
                yield part[start : start + size]
            await asyncio.sleep(delivery.between_s)


def _halves(document: bytes) -> list[bytes]:
    middle = len(document) // 2
    return [document[:middle], document[middle:]]
