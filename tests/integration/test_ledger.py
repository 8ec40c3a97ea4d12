"""The ledger's functions under the names that the seeds give them."""

from __future__ import annotations

import datetime as dt
import threading
import uuid

import psycopg
import pytest
from sqlalchemy.exc import IntegrityError

from storage import ledger as ledger_package
from storage.exceptions import InputError
from storage.ids import new_run_id
from storage.ledger.plan import ImmutableFieldError
from storage.states import IllegalTransition
from storage.transitions import NotInLedgerError


def rows(database, query, *parameters):
    with database.get_connection() as connection:
        return connection.execute(query, parameters).fetchall()


def test_the_seeds_functions_are_there_by_name():
    names = (
        "create_run update_run_status get_run create_workstream update_workstream_status"
        " get_workstream get_workstreams_for_run record_step_attempt record_error record_event"
        " validate_state_transition create_step update_step get_step list_steps_by_subtask"
        " get_steps_by_status get_latest_active_attempt deactivate_attempts"
    )
    assert [name for name in names.split() if not hasattr(ledger_package.Ledger, name)] == []


def test_a_ledger_takes_a_session(database):
    from sqlalchemy.orm import Session

    with Session(database.engine) as session, session.begin():
        run_id = ledger_package.Ledger(session).create_run()
    with database.transaction() as ledger:
        assert ledger.get_run(run_id)["status"] == "pending"


def test_run_ids_sort_by_time():
    ids = []
    for _ in range(3):
        ids.append(new_run_id())
        threading.Event().wait(0.002)
    assert ids == sorted(ids)
    assert {uuid.UUID(run_id).version for run_id in ids} == {7}
    assert {uuid.UUID(run_id).variant for run_id in ids} == {uuid.RFC_4122}


def test_a_run_lives(database):
    with database.transaction() as ledger:
        run_id = ledger.create_run(metadata={"branch": "greenline/1"})
        assert ledger.update_run_status(run_id, "running") == "pending"
        ledger.update_run_metadata(run_id, {"base_commit": "abc"})
        assert ledger.update_run_status(run_id, "completed", reason="all done") == "running"
    with database.transaction() as ledger:
        run = ledger.get_run(run_id)
        assert ledger.get_run("nowhere") is None
    assert run["status"] == "completed"
    assert run["metadata_json"] == {"branch": "greenline/1", "base_commit": "abc"}
    assert run["created_at"].tzinfo is not None
    assert run["updated_at"] >= run["created_at"]
    with pytest.raises(IllegalTransition), database.transaction() as ledger:
        ledger.update_run_status(run_id, "running")


def test_writing_a_run_or_workstream_again_changes_nothing(database):
    """A retried Prefect task never doubles a row, nor resets one."""
    run_id = new_run_id()
    for _ in range(2):
        with database.transaction() as ledger:
            ledger.create_run(run_id=run_id, metadata={"a": 1})
            ledger.create_workstream(run_id, f"{run_id}/one")
            if ledger.get_workstream(f"{run_id}/one")["status"] == "pending":
                ledger.update_workstream_status(f"{run_id}/one", "ready")
    with database.transaction() as ledger:
        (found,) = ledger.get_workstreams_for_run(run_id)
        other = ledger.create_run()
        with pytest.raises(InputError, match="belongs to run"):
            ledger.create_workstream(other, f"{run_id}/one")
    assert found["status"] == "ready"
    created = rows(database, "SELECT run_id FROM events WHERE event_type = 'run_created'")
    assert [row["run_id"] for row in created] == [run_id, other]


def test_a_workstream_goes_its_way_and_no_other(stored):
    way = [
        "ready",
        "editing",
        "static_check",
        "fixing",
        "editing",
        "static_check",
        "runtime_check",
        "done",
    ]
    with stored.database.transaction() as ledger:
        for status in way:
            ledger.update_workstream_status(stored.ws_id, status)
        assert ledger.get_workstream(stored.ws_id)["status"] == "done"
    refused = pytest.raises(IllegalTransition, match="abandoned, failed, ready")
    with refused, stored.database.transaction() as ledger:
        ledger.update_workstream_status(stored.ws_id, "editing")
    told = rows(
        stored.database,
        "SELECT run_id, ws_id, payload_json ->> 'to' AS state FROM events"
        " WHERE event_type = 'workstream_status_changed' ORDER BY id",
    )
    assert [row["state"] for row in told] == way
    assert {(row["run_id"], row["ws_id"]) for row in told} == {(stored.run_id, stored.ws_id)}


