"""`greenline up` and its opposite: the servers, the deployments and the worker, in their order."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flows.operation.dead_flow_runs import end_dead_flow_runs, end_flow_run_processes
from flows.operation.deployments import (
    Deployed,
    deploy,
    deployed,
    ensure_work_pool,
    run_now,
    time_zone,
)
from flows.operation.prefect_api import PrefectApi
from flows.operation.prefect_server import NAME as PREFECT
from flows.operation.prefect_server import users_api_url
from flows.operation.services import Services
from flows.operation.worker import NAME as WORKER
from flows.operation.worker import Worker
from flows.webhooks import service as webhook_service
from storage import detached, usage
from storage.database import URL_VARIABLE, Database
from storage.exceptions import GreenlineError
from storage.supervision import locked
from tasks.pushes.emit import emit_spooled

if TYPE_CHECKING:
    from storage.home import Home

RECONCILE = "reconcile/reconcile"
_UP_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Operation:
    """What `up` brought about.

    Attributes:
        api_url: the Prefect server's API.
        worker: the worker's name; None: none was wanted.
        limit: flow runs that it carries at the same time.
        started: whether the worker was started by this call.
        registered: the deployments that were put on the server by this call.
        deployments: all of ours, as they stand there.
        zone: the time zone of the schedules, and of times that people read.
        ended: flow runs of processes that were gone.
        unlike: variables that are another now than when the worker was started.
        others: services beside these, by name, and where they are.
    """

    home: Home
    api_url: str
    worker: str | None
    limit: int | None
    started: bool
    registered: list[str]
    deployments: list[Deployed]
    zone: str
    ended: int
    unlike: list[str]
    others: dict[str, str]

    @property
    def ui(self) -> str:
        """The address of Prefect's UI."""
        return self.api_url.removesuffix("/api")

    def document(self) -> dict[str, Any]:
        """Return it as other programs get it."""
        return {
            "prefect_api_url": self.api_url,
            "ui": self.ui,
            "home": str(self.home.path),
            "worker": {"name": self.worker, "limit": self.limit, "started": self.started}
            if self.worker
            else None,
            "time_zone": self.zone,
            "deployments": [each.document() for each in self.deployments],
            "services": self.others,
        }


def up(
    home: Home, *, port: int | None = None, limit: int | None = None, worker: bool = True
) -> Operation:
    """Start the services of a home, put the deployments there, start the worker; keep it all.

    What runs already is left as it is. Flow runs whose process is gone are ended, and what was cut
    off meanwhile is taken up at once rather than at the next time of the schedule.

    Args:
        home: the home.
        port: the Prefect server's TCP port; None: the home's own.
        limit: flow runs that the worker carries at the same time; None: as it is, else as many as
            there are CPUs.
        worker: whether there is to be a worker on this machine.

    Raises:
        InputError: the home, the port or the time zone cannot be used.
        ServiceError: something does not come up.
    """
    services = Services(home)
    zone = time_zone()
    ours = users_api_url(home) is None
    fresh = services.keep(
        [
            *([] if os.environ.get(URL_VARIABLE, "").strip() else [usage.POSTGRES]),
            *([PREFECT] if ours else []),
        ]
    )
    try:
        with locked(home, "up", timeout_s=_UP_TIMEOUT_S):
            ledger, api_url = services.start(port)
            database = Database(ledger)
            database.init_db()
            with PrefectApi(api_url, local=ours) as api:
                return _equip(services, api, database, zone, limit=limit, worker=worker)
    except GreenlineError:
        if fresh:  # nobody asked for a half of it to stay
            usage.unpin(home)
        raise


def _equip(
    services: Services,
    api: PrefectApi,
    database: Database,
    zone: str,
    *,
    limit: int | None,
    worker: bool,
) -> Operation:
    """Put pool, deployments and worker on a server that runs."""
    home = services.home
    local = Worker(home)
    ensure_work_pool(api)
    worker_runs = local.running() is not None
    ended = end_dead_flow_runs(api, database, worker_runs=worker_runs) if api.local else 0
    registered = deploy(api, home, zone)
    started = worker and local.start(api, limit)
    if worker:
        services.keep([WORKER])
    emit_spooled(home, api.url)  # pushes of the time when nobody listened
    others = {}
    if webhook_service.configured():
        others[webhook_service.NAME] = webhook_service.address(webhook_service.start(home))
        services.keep([webhook_service.NAME])
    if started:
        run_now(api, RECONCILE)
    there = local.running() is not None
    return Operation(
        home=home,
        api_url=api.url,
        worker=local.name if there else None,
        limit=local.limit(),
        started=started,
        registered=registered,
        deployments=deployed(api),
        zone=zone,
        ended=ended,
        unlike=local.unlike(api) if there else [],
        others=others,
    )


def end_worker(home: Home) -> bool:
    """End the worker and the processes that it started, and say so to the Prefect server.

    Returns:
        False if it was not running.

    Raises:
        ServiceError: it does not end even when killed.
    """
    found = detached.running(home, WORKER)
    # Before the worker: it would tell them once more, and the second time they end at once.
    end_flow_run_processes(home)
    detached.stop(home, WORKER)  # and its record, if it ended by itself
    end_flow_run_processes(home)  # begun in that very moment
    services = Services(home)
    url = services.prefect.url()
    ledger = os.environ.get(URL_VARIABLE, "").strip() or services.postgres.url()
    if url is not None:
        database = Database(ledger) if ledger else None
        with contextlib.suppress(GreenlineError), PrefectApi(url, local=True) as api:
            end_dead_flow_runs(api, database, worker_runs=False)
    return found is not None
