"""The embedded PostgreSQL: one server per home, started on demand, shared by any number of users.

It is started from the programs of a wheel, as a process of its own that outlives whoever started
it, listens on the loopback interface only and asks for a password. Whether it runs is judged by
connecting; `postmaster.pid` in the data folder only says where to.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from storage import cluster
from storage.account import launch_options, server_account
from storage.exceptions import ServiceError
from storage.supervision import (
    LOOPBACK,
    bound_log,
    end,
    explained,
    free_port,
    locked,
    process_birth,
    start_detached,
    tail,
    works_in,
)
from storage.usage import use_services

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg

    from storage.home import Home

LOCK = "postgres"
LOG = "postgres.log"
_START_TIMEOUT_S = 120.0  # recovery after a crash included
_CONNECT_TIMEOUT_S = 5
_PORT_TRIES = 5
_ORPHAN_TRIES = 3
_FAST_S, _IMMEDIATE_S, _KILL_S = 15.0, 5.0, 5.0

_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",  # none: their paths may have 107 bytes at most
    "max_connections": "200",
    "shared_buffers": "32MB",
    "max_wal_size": "256MB",
    "fsync": "on",  # a step that is recorded survives kill -9 and a power cut
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_checkpoints": "off",
}


@dataclass(frozen=True)
class Postmaster:
    """A running server of a data folder.

    Attributes:
        pid: its main process.
        birth: what tells that process from a later one with the same number.
        port: the TCP port that it listens on.
    """

    pid: int
    birth: str
    port: int


class EmbeddedPostgres:
    """The PostgreSQL server of one home; any number of processes and threads share it."""

    def __init__(self, home: Home) -> None:
        self.home = home

    @property
    def data(self) -> Path:
        """The data folder, by its real path: the account that serves it may not see the links."""
        return self.home.postgres.resolve() / "data"

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.home.logs / LOG

    def start(self) -> str:
        """Start the server unless it runs, making its data folder the first time.

        This process counts as a user of the home's services until it ends.

        Returns:
            A libpq URL of the ledger's database, `postgresql://greenline:…@127.0.0.1:…/greenline`.

        Raises:
            InputError: the home cannot be used.
            ServiceError: the server does not come up; says why, with the end of its log.
        """
        with explained("The embedded PostgreSQL cannot be started", self.home):
            use_services(self.home)
            running = self.url()
            if running is not None:
                return running
            with locked(self.home, LOCK):
                # Somebody else may have started it meanwhile.
                return self.url() or self._start()

    def stop(self) -> bool:
        """Stop the server: sessions are ended, commits are kept.

        Returns:
            False if it was not running.

        Raises:
            ServiceError: it does not end even when killed.
        """
        if not self.data.exists():
            return False
        with locked(self.home, LOCK):
            running = self.postmaster()
            if running is None:
                return False
            self._end(running)
            return True

    def url(self) -> str | None:
        """Return the ledger's URL if the server answers there now, else None."""
        running = self.postmaster()
        if running is None or not _answers(self._url(cluster.LEDGER, running.port)):
            return None
        return self._url(cluster.LEDGER, running.port)

    def admin_url(self) -> str | None:
        """Return a superuser's URL (database `postgres`) if the server runs, else None."""
        running = self.postmaster()
        return None if running is None else self._url(cluster.ADMIN, running.port)

    def sessions(self) -> int:
        """Return how many clients are connected to the server, not counting this question."""
        url = self.admin_url()
        if url is None:
            return 0
        import psycopg  # noqa: PLC0415 - 60 ms; most questions never get here

        try:
            with closing(_connect(url)) as connection:
                row = connection.execute(
                    "SELECT count(*) FROM pg_stat_activity "
                    "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
                ).fetchone()
        except psycopg.OperationalError:
            return 0
        return int(row[0]) if row else 0

    def postmaster(self) -> Postmaster | None:
        """Return the process that serves the data folder; None if there is none.

        A `postmaster.pid` left by kill -9, by a reboot or in a copy of a home does not count: the
        process must be there, with this very folder as its own.
        """
        try:
            lines = (self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
            pid, port = int(lines[0]), int(lines[3])
            data = self.data.stat()
        except (FileNotFoundError, NotADirectoryError, IndexError, ValueError):
            return None  # not there, or being written this moment
        except PermissionError as error:
            raise ServiceError(
                f"{self.data} cannot be read: {error.strerror}. Was it made by root or another "
                "user? Run as that user, or set GREENLINE_HOME to another folder."
            ) from error
        birth = process_birth(pid) if pid > 0 else None
        if birth is None or not works_in(pid, data):
            return None
        return Postmaster(pid, birth, port)

    def _start(self) -> str:
        """Start it; the caller holds the lock and has seen that it does not answer."""
        self.home.folder(self.home.postgres)
        bin_folder = cluster.programs()
        account = server_account(self.home, self.data)
        if not self.data.exists():
            cluster.create(self.home, self.data, bin_folder, account)
        cluster.check_version(self.data, bin_folder)
        running = self.postmaster()
        if running is None:
            options = launch_options(account, self.data, bin_folder / "postgres")
            running = self._launch(bin_folder / "postgres", options)
        else:  # it is there but does not answer: coming up, or our password no longer holds
            self._wait_until_ready(running, since=0)
        self._prepare(running)
        return self._url(cluster.LEDGER, running.port)

    def _launch(self, program: Path, options: list[str]) -> Postmaster:
        """Start the server's process and wait until it takes connections."""
        log = self.home.folder(self.home.logs) / LOG
        bound_log(self.home, log)
        preferred = self._last_port()
        port_tries, orphan_tries = _PORT_TRIES, _ORPHAN_TRIES
        while True:
            self._drop_stale_pid_file()
            since = log.stat().st_size if log.exists() else 0
            port = free_port(preferred)
            settings = [f"--{name}={value}" for name, value in _SETTINGS.items()]
            pid = start_detached(
                [str(program), "-D", str(self.data), "-p", str(port), *settings],
                home=self.home,
                log=log,
                env=cluster.SERVER_ENVIRONMENT,
                options=options,
            )
            started = Postmaster(pid, process_birth(pid) or "", port)
            try:
                self._wait_until_ready(started, since=since)
            except ServiceError:
                said = tail(log, since=since)
                if "Address already in use" in said and port_tries > 1:
                    preferred, port_tries = None, port_tries - 1
                elif "shared memory block" in said and orphan_tries > 1:
                    orphan_tries -= 1
                    self._end_orphans()
                else:
                    raise
            else:
                return started

    def _wait_until_ready(self, server: Postmaster, *, since: int) -> None:
        from psycopg import pq  # noqa: PLC0415 - 60 ms; most commands find the server running

        asked = f"host={LOOPBACK} port={server.port} connect_timeout={_CONNECT_TIMEOUT_S}"
        deadline = time.monotonic() + _START_TIMEOUT_S
        pause = 0.01
        while pq.PGconn.ping(asked.encode()) != pq.Ping.OK or self.postmaster() is None:
            if process_birth(server.pid) != server.birth:
                raise ServiceError(
                    "The embedded PostgreSQL did not start. Its log "
                    f"({self.log}) ends with:\n{tail(self.log, since=since).strip()}"
                )
            if time.monotonic() > deadline:
                self._end(server)
                raise ServiceError(
                    f"The embedded PostgreSQL did not answer within {_START_TIMEOUT_S:.0f} s. "
                    f"Its log ({self.log}) ends with:\n{tail(self.log, since=since).strip()}"
                )
            time.sleep(pause)
            pause = min(pause * 1.5, 0.2)

    def _prepare(self, server: Postmaster) -> None:
        """See that the ledger's role, with its password, and its database are there."""
        import psycopg  # noqa: PLC0415 - as above
        from psycopg import sql  # noqa: PLC0415

        if _answers(self._url(cluster.LEDGER, server.port)):
            return
        role = sql.Identifier(cluster.LEDGER)
        try:
            with closing(_connect(self._url(cluster.ADMIN, server.port))) as admin:
                if not admin.execute(
                    "SELECT 1 FROM pg_roles WHERE rolname = %s", [cluster.LEDGER]
                ).fetchone():
                    admin.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
                secret = cluster.new_password(self.home, cluster.LEDGER)
                admin.execute(
                    sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, sql.Literal(secret))
                )
                if not admin.execute(
                    "SELECT 1 FROM pg_database WHERE datname = %s", [cluster.LEDGER]
                ).fetchone():
                    admin.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(role, role))
            _connect(self._url(cluster.LEDGER, server.port)).close()
        except psycopg.Error as error:
            raise ServiceError(
                f"The embedded PostgreSQL in {self.data} runs but does not let us in: "
                f"{str(error).strip()}. Its log is {self.log}; its passwords are in "
                f"{self.home.postgres}."
            ) from error

    def _drop_stale_pid_file(self) -> None:
        """Remove a pid file whose process is somebody else by now.

        PostgreSQL removes those of dead processes itself, but takes any live process of its
        number for a server. That nothing serves this folder any more it still checks by the
        shared memory that carries the folder's inode.
        """
        if self.postmaster() is None:
            (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _end_orphans(self) -> None:
        """End sessions that outlived a killed postmaster, busy in a long statement."""
        import psutil  # noqa: PLC0415 - after a crash only

        data = self.data.stat()
        for process in psutil.process_iter():
            birth = process_birth(process.pid)
            if birth and process.pid != os.getpid() and works_in(process.pid, data):
                end(process.pid, birth, (signal.SIGQUIT, 1.0), (signal.SIGKILL, _KILL_S))

    def _last_port(self) -> int | None:
        """Return the port of the last start, so that an open psql finds the server again."""
        try:
            recorded = (self.data / "postmaster.opts").read_text(encoding="utf-8")
            return int(recorded.partition('"-p" "')[2].partition('"')[0])
        except (FileNotFoundError, ValueError):
            return None

    def _end(self, server: Postmaster) -> None:
        signals = (
            (signal.SIGINT, _FAST_S),  # fast shutdown: ends sessions, writes a checkpoint
            (signal.SIGQUIT, _IMMEDIATE_S),  # immediate: recovers at the next start
            (signal.SIGKILL, _KILL_S),
        )
        if (
            not end(server.pid, server.birth, *signals)
            and process_birth(server.pid) == server.birth
        ):
            raise ServiceError(f"The embedded PostgreSQL (process {server.pid}) does not end.")

    def _url(self, role: str, port: int) -> str:
        secret = cluster.password(self.home, role)
        database = cluster.LEDGER if role == cluster.LEDGER else "postgres"
        return f"postgresql://{role}:{secret}@{LOOPBACK}:{port}/{database}"


def _connect(url: str) -> psycopg.Connection:
    import psycopg  # noqa: PLC0415 - as above

    # Only a server that knows the password's verifier passes, so no stranger on our old port
    # is told the password.
    return psycopg.connect(
        url,
        autocommit=True,
        connect_timeout=_CONNECT_TIMEOUT_S,
        require_auth="scram-sha-256",
        application_name="greenline services",
    )


def _answers(url: str) -> bool:
    import psycopg  # noqa: PLC0415 - as above

    try:
        _connect(url).close()
    except psycopg.OperationalError:
        return False
    return True
