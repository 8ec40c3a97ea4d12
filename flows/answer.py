"""The `answer` flow: a form of Prefect's UI that answers what a run asks a person.

The artifact of a question links to it with the question filled in.
"""

from __future__ import annotations

import asyncio
from typing import Any

from prefect import flow, runtime
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.artifacts.markdown import one_line
from flows.feature import carried_on
from flows.under_worker import hand_over
from flows.waiting import Choice, answer_question
from storage.database import Database
from tasks.recovery import ended_as, forsaken_runs


def _flow_run_name() -> str:
    """Name a flow run after the answer that it gives."""
    given = runtime.flow_run.parameters
    said = given.get("choice") or "a text"
    return one_line(f"{said} to {str(given.get('question'))[:8]}", longest=60)


@flow(name="answer", flow_run_name=_flow_run_name)
async def answer(
    question: str, choice: Choice | None = None, text: str = "", reason: str = ""
) -> State[Any]:
    """Answer a question to a person, and go on with its run.

    Args:
        question: the question's id, or the beginning of it.
        choice: yes or no to an approval (`approve`, `reject`); of a stuck step, whether it is
            tried again (`retry`), with other instructions (`instructions`), left out (`skip`) or
            the run is given up (`abandon`).
        text: the new instructions, or the answer to a question for a text.
        reason: why, for the record.

    Returns:
        A completed state whose data has `run_id`, `question` and the run's `status`.

    Raises:
        InputError: there is no such question, the answer does not fit, or it is closed.
    """
    database = Database.open()
    try:
        row = await asyncio.to_thread(
            answer_question, database, question, choice=choice, text=text, reason=reason
        )
        run_id = row["run_id"]
        # Not one that is carried, or that waits for the answer to another question.
        for run in await asyncio.to_thread(forsaken_runs, database):
            if run.run_id == run_id:
                parameters = {"plan": run.plan_path, "repo": run.repo_path, "run_id": run_id}
                if not await hand_over("feature/feature", parameters, f"greenline-run:{run_id}"):
                    await carried_on(**parameters)
        ended = await asyncio.to_thread(ended_as, database, run_id)
    finally:
        database.dispose()
    status = ended or "running"
    return Completed(
        message=f"answered; the run is {status}" if ended else "answered; the run goes on",
        data={"run_id": run_id, "question": row["id"], "status": status},
    )