def test_an_error_that_repeats_counts_up_in_one_row(stored):
    with stored.database.transaction() as ledger:
        counts = [
            ledger.record_error(
                stored.run_id,
                stored.ws_id,
                "1:test:a.py",
                "not_red",
                "sig",
                f"message {n}",
                {"n": n},
            )
            for n in range(3)
        ]
        other = ledger.record_error(stored.run_id, stored.ws_id, "2:test:b.py", "x", "sig", "m")
    assert counts == [1, 2, 3]
    assert other == 1
    found = rows(stored.database, "SELECT * FROM errors ORDER BY id")
    assert [row["count"] for row in found] == [3, 1]
    assert found[0]["message"] == "message 2"
    assert found[0]["context_json"] == {"n": 2}
    assert found[0]["last_seen_at"] >= found[0]["first_seen_at"]


def test_errors_of_a_run_as_a_whole_repeat_too(stored):
    """NULL for "no workstream" is a value like any other: the error is the same one."""
    with stored.database.transaction() as ledger:
        counts = [
            ledger.record_error(stored.run_id, None, None, "infra", "sig", "no server")
            for _ in range(2)
        ]
    assert counts == [1, 2]


def test_errors_from_many_threads_are_all_counted(stored):
    def record() -> None:
        for _ in range(5):
            with stored.database.transaction() as ledger:
                ledger.record_error(stored.run_id, stored.ws_id, "s", "c", "sig", "m")

    threads = [threading.Thread(target=record) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rows(stored.database, "SELECT count FROM errors") == [{"count": 40}]


def test_a_signature_of_any_length_is_recorded(stored):
    """An index entry holds some 2,700 bytes; a wild message must not lose the error."""
    wild = "".join(chr(0x4E00 + n % 20000) for n in range(20_000))
    with stored.database.transaction() as ledger:
        first = ledger.record_error(stored.run_id, None, None, "x", wild, wild)
        again = ledger.record_error(stored.run_id, None, None, "x", wild, wild)
        differs = ledger.record_error(stored.run_id, None, None, "x", wild + "!", wild)
    assert (first, again, differs) == (1, 2, 1)


def test_text_that_postgres_refuses_is_recorded_in_a_form_it_takes(stored):
    """Agents and tests print NUL bytes and broken UTF-8; a step must not be lost to that."""
    dirty = "a\x00b\udcffc"
    with stored.database.transaction() as ledger:
        ledger.record_error(
            stored.run_id, None, None, "x", dirty, dirty, {dirty: [dirty, float("nan")]}
        )
        ledger.record_event(stored.run_id, None, "noise", {"output": dirty})
    (error,) = rows(stored.database, "SELECT message, context_json FROM errors")
    clean = "a\ufffdb\\udcffc"
    assert error == {"message": clean, "context_json": {clean: [clean, None]}}


def test_an_event_is_kept_as_it_was_given(stored):
    with stored.database.transaction() as ledger:
        event = ledger.record_event(stored.run_id, stored.ws_id, "cache_hit", {"tool": "grep"})
    (row,) = rows(stored.database, "SELECT * FROM events WHERE id = %s", event)
    assert (row["run_id"], row["ws_id"]) == (stored.run_id, stored.ws_id)
    assert (row["event_type"], row["payload_json"]) == ("cache_hit", {"tool": "grep"})
    assert dt.datetime.now(dt.UTC) - row["timestamp"] < dt.timedelta(minutes=1)


# --- projects and plans --------------------------------------------------------------------------


def test_a_project_is_known_by_its_repository_and_named_uniquely(database):
    with database.transaction() as ledger:
        one = ledger.get_or_create_project("/srv/a/roman", "roman", "main")
        two = ledger.get_or_create_project("/srv/b/roman", "roman", "trunk")
        three = ledger.get_or_create_project("/srv/c/roman", "roman")
        again = ledger.get_or_create_project("/srv/b/roman", "something else")
    assert [p["name"] for p in (one, two, three)] == ["roman", "roman-2", "roman-3"]
    assert again == two
    assert two["default_branch"] == "trunk"


def test_many_who_meet_a_project_first_make_one(database):
    found, barrier = [], threading.Barrier(8)

    def meet() -> None:
        barrier.wait()
        with database.transaction() as ledger:
            found.append(ledger.get_or_create_project("/srv/roman", "roman")["id"])

    threads = [threading.Thread(target=meet) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_plan_is_stored_whole_or_not_at_all(database):
    def store_half() -> None:
        with database.transaction() as ledger:
            project = ledger.get_or_create_project("/srv/x", "x")["id"]
            feature = ledger.create_feature(project, "F")
            ledger.create_run(feature_id=feature)
            task = ledger.create_task(feature, "T")
            subtask = ledger.create_subtask(task, "k", "S")
            ledger.create_step(project, subtask, 1, "test", "NobodyAider")

    with pytest.raises(InputError, match="assigned_to must be one of TaraAider, DevonAider"):
        store_half()
    for table in ("projects", "features", "runs", "tasks", "subtasks", "steps", "events"):
        assert rows(database, f"SELECT 1 FROM {table}") == []


def test_steps_are_read_back_as_they_were_given(stored):
    with stored.database.transaction() as ledger:
        step_id = ledger.create_step(
            stored.project_id,
            stored.subtask_id,
            3,
            "implementation",
            "DevonAider",
            file_path="src/roman.py",
            instructions="make it so",
            context_files=["tests/test_roman.py"],
            context_snapshot={"b": {"sha256": "…"}, "a": 1},
            parent_step_id=stored.steps[1],
        )
    with stored.database.transaction() as ledger:
        step = ledger.get_step(step_id)
        listed = ledger.list_steps_by_subtask(stored.subtask_id)
        assert ledger.get_step(0) is None
    assert step["status"] == "pending"
    assert step["attempt_count"] == 0
    assert step["context_files"] == ["tests/test_roman.py"]
    assert list(step["context_snapshot"]) == ["b", "a"], "JSON keeps the order that it was given"
    assert step["parent_step_id"] == stored.steps[1]
    assert [row["step_number"] for row in listed] == [1, 2, 3]
    assert listed[2] == step


def test_storing_the_same_step_or_subtask_again_returns_it(stored):
    with stored.database.transaction() as ledger:
        same = ledger.create_step(
            stored.project_id,
            stored.subtask_id,
            1,
            "test",
            "TaraAider",
            file_path="file_1.py",
            instructions="do 1",
        )
        assert same == stored.steps[0]
        assert ledger.create_subtask(stored.task_id, "to-roman", "again") == stored.subtask_id
        with pytest.raises(InputError, match=r"another step 1: its file_path is 'file_1\.py'"):
            ledger.create_step(
                stored.project_id, stored.subtask_id, 1, "test", "TaraAider", file_path="other.py"
            )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"step_number": 0}, "step_number counts from 1"),
        ({"step_type": "tests"}, "step_type must be one of implementation, test"),
        ({"status": "done"}, "status must be one of pending, in_progress"),
        ({"context_files": "a.py"}, "context_files is a list"),
        ({"colour": "green"}, "a step has no colour; what can be set:"),
    ],
)
def test_a_step_that_cannot_be_is_refused_with_a_reason(stored, changes, message):
    step = {
        "project_id": stored.project_id,
        "subtask_id": stored.subtask_id,
        "step_number": 9,
        "step_type": "test",
        "assigned_to": "TaraAider",
        **changes,
    }
    with stored.database.transaction() as ledger, pytest.raises(InputError, match=message):
        ledger.create_step(**step)


