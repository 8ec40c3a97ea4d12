"""Verifications with their tests, deliveries, phases, stages and what agents did."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest

from storage.exceptions import InputError
from storage.states import IllegalTransition
from storage.transitions import NotInLedgerError


@dataclass(frozen=True)
class Case:
    """The outcome of a test, as a reader of reports has it."""

    node_id: str
    outcome: str = "passed"
    file_path: str | None = "tests/test_x.py"
    duration_ms: int | None = 1
    message: str | None = None


def rows(database, query, *parameters):
    with database.get_connection() as connection:
        return connection.execute(query, parameters).fetchall()


def verify(stored, *cases, kind="full", tree="t", attempt=None, **given):
    with stored.database.transaction() as ledger:
        return ledger.record_verification(
            stored.run_id,
            kind=kind,
            tree=tree,
            command_hash="c",
            report_state="ok",
            attempt_id=attempt and attempt["id"],
            results=cases,
            **given,
        )


def last(stored) -> dict[str, str]:
    with stored.database.transaction() as ledger:
        return {row["node_id"]: row["outcome"] for row in ledger.last_outcomes(stored.run_id)}


def test_a_verification_is_kept_with_each_test(stored):
    made = verify(
        stored,
        Case("b::x[\x00]", "failed", message="a\x00b"),
        Case("a", "skipped", file_path=None, duration_ms=None),
        exit_code=1,
        passed=0,
        failed=1,
        duration_ms=77,
    )
    with stored.database.transaction() as ledger:
        found = ledger.find_verification(stored.run_id, "t", "c")
        results = ledger.results_of(made)
        assert ledger.find_verification(stored.run_id, "other") is None
        assert ledger.find_verification(stored.run_id, kind="baseline") is None
    assert found["id"] == made
    assert (found["exit_code"], found["failed"], found["passed"]) == (1, 1, 0)
    assert found["errored"] is None, "not measured is not zero"
    assert results == [
        {
            "node_id": "b::x[\ufffd]",
            "file_path": "tests/test_x.py",
            "outcome": "failed",
            "duration_ms": 1,
            "message": "a\ufffdb",
        },
        {
            "node_id": "a",
            "file_path": None,
            "outcome": "skipped",
            "duration_ms": None,
            "message": None,
        },
    ]


def test_the_same_execution_is_recorded_once(stored):
    (now,) = rows(stored.database, "SELECT now() AS now")
    first = verify(stored, Case("a"), started_at=now["now"])
    assert verify(stored, Case("a"), started_at=now["now"]) == first
    assert verify(stored, Case("a")) != first, "the suite may be run on a tree twice"
    assert len(rows(stored.database, "SELECT 1 FROM test_results")) == 2


def test_an_outcome_that_does_not_exist_is_refused(stored):
    with pytest.raises(Exception, match="test_results_outcome_check"):
        verify(stored, Case("a", "maybe"))
    assert rows(stored.database, "SELECT 1 FROM verifications") == []


def test_the_last_word_on_a_test_is_that_of_the_line(stored):
    """Baseline first, then what active successes observed; failures and rollbacks don't count."""
    verify(stored, Case("old"), Case("both", "failed"), Case("gone"), kind="baseline")
    assert last(stored) == {"old": "passed", "both": "failed", "gone": "passed"}
    good = stored.begin(0)
    verify(stored, Case("both"), Case("new", "failed"), attempt=good)
    assert last(stored)["both"] == "failed", "it is not over yet"
    stored.finish(good, "success")
    bad = stored.begin(1)
    verify(stored, Case("old", "failed"), attempt=bad)
    stored.finish(bad, "failure")
    verify(stored, Case("old", "errored"), kind="delivery")
    assert last(stored) == {"old": "passed", "both": "passed", "new": "failed", "gone": "passed"}
    with stored.database.transaction() as ledger:
        assert {r["node_id"] for r in ledger.results_of_attempt(good["id"])} == {"both", "new"}
        ledger.deactivate_attempts(stored.run_id, good["number"])
        assert ledger.results_of_attempt(0) == []
    assert last(stored) == {"old": "passed", "both": "failed", "gone": "passed"}


