"""The `feature` flow: a feature plan goes through its phases, and every step is in the ledger.

Prefect carries the run and shows it; the ledger is the truth. One Prefect task is a phase or a
step; a step's task is retried by Prefect while the breaker, which reads the ledger, says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from prefect import flow, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.tasks import Task

from storage.database import Database
from tasks import phases, workstream
from tasks.attempt import AttemptOutcome, attempt_step, skip_step
from tasks.fingerprint import step_fingerprint
from tasks.prepare import check, store
from tasks.run import PlannedStep, Run
from tasks.run_store import open_run

logger = logging.getLogger(__name__)

#: Prefect stops by the breaker's word; this only bounds what Prefect would do on its own.
_MOST_RETRIES: Final = 100


class AttemptFailed(Exception):  # noqa: N818 - it says what happened
    """An attempt failed; `retry` says whether the breaker allows another one."""

    def __init__(self, outcome: AttemptOutcome) -> None:
        self.outcome = outcome
        self.retry = outcome.decision is not None and outcome.decision.retry
        super().__init__(f"attempt {outcome.number}: {outcome.failure_class}: {outcome.reason}")


class RunNotCompleted(Exception):  # noqa: N818 - it says what happened
    """The run ended, but not as completed; Prefect shows its flow run as failed."""


def _flow_run_name() -> str:
    """Name a flow run for people: the plan's file, and the run once it has an id."""
    parameters = runtime.flow_run.parameters
    run_id = parameters.get("run_id")
    return Path(parameters["plan"]).stem + (f" {run_id[:13]}" if run_id else "")


@flow(name="feature", flow_run_name=_flow_run_name, validate_parameters=False)
async def feature(
    plan: str,
    repo: str = ".",
    config: str | None = None,
    agent: str | None = None,
    run_id: str | None = None,
) -> str:
    """Run a feature plan on a repository.

    Args:
        plan: path of the feature plan.
        repo: the target repository.
        config: a settings file to use instead of the repository's own.
        agent: an agent to play every role.
        run_id: a run that is prepared already; the other arguments only describe it then.

    Returns:
        The run's id.

    Raises:
        RunNotCompleted: the run failed or is partial; the ledger has it all.
        InputError: something given is wrong.
    """
    database = Database.open()
    try:
        if run_id is None:
            checked = await asyncio.to_thread(
                check,
                Path(plan),
                repo=Path(repo),
                config=Path(config) if config else None,
                agent=agent,
            )
            prepared = await asyncio.to_thread(checked.observe)
            run_id = await asyncio.to_thread(store, prepared, database)
        run = await asyncio.to_thread(open_run, database, run_id)
        status = await _carry(run)
    finally:
        database.dispose()
    if status != "completed":
        raise RunNotCompleted(f"run {run_id} is {status}")
    return run_id


async def _carry(run: Run) -> str:
    """Take a run through its phases; whatever happens, the ledger says how it ended."""
    await asyncio.to_thread(phases.begin_run, run, _flow_run_id())
    try:
        await phase_task("analysis", lambda: phases.analysis(run))
        await phase_task("approaches", lambda: phases.approaches(run))
        await phase_task("judging", lambda: phases.judging(run))
        if await implementation_task(lambda: _implementation(run)):
            await phase_task("pr", lambda: phases.pr(run))
        return await asyncio.to_thread(phases.end_run, run)
    except BaseException as error:
        phases.break_off(run, error)
        raise


@task(task_run_name="{name}", cache_policy=NO_CACHE)
async def phase_task(name: str, work: Callable[[], bool]) -> bool:
    """Do one phase; True when it passed."""
    logger.info("phase %s", name)
    return await asyncio.to_thread(work)


@task(task_run_name="implementation", cache_policy=NO_CACHE)
async def implementation_task(work: Callable[[], Awaitable[bool]]) -> bool:
    """Hold the tasks of the steps together; True when every workstream is done."""
    return await work()


async def _implementation(run: Run) -> bool:
    """Do every workstream in the order of their dependencies; True when all are done."""
    await asyncio.to_thread(phases.begin_implementation, run)
    for subtask in run.plan.in_dependency_order():
        if await asyncio.to_thread(workstream.begin, run, subtask):
            await _workstream(run, run.steps[subtask.key])
    return await asyncio.to_thread(phases.end_implementation, run)


async def _workstream(run: Run, steps: tuple[PlannedStep, ...]) -> None:
    for planned in steps:
        outcome = await _step(run, planned)
        if outcome.status == "failure":
            await asyncio.to_thread(workstream.fail, run, planned, outcome)
            return
    await phase_task(f"review {steps[0].subtask.key}", lambda: workstream.review(run, steps))


async def _step(run: Run, planned: PlannedStep) -> AttemptOutcome:
    """Do one step as one Prefect task, retried while the breaker allows it."""
    fingerprint = step_fingerprint(run, planned)
    before = await asyncio.to_thread(workstream.enter_step, run, planned, fingerprint)
    made: list[AttemptOutcome] = []

    def attempt() -> AttemptOutcome:
        made.append(
            attempt_step(run, planned, fingerprint)
            if before is None
            else skip_step(run, planned, before)
        )
        return made[-1]

    call: Any = step_task.with_options(  # Prefect's overloads lose the return type
        # A hit in Prefect's cache counts only when the ledger agrees that the step was done.
        refresh_cache=before is None,
        # Few distinct sets of tags: for each one Prefect asks the server for its limits anew.
        tags={f"project:{run.project_id}", f"role:{planned.numbered.step.assigned_to}"},
    )
    state = await call(
        f"{planned.subtask.key} {planned.name}",
        f"{run.project_id}-{fingerprint}-{run.line.sandbox.head}",
        attempt,
        return_state=True,
    )
    if before is not None and not made:
        return await asyncio.to_thread(skip_step, run, planned, before)
    if not made or (state.is_failed() and made[-1].status != "failure"):
        await state.aresult()  # something unexpected: let it surface
    return made[-1]


def _breaker_allows(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    return isinstance(state.data, AttemptFailed) and state.data.retry


def _cache_key(_context: TaskRunContext, parameters: dict[str, Any]) -> str:
    return str(parameters["key"])


@task(
    task_run_name="{name}",
    retries=_MOST_RETRIES,
    retry_condition_fn=_breaker_allows,
    persist_result=True,
    result_serializer="json",
    cache_key_fn=_cache_key,
)
async def step_task(
    name: str,  # noqa: ARG001 - the task run's name is made of it
    key: str,  # noqa: ARG001 - Prefect's cache key is it
    attempt: Callable[[], AttemptOutcome],
) -> dict[str, Any]:
    """Make one attempt at a step and return what the UI shows of it.

    Raises:
        AttemptFailed: the gates refused it; Prefect retries when the breaker allows it.
    """
    outcome = await asyncio.to_thread(attempt)
    if outcome.status == "failure":
        raise AttemptFailed(outcome)
    return {"attempt": outcome.number, "status": outcome.status, "commit": outcome.commit}


def _flow_run_id() -> str | None:
    found = runtime.flow_run.id
    return str(found) if found else None
