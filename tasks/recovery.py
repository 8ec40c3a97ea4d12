"""A run that is cut off, taken up again, or given up.

What a killed process left is in the ledger and in git, and nowhere else: attempts without an end
become failures of class `crashed`, the branch and the worktree go to the recorded head (that is
`tasks.run_store.open_run`), and the phases, workstreams and steps that are done are not done
again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from storage.database import Database
from storage.exceptions import GreenlineError, InputError, ServiceError
from storage.home import Home
from storage.lease import LEASE_S, Lease, LeaseLost, RunCarried, described, owner_is_dead
from storage.rows import EventRow
from storage.states import PhaseStatus, RunStatus, SandboxStatus, WorkstreamStatus
from tasks.leftovers import remove_run_files
from tasks.phases import finish
from tasks.process import Interrupted, end_programs
from tasks.process.strays import end_programs_in
from tasks.run import Run
from tasks.run_store import record_sandbox

logger = logging.getLogger(__name__)

BY_HAND: Final = "a person"
"""Who has a run taken up, as its event says; else `reconcile`."""

ENDED: Final = (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.PARTIAL, RunStatus.ABANDONED)


def ended_as(database: Database, run_id: str) -> str | None:
    """Return how a run ended, None while it is under way."""
    with database.transaction() as ledger:
        row = ledger.get_run(run_id)
    return row["status"] if row is not None and row["status"] in ENDED else None


def take_up(run: Run) -> bool:
    """Settle what the process before left open; False when the run has not begun yet."""
    with run.database.transaction() as ledger:
        ledger.require_lease(run.run_id, run.owner)
        row = ledger.get_run(run.run_id)
        if row is None or row["status"] != RunStatus.RUNNING:
            return False
        crashed = ledger.interrupt(run.run_id, "the process that carried the run ended")
        freed = ledger.unlock_run(run.run_id)
        ledger.end_sandboxes(run.run_id, SandboxStatus.ABORTED, "its process ended")
        run.sandbox_id = record_sandbox(
            ledger, run.run_id, run.sandbox, run.repository, run.settings
        )
        ledger.record_event(
            run.run_id,
            None,
            "run_resumed",
            {
                "by": BY_HAND if run.taken_up else "reconcile",
                "head": run.sandbox.head,
                "crashed_attempts": [attempt["number"] for attempt in crashed],
                "freed_locks": freed,
            },
        )
    logger.info("run %s goes on from %s", run.run_id, run.sandbox.head[:10])
    return True


def suspend(
    database: Database,
    lease: Lease,
    error: BaseException,
    by_a_person: Callable[[], bool] = lambda: True,
) -> LeaseLost | None:
    """Leave a run so that it can be taken up again, when something cut it off from inside.

    Attempts under way become failures of class `crashed`; what is done stays done. Whoever lost
    the run writes nothing.

    Args:
        database: the ledger's.
        lease: the run's.
        error: what cut it off.
        by_a_person: asked when the process was told to stop: whether the run is to stay so until
            a person takes it up, rather than go on by itself.

    Returns:
        That somebody else has the run, where this is found only now.
    """
    stopped = not isinstance(error, Exception) or isinstance(error, Interrupted)
    if stopped:  # nobody waits for the agents any more
        end_programs()
    if lease.lost or isinstance(error, LeaseLost):
        _clear_away(database, lease.run_id)
        return None
    reason = "interrupted" if stopped else f"{type(error).__name__}: {error}"[:2_000]
    try:
        with database.transaction() as ledger:
            ledger.require_lease(lease.run_id, lease.owner)
            crashed = ledger.interrupt(lease.run_id, reason)
            ledger.record_event(
                lease.run_id,
                None,
                "run_suspended",
                {
                    "error": reason,
                    "interrupted": stopped and by_a_person(),
                    "crashed_attempts": [attempt["number"] for attempt in crashed],
                },
            )
    except LeaseLost as lost:  # before the heartbeat saw it
        _clear_away(database, lease.run_id)
        return lost
    except (GreenlineError, OSError) as second:
        # The ledger is what failed, most likely: whoever resumes finds the attempts open.
        logger.debug("the ledger could not be told: %s", second)
    return None


def why_lost(database: Database, lease: Lease) -> GreenlineError:
    """Say why this process may not go on with a run whose lease it lost."""
    away = f"for longer than a run's lease lasts, {LEASE_S:.0f} s"
    try:
        with database.transaction() as ledger:
            now = ledger.lease_of(lease.run_id)
    except GreenlineError as error:
        return ServiceError(f"the ledger did not answer {away}: {error}")
    if now == lease.owner:  # nobody took it meanwhile
        return ServiceError(f"the ledger did not answer {away}")
    return LeaseLost(lease.run_id, now)


def _clear_away(database: Database, run_id: str) -> None:
    """Remove what this process still wrote for a run that a person had given up meanwhile."""
    with suppress(GreenlineError, OSError):
        if ended_as(database, run_id) is not None:
            remove_run_files(run_id)


def abandon(database: Database, run_id: str, reason: str) -> str | None:
    """Give a run up, whoever carries it.

    Its attempts under way fail as `rejected`, its workstreams that are not done are abandoned, its
    sandboxes are removed; its branch stays in Greenline's clone.

    Returns:
        Who carried it until now, as people read it; None: nobody did.

    Raises:
        InputError: there is no such run, or it has ended.
    """
    with database.transaction() as ledger:
        row = ledger.get_run(run_id)
        if row is None:
            raise InputError(f"there is no run {run_id}; `greenline runs` lists them")
        if row["status"] in ENDED:
            raise InputError(f"run {run_id} is {row['status']} already; nothing is left to give up")
        carrier = ledger.end_lease(run_id)
        ledger.interrupt(run_id, reason, "rejected")
        ledger.give_up_workstreams(run_id, WorkstreamStatus.ABANDONED, reason)
        ledger.end_phases(run_id, PhaseStatus.FAILED, {"error": reason})
        finish(
            ledger,
            run_id,
            row["feature_id"] or 0,
            RunStatus.ABANDONED,
            reason=reason,
            sandboxes=SandboxStatus.ABORTED,
        )
    end_programs_in(Home.current().sandboxes / run_id)
    remove_run_files(run_id)
    return described(carrier) if carrier else None


@dataclass(frozen=True)
class Forsaken:
    """A run under way that nobody carries and that can go on.

    Attributes:
        resumes: how often it was taken up by itself since a person last did.
        flow_run_ids: the Prefect flow runs that carried it.
    """

    run_id: str
    plan_path: str
    repo_path: str
    resumes: int
    flow_run_ids: tuple[str, ...]


def forsaken_runs(database: Database) -> list[Forsaken]:
    """Return the runs that somebody has to go on with, the oldest first.

    Left out: those that wait for a person's answer, and those that a person stopped.
    """
    with database.transaction() as ledger:
        dead = [owner for owner in ledger.lease_owners() if owner_is_dead(owner)]
        found = []
        for row in ledger.uncarried_runs(dead_owners=dead):
            run_id, known = row["run_id"], row["metadata_json"]
            if known is None or "repo_path" not in known or ledger.open_ctas(run_id):
                continue
            resumed = ledger.events_of(run_id, "run_resumed")
            suspended = ledger.events_of(run_id, "run_suspended")
            if _stopped_by_a_person(resumed, suspended):
                continue
            found.append(
                Forsaken(
                    run_id,
                    known["plan_path"],
                    known["repo_path"],
                    _resumes_by_itself(resumed),
                    tuple(known.get("prefect_flow_run_ids", ())),
                )
            )
    return found


def _stopped_by_a_person(resumed: Sequence[EventRow], suspended: Sequence[EventRow]) -> bool:
    if not suspended or (resumed and resumed[-1]["id"] > suspended[-1]["id"]):
        return False
    return bool((suspended[-1]["payload_json"] or {}).get("interrupted"))


def _resumes_by_itself(resumed: Sequence[EventRow]) -> int:
    count = 0
    for event in reversed(resumed):
        if (event["payload_json"] or {}).get("by") == BY_HAND:
            break
        count += 1
    return count


def fail(database: Database, run_id: str, reason: str) -> str:
    """End a run that nobody carries and that cannot go on; return its status.

    Raises:
        RunCarried: somebody carries it after all.
    """
    with Lease.take(database, run_id) as lease, database.transaction() as ledger:
        ledger.require_lease(run_id, lease.owner)
        row = ledger.get_run(run_id)
        if row is None or row["status"] in ENDED:
            return row["status"] if row else ""
        ledger.interrupt(run_id, reason)
        ledger.give_up_workstreams(run_id, WorkstreamStatus.FAILED, reason)
        ledger.end_phases(run_id, PhaseStatus.FAILED, {"error": reason})
        states = [each["status"] for each in ledger.get_workstreams_for_run(run_id)]
        if row["status"] == RunStatus.PENDING:  # a run fails from running only
            ledger.update_run_status(run_id, RunStatus.RUNNING)
        status = RunStatus.PARTIAL if WorkstreamStatus.DONE in states else RunStatus.FAILED
        finish(
            ledger,
            run_id,
            row["feature_id"] or 0,
            status,
            reason=reason,
            sandboxes=SandboxStatus.ABORTED,
        )
    remove_run_files(run_id)
    return str(status)


def time_out(database: Database) -> list[str]:
    """End the runs whose question nobody answered in time; return their ids."""
    with database.transaction() as ledger:
        over = sorted({row["run_id"] for row in ledger.time_out_ctas()})
    ended = []
    for run_id in over:
        with suppress(RunCarried):
            fail(database, run_id, "nobody answered in time")
            ended.append(run_id)
    return ended
