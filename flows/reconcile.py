"""The `reconcile` flow: what nobody looks after any more is taken up, ended or removed.

Deployed with a schedule of a few minutes. It goes on with runs whose process was killed or whose
question was answered, ends those whose question nobody answered in time, finishes rollbacks that
were cut off, tells of pushes that nobody heard of, sees what became of deliveries, and removes what
runs left on disk. Under a worker a run that goes on gets a flow run of its own.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Any, Final

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.artifacts.reports import reconcile_sheet
from flows.artifacts.writer import show
from flows.feature import carried_on, feature
from flows.flow_runs import end_flow_runs
from flows.on_push import take_up_pushes
from flows.operation.dead_flow_runs import end_dead_flow_runs
from flows.operation.prefect_api import PrefectApi
from flows.operation.prefect_server import API_VARIABLE, users_api_url
from flows.orphans import settle_orphans
from flows.under_worker import hand_over
from flows.waiting import settle
from storage.database import Database
from storage.home import Home
from tasks.acceptance import keep_deliveries_true
from tasks.leftovers import sweep
from tasks.recovery import Forsaken, fail, forsaken_runs, time_out
from tasks.rollback import finish_pending_rollbacks

logger = logging.getLogger(__name__)

#: How often a run is taken up by itself; then a person has to look at it.
MOST_RESUMES: Final = 10


@flow(name="reconcile", validate_parameters=False)
async def reconcile() -> State[Any]:
    """Take up what was left, and say what was done.

    Returns:
        A completed state whose data counts: `resumed`, `failed`, `timed_out`, `rollbacks`,
        `pushes`, `deliveries`, `swept`, and the numbers of flow runs whose process was gone:
        `ended`, and `begun_again` where they had not stored a run yet.
    """
    database = Database.open()
    try:
        ended = await asyncio.to_thread(_end_dead_flow_runs, database)
        begun = await settle_orphans(database, feature.name)
        rollbacks = await asyncio.to_thread(finish_pending_rollbacks, database)
        timed_out = await asyncio.to_thread(time_out, database)
        runs = await asyncio.to_thread(forsaken_runs, database)
        done: dict[str, list[str]] = {"resumed": [], "failed": []}
        for run in runs:
            done[await _take_up(database, run)].append(run.run_id)
        pushes = await take_up_pushes()
        kept = await asyncio.to_thread(keep_deliveries_true, database)
        swept = await asyncio.to_thread(sweep, database)
        await settle(database)
    finally:
        database.dispose()
    report: dict[str, Any] = {
        **done,
        "timed_out": timed_out,
        "rollbacks": [str(each.rollback_id) for each in rollbacks],
        "pushes": pushes,
        "deliveries": [str(each.delivery_id) for each in kept.settled],
        "swept": swept,
    }
    told = ", ".join(f"{len(what)} {name}" for name, what in report.items() if what)
    report |= {"ended": ended, "begun_again": begun}
    await show(lambda: reconcile_sheet(report))
    return Completed(message=told or "nothing to do", data=report)


async def _take_up(database: Database, run: Forsaken) -> str:
    if run.resumes >= MOST_RESUMES:
        reason = f"taken up {run.resumes} times and cut off each time"
        await asyncio.to_thread(fail, database, run.run_id, reason)
        await end_flow_runs(run.flow_run_ids, reason)
        return "failed"
    parameters = {"plan": run.plan_path, "repo": run.repo_path, "run_id": run.run_id}
    if not await hand_over("feature/feature", parameters, f"greenline-run:{run.run_id}"):
        await carried_on(**parameters)
    return "resumed"


def _end_dead_flow_runs(database: Database) -> int:
    """Mark flow runs as crashed whose process is gone, where this can be told."""
    url = os.environ.get(API_VARIABLE)
    if not url or users_api_url(Home.current()) is not None:
        return 0
    with PrefectApi(url, local=True) as api:
        return end_dead_flow_runs(api, database, worker_runs=True)
