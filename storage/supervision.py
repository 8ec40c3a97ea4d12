"""What every service of a home needs: locks, private files, detached processes, bounded logs."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

from storage import launch
from storage.exceptions import ServiceError
from storage.home import ENVIRONMENT_VARIABLE, PRIVATE_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from storage.home import Home

LOOPBACK = "127.0.0.1"
LOG_LIMIT = 4_000_000  # bytes; one older file of the same size is kept
_LOCK_POLL_S = 0.02


@contextmanager
def explained(what: str, home: Home) -> Iterator[None]:
    """Turn what the system refuses us (a full disk, files of another user) into a clear error.

    Args:
        what: what cannot be done then, the beginning of a sentence.
        home: the home that it is done in.

    Raises:
        ServiceError: the system refused something.
    """
    try:
        yield
    except OSError as error:
        hint = (
            f"Was {home.path} used by root or another user? Run as that user, or set "
            f"{ENVIRONMENT_VARIABLE} to another folder."
            if isinstance(error, PermissionError)
            else f"{ENVIRONMENT_VARIABLE} may name a folder on another disk."
            if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
            else ""
        )
        where = error.filename or home.path
        raise ServiceError(f"{what}: {where}: {error.strerror or error}. {hint}".strip()) from error


@contextmanager
def locked(home: Home, name: str, *, timeout_s: float = 120.0) -> Iterator[None]:
    """Hold the lock `name` of this home, waiting for other processes and threads.

    The lock lies inside the home, so that no other user can hold or create it, and is the
    kernel's: a killed holder holds it no longer.

    Args:
        home: the home.
        name: the lock's name.
        timeout_s: seconds to wait.

    Raises:
        ServiceError: somebody else held it all that time.
    """
    path = home.folder(home.services) / f"{name}.lock"
    descriptor = open_private(home, path, os.O_RDWR)
    try:
        deadline = time.monotonic() + timeout_s
        while not try_lock(descriptor, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"Another process has been holding {path} for more than {timeout_s:.0f} s. "
                    "`greenline doctor` shows which services run."
                )
            time.sleep(_LOCK_POLL_S)
        yield
    finally:
        os.close(descriptor)


def try_lock(descriptor: int, kind: int) -> bool:
    """Take a flock of `kind` (`fcntl.LOCK_EX`, `LOCK_SH`) if nobody stands against it."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def open_private(home: Home, path: Path, flags: int) -> int:
    """Open `path` (created 0600 if missing, and the home owner's); children don't inherit it."""
    descriptor = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
    os.fchmod(descriptor, PRIVATE_FILE)  # the umask may have taken bits away
    home.give_to_owner(path)
    return descriptor


def write_private(home: Home, path: Path, text: str) -> None:
    """Write `path` at once or not at all, readable by its owner only."""
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = open_private(home, new, os.O_WRONLY | os.O_EXCL)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise


def free_port(preferred: int | None = None) -> int:
    """Return a TCP port of the loopback interface that nobody listens on, `preferred` if free.

    It may be taken before it is used: whoever starts a server must be ready for that.
    """
    for port in (preferred or 0, 0):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind((LOOPBACK, port))
                return int(probe.getsockname()[1])
    raise ServiceError(f"No free port is left on {LOOPBACK}.")


def launcher(*options: str) -> list[str]:
    """Return the beginning of a command line that runs the rest of it through `launch.py`."""
    return [sys.executable, "-I", "-S", launch.__file__, *options]


