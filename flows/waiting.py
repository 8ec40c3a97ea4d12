"""A flow run whose run waits for a person: Paused in Prefect's UI, held by no process.

Where a deployment started it, its "Resume" button shows a form for the oldest question, and a
worker goes on with the same flow run. Any question is answered by the deployment `answer`, too,
which the question's artifact links to, and in a terminal.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final, Literal
from uuid import UUID

from prefect import get_client, runtime
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType
from prefect.input import RunInput
from prefect.input.actions import aread_flow_run_input
from prefect.input.run_input import Keyset, keyset_from_base_key
from prefect.states import Completed, Paused

from flows.artifacts.markdown import block, one_line, page
from flows.artifacts.writer import said
from storage import queries
from storage.database import Database
from storage.exceptions import InputError
from storage.queries import CtaSummary
from storage.states import CtaKind
from tasks.recovery import ended_as

logger = logging.getLogger(__name__)

NAME: Final = "Waits for a person"
"""The state's name in the UI."""
_BY: Final = "Prefect's UI"

Choice = Literal["approve", "reject", "retry", "instructions", "skip", "abandon"]
"""What can be chosen: yes or no to an approval, and the ways on from a stuck step."""


class Answer(RunInput):
    """The form of a flow run that waits.

    Attributes:
        choice: what is to be done.
        text: what some choices need besides, such as new instructions.
    """

    choice: Choice
    text: str = ""


async def pause(database: Database, run_id: str) -> State[Any] | None:
    """Show the flow run that this is called in as paused until a person has answered.

    Returns:
        The state that it has now, None when the server would not have it.
    """
    try:
        return await _pause(database, run_id)
    except Exception as error:  # noqa: BLE001 - the run waits all the same, as the ledger says
        logger.warning("not shown as waiting in Prefect's UI: %s", said(error))
        return None


async def _pause(database: Database, run_id: str) -> State[Any]:
    row = await asyncio.to_thread(_oldest_question, database, run_id)
    state: State[Any] = Paused(
        name=NAME,
        message=one_line(row["request_message"]) if row else "its question is answered by now",
        # Without a deployment the server refuses to resume it: no worker could go on with it.
        reschedule=True,
        pause_expiration_time=row["expires_at"] if row else None,
    )
    flow_run_id = UUID(str(runtime.flow_run.id))
    if row is not None and runtime.deployment.id:
        keyset = _keyset(row["id"])
        state.state_details.run_input_keyset = dict(keyset.items())
        options = [f"- `{option['id']}`: {option['label']}" for option in _options(row)]
        asked = page([block(row["request_message"]), "\n".join(options)])
        form = Answer.with_initial_data(description=asked, choice=_usual(row))
        await form.asave(keyset, flow_run_id)
    async with get_client() as client:
        await client.set_flow_run_state(flow_run_id, state, force=True)
    return state


async def take_answer(database: Database, run_id: str) -> None:
    """Write down what was put into the form of this flow run, which a person has resumed."""
    row = await asyncio.to_thread(_oldest_question, database, run_id)
    if row is None:
        return
    given = await aread_flow_run_input(_keyset(row["id"])["response"])
    if given is None:
        return
    answer = Answer.model_validate(given)
    try:
        await asyncio.to_thread(
            answer_question, database, row["id"], choice=answer.choice, text=answer.text
        )
    except InputError as error:  # it waits once more, and says why
        logger.error("the answer does not fit: %s", error)  # noqa: TRY400 - no fault of ours


async def settle(database: Database) -> int:
    """End the flow runs that wait for a person although their run has ended; return how many.

    It was given up meanwhile, or nobody answered in time.
    """
    waiting = FlowRunFilterState(
        type=FlowRunFilterStateType(any_=[StateType.PAUSED]),
        name=FlowRunFilterStateName(any_=[NAME]),
    )
    settled = 0
    async with get_client() as client:
        for flow_run in await client.read_flow_runs(flow_run_filter=FlowRunFilter(state=waiting)):
            status = await asyncio.to_thread(_ended_as, database, str(flow_run.id))
            if status is not None:
                over: State[Any] = Completed(
                    message=f"The run is {status}; nobody has to answer any more."
                )
                await client.set_flow_run_state(flow_run.id, over, force=True)
                settled += 1
    return settled


def answer_question(
    database: Database,
    question: str,
    *,
    choice: str | None = None,
    text: str | None = None,
    reason: str | None = None,
) -> CtaSummary:
    """Answer a question in the name of Prefect's UI; return it with its answer.

    Args:
        database: the ledger.
        question: its id, or the beginning of it.
        choice: `approve` or `reject`, or the id of one of its options.
        text: the answer to a question for a text, or what an option needs besides.
        reason: why, for the record.

    Raises:
        InputError: there is no such question or several, the answer does not fit it, or it can
            not be answered any more.
    """
    begin = question.strip().lower()
    with database.get_connection() as connection:
        found = queries.list_ctas(connection, id_begin=begin, only_open=False) if begin else []
    if len(found) != 1:
        raise InputError(
            f"there {'is no question' if not found else 'are several questions'} {question!r}; "
            "give the id that the question's artifact and `greenline inbox` show"
        )
    row = found[0]
    approved = choice == "approve" if choice in ("approve", "reject") else None
    with database.transaction() as ledger:
        ledger.answer_cta(
            row["id"],
            approved=approved,
            selected_id=choice if approved is None else None,
            text=text or None,
            reason=reason or None,
            responded_by=_BY,
        )
    with database.get_connection() as connection:
        (now,) = queries.list_ctas(connection, id_begin=row["id"], only_open=False)
    return now


def _oldest_question(database: Database, run_id: str) -> CtaSummary | None:
    with database.get_connection() as connection:
        found = queries.list_ctas(connection, run_id=run_id)
    return found[0] if found else None


def _ended_as(database: Database, flow_run_id: str) -> str | None:
    """Return how the run of a flow run ended, None while it is under way or where it is unknown."""
    with database.get_connection() as connection:
        run_id = queries.run_of_flow_run(connection, flow_run_id)
    return ended_as(database, run_id) if run_id is not None else None


def _keyset(cta_id: str) -> Keyset:
    return keyset_from_base_key(f"question-{cta_id}")


def _options(row: CtaSummary) -> list[dict[str, Any]]:
    if row["kind"] == CtaKind.APPROVAL:
        return [{"id": "approve", "label": "yes"}, {"id": "reject", "label": "no; the run stops"}]
    return [dict(option) for option in row["request_options"] or ()]


def _usual(row: CtaSummary) -> str:
    return next((option["id"] for option in _options(row)), "retry")