@pytest.mark.parametrize(
    ("column", "value", "error"),
    [
        ("step_number", "0", psycopg.errors.CheckViolation),
        ("step_number", "1", psycopg.errors.UniqueViolation),
        ("context_files", "'{}'::jsonb", psycopg.errors.CheckViolation),
        ("context_files", "'\"a.py\"'::jsonb", psycopg.errors.CheckViolation),
        ("step_type", "'refactoring'", psycopg.errors.InvalidTextRepresentation),
        ("status", "'done'", psycopg.errors.InvalidTextRepresentation),
        ("subtask_id", "0", psycopg.errors.ForeignKeyViolation),
        ("project_id", "0", psycopg.errors.ForeignKeyViolation),
        ("parent_step_id", "0", psycopg.errors.ForeignKeyViolation),
        ("assigned_to", "NULL", psycopg.errors.NotNullViolation),
    ],
)
def test_the_table_of_steps_holds_raw_sql_to_its_rules(stored, column, value, error):
    values = {
        "project_id": str(stored.project_id),
        "subtask_id": str(stored.subtask_id),
        "step_number": "7",
        "step_type": "'test'",
        "status": "'pending'",
        "assigned_to": "'TaraAider'",
        "context_files": "'[]'::jsonb",
        column: value,
    }
    statement = f"INSERT INTO steps ({', '.join(values)}) VALUES ({', '.join(values.values())})"
    with stored.database.get_connection() as connection, pytest.raises(error):
        connection.execute(statement)