def test_a_suite_of_three_thousand_tests_is_recorded_at_once(stored):
    """One COPY, no statement per test: tens of milliseconds."""
    cases = [Case(f"tests/test_{n % 50}.py::test_{n}") for n in range(3000)]
    start = time.perf_counter()
    verify(stored, *cases, kind="baseline")
    elapsed = time.perf_counter() - start
    assert len(last(stored)) == 3000
    assert elapsed < 1.0


def test_a_test_id_of_any_length_is_kept(stored):
    long = "test[" + "".join(chr(0x4E00 + n % 20000) for n in range(10_000)) + "]"
    verify(stored, Case(long), kind="baseline")
    assert last(stored) == {long: "passed"}


def test_a_delivery_is_recorded_once(stored):
    def deliver(**given):
        with stored.database.transaction() as ledger:
            return ledger.record_delivery(
                stored.run_id, mode="branch", target_branch="main", commit_sha="c", **given
            )

    first = deliver(lines_added=3, lines_deleted=1)
    assert deliver(lines_added=3, lines_deleted=1) == first
    with stored.database.transaction() as ledger:
        found = ledger.get_delivery(stored.run_id)
        assert ledger.get_delivery("nowhere") is None
    assert (found["lines_added"], found["accepted"], found["reverted_at"]) == (3, None, None)
    told = rows(stored.database, "SELECT 1 FROM events WHERE event_type = 'delivered'")
    assert len(told) == 1


# --- phases and stages ---------------------------------------------------------------------------


def test_a_feature_run_has_its_runs_uuid(stored):
    found = rows(stored.database, "SELECT id::text, run_id FROM agent.feature_runs")
    assert found == [{"id": stored.run_id, "run_id": stored.run_id}]
    with stored.database.transaction() as ledger:
        assert ledger.create_feature_run(stored.run_id, prompt="again") == stored.run_id
        ledger.create_run(run_id="not-a-uuid")
        with pytest.raises(InputError, match="has a UUID"):
            ledger.create_feature_run("not-a-uuid", prompt="x")
    assert len(rows(stored.database, "SELECT 1 FROM agent.feature_runs")) == 1


def test_a_feature_goes_through_its_phases_in_order(stored):
    phases = ["analysis", "approaches", "judging", "implementation", "pr"]
    for phase in phases:
        with stored.database.transaction() as ledger:
            ledger.set_feature_phase(stored.run_id, phase)
            result = ledger.start_phase(stored.run_id, phase)
            assert ledger.start_phase(stored.run_id, phase) == result, "one under way is taken up"
            ledger.finish_phase(result, "passed", {"phase": phase})
    with stored.database.transaction() as ledger:
        assert ledger.set_feature_phase(stored.run_id, "completed")
        assert not ledger.set_feature_phase(stored.run_id, "completed")
        assert ledger.get_feature_phase(stored.run_id) == "completed"
        with pytest.raises(IllegalTransition, match="'completed' is final"):
            ledger.set_feature_phase(stored.run_id, "analysis")
    found = rows(
        stored.database,
        "SELECT phase::text, status::text, output, completed_at FROM agent.phase_results"
        " ORDER BY started_at",
    )
    assert [row["phase"] for row in found] == phases
    assert {row["status"] for row in found} == {"passed"}
    assert all(row["completed_at"] and row["output"] for row in found)


def test_a_phase_cannot_be_jumped(stored):
    with stored.database.transaction() as ledger, pytest.raises(IllegalTransition):
        ledger.set_feature_phase(stored.run_id, "implementation")


