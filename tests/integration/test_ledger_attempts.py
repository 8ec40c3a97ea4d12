"""Attempts: numbers, parents, beginning and ending them, taking them back."""

from __future__ import annotations

import datetime as dt
import threading

import pytest

from storage.exceptions import InputError
from storage.states import IllegalTransition
from storage.transitions import NotInLedgerError, StateConflict


def rows(database, query, *parameters):
    with database.get_connection() as connection:
        return connection.execute(query, parameters).fetchall()


def test_an_attempt_is_begun_with_all_that_it_starts_from(stored):
    attempt = stored.begin(0, fingerprint="f", agent_config={"adapter": "command", "model": None})
    assert (attempt["number"], attempt["attempt_no"]) == (1, 1)
    assert attempt["status"] == "in_progress"
    assert attempt["step_name"] == "1:test:file_1.py"
    assert attempt["active"]
    assert attempt["parent_attempt_id"] is None
    assert attempt["agent_config"] == {"adapter": "command", "model": None}
    with stored.database.transaction() as ledger:
        step = ledger.get_step(stored.steps[0])
        assert [a["id"] for a in ledger.open_attempts(stored.run_id)] == [attempt["id"]]
    assert (step["status"], step["attempt_count"]) == ("in_progress", 1)
    told = rows(stored.database, "SELECT event_type, ws_id, payload_json FROM events ORDER BY id")
    assert [row["event_type"] for row in told[1:]] == ["step_status_changed", "attempt_started"]
    assert told[2]["ws_id"] == stored.ws_id
    assert told[2]["payload_json"] == {
        "id": attempt["id"],
        "number": 1,
        "attempt_no": 1,
        "step_id": stored.steps[0],
    }


def test_success_completes_the_step(stored):
    attempt = stored.begin()
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "cost": None}
    done = stored.finish(
        attempt,
        "success",
        commit_sha_after="b" * 40,
        exit_code=0,
        duration_ms=1234,
        token_usage=usage,
        result={"tree": "t"},
    )
    assert done["status"] == "success"
    assert done["commit_sha_after"] == "b" * 40
    assert (done["exit_code"], done["duration_ms"], done["token_usage"]) == (0, 1234, usage)
    assert done["completed_at"] > done["started_at"]
    assert done["result_json"] == {"tree": "t"}
    assert done["failure_class"] is None
    with stored.database.transaction() as ledger:
        assert ledger.get_step(stored.steps[0])["status"] == "completed"


def test_failure_fails_the_step_records_the_error_and_leaves_a_retry(stored):
    for expected in (1, 2):
        failed = stored.finish(
            stored.begin(),
            "failure",
            failure_class="not_red",
            error="no test is red",
            signature="no red",
        )
        assert failed["attempt_no"] == expected
        assert failed["result_json"] == {"error": "no test is red", "signature": "no red"}
    with stored.database.transaction() as ledger:
        step = ledger.get_step(stored.steps[0])
        failures = ledger.failures_of_step(stored.steps[0])
    assert (step["status"], step["attempt_count"]) == ("failed", 2)
    assert step["last_error"] == "no test is red"
    assert [(f["failure_class"], f["signature"], f["message"]) for f in failures] == [
        ("not_red", "no red", "no test is red")
    ] * 2
    (error,) = rows(stored.database, "SELECT * FROM errors")
    assert (error["error_code"], error["count"]) == ("not_red", 2)
    assert error["step_name"] == "1:test:file_1.py"
    stored.finish(stored.begin(), "success")
    with stored.database.transaction() as ledger:
        assert ledger.get_step(stored.steps[0])["last_error"] is None


def test_a_failure_that_nobody_could_explain_is_unknown(stored):
    assert stored.finish(stored.begin(), "failure")["failure_class"] == "unknown"


def test_only_failures_have_a_known_class(stored):
    attempt = stored.begin()
    with pytest.raises(InputError, match="failure_class must be one of agent_error"):
        stored.finish(attempt, "failure", failure_class="bad luck")
    with pytest.raises(InputError, match="only a failure has a failure_class"):
        stored.finish(attempt, "success", failure_class="flaky")
    with pytest.raises(InputError, match="status must be one of"):
        stored.finish(attempt, "completed")


def test_a_skipped_attempt_completes_its_step(stored):
    attempt = stored.finish(stored.begin(), "skipped", result={"reason": "done before"})
    assert attempt["status"] == "skipped"
    with stored.database.transaction() as ledger:
        assert ledger.get_step(stored.steps[0])["status"] == "completed"


