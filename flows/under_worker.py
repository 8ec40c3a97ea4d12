"""What a flow does otherwise when a worker carries it than in a command or a test."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from prefect import runtime
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound

from flows.operation.prefect_api import PrefectApi
from flows.operation.prefect_server import API_VARIABLE, users_api_url
from storage.exceptions import ServiceError
from storage.home import Home

_BEGINNING: Final = timedelta(minutes=2)
"""How long a flow run may take from being picked up to holding its run's lease."""
_ASK_S: Final = 3.0


async def hand_over(deployment: str, parameters: Mapping[str, Any], mark: str) -> bool:
    """Have a flow run of its own carry what this one would have to carry itself.

    Args:
        deployment: whose flow run it is to be, `<flow>/<deployment>`.
        parameters: the flow's.
        mark: a tag that tells what is carried, so that it is not handed over twice.

    Returns:
        False when no worker carries this flow, or the deployment is not there.
    """
    if runtime.deployment.id is None:
        return False
    async with get_client() as client:
        try:
            target = await client.read_deployment_by_name(deployment)
        except ObjectNotFound:
            return False
        soon = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING]
        there = await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                tags=FlowRunFilterTags(all_=[mark]),
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=soon)),
            )
        )
        since = datetime.now(UTC) - _BEGINNING
        # One that runs for longer, and does not hold the lease, is of a process that is gone.
        if not any(
            run.state is not None and (run.state.is_scheduled() or run.state.timestamp > since)
            for run in there
        ):
            await client.create_flow_run_from_deployment(
                target.id, parameters=dict(parameters), tags=[mark]
            )
    return True


def stopped_by_a_person() -> bool:
    """Say whether who told this process to stop means that its run is to stay where it is.

    Who stops a command does. A worker passes on what it is told itself, for instance by `greenline
    down`; there a person is behind it only when the flow run was cancelled.
    """
    flow_run = os.environ.get("PREFECT__FLOW_RUN_ID")
    url = os.environ.get(API_VARIABLE)
    if not flow_run or not url:
        return True
    local = users_api_url(Home.current()) is None
    try:
        with PrefectApi(url, local=local, timeout_s=_ASK_S) as api:
            found = api.get(f"/flow_runs/{flow_run}")
    except ServiceError:  # the servers are being stopped as well
        return False
    return found is not None and found["state"]["type"] in {"CANCELLING", "CANCELLED"}
