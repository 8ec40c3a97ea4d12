"""The processes that carry flow runs, and the flow runs whose process is gone."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import psutil

from flows.operation.deployments import WORK_POOL
from storage import queries
from storage.home import ENVIRONMENT_VARIABLE

if TYPE_CHECKING:
    from flows.operation.prefect_api import PrefectApi
    from storage.database import Database
    from storage.home import Home

_FLOW_RUN_VARIABLE: Final = "PREFECT__FLOW_RUN_ID"
_PENDING_S: Final = 60.0
"""How long a worker may take to start a process for a flow run that it took."""


def flow_run_processes(home: Home | None = None) -> dict[UUID, list[psutil.Process]]:
    """Return the processes of this user's that carry flow runs, by flow run.

    Args:
        home: only those of this home; None: of any.
    """
    found: dict[UUID, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError, ValueError):
            environment = process.environ()
            flow_run = environment.get(_FLOW_RUN_VARIABLE)
            if not flow_run or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if home is None or environment.get(ENVIRONMENT_VARIABLE) == str(home.path):
                found.setdefault(UUID(flow_run), []).append(process)
    return found


def end_flow_run_processes(home: Home, within_s: float = 15.0) -> int:
    """Tell the processes of a home that carry flow runs to end, and end those that don't.

    They leave their runs so that these can be taken up again.

    Returns:
        How many there were.
    """
    processes = [each for those in flow_run_processes(home).values() for each in those]
    for process in processes:
        with suppress(psutil.Error):
            process.terminate()
    _, alive = psutil.wait_procs(processes, timeout=within_s)
    for process in alive:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=5.0)
    return len(processes)


def end_dead_flow_runs(api: PrefectApi, database: Database | None, *, worker_runs: bool) -> int:
    """Mark the flow runs as crashed whose process is gone; they would stay Running for ever.

    Only for the home's own server, all of whose processes are on this machine. Those of `feature`
    that had stored no run are left as they are: `reconcile` begins them again (`flows.orphans`).

    Args:
        api: the server.
        database: the ledger; None: it does not run, and all of those are left.
        worker_runs: a worker may be about to start the process of a flow run that it took.

    Returns:
        How many there were.
    """
    wanted = {
        "flow_runs": {"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}},
        "work_pools": {"name": {"any_": [WORK_POOL]}},
    }
    under_way = api.all_of("/flow_runs/filter", wanted)
    if not under_way:
        return 0
    alive = flow_run_processes()
    feature = (api.get("/deployments/name/feature/feature") or {}).get("id")
    ended = 0
    for each in under_way:
        if UUID(each["id"]) in alive:
            continue
        if each["deployment_id"] == feature and not _has_run(each, database):
            continue
        # It says how it ended before its process is gone: look again, after that.
        now = api.get(f"/flow_runs/{each['id']}")
        if now is None or now["state"]["id"] != each["state"]["id"]:
            continue
        since = datetime.fromisoformat(now["state"]["timestamp"])
        young = (datetime.now(UTC) - since).total_seconds() < _PENDING_S
        if worker_runs and young and now["state"]["type"] == "PENDING":
            continue
        cancelled = now["state"]["type"] == "CANCELLING"
        state = {
            "type": "CANCELLED" if cancelled else "CRASHED",
            "name": "Cancelled" if cancelled else "Crashed",
            "message": "Its process is gone.",
        }
        api.post(f"/flow_runs/{each['id']}/set_state", {"state": state, "force": True})
        ended += 1
    return ended


def _has_run(flow_run: dict[str, Any], database: Database | None) -> bool:
    """Say whether what a flow run of `feature` did is in the ledger, so that it can be gone on."""
    if flow_run["state"]["type"] == "CANCELLING" or flow_run["parameters"].get("run_id"):
        return True
    if database is None:
        return False
    with database.get_connection() as connection:
        return queries.run_of_flow_run(connection, flow_run["id"]) is not None
