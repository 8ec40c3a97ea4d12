"""Running agents, tests and set-up commands: bounded in time and output, and nothing left behind.

The program runs under a small process of its own (`tasks.process.reaper`), which kills all that the
program started once it has ended, and everything when Greenline itself is gone.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import marshal
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from storage.exceptions import GreenlineError, InputError
from tasks.process.strays import kill_strays
from tasks.process.streams import Streams

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
        streams = Streams(guard, ours, stdin, output_limit)
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
        killed = kill_strays(cwd, env)
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
    report: dict[str, Any], streams: Streams, argv: Sequence[str], cwd: Path
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


def _ended(guard: subprocess.Popen[bytes]) -> bool:
    """Wait for the guard, which ends by itself; True if it had to be, or was, killed."""
    try:
        return guard.wait(GRACE_S) < 0
    except subprocess.TimeoutExpired:  # stopped, most likely by what it guards
        guard.kill()
        guard.wait()
        return True
