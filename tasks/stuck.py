"""A step that the breaker stopped: the question to a person, and what the answer changes."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from storage.states import CtaKind, FailureClass
from tasks.approvals import (
    STUCK_PLACEHOLDER,
    STUCK_PROMPT,
    standing,
    stuck_answer,
    stuck_message,
    stuck_options,
)
from tasks.breaker import Decision, Failure, decide
from tasks.budget import overspent
from tasks.memories import note_answers

if TYPE_CHECKING:
    from storage.ledger import Ledger
    from storage.rows import CtaRow, FailureRow
    from tasks.run import PlannedStep, Run

logger = logging.getLogger(__name__)


def tries_of(run: Run, step: PlannedStep, ledger: Ledger) -> list[FailureRow]:
    """Return the failed tries that count: those of this run, since a person last had a say."""
    failures = ledger.failures_of_step(step.step_id, run.run_id)
    said = _answers(ledger.ctas_of_step(run.run_id, step.step_id))
    since = said[-1]["responded_at"] if said else None
    return [failure for failure in failures if since is None or failure["started_at"] > since]


def as_seen(failure: FailureRow) -> Failure:
    """Return a failed try as the breaker sees it."""
    return Failure(
        failure["failure_class"],
        failure["signature"] or "",
        diff=(failure["result_json"] or {}).get("diff"),
        message=failure["message"] or "",
        at=failure["completed_at"] and failure["completed_at"].astimezone(),
    )


def instructions_for(run: Run, step: PlannedStep, ledger: Ledger) -> str | None:
    """Return the instructions that a person gave a step instead of the plan's."""
    said = _answers(ledger.ctas_of_step(run.run_id, step.step_id))
    given = [answer.text for answer in map(stuck_answer, said) if answer and answer.text]
    return given[-1] if given else None


def instructions_before(
    run: Run, step: PlannedStep, ledger: Ledger, moment: datetime
) -> str | None:
    """Return the instructions that a person had given a step by a certain time."""
    said = [
        row
        for row in _answers(ledger.ctas_of_step(run.run_id, step.step_id))
        if row["responded_at"] is not None and row["responded_at"] < moment
    ]
    given = [answer.text for answer in map(stuck_answer, said) if answer and answer.text]
    return given[-1] if given else None


def _answers(rows: list[CtaRow]) -> list[CtaRow]:
    return [row for row in rows if standing(row) == "answered"]


def ask(run: Run, step: PlannedStep, failure_class: str, reason: str) -> str:
    """Ask a person what to do about a step that the breaker stopped; return the question's id."""
    with run.database.transaction() as ledger:
        ledger.require_lease(run.run_id, run.owner)
        tried = tries_of(run, step, ledger)
        over = None
        if failure_class == FailureClass.BUDGET_EXCEEDED:
            over = overspent(
                run.settings.limits.model_dump(),
                ledger.spent(run.project_id, run.run_id, step.step_id),
                ledger.budgets_raised(run.run_id),
            )
        cta_id = ledger.request_cta(
            run.run_id,
            CtaKind.CHOICE,
            stuck_message(step.subtask.key, step.name, failure_class, reason, tried),
            ws_id=step.ws_id,
            step_id=step.step_id,
            phase_result_id=run.phase_result_id or None,
            prompt=STUCK_PROMPT,
            placeholder=STUCK_PLACEHOLDER,
            options=stuck_options(over.budget if over else None),
            timeout_s=run.settings.limits.approval_timeout_s,
        )
    logger.warning("%s waits for a person: `greenline inbox` has the question", step.name)
    return cta_id


Said = Literal["nothing", "waiting", "timed_out", "retry", "instructions", "skip", "abandon"]


@dataclass(frozen=True)
class Position:
    """Where a step stands that is come to, perhaps not for the first time.

    Attributes:
        said: what a person wants done with it, if that is the last word on it; `nothing` when
            nobody was asked, or it was tried again since.
        decision: whether it may be tried again, None when it did not fail since.
        failure_class: why it failed last.
    """

    said: Said
    decision: Decision | None
    failure_class: str | None


def position(run: Run, step: PlannedStep) -> Position:
    """Say where a step stands, by the ledger: a resume and an answer are the same to it."""
    with run.database.transaction() as ledger:
        failures = tries_of(run, step, ledger)
        rows = ledger.ctas_of_step(run.run_id, step.step_id)
        note_answers(run, step, ledger, rows)
    decision = None
    if failures:
        limits = run.settings.limits
        seen = [as_seen(failure) for failure in failures]
        decision = decide(seen, attempts=limits.attempts, transient=limits.transient)
    last = failures[-1]["failure_class"] if failures else None
    return Position(_said(rows, failures), decision, last)


def _said(rows: list[CtaRow], failures: list[FailureRow]) -> Said:
    if not rows:
        return "nothing"
    match standing(rows[-1]):
        case "waiting":
            return "waiting"
        case "timed_out":
            return "timed_out"
        case "answered" if not failures:
            answer = stuck_answer(rows[-1])
            return answer.action if answer else "nothing"
    return "nothing"
