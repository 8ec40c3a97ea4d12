"""Prefect flow runs of processes that are gone: without a word they would stay Running for ever."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import TERMINAL_STATES, StateType
from prefect.states import Completed, Crashed

logger = logging.getLogger(__name__)

_GONE = "The process that carried the run ended; another flow run goes on with it."
_ANSWERED = "It waited for a person; another flow run goes on with the run."
_NOT_ENDED = [state for state in StateType if state not in TERMINAL_STATES]


async def end_flow_runs(flow_run_ids: Iterable[str], message: str = _GONE) -> int:
    """Mark flow runs that have not ended, and their task runs, as crashed; return how many.

    Those that waited for a person are done with their part: they are marked as completed.

    The task runs of an ended flow run as well: when a process is told to stop, the last words on
    its tasks may not reach the server any more.

    Args:
        flow_run_ids: the flow runs; one that this server does not know (another one carried it)
            is left out.
        message: why, for the UI.
    """
    named = FlowRunFilter(id=FlowRunFilterId(any_=[UUID(one) for one in flow_run_ids]))
    if not named.id or not named.id.any_:
        return 0
    async with get_client() as client:
        await _end_task_runs(client, named, message)
        ended = 0
        for flow_run in await client.read_flow_runs(flow_run_filter=named):
            state = flow_run.state
            if state is not None and state.is_paused():  # its process ended as it should
                await client.set_flow_run_state(
                    flow_run.id, Completed(message=_ANSWERED), force=True
                )
            elif state is None or not state.is_final():
                await client.set_flow_run_state(flow_run.id, Crashed(message=message), force=True)
                ended += 1
    if ended:
        logger.info("%d flow runs of processes that ended are marked as crashed", ended)
    return ended


async def _end_task_runs(client: PrefectClient, flow_runs: FlowRunFilter, message: str) -> None:
    going = TaskRunFilter(state=TaskRunFilterState(type=TaskRunFilterStateType(any_=_NOT_ENDED)))
    seen: set[UUID] = set()
    while True:  # the server answers with so many at a time
        task_runs = await client.read_task_runs(flow_run_filter=flow_runs, task_run_filter=going)
        fresh = [task_run.id for task_run in task_runs if task_run.id not in seen]
        if not fresh:
            return
        for task_run_id in fresh:
            await client.set_task_run_state(task_run_id, Crashed(message=message), force=True)
        seen.update(fresh)
