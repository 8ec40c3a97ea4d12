"""Services that run detached and keep no pid file of their own, such as the Prefect server.

Each is recorded in `services/NAME.json` before it runs, so that any process of the home finds and
ends it. A record counts only while the very process it names is there and it lies in the home it
was made for (a copied home has none of the original's services).
"""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from storage.exceptions import ServiceError
from storage.supervision import (
    end,
    locked,
    process_birth,
    start_detached,
    write_private,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from storage.home import Home

_SUFFIX = ".json"
_SERVES_OTHERS = "prefect"
STOP_SIGNALS = ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0))


@dataclass(frozen=True)
class Detached:
    """A detached process of a home.

    Attributes:
        name: which service it is.
        pid: the process, which leads its process group.
        birth: what tells it from a later process with the same number.
        port: the TCP port it was told to listen on; 0 for none.
    """

    name: str
    pid: int
    birth: str
    port: int


def start(
    home: Home,
    name: str,
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    log: Path,
    port: int = 0,
) -> Detached:
    """Start a service and record it. The caller holds the lock `name` of the home.

    Args:
        home: the home it belongs to.
        name: its name; a file `services/NAME.json` records it.
        command: program (absolute path) and arguments.
        env: its whole environment.
        log: the file to append its output to.
        port: the port it listens on, for the record.

    Raises:
        ServiceError: the program cannot be run.
    """

    def record(pid: int) -> None:
        facts = {"pid": pid, "birth": process_birth(pid), "port": port, "home": _identity(home)}
        write_private(home, _record_file(home, name), json.dumps(facts) + "\n")

    home.folder(home.services)
    try:
        pid = start_detached(command, home=home, log=log, env=env, record=record)
    except ServiceError:
        _record_file(home, name).unlink(missing_ok=True)
        raise
    return Detached(name, pid, process_birth(pid) or "", port)


def recorded(home: Home, name: str) -> bool:
    """Say whether a service was started and not stopped since, though it may have ended."""
    return _record_file(home, name).exists()


def running(home: Home, name: str) -> Detached | None:
    """Return the service's process if it is there, else None."""
    try:
        facts: dict[str, Any] = json.loads(_record_file(home, name).read_text(encoding="utf-8"))
        found = Detached(name, int(facts["pid"]), str(facts["birth"]), int(facts["port"]))
        ours = facts["home"] == _identity(home)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None  # never started, or no record of ours
    return found if ours and process_birth(found.pid) == found.birth else None


def starting_order(name: str) -> tuple[bool, str]:
    """Sort services so that those come first that others need; they stop the other way round."""
    return (name not in {"postgres", _SERVES_OTHERS}, name)


def all_running(home: Home) -> list[Detached]:
    """Return the recorded services of the home that run, in their order of starting."""
    names = sorted((path.stem for path in home.services.glob(f"*{_SUFFIX}")), key=starting_order)
    return [found for name in names if (found := running(home, name)) is not None]


def stop(home: Home, name: str) -> bool:
    """End a service and everything in its process group; False if it was not running.

    Raises:
        ServiceError: it does not end even when killed.
    """
    if not _record_file(home, name).exists():
        return False
    with locked(home, name):
        found = running(home, name)
        ended = found is not None and end_process(found)
        _record_file(home, name).unlink(missing_ok=True)
        return ended


def end_process(found: Detached) -> bool:
    """End the process and its group: politely, then by force; False if it was gone.

    Raises:
        ServiceError: it does not end even when killed.
    """
    ended = end(found.pid, found.birth, *STOP_SIGNALS, group=True)
    if process_birth(found.pid) == found.birth:
        raise ServiceError(f"{found.name} (process {found.pid}) does not end.")
    return ended


def _identity(home: Home) -> list[int]:
    """Return what stays the same when the home is moved, and not when it is copied."""
    folder = home.services.stat()
    return [folder.st_dev, folder.st_ino]


def _record_file(home: Home, name: str) -> Path:
    return home.services / f"{name}{_SUFFIX}"