def test_finishing_twice_in_the_same_way_changes_nothing(stored):
    attempt = stored.begin()
    first = stored.finish(attempt, "failure", failure_class="infra", signature="s", error="e")
    again = stored.finish(attempt, "failure", failure_class="infra", signature="s", error="e")
    assert again == first
    assert rows(stored.database, "SELECT count FROM errors") == [{"count": 1}]
    told = rows(stored.database, "SELECT 1 FROM events WHERE event_type = 'attempt_status_changed'")
    assert len(told) == 1


def test_finishing_in_another_way_is_refused(stored):
    attempt = stored.begin()
    stored.finish(attempt, "success", commit_sha_after="b" * 40)
    with pytest.raises(IllegalTransition):
        stored.finish(attempt, "failure")
    with pytest.raises(StateConflict, match="success with commit bbb"):
        stored.finish(attempt, "success", commit_sha_after="c" * 40)
    with pytest.raises(NotInLedgerError), stored.database.transaction() as ledger:
        ledger.finish_attempt(0, "success")


def test_beginning_again_with_its_number_returns_the_attempt(stored):
    """A retried task that did not hear back begins nothing new."""
    attempt = stored.begin(0, attempt_no=1)
    assert stored.begin(0, attempt_no=1) == attempt
    with stored.database.transaction() as ledger:
        assert ledger.get_step(stored.steps[0])["attempt_count"] == 1


def test_a_step_in_progress_is_not_begun_again(stored):
    stored.begin()
    with pytest.raises(IllegalTransition, match="'in_progress' -> 'in_progress'"):
        stored.begin()
    assert len(rows(stored.database, "SELECT 1 FROM step_attempts")) == 1
    assert rows(stored.database, "SELECT last_attempt_number AS n FROM projects") == [{"n": 1}]


def test_numbers_are_one_to_n_under_concurrency(store_run):
    """Numbers are per project, without holes, never twice, whoever begins at once."""
    runs = [store_run(steps=10) for _ in range(8)]
    barrier, failures = threading.Barrier(8), []

    def work(run) -> None:
        barrier.wait()
        try:
            for place in range(10):
                run.finish(run.begin(place), "success")
        except Exception as error:  # noqa: BLE001  told in the main thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    found = rows(runs[0].database, "SELECT number, run_id FROM step_attempts ORDER BY number")
    assert [row["number"] for row in found] == list(range(1, 81))


def test_each_project_counts_for_itself_and_a_lost_transaction_takes_no_number(store_run):
    one, two = store_run("/srv/one"), store_run("/srv/two")

    def lose() -> None:
        with one.database.transaction() as ledger:
            ledger.begin_attempt(
                one.run_id, one.ws_id, one.steps[0], commit_sha_before="a", agent_config={}
            )
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        lose()
    assert [one.begin(0)["number"], one.begin(1)["number"]] == [1, 2]
    assert two.begin(0)["number"] == 1


def test_the_parent_is_the_latest_active_attempt_of_the_line(store_run):
    """Of the run's own attempts when it has some: runs side by side do not mix."""
    one = store_run(steps=3)
    first = one.finish(one.begin(0), "success")
    other = store_run()
    assert other.begin(0)["parent_attempt_id"] == first["id"]
    second = one.finish(one.begin(1), "success")
    assert second["parent_attempt_id"] == first["id"]
    with one.database.transaction() as ledger:
        ledger.deactivate_attempts(one.run_id, second["number"])
        assert ledger.get_latest_active_attempt(one.project_id, one.run_id)["id"] == first["id"]
        assert ledger.get_latest_active_attempt(one.project_id)["run_id"] == other.run_id
    third = one.begin(1)
    assert third["parent_attempt_id"] == first["id"], "the last surviving one"
    assert third["number"] == 4, "numbers go on counting"


def test_taking_back_makes_attempts_inactive_and_steps_pending(stored):
    first = stored.finish(stored.begin(0), "success")
    stored.finish(stored.begin(1), "failure")
    third = stored.finish(stored.begin(1), "success")
    with stored.database.transaction() as ledger:
        taken = ledger.deactivate_attempts(stored.run_id, first["number"] + 1)
        statuses = [s["status"] for s in ledger.list_steps_by_subtask(stored.subtask_id)]
        assert ledger.deactivate_attempts(stored.run_id, 2) == [], "nothing is left to take back"
        assert ledger.failures_of_step(stored.steps[1]) == []
    assert [row["number"] for row in taken] == [3, 2]
    assert taken[0]["id"] == third["id"]
    assert not any(row["active"] for row in taken)
    assert statuses == ["completed", "pending"]
    (event,) = rows(
        stored.database,
        "SELECT payload_json FROM events WHERE event_type = 'attempts_deactivated'",
    )
    assert event["payload_json"] == {"numbers": [3, 2]}


