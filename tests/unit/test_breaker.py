"""The breaker: bounded retries, transient failures apart, nothing retried that cannot change."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.states import TRANSIENT, FailureClass
from tasks.breaker import (
    HOPELESS,
    LONGEST_WAIT_S,
    PASSING,
    Failure,
    backoff_s,
    decide,
)

OWN, TRANSIENT_ONE = Failure("not_green", ""), Failure("rate_limited", "t", diff="d")
NOW = dt.datetime(2026, 11, 21, 4, 0, tzinfo=dt.UTC)


def own(*changes):
    """Failed attempts of the agent's, each with a change and a failure of these names."""
    return [
        Failure("not_green", signature=change[0], diff=change[1:] or None) for change in changes
    ]


@pytest.mark.parametrize(
    ("failures", "retry"),
    [
        ([OWN], True),
        ([OWN, OWN], True),
        ([OWN, OWN, OWN], False),
        ([TRANSIENT_ONE] * 9, True),
        ([TRANSIENT_ONE] * 10, False),
        ([OWN, OWN, *[TRANSIENT_ONE] * 5], True),
        ([OWN, TRANSIENT_ONE, OWN, TRANSIENT_ONE, OWN], False),
        ([Failure("auth", "x")], False),
        ([Failure("budget_exceeded", "x")], False),
        ([*[TRANSIENT_ONE] * 12, OWN], True),  # a bound that a person let be passed
    ],
)
def test_three_attempts_and_ten_transient_failures(failures, retry):
    decision = decide(failures, attempts=3, transient=10)
    assert decision.retry == retry
    assert decision.reason


@pytest.mark.parametrize(
    ("failures", "retry"),
    [
        (own("a1", "a2"), True),
        (own("a1", "a2", "a3"), False),
        (own("a1", "b2", "a3", "b4", "a5"), False),
        (own("a1", "a2", "a3", "b4"), True),  # old circles, of before a person let it go on
        (own("a1", "a2", "b3"), True),
        ([OWN] * 5, True),  # no signature is no same one
    ],
)
def test_the_same_failure_three_times_stops_a_step(failures, retry):
    decision = decide(failures, attempts=9, transient=10)
    assert decision.retry == retry
    assert retry or "same failure 3 times (a)" in decision.reason


@pytest.mark.parametrize(
    ("failures", "retry"),
    [
        (own("a1", "b1"), False),
        (own("a1", "b2", "c1"), False),
        (own("a1", "b2", "c3", "d1"), False),
        (own("a1", "b2", "c3", "d4", "e1"), True),  # more than four tries ago
        (own("a1", "b1", "c2"), True),
        (own("a", "b", "c"), True),  # nothing was left: there is nothing to compare
    ],
)
def test_the_same_change_twice_in_four_tries_stops_a_step(failures, retry):
    decision = decide(failures, attempts=9, transient=10)
    assert decision.retry == retry
    assert retry or "same change 2 times" in decision.reason


@pytest.mark.parametrize("failure_class", sorted(PASSING))
def test_failures_that_are_nobodys_never_count_as_circles(failure_class):
    """Six times the same change and the same signature: the agent has had no say in it."""
    nobodys = Failure(failure_class, "s", diff="d")
    assert decide([nobodys] * 6, attempts=3, transient=10).retry
    mixed = [Failure("not_green", "s", "d"), *[nobodys] * 5, Failure("not_green", "s", "e")]
    assert decide(mixed, attempts=3, transient=10).retry
    looked_back = [*own("a1", "b2"), *[nobodys] * 4, *own("c1")]
    assert not decide(looked_back, attempts=9, transient=10).retry


def test_a_flaky_test_is_borne_like_a_transient_failure():
    assert {"flaky"} == PASSING - TRANSIENT
    flaky = Failure("flaky", "s")
    assert decide([flaky] * 9, attempts=3, transient=10).retry
    stopped = decide([flaky] * 10, attempts=3, transient=10)
    assert not stopped.retry and "limits.transient is 10" in stopped.reason


def test_the_agents_own_failure_is_answered_at_once_and_others_after_a_wait():
    assert decide([OWN], attempts=3, transient=10).wait_s == 0
    waits = [decide([TRANSIENT_ONE] * n, attempts=3, transient=20).wait_s for n in range(1, 12)]
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert decide([TRANSIENT_ONE, OWN, TRANSIENT_ONE], attempts=3, transient=10).wait_s == 1


@given(st.integers(1, 10**6), st.floats(0, 1))
def test_a_wait_is_bounded_and_jitter_shortens_it_by_half_at_most(failures, jitter):
    wait = backoff_s(failures, jitter)
    assert backoff_s(failures) / 2 <= wait <= backoff_s(failures) <= LONGEST_WAIT_S


def limited(failure_class, message, at=NOW):
    return Failure(failure_class, "s", message=message, at=at)


def test_a_limit_that_says_when_it_resets_is_waited_for():
    failures = [limited("quota_exhausted", "resets at 2026-11-21T05:00:00Z")]
    decision = decide(failures, attempts=3, transient=10)
    assert decision.retry and decision.wait_s == 3600
    assert decision.parked_until == NOW + dt.timedelta(hours=1)
    assert "parked until 2026-11-21T05:00:00+00:00" in decision.reason


@pytest.mark.parametrize(
    "failure",
    [
        limited("rate_limited", "slow down"),
        limited("rate_limited", "retry after 0s"),
        limited("rate_limited", "reset at 3:58am (UTC)"),  # two minutes ago
        limited("rate_limited", "retry after 500s", at=None),
        limited("infra", "retry after 500s"),
        limited("flaky", "retry after 500s"),
    ],
)
def test_what_does_not_say_when_is_waited_for_as_usual(failure):
    decision = decide([failure], attempts=3, transient=10)
    assert decision.retry and decision.wait_s == 1 and decision.parked_until is None


def test_a_parked_step_keeps_to_the_bound_too():
    failures = [limited("rate_limited", "retry after 500s")] * 10
    assert not decide(failures, attempts=3, transient=10).retry


FAILURES = st.builds(
    Failure,
    st.sampled_from(FailureClass.values()),
    st.sampled_from(["", "a", "b", "c"]),
    st.sampled_from([None, "1", "2", "3"]),
)


@given(st.lists(FAILURES, min_size=1, max_size=30), st.integers(1, 6), st.integers(1, 12))
def test_whatever_happened_the_decision_keeps_to_the_bounds(failures, attempts, transient):
    decision = decide(failures, attempts=attempts, transient=transient)
    own_failures = [failure for failure in failures if failure.failure_class not in PASSING]
    last = failures[-1]
    assert decision.reason
    if decision.retry:
        assert last.failure_class not in HOPELESS
        assert len(own_failures) < attempts
        assert last in own_failures or len(failures) - len(own_failures) < transient
    if decision.wait_s:
        assert decision.retry and last.failure_class in PASSING
