"""A run in Prefect's UI: names, tags, progress, steps, failed attempts and questions.

All of it is made of the ledger and written in the background: at most once a second, and less often
where the server or the ledger takes its time. A run that is over in less than that has the last
state of everything all the same.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self
from uuid import UUID

from prefect import get_client, runtime
from prefect.client.orchestration import PrefectClient
from prefect.context import TaskRunContext

from flows.artifacts import sheets
from flows.artifacts.failures import failed_attempt
from flows.artifacts.markdown import one_line
from flows.artifacts.questions import question
from flows.artifacts.writer import Writer, answer_form, said
from storage import queries
from storage.exceptions import GreenlineError
from tasks.diffs import attempt_diff
from tasks.recovery import ENDED

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

    from storage.queries import CtaSummary, StepSummary
    from tasks.attempt import AttemptOutcome
    from tasks.breaker import Decision
    from tasks.run import Run

logger = logging.getLogger(__name__)

_PAUSE_S: Final = 1.0
_SHARE: Final = 20
"""Of the time, so many parts pass for each one that an update took."""
_LAST_WORD_S: Final = 5.0
_LONGEST_TAG: Final = 80


@dataclass(frozen=True)
class _Failure:
    """A failed attempt that is to be shown with the task run that made it."""

    number: int
    comes_next: str | None
    task_run_id: UUID | None


@dataclass(frozen=True)
class _Seen:
    """What the ledger has of a run at one moment."""

    status: str
    commit: str | None
    steps: list[StepSummary]
    questions: list[CtaSummary]


class RunView:
    """Shows one run in the flow run that carries it, as long as the block lasts.

    Outside of a flow run nothing is shown.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._failures: list[_Failure] = []
        self._changed = asyncio.Event()
        self._closing = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._troubled = False

    async def __aenter__(self) -> Self:
        flow_run_id = runtime.flow_run.id
        if flow_run_id:
            self._changed.set()
            self._task = asyncio.create_task(self._keep_up(UUID(str(flow_run_id))))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._task is None:
            return
        self._closing.set()
        self._changed.set()
        if error is None or isinstance(error, Exception):
            await asyncio.wait({self._task}, timeout=_LAST_WORD_S)
        # Whoever stops the process does not wait for a picture of it.
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    def attempted(self, outcome: AttemptOutcome) -> None:
        """Note that an attempt has ended; called by the thread that made it, within its task."""
        if self._task is None:
            return
        failure = None
        if outcome.status == "failure":
            context, decision = TaskRunContext.get(), outcome.decision
            failure = _Failure(
                outcome.number,
                comes_next(decision) if decision else None,
                context.task_run.id if context else None,
            )
        self._loop.call_soon_threadsafe(self._note, failure)

    def _note(self, failure: _Failure | None) -> None:
        if failure is not None:
            self._failures.append(failure)
        self._changed.set()

    async def _keep_up(self, flow_run_id: UUID) -> None:
        try:
            async with get_client() as client:
                writer = Writer(client, flow_run_id)
                await self._begin(client, writer, flow_run_id)
                while True:
                    await self._changed.wait()
                    closing = self._closing.is_set()
                    self._changed.clear()
                    began = time.monotonic()
                    await self._update(client, writer)
                    if closing:
                        return
                    rest = max(_PAUSE_S, _SHARE * (time.monotonic() - began))
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._closing.wait(), rest)
        except Exception as error:  # noqa: BLE001 - whatever it is, the run goes on
            self._trouble(error)

    async def _begin(self, client: PrefectClient, writer: Writer, flow_run_id: UUID) -> None:
        """Name the flow run after its work, and find what it shows from an earlier time."""
        run = self._run
        try:
            flow_run = await client.read_flow_run(flow_run_id)
            await client.update_flow_run(flow_run_id, name=run_name(run), tags=_tags(run, flow_run))
            key = sheets.run_key(run.run_id)
            await writer.find(f"progress-{key}", f"steps-{key}")
        except Exception as error:  # noqa: BLE001 - it is called something else then
            self._trouble(error)

    async def _update(self, client: PrefectClient, writer: Writer) -> None:
        run = self._run
        try:
            seen = await asyncio.to_thread(self._look)
            asked = {row["step_id"] for row in seen.questions}
            await writer.put(sheets.progress(run.run_id, seen.steps, asked))
            await writer.put(sheets.table(run.run_id, seen.steps, asked))
            while self._failures:
                failure = self._failures.pop(0)
                sheet = await asyncio.to_thread(self._failed, failure)
                if sheet is not None:
                    await writer.add(sheet, failure.task_run_id)
            if seen.questions:
                form = await answer_form(client)
                for row in seen.questions:
                    await writer.put(question(row, form))
            if seen.status in ENDED:
                await writer.put(self._ended(seen))
        except Exception as error:  # noqa: BLE001 - whatever it is, the run goes on
            self._trouble(error)

    def _look(self) -> _Seen:
        run = self._run
        with run.database.get_connection() as connection:
            row = queries.find_run(connection, run.run_id)
            return _Seen(
                row["status"] if row else "",
                row["head_commit"] if row else None,
                queries.list_steps(connection, run.run_id),
                queries.list_ctas(connection, run_id=run.run_id),
            )

    def _failed(self, failure: _Failure) -> sheets.Sheet | None:
        run = self._run
        with run.database.get_connection() as connection:
            attempt = queries.get_attempt(connection, run.project_id, failure.number)
            if attempt is None:
                return None
            before, after = attempt["commit_sha_before"], attempt["commit_sha_after"]
            try:
                diff = attempt_diff(connection, attempt["repo_path"], before, after)
            except GreenlineError as error:
                diff = str(error)
        return failed_attempt(attempt, diff, failure.comes_next)

    def _ended(self, seen: _Seen) -> sheets.Sheet:
        run = self._run
        delivery = run.settings.delivery
        into = f" into {delivery.target}" if delivery.mode == "merge" and delivery.target else ""
        return sheets.ended(
            run.run_id,
            seen.status,
            seen.steps,
            branch=run.branch,
            commit=seen.commit,
            repository=str(run.repository.path),
            delivery=f"{delivery.mode}{into}",
        )

    def _trouble(self, error: BaseException) -> None:
        """Say it once: a server that is away is away for every update."""
        level = logging.DEBUG if self._troubled else logging.WARNING
        self._troubled = True
        logger.log(level, "Prefect's UI may not show all of this run: %s", said(error))


def comes_next(decision: Decision) -> str:
    """Return in words what the breaker decided after a failure."""
    if not decision.retry:
        return f"given up: {decision.reason}"
    wait = f" in {decision.wait_s:.0f} s" if decision.wait_s >= 1 else ""
    return f"tried again{wait}: {decision.reason}"


def run_name(run: Run) -> str:
    """Return a flow run's name for people: the feature, and the beginning of the run's id."""
    return f"{one_line(run.plan.feature, longest=60)} · {run.run_id[:13]}"


def _tags(run: Run, flow_run: FlowRun) -> list[str]:
    """Return what a run is found by: project, agents, plan, and what it was tagged with before."""
    agents = {step.agent.name for steps in run.steps.values() for step in steps}
    own = {f"project:{project_name(run)}", *(f"agent:{name}" for name in agents)}
    if plan := flow_run.parameters.get("plan"):
        own.add(f"plan:{Path(plan).name}")
    return sorted({one_line(tag, longest=_LONGEST_TAG) for tag in own} | set(flow_run.tags))


def project_name(run: Run) -> str:
    """Return what people call the run's project."""
    return run.settings.project.name or run.repository.name
