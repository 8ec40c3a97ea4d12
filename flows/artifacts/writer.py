"""Artifacts on the Prefect server, and where its UI has what.

What goes wrong here is a line in the log: Prefect is the view, and no run waits for it or fails
because of it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote, urlsplit
from uuid import UUID

from prefect import get_client, runtime
from prefect.client.orchestration import PrefectClient
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings

from flows.artifacts.questions import Form
from flows.artifacts.sheets import Sheet

logger = logging.getLogger(__name__)

ANSWER: Final = "answer/answer"
"""The deployment whose form answers questions."""
_PATIENCE_S: Final = 5.0


class Writer:
    """Writes sheets of one flow run: what has been written is written over, not written again."""

    def __init__(self, client: PrefectClient, flow_run_id: UUID) -> None:
        self._client = client
        self._flow_run_id = flow_run_id
        self._written: dict[str, tuple[str, Sheet]] = {}

    async def find(self, *keys: str) -> None:
        """Go on with the sheets that this flow run has already: it was taken up itself."""
        answer = await self._client.request(
            "POST",
            "/artifacts/filter",
            json={
                "artifacts": {"key": {"any_": list(keys)}},
                "flow_runs": {"id": {"any_": [str(self._flow_run_id)]}},
                "sort": "UPDATED_DESC",
            },
        )
        for found in reversed(answer.json()):
            key = found["key"]
            self._written[key] = (found["id"], Sheet(key, found["type"], ""))

    async def put(self, sheet: Sheet) -> None:
        """Write a sheet; one with the same key, that this flow run wrote, becomes it."""
        if sheet.key not in self._written:
            self._written[sheet.key] = (await self.add(sheet), sheet)
            return
        artifact_id, before = self._written[sheet.key]
        if before == sheet:
            return
        # The client's own functions send each content a second time, as an event.
        path = {"id": artifact_id}
        content = {"data": sheet.data, "description": sheet.description}
        await self._client.request("PATCH", "/artifacts/{id}", path_params=path, json=content)
        self._written[sheet.key] = (artifact_id, sheet)

    async def add(self, sheet: Sheet, task_run_id: UUID | None = None) -> str:
        """Write a sheet as a new version of its key; return its id."""
        answer = await self._client.request(
            "POST",
            "/artifacts/",
            json={
                "key": sheet.key,
                "type": sheet.kind,
                "data": sheet.data,
                "description": sheet.description,
                "flow_run_id": str(self._flow_run_id),
                "task_run_id": str(task_run_id) if task_run_id else None,
            },
        )
        return str(answer.json()["id"])


async def show(make: Callable[[], Sheet | None]) -> None:
    """Write a sheet of the flow run that this is called in; outside of one nothing is shown.

    Args:
        make: makes it; None when there is nothing to be shown.
    """
    flow_run_id = runtime.flow_run.id
    if not flow_run_id:
        return
    try:
        sheet = await asyncio.to_thread(make)
        if sheet is not None:
            async with asyncio.timeout(_PATIENCE_S), get_client() as client:
                await Writer(client, UUID(str(flow_run_id))).add(sheet)
    except Exception as error:  # noqa: BLE001 - whatever it is, the work was done
        logger.warning("not shown in Prefect's UI: %s", said(error))


def said(error: BaseException) -> str:
    """Return an error in one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__


async def answer_form(client: PrefectClient) -> Form | None:
    """Return where the form is that answers questions; None: it is not deployed on this server."""
    try:
        deployment = await client.read_deployment_by_name(ANSWER)
    except ObjectNotFound:
        return None

    def address(fields: dict[str, str]) -> str:
        given = quote(json.dumps(fields, separators=(",", ":")), safe="")
        return f"{ui_path()}/deployments/deployment/{deployment.id}/run?parameters={given}"

    return address


def ui_path() -> str:
    """Return what the paths of the UI's pages begin with, without an end.

    Links of artifacts name no host: the page that shows them was reached by one that works.
    """
    settings: Any = get_current_settings()
    return urlsplit(settings.ui_url or "").path.rstrip("/")
