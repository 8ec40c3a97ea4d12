"""What agents are told in a run: the tests that failed, what the run remembers, within the budget."""

from __future__ import annotations

from tests.acceptance.scripted import SUB, TEST_SUB, Project, attempts, step, subtask

WRONG = SUB.replace("a - b", "a + b")


def prompts(greenline, document, ws):
    """The prompts of a workstream's attempts, in their order."""
    rows = greenline.sql(
        "SELECT i.input_messages FROM agent.agent_invocations i "
        "JOIN step_attempts a ON a.id = i.attempt_id "
        f"WHERE a.ws_id = '{document['run_id']}/{ws}' ORDER BY a.number"
    )
    return [messages[0]["content"] for (messages,) in rows]


def memories(greenline, document):
    """What a run remembers, as (kind, phase, content)."""
    return greenline.sql(
        "SELECT kind::text, phase::text, content FROM agent.memory_records "
        f"WHERE run_id = '{document['run_id']}' ORDER BY created_at, content"
    )


def events(greenline, document, event_type):
    rows = greenline.sql(
        "SELECT payload_json FROM events "
        f"WHERE run_id = '{document['run_id']}' AND event_type = '{event_type}' ORDER BY id"
    )
    return [payload for (payload,) in rows]


def test_a_try_hears_of_the_tests_and_a_later_step_of_what_was_learnt(greenline, tmp_path):
    project = Project(greenline, tmp_path)
    right = f"append({SUB!r} if attempt > 1 else {WRONG!r})"
    later = subtask(
        "later", step("implementation", "later.py", "write('x = 1\\n')"), depends_on=["sub"]
    )
    first = subtask(
        "sub",
        step("test", "tests/test_sub.py", f"write({TEST_SUB!r})"),
        step("implementation", "calc.py", right, context_files=["tests/test_sub.py"]),
    )
    document = project.run(first, later)
    _, failed, again = prompts(greenline, document, "sub")
    assert "attempt before" not in failed
    assert "constraint: Tests are run with `env " in failed
    section = again.partition("## The attempt before failed: not_green")[2].partition("\n## ")[0]
    assert "test_sub" in section
    assert "assert 4 == 2" in section, "the test's own message"
    (heard,) = prompts(greenline, document, "later")
    assert "insight: sub, step 2 (implementation of calc.py): done by attempt 3 after 1" in heard
    kinds = [(kind, phase) for kind, phase, _ in memories(greenline, document)]
    assert kinds == [
        ("constraint", "analysis"),
        ("failure", "implementation"),
        ("insight", "implementation"),
    ]
    started = events(greenline, document, "context_build_started")
    completed = events(greenline, document, "context_build_completed")
    assert [each["attempt"] for each in started] == [each["attempt"] for each in completed]
    assert len(started) == 4
    assert completed[2]["tokens"]["failure"] > 20
    assert completed[2]["left_out"] == []
    assert 200 < completed[2]["total"] < completed[2]["budget"] == 100_000


def test_instructions_that_are_too_long_fail_before_any_agent_is_started(greenline, tmp_path):
    project = Project(greenline, tmp_path, rest="[limits]\ncontext_tokens = 2000\n")
    long = step("implementation", "calc.py", f"append({SUB!r})")
    long["instructions"] = "Do it well. " * 3_000 + "\n" + long["instructions"]
    document = project.run(subtask("long", long), ok=(1,))
    assert set(attempts(document)) == {("implementation", "failure", "context_overflow")}
    assert prompts(greenline, document, "long") == []
    (reason, *_) = [
        each["overflow"] for each in events(greenline, document, "context_build_completed")
    ]
    assert "of them the instructions, and limits.context_tokens is 2,000" in reason


def test_what_a_person_decided_is_known_after_a_resume_and_to_a_run_that_goes_on(
    greenline, tmp_path
):
    project = Project(greenline, tmp_path, rest="[limits]\non_stuck = 'ask'\nattempts = 1\n")
    stuck = subtask("stuck", step("implementation", "calc.py", "None"))
    later = subtask(
        "later",
        step("implementation", "later.py", "write('x = 1\\n')"),
        step("implementation", "end.py", "None"),
        depends_on=["stuck"],
    )
    document = project.run(stuck, later, ok=(3,))
    cta = document["pending_cta"]["id"]
    greenline.json("answer", cta, "skip", "--reason", "not needed any more")
    document = greenline.json("resume", document["run_id"], ok=(3,))
    said = "decision: stuck, step 1 (implementation of calc.py): a person had it skipped"
    assert said in prompts(greenline, document, "later")[0]
    greenline("abandon", document["run_id"])
    going_on = project.run(stuck, later, words=("--from", document["run_id"]), ok=(1, 3))
    assert said in prompts(greenline, going_on, "later")[0]
