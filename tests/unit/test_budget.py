"""Budgets: what is used up, and what a person lets be spent again."""

import pytest

from tasks.budget import BUDGETS, has_budgets, overspent

NOTHING = dict.fromkeys(BUDGETS, 0.0)


@pytest.mark.parametrize("budget", BUDGETS)
def test_a_budget_that_is_used_up_is_named(budget):
    assert overspent({budget: 10}, NOTHING) is None
    assert overspent({budget: 10}, NOTHING | {budget: 9.9}) is None
    over = overspent({budget: 10}, NOTHING | {budget: 10.0})
    assert over is not None
    assert over.budget == budget and budget in over.reason


def test_a_budget_that_is_not_set_stops_nothing():
    assert overspent({}, dict.fromkeys(BUDGETS, 1e12)) is None
    assert not has_budgets({"run_usd": None, "attempts": 3})
    assert has_budgets({"run_usd": 5.0})


def test_what_a_person_grants_is_as_much_again_each_time():
    limits, raised = {"run_tokens": 100, "step_tokens": 10}, {"run_tokens": 2}
    assert overspent(limits, NOTHING | {"run_tokens": 299}, raised) is None
    over = overspent(limits, NOTHING | {"run_tokens": 300}, raised)
    assert over is not None and "3 times" in over.reason
    step = overspent(limits, NOTHING | {"step_tokens": 10}, raised)
    assert step is not None and step.budget == "step_tokens"
