"""Attempts: numbered, begun, finished."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Unpack, cast

from sqlalchemy import func, insert, select, update

from storage import models
from storage.exceptions import InputError
from storage.ledger.attempt_history import AttemptHistory
from storage.ledger.base import one_of
from storage.ledger.plan import Plan
from storage.ledger.runs import Runs
from storage.rows import AttemptOutcomeFields, AttemptRow, StepRow
from storage.states import AttemptStatus, FailureClass, StepStatus
from storage.text import clean_json, clean_text
from storage.transitions import Cause, NotInLedgerError, StateConflict, change_state

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

_END: Final = {
    AttemptStatus.SUCCESS: StepStatus.COMPLETED,
    AttemptStatus.SKIPPED: StepStatus.COMPLETED,
    AttemptStatus.FAILURE: StepStatus.FAILED,
}


def step_name(step: StepRow) -> str:
    """Return how attempts and errors name a step: `<step_number>:<step_type>:<file_path>`."""
    return f"{step['step_number']}:{step['step_type']}:{step['file_path'] or ''}"


class Attempts(AttemptHistory, Plan, Runs):
    """Attempts at steps."""

    def begin_attempt(
        self,
        run_id: str,
        ws_id: str,
        step_id: int,
        *,
        commit_sha_before: str,
        agent_config: Mapping[str, Any],
        fingerprint: str | None = None,
        attempt_no: int | None = None,
    ) -> AttemptRow:
        """Begin an attempt: number it, and put its step in progress.

        Its parent is the latest active attempt of the run, or of the project when the run has
        none yet.

        Args:
            run_id: the run.
            ws_id: the workstream that carries the step's subtask in that run.
            step_id: the step.
            commit_sha_before: the head that the agent starts from.
            agent_config: a snapshot of the agent's settings, without secrets.
            fingerprint: what the step asks for and by which rules, for `find_done_step`.
            attempt_no: which try of the run at the step it is; the next one when not given. One
                that is there already is returned as it is, so that a repeated call adds nothing.

        Raises:
            NotInLedgerError: there is no such step.
            IllegalTransition: the step is completed, or has an attempt in progress.
        """
        attempts = models.step_attempts
        step = self._lock_step(step_id)
        tries = (attempts.c.run_id == run_id, attempts.c.step_id == step_id)
        if attempt_no is not None:
            there = self._row(select(attempts).where(*tries, attempts.c.attempt_no == attempt_no))
            if there is not None:
                return cast("AttemptRow", there)
        else:
            # A statement of its own: it sees what was committed while the lock was waited for.
            latest = select(func.coalesce(func.max(attempts.c.attempt_no), 0)).where(*tries)
            attempt_no = int(self._scalar(latest)) + 1
        steps = models.steps
        change_state(
            self.session,
            "step",
            step_id,
            StepStatus.IN_PROGRESS,
            from_state=step["status"],
            values={"attempt_count": steps.c.attempt_count + 1},
            cause=Cause(run_id=run_id, ws_id=ws_id),
        )
        row = self._insert_attempt(
            {
                "project_id": step["project_id"],
                "run_id": run_id,
                "ws_id": ws_id,
                "step_id": step_id,
                "step_name": step_name(step),
                "attempt_no": attempt_no,
                "commit_sha_before": commit_sha_before,
                "agent_config": clean_json(dict(agent_config)),
                "fingerprint": fingerprint,
            }
        )
        self._tell_begin(row)
        return row

    def finish_attempt(
        self, attempt_id: int, status: str, **outcome: Unpack[AttemptOutcomeFields]
    ) -> AttemptRow:
        """End an attempt and with it the try at its step; return the attempt.

        Success and skipped complete the step, failure fails it. With a `signature` the error is
        recorded too (`record_error`). Ending it again in the same way changes nothing.

        Args:
            attempt_id: the attempt.
            status: success, failure or skipped.
            outcome: what was observed. `result` is added to what the attempt has; `error` and
                `signature` are kept in it as well. A failure without a `failure_class` is
                `unknown`.

        Raises:
            InputError: a status or failure class that does not exist.
            IllegalTransition, StateConflict: it ended in another way before.
            NotInLedgerError: there is no such attempt.
        """
        attempts = models.step_attempts
        status = one_of(AttemptStatus, status, "status")
        found = self._row(
            select(attempts).where(attempts.c.id == attempt_id).with_for_update(key_share=True)
        )
        if found is None:
            raise NotInLedgerError("attempt", attempt_id)
        before = cast("AttemptRow", found)
        if before["status"] == status and status != AttemptStatus.IN_PROGRESS:
            return self._same_end(before, outcome)
        values = _outcome_columns(status, before, outcome)
        change_state(
            self.session,
            "attempt",
            attempt_id,
            status,
            from_state=before["status"],
            values=values,
            cause=Cause(
                payload={
                    "number": before["number"],
                    "step_id": before["step_id"],
                    "failure_class": values.get("failure_class"),
                },
            ),
        )
        error, signature = outcome.get("error"), outcome.get("signature")
        if before["step_id"] is not None:
            failed = status == AttemptStatus.FAILURE
            change_state(
                self.session,
                "step",
                before["step_id"],
                _END[AttemptStatus(status)],
                from_state=StepStatus.IN_PROGRESS,
                values={
                    "last_error": clean_text(error or values["failure_class"]) if failed else None
                },
                cause=Cause(run_id=before["run_id"], ws_id=before["ws_id"]),
            )
        if signature is not None:
            self.record_error(
                before["run_id"],
                before["ws_id"],
                before["step_name"],
                values.get("failure_class") or FailureClass.UNKNOWN,
                signature,
                error or signature,
                {"attempt_id": attempt_id, "number": before["number"]},
            )
        return cast("AttemptRow", self._row(select(attempts).where(attempts.c.id == attempt_id)))

    def set_attempt_result(self, attempt_id: int, result: Mapping[str, Any]) -> None:
        """Add to an attempt's `result_json`; keys that are there are replaced.

        Raises:
            NotInLedgerError: there is no such attempt.
        """
        attempts = models.step_attempts
        there = self._row(
            select(attempts.c.result_json)
            .where(attempts.c.id == attempt_id)
            .with_for_update(key_share=True)
        )
        if there is None:
            raise NotInLedgerError("attempt", attempt_id)
        merged = {**(there["result_json"] or {}), **clean_json(dict(result))}
        self.session.execute(
            update(attempts).where(attempts.c.id == attempt_id).values(result_json=merged)
        )

    def record_step_attempt(
        self,
        run_id: str,
        ws_id: str,
        step_name: str,
        status: str,
        result_json: Any = None,
        started_at: dt.datetime | None = None,
        completed_at: dt.datetime | None = None,
    ) -> int:
        """Record an attempt as it is, without moving its step; return its id.

        For what was done elsewhere; the pipeline begins and finishes its attempts. It gets a
        number when the run belongs to a project. The same `started_at` for the same step is the
        same attempt: it is not recorded twice.

        Raises:
            InputError: no such status.
            NotInLedgerError: no such run.
        """
        attempts, features, runs = models.step_attempts, models.features, models.runs
        step_name, status = clean_text(step_name), one_of(AttemptStatus, status, "status")
        run = self._row(
            select(runs.c.run_id, features.c.project_id)
            .join_from(runs, features, runs.c.feature_id == features.c.id, isouter=True)
            .where(runs.c.run_id == run_id)
            .with_for_update(
                of=runs, key_share=True
            )  # who records the same attempt at once waits here
        )
        if run is None:
            raise NotInLedgerError("run", run_id)
        same = (
            attempts.c.run_id == run_id,
            attempts.c.ws_id == ws_id,
            attempts.c.step_name == step_name,
        )
        if started_at is not None:
            there = self._scalar(
                select(attempts.c.id).where(*same, attempts.c.started_at == started_at)
            )
            if there is not None:
                return int(there)
        latest = select(func.coalesce(func.max(attempts.c.attempt_no), 0)).where(*same)
        values = {
            "project_id": run["project_id"],
            "run_id": run_id,
            "ws_id": ws_id,
            "step_name": step_name,
            "status": status,
            "result_json": clean_json(result_json),
            "completed_at": completed_at,
            "attempt_no": int(self._scalar(latest)) + 1,
        }
        if started_at is not None:
            values["started_at"] = started_at
        return self._insert_attempt(values)["id"]

    def _lock_step(self, step_id: int) -> StepRow:
        steps = models.steps
        # NO KEY: inserting the attempt, which refers to the step, must not wait for it.
        locked = select(steps).where(steps.c.id == step_id).with_for_update(key_share=True)
        row = self._row(locked)
        if row is None:
            raise NotInLedgerError("step", step_id)
        return cast("StepRow", row)

    def _insert_attempt(self, values: dict[str, Any]) -> AttemptRow:
        """Insert an attempt with the next number of its project and its parent."""
        attempts, projects = models.step_attempts, models.projects
        project_id = values["project_id"]
        if project_id is not None:
            # The row's lock makes numbers come one by one; nothing slow happens until the commit.
            values["number"] = self._scalar(
                update(projects)
                .where(projects.c.id == project_id)
                .values(last_attempt_number=projects.c.last_attempt_number + 1)
                .returning(projects.c.last_attempt_number)
            )
            values["parent_attempt_id"] = func.coalesce(
                *(
                    select(attempts.c.id)
                    .where(column == value, attempts.c.active, attempts.c.number.is_not(None))
                    .order_by(attempts.c.number.desc())
                    .limit(1)
                    .scalar_subquery()
                    for column, value in (
                        (attempts.c.run_id, values["run_id"]),
                        (attempts.c.project_id, project_id),
                    )
                )
            )
        row = self._row(insert(attempts).values(values).returning(attempts))
        return cast("AttemptRow", row)

    def _tell_begin(self, row: AttemptRow) -> None:
        payload = {name: row[name] for name in ("id", "number", "attempt_no", "step_id")}
        self.record_event(row["run_id"], row["ws_id"], "attempt_started", payload)

    def _same_end(self, row: AttemptRow, outcome: AttemptOutcomeFields) -> AttemptRow:
        commit = outcome.get("commit_sha_after", row["commit_sha_after"])
        if commit != row["commit_sha_after"]:
            raise StateConflict(
                "attempt",
                row["id"],
                AttemptStatus.IN_PROGRESS,
                f"{row['status']} with commit {row['commit_sha_after']}",
                f"{row['status']} with commit {commit}",
            )
        return row


def _outcome_columns(
    status: str, before: AttemptRow, outcome: AttemptOutcomeFields
) -> dict[str, Any]:
    """Return the columns that the end of an attempt sets.

    Raises:
        InputError: there is no such failure class.
    """
    values: dict[str, Any] = {"completed_at": func.clock_timestamp()}
    for name in ("commit_sha_after", "exit_code", "duration_ms", "intervened"):
        if name in outcome:
            values[name] = outcome[name]
    if "token_usage" in outcome:
        values["token_usage"] = clean_json(outcome["token_usage"])
    if status == AttemptStatus.FAILURE:
        given = outcome.get("failure_class") or FailureClass.UNKNOWN
        values["failure_class"] = one_of(FailureClass, given, "failure_class")
    elif outcome.get("failure_class") is not None:
        raise InputError(
            f"only a failure has a failure_class; received {outcome['failure_class']!r} "
            f"with status {status!r}"
        )
    result = {**(before["result_json"] or {}), **(outcome.get("result") or {})}
    words = {"error": outcome.get("error"), "signature": outcome.get("signature")}
    result.update({name: word for name, word in words.items() if word is not None})
    if result:
        values["result_json"] = clean_json(result)
    return values
