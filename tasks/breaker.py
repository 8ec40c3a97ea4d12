"""The breaker: whether a step that failed is tried again. A pure function over its history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from storage.states import TRANSIENT

#: Failures that another try of the same agent cannot mend, with the reason.
HOPELESS: Final = {
    "budget_exceeded": "the budget is spent",
    "auth": "the agent is not allowed to use its model; no retry changes that",
}


BUDGETS: Final = ("step_tokens", "step_usd", "run_tokens", "run_usd", "week_tokens", "week_usd")


def overspent(limits: Mapping[str, float | None], spent: Mapping[str, float]) -> str | None:
    """Say which budget is used up, None while every one has something left.

    Args:
        limits: the budgets by name, None for one that is not set.
        spent: what was used so far, by the same names.
    """
    for name in BUDGETS:
        limit = limits.get(name)
        if limit is not None and spent[name] >= limit:
            return f"limits.{name} is {limit:g}, and {spent[name]:g} are used"
    return None


@dataclass(frozen=True)
class Failure:
    """One failed try at a step, as the breaker sees it."""

    failure_class: str
    signature: str


@dataclass(frozen=True)
class Decision:
    """Whether to go on, and why not.

    Attributes:
        retry: try the step again.
        reason: a sentence for events and for the person.
    """

    retry: bool
    reason: str


def decide(failures: Sequence[Failure], *, attempts: int, transient: int) -> Decision:
    """Decide after a failed try.

    Args:
        failures: all failed tries at the step, oldest first.
        attempts: how many tries that are the agent's own a step has (3 by default).
        transient: how many transient failures it may have besides (10 by default).

    Returns:
        The decision with its reason.
    """
    last = failures[-1]
    if reason := HOPELESS.get(last.failure_class):
        return Decision(retry=False, reason=reason)
    passing = sum(failure.failure_class in TRANSIENT for failure in failures)
    own = len(failures) - passing
    if own >= attempts:
        return Decision(retry=False, reason=f"all {attempts} attempts are used up")
    if passing >= transient:
        return Decision(retry=False, reason=f"{passing} transient failures, {transient} are borne")
    kind = "transient failure" if last.failure_class in TRANSIENT else "attempt"
    return Decision(
        retry=True,
        reason=f"{kind} {own or passing} failed ({last.failure_class}), {attempts} allowed",
    )
