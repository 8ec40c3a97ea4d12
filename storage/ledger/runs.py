"""Runs, workstreams, and the errors that happened in them."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from storage import models
from storage.exceptions import InputError
from storage.ids import new_run_id
from storage.ledger.base import Base, one_of
from storage.rows import RunRow, WorkstreamRow
from storage.states import RunStatus, WorkstreamStatus
from storage.text import clean_json, clean_text, index_key
from storage.transitions import Cause, NotInLedgerError, change_state

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Runs(Base):
    """Runs, workstreams and errors."""

    def create_run(
        self,
        status: str = RunStatus.PENDING,
        metadata: Mapping[str, Any] | None = None,
        *,
        feature_id: int | None = None,
        run_id: str | None = None,
    ) -> str:
        """Store a run; return its id. A run that is there with that id is left as it is.

        Args:
            status: where it begins.
            metadata: plan hash, base commit, branch, configuration …
            feature_id: the tree that it works on.
            run_id: a UUID as text; a time-ordered one is made when not given.
        """
        run_id = run_id or new_run_id()
        made = self._scalar(
            insert(models.runs)
            .values(
                run_id=run_id,
                feature_id=feature_id,
                status=one_of(RunStatus, status, "status"),
                metadata_json=clean_json(dict(metadata)) if metadata is not None else None,
            )
            .on_conflict_do_nothing(index_elements=["run_id"])
            .returning(models.runs.c.run_id)
        )
        if made is not None:
            self.record_event(run_id, None, "run_created", {"feature_id": feature_id})
        return run_id

    def update_run_status(
        self,
        run_id: str,
        new_status: str,
        *,
        from_status: str | None = None,
        reason: str | None = None,
    ) -> str:
        """Move a run to another status; return the one it had.

        Raises:
            IllegalTransition, StateConflict, NotInLedgerError: see `transitions.change_state`.
        """
        cause = Cause(reason=reason)
        return change_state(
            self.session, "run", run_id, new_status, from_state=from_status, cause=cause
        )

    def update_run_metadata(self, run_id: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Set some keys of a run's metadata, keep the others, return all.

        Raises:
            NotInLedgerError: there is no such run.
        """
        runs = models.runs
        empty = func.jsonb_build_object()
        merged = self._scalar(
            update(runs)
            .where(runs.c.run_id == run_id)
            .values(
                metadata_json=func.coalesce(runs.c.metadata_json, empty).op("||")(
                    func.cast(clean_json(dict(changes)), runs.c.metadata_json.type)
                ),
                updated_at=func.now(),
            )
            .returning(runs.c.metadata_json)
        )
        if merged is None:
            raise NotInLedgerError("run", run_id)
        return cast("dict[str, Any]", merged)

    def get_run(self, run_id: str) -> RunRow | None:
        """Return a run."""
        row = self._row(select(models.runs).where(models.runs.c.run_id == run_id))
        return cast("RunRow | None", row)

    def acquire_lease(
        self, run_id: str, owner: str, seconds: float = 30.0, *, instead_of: str | None = None
    ) -> bool:
        """Take or renew the right to carry a run; False when somebody else holds it.

        Args:
            run_id: the run.
            owner: who asks; asking again renews.
            seconds: how long it holds unless renewed.
            instead_of: an owner who is known to be dead, whose lease need not run out first.

        Raises:
            NotInLedgerError: there is no such run.
        """
        runs = models.runs
        now = func.clock_timestamp()
        taken = self._scalar(
            update(runs)
            .where(
                runs.c.run_id == run_id,
                or_(
                    runs.c.lease_owner.is_(None),
                    runs.c.lease_owner.in_([owner, instead_of or owner]),
                    runs.c.lease_expires_at < now,
                ),
            )
            .values(
                lease_owner=owner,
                lease_expires_at=now + dt.timedelta(seconds=seconds),
            )
            .returning(runs.c.run_id)
        )
        if taken is None and self.get_run(run_id) is None:
            raise NotInLedgerError("run", run_id)
        return taken is not None

    def release_lease(self, run_id: str, owner: str) -> bool:
        """Give the right to carry a run back; False when the owner did not hold it."""
        runs = models.runs
        released = self._scalar(
            update(runs)
            .where(runs.c.run_id == run_id, runs.c.lease_owner == owner)
            .values(lease_owner=None, lease_expires_at=None)
            .returning(runs.c.run_id)
        )
        return released is not None

    def create_workstream(
        self,
        run_id: str,
        ws_id: str,
        status: str = WorkstreamStatus.PENDING,
        depends_on: Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None,
        *,
        subtask_id: int | None = None,
    ) -> str:
        """Store a workstream; return its id. One that is there with that id is left as it is.

        Args:
            run_id: the run.
            ws_id: `<run_id>/<subtask key>`.
            status: where it begins.
            depends_on: the ws_ids that must be done before.
            metadata: anything else.
            subtask_id: the subtask that it carries.

        Raises:
            InputError: the id is that of a workstream of another run.
        """
        workstreams = models.workstreams
        made = self._scalar(
            insert(workstreams)
            .values(
                ws_id=ws_id,
                run_id=run_id,
                subtask_id=subtask_id,
                status=one_of(WorkstreamStatus, status, "status"),
                depends_on=list(depends_on),
                metadata_json=clean_json(dict(metadata)) if metadata is not None else None,
            )
            .on_conflict_do_nothing(index_elements=["ws_id"])
            .returning(workstreams.c.ws_id)
        )
        there = None if made is not None else self.get_workstream(ws_id)
        if there is not None and there["run_id"] != run_id:
            raise InputError(f"workstream {ws_id!r} belongs to run {there['run_id']}, not {run_id}")
        return ws_id

    def update_workstream_status(
        self,
        ws_id: str,
        new_status: str,
        *,
        from_status: str | None = None,
        reason: str | None = None,
    ) -> str:
        """Move a workstream to another status; return the one it had.

        Raises:
            IllegalTransition, StateConflict, NotInLedgerError: see `transitions.change_state`.
        """
        cause = Cause(reason=reason)
        return change_state(
            self.session, "workstream", ws_id, new_status, from_state=from_status, cause=cause
        )

    def get_workstream(self, ws_id: str) -> WorkstreamRow | None:
        """Return a workstream."""
        row = self._row(select(models.workstreams).where(models.workstreams.c.ws_id == ws_id))
        return cast("WorkstreamRow | None", row)

    def get_workstreams_for_run(self, run_id: str) -> list[WorkstreamRow]:
        """Return a run's workstreams in plan order."""
        workstreams = models.workstreams
        found = self._rows(
            select(workstreams)
            .where(workstreams.c.run_id == run_id)
            .order_by(workstreams.c.subtask_id, workstreams.c.created_at, workstreams.c.ws_id)
        )
        return cast("list[WorkstreamRow]", found)

    def record_error(
        self,
        run_id: str,
        ws_id: str | None,
        step_name: str | None,
        error_code: str,
        signature: str,
        message: str,
        context_json: Any = None,
    ) -> int:
        """Record an error by its signature; return how often it was seen now.

        A repeat within the same step of the same workstream counts up, with its message and
        context taking the place of the ones before.

        Args:
            run_id: the run.
            ws_id: the workstream, None for an error of the run as a whole.
            step_name: `<step_number>:<step_type>:<file_path>`, or None.
            error_code: the failure class.
            signature: the normalised message, stable from run to run.
            message: what went wrong.
            context_json: whatever helps to understand it.
        """
        errors = models.errors
        new = insert(errors).values(
            run_id=run_id,
            ws_id=ws_id,
            step_name=clean_text(step_name) if step_name is not None else None,
            error_code=str(error_code),
            signature=index_key(signature),
            message=clean_text(message),
            context_json=clean_json(context_json),
        )
        return int(
            self._scalar(
                new.on_conflict_do_update(
                    index_elements=["run_id", "ws_id", "step_name", "signature"],
                    set_={
                        "count": errors.c.count + 1,
                        "last_seen_at": func.now(),
                        "error_code": new.excluded.error_code,
                        "message": new.excluded.message,
                        "context_json": new.excluded.context_json,
                    },
                ).returning(errors.c.count)
            )
        )