def test_a_steps_identity_is_immutable(stored):
    for name in ("id", "created_at", "project_id", "subtask_id", "step_number"):
        with (
            stored.database.transaction() as ledger,
            pytest.raises(ImmutableFieldError, match=name),
        ):
            ledger.update_step(stored.steps[0], **{name: 1})


def test_a_step_is_changed_and_its_status_goes_through_the_state_machine(stored):
    with stored.database.transaction() as ledger:
        row = ledger.update_step(stored.steps[0], instructions="better", status="in_progress")
        assert (row["instructions"], row["status"]) == ("better", "in_progress")
        assert row["updated_at"] > row["created_at"]
        assert [s["id"] for s in ledger.get_steps_by_status("in_progress")] == [stored.steps[0]]
        waiting = ledger.get_steps_by_status("pending", stored.project_id)
        assert [s["id"] for s in waiting] == [stored.steps[1]]
        assert ledger.get_steps_by_status("pending", stored.project_id + 1) == []
    with stored.database.transaction() as ledger, pytest.raises(IllegalTransition):
        ledger.update_step(stored.steps[1], status="completed")
    with stored.database.transaction() as ledger, pytest.raises(NotInLedgerError):
        ledger.update_step(0, instructions="?")


def test_a_subtask_knows_when_it_was_completed(stored):
    def completed_at():
        return rows(stored.database, "SELECT completed_at FROM subtasks")[0]["completed_at"]

    def move(*statuses):
        with stored.database.transaction() as ledger:
            for status in statuses:
                ledger.update_plan_status("subtask", stored.subtask_id, status)

    move("in_progress", "completed")
    assert completed_at() is not None
    move("pending")
    assert completed_at() is None
    with stored.database.transaction() as ledger, pytest.raises(InputError, match="level must be"):
        ledger.update_plan_status("step", stored.steps[0], "in_progress")


# --- what goes with what -------------------------------------------------------------------------


def fill(stored) -> None:
    """Leave rows in every table that hangs on a project."""
    attempt = stored.begin(0, fingerprint="f")
    stored.finish(attempt, "failure", failure_class="not_red", signature="s", error="e")
    with stored.database.transaction() as ledger:
        ledger.enter_stage("unit_testing", ws_id=stored.ws_id)
        ledger.enter_stage("analysis", feature_id=stored.feature_id)
        ledger.record_verification(
            stored.run_id,
            kind="full",
            tree="t",
            command_hash="c",
            report_state="ok",
            attempt_id=attempt["id"],
        )
        ledger.record_delivery(stored.run_id, mode="branch", target_branch="main", commit_sha="c")
        phase = ledger.start_phase(stored.run_id, "analysis")
        invocation = ledger.record_invocation(
            phase_result_id=phase, agent_type="coder", attempt_id=attempt["id"]
        )
        ledger.record_agent_steps(invocation, [{"step_number": 0}])
        ledger.record_tool_calls(invocation, [{"tool_call_id": "1", "tool_name": "edit"}])
        ledger.create_snapshot(ledger.create_sandbox(stored.run_id, source_type="git"))


def test_a_deleted_project_takes_all_of_its_own_and_leaves_the_events(stored):
    fill(stored)
    events = len(rows(stored.database, "SELECT 1 FROM events"))
    with stored.database.get_connection() as connection:
        connection.execute("DELETE FROM projects WHERE id = %s", (stored.project_id,))
    kept = {"events", "schema_meta", "legal_transitions", "alembic_version"}
    for table in rows(
        stored.database,
        "SELECT schemaname || '.' || tablename AS name, tablename FROM pg_tables"
        " WHERE schemaname IN ('public', 'agent')",
    ):
        if table["tablename"] not in kept:
            assert rows(stored.database, f"SELECT 1 FROM {table['name']}") == [], table["name"]
    assert len(rows(stored.database, "SELECT 1 FROM events")) == events


