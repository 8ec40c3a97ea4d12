"""The one place that changes a state.

A change is `UPDATE … WHERE key = … AND state = <the state it was in>`, so of two who change at
once exactly one succeeds, and its event is written in the same transaction. An illegal change is
refused and leaves a `transition_refused` event in a transaction of its own, which survives the
rollback of the caller's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Text, cast, func, insert, literal, select, update

from storage import models
from storage.exceptions import GreenlineError, InputError
from storage.states import IllegalTransition, legal_moves
from storage.text import clean_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import ColumnElement, Table
    from sqlalchemy.orm import Session


class NotInLedgerError(InputError):
    """The ledger has no such row."""

    def __init__(self, kind: str, key: object, advice: str = "") -> None:
        super().__init__(f"the ledger has no {kind} {key!r}{advice and '; '}{advice}")


class StateConflict(GreenlineError):  # noqa: N818  the design's word
    """Somebody else changed the state first.

    Attributes:
        entity_type: which kind of thing was to move.
        key: which one.
        expected: the state it was to move from.
        actual: the state it is in now.
        to_state: the state it was to get.
    """

    def __init__(
        self, entity_type: str, key: object, expected: str, actual: str, to_state: str
    ) -> None:
        self.entity_type = entity_type
        self.key = key
        self.expected = expected
        self.actual = actual
        self.to_state = to_state
        super().__init__(
            f"{entity_type} {key} was to move from {expected!r} to {to_state!r} and is in "
            f"{actual!r} now: somebody else moved it first. Look again and decide anew."
        )


@dataclass(frozen=True)
class Entity:
    """Where the states of a kind of thing lie, and how its events know their run."""

    table: Table
    key: str = "id"
    column: str = "status"
    run_id: str | None = None
    ws_id: str | None = None


ENTITIES: Final[Mapping[str, Entity]] = {
    "run": Entity(models.runs, key="run_id", run_id="run_id"),
    "workstream": Entity(models.workstreams, key="ws_id", run_id="run_id", ws_id="ws_id"),
    "feature": Entity(models.features),
    "task": Entity(models.tasks),
    "subtask": Entity(models.subtasks),
    "step": Entity(models.steps),
    "attempt": Entity(models.step_attempts, run_id="run_id", ws_id="ws_id"),
    "feature_phase": Entity(
        models.feature_runs, key="run_id", column="current_phase", run_id="run_id"
    ),
    "phase": Entity(models.phase_results, run_id="run_id"),
    "sandbox": Entity(models.sandboxes, run_id="run_id"),
    "snapshot": Entity(models.sandbox_snapshots, run_id="run_id"),
}
"""Work stages are missing on purpose: a stage is a row of its own (`Ledger.enter_stage`)."""


@dataclass(frozen=True)
class Cause:
    """What an event says about a change beside the two states.

    Attributes:
        reason: why, for people.
        payload: further facts.
        run_id: the run that it happened in, where the row itself does not say.
        ws_id: the workstream, likewise.
    """

    reason: str | None = None
    payload: Mapping[str, Any] | None = None
    run_id: str | None = None
    ws_id: str | None = None


def change_state(
    session: Session,
    entity_type: str,
    key: object,
    to_state: str,
    *,
    from_state: str | None = None,
    values: Mapping[str, Any] | None = None,
    cause: Cause = Cause(),
) -> str:
    """Move one thing to another state and write the event `<entity_type>_status_changed`.

    Args:
        session: the transaction that it happens in.
        entity_type: a key of `ENTITIES`.
        key: which one.
        to_state: the state it is to get.
        from_state: the state it is believed to be in; looked up when not given.
        values: further columns to set in the same statement.
        cause: what the event says beside the states.

    Returns:
        The state it was in.

    Raises:
        IllegalTransition: the move is not in the table; a `transition_refused` event is left.
        StateConflict: it is not in `from_state`, or somebody else moved it in between.
        NotInLedgerError: there is no such row.
    """
    entity = ENTITIES[entity_type]
    to_state = str(to_state)
    if from_state is None:
        from_state = current_state(session, entity_type, key)
    from_state = str(from_state)
    if to_state not in legal_moves(entity_type, from_state):
        error = IllegalTransition(entity_type, from_state, to_state, key)
        record_refusal(session, error, key, cause)
        raise error
    table = entity.table
    new: dict[str, Any] = {entity.column: to_state, **(values or {})}
    if "updated_at" in table.c:
        new["updated_at"] = func.now()
    payload = {"id": key, "from": from_state, "to": to_state, **(cause.payload or {})}
    if cause.reason is not None:
        payload["reason"] = cause.reason
    # Both in one statement: no row was moved, no event is written.
    run_id, ws_id = _whereabouts(entity, cause)
    moved = (
        update(table)
        .where(table.c[entity.key] == key, table.c[entity.column] == from_state)
        .values(new)
        .returning(run_id.label("run_id"), ws_id.label("ws_id"))
        .cte("moved")
    )
    told = session.execute(
        insert(models.events)
        .from_select(
            ["run_id", "ws_id", "event_type", "payload_json"],
            select(
                moved.c.run_id,
                moved.c.ws_id,
                literal(f"{entity_type}_status_changed", Text),
                literal(clean_json(payload), models.events.c.payload_json.type),
            ),
        )
        .returning(models.events.c.id)
    ).first()
    if told is None:
        actual = current_state(session, entity_type, key)
        raise StateConflict(entity_type, key, from_state, actual, to_state)
    return from_state


def current_state(session: Session, entity_type: str, key: object) -> str:
    """Return the state that one thing is in.

    Raises:
        NotInLedgerError: there is no such row.
    """
    entity = ENTITIES[entity_type]
    column = entity.table.c[entity.column]
    state = session.execute(select(column).where(entity.table.c[entity.key] == key)).scalar()
    if state is None:
        raise NotInLedgerError(entity_type, key)
    return str(state)


def record_refusal(
    session: Session,
    error: IllegalTransition,
    key: object,
    cause: Cause = Cause(),
) -> None:
    """Write the `transition_refused` event, in a transaction of its own.

    It may take a second connection from the pool. Events have no foreign keys, so it does not
    matter that the run may be one that the session's transaction is just creating.
    """
    entity = ENTITIES.get(error.entity_type)
    run_id, ws_id = cause.run_id, cause.ws_id
    if entity is not None:
        where = select(*_whereabouts(entity, cause)).where(entity.table.c[entity.key] == key)
        found = session.execute(where).first()
        if found is not None:
            run_id, ws_id = found
    payload = {
        "entity": error.entity_type,
        "id": key,
        "from": error.from_state,
        "to": error.to_state,
        "legal": list(error.legal),
    }
    if cause.reason is not None:
        payload["reason"] = cause.reason
    with session.get_bind().engine.begin() as own:
        own.execute(
            insert(models.events).values(
                run_id=run_id,
                ws_id=ws_id,
                event_type="transition_refused",
                payload_json=clean_json(payload),
            )
        )


def _whereabouts(entity: Entity, cause: Cause) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    """Return the run and the workstream of a row, from where it says so or from the cause."""
    column = entity.table.c
    return (
        cast(column[entity.run_id], Text) if entity.run_id else literal(cause.run_id, Text),
        cast(column[entity.ws_id], Text) if entity.ws_id else literal(cause.ws_id, Text),
    )
