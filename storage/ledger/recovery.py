"""Taking up a run that was cut off, and where its line of commits stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from sqlalchemy import func, or_, select, update

from storage import models
from storage.exceptions import InputError
from storage.ledger.agents import Agents
from storage.ledger.attempts import Attempts
from storage.states import (
    AttemptStatus,
    RunStatus,
    SandboxStatus,
    StepStatus,
    WorkstreamStatus,
)
from storage.text import clean_json
from storage.transitions import Cause, NotInLedgerError, change_state

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from storage.rows import AttemptRow, EventRow, RunRow, WorkstreamRow

#: From where a workstream goes to `fixing`, with what lies between.
_TO_FIXING: Final[Mapping[str, tuple[WorkstreamStatus, ...]]] = {
    WorkstreamStatus.EDITING: (WorkstreamStatus.STATIC_CHECK, WorkstreamStatus.FIXING),
    WorkstreamStatus.STATIC_CHECK: (WorkstreamStatus.FIXING,),
    WorkstreamStatus.RUNTIME_CHECK: (WorkstreamStatus.FIXING,),
}
WORKSTREAM_ENDS: Final = (
    WorkstreamStatus.DONE,
    WorkstreamStatus.FAILED,
    WorkstreamStatus.BLOCKED,
    WorkstreamStatus.ABANDONED,
)
_SANDBOX_ENDS: Final = (SandboxStatus.STOPPED, SandboxStatus.FAILED, SandboxStatus.ABORTED)
_DONE: Final = (AttemptStatus.SUCCESS, AttemptStatus.SKIPPED)


class TreeTaken(InputError):  # noqa: N818 - it names what happened
    """A run under way works on a tree of steps: whoever else did would undo what it does."""

    def __init__(self, run_id: str) -> None:
        super().__init__(
            f"run {run_id} is under way on the same steps: wait until it ends, "
            f"`greenline resume {run_id}` if it was cut off, or `greenline abandon {run_id}`; "
            "then go on from that one"
        )


class Recovery(Attempts, Agents):
    """What was interrupted, what stands, and what has to be done anew."""

    def set_run_head(self, run_id: str, commit: str) -> None:
        """Record where a run's line of commits stands.

        Raises:
            NotInLedgerError: there is no such run.
        """
        runs = models.runs
        moved = self._scalar(
            update(runs)
            .where(runs.c.run_id == run_id)
            .values(head_commit=commit, updated_at=func.now())
            .returning(runs.c.run_id)
        )
        if moved is None:
            raise NotInLedgerError("run", run_id)

    def update_workstream_metadata(self, ws_id: str, changes: Mapping[str, Any]) -> None:
        """Set some keys of a workstream's metadata, keep the others.

        Raises:
            NotInLedgerError: there is no such workstream.
        """
        workstreams = models.workstreams
        column = workstreams.c.metadata_json
        merged = func.coalesce(column, func.jsonb_build_object()).op("||")(
            func.cast(clean_json(dict(changes)), column.type)
        )
        moved = self._scalar(
            update(workstreams)
            .where(workstreams.c.ws_id == ws_id)
            .values(metadata_json=merged)
            .returning(workstreams.c.ws_id)
        )
        if moved is None:
            raise NotInLedgerError("workstream", ws_id)

    def completed_steps(self, ws_id: str) -> dict[int, AttemptRow]:
        """Return the attempts that did a workstream's steps and still stand, by step."""
        attempts, steps = models.step_attempts, models.steps
        query = (
            select(attempts)
            .join(steps, steps.c.id == attempts.c.step_id)
            .where(
                attempts.c.ws_id == ws_id,
                attempts.c.active,
                attempts.c.status.in_(_DONE),
                steps.c.status == StepStatus.COMPLETED,
            )
            .order_by(attempts.c.number)
        )
        rows = cast("list[AttemptRow]", self._rows(query))
        return {row["step_id"]: row for row in rows if row["step_id"] is not None}

    def reopen_step(self, step_id: int, reason: str, run_id: str, ws_id: str) -> bool:
        """Put a completed step back to pending; False when it is not completed."""
        steps = models.steps
        status = self._scalar(
            select(steps.c.status).where(steps.c.id == step_id).with_for_update(key_share=True)
        )
        if status != StepStatus.COMPLETED:
            return False
        cause = Cause(reason=reason, run_id=run_id, ws_id=ws_id)
        change_state(
            self.session, "step", step_id, StepStatus.PENDING, from_state=status, cause=cause
        )
        return True

    def undo_workstream(self, ws_id: str, reason: str) -> list[int]:
        """Take back a workstream's commits that never got onto the run's line.

        Its attempts go inactive and its completed steps back to pending; numbers of the attempts.
        """
        attempts = models.step_attempts
        chosen = (
            attempts.c.ws_id == ws_id,
            attempts.c.active,
            attempts.c.status.in_(_DONE),
        )
        rows = self._rows(select(attempts).where(*chosen).order_by(attempts.c.number))
        self.session.execute(update(attempts).where(*chosen).values(active=False))
        for row in rows:
            if row["step_id"] is not None:
                self.reopen_step(row["step_id"], reason, row["run_id"], ws_id)
        numbers = [row["number"] for row in rows]
        if rows:
            self.record_event(
                rows[0]["run_id"],
                ws_id,
                "attempts_deactivated",
                {"numbers": numbers, "reason": reason},
            )
        return numbers

    def rebase_attempt(
        self, attempt_id: int, *, commit_sha_before: str, commit_sha_after: str
    ) -> None:
        """Give an attempt the commits it got on the run's line; the old ones stay in its result.

        Raises:
            NotInLedgerError: there is no such attempt.
        """
        attempts = models.step_attempts
        row = self._row(
            select(attempts).where(attempts.c.id == attempt_id).with_for_update(key_share=True)
        )
        if row is None:
            raise NotInLedgerError("attempt", attempt_id)
        old = {
            "rebased_from": {
                "commit_sha_before": row["commit_sha_before"],
                "commit_sha_after": row["commit_sha_after"],
            }
        }
        self.session.execute(
            update(attempts)
            .where(attempts.c.id == attempt_id)
            .values(
                commit_sha_before=commit_sha_before,
                commit_sha_after=commit_sha_after,
                result_json={**(row["result_json"] or {}), **old},
            )
        )

    def interrupt(
        self, run_id: str, reason: str, failure_class: str = "crashed"
    ) -> list[AttemptRow]:
        """End the attempts that somebody was killed in, and ready their workstreams for more.

        Returns:
            The attempts, now failures.
        """
        ended = []
        for attempt in self.open_attempts(run_id):
            ended.append(
                self.finish_attempt(
                    attempt["id"],
                    AttemptStatus.FAILURE,
                    failure_class=failure_class,
                    error=reason,
                    signature=f"{failure_class}:interrupted",
                    token_usage=self.metered_usage(attempt["id"]),
                )
            )
            workstream = self.get_workstream(attempt["ws_id"])
            status = workstream["status"] if workstream else ""
            for state in _TO_FIXING.get(status, ()):
                self.update_workstream_status(attempt["ws_id"], state, reason=reason)
        return ended

    def give_up_workstreams(
        self, run_id: str, status: WorkstreamStatus, reason: str
    ) -> list[WorkstreamRow]:
        """End every workstream of a run that has not ended; return those."""
        ended = []
        for row in self.get_workstreams_for_run(run_id):
            if row["status"] not in WORKSTREAM_ENDS:
                if (row["metadata_json"] or {}).get("lane_head"):  # its lane has not joined
                    self.undo_workstream(row["ws_id"], reason)
                    gone = {"lane_base": None, "lane_head": None}
                    self.update_workstream_metadata(row["ws_id"], gone)
                self.update_workstream_status(row["ws_id"], status, reason=reason)
                ended.append(row)
        return ended

    def run_on_tree(self, feature_id: int) -> str | None:
        """Return the run under way that works on a feature's steps, None: there is none."""
        runs = models.runs
        query = select(runs.c.run_id).where(
            runs.c.feature_id == feature_id,
            runs.c.status.in_((RunStatus.PENDING, RunStatus.RUNNING)),
        )
        return cast("str | None", self._scalar(query.order_by(runs.c.created_at).limit(1)))

    def require_tree_free(self, feature_id: int) -> None:
        """Make sure that no run under way works on a feature's steps, until the transaction ends.

        Raises:
            TreeTaken: one does.
        """
        features = models.features
        locked = select(features.c.id).where(features.c.id == feature_id)
        self.session.execute(locked.with_for_update(key_share=True))
        if (run_id := self.run_on_tree(feature_id)) is not None:
            raise TreeTaken(run_id)

    def uncarried_runs(self, *, dead_owners: Collection[str] = ()) -> list[RunRow]:
        """Return the runs under way whose lease is free or ran out, the oldest first.

        Args:
            dead_owners: owners whose lease counts as run out.
        """
        runs = models.runs
        query = (
            select(runs)
            .where(
                runs.c.status.in_((RunStatus.PENDING, RunStatus.RUNNING)),
                or_(
                    runs.c.lease_owner.is_(None),
                    runs.c.lease_owner.in_(list(dead_owners)),
                    runs.c.lease_expires_at < func.clock_timestamp(),
                ),
            )
            .order_by(runs.c.created_at, runs.c.run_id)
        )
        return cast("list[RunRow]", self._rows(query))

    def lease_owners(self) -> list[str]:
        """Return who holds leases of runs under way."""
        runs = models.runs
        query = select(runs.c.lease_owner).where(
            runs.c.status.in_((RunStatus.PENDING, RunStatus.RUNNING)),
            runs.c.lease_owner.is_not(None),
        )
        return sorted({row["lease_owner"] for row in self._rows(query)})

    def events_of(self, run_id: str, event_type: str) -> list[EventRow]:
        """Return a run's events of one type, the oldest first."""
        events = models.events
        query = select(events).where(events.c.run_id == run_id, events.c.event_type == event_type)
        return cast("list[EventRow]", self._rows(query.order_by(events.c.id)))

    def end_sandboxes(self, run_id: str, status: SandboxStatus, reason: str | None = None) -> int:
        """End every sandbox of a run that has not ended, in order or as aborted; how many.

        Args:
            status: `stopped` (taken down in order) or `aborted`.
        """
        sandboxes = models.sandboxes
        open_ones: Sequence[dict[str, Any]] = self._rows(
            select(sandboxes.c.id, sandboxes.c.status)
            .where(sandboxes.c.run_id == run_id, sandboxes.c.status.not_in(_SANDBOX_ENDS))
            .order_by(sandboxes.c.requested_at)
        )
        for row in open_ones:
            sandbox_id = str(row["id"])
            if status == SandboxStatus.STOPPED and row["status"] != SandboxStatus.PENDING:
                if row["status"] != SandboxStatus.STOPPING:
                    self.update_sandbox_status(sandbox_id, SandboxStatus.STOPPING, reason=reason)
                self.update_sandbox_status(sandbox_id, SandboxStatus.STOPPED, reason=reason)
            else:
                self.update_sandbox_status(sandbox_id, SandboxStatus.ABORTED, reason=reason)
        return len(open_ones)

    def latest_sandbox_folder(self, run_id: str) -> str | None:
        """Return where the run's latest sandbox lies or lay."""
        sandboxes, feature_runs = models.sandboxes, models.feature_runs
        query = (
            select(sandboxes.c.cwd)
            .join(feature_runs, feature_runs.c.sandbox_id == sandboxes.c.id)
            .where(feature_runs.c.run_id == run_id)
        )
        return cast("str | None", self._scalar(query))
