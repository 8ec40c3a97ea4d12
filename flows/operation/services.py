"""The services that a home's commands share: PostgreSQL for the ledger, the Prefect server.

One set per home, started by whichever command needs them, shared by all, stopped by the keeper
(`storage.keeper`) after some idle minutes or by :meth:`Services.down`. `flows.operation.up` keeps
them, and adds the worker and the deployments. A server that the user names
(`GREENLINE_DATABASE_URL`, `PREFECT_API_URL`) is used instead, and never touched.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flows.operation.prefect_server import (
    API_VARIABLE,
    NAME,
    PrefectServer,
    prefect_client_environment,
    users_api_url,
)
from storage import detached, usage
from storage.database import URL_VARIABLE, ledger_url
from storage.embedded import EmbeddedPostgres
from storage.exceptions import InputError
from storage.keeper import stop_keeper, stop_services

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from storage.home import Home

WORKER = "worker"
"""The service that takes flow runs (`flows.operation.worker`)."""


@dataclass(frozen=True)
class ServiceState:
    """How a service is doing.

    Attributes:
        name: `postgres`, `prefect`, `keeper` or another that was started for this home.
        ours: whether it is (or would be) run by this home, not by the user.
        running: whether it answers; None for a server of the user's own, which is not asked here.
        address: where it is to be found, without a password; None if it does not run.
        log: its log, if it is ours.
    """

    name: str
    ours: bool
    running: bool | None
    address: str | None
    log: Path | None


class Services:
    """The services of one home."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.postgres = EmbeddedPostgres(home)
        self.prefect = PrefectServer(home)

    def postgres_url(self) -> str:
        """Return the ledger's URL: `GREENLINE_DATABASE_URL`, else the embedded server's, started.

        Raises:
            InputError: the home cannot be used.
            ServiceError: the server does not come up.
        """
        return ledger_url(self.home)

    def prefect_api_url(self, port: int | None = None) -> str:
        """Return the Prefect API's URL: `PREFECT_API_URL`, else the local server's, started.

        Args:
            port: what the local server is to listen on; None: the home's own.

        Raises:
            InputError: the home cannot be used, or the port is not that of a server that runs.
            ServiceError: the server does not come up.
        """
        named = users_api_url(self.home)
        if named is not None and port is not None:
            raise InputError(
                f"{API_VARIABLE} names a Prefect server that is not ours to start, {_bare(named)}: "
                "leave --port out, or unset it"
            )
        return named or self.prefect.start(port)

    def start(self, port: int | None = None) -> tuple[str, str]:
        """Start both at the same time; return the ledger's and the Prefect API's URL.

        Args:
            port: what the local Prefect server is to listen on; None: the home's own.

        Raises:
            InputError: the home or the port cannot be used.
            ServiceError: one does not come up.
        """
        usage.use_services(self.home)
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="services") as pool:
            prefect = pool.submit(self.prefect_api_url, port)
            postgres = self.postgres_url()
            return postgres, prefect.result()

    def use_prefect(self) -> str:
        """Make this process a client of the Prefect server, started if need be; return its URL.

        Call it before Prefect is imported: it reads its settings and sets up logging then.

        Raises:
            InputError: the home cannot be used.
            ServiceError: the server does not come up.
            RuntimeError: Prefect was imported before, and not by an earlier call of this.
        """
        url = self.prefect_api_url()
        environment = prefect_client_environment(url, self.home)
        wanting = {name for name, value in environment.items() if os.environ.get(name) != value}
        if wanting and "prefect" in sys.modules:
            raise RuntimeError(f"Prefect was imported before its settings: {sorted(wanting)}")
        os.environ.update(environment)
        return url

    def keep(self, names: Iterable[str]) -> bool:
        """Keep the services running from now on, until :meth:`down`.

        Args:
            names: those that are started anew should they end by themselves.

        Returns:
            Whether they were not kept before.
        """
        usage.use_services(self.home)
        before = usage.pinned(self.home)
        usage.pin(self.home, {*usage.kept(self.home), *names})
        return not before

    def down(self, end_users: Callable[[], list[str]] = list) -> list[str]:
        """Stop everything of this home that was started, used or not; return what was stopped.

        Args:
            end_users: ends what uses the servers, and says what that was: it is called while they
                are there to be told.

        Raises:
            ServiceError: one does not end.
        """
        if not self.home.services.is_dir():
            return []
        usage.unpin(self.home)
        # First: it would start anew what ends now.
        keeper = stop_keeper(self.home)
        stopped = [*end_users(), *stop_services(self.home)]
        # A command that used them meanwhile may have brought another one.
        return [*stopped, *(["keeper"] if stop_keeper(self.home) or keeper else [])]

    def status(self) -> list[ServiceState]:
        """Say how the services are doing, starting none."""
        return [self._postgres_state(), self._prefect_state(), *self._other_states()]

    def pinned(self) -> bool:
        """Say whether :meth:`up` keeps the services running."""
        return usage.pinned(self.home)

    def _postgres_state(self) -> ServiceState:
        named = os.environ.get(URL_VARIABLE, "").strip()
        if named:
            return ServiceState(
                "postgres", ours=False, running=None, address=_bare(named), log=None
            )
        url = self.postgres.url()
        return ServiceState(
            "postgres",
            ours=True,
            running=url is not None,
            address=_bare(url) if url else None,
            log=self.postgres.log,
        )

    def _prefect_state(self) -> ServiceState:
        named = users_api_url(self.home)
        if named:
            return _users_own(NAME, named)
        url = self.prefect.url()
        return ServiceState(
            NAME, ours=True, running=url is not None, address=url, log=self.prefect.log
        )

    def _other_states(self) -> list[ServiceState]:
        if not self.home.services.is_dir():
            return []
        others = [
            ServiceState(found.name, ours=True, running=True, address=None, log=None)
            for found in detached.all_running(self.home)
            if found.name != NAME
        ]
        keeper = ServiceState(
            "keeper",
            ours=True,
            running=usage.keeper_is_running(self.home),
            address=None,
            log=self.home.logs / usage.KEEPER_LOG,
        )
        return [*others, keeper]


def _users_own(name: str, url: str) -> ServiceState:
    return ServiceState(name, ours=False, running=None, address=_bare(url), log=None)


def _bare(url: str) -> str:
    """Return the URL without user, password and parameters."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}"