def test_a_deleted_subtask_takes_its_steps_with_their_attempts(stored):
    fill(stored)
    with stored.database.get_connection() as connection:
        connection.execute("DELETE FROM subtasks WHERE id = %s", (stored.subtask_id,))
    for table in ("steps", "step_attempts", "workstreams", "errors"):
        assert rows(stored.database, f"SELECT 1 FROM {table}") == [], table
    assert len(rows(stored.database, "SELECT 1 FROM runs")) == 1


def test_a_deleted_parent_step_leaves_its_children(stored):
    with stored.database.transaction() as ledger:
        ledger.update_step(stored.steps[1], parent_step_id=stored.steps[0])
    with stored.database.get_connection() as connection:
        connection.execute("DELETE FROM steps WHERE id = %s", (stored.steps[0],))
    (left,) = rows(stored.database, "SELECT id, parent_step_id FROM steps")
    assert left == {"id": stored.steps[1], "parent_step_id": None}


def test_a_run_of_nothing_is_an_error_of_the_caller(database):
    with pytest.raises(IntegrityError), database.transaction() as ledger:
        ledger.create_workstream("nowhere", "nowhere/x")


# --- leases --------------------------------------------------------------------------------------


def test_a_run_is_carried_by_one_owner_at_a_time(stored):
    def ask(owner, **given):
        with stored.database.transaction() as ledger:
            return ledger.acquire_lease(stored.run_id, owner, **given)

    assert ask("a")
    assert ask("a", seconds=60), "asking again renews"
    assert not ask("b")
    with stored.database.get_connection() as connection:
        connection.execute("UPDATE runs SET lease_expires_at = now() - interval '1 second'")
    assert ask("b"), "a lease that ran out is anybody's"
    assert not ask("a")
    assert ask("c", instead_of="b"), "a dead owner's lease need not run out"
    with stored.database.transaction() as ledger:
        assert not ledger.release_lease(stored.run_id, "b")
        assert ledger.release_lease(stored.run_id, "c")
        assert ledger.get_run(stored.run_id)["lease_owner"] is None
        with pytest.raises(NotInLedgerError):
            ledger.acquire_lease("nowhere", "a")


# --- reading -------------------------------------------------------------------------------------


def test_counts_by_status(stored, store_run):
    other = store_run("/srv/other")
    with stored.database.transaction() as ledger:
        ledger.update_run_status(other.run_id, "running")
        counts = ledger.counts_by_status()
    assert counts == {
        "runs": {"pending": 1, "running": 1},
        "workstreams": {"pending": 2},
        "steps": {"pending": 4},
        "attempts": {},
    }


def test_runs_are_listed_latest_first_for_a_project_or_for_all(stored, store_run):
    other = store_run("/srv/other")
    later = store_run()
    stored.finish(stored.begin(), "success")
    with stored.database.transaction() as ledger:
        everything = ledger.list_runs()
        own = ledger.list_runs(stored.project_id)
        assert [run["run_id"] for run in ledger.list_runs(limit=1)] == [later.run_id]
    assert [run["run_id"] for run in everything] == [later.run_id, other.run_id, stored.run_id]
    assert [run["run_id"] for run in own] == [later.run_id, stored.run_id]
    assert (own[1]["steps"], own[1]["steps_completed"], own[1]["attempts"]) == (2, 1, 1)
    assert (own[1]["project"], own[1]["feature"]) == ("roman", "Roman numerals")
    assert own[1]["branch"] == "greenline/x"
    assert (own[0]["workstreams"], own[0]["workstreams_done"]) == (1, 0)


def test_steps_are_listed_in_plan_order_with_their_attempts(stored):
    stored.finish(stored.begin(0), "failure", failure_class="not_red")
    stored.finish(stored.begin(0), "success", commit_sha_after="b" * 40, exit_code=0)
    with stored.database.transaction() as ledger:
        steps = ledger.list_steps(stored.run_id)
        assert ledger.list_steps("nowhere") == []
        assert ledger.step_ids(stored.run_id) == {
            ("to-roman", 1): stored.steps[0],
            ("to-roman", 2): stored.steps[1],
        }
    assert [step["step_id"] for step in steps] == list(stored.steps)
    assert [step["status"] for step in steps] == ["completed", "pending"]
    tries = steps[0]["attempts"]
    assert [(a["number"], a["attempt_no"], a["status"]) for a in tries] == [
        (1, 1, "failure"),
        (2, 2, "success"),
    ]
    assert tries[0]["failure_class"] == "not_red"
    assert tries[1]["commit_sha_after"] == "b" * 40
    assert steps[1]["attempts"] == []
