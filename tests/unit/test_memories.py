"""Which memories a step is told, and what binds every step of a run."""

from __future__ import annotations

import datetime as dt

from tasks.config import Settings
from tasks.memories import MOST, chosen, constraints
from tasks.plan import FeaturePlan

NOW = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)


def memory(content, kind="failure"):
    return {"kind": kind, "content": content, "created_at": NOW}


def pick(*memories, **more):
    return chosen(memories, subtask="b", files=("src/b.py", "src/shared.py"), **more)


def test_what_binds_comes_first_then_what_concerns_the_step_then_the_newest():
    memories = [
        memory("x, step 1 (test of x.py): newest"),
        memory("x, step 2 (implementation of x.py): a person had it skipped", "decision"),
        memory("a, step 1 (implementation of a.py): src/shared.py has no such name"),
        memory("b, step 1 (test of tests/b.py): failed"),
        memory("a, step 3 (implementation of src/b.py): failed"),
        memory("Tests are run with `pytest`.", "constraint"),
        memory("y, step 1 (test of y.py): oldest", "insight"),
    ]
    assert [each.partition(": ")[2].split(":")[0] for each in pick(*memories)] == [
        "Tests are run with `pytest`.",
        "a, step 3 (implementation of src/b.py)",
        "b, step 1 (test of tests/b.py)",
        "a, step 1 (implementation of a.py)",
        "x, step 2 (implementation of x.py)",
        "x, step 1 (test of x.py)",
        "y, step 1 (test of y.py)",
    ]


def test_a_prompt_tells_a_bounded_number_and_none_twice():
    many = [memory(f"x, step {n} (test of x.py): failed") for n in range(100)]
    assert pick(*many) == [f"failure: {each['content']}" for each in many[:MOST]]
    assert len(pick(many[0], many[0])) == 1


def test_what_the_prompt_tells_elsewhere_is_not_told_again():
    """The failure of the attempt before has a section of its own."""
    said = "b, step 1 (test of src/b.py): failed with not_red: x"
    assert pick(memory(said), memory(said, "insight"), told=[said]) == [f"insight: {said}"]


def plan(**step):
    base = {"step_type": "test", "assigned_to": "TaraAider", "instructions": "i"}
    steps = [{**base, "file_path": "tests/a.py", **step}]
    subtask = {"key": "a", "title": "A", "steps": steps}
    return FeaturePlan.model_validate(
        {"feature": "F", "tasks": [{"title": "T", "subtasks": [subtask]}]}
    )


def test_constraints_are_what_the_analysis_found_and_the_settings_ask_for():
    settings = Settings.model_validate(
        {"project": {"test": "pytest --junitxml={report}", "lint": ["ruff check {file}"]}}
    )
    failing = [f"t::old_{n:02}" for n in range(12)] + ["t::flaky"]
    facts = {"baseline": {"failing": failing}}
    said = constraints(plan(may_remove_tests=True), settings, facts, {"t::flaky"})
    assert said[:2] == [
        "Tests are run with `pytest --junitxml={report}`.",
        "`ruff check {file}` must accept each file that is edited.",
    ]
    assert said[2].startswith("Failed before anybody edited anything")
    assert said[2].endswith("t::old_09 and 2 more.")
    assert "t::flaky" not in said[2]
    assert said[3:] == [
        "Pass and fail without any change (flaky): t::flaky.",
        "Tests may be removed from these files only: tests/a.py.",
    ]


def test_where_nothing_binds_nothing_is_said():
    assert constraints(plan(), Settings(), {}) == []
