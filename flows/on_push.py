"""The `on-push` flow: the feature plans that a push brought are run, at exactly its commit.

Its deployment has a trigger for the event `git.push`, which hooks and the webhook receiver tell
the Prefect server of. Nobody's work tree is read. What was told and never came to its end is taken
up by :func:`take_up_pushes`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from prefect import flow, runtime, task
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.artifacts.markdown import block, code
from flows.feature import carried_on
from flows.logs import keep_secrets_out_of_logs
from flows.redaction import without_passwords
from flows.under_worker import hand_over
from storage.database import Database
from storage.exceptions import GreenlineError, InputError
from storage.home import Home
from storage.pushes import project_of
from tasks.acceptance import keep_deliveries_true
from tasks.pushes.begin import Begun, begin
from tasks.pushes.emit import emit_spooled
from tasks.pushes.plans import PushedPlan, changed_plans, forget_old_plans
from tasks.pushes.push import Push
from tasks.pushes.remotes import push_deliveries, pushed_repository
from tasks.pushes.spool import claimed, lost_pushes
from tasks.repository import UserRepository

logger = logging.getLogger(__name__)

_WELL: Final = ("completed", "running", "begun before")
_LONGEST: Final = 3_000


@dataclass(frozen=True)
class Outcome:
    """What became of one plan of a push.

    Attributes:
        status: the run's status (`running` when it waits for a person), `begun before` when an
            earlier push has begun it, `wrong` when there is none.
        message: what is wrong.
    """

    plan: str
    status: str
    run_id: str | None = None
    message: str = ""

    def told(self) -> str:
        """Return what is wrong, as a sentence that names the plan."""
        message = self.message or f"run {self.run_id} is {self.status}"
        return message if message.startswith(self.plan) else f"{self.plan}: {message}"

    def document(self) -> dict[str, str | None]:
        """Return it as the flow hands it out."""
        return {
            "plan": self.plan,
            "status": self.status,
            "run_id": self.run_id,
            "message": self.message,
        }


def _flow_run_name() -> str:
    """Name a flow run for people: repository, branch and commit."""
    given = runtime.flow_run.parameters
    name = str(given.get("repository", "")).rstrip("/").rpartition("/")[2].removesuffix(".git")
    ref = str(given.get("ref", "")).removeprefix("refs/heads/")
    return f"{name} {ref} {str(given.get('after', ''))[:10]}"[:200]


@flow(name="on-push", flow_run_name=_flow_run_name, validate_parameters=False)
async def on_push(
    repository: str,
    ref: str,
    before: str,
    after: str,
    pusher: str = "",
    max_parallel: int = 1,
) -> State[Any]:
    """Run the plans that a push added or changed, one after the other, and notice reverts.

    Args:
        repository: the absolute path of a repository on this machine, or the name of one that
            `webhooks.toml` lists, `github.com/owner/name`.
        ref: the full name of the ref that was pushed.
        before: the commit that it was on, zeros for a new one.
        after: the commit that it is on, zeros for one that was deleted.
        pusher: who pushed.
        max_parallel: how many workstreams of a plan may be under way at the same time.

    Returns:
        A state whose data has `plans` (path, status, run and message of each) and `deliveries`
        (whose fate this push settled). It is failed when a plan is wrong, or its run did not
        complete.

    Raises:
        InputError: there is no such repository, or no such commit in it.
        ServiceError: the repository cannot be fetched, or the ledger does not answer.
    """
    keep_secrets_out_of_logs()
    push = Push.of(repository=repository, ref=ref, before=before, after=after, pusher=pusher)
    home = Home.current().ensure()
    with claimed(home, push) as mine:
        if not mine:
            return Completed(message="another flow run is at it")
        database = await asyncio.to_thread(Database.open)
        try:
            return await _dealt_with(database, home, push, max_parallel)
        finally:
            database.dispose()


async def _dealt_with(database: Database, home: Home, push: Push, max_parallel: int) -> State[Any]:
    opened = await asyncio.to_thread(pushed_repository, home, push)
    deliveries = await asyncio.to_thread(_settled, database, opened)
    plans = await asyncio.to_thread(changed_plans, opened.git, push, opened.default_branch)
    outcomes = [await _run(database, opened, push, plan, max_parallel) for plan in plans]
    await asyncio.to_thread(push_deliveries, home)
    if outcomes:
        await _show(push, outcomes)
    data = {"plans": [one.document() for one in outcomes], "deliveries": deliveries}
    bad = [one for one in outcomes if one.status not in _WELL]
    counts = Counter(one.status for one in outcomes)
    told = [f"{count} {status}" for status, count in counts.items()]
    told += [f"{len(deliveries)} deliveries settled"] if deliveries else []
    if bad:
        first = "; ".join(one.told() for one in bad[:3])
        return Failed(message=f"{', '.join(told)}. {first}"[:_LONGEST], data=data)
    return Completed(message=", ".join(told) or "no plan is new or changed", data=data)


def _settled(database: Database, repository: UserRepository) -> list[str]:
    """See which deliveries the push merged or reverted; return their ids."""
    with database.get_connection() as connection:
        project = project_of(connection, str(repository.path))
    if project is None:
        return []
    return [str(each.delivery_id) for each in keep_deliveries_true(database, project).settled]


async def _run(
    database: Database, opened: UserRepository, push: Push, plan: PushedPlan, max_parallel: int
) -> Outcome:
    """Begin the run of a plan and carry it; whatever is wrong with one does not touch the next."""
    beginning: Any = begin_task.with_options(task_run_name=f"begin {plan.path}"[:200])
    state = await beginning(database, opened, push, plan, max_parallel, return_state=True)
    begun: Begun | BaseException = await state.aresult(raise_on_failure=False)
    if isinstance(begun, GreenlineError):
        return Outcome(plan.path, "wrong", message=without_passwords(str(begun)))
    if isinstance(begun, BaseException):
        raise begun
    if not begun.new:
        logger.info("%s is run as %s already", plan.path, begun.run_id)
        return Outcome(plan.path, "begun before", begun.run_id)
    await carried_on(
        plan=str(begun.plan_path),
        repo=str(opened.path),
        base=push.after,
        run_id=begun.run_id,
        max_parallel=max_parallel,
    )
    return Outcome(
        plan.path, await asyncio.to_thread(_status, database, begun.run_id), begun.run_id
    )


@task(cache_policy=NO_CACHE, persist_result=False)
async def begin_task(
    database: Database, opened: UserRepository, push: Push, plan: PushedPlan, max_parallel: int
) -> Begun:
    """Check a plan and store its run; the task run is failed where the plan is wrong."""
    return await asyncio.to_thread(begin, database, opened, push, plan, max_parallel=max_parallel)


def _status(database: Database, run_id: str) -> str:
    with database.transaction() as ledger:
        row = ledger.get_run(run_id)
    return str(row["status"]) if row else "gone"


async def _show(push: Push, outcomes: list[Outcome]) -> None:
    """Write an artifact that says what became of each plan."""
    lines = [
        f"## {code(push.name)}, {code(push.ref)} at {code(push.after[:12])}",
        f"Pushed by {code(push.pusher)}." if push.pusher else "",
        "| plan | run | status |\n| --- | --- | --- |",
    ]
    lines[-1] += "".join(
        f"\n| {code(one.plan)} | {code(one.run_id or '-')} | {one.status} |" for one in outcomes
    )
    for one in outcomes:
        if one.message:
            lines += [f"### {code(one.plan)}", block(one.message, longest=_LONGEST)]
    try:
        await acreate_markdown_artifact(
            markdown="\n\n".join(filter(None, lines)),
            key=f"push-{push.id}",
            description=f"What became of the plans pushed to {push.name}",
        )
    except Exception:  # the view must not fail what it shows
        logger.warning("the artifact of the push could not be written", exc_info=True)


async def take_up_pushes() -> list[str]:
    """Tell of pushes that wait, and deal with those whose flow was cut off; for `reconcile`.

    Returns:
        The commits of the pushes that were taken up here.
    """
    home = Home.current().ensure()
    await asyncio.to_thread(emit_spooled, home)
    await asyncio.to_thread(forget_old_plans, home)
    try:
        await asyncio.to_thread(push_deliveries, home)
    except InputError as error:
        logger.warning("%s", error)
    taken_up = []
    call: Any = on_push
    for lost in await asyncio.to_thread(lost_pushes, home):
        payload = lost.push.payload()
        if not await hand_over("on-push/on-push", payload, f"greenline-push:{lost.push.after}"):
            await call(**payload, return_state=True)
        taken_up.append(lost.push.after)
    return taken_up