def test_an_attempt_in_progress_cannot_be_taken_back(stored):
    stored.begin()
    refused = pytest.raises(InputError, match="attempt 1 is in progress")
    with stored.database.transaction() as ledger, refused:
        ledger.deactivate_attempts(stored.run_id, 1)


def test_a_step_that_was_done_is_found_by_fingerprint_and_commit(stored):
    done = stored.finish(stored.begin(0, fingerprint="f"), "success", commit_sha_after="b" * 40)
    stored.finish(stored.begin(1, fingerprint="g"), "failure")

    def find(fingerprint, commit="a" * 40, project=stored.project_id):
        with stored.database.transaction() as ledger:
            return ledger.find_done_step(project, fingerprint, commit)

    assert find("f") == done
    assert find("f", "c" * 40) is None
    assert find("f", project=stored.project_id + 1) is None
    assert find("g") is None
    with stored.database.transaction() as ledger:
        ledger.deactivate_attempts(stored.run_id, done["number"])
    assert find("f") is None, "it was rolled back since"


def test_results_are_added_to(stored):
    attempt = stored.begin()
    with stored.database.transaction() as ledger:
        ledger.set_attempt_result(attempt["id"], {"tree": "t", "note": 1})
        ledger.set_attempt_result(attempt["id"], {"note": 2})
        with pytest.raises(NotInLedgerError):
            ledger.set_attempt_result(0, {})
    done = stored.finish(attempt, "success", result={"old_commit": "o"})
    assert done["result_json"] == {"tree": "t", "note": 2, "old_commit": "o"}


def test_an_attempt_made_elsewhere_is_recorded_once(stored):
    started = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)

    def record(name="edit", **given):
        with stored.database.transaction() as ledger:
            return ledger.record_step_attempt(
                stored.run_id, stored.ws_id, name, "success", {"x": 1}, **given
            )

    first = record(started_at=started, completed_at=started)
    assert record(started_at=started) == first
    assert record(started_at=started + dt.timedelta(seconds=1)) != first
    assert record("static") not in (first, None)
    found = rows(
        stored.database,
        "SELECT number, attempt_no, step_name, result_json FROM step_attempts ORDER BY id",
    )
    assert [(r["number"], r["attempt_no"], r["step_name"]) for r in found] == [
        (1, 1, "edit"),
        (2, 2, "edit"),
        (3, 1, "static"),
    ]
    with stored.database.transaction() as ledger, pytest.raises(NotInLedgerError):
        ledger.record_step_attempt("nowhere", stored.ws_id, "edit", "success")


def test_an_attempt_outside_of_any_project_has_no_number(database):
    with database.transaction() as ledger:
        run_id = ledger.create_run()
        ws_id = ledger.create_workstream(run_id, f"{run_id}/ws")
        ledger.record_step_attempt(run_id, ws_id, "edit", "in_progress")
    (row,) = rows(database, "SELECT number, project_id FROM step_attempts")
    assert row == {"number": None, "project_id": None}


def test_everything_about_an_attempt_by_its_number(stored):
    attempt = stored.begin()
    with stored.database.transaction() as ledger:
        ledger.record_verification(
            stored.run_id,
            kind="full",
            tree="t",
            command_hash="c",
            report_state="ok",
            attempt_id=attempt["id"],
            passed=1,
            failed=1,
            results=[
                Case("a", "passed"),
                Case("b", "failed", message="assert 1 == 2"),
            ],
        )
    stored.finish(attempt, "failure", failure_class="not_green")
    with stored.database.transaction() as ledger:
        found = ledger.get_attempt(stored.project_id, 1)
        assert ledger.get_attempt(stored.project_id, 2) is None
    assert found["failure_class"] == "not_green"
    assert (found["subtask"], found["step_number"]) == ("to-roman", 1)
    assert (found["project"], found["feature"]) == ("roman", "Roman numerals")
    assert found["instructions"] == "do 1"
    (verification,) = found["verifications"]
    assert verification["not_passed"] == [
        {"node_id": "b", "outcome": "failed", "message": "assert 1 == 2"}
    ]


class Case:
    """The outcome of a test, as a reader of reports would have it."""

    def __init__(self, node_id, outcome, message=None):
        self.node_id, self.outcome, self.message = node_id, outcome, message
        self.file_path, self.duration_ms = "test_x.py", 3
