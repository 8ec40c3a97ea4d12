"""What a program under its guard says and is told: pipes that are moved until it has ended."""

from __future__ import annotations

import contextlib
import marshal
import os
import selectors
import socket
import subprocess
import time
from collections import deque
from typing import IO, Any


class Kept:
    """The head and the tail of a stream, within a limit."""

    def __init__(self, limit: int) -> None:
        self._half = limit // 2
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self._left_out = 0

    @property
    def truncated(self) -> bool:
        """Whether some was left out."""
        return self._left_out > 0

    def add(self, part: bytes) -> None:
        """Take a part; of what is too much the middle goes."""
        room = self._half - len(self._head)
        self._head += part[:room]
        rest = part[room:] if room > 0 else part
        if rest:
            self._tail.append(rest)
            self._tail_size += len(rest)
        while self._tail_size > self._half:
            over = self._tail_size - self._half
            first = self._tail.popleft()
            if len(first) > over:
                self._tail.appendleft(first[over:])
            cut = min(over, len(first))
            self._tail_size -= cut
            self._left_out += cut

    def text(self) -> str:
        """Return what was kept."""
        gap = f"\n… {self._left_out} bytes left out …\n".encode() if self.truncated else b""
        return (bytes(self._head) + gap + b"".join(self._tail)).decode(errors="replace")


class Streams:
    """All that goes between Greenline and a guarded program, without either waiting for ever."""

    def __init__(
        self, guard: subprocess.Popen[bytes], control: socket.socket, stdin: bytes, limit: int
    ) -> None:
        self.out, self.err = Kept(limit), Kept(limit)
        self._guard, self._control = guard, control
        self._stdin = memoryview(stdin)
        self._pipes = [pipe for pipe in (guard.stdin, guard.stdout, guard.stderr) if pipe]
        for pipe in self._pipes:
            os.set_blocking(pipe.fileno(), False)

    def pump(self, deadline: float) -> dict[str, Any] | None:
        """Move bytes until the guard has reported and the pipes are at their end; the report."""
        report = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ)
            for pipe in self._pipes:
                wanted = (
                    selectors.EVENT_WRITE if pipe is self._guard.stdin else selectors.EVENT_READ
                )
                selector.register(pipe, wanted)
            while selector.get_map():
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                for key, _ in selector.select(left):
                    if key.fileobj is self._guard.stdin and self._guard.stdin.closed:
                        continue  # the report came in the same moment
                    if key.fileobj is self._control:
                        part = _received(self._control)
                        report += part
                        if not part:
                            selector.unregister(self._control)
                            # Everybody who could still write is dead: what is in the pipes is all.
                            deadline = min(deadline, time.monotonic() + 1.0)
                            self._forget_stdin(selector)
                    elif not self._move(key.fileobj):
                        selector.unregister(key.fileobj)
                        self._shut(key.fileobj)
        try:
            return dict(marshal.loads(report)) if report else None  # noqa: S302 - from our reaper
        except (EOFError, ValueError, TypeError):
            return None

    def close(self) -> None:
        """Close the pipes."""
        for pipe in self._pipes:
            self._shut(pipe)

    def _forget_stdin(self, selector: selectors.BaseSelector) -> None:
        pipe = self._guard.stdin
        if pipe is not None and not pipe.closed:
            selector.unregister(pipe)
            self._shut(pipe)

    def _move(self, pipe: Any) -> bool:
        """Move some bytes; False when the pipe is done with."""
        descriptor: int = pipe.fileno()
        if pipe is self._guard.stdin:
            try:
                written = os.write(descriptor, self._stdin[: 1 << 16]) if self._stdin else 0
            except BlockingIOError:
                return True
            except BrokenPipeError:
                return False  # it does not want to read more
            self._stdin = self._stdin[written:]
            return len(self._stdin) > 0
        try:
            part = os.read(descriptor, 1 << 16)
        except BlockingIOError:
            return True
        (self.out if pipe is self._guard.stdout else self.err).add(part)
        return bool(part)

    @staticmethod
    def _shut(pipe: IO[bytes] | Any) -> None:
        with contextlib.suppress(BrokenPipeError):
            pipe.close()


def _received(control: socket.socket) -> bytes:
    try:
        return control.recv(1 << 12)
    except ConnectionResetError:
        return b""
