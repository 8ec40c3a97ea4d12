"""The one way out of a fence without a network: a port of our loopback.

A socket belongs to the network in which it was made, whoever holds it. So a small program in the
fence (`opener`) makes one that listens on the loopback there, hands it out through a pair of
connected sockets and becomes the program proper. Here, outside, its connections are accepted and
passed on to the same port of our own loopback. Nothing else of our network is in reach.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import logging
import socket
import sys
import threading
from pathlib import Path
from typing import Final, Self

logger = logging.getLogger(__name__)

OPENER: Final = Path(__file__).with_name("opener.py")
_LOOPBACK: Final = "127.0.0.1"
_PART: Final = 1 << 16
_ENDS_WITHIN_S: Final = 5.0


class Door:
    """Passes the connections of one fenced program on; a context manager.

    Attributes:
        inner: the end of the pair that is to be handed into the fence; closed by :meth:`handed`.
        errno: afterwards: why the program proper could not be started, as the opener told it; None
            when it was, or the opener was not.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.errno: int | None = None
        self._ours, self.inner = socket.socketpair()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._closing = False
        self._guard = threading.Lock()
        self._thread = threading.Thread(target=self._serve, name="door of a fence", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.handed()
        with self._guard:
            self._closing = True
            loop = self._loop
        if loop is None:
            with contextlib.suppress(OSError):
                self._ours.shutdown(socket.SHUT_RDWR)
        else:
            with contextlib.suppress(RuntimeError):  # it has ended meanwhile
                loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_ENDS_WITHIN_S)
        with contextlib.suppress(OSError, ValueError):
            if told := self._ours.recv(16, socket.MSG_DONTWAIT):
                self.errno = int(told)
        self._ours.close()

    @property
    def words(self) -> list[str]:
        """The command of the opener, to which the guard adds the descriptor and the program's."""
        return [sys.executable, "-I", "-S", str(OPENER), str(self.port)]

    def handed(self) -> None:
        """Close our copy of the end that is now somebody else's."""
        self.inner.close()

    def _serve(self) -> None:
        listener = self._received()
        if listener is None:
            return
        with listener:
            asyncio.run(self._relay(listener))

    def _received(self) -> socket.socket | None:
        """Wait for the listening socket; None when there is none to come."""
        size = array.array("i").itemsize
        try:
            _, given, _, _ = self._ours.recvmsg(1, socket.CMSG_SPACE(size))
        except OSError:
            return None
        for level, kind, data in given:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors = array.array("i", data[:size])
                return socket.socket(fileno=descriptors[0])
        return None

    async def _relay(self, listener: socket.socket) -> None:
        with self._guard:
            if self._closing:
                return
            self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._pass_on, sock=listener)
        await self._stop.wait()
        server.close()  # what is under way is cancelled with the loop's end

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            out_reader, out_writer = await asyncio.open_connection(_LOOPBACK, self.port)
        except OSError as error:
            logger.warning("nobody answers a fenced program on port %d: %s", self.port, error)
            writer.close()
            return
        await asyncio.gather(_copy(reader, out_writer), _copy(out_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes until one side ends; the other way may go on."""
    with contextlib.suppress(OSError):
        while part := await reader.read(_PART):
            writer.write(part)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
            return
    writer.close()
