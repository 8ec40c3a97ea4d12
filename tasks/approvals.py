"""What people are asked when a run needs one, and what their answers mean. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from storage.rows import CtaOption, CtaRow, FailureRow

StuckAction = Literal["retry", "instructions", "skip", "abandon"]
Standing = Literal["waiting", "answered", "timed_out", "closed"]
Verdict = Literal["waiting", "approved", "rejected", "timed_out", "closed"]

STUCK_PROMPT: Final = "How shall the run go on?"
STUCK_PLACEHOLDER: Final = "the step's instructions from now on"

_SHOWN_FAILURES: Final = 3
_SHOWN_LINES: Final = 6
_SHOWN_WIDTH: Final = 200


@dataclass(frozen=True)
class StuckAnswer:
    """What a person wants done with a step that the breaker gave up.

    Attributes:
        action: `retry` gives the step a fresh set of attempts, `instructions` does so with other
            instructions, `skip` goes on without the step, `abandon` ends the run.
        text: the new instructions; None with every other action.
    """

    action: StuckAction
    text: str | None = None


def stuck_options(budget: str | None = None) -> list[CtaOption]:
    """Return the answers that the question about a stuck step offers.

    Args:
        budget: the one that is used up: who has the step tried again lets the run spend as much
            again.
    """
    retry: CtaOption = {"id": "retry", "label": "Try the step again"}
    change: CtaOption = {
        "id": "instructions",
        "label": "Change the instructions",
        "needs_text": True,
    }
    if budget is not None:
        more = f"and let the run use limits.{budget} once more"
        retry = {"id": "retry", "label": f"Try the step again, {more}", "raises": budget}
        change |= {"label": f"Change the instructions, {more}", "raises": budget}
    return [
        retry,
        change,
        {"id": "skip", "label": "Skip the step"},
        {"id": "abandon", "label": "Abandon the run"},
    ]


def stuck_message(
    subtask: str,
    step_name: str,
    failure_class: str,
    reason: str,
    failures: Sequence[FailureRow] = (),
) -> str:
    """Return what a person has to know about a stuck step.

    Args:
        subtask: its subtask's key.
        step_name: its name, `<step_number>:<step_type>:<file_path>`.
        failure_class: why its last attempt failed.
        reason: why the breaker does not let it be tried again.
        failures: its failed attempts, the oldest first; the last ones are told.
    """
    number, _, rest = step_name.partition(":")
    step_type, _, file_path = rest.partition(":")
    what = f"Step {number} of {subtask} ({step_type} of {file_path})"
    lines = [f"{what} is stuck: {reason}. It failed last with {failure_class}."]
    for failure in failures[-_SHOWN_FAILURES:]:
        title = "an attempt" if failure["number"] is None else f"attempt {failure['number']}"
        told = _shortened(failure["message"] or "")
        lines += ["", f"{title}: {failure['failure_class']}", *(f"  {line}" for line in told)]
    if any(failure["number"] is not None for failure in failures):
        more = "`greenline step info N` and `greenline step diff N` tell more of an attempt."
        lines += ["", more]
    return "\n".join(lines)


def _shortened(text: str) -> list[str]:
    """Return the first lines of a text, none of them long."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    kept = [
        line if len(line) <= _SHOWN_WIDTH else f"{line[:_SHOWN_WIDTH]} …"
        for line in lines[:_SHOWN_LINES]
    ]
    left = len(lines) - len(kept)
    return [*kept, f"… {left} more lines"] if left else kept


def standing(cta: CtaRow) -> Standing:
    """Say how a question stands. `closed`: its run was ended before anybody answered."""
    if cta["timed_out"]:
        return "timed_out"
    if cta["responded_at"] is None:
        return "waiting"
    said = (cta["response_approved"], cta["response_text"], cta["response_selected_id"])
    return "closed" if all(value is None for value in said) else "answered"


def stuck_answer(cta: CtaRow) -> StuckAnswer | None:
    """Return what a person wants done with a stuck step.

    None: nobody answered (see `standing`), or the question was about something else.
    """
    if standing(cta) != "answered":
        return None
    for action in get_args(StuckAction):
        if cta["response_selected_id"] == action:
            return StuckAnswer(action, cta["response_text"])
    return None


def verdict(cta: CtaRow) -> Verdict:
    """Return what an approval means for the run: `approved` lets it go on.

    `rejected` and `timed_out` fail it, `closed` says that it has ended already.

    Raises:
        ValueError: the question asks for something else.
    """
    if cta["kind"] != "approval":
        raise ValueError(f"question {cta['id']} is no approval but of the kind {cta['kind']}")
    stands = standing(cta)
    if stands == "answered":
        return "approved" if cta["response_approved"] else "rejected"
    return stands
