"""Who carries a run: the owner's name, whether it lives, and the heartbeat that renews its lease.

A lease lasts 30 s and is renewed every 10 s over a connection of its own. Whoever lost it (another
process took the run over, or a person gave the run up) writes nothing more: every transaction of
the pipeline checks it (`Ledger.require_lease`). The database's clock alone says when it is over;
who cannot reach the database for as long counts it as lost, reckoned from before the last renewal
was asked for, so that nobody else has the run by then.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import psycopg

from storage.exceptions import GreenlineError, InputError
from storage.supervision import process_birth

if TYPE_CHECKING:
    from collections.abc import Callable

    from storage.database import Database

logger = logging.getLogger(__name__)

LEASE_S: Final = 30.0
RENEW_S: Final = 10.0
LOCK_S: Final = 300.0
_RETRY_S: Final = 1.0
_PATIENCE_S: Final = 5.0

_RENEW_RUN: Final = (
    "UPDATE public.runs SET lease_expires_at = clock_timestamp() + make_interval(secs => %s)"
    " WHERE run_id = %s AND lease_owner = %s"
)
_RENEW_LOCKS: Final = (
    "UPDATE public.file_locks SET expires_at = clock_timestamp() + make_interval(secs => %s)"
    " WHERE run_id = %s AND holder = %s"
)


class LeaseLost(GreenlineError):  # noqa: N818 - it names what happened
    """Another process carries the run now, or the run was given up."""

    def __init__(self, run_id: str, now: str | None = None) -> None:
        self.run_id = run_id
        whose = f"it is carried by {described(now)}" if now else "nobody carries it any more"
        super().__init__(
            f"this process may not go on with run {run_id}: {whose}. "
            f"`greenline runs show {run_id}` says how it stands."
        )


class RunCarried(InputError):  # noqa: N818 - it names what happened
    """Somebody carries the run already."""

    def __init__(self, run_id: str, owner: str) -> None:
        super().__init__(
            f"run {run_id} is being carried by {described(owner)}; wait until it ends, "
            f"stop that process and resume, or give the run up with `greenline abandon {run_id}`"
        )


def this_owner() -> str:
    """Return the name under which this process holds leases and locks.

    `<host>/<process namespace>/<pid>/<birth>/<nonce>`: enough to tell on the same host whether
    the process is still there, whatever number it had. A birth begins with the name of the
    system's start (`storage.supervision.process_birth`), which no two machines share.
    """
    return _owner_of(os.getpid())


@cache
def _owner_of(pid: int) -> str:
    birth = process_birth(pid) or "unknown"
    return "/".join((socket.gethostname(), _namespace(), str(pid), birth, secrets.token_hex(4)))


@cache
def _namespace() -> str:
    """Tell containers apart that share a host's name: process numbers mean nothing across them."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:  # no Linux: the machine, by the address of its network interface
        return f"{uuid.getnode():x}"


def owner_is_dead(owner: str) -> bool:
    """Say whether an owner is surely gone: of this host, and its process is not there any more.

    False means that it lives or that nobody can tell from here: then the lease has to run out.
    Names of hosts are nothing to rely on, since containers and copied machines share them, and
    the first process namespace has the same number on every Linux: the system's start is compared
    as well. So an owner from before a restart of this host is not told from one elsewhere.
    """
    try:
        host, namespace, pid, birth, _ = owner.split("/")
        number = int(pid)
    except ValueError:
        return False
    start = (process_birth(os.getpid()) or "").rpartition(":")[0]
    if (host, namespace, birth.rpartition(":")[0]) != (socket.gethostname(), _namespace(), start):
        return False
    found = process_birth(number)
    return found != birth if found is not None else not _is_hidden(number)


