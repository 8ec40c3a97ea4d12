"""Runs one program and outlives all that it starts. Executed, never imported by Greenline.

`python -I -S reaper.py FD`: over the socket FD comes what to run (`marshal`), back goes how it
ended. On Linux this process is a *child subreaper*: whatever a descendant does (a session of its
own, a double fork, exiting early), it becomes this process's child in the end. So when none is
left to wait for, none is left at all. When the other end of the socket closes, Greenline is gone,
and everything is killed. Standard library only, and little of it: every invocation pays for it.

A fenced program runs under bubblewrap, in a PID namespace of its own: it sees neither this process
nor any other of ours. From here its processes are seen, and killed, as all others are.
"""

# No contextlib, no typing, no pathlib: together they would double the time this takes to start.
# ruff: noqa: SIM105, PTH123, PTH208

from __future__ import annotations

import _socket
import ctypes
import marshal
import os
import resource
import select
import signal
import sys
import time

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
KILLING_S = 10.0
"""How long descendants may take to die (one that waits for a disk cannot be killed at once)."""

IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGPIPE)
PYTHONS = (signal.SIGPIPE, signal.SIGXFSZ)  # ignored by every Python; no program expects that


def main(descriptor: int) -> None:
    """Serve one request on a socket."""
    os.set_inheritable(descriptor, False)
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for one in IGNORED:
        signal.signal(one, signal.SIG_IGN)
    argv, cwd, environment, timeout_s, fence, opener, door = _received(descriptor)
    if door is not None:
        argv = [*opener, b"%d" % door, *argv]
    told, telling = os.pipe() if fence else (-1, -1)
    if fence:
        os.set_inheritable(telling, True)
        argv = [*fence, b"--json-status-fd", b"%d" % telling, b"--", *argv]
    started = time.monotonic()
    try:
        os.umask(0o022)
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        child = _start(argv, cwd, environment)
    except OSError as error:
        _answer(descriptor, {"errno": error.errno, "where": error.filename})
        return
    if door is not None:
        os.close(door)
    if fence:
        os.close(telling)
    # Ours would keep the pipes open that our parent reads to their end.
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    code, timed_out = _wait(child, descriptor, parent, started + timeout_s)
    duration_ms = round((time.monotonic() - started) * 1000)
    leftovers, survivors = _kill_all(child, fenced=bool(fence))
    _answer(
        descriptor,
        {
            "code": None if timed_out else code,
            "timed_out": timed_out,
            "duration_ms": duration_ms,
            "leftovers": leftovers,
            "survivors": survivors,
            "unstarted": bool(fence) and code == 1 and not _was_started(told),
        },
    )


def _received(
    descriptor: int,
) -> tuple[list[bytes], bytes, dict[bytes, bytes], float, list[bytes], list[bytes], int | None]:
    """Return what to run, and the descriptor that came along, to be handed on."""
    ours = _socket.socket(fileno=os.dup(descriptor))
    door = None
    data = b""
    size = None
    while size is None or len(data) < size:
        part, given, _, _ = ours.recvmsg(1 << 16, _socket.CMSG_SPACE(4))
        if not part:
            sys.exit(1)
        for _, _, number in given:
            door = int.from_bytes(number[:4], sys.byteorder)
            os.set_inheritable(door, True)
        data += part
        if size is None and len(data) >= 8:
            size, data = int.from_bytes(data[:8], "big"), data[8:]
    ours.close()
    return (*marshal.loads(data), door)  # noqa: S302 - from our own parent


def _was_started(told: int) -> bool:
    """Whether bubblewrap executed the program: else it says nothing of how that ended."""
    with os.fdopen(told, "rb") as pipe:
        return b'"exit-code"' in pipe.read()


def _answer(descriptor: int, what: dict[str, object]) -> None:
    try:
        os.write(descriptor, marshal.dumps(what))
    except OSError:  # nobody is left to tell
        pass


