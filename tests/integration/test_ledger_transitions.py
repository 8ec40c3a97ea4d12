"""Changing a state: by code, by raw SQL, and by two at once."""

from __future__ import annotations

import threading
import uuid

import psycopg
import pytest
from sqlalchemy.exc import IntegrityError

from storage.states import STATES, TRANSITIONS, IllegalTransition
from storage.transitions import ENTITIES, Cause, NotInLedgerError, StateConflict, change_state

ENTITY_NAMES = sorted(ENTITIES)


@pytest.fixture
def things(stored):
    """One row of each kind that has states: entity -> key."""
    with stored.database.transaction() as ledger:
        sandbox = ledger.create_sandbox(stored.run_id, source_type="git")
        return {
            "run": stored.run_id,
            "workstream": stored.ws_id,
            "feature": stored.feature_id,
            "task": stored.task_id,
            "subtask": stored.subtask_id,
            "step": stored.steps[0],
            "attempt": ledger.record_step_attempt(
                stored.run_id, stored.ws_id, "1:test:file_1.py", "in_progress"
            ),
            "feature_phase": stored.run_id,
            "phase": ledger.start_phase(stored.run_id, "analysis"),
            "sandbox": sandbox,
            "snapshot": ledger.create_snapshot(sandbox),
        }


def put(connection, entity: str, key, state: str) -> None:
    """Put a row into a state, past the guard that this file is about."""
    where = ENTITIES[entity]
    table = where.table.fullname
    connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER guard_transition")
    connection.execute(
        f"UPDATE {table} SET {where.column} = %s WHERE {where.key} = %s", (state, key)
    )
    connection.execute(f"ALTER TABLE {table} ENABLE TRIGGER guard_transition")


@pytest.mark.parametrize("entity", ENTITY_NAMES)
def test_the_database_refuses_exactly_the_illegal_moves(database, things, entity):
    """Raw SQL is held to the same table as the code."""
    where, key = ENTITIES[entity], things[entity]
    move = f"UPDATE {where.table.fullname} SET {where.column} = %s WHERE {where.key} = %s"
    choice = STATES[entity]
    with database.get_connection() as connection:
        for before in choice.values():
            legal = TRANSITIONS[entity].get(before, frozenset())
            for after in choice.values():
                with connection.transaction(force_rollback=True):
                    put(connection, entity, key, before)
                    if after in legal or after == before:
                        connection.execute(move, (after, key))
                        continue
                    with pytest.raises(psycopg.errors.CheckViolation) as refusal:
                        connection.execute(move, (after, key))
                    diagnosis = refusal.value.diag
                    assert diagnosis.message_primary == (
                        f"illegal transition of {entity} {key}: {before} -> {after}"
                    )
                    for state in legal:
                        assert state in diagnosis.message_hint
                    assert legal or diagnosis.message_hint == f"{before} is final"


@pytest.mark.parametrize("entity", ENTITY_NAMES)
def test_the_code_makes_exactly_the_legal_moves_and_leaves_events(database, things, entity):
    where, key = ENTITIES[entity], things[entity]
    choice = STATES[entity]
    for before in choice.values():
        for after in choice.values():
            with database.get_connection() as connection:
                put(connection, entity, key, before)
                last = connection.execute("SELECT coalesce(max(id), 0) AS id FROM events")
                last = last.fetchone()["id"]
            legal = after in TRANSITIONS[entity].get(before, frozenset())
            if legal:
                with database.transaction() as ledger:
                    assert change_state(ledger.session, entity, key, after) == before
            else:
                with pytest.raises(IllegalTransition), database.transaction() as ledger:
                    change_state(ledger.session, entity, key, after)
            with database.get_connection() as connection:
                state = connection.execute(
                    f"SELECT {where.column} AS state FROM {where.table.fullname}"
                    f" WHERE {where.key} = %s",
                    (key,),
                ).fetchone()["state"]
                events = connection.execute(
                    "SELECT event_type, payload_json FROM events WHERE id > %s", (last,)
                ).fetchall()
            assert state == (after if legal else before)
            assert len(events) == 1
            expected = f"{entity}_status_changed" if legal else "transition_refused"
            assert events[0]["event_type"] == expected
            payload = events[0]["payload_json"]
            assert (payload["from"], payload["to"], payload["id"]) == (before, after, key)


