"""The `feature` flow: a feature plan goes through its phases, and every step is in the ledger.

Prefect carries the run and shows it; the ledger is the truth. One Prefect task is a phase or a
step; a step's task is retried by Prefect while the breaker, which reads the ledger, says so.
Whatever cuts a run off, the next flow that gets its id goes on where the ledger says it stood.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final

from prefect import flow, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.exceptions import Pause
from prefect.transactions import BaseTransaction

from flows import waiting
from flows.artifacts.view import RunView
from flows.flow_runs import end_flow_runs
from flows.implementation import End, GivenUp, implementation, phase_task
from flows.logs import keep_secrets_out_of_logs
from flows.under_worker import stopped_by_a_person
from storage import queries
from storage.claims import FlowRunClaim, claimed
from storage.database import Database
from storage.exceptions import GreenlineError
from storage.lease import Lease
from tasks import phases, recovery
from tasks.leftovers import sweep
from tasks.prepare import check, store
from tasks.process import Interrupted, allow_programs, end_programs
from tasks.rollback import finish_pending_rollbacks
from tasks.run import Run, RunOptions
from tasks.run_store import open_run

logger = logging.getLogger(__name__)

WAITING: Final = "running"
"""The status of a run that waits for a person."""


class RunNotCompleted(Exception):  # noqa: N818 - it says what happened
    """The run ended, but not as completed; Prefect shows its flow run as failed."""


def _flow_run_name() -> str:
    """Name a flow run for people: the plan's file, and the run once it has an id."""
    parameters = runtime.flow_run.parameters
    run_id = parameters.get("run_id")
    return Path(parameters["plan"]).stem + (f" {run_id[:13]}" if run_id else "")


@flow(name="feature", flow_run_name=_flow_run_name, validate_parameters=False)
async def feature(  # noqa: PLR0913, PLR0917 - its form in the UI
    plan: str,
    repo: str = ".",
    config: str | None = None,
    agent: str | None = None,
    base: str | None = None,
    run_id: str | None = None,
    max_parallel: int = 1,
    no_wait: bool = False,
    taken_up: bool = False,
) -> str:
    """Run a feature plan on a repository, or carry a stored run on.

    Args:
        plan: path of the feature plan.
        repo: the target repository.
        config: a settings file to use instead of the repository's own.
        agent: an agent to play every role.
        base: the commit to start from; the repository's HEAD by default.
        run_id: a run that is stored already; the other arguments only describe it then.
        max_parallel: how many workstreams may be under way at the same time.
        no_wait: fail at a file that another run is editing, instead of waiting for it.
        taken_up: a person had the run taken up after it was cut off.

    Returns:
        The run's id.

    Raises:
        Pause: the run waits for a person; the flow run is shown as paused. Inside of another flow
            call :func:`carried_on`.
        RunNotCompleted: the run failed or is partial; the ledger has it all.
        RunCarried: another process carries the run.
        InputError: something given is wrong.
    """
    database = Database.open()
    try:
        if run_id is None:
            run_id = await _taken_up_itself(database)
        if run_id is None:
            checked = await asyncio.to_thread(
                check,
                Path(plan),
                repo=Path(repo),
                config=Path(config) if config else None,
                agent=agent,
                base=base,
                options=RunOptions(no_wait=no_wait, max_parallel=max_parallel),
            )
            with _claimed(database) as claim:
                prepared = await asyncio.to_thread(checked.observe)
                run_id = await asyncio.to_thread(store, prepared, database, claim)
        status = await carry(database, run_id, taken_up=taken_up)
        if status == WAITING and _flow_run_id():
            paused = await waiting.pause(database, run_id)
            if paused is not None:
                raise Pause(state=paused)
    finally:
        database.dispose()
    if status not in ("completed", WAITING):
        raise RunNotCompleted(f"run {run_id} is {status}")
    return run_id


async def carried_on(**parameters: Any) -> State[Any]:
    """Run `feature` inside of another flow; return the state that it ended with, or paused in.

    Args:
        parameters: those of :func:`feature`.
    """
    call: Any = feature
    try:
        state: State[Any] = await call(**parameters, return_state=True)
    except Pause as paused:
        if paused.state is None:  # not ours: whoever paused it has not said how it is
            raise
        return paused.state
    return state


