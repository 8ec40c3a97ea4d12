"""Flow runs whose host was lost: begun again before they had stored a run, ended after it.

A run that is stored is taken up by its lease. Before that, a worker's flow run is nothing but a
state at the Prefect server, Pending or Running for ever. Whoever prepares a run claims its flow run
in the database (`storage.claims`), so that one that nobody claims can be told. One whose run has
ended, by itself or on another host, only looks as if it were under way.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Completed, Crashed, Scheduled

from storage import queries
from storage.claims import is_claimed
from storage.states import RunStatus
from tasks.recovery import ENDED

if TYPE_CHECKING:
    from storage.database import Database

logger = logging.getLogger(__name__)

#: How long a process may take from being started to claiming its flow run, with room for clocks
#: that differ from host to host.
BEGINNING: Final = timedelta(minutes=2)
#: How often a flow run is begun; then a person has to look at it.
MOST_BEGINNINGS: Final = 5


async def settle_orphans(database: Database, flow: str, since: timedelta = BEGINNING) -> int:
    """Schedule the flow runs of a deployed flow anew that nobody prepares and that have no run.

    Those whose run has ended without them are ended as well.

    Args:
        database: the ledger.
        flow: the flow's name.
        since: how old their state has to be.

    Returns:
        How many are begun again.
    """
    under_way = [StateType.PENDING, StateType.RUNNING]
    async with get_client() as client:
        found = await client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[flow])),
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=under_way))
            ),
        )
        begun = 0
        for flow_run in found:
            if not _may_be_one(flow_run, since):
                continue
            run_id = flow_run.parameters.get("run_id")
            stands = await asyncio.to_thread(_standing, database, str(flow_run.id), run_id)
            if stands == "nobody's":
                await _begin_again(client, flow_run)
                begun += 1
            elif stands in ENDED:
                message = f"Its process was lost; the run is {stands}."
                done = stands == RunStatus.COMPLETED
                state: State[Any] = (Completed if done else Crashed)(message=message)
                await client.set_flow_run_state(flow_run.id, state, force=True)
    return begun


def _may_be_one(flow_run: FlowRun, since: timedelta) -> bool:
    if flow_run.state is None or flow_run.deployment_id is None:
        return False
    return datetime.now(UTC) - flow_run.state.timestamp > since


def _standing(database: Database, flow_run_id: str, run_id: str | None) -> str:
    """Say how the run of a flow run stands: its status, or that nobody prepares one."""
    with database.get_connection() as connection:
        if run_id is None:
            if is_claimed(connection, flow_run_id):
                return "being prepared"
            # Asked last: who has let go of the claim has stored the run by then.
            run_id = queries.run_of_flow_run(connection, flow_run_id)
            if run_id is None:
                return "nobody's"
    with database.transaction() as ledger:
        row = ledger.get_run(run_id)
        until = row["lease_expires_at"] if row else None
        # Who holds the lease yet is about to say how it ended.
        held = until is not None and until > ledger.now()
        return "carried" if row is None or held else row["status"]


async def _begin_again(client: PrefectClient, flow_run: FlowRun) -> None:
    state: State[Any]
    if flow_run.run_count >= MOST_BEGINNINGS:
        state = Crashed(message=f"Its process was lost {flow_run.run_count} times.")
    else:
        state = Scheduled(message="Its process was lost before it had stored a run.")
    await client.set_flow_run_state(flow_run.id, state, force=True)
    logger.warning("flow run %s: %s", flow_run.name, state.message)
