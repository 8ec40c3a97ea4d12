"""The state tables: what may follow what, and how a refusal reads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from storage import state_docs, states
from storage.states import (
    FIRST_WORK_STAGES,
    STATES,
    TRANSIENT,
    TRANSITIONS,
    FailureClass,
    IllegalTransition,
    validate_state_transition,
)

PAIRS = [
    (entity, before, after)
    for entity, choice in STATES.items()
    for before in choice.values()
    for after in choice.values()
]
LEGAL = [pair for pair in PAIRS if pair[2] in TRANSITIONS[pair[0]].get(pair[1], ())]
ILLEGAL = [pair for pair in PAIRS if pair not in set(LEGAL)]


@pytest.mark.parametrize(("entity", "before", "after"), LEGAL)
def test_every_legal_move_is_accepted(entity, before, after):
    validate_state_transition(entity, before, after)


@pytest.mark.parametrize(("entity", "before", "after"), ILLEGAL)
def test_every_other_move_is_refused_with_what_would_be_legal(entity, before, after):
    with pytest.raises(IllegalTransition) as refusal:
        validate_state_transition(entity, before, after)
    message = str(refusal.value)
    assert entity in message
    assert repr(before) in message
    assert repr(after) in message
    for legal in TRANSITIONS[entity].get(before, ()):
        assert legal in message
    assert refusal.value.legal == tuple(sorted(TRANSITIONS[entity].get(before, ())))


def test_a_refusal_is_a_value_error():
    """Seed 003's callers catch ValueError."""
    assert issubclass(IllegalTransition, ValueError)


def test_the_tables_name_existing_states_only():
    assert TRANSITIONS.keys() == STATES.keys()
    for entity, moves in TRANSITIONS.items():
        known = set(STATES[entity].values())
        assert moves.keys() <= known
        assert set().union(*moves.values()) <= known


def test_nothing_stays_where_it_is():
    """Staying is no move: of two who make the same change at once only one may believe it did."""
    assert [pair for pair in LEGAL if pair[1] == pair[2]] == []


def test_every_state_can_be_reached_from_the_first():
    starts = {"attempt": "in_progress", "feature_phase": "analysis", "phase": "running"}
    starts["snapshot"] = "created"
    for entity, choice in STATES.items():
        reached, todo = set(), [starts.get(entity, "pending")]
        while todo:
            state = todo.pop()
            reached.add(state)
            todo += TRANSITIONS[entity].get(state, frozenset()) - reached
        assert reached == set(choice.values()), entity


def test_ends_of_a_run_are_final():
    for state in ("completed", "failed", "partial", "abandoned"):
        assert state not in TRANSITIONS["run"]


def test_a_workstream_can_be_given_up_from_every_state_that_is_not_terminal():
    for state in states.WorkstreamStatus.values():
        after = TRANSITIONS["workstream"].get(state, frozenset())
        assert bool(after) == (state not in {"failed", "abandoned"})
        assert not after or {"failed", "abandoned"} <= after


def test_a_feature_is_completed_from_pr_alone():
    before = {state for state, to in TRANSITIONS["feature_phase"].items() if "completed" in to}
    assert before == {"pr"}


def test_work_stages_come_in_order_and_only_stages_without_a_step_are_left_out():
    """Testing and implementing may be left out, analysis and review not; review alone goes back."""
    order = states.WorkStage.values()
    for before, afters in TRANSITIONS["work_stage"].items():
        for after in afters:
            between = order[order.index(before) + 1 : order.index(after)]
            assert not {"analysis", "review"} & set(between), (before, after)
            assert order.index(after) > order.index(before) or (before, after) == (
                "review",
                "unit_implementation",
            )
    assert "completed" not in TRANSITIONS["work_stage"]
    assert frozenset(order) - {"completed"} == FIRST_WORK_STAGES


def test_transient_classes_are_those_that_use_up_no_attempt():
    assert {"rate_limited", "quota_exhausted", "infra", "crashed"} == TRANSIENT
    assert frozenset(FailureClass) > TRANSIENT


def test_unknown_kinds_and_states_are_named():
    with pytest.raises(ValueError, match=r"unknown entity type 'bicycle', there are: run"):
        validate_state_transition("bicycle", "pending", "running")
    with pytest.raises(IllegalTransition, match="'asleep' is no state of a run"):
        validate_state_transition("run", "asleep", "running")


def test_every_value_says_what_it_means():
    choices = [cls for cls in vars(states).values() if isinstance(cls, type)]
    members = [m for cls in choices if issubclass(cls, states.Choice) for m in cls]
    assert len(members) > 90
    assert [member for member in members if not member.meaning] == []


def test_states_are_importable_without_any_library():
    """Layers above and below read the table; it must not pull anything in."""
    program = "import sys; before = set(sys.modules); import storage.states; print(*sys.modules)"
    printed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(printed.stdout.split())
    assert not {name for name in loaded if name.startswith(("sqlalchemy", "psycopg", "pydantic"))}
    ours = {name for name in loaded if name.startswith("storage")}
    assert ours == {"storage", "storage.states"}


def test_the_document_is_what_the_table_says():
    """docs/state_machine.md is generated; who changes a move changes it too."""
    document = Path(__file__).parents[2] / state_docs.DOCUMENT
    assert document.read_text(encoding="utf-8") == state_docs.state_machine()


def test_the_check_of_the_document_notices_a_change(tmp_path, capsys):
    path = tmp_path / "docs" / "states.md"
    assert state_docs.main(["--check", "--file", str(path)]) == 1
    assert state_docs.main(["--file", str(path)]) == 0
    assert state_docs.main(["--check", "--file", str(path)]) == 0
    path.write_text(path.read_text(encoding="utf-8") + "!", encoding="utf-8")
    assert state_docs.main(["--check", "--file", str(path)]) == 1
    assert "python -m storage.state_docs" in capsys.readouterr().err
