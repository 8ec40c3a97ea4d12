"""Running agents, tests and set-up commands: bounded in time and output, and nothing left behind.

The program runs under a small process of its own (`tasks.reaper`), which kills all that the
program started once it has ended, and everything when Greenline itself is gone.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import marshal
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from storage.exceptions import GreenlineError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tasks.fence import Fence
    from tasks.fence.door import Door

REAPER = Path(__file__).with_name("reaper.py")
GRACE_S = 15.0
"""How long after the time limit the reaper is waited for before it is given up."""

OWN_VARIABLES = ("GREENLINE_", "PREFECT_")
"""Variables that begin so are never passed on from the caller's environment."""


LOADER = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""What the Python that runs the reaper may need to start; the program does not get it."""


class ProgramNotFound(InputError):  # noqa: N818 - it names what happened
    """A command names a program that does not exist or cannot be run."""


class Interrupted(GreenlineError):  # noqa: N818 - it names what happened
    """Greenline was told to stop; the program was ended."""


class ProcessError(GreenlineError):
    """A program could not be run or not be ended as it should."""


@dataclass(frozen=True)
class ProcessResult:
    """How a program ended.

    Attributes:
        exit_code: 128 + the signal's number if a signal ended it; None if it was killed at its
            time limit, or lost.
        timed_out: it was killed at its time limit.
        duration_ms: wall-clock time until its main process ended.
        stdout: what it wrote, head and tail if it was more than the limit; bytes that are not
            UTF-8 are replaced.
        stderr: likewise.
        truncated: something of stdout or stderr was left out.
        leftovers: how many of its descendants were still alive at its end; they were killed.
        error: the guard over it was lost (it was killed, most likely by the program itself): what
            could be found of its processes was killed, the exit code is unknown.
    """

    exit_code: int | None
    timed_out: bool
    duration_ms: int
    stdout: str
    stderr: str
    truncated: bool
    leftovers: int
    error: str | None = None


def scrubbed_env(
    home: Path,
    *,
    passing: Sequence[str] = (),
    extra: Mapping[str, str] = {},
) -> dict[str, str]:
    """The environment of an agent or a test run: nothing of the caller's but what is named.

    Args:
        home: a private HOME.
        passing: names of further variables of the caller's to pass on.
        extra: variables to set.

    Returns:
        PATH (its absolute folders only: a relative one would be the agent's own), HOME, LANG,
        TERM, and the named ones that are set.

    Raises:
        InputError: a variable of Greenline's or Prefect's is named.
    """
    for name in passing:
        if name.upper().startswith(OWN_VARIABLES):
            raise InputError(f"{name} is Greenline's own and is never passed on to an agent")
    folders = [one for one in os.environ.get("PATH", os.defpath).split(":") if one.startswith("/")]
    environment = {
        "PATH": ":".join(folders) or os.defpath,
        "HOME": str(home),
        "LANG": os.environ.get("LANG", "C.UTF-8"),
        "TERM": os.environ.get("TERM", "dumb"),
    }
    environment |= {name: os.environ[name] for name in passing if name in os.environ}
    return environment | dict(extra)


_live: set[socket.socket] = set()
_stopping = threading.Event()


def end_programs() -> None:
    """End every guarded program of this process, with all that they started; start no more.

    Whoever waits for one gets :class:`Interrupted`. For the end of the process, or until
    :func:`allow_programs`.
    """
    _stopping.set()
    for control in list(_live):
        with contextlib.suppress(OSError):
            control.shutdown(socket.SHUT_RDWR)


def allow_programs() -> None:
    """Let programs be started again: this process goes on with something else."""
    _stopping.clear()


def pause(seconds: float) -> None:
    """Wait, unless the process is told to stop.

    Raises:
        Interrupted: :func:`end_programs` was called.
    """
    if _stopping.wait(seconds):
        raise Interrupted("Greenline is stopping")


def run_guarded(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    stdin: bytes = b"",
    timeout_s: float,
    output_limit: int = 4_000_000,
    fence: Fence | None = None,
) -> ProcessResult:
    """Run a program to its end, and end all that it started.

    Args:
        argv: the program (looked up on `env`'s PATH) and its arguments.
        cwd: its working directory.
        env: its whole environment.
        stdin: what it can read.
        timeout_s: wall-clock limit in seconds; then it is killed.
        output_limit: how many bytes are kept of stdout, and of stderr.
        fence: what it can see, change and reach; None: as much as we can.

    Raises:
        ProgramNotFound: there is no such program, or it is not executable.
        ProcessError: the working directory is missing, the fence could not be put up, or a
            descendant cannot be killed.
        Interrupted: :func:`end_programs` was called.
    """
    if _stopping.is_set():
        raise Interrupted("Greenline is stopping and starts no more programs")
    if not argv:
        raise ProgramNotFound("a command is empty; name a program")
    around = fence.words(argv, cwd, env) if fence else []
    _, guard, ours = _take_guard()
    with ours, _door(fence) as door:
        request = marshal.dumps(
            (
                [os.fsencode(word) for word in argv],
                os.fsencode(cwd),
                {os.fsencode(name): os.fsencode(value) for name, value in env.items()},
                timeout_s,
                [os.fsencode(word) for word in around],
                [os.fsencode(word) for word in door.words] if door else [],
            )
        )
        started = time.monotonic()
        streams = _Streams(guard, ours, stdin, output_limit)
        _live.add(ours)
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                size = len(request).to_bytes(8, "big")
                if door is None:
                    ours.sendall(size)
                else:
                    socket.send_fds(ours, [size], [door.inner.fileno()])
                    door.handed()
                ours.sendall(request)
            _keep_spare()
            report = streams.pump(started + timeout_s + GRACE_S)
        finally:
            _live.discard(ours)
            ours.close()  # tells the reaper to end everything, should it still be there
            lost = _ended(guard)
            streams.close()
    if _stopping.is_set():
        raise Interrupted(f"Greenline is stopping; {argv[0]!r} was ended")
    duration_ms = round((time.monotonic() - started) * 1000)
    if report is None or lost:
        killed = _kill_strays(cwd, env)
        return ProcessResult(
            exit_code=None,
            timed_out=False,
            duration_ms=duration_ms,
            stdout=streams.out.text(),
            stderr=streams.err.text(),
            truncated=streams.out.truncated or streams.err.truncated,
            leftovers=killed,
            error="the process that guards the program was killed",
        )
    if door is not None and door.errno is not None:
        raise ProgramNotFound(_not_found(argv[0], door.errno) + _unseen(argv[0], cwd, env))
    if report.get("unstarted"):
        raise _not_fenced(argv[0], streams.err.text(), _unseen(argv[0], cwd, env))
    return _result(report, streams, argv, cwd)


def _door(fence: Fence | None) -> contextlib.AbstractContextManager[Door | None]:
    """Return what passes the program's connections on, where its fence has such a door."""
    if fence is None or fence.port is None:
        return contextlib.nullcontext()
    from tasks.fence.door import Door  # noqa: PLC0415 - asyncio, for who has a model to reach

    return Door(fence.port)


class _Guard(NamedTuple):
    """A reaper that waits for its request, and our end of the socket; closing that ends it."""

    owner: int
    process: subprocess.Popen[bytes]
    control: socket.socket

    @classmethod
    def start(cls) -> _Guard:
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(REAPER), str(theirs.fileno())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd="/",
                env={name: os.environ[name] for name in LOADER if name in os.environ},
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        return cls(os.getpid(), process, ours)

    def end(self) -> None:
        self.control.close()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        self.process.wait()


# A guard costs 17 ms, most of it to start: so the next one starts while this one's program runs.
_spare: list[_Guard] = []
_spare_lock = threading.Lock()


def _take_guard() -> _Guard:
    """The spare guard if there is one and it is well, else a new one."""
    with _spare_lock:
        guard = _spare.pop() if _spare else None
    if guard is not None and guard.owner == os.getpid():  # after a fork it is our parent's
        if guard.process.poll() is None:
            guard.process.send_signal(signal.SIGCONT)  # the program before may have stopped it
            return guard
        guard.end()
    return _Guard.start()


def _keep_spare() -> None:
    with _spare_lock:
        if not _spare and not _stopping.is_set():
            _spare.append(_Guard.start())


@atexit.register
def _end_spare() -> None:
    with _spare_lock:
        for guard in _spare:
            if guard.owner == os.getpid():
                guard.end()
        _spare.clear()


def _result(
    report: dict[str, Any], streams: _Streams, argv: Sequence[str], cwd: Path
) -> ProcessResult:
    if (number := report.get("errno")) is not None:
        if os.fsdecode(report.get("where") or b"") == str(cwd):
            raise ProcessError(f"the working directory {cwd} cannot be used: {os.strerror(number)}")
        raise ProgramNotFound(_not_found(argv[0], number))
    if report["survivors"]:
        raise ProcessError(
            f"{report['survivors']} processes that {argv[0]!r} started cannot be killed"
        )
    return ProcessResult(
        exit_code=report["code"],
        timed_out=report["timed_out"],
        duration_ms=report["duration_ms"],
        stdout=streams.out.text(),
        stderr=streams.err.text(),
        truncated=streams.out.truncated or streams.err.truncated,
        leftovers=report["leftovers"],
    )


def _not_found(program: str, number: int) -> str:
    if number == errno.ENOENT:
        where = "there" if "/" in program else "on PATH"
        return f"the program {program!r} is not {where} (or the interpreter it names is missing)"
    if number == errno.E2BIG:
        return f"the arguments and the environment for {program!r} are too long for this system"
    return f"the program {program!r} cannot be run: {os.strerror(number)}; is it executable?"


def _unseen(program: str, cwd: Path, env: Mapping[str, str]) -> str:
    """Say, of a program that is there and was not found in the fence, how it can be."""
    outside = str(cwd / program) if "/" in program else program
    if shutil.which(outside, path=env.get("PATH", os.defpath)) is None:
        return ""
    return (
        ". It is there outside of Greenline's fence, which hides home folders: name what it needs "
        "of them as limits.fence_readable"
    )


def _not_fenced(program: str, said: str, unseen: str) -> GreenlineError:
    """Return the error for a program that was not started, by what bubblewrap said of that."""
    told = said.strip().splitlines()[-1:] or ["it does not say why"]
    started, _, why = told[0].partition("execvp ")
    if started != "bwrap: ":
        return ProcessError(
            f"the fence around {program!r} could not be put up: {told[0]}; "
            '`fence = "off"` does without it'
        )
    number = next((n for n in errno.errorcode if why.endswith(f": {os.strerror(n)}")), errno.EACCES)
    return ProgramNotFound(_not_found(program, number) + unseen)


class _Kept:
    """The head and the tail of a stream, within a limit."""

    def __init__(self, limit: int) -> None:
        self._half = limit // 2
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self._left_out = 0

    @property
    def truncated(self) -> bool:
        return self._left_out > 0

    def add(self, part: bytes) -> None:
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
        gap = f"\n… {self._left_out} bytes left out …\n".encode() if self.truncated else b""
        return (bytes(self._head) + gap + b"".join(self._tail)).decode(errors="replace")


class _Streams:
    """All that goes between Greenline and a guarded program, without either waiting for ever."""

    def __init__(
        self, guard: subprocess.Popen[bytes], control: socket.socket, stdin: bytes, limit: int
    ) -> None:
        self.out, self.err = _Kept(limit), _Kept(limit)
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


def _ended(guard: subprocess.Popen[bytes]) -> bool:
    """Wait for the guard, which ends by itself; True if it had to be, or was, killed."""
    try:
        return guard.wait(GRACE_S) < 0
    except subprocess.TimeoutExpired:  # stopped, most likely by what it guards
        guard.kill()
        guard.wait()
        return True


def end_programs_in(folder: Path) -> int:
    """Kill the agents and tests that a killed process of ours left running; return how many.

    They work in the folder or have their HOME in it, and no terminal: a person's shell has one.
    """
    inside = os.fsencode(folder.resolve())

    def ours(pid: int, at: bytes, variables: list[bytes]) -> bool:
        homes = (variable[5:] for variable in variables if variable.startswith(b"HOME="))
        return any(_is_below(home, inside) for home in homes) or (
            _is_below(at, inside) and not _has_terminal(pid)
        )

    return _kill_where(ours)


def _has_terminal(pid: int) -> bool:
    """Say whether a process has a controlling terminal (proc(5), field 7 of stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    return fields[4] != "0"


def _is_below(path: bytes, folder: bytes) -> bool:
    return path == folder or path.startswith(folder + b"/")


def _kill_strays(cwd: Path, env: Mapping[str, str]) -> int:
    """Kill what the lost guard would have: processes in the worktree or with its private HOME."""
    home = os.fsencode(f"HOME={env['HOME']}") if "HOME" in env else None
    inside = os.fsencode(cwd.resolve())
    return _kill_where(
        lambda _, at, variables: _is_below(at, inside) or (home is not None and home in variables)
    )


def _kill_where(ours: Callable[[int, bytes, list[bytes]], bool]) -> int:
    """Kill the processes of which number, current folder and environment say that they are ours.

    They are gone when this returns, or cannot be killed: nobody who looks finds them at work.
    """
    spared = _ancestors()
    killed: set[int] = set()
    found = True
    while found:
        found = False
        for folder in Path("/proc").glob("[0-9]*"):
            pid = int(folder.name)
            if pid in spared or pid in killed:
                continue
            with contextlib.suppress(OSError):
                at = os.fsencode((folder / "cwd").readlink())
                variables = (folder / "environ").read_bytes().split(b"\0")
                if ours(pid, at, variables):
                    os.kill(pid, signal.SIGKILL)
                    killed.add(pid)
                    found = True
    _await_end(killed)
    return len(killed)


def _await_end(killed: set[int]) -> None:
    """Wait until processes that were killed are dead: a signal is on its way for a moment."""
    deadline = time.monotonic() + GRACE_S
    alive = set(killed)
    while alive and time.monotonic() < deadline:
        alive = {pid for pid in alive if _runs(pid)}
        if alive:
            time.sleep(0.001)


def _runs(pid: int) -> bool:
    """Say whether a process is there and not a zombie (proc(5), field 3 of stat)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] not in ("Z", "X")


def _ancestors() -> set[int]:
    """Return this process and those that it descends from."""
    found = {os.getpid()}
    pid = os.getppid()
    while pid > 1 and pid not in found:
        found.add(pid)
        try:
            text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        except OSError:
            break
        pid = int(text.rpartition(")")[2].split()[1])
    return found
