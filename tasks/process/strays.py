"""Programs that a killed process of ours left running: found by what /proc says, and killed."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

_DEAD_WITHIN_S: Final = 15.0


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


def kill_strays(cwd: Path, env: Mapping[str, str]) -> int:
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
    deadline = time.monotonic() + _DEAD_WITHIN_S
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