async def _taken_up_itself(database: Database) -> str | None:
    """Return the run that this flow run carried before it was resumed or retried, if any.

    What was put into its form by who resumed it is written down as the answer.
    """
    flow_run_id = _flow_run_id()
    if flow_run_id is None:
        return None
    run_id = await asyncio.to_thread(_run_of, database, flow_run_id)
    if run_id is not None:
        await waiting.take_answer(database, run_id)
    return run_id


def _claimed(database: Database) -> AbstractContextManager[FlowRunClaim | None]:
    """Claim this flow run while its run is prepared, so that no other host begins with it."""
    flow_run_id = _flow_run_id()
    return nullcontext() if flow_run_id is None else claimed(database, flow_run_id)


def _run_of(database: Database, flow_run_id: str) -> str | None:
    with database.get_connection() as connection:
        return queries.run_of_flow_run(connection, flow_run_id)


async def carry(database: Database, run_id: str, *, taken_up: bool = False) -> str:
    """Carry a stored run to its end, or until it waits for a person; return its status.

    Whatever cuts it off from inside leaves it so that it can be taken up again.

    Raises:
        RunCarried: another process carries it.
    """
    keep_secrets_out_of_logs()
    await asyncio.to_thread(recovery.time_out, database)
    # Lost to another process, it has nothing to write any more: its agents are ended.
    lease = await asyncio.to_thread(Lease.take, database, run_id, end_programs)
    try:
        if (ended := await asyncio.to_thread(recovery.ended_as, database, run_id)) is not None:
            return ended
        await asyncio.to_thread(finish_pending_rollbacks, database)
        await asyncio.to_thread(sweep, database)
        run = await asyncio.to_thread(open_run, database, run_id, taken_up=taken_up)
        await asyncio.to_thread(recovery.take_up, run)
        return await _phases(run)
    except GivenUp as error:
        await asyncio.to_thread(recovery.abandon, database, run_id, str(error))
        return "abandoned"
    except BaseException as error:
        lost = recovery.suspend(database, lease, error, stopped_by_a_person)
        if lost is not None and isinstance(error, GreenlineError):
            raise lost from error
        if lease.lost and isinstance(error, Interrupted):
            raise recovery.why_lost(database, lease) from error
        raise
    finally:
        lease.close()
        if lease.lost:  # `reconcile` goes on with other runs
            allow_programs()


async def _phases(run: Run) -> str:
    """Take a run through the phases that it has not passed."""
    # Each workstream under way waits in a thread for its agent.
    threads = ThreadPoolExecutor(run.max_parallel + 4, thread_name_prefix="run")
    asyncio.get_running_loop().set_default_executor(threads)
    earlier = await asyncio.to_thread(phases.begin_run, run, _flow_run_id())
    await end_flow_runs(earlier)
    async with RunView(run) as view:
        await phase_task("analysis", lambda: phases.analysis(run))
        await phase_task("approaches", lambda: phases.approaches(run))
        await phase_task("judging", lambda: phases.judging(run))
        end = await implementation_task(lambda: implementation(run, view))
        if end == End.WAITING:
            logger.info("run %s waits for a person", run.run_id)
            return WAITING
        if end == End.DONE:
            approval = await asyncio.to_thread(phases.approved, run)
            if approval == "waiting":
                return WAITING
            await phase_task("pr", lambda: phases.pr(run, approval))
        # The server notes task runs some time after they begin: it may know more of them by now.
        await end_flow_runs(earlier)
        return await asyncio.to_thread(phases.end_run, run)


@task(task_run_name="implementation", cache_policy=NO_CACHE)
async def implementation_task(work: Callable[[], Awaitable[End]]) -> End:
    """Hold the tasks of the steps together.

    They stand for themselves all the same. In the transaction that Prefect opens for this task
    each of them would stay in memory to the end, and its result be stored no sooner, or never
    when another one fails.
    """
    active: ContextVar[Any] = BaseTransaction.__var__
    outer = active.set(None)
    try:
        return await work()
    finally:
        active.reset(outer)


def _flow_run_id() -> str | None:
    found = runtime.flow_run.id
    return str(found) if found else None
