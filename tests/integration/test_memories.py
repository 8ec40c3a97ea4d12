"""What a run remembers: written with what happens, read by later steps and runs."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from storage.exceptions import InputError
from tasks.approvals import stuck_options
from tasks.memories import (
    note_answers,
    note_approval,
    note_failure,
    note_success,
    remember,
)


def a_step(stored, place=0):
    """A step as a run has it, as far as memories look at it."""
    planned = SimpleNamespace(step_type="test", file_path=f"file_{place + 1}.py", context_files=())
    return SimpleNamespace(
        step_id=stored.steps[place],
        ws_id=stored.ws_id,
        subtask=SimpleNamespace(key="to-roman"),
        numbered=SimpleNamespace(number=place + 1, step=planned),
    )


def a_run(stored):
    return SimpleNamespace(run_id=stored.run_id, phase_result_id="")


def fail(stored, message, failure_class="not_red", *, given_up=None):
    attempt = stored.begin()
    signature = f"{failure_class}:{message}"
    with stored.database.transaction() as ledger:
        ledger.finish_attempt(
            attempt["id"],
            "failure",
            failure_class=failure_class,
            error=message,
            signature=signature,
        )
        note_failure(a_run(stored), a_step(stored), ledger, given_up=given_up)


def remembered(stored, run_id=None, **given):
    with stored.database.transaction() as ledger:
        found = ledger.memories_of(run_id or stored.run_id, **given)
    return [(row["kind"], row["content"]) for row in found]


# --- the ledger ----------------------------------------------------------------------------------


def test_a_memory_is_kept_once_with_the_phase_it_came_up_in(stored):
    with stored.database.transaction() as ledger:
        first = remember(ledger, stored.run_id, "insight", "Use a  table.\x00", phase="analysis")
    with stored.database.transaction() as ledger:
        assert remember(ledger, stored.run_id, "insight", "Use a\ntable.\x00") == first
        assert remember(ledger, stored.run_id, "decision", "Use a table.\x00") != first
        (row,) = [row for row in ledger.memories_of(stored.run_id) if row["id"] == first]
    assert (row["phase"], row["content"]) == ("analysis", "Use a table.\ufffd")


@pytest.mark.parametrize(("kind", "content"), [("hunch", "x"), ("insight", " \n")])
def test_a_memory_without_words_or_of_no_known_kind_is_refused(stored, kind, content):
    with pytest.raises(InputError), stored.database.transaction() as ledger:
        remember(ledger, stored.run_id, kind, content)
    assert remembered(stored) == []


def test_lanes_that_remember_the_same_at_once_write_it_once(stored):
    def write():
        with stored.database.transaction() as ledger:
            remember(ledger, stored.run_id, "failure", "the same")

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert remembered(stored) == [("failure", "the same")]


def test_a_run_that_goes_on_from_another_knows_what_that_one_learnt(stored, store_run):
    """All but its constraints, which are those of its own settings; in any number of steps."""
    with stored.database.transaction() as ledger:
        remember(ledger, stored.run_id, "failure", "first")
        remember(ledger, stored.run_id, "constraint", "old rule")
        second = ledger.create_run(metadata={"from_run": stored.run_id})
        ledger.create_feature_run(second, prompt="x")
        third = ledger.create_run(metadata={"from_run": second})
        ledger.create_feature_run(third, prompt="x")
    with stored.database.transaction() as ledger:
        remember(ledger, third, "constraint", "new rule")
    assert remembered(stored, third) == [("constraint", "new rule"), ("failure", "first")]
    other = store_run("/srv/other")
    assert remembered(other) == []


def test_the_newest_come_first_and_what_came_up_later_can_be_left_out(stored):
    for word in ("one", "two", "three"):
        with stored.database.transaction() as ledger:
            remember(ledger, stored.run_id, "insight", word)
    assert [content for _, content in remembered(stored)] == ["three", "two", "one"]
    assert len(remembered(stored, limit=2)) == 2
    with stored.database.transaction() as ledger:
        middle = ledger.memories_of(stored.run_id)[1]["created_at"]
    assert remembered(stored, before=middle) == [("insight", "one")]


def test_a_secret_is_not_remembered(stored):
    from storage.redaction import hide

    hide("correct-horse-battery-staple")
    with stored.database.transaction() as ledger:
        remember(ledger, stored.run_id, "insight", "the key is correct-horse-battery-staple")
    ((_, content),) = remembered(stored)
    assert "battery" not in content


# --- when they are written -----------------------------------------------------------------------


def test_a_failure_is_remembered_when_it_is_a_new_one(stored):
    fail(stored, "assert 1 == 2")
    fail(stored, "assert 1 == 2")
    fail(stored, "no such name")
    fail(stored, "the provider is away", "infra")
    assert [content for _, content in remembered(stored)] == [
        "to-roman, step 1 (test of file_1.py): failed with not_red: no such name",
        "to-roman, step 1 (test of file_1.py): failed with not_red: assert 1 == 2",
    ]


def test_a_step_that_is_given_up_is_remembered_as_that(stored):
    fail(stored, "x" * 5_000, given_up="all 3 attempts are used up")
    contents = [content for _, content in remembered(stored)]
    assert "to-roman, step 1 (test of file_1.py): given up: all 3 attempts are used up" in contents
    assert all(len(content) <= 500 for content in contents)


def test_a_success_after_failures_leaves_what_was_wrong(stored):
    fail(stored, "assert 1 == 2")
    fail(stored, "no such name", "red_error")
    attempt = stored.begin()
    with stored.database.transaction() as ledger:
        note_success(a_run(stored), a_step(stored), ledger, attempt)
    ((_, content),) = [each for each in remembered(stored) if each[0] == "insight"]
    assert content == (
        f"to-roman, step 1 (test of file_1.py): done by attempt {attempt['number']} after 2 that "
        "failed; what was wrong: not_red: assert 1 == 2; red_error: no such name"
    )


def test_a_success_at_once_leaves_nothing(stored):
    attempt = stored.begin()
    with stored.database.transaction() as ledger:
        note_success(a_run(stored), a_step(stored), ledger, attempt)
    assert remembered(stored) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"selected_id": "skip", "reason": "later"}, "a person had it skipped, because: later"),
        (
            {"selected_id": "instructions", "text": "Use a\n table."},
            "a person changed the instructions: Use a table.",
        ),
        ({"selected_id": "retry"}, "a person had it tried again"),
        ({"selected_id": "abandon"}, "a person gave the run up here"),
    ],
)
def test_what_a_person_decided_about_a_step_is_remembered_once(stored, given, said):
    with stored.database.transaction() as ledger:
        ledger.update_run_status(stored.run_id, "running")
        cta = ledger.request_cta(
            stored.run_id, "choice", "It is stuck.", options=stuck_options(), timeout_s=60,
            ws_id=stored.ws_id, step_id=stored.steps[0],
        )  # fmt: skip
        note_answers(
            a_run(stored),
            a_step(stored),
            ledger,
            ledger.ctas_of_step(stored.run_id, stored.steps[0]),
        )
    assert remembered(stored) == [], "nobody has answered"
    for _ in range(2):
        with stored.database.transaction() as ledger:
            if not remembered(stored):
                ledger.answer_cta(cta, **given)
            asked = ledger.ctas_of_step(stored.run_id, stored.steps[0])
            note_answers(a_run(stored), a_step(stored), ledger, asked)
    assert remembered(stored) == [("decision", f"to-roman, step 1 (test of file_1.py): {said}")]


def test_what_a_person_said_to_the_delivery_is_remembered(stored):
    with stored.database.transaction() as ledger:
        ledger.update_run_status(stored.run_id, "running")
        cta = ledger.request_cta(stored.run_id, "approval", "Deliver?", timeout_s=60)
        note_approval(a_run(stored), ledger, ledger.get_cta(cta))
    assert remembered(stored) == []
    with stored.database.transaction() as ledger:
        ledger.answer_cta(cta, approved=False, reason="too large")
        note_approval(a_run(stored), ledger, ledger.get_cta(cta))
    assert remembered(stored) == [("decision", "A person said no to the delivery: too large")]
