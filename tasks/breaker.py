"""The breaker: whether, and when, a step that failed is tried again. Pure, over its history."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from storage.states import TRANSIENT, FailureClass
from tasks.parking import resets_in

#: Failures that another try of the same agent cannot mend, with the reason.
HOPELESS: Final = {
    "budget_exceeded": "the budget is spent",
    "auth": "the agent is not allowed to use its model; no retry changes that",
}

#: Classes that are no fault of the agent's: they use up no attempt, say nothing of its work (no
#: signature, no diff of theirs counts) and have a bound of their own, which ends a flaky test's
#: retries too.
PASSING: Final = TRANSIENT | {FailureClass.FLAKY}

#: Classes whose message may say when the limit resets.
LIMITED: Final = frozenset({FailureClass.RATE_LIMITED, FailureClass.QUOTA_EXHAUSTED})

SAME_SIGNATURE: Final = 3
SAME_DIFF: Final = 2
LOOKED_BACK: Final = 4
FIRST_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 300.0


@dataclass(frozen=True)
class Failure:
    """One failed try at a step, as the breaker sees it.

    Attributes:
        signature: the failure's normalised form, empty when there is none.
        diff: a hash of what the agent left, None when it left nothing.
        message: what was said; a limited class's may say when the limit resets.
        at: when that was said, with a time zone; what the message says of times counts from it.
            None: the message is not read.
    """

    failure_class: str
    signature: str
    diff: str | None = None
    message: str = ""
    at: dt.datetime | None = None

    @property
    def own(self) -> bool:
        """Whether it is the agent's own failure."""
        return self.failure_class not in PASSING


@dataclass(frozen=True)
class Decision:
    """Whether to go on, and why not.

    Attributes:
        retry: try the step again.
        reason: a sentence for events and for the person.
        wait_s: how long to wait before the next try, in seconds from the last failure on.
        parked_until: when the limit resets that is waited for, None if none is.
    """

    retry: bool
    reason: str
    wait_s: float = 0.0
    parked_until: dt.datetime | None = None


def decide(
    failures: Sequence[Failure], *, attempts: int, transient: int, jitter: float = 0.0
) -> Decision:
    """Decide after a failed try.

    What ends the step, in this order: what no retry can mend, the attempts, the bound of the
    failures that are nobody's, the same failure or the same change over and over.

    Args:
        failures: all failed tries at the step, oldest first.
        attempts: how many tries that are the agent's own a step has (3 by default).
        transient: how many failures that use up no attempt it may have besides (10 by default).
        jitter: 0 to 1, by how much of its half a wait is shortened, so that many who failed
            together do not come back together.

    Returns:
        The decision with its reason.
    """
    last = failures[-1]
    if reason := HOPELESS.get(last.failure_class):
        return Decision(retry=False, reason=reason)
    own = [failure for failure in failures if failure.own]
    if len(own) >= attempts:
        return Decision(retry=False, reason=f"all {attempts} attempts are used up")
    if not last.own:
        return _wait(failures, transient=transient, jitter=jitter)
    if repeated := _repeated(own):
        return Decision(retry=False, reason=repeated)
    reason = f"attempt {len(own)} of {attempts} failed ({last.failure_class})"
    return Decision(retry=True, reason=reason)


def _repeated(own: Sequence[Failure]) -> str | None:
    """Say how the agent goes round in circles; only what its last try repeats counts.

    A person who has a stopped step tried again would otherwise be answered with old circles.
    """
    last = own[-1]
    same = sum(failure.signature == last.signature for failure in own)
    if last.signature and same >= SAME_SIGNATURE:
        return f"the same failure {same} times ({last.signature})"
    recent = own[-LOOKED_BACK:]
    same = sum(failure.diff == last.diff for failure in recent)
    if last.diff and same >= SAME_DIFF:
        return (
            f"the agent goes round in circles: the same change {same} times "
            f"in the last {len(recent)} attempts"
        )
    return None


def _wait(failures: Sequence[Failure], *, transient: int, jitter: float) -> Decision:
    last = failures[-1]
    passing = sum(not failure.own for failure in failures)
    if passing >= transient:
        reason = f"{passing} failures that use up no attempt; limits.transient is {transient}"
        return Decision(retry=False, reason=f"{reason} ({last.failure_class})")
    wait_s = backoff_s(_in_a_row(failures), jitter)
    reason = f"{last.failure_class}, failure {passing} of {transient} that use up no attempt"
    if last.failure_class in LIMITED and last.at is not None:
        resets = resets_in(last.message, last.at)
        if resets is not None and resets > wait_s:
            until = last.at + dt.timedelta(seconds=resets)
            told = until.isoformat(timespec="seconds")
            reason += f"; parked until {told}, when the limit resets"
            return Decision(retry=True, reason=reason, wait_s=resets, parked_until=until)
    return Decision(retry=True, reason=f"{reason}; waiting {wait_s:.1f} s", wait_s=wait_s)


def _in_a_row(failures: Sequence[Failure]) -> int:
    """Count the failures at the end that are nobody's."""
    count = 0
    for failure in reversed(failures):
        if failure.own:
            break
        count += 1
    return count


def backoff_s(failures: int, jitter: float = 0.0) -> float:
    """Return how long to wait after so many failures in a row, in seconds: 1, 2, 4 … 300.

    Args:
        failures: at least 1.
        jitter: 0 to 1, by how much of its half the wait is shortened.
    """
    doublings = min(failures - 1, 30)  # 2 ** 30 is past any bound; more would only overflow
    return min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0**doublings) * (1 - jitter / 2)