def test_a_refused_move_is_told_even_of_a_run_that_is_never_committed(database):
    """The event has a transaction of its own, outside of the one that is rolled back."""
    run_id = str(uuid.uuid4())

    def begin_at_the_end() -> None:
        with database.transaction() as ledger:
            ledger.create_run(run_id=run_id)
            ledger.update_run_status(run_id, "completed", reason="hope")

    with pytest.raises(IllegalTransition):
        begin_at_the_end()
    with database.get_connection() as connection:
        assert connection.execute("SELECT * FROM runs").fetchall() == []
        (event,) = connection.execute("SELECT * FROM events").fetchall()
    assert event["event_type"] == "transition_refused"
    assert event["run_id"] == run_id
    assert event["payload_json"] == {
        "entity": "run",
        "id": run_id,
        "from": "pending",
        "to": "completed",
        "legal": ["abandoned", "running"],
        "reason": "hope",
    }


def test_events_of_a_change_go_with_its_transaction(stored):
    """No event tells of what did not happen."""

    def give_up() -> None:
        with stored.database.transaction() as ledger:
            ledger.update_run_status(stored.run_id, "running")
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        give_up()
    with stored.database.get_connection() as connection:
        found = connection.execute(
            "SELECT 1 FROM events WHERE event_type = 'run_status_changed'"
        ).fetchall()
    assert found == []


def test_of_many_who_change_at_once_exactly_one_wins(stored):
    barrier, outcomes = threading.Barrier(8), []

    def change() -> None:
        with stored.database.transaction() as ledger:
            barrier.wait()
            try:
                ledger.update_run_status(stored.run_id, "running", from_status="pending")
                outcomes.append("won")
            except StateConflict as conflict:
                outcomes.append(conflict.actual)

    threads = [threading.Thread(target=change) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["running"] * 7 + ["won"]


def test_a_lost_race_says_what_state_it_is_in_now(stored):
    with stored.database.transaction() as ledger:
        ledger.update_run_status(stored.run_id, "running")
    lost = pytest.raises(StateConflict, match="is in 'running' now")
    with lost, stored.database.transaction() as ledger:
        ledger.update_run_status(stored.run_id, "abandoned", from_status="pending")


def test_what_is_not_there_is_named(database):
    with database.transaction() as ledger:
        with pytest.raises(NotInLedgerError, match="no run 'nowhere'"):
            ledger.update_run_status("nowhere", "running")
        with pytest.raises(NotInLedgerError, match="no step 0"):
            change_state(ledger.session, "step", 0, "in_progress", cause=Cause())


def test_an_event_cannot_be_changed_or_removed(stored):
    with stored.database.get_connection() as connection:
        for attack in (
            "UPDATE events SET event_type = 'nothing'",
            "DELETE FROM events",
            "TRUNCATE events",
        ):
            with pytest.raises(psycopg.errors.CheckViolation, match="append only"):
                connection.execute(attack)
            connection.rollback()
        assert connection.execute("SELECT 1 FROM events").fetchone()


def test_the_database_holds_work_stages_to_their_order(stored):
    def enter(connection, stage, ws_id=stored.ws_id):
        connection.execute(
            "INSERT INTO work_stages (task_id, ws_id, work_stage) VALUES (%s, %s, %s)",
            (stored.task_id, ws_id, stage),
        )

    order = STATES["work_stage"].values()
    with stored.database.get_connection() as connection:
        for before in ["", *order]:
            for after in order:
                with connection.transaction(force_rollback=True):
                    connection.execute("ALTER TABLE work_stages DISABLE TRIGGER guard_work_stage")
                    if before:
                        enter(connection, before)
                    connection.execute("ALTER TABLE work_stages ENABLE TRIGGER guard_work_stage")
                    if before == "":
                        legal = after != "completed"
                    else:
                        legal = after in TRANSITIONS["work_stage"].get(before, ())
                    if legal:
                        enter(connection, after)
                    else:
                        with pytest.raises(psycopg.errors.CheckViolation, match="work_stage"):
                            enter(connection, after)


def test_a_stage_that_was_entered_stays_what_it_was(stored):
    with stored.database.transaction() as ledger:
        ledger.enter_stage("unit_testing", ws_id=stored.ws_id)
    refused = pytest.raises(psycopg.errors.CheckViolation, match="the stage of a row is fixed")
    with stored.database.get_connection() as connection, refused:
        connection.execute("UPDATE work_stages SET work_stage = 'review'")


def test_a_guard_in_the_way_of_the_code_surfaces(stored):
    """Were the two tables ever to disagree, nobody would be told that a change was made."""
    with stored.database.get_connection() as connection:
        connection.execute("DELETE FROM legal_transitions WHERE entity = 'run'")
    refused = pytest.raises(IntegrityError, match="illegal transition of run")
    with refused, stored.database.transaction() as ledger:
        ledger.update_run_status(stored.run_id, "running")