def _start(argv: list[bytes], cwd: bytes, environment: dict[bytes, bytes]) -> int:
    """Start the program in a session of its own, so that it cannot signal this one by group.

    Raises OSError, as exec has it in the child.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            for one in (*IGNORED, *PYTHONS):
                signal.signal(one, signal.SIG_DFL)
            os.chdir(cwd)
            os.execvpe(argv[0], argv, environment)  # noqa: S606 - running programs is its job
        except OSError as error:
            where = cwd if error.filename == cwd else argv[0]
            os.write(writing, marshal.dumps((error.errno, where)))
        finally:
            os._exit(127)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        trouble = pipe.read()
    if trouble:
        os.waitpid(child, 0)
        number, where = marshal.loads(trouble)  # noqa: S302 - from our own child
        raise OSError(number, os.strerror(number), where)
    return child


def _wait(child: int, descriptor: int, parent: int, deadline: float) -> tuple[int | None, bool]:
    """Wait for the program, the deadline or Greenline's end; the exit code, if it ended itself."""
    waking, wake = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(waking, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        code = _reap(child)
        if code is not None:
            return code, False
        left = deadline - time.monotonic()
        if left <= 0:
            return None, True
        readable, _, _ = select.select([waking, descriptor], [], [], min(left, 1.0))
        if waking in readable:
            os.read(waking, 1 << 12)
        if descriptor in readable or os.getppid() != parent:
            return None, False


def _reap(child: int) -> int | None:
    """Collect who has ended, orphans too; the program's own exit code if it is among them."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return None
        if pid == 0:
            return None
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code  # as shells say it


def _kill_all(child: int, *, fenced: bool) -> tuple[int, int]:
    """Kill every descendant: how many there were beside the program, and how many would not die.

    Stopped first, killed then: a process that forks as fast as it is killed gets nowhere.
    """
    signal.set_wakeup_fd(-1)
    if sys.platform != "linux":
        return _kill_group(child), 0
    seen: set[int] = set()
    counted: set[int] = set()
    end = time.monotonic() + KILLING_S
    while _any_child():
        alive = _descendants()
        fresh = alive.keys() - seen
        seen |= fresh
        counted |= {pid for pid in fresh if alive[pid] and not (fenced and _is_fences_own(pid))}
        for pid in fresh:
            _signal(pid, signal.SIGSTOP)
        if fresh:
            continue
        for pid in alive:
            _signal(pid, signal.SIGKILL)
        if time.monotonic() > end:
            return len(counted - {child}), len(alive)
        time.sleep(0.001)
    return len(counted - {child}), 0


def _any_child() -> bool:
    """Whether anybody is left to wait for, the ended ones collected."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True


def _kill_group(child: int) -> int:
    """Without subreapers and /proc: kill the program's process group, which is all we know of."""
    try:
        os.killpg(child, signal.SIGKILL)
    except OSError:  # nobody is left in it
        _any_child()
        return 0
    _any_child()
    return 1


def _descendants() -> dict[int, bool]:
    """All descendants, each with whether it is alive.

    An ended one that nobody has waited for yet may still have running threads, so it counts.
    """
    parents = {}
    alive = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                # The name in parentheses may hold anything; state and parent come after it.
                state, parent = file.read().rpartition(b")")[2].split()[:2]
        except OSError:  # ended in between
            continue
        parents[int(name)] = int(parent)
        alive[int(name)] = state not in (b"Z", b"X")
    ours = {os.getpid()}
    grown = True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in ours} - ours
        grown = bool(more)
        ours |= more
    return {pid: alive[pid] for pid in ours - {os.getpid()}}


def _is_fences_own(pid: int) -> bool:
    """Whether a process is not one that the program left: PID 1 of its namespace, or itself, 2."""
    numbers = _numbers(str(pid))
    return len(numbers) in (0, 1 + len(_numbers("self"))) and numbers[-1:] in ([], [b"1"], [b"2"])


def _numbers(process: str) -> list[bytes]:
    """A process's numbers, in our PID namespace and in those within; none if it has ended."""
    try:
        with open(f"/proc/{process}/status", "rb") as file:
            return next(line.split()[1:] for line in file if line.startswith(b"NSpid:"))
    except OSError:
        return []


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


if __name__ == "__main__":
    main(int(sys.argv[1]))
    os._exit(0)  # all is said; tidying the interpreter up would take 3 ms
