"""The implementation phase as Prefect tasks: workstreams, their steps, and who goes when.

Up to `max_parallel` workstreams are under way at a time, those that name the same file never
together. With more than one, each has a lane of its own (`tasks.lanes`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import FlowRunContext, TaskRunContext
from prefect.tasks import Task

from flows.artifacts.view import RunView, project_name
from storage.states import FailureClass
from tasks import phases, stuck, workstream
from tasks.attempt import (
    AttemptOutcome,
    attempt_step,
    skip_step,
    take_over_step,
    waive_step,
)
from tasks.fingerprint import step_fingerprint
from tasks.lanes import Lanes
from tasks.locking import FileLocked
from tasks.plan import Subtask
from tasks.process import pause
from tasks.run import PlannedStep, Run

logger = logging.getLogger(__name__)

#: Prefect stops by the breaker's word; this only bounds what Prefect would do on its own.
_MOST_RETRIES: Final = 100


class AttemptFailed(Exception):  # noqa: N818 - it says what happened
    """An attempt failed; `retry` says whether the breaker allows another one."""

    def __init__(self, outcome: AttemptOutcome) -> None:
        self.outcome = outcome
        self.retry = outcome.decision is not None and outcome.decision.retry
        super().__init__(f"attempt {outcome.number}: {outcome.failure_class}: {outcome.reason}")


class GivenUp(Exception):  # noqa: N818 - it says what happened
    """A person wants the run given up."""


class End(StrEnum):
    """How the work on a workstream, or on all of them, ended for now."""

    DONE = "done"
    FAILED = "failed"
    WAITING = "waiting"  # for a person


@task(task_run_name="{name}", cache_policy=NO_CACHE)
async def phase_task(name: str, work: Callable[[], bool]) -> bool:
    """Do one phase; True when it passed."""
    logger.info("phase %s", name)
    return await asyncio.to_thread(work)


async def implementation(run: Run, view: RunView) -> End:
    """Do every workstream that can be done; in the order of their dependencies.

    Args:
        run: the run.
        view: what shows its attempts.

    Raises:
        GivenUp: a person wants the run given up.
    """
    if not await asyncio.to_thread(phases.begin_implementation, run):
        return End.DONE
    board = _Board(run, view, list(run.plan.in_dependency_order()))
    try:
        ends = await board.work_through()
    finally:
        await asyncio.to_thread(board.lanes.close)
    if End.WAITING in ends:
        return End.WAITING
    done = await asyncio.to_thread(phases.end_implementation, run)
    return End.DONE if done else End.FAILED


@dataclass
class _Board:
    """Who is under way and who is to come."""

    run: Run
    view: RunView
    waiting: list[Subtask]
    under_way: dict[asyncio.Task[End], Subtask] = field(default_factory=dict)
    over: set[str] = field(default_factory=set)
    stopping: bool = False
    # The run's own line is touched by one workstream at a time.
    line: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self.lanes = Lanes(self.run)

    async def work_through(self) -> set[End]:
        """Work until nothing can go on; how the workstreams ended."""
        ends: set[End] = set()
        while True:
            await self._start_some()
            if not self.under_way:
                return ends
            finished, _ = await asyncio.wait(self.under_way, return_when=asyncio.FIRST_COMPLETED)
            failed = [each for each in finished if each.exception() is not None]
            for each in finished:
                subtask = self.under_way.pop(each)
                if each.exception() is None and each.result() != End.WAITING:
                    self.over.add(subtask.key)
            if failed:
                # The others end the attempt that they are in; what they did is recorded.
                self.stopping = True
                if self.under_way:
                    await asyncio.wait(self.under_way)
                await failed[0]
            ends |= {each.result() for each in finished}

    async def _start_some(self) -> None:
        for subtask in list(self.waiting):
            if len(self.under_way) >= self.run.max_parallel:
                return
            if any(_share_a_file(subtask, other) for other in self.under_way.values()):
                continue
            if not self.over.issuperset(subtask.depends_on):
                continue
            self.waiting.remove(subtask)
            if not await asyncio.to_thread(workstream.stand, self.run, subtask):
                self.over.add(subtask.key)
            else:
                going = asyncio.create_task(self._workstream(self.run.steps[subtask.key]))
                self.under_way[going] = subtask

    async def _workstream(self, steps: tuple[PlannedStep, ...]) -> End:
        if self.run.max_parallel == 1:
            return await self._in(self.run, steps)
        view = await asyncio.to_thread(self.lanes.open, steps)
        try:
            return await self._in_lane(view, steps)
        finally:
            self.lanes.release(steps[0].ws_id)

    async def _in_lane(self, view: Run, steps: tuple[PlannedStep, ...]) -> End:
        end = await self._steps(view, steps)
        if end == End.DONE and not self.stopping:
            async with self.line:
                refused = await asyncio.to_thread(self.lanes.join, view, steps)
                if refused is not None:
                    # Once more on top of the others, who keep still meanwhile.
                    again = await asyncio.to_thread(self.lanes.begin_anew, view, steps, refused)
                    end = await self._steps(again, steps)
                    view = again
                    if end == End.DONE and not self.stopping:
                        refused = await asyncio.to_thread(self.lanes.join, view, steps)
                        if refused is not None:
                            end = End.FAILED
                            await asyncio.to_thread(
                                workstream.fail, view, steps[-1], refused.reason,
                                refused.failure_class,
                            )  # fmt: skip
        if end == End.FAILED:
            async with self.line:
                await asyncio.to_thread(self.lanes.leave, view, steps)
        if end != End.DONE or self.stopping:
            return end
        return await self._review(view, steps)

    async def _in(self, run: Run, steps: tuple[PlannedStep, ...]) -> End:
        end = await self._steps(run, steps)
        return await self._review(run, steps) if end == End.DONE and not self.stopping else end

    async def _review(self, run: Run, steps: tuple[PlannedStep, ...]) -> End:
        passed = await phase_task(
            f"review {steps[0].subtask.key}", lambda: workstream.review(run, steps)
        )
        return End.DONE if passed else End.FAILED

    async def _steps(self, run: Run, steps: tuple[PlannedStep, ...]) -> End:
        """Do the steps of a workstream that are not done yet."""
        done = await asyncio.to_thread(workstream.done_steps, run, steps[0].ws_id)
        for planned in steps:
            if self.stopping:
                break
            if planned.step_id in done:
                continue
            end = await self._step(run, planned)
            if end != End.DONE:
                return end
        return End.DONE

    async def _step(self, run: Run, planned: PlannedStep) -> End:
        position = await asyncio.to_thread(stuck.position, run, planned)
        failure_class: str | None = position.failure_class
        decision = position.decision
        match position.said:
            case "waiting":
                return End.WAITING
            case "timed_out":
                await asyncio.to_thread(
                    workstream.fail, run, planned, "nobody answered in time", failure_class
                )
                return End.FAILED
            case "skip":
                await asyncio.to_thread(waive_step, run, planned, "skipped by a person")
                return End.DONE
            case "abandon":
                raise GivenUp("a person gave the run up")
        if decision is None or decision.retry:
            if decision is not None and decision.parked_until is not None:
                # It was cut off while it waited for a limit to reset.
                left = (decision.parked_until - datetime.now(UTC)).total_seconds()
                await asyncio.to_thread(pause, max(0.0, left))
            try:
                outcome = await _do_step(run, planned, self.view)
            except FileLocked as error:
                await asyncio.to_thread(workstream.fail, run, planned, str(error), "conflict")
                return End.FAILED
            if outcome.status != "failure":
                return End.DONE
            decision, failure_class = outcome.decision, outcome.failure_class
        reason = decision.reason if decision else ""
        # Money is a person's to spend, whatever is done about other failures.
        spent = failure_class == FailureClass.BUDGET_EXCEEDED
        if spent or run.settings.limits.on_stuck == "ask":
            await asyncio.to_thread(stuck.ask, run, planned, failure_class or "unknown", reason)
            return End.WAITING
        await asyncio.to_thread(workstream.fail, run, planned, reason, failure_class)
        return End.FAILED


def _share_a_file(one: Subtask, other: Subtask) -> bool:
    return bool(_files(one) & _files(other))


def _files(subtask: Subtask) -> set[str]:
    return {numbered.step.file_path for numbered in subtask.numbered_steps()}


async def _do_step(run: Run, planned: PlannedStep, view: RunView) -> AttemptOutcome:
    """Do one step as one Prefect task, retried while the breaker allows it."""
    fingerprint = step_fingerprint(run, planned)
    before = await asyncio.to_thread(workstream.enter_step, run, planned, fingerprint)
    made: list[AttemptOutcome] = []

    def skip() -> AttemptOutcome:
        assert before is not None  # noqa: S101 - only called then
        taken_over = (planned.subtask.key, planned.numbered.number) in run.taken_over
        return (take_over_step if taken_over else skip_step)(run, planned, before)

    def attempt() -> AttemptOutcome:
        made.append(attempt_step(run, planned, fingerprint) if before is None else skip())
        view.attempted(made[-1])
        return made[-1]

    call: Any = step_task.with_options(  # Prefect's overloads lose the return type
        # A hit in Prefect's cache counts only when the ledger agrees that the step was done.
        refresh_cache=before is None,
        # Few distinct sets of tags: for each one Prefect asks the server for its limits anew.
        tags={f"project:{project_name(run)}", f"role:{planned.numbered.step.assigned_to}"},
    )
    state = await call(
        f"{planned.subtask.key} {step_name(planned)}",
        f"{run.project_id}-{fingerprint}-{run.sandbox.head}",
        attempt,
        return_state=True,
    )
    if context := FlowRunContext.get():
        # Which task gave which result: no step is handed another's, and it all piles up.
        context.run_results.clear()
    if before is not None and not made:
        return await asyncio.to_thread(skip)
    if not made or (state.is_failed() and not _is_final(made[-1])):
        await state.aresult()  # something unexpected: let it surface
    return made[-1]


def step_name(planned: PlannedStep) -> str:
    """Return a step's name within its subtask, for people: `2 implementation src/x.py`."""
    step = planned.numbered.step
    return f"{planned.numbered.number} {step.step_type} {step.file_path}"


def _is_final(outcome: AttemptOutcome) -> bool:
    """Whether a step's task failed because of this outcome: the breaker let no other try follow."""
    decision = outcome.decision
    return outcome.status == "failure" and (decision is None or not decision.retry)


def _breaker_allows(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    return isinstance(state.data, AttemptFailed) and state.data.retry


def _cache_key(_context: TaskRunContext, parameters: dict[str, Any]) -> str:
    return str(parameters["key"])


@task(
    task_run_name="{name}",
    retries=_MOST_RETRIES,
    retry_condition_fn=_breaker_allows,
    persist_result=True,
    cache_result_in_memory=False,  # a step's result is asked for once: none is to pile up
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
