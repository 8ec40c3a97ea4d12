"""The breaker: bounded retries, transient failures apart, nothing retried that cannot change."""

from __future__ import annotations

import pytest

from tasks.breaker import BUDGETS, Failure, decide, overspent

OWN, PASSING = Failure("not_green", "s"), Failure("rate_limited", "t")


@pytest.mark.parametrize(
    ("failures", "retry"),
    [
        ([OWN], True),
        ([OWN, OWN], True),
        ([OWN, OWN, OWN], False),
        ([PASSING] * 9, True),
        ([PASSING] * 10, False),
        ([OWN, OWN, *[PASSING] * 5], True),
        ([OWN, PASSING, OWN, PASSING, OWN], False),
        ([Failure("auth", "x")], False),
        ([Failure("budget_exceeded", "x")], False),
    ],
)
def test_three_attempts_and_ten_transient_failures(failures, retry):
    decision = decide(failures, attempts=3, transient=10)
    assert decision.retry == retry
    assert decision.reason


NOTHING = dict.fromkeys(BUDGETS, 0.0)


@pytest.mark.parametrize("budget", BUDGETS)
def test_a_budget_that_is_used_up_is_named(budget):
    assert overspent({budget: 10}, NOTHING) is None
    assert overspent({budget: 10}, NOTHING | {budget: 9.9}) is None
    told = overspent({budget: 10}, NOTHING | {budget: 10.0})
    assert told is not None and budget in told


def test_a_budget_that_is_not_set_stops_nothing():
    assert overspent({}, dict.fromkeys(BUDGETS, 1e12)) is None
