"""What the agents did: sandboxes and snapshots, invocations, model requests, tool calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Unpack

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from storage import models, queries
from storage.exceptions import InputError
from storage.ledger.base import Base, one_of
from storage.states import (
    AgentType,
    FinishReason,
    SandboxSourceType,
    SandboxStatus,
    SnapshotStatus,
    ToolOutputType,
)
from storage.text import clean_json
from storage.transitions import Cause, change_state

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Table

    from storage.rows import AgentStepFields, InvocationFields, SandboxFields, ToolCallFields

_STAMPS: Final = {
    SandboxStatus.RUNNING: "started_at",
    SandboxStatus.STOPPING: "requested_stop_at",
    SandboxStatus.STOPPED: "stopped_at",
    SandboxStatus.ABORTED: "aborted_at",
    SandboxStatus.SNAPSHOTTING: "snapshotted_at",
}


class Agents(Base):
    """Sandboxes, snapshots, invocations, agent steps and tool calls."""

    def create_sandbox(self, run_id: str, **fields: Unpack[SandboxFields]) -> str:
        """Record that a sandbox was asked for; return its id. It is the run's latest from now."""
        one_of(SandboxSourceType, fields["source_type"], "source_type")
        sandbox_id = self._add(models.sandboxes, {"run_id": run_id, **fields})
        self.use_sandbox(run_id, sandbox_id)
        return sandbox_id

    def use_sandbox(self, run_id: str, sandbox_id: str) -> None:
        """Note in which of its sandboxes a run's own line of commits is worked on."""
        feature_runs = models.feature_runs
        self.session.execute(
            update(feature_runs)
            .where(feature_runs.c.run_id == run_id)
            .values(sandbox_id=sandbox_id)
        )

    def update_sandbox_status(
        self, sandbox_id: str, new_status: str, *, reason: str | None = None
    ) -> str:
        """Move a sandbox to another status and note when; return the status it had.

        Raises:
            IllegalTransition, StateConflict, NotInLedgerError: see `transitions.change_state`.
        """
        sandboxes = models.sandboxes
        new_status = one_of(SandboxStatus, new_status, "status")
        values: dict[str, Any] = {}
        if stamp := _STAMPS.get(SandboxStatus(new_status)):
            # A sandbox that goes on after a snapshot started when it started.
            values[stamp] = (
                func.coalesce(sandboxes.c.started_at, func.now())
                if stamp == "started_at"
                else func.now()
            )
        if new_status in (SandboxStatus.STOPPED, SandboxStatus.ABORTED, SandboxStatus.FAILED):
            seconds = func.extract("epoch", func.now() - sandboxes.c.started_at)
            values["duration"] = func.round(seconds * 1000)
        return change_state(
            self.session,
            "sandbox",
            sandbox_id,
            new_status,
            values=values,
            cause=Cause(reason=reason),
        )

    def current_sandbox(self, run_id: str) -> str | None:
        """Return the id of the sandbox that a run's feature works in."""
        feature_runs = models.feature_runs
        query = select(feature_runs.c.sandbox_id).where(feature_runs.c.run_id == run_id)
        found = self._scalar(query)
        return None if found is None else str(found)

    def create_snapshot(self, sandbox_id: str, *, size_bytes: int | None = None) -> str:
        """Record that a sandbox's state was saved; return the snapshot's id."""
        sandboxes, snapshots = models.sandboxes, models.sandbox_snapshots
        run_id = select(sandboxes.c.run_id).where(sandboxes.c.id == sandbox_id).scalar_subquery()
        return str(
            self._scalar(
                insert(snapshots)
                .values(sandbox_id=sandbox_id, run_id=run_id, size_bytes=size_bytes)
                .returning(snapshots.c.id)
            )
        )

    def save_sandbox(self, sandbox_id: str, *, size_bytes: int | None = None) -> str:
        """Record that a running sandbox's state was saved and that it goes on.

        Args:
            sandbox_id: the sandbox.
            size_bytes: what its files took then.

        Returns:
            The snapshot's id.

        Raises:
            IllegalTransition, NotInLedgerError: it does not run, or there is none.
        """
        self.update_sandbox_status(sandbox_id, SandboxStatus.SNAPSHOTTING)
        snapshot = self.create_snapshot(sandbox_id, size_bytes=size_bytes)
        self.update_sandbox_status(sandbox_id, SandboxStatus.RUNNING)
        return snapshot

    def update_snapshot_status(self, snapshot_id: str, new_status: str) -> str:
        """Move a snapshot to another status; return the one it had.

        Raises:
            IllegalTransition, StateConflict, NotInLedgerError: see `transitions.change_state`.
        """
        new_status = one_of(SnapshotStatus, new_status, "status")
        return change_state(self.session, "snapshot", snapshot_id, new_status)

    def record_invocation(self, **fields: Unpack[InvocationFields]) -> str:
        """Record one agent process or conversation with a model; return its id.

        What was not measured is left out. Recorded again (with its `id`), what is given then holds:
        while it is under way more and more is known of it.

        Raises:
            InputError: an agent type or finish reason that does not exist.
        """
        one_of(AgentType, fields["agent_type"], "agent_type")
        _check_finish(fields)
        return self._add(models.agent_invocations, fields, renew=True)

    def record_agent_steps(self, invocation_id: str, steps: Iterable[AgentStepFields]) -> list[str]:
        """Record the model requests of an invocation, each once; return their ids in order.

        Raises:
            InputError: a finish reason that does not exist.
        """
        ids = []
        for step in steps:
            _check_finish(step)
            values = {"invocation_id": invocation_id, **step}
            ids.append(self._add(models.agent_steps, values, key=("invocation_id", "step_number")))
        return ids

    def record_tool_calls(self, invocation_id: str, calls: Iterable[ToolCallFields]) -> int:
        """Record the tool calls of an invocation, each once by its `tool_call_id`.

        Returns:
            How many were given.

        Raises:
            InputError: an output type that does not exist.
        """
        rows = []
        for call in calls:
            if call.get("output_type") is not None:
                one_of(ToolOutputType, str(call["output_type"]), "output_type")
            rows.append({"invocation_id": invocation_id, **call})
        for row in rows:
            self._add(models.tool_calls, row, key=("invocation_id", "tool_call_id"))
        return len(rows)

    def metered_usage(self, attempt_id: int) -> dict[str, Any] | None:
        """Return what an attempt used by its model requests so far, as `token_usage` has it.

        None: none was metered. What is not known of one of them is not known of all.
        """
        rows = queries.metered_usage(self._driver, attempt_id)
        return dict(rows[0]) if rows else None

    def record_tool_output(
        self, invocation_id: str, tool_call_id: str, output: Any, output_type: str
    ) -> None:
        """Note what a tool said, which is known later than that it was called.

        Nothing happens where the call is not known: the agent made it up.

        Raises:
            InputError: an output type that does not exist.
        """
        calls = models.tool_calls
        one_of(ToolOutputType, output_type, "output_type")
        self.session.execute(
            update(calls)
            .where(calls.c.invocation_id == invocation_id, calls.c.tool_call_id == tool_call_id)
            .values(output=clean_json(output), output_type=output_type)
        )

    def _add(
        self,
        table: Table,
        fields: Mapping[str, Any],
        key: tuple[str, ...] = ("id",),
        *,
        renew: bool = False,
    ) -> str:
        """Insert a row; one with its key that is there stays, or is renewed; return its id."""
        if unknown := sorted(fields.keys() - table.c.keys()):
            raise InputError(f"{table.name} has no {', '.join(unknown)}")
        values = {name: clean_json(value) for name, value in fields.items()}
        adding = insert(table).values(values)
        new = {name: value for name, value in values.items() if name not in key}
        if renew and new:
            adding = adding.on_conflict_do_update(index_elements=list(key), set_=new)
        else:
            adding = adding.on_conflict_do_nothing(index_elements=list(key))
        made = self._scalar(adding.returning(table.c.id))
        if made is None:
            same = [table.c[name] == values[name] for name in key]
            made = self._scalar(select(table.c.id).where(*same))
        return str(made)


def _check_finish(fields: Mapping[str, Any]) -> None:
    if fields.get("finish_reason") is not None:
        one_of(FinishReason, fields["finish_reason"], "finish_reason")
