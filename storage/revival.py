"""Services that `greenline up` keeps are started anew when they end by themselves.

The keeper notes, while a service runs, with which program and environment it was started, and
starts the same again. It holds that in memory only: an environment may hold keys.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from storage import detached, launch, usage
from storage.supervision import locked, process_birth, tail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from storage.home import Home

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0
STEADY_S: Final = 60.0
"""Who ran as long as this is started anew without a pause."""
_LOCK_WAIT_S: Final = 2.0

log = logging.getLogger("keeper")


@dataclass(frozen=True)
class Program:
    """What a process was started as.

    Attributes:
        command: program and arguments.
        environment: its whole environment, as it was when it began.
    """

    command: tuple[str, ...]
    environment: dict[str, str]


def program_of(pid: int) -> Program | None:
    """Return what a process of ours was started as; None if it is gone, or only about to begin."""
    try:
        if sys.platform == "linux":
            command = _words(Path(f"/proc/{pid}/cmdline"))
            given = _words(Path(f"/proc/{pid}/environ"))
            environment = dict(word.partition("=")[::2] for word in given if "=" in word)
        else:
            import psutil  # noqa: PLC0415 - 20 ms, and only where there is no /proc

            try:
                process = psutil.Process(pid)
                command, environment = process.cmdline(), process.environ()
            except psutil.Error:
                return None
    except OSError:
        return None
    if not command or launch.__file__ in command:
        return None
    return Program(tuple(command), environment)


def _output_of(pid: int) -> Path | None:
    """Return the file that a process writes its output to; None where this cannot be seen."""
    try:
        file = Path(f"/proc/{pid}/fd/1").readlink()
    except OSError:
        return None
    return file if file.is_file() else None


def _words(file: Path) -> list[str]:
    return [os.fsdecode(word) for word in file.read_bytes().split(b"\0")[:-1]]


@dataclass
class _Kept:
    """A service that is looked after: how to start it, and since when it runs or is missed."""

    start: Callable[[], object]
    running_since: float | None
    pause_s: float = 0.0
    not_before: float = 0.0


class Reviver:
    """Starts the kept services of a home anew.

    Args:
        home: the home.
        start_postgres: starts the embedded PostgreSQL.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        home: Home,
        start_postgres: Callable[[], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.home = home
        self._start_postgres = start_postgres
        self._clock = clock
        self._known: dict[str, _Kept] = {}
        self._noted: dict[str, tuple[int, str]] = {}

    @property
    def missing(self) -> bool:
        """Whether a kept service has ended and is to be started again."""
        return any(known.running_since is None for known in self._known.values())

    def look(self, running: Iterable[detached.Detached], *, postgres: bool) -> list[str]:
        """Note what runs, and start again what was kept and is gone; return the names of those.

        Args:
            running: the detached services that are there.
            postgres: whether the embedded PostgreSQL is.
        """
        kept = usage.kept(self.home)
        here = {found.name: found for found in running}
        for found in here.values():
            self._note(found)
        if postgres:
            self._seen(usage.POSTGRES, self._start_postgres)
        revived = []
        for name in sorted(kept, key=detached.starting_order):
            there = postgres if name == usage.POSTGRES else name in here
            if not there and self._revive(name):
                revived.append(name)
        for name in [name for name in self._known if name not in kept]:
            del self._known[name]
            self._noted.pop(name, None)
        return revived

    def _note(self, found: detached.Detached) -> None:
        if self._noted.get(found.name) == (found.pid, found.birth):
            self._seen(found.name)
            return
        program = program_of(found.pid)
        if program is None or process_birth(found.pid) != found.birth:
            return
        self._noted[found.name] = (found.pid, found.birth)
        log_file = _output_of(found.pid) or self._log(found.name)

        def start() -> object:
            return detached.start(
                self.home,
                found.name,
                program.command,
                env=program.environment,
                log=log_file,
                port=found.port,
            )

        self._seen(found.name, start)

    def _seen(self, name: str, start: Callable[[], object] | None = None) -> None:
        now = self._clock()
        known = self._known.get(name)
        if known is None:
            if start is not None:
                self._known[name] = _Kept(start, now)
            return
        known.start = start or known.start
        if known.running_since is None:
            known.running_since = now
        elif now - known.running_since >= STEADY_S:
            known.pause_s = 0.0

    def _revive(self, name: str) -> bool:
        known = self._known.get(name)
        now = self._clock()
        if known is None:  # it ended before it was seen, or ran before this keeper did
            return False
        if known.running_since is not None:
            known.running_since = None
            known.not_before = now + known.pause_s
            log.warning(
                "%s ended by itself; starting it again%s. Its log ends with:\n%s",
                name,
                f" in {known.pause_s:.0f} s" if known.pause_s else "",
                tail(self._log(name), 500).strip(),
            )
        if now < known.not_before:
            return False
        known.pause_s = min(max(FIRST_PAUSE_S, known.pause_s * 2), LONGEST_PAUSE_S)
        known.not_before = now + known.pause_s  # should it not come up
        with locked(self.home, name, timeout_s=_LOCK_WAIT_S):
            # Stopped meanwhile, or started by somebody else: that one holds then.
            if name not in usage.kept(self.home) or detached.running(self.home, name) is not None:
                return False
            if name != usage.POSTGRES:
                known.start()
        if name == usage.POSTGRES:  # takes that lock itself
            known.start()
        known.running_since = self._clock()
        return True

    def _log(self, name: str) -> Path:
        return self.home.folder(self.home.logs) / f"{name}.log"