def start_detached(
    command: Sequence[str],
    *,
    home: Home,
    log: Path,
    env: Mapping[str, str],
    options: Sequence[str] = (),
    record: Callable[[int], None] | None = None,
) -> int:
    """Start `command` so that it outlives us, our session and our process group; return its pid.

    It leads a session and process group of its own, and inherits no file but its log (as standard
    output and error), no signal disposition and no variable beyond `env`.

    Args:
        command: program (absolute path) and arguments.
        home: the home that the log belongs to.
        log: the file to append its output to.
        env: its whole environment.
        options: further options of `launch.py`.
        record: called with its pid before it runs; if we die or fail in there, it never runs.

    Raises:
        ServiceError: the program cannot be run.
    """
    (said, say), (wait, go) = os.pipe(), os.pipe()
    with ExitStack() as files:
        report, say_end, wait_end, leave = (
            files.enter_context(FileIO(descriptor, mode))
            for descriptor, mode in ((said, "r"), (say, "w"), (wait, "r"), (go, "w"))
        )
        output = files.enter_context(
            FileIO(open_private(home, log, os.O_WRONLY | os.O_APPEND), "a")
        )
        launched = subprocess.Popen(
            [*launcher("--detach", f"--report={say}", f"--go={wait}", *options), "--", *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(env),
            pass_fds=(say, wait),
        )
        say_end.close()
        wait_end.close()
        launched.wait()  # it has forked, or failed
        first = report.readline().decode(errors="replace").strip()
        if not first.isdecimal():
            first = first or f"{sys.executable} exited with {launched.returncode}"
            raise ServiceError(f"{command[0]} cannot be started: {first}.")
        if record is not None:
            record(int(first))
        leave.write(b"g")
        problem = report.read().decode(errors="replace").strip()  # ends when the program runs
    if problem:
        raise ServiceError(f"{command[0]} cannot be started: {problem}.")
    return int(first)


def process_birth(pid: int) -> str | None:
    """Return what tells this process from a later one of the same number; None if it is gone.

    A zombie counts as gone: it holds nothing any more.
    """
    if sys.platform == "linux":
        try:
            text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return None
        # The name in parentheses may hold anything; fields are counted from behind it (proc(5)).
        fields = text.rpartition(")")[2].split()
        return None if fields[0] in {"Z", "X"} else f"{_boot_id()}:{fields[19]}"
    import psutil  # noqa: PLC0415 - 20 ms, and only where there is no /proc

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else str(process.create_time())
    except psutil.NoSuchProcess:
        return None


def works_in(pid: int, folder: os.stat_result) -> bool:
    """Say whether the process has `folder` as its current one.

    A process of the folder's owner that we may not look at counts as if it had: better no
    second server than two on the same data.
    """
    try:
        if sys.platform == "linux":
            current = Path(f"/proc/{pid}/cwd").stat()
        else:
            import psutil  # noqa: PLC0415 - as above

            try:
                current = Path(psutil.Process(pid).cwd()).stat()
            except psutil.NoSuchProcess:
                return False
            except psutil.AccessDenied:
                return bool(psutil.Process(pid).uids().effective == folder.st_uid)
    except PermissionError:
        return Path(f"/proc/{pid}").stat().st_uid == folder.st_uid
    except OSError:
        return False
    return os.path.samestat(current, folder)


def ended(pid: int, birth: str, *, within_s: float) -> bool:
    """Wait until the process is gone; False if it is still there after `within_s` seconds."""
    deadline = time.monotonic() + within_s
    while process_birth(pid) == birth:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def end(pid: int, birth: str, *signals: tuple[int, float], group: bool = False) -> bool:
    """End a process by one signal after another, waiting the seconds given with each.

    Args:
        pid: the process.
        birth: its :func:`process_birth`; another process of that number is left alone.
        signals: pairs of signal and seconds.
        group: send to its whole process group (it must be the group's leader).

    Returns:
        Whether it was there and is gone now.
    """
    if process_birth(pid) != birth:
        return False
    for number, seconds in signals:
        with suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(pid, number)
        if ended(pid, birth, within_s=seconds):
            if group:  # what the leader left behind
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, signal.SIGKILL)
            return True
    return False


def bound_log(home: Home, log: Path, limit: int = LOG_LIMIT) -> None:
    """Keep a log that servers append to bounded: past `limit` bytes it moves to `NAME.1`.

    The file is emptied in place, since its writers hold it open (they append).
    """
    with suppress(FileNotFoundError):
        if log.stat().st_size > limit:
            write_private(home, log.with_name(f"{log.name}.1"), tail(log, limit))
            os.truncate(log, 0)


def tail(log: Path, size: int = 2_000, *, since: int = 0) -> str:
    """Return the last `size` bytes of a log, not looking before the byte `since`."""
    try:
        with log.open("rb") as file:
            end_of_file = file.seek(0, os.SEEK_END)
            file.seek(max(since, end_of_file - size, 0))
            return file.read(size).decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