def test_stages_of_a_workstream_come_in_their_order(stored):
    with stored.database.transaction() as ledger:
        assert ledger.current_stage(stored.ws_id) is None
        first = ledger.enter_stage("unit_testing", ws_id=stored.ws_id, assigned_agent="TaraAider")
        assert ledger.enter_stage("unit_testing", ws_id=stored.ws_id) == first
        ledger.enter_stage("unit_implementation", ws_id=stored.ws_id)
        ledger.enter_stage("review", ws_id=stored.ws_id)
        ledger.enter_stage("unit_implementation", ws_id=stored.ws_id)
        ledger.enter_stage("review", ws_id=stored.ws_id)
        assert ledger.finish_stage(ws_id=stored.ws_id)
        assert not ledger.finish_stage(ws_id=stored.ws_id)
        ledger.enter_stage("completed", ws_id=stored.ws_id)
        assert ledger.current_stage(stored.ws_id) == "completed"
    found = rows(
        stored.database,
        "SELECT work_stage::text AS stage, task_id, completed_at, assigned_agent FROM work_stages"
        " ORDER BY id",
    )
    assert [row["stage"] for row in found] == [
        "unit_testing",
        "unit_implementation",
        "review",
        "unit_implementation",
        "review",
        "completed",
    ]
    assert all(row["completed_at"] for row in found)
    assert {row["task_id"] for row in found} == {stored.task_id}
    assert found[0]["assigned_agent"] == "TaraAider"


def test_a_stage_out_of_order_is_refused_and_told(stored):
    with stored.database.transaction() as ledger:
        ledger.enter_stage("unit_implementation", ws_id=stored.ws_id)
    refused = pytest.raises(IllegalTransition, match="integration_testing, review")
    with stored.database.transaction() as ledger, refused:
        ledger.enter_stage("unit_testing", ws_id=stored.ws_id)
    (event,) = rows(
        stored.database,
        "SELECT run_id, ws_id, payload_json FROM events WHERE event_type = 'transition_refused'",
    )
    assert (event["run_id"], event["ws_id"]) == (stored.run_id, stored.ws_id)
    assert event["payload_json"]["entity"] == "work_stage"


def test_a_feature_as_a_whole_may_leave_stages_out_but_never_goes_back(stored):
    """The stages between are those of its workstreams; the order holds per workstream."""
    with stored.database.transaction() as ledger:
        ledger.enter_stage("analysis", feature_id=stored.feature_id)
        ledger.enter_stage("unit_testing", ws_id=stored.ws_id, feature_id=stored.feature_id)
        ledger.enter_stage("completed", feature_id=stored.feature_id)
        assert ledger.current_stage(feature_id=stored.feature_id) == "completed"
        assert ledger.current_stage(stored.ws_id) == "unit_testing"
        with pytest.raises(IllegalTransition):
            ledger.enter_stage("review", feature_id=stored.feature_id)


def test_a_stage_belongs_to_something_that_is_there(stored):
    with stored.database.transaction() as ledger:
        with pytest.raises(InputError, match="neither was given"):
            ledger.enter_stage("analysis")
        with pytest.raises(NotInLedgerError):
            ledger.enter_stage("analysis", ws_id="nowhere")
        with pytest.raises(NotInLedgerError):
            ledger.enter_stage("analysis", feature_id=0)
        ledger.create_workstream(stored.run_id, f"{stored.run_id}/bare")
        with pytest.raises(InputError, match="has no subtask"):
            ledger.enter_stage("analysis", ws_id=f"{stored.run_id}/bare")
        with pytest.raises(InputError, match="stage must be one of pending"):
            ledger.enter_stage("thinking", ws_id=stored.ws_id)


# --- agents --------------------------------------------------------------------------------------