def _is_hidden(pid: int) -> bool:
    """Say whether a process is there that `/proc` does not show us (mounted with `hidepid`)."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return False  # ours, so it would be shown: a zombie


def described(owner: str) -> str:
    """Return an owner as people read it."""
    parts = owner.split("/")
    return f"process {parts[2]} on {parts[0]}" if len(parts) == 5 else owner


@dataclass
class Lease:
    """The right to carry one run, kept by a heartbeat until it is closed.

    Attributes:
        owner: the name it is held under, this process's.
        on_loss: called once, in the heartbeat's thread, when somebody else has the run.
    """

    database: Database
    run_id: str
    owner: str
    on_loss: Callable[[], object] | None = None
    _lost: threading.Event = field(default_factory=threading.Event)
    _closing: threading.Event = field(default_factory=threading.Event)
    _losing: threading.Lock = field(default_factory=threading.Lock)
    _thread: threading.Thread | None = None
    _until: float = 0.0  # until when nobody else can have it, on this machine's clock
    _asking: float | None = None  # since when the heartbeat waits for an answer

    @classmethod
    def take(
        cls,
        database: Database,
        run_id: str,
        on_loss: Callable[[], object] | None = None,
    ) -> Self:
        """Take a run and keep it; the lease of a process that is surely dead ends at once.

        Raises:
            RunCarried: somebody carries it.
            NotInLedgerError: there is no such run.
        """
        owner = this_owner()
        begun = time.monotonic()
        with database.transaction() as ledger:
            if not ledger.acquire_lease(run_id, owner, LEASE_S):
                held = ledger.lease_of(run_id)
                if held is None or not owner_is_dead(held):
                    raise RunCarried(run_id, held or "somebody")
                if not ledger.acquire_lease(run_id, owner, LEASE_S, instead_of=held):
                    raise RunCarried(run_id, ledger.lease_of(run_id) or "somebody")
                ledger.record_event(run_id, None, "lease_taken_over", {"from": held, "by": owner})
        lease = cls(database, run_id, owner, on_loss, _until=begun + LEASE_S)
        lease._thread = threading.Thread(
            target=lease._beat, name=f"lease {run_id[:13]}", daemon=True
        )
        lease._thread.start()
        # A database that is cut off lets a call wait for many minutes before it fails.
        threading.Thread(target=lease._watch, name=f"watch {run_id[:13]}", daemon=True).start()
        return lease

    @property
    def lost(self) -> bool:
        """Whether somebody else has the run, or it is unknown for longer than the lease lasts."""
        return self._lost.is_set()

    def close(self) -> None:
        """Stop the heartbeat and give the run back, with all its locks; nothing if it was lost."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(None if self._asking is None else _PATIENCE_S)
        if self.lost or (self._thread is not None and self._thread.is_alive()):
            return
        # A database that is gone frees both by itself, when their time is over.
        with (
            suppress(psycopg.Error, GreenlineError, OSError),
            self.database.transaction() as ledger,
        ):
            if ledger.release_lease(self.run_id, self.owner):
                ledger.unlock_run(self.run_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _beat(self) -> None:
        connection: psycopg.Connection[Any] | None = None
        pause = RENEW_S
        while not self._closing.wait(pause) and not self.lost:
            self._asking = begun = time.monotonic()
            try:
                if connection is None:
                    connection = self.database.get_connection()
                    connection.autocommit = True
                held = connection.execute(_RENEW_RUN, (LEASE_S, self.run_id, self.owner)).rowcount
                connection.execute(_RENEW_LOCKS, (LOCK_S, self.run_id, self.owner))
            except (psycopg.Error, GreenlineError, OSError) as error:
                logger.debug("the lease of %s was not renewed: %s", self.run_id, error)
                if connection is not None:
                    with suppress(psycopg.Error):
                        connection.close()
                connection, pause = None, _RETRY_S
                if time.monotonic() < self._until:
                    continue
                held = 0
            finally:
                self._asking = None
            if held == 0:
                self._lose()
                break
            self._until, pause = begun + LEASE_S, RENEW_S
        if connection is not None:
            connection.close()

    def _watch(self) -> None:
        """Count the lease as lost when its time is over and the database is still silent.

        A process that was stopped for a while and goes on (Ctrl-Z) asks first: what nobody took
        meanwhile is still its own.
        """
        while not self._closing.wait(LEASE_S / 60) and not self.lost:
            asking, now = self._asking, time.monotonic()
            if asking is not None and now >= self._until and now - asking >= LEASE_S / 10:
                self._lose()

    def _lose(self) -> None:
        with self._losing:
            if self.lost:
                return
            self._lost.set()
        logger.error("run %s: the lease is lost", self.run_id)
        if self.on_loss is not None:
            self.on_loss()
