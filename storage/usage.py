"""Who uses the services of a home, so that they can be stopped when nobody does.

Each process that uses them holds a shared lock on `services/in-use` until it ends; the kernel
releases it even after kill -9. The keeper (`storage.keeper`) stops the services when it gets that
lock for itself and the last use is some idle minutes old, unless `services/pinned` says that
`greenline up` wants them kept: then it starts those anew that end by themselves.
"""

from __future__ import annotations

import fcntl
import math
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from storage.exceptions import InputError
from storage.supervision import open_private, start_detached, try_lock, write_private

if TYPE_CHECKING:
    from collections.abc import Iterable

    from storage.home import Home

IDLE_VARIABLE = "GREENLINE_SERVICES_IDLE_S"
DEFAULT_IDLE_S = 600.0
KEEPER_LOG = "keeper.log"
IN_USE = "in-use"
POSTGRES = "postgres"
"""The embedded PostgreSQL among the services that are kept."""

# Held until the process ends: one open file for each home that it has used.
_held: dict[tuple[int, int], int] = {}
_held_guard = threading.Lock()


def idle_seconds() -> float:
    """Return the seconds without use after which services stop (`GREENLINE_SERVICES_IDLE_S`).

    Raises:
        InputError: the variable is no number of seconds.
    """
    text = os.environ.get(IDLE_VARIABLE, "")
    if not text:
        return DEFAULT_IDLE_S
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise InputError(
            f"{IDLE_VARIABLE}={text!r} is no number of seconds. Give one, for instance "
            f"{DEFAULT_IDLE_S:.0f}, or unset it; `greenline up` keeps the services running."
        )
    return seconds


def use_services(home: Home) -> None:
    """Say that this process uses the services until it ends, and see that a keeper is there.

    Waits while the keeper is stopping the services, so that what is started afterwards stays.

    Raises:
        InputError: the home cannot be used, or the idle time is no number.
        ServiceError: the keeper cannot be started.
    """
    idle_s = idle_seconds()
    path = in_use_file(home)
    descriptor = open_private(home, path, os.O_RDWR)
    held = False
    try:
        # The keeper stops idle services holding the lock: a short wait, by design unbounded.
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        # What the last user says holds. Written even if unchanged: the time of last use.
        os.pwrite(descriptor, f"{idle_s:<24}\n".encode(), 0)
        found = os.fstat(descriptor)
        with _held_guard:
            if (found.st_dev, found.st_ino) not in _held:
                _held[found.st_dev, found.st_ino] = descriptor
                held = True
    finally:
        if not held:
            os.close(descriptor)
    ensure_keeper(home)


def in_use_file(home: Home) -> Path:
    """Return the file whose lock users share; it holds the idle seconds the last one asked for."""
    return home.folder(home.services) / IN_USE


def keeper_lock_file(home: Home) -> Path:
    """Return the file that the home's keeper holds locked; it holds the keeper's pid."""
    return home.folder(home.services) / "keeper.lock"


def keeper_is_running(home: Home) -> bool:
    """Say whether a keeper watches this home."""
    descriptor = open_private(home, keeper_lock_file(home), os.O_RDWR)
    try:
        # Shared, so that two who ask at once don't take each other for the keeper.
        return not try_lock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def ensure_keeper(home: Home) -> None:
    """Start the home's keeper if none is there.

    Raises:
        ServiceError: it cannot be started.
    """
    if keeper_is_running(home):
        return
    code = str(Path(__file__).resolve().parent.parent)
    start_detached(
        [sys.executable, "-P", "-m", "storage.keeper", "--home", str(home.path)],
        home=home,
        log=home.folder(home.logs) / KEEPER_LOG,
        env={"PATH": os.defpath, "PYTHONPATH": code, "LANG": "C.UTF-8"},
    )


def pin(home: Home, names: Iterable[str] = ()) -> None:
    """Keep the services running until :func:`unpin`, used or not.

    Args:
        home: the home.
        names: the services that are started anew should they end by themselves.
    """
    home.folder(home.services)
    write_private(home, _pin_file(home), "".join(f"{name}\n" for name in sorted(set(names))))


def unpin(home: Home) -> None:
    """Let idle services stop again."""
    _pin_file(home).unlink(missing_ok=True)


def pinned(home: Home) -> bool:
    """Say whether the services are kept (`greenline up`)."""
    return _pin_file(home).exists()


def kept(home: Home) -> frozenset[str]:
    """Return the services that are started anew should they end by themselves."""
    try:
        return frozenset(_pin_file(home).read_text(encoding="utf-8").split())
    except FileNotFoundError:
        return frozenset()


def _pin_file(home: Home) -> Path:
    return home.services / "pinned"