def test_a_sandbox_lives_and_its_times_are_noted(stored):
    with stored.database.transaction() as ledger:
        sandbox = ledger.create_sandbox(
            stored.run_id, source_type="git", source_url="/srv/roman", source_revision="a" * 40
        )
        assert ledger.current_sandbox(stored.run_id) == sandbox
    for status in ("running", "snapshotting", "running", "stopping", "stopped"):
        with stored.database.transaction() as ledger:
            if status == "snapshotting":
                snapshot = ledger.create_snapshot(sandbox, size_bytes=5_000_000_000)
            ledger.update_sandbox_status(sandbox, status)
    (row,) = rows(stored.database, "SELECT * FROM agent.sandboxes")
    assert row["status"] == "stopped"
    order = ("started_at", "snapshotted_at", "requested_stop_at", "stopped_at")
    assert sorted(order, key=lambda name: row[name]) == list(order)
    assert row["aborted_at"] is None
    milliseconds = (row["stopped_at"] - row["started_at"]).total_seconds() * 1000
    assert abs(row["duration"] - milliseconds) <= 1
    with stored.database.transaction() as ledger:
        assert ledger.update_snapshot_status(snapshot, "deleted") == "created"
        with pytest.raises(InputError, match="source_type must be one of"):
            ledger.create_sandbox(stored.run_id, source_type="cvs")


def test_a_sandbox_that_never_started_has_no_duration(stored):
    with stored.database.transaction() as ledger:
        sandbox = ledger.create_sandbox(stored.run_id, source_type="empty")
        ledger.update_sandbox_status(sandbox, "failed")
    (row,) = rows(stored.database, "SELECT duration, started_at FROM agent.sandboxes")
    assert row == {"duration": None, "started_at": None}


def test_an_invocation_is_kept_with_its_requests_and_tool_calls_each_once(stored):
    attempt = stored.begin()
    with stored.database.transaction() as ledger:
        phase = ledger.start_phase(stored.run_id, "implementation")
        fields = {
            "phase_result_id": phase,
            "attempt_id": attempt["id"],
            "agent_type": "coder",
            "model_id": "m",
            "finish_reason": "tool-calls",
            "output_text": "done\x00",
            "input_tokens": 10,
            "cost_reported": 0.0123,
            "input_messages": [{"role": "user"}],
        }
        invocation = ledger.record_invocation(**fields)
        assert ledger.record_invocation(id=invocation, **fields) == invocation
        for _ in range(2):
            steps = ledger.record_agent_steps(invocation, [{"step_number": 0}, {"step_number": 1}])
            calls = [
                {
                    "tool_call_id": "t1",
                    "tool_name": "edit",
                    "step_id": steps[1],
                    "output_type": "text",
                }
            ]
            assert ledger.record_tool_calls(invocation, calls) == 1
        with pytest.raises(InputError, match="agent_type must be one of"):
            ledger.record_invocation(**{**fields, "agent_type": "poet"})
        with pytest.raises(InputError, match="finish_reason must be one of"):
            ledger.record_invocation(**{**fields, "finish_reason": "bored"})
        with pytest.raises(InputError, match="output_type must be one of"):
            ledger.record_tool_calls(invocation, [{**calls[0], "output_type": "smell"}])
        with pytest.raises(InputError, match="agent_invocations has no mood"):
            ledger.record_invocation(**fields, mood="good")
    (row,) = rows(stored.database, "SELECT * FROM agent.agent_invocations")
    assert (row["input_tokens"], row["output_tokens"]) == (10, None)
    assert float(row["cost_reported"]) == pytest.approx(0.0123)
    assert row["cost_computed"] is None
    assert row["output_text"] == "done\ufffd"
    assert row["output_content"] is None
    assert len(rows(stored.database, "SELECT 1 FROM agent.agent_steps")) == 2
    assert len(rows(stored.database, "SELECT 1 FROM agent.tool_calls")) == 1


def test_what_is_not_known_is_null_not_a_json_null(stored):
    """`IS NULL` is how people ask for what is unknown."""
    with stored.database.transaction() as ledger:
        ledger.record_event(stored.run_id, None, "bare")
        ledger.create_step(
            stored.project_id, stored.subtask_id, 3, "test", "TaraAider", context_snapshot=None
        )
    found = rows(stored.database, "SELECT 1 FROM events WHERE payload_json IS NULL")
    assert len(found) == 1
    found = rows(stored.database, "SELECT 1 FROM steps WHERE context_snapshot IS NULL")
    assert len(found) == 3
