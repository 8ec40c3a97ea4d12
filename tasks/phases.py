"""The phases of a feature, and how a run begins and ends.

Each phase is a row of `agent.phase_results`; the feature's own work stages (analysis, completed)
are rows of `work_stages`. Gates never depend on a language model: with a plan given and no model
configured, approaches and judging pass and their output says so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from storage.exceptions import InputError
from storage.ledger import Ledger
from storage.states import (
    CtaKind,
    FeaturePhase,
    RunStatus,
    SandboxStatus,
    StepStatus,
    WorkStage,
)
from tasks import delivery
from tasks.approvals import Verdict, verdict
from tasks.git import GitError, RefMoved
from tasks.leftovers import remove_run_files
from tasks.memories import note_approval, note_constraints
from tasks.repository import BranchTaken
from tasks.run import Run
from tasks.run_store import record_verification
from tasks.skills.events import record_skills_loaded
from tasks.skills.in_run import skills_of_run

logger = logging.getLogger(__name__)

_GIVEN = (
    "The plan was given and no language model is configured for this phase: "
    "the plan stands as the one approach, nothing was judged."
)


def begin_run(run: Run, flow_run_id: str | None) -> list[str]:
    """Record that a flow carries the run now, or carries it on.

    Returns:
        The Prefect flow runs that carried it before, which are over.
    """
    with run.database.transaction() as ledger:
        ledger.require_lease(run.run_id, run.owner)
        before = list(_metadata(ledger, run).get("prefect_flow_run_ids", []))
        if flow_run_id and flow_run_id not in before:
            flows = [*before, flow_run_id]
            ledger.update_run_metadata(run.run_id, {"prefect_flow_run_ids": flows})
        row = ledger.get_run(run.run_id)
        if row is not None and row["status"] == RunStatus.PENDING:
            ledger.update_run_status(run.run_id, RunStatus.RUNNING)
            ledger.settle_feature(run.feature_id, StepStatus.IN_PROGRESS)
            record_skills_loaded(ledger, run.run_id, skills_of_run(run))
    logger.info("run %s on branch %s from %s", run.run_id, run.branch, run.base_commit[:10])
    return [each for each in before if each != flow_run_id]


def _metadata(ledger: Ledger, run: Run) -> dict[str, Any]:
    row = ledger.get_run(run.run_id)
    return (row["metadata_json"] if row else None) or {}


def _phase(run: Run, phase: FeaturePhase, work: Callable[[], tuple[bool, dict[str, Any]]]) -> bool:
    """Do a phase between its two records; what it returns is its output.

    One that was passed before the run was cut off is not done again.
    """
    with run.database.transaction() as ledger:
        ledger.require_lease(run.run_id, run.owner)
        if ledger.has_passed(run.run_id, phase):
            return True
        ledger.set_feature_phase(run.run_id, phase)
        phase_id = ledger.start_phase(run.run_id, phase)
    try:
        passed, output = work()
    except InputError as error:  # a refusal; anything else leaves the phase to be taken up
        logger.error("%s: %s", phase, error)  # noqa: TRY400 - no fault of ours
        passed, output = False, {"error": str(error)[:2_000]}
    with run.database.transaction() as ledger:
        ledger.require_lease(run.run_id, run.owner)
        ledger.finish_phase(phase_id, "passed" if passed else "failed", output)
    return passed


def analysis(run: Run) -> bool:
    """Record the facts of the repository and the baseline suite, observed when it was prepared."""
    with run.database.transaction() as ledger:
        metadata = _metadata(ledger, run)
        if ledger.current_stage(feature_id=run.feature_id) is None:
            ledger.enter_stage(WorkStage.ANALYSIS, feature_id=run.feature_id)
    facts = metadata.get("facts", {})
    _phase(run, FeaturePhase.ANALYSIS, lambda: (True, facts))
    with run.database.transaction() as ledger:
        ledger.require_lease(run.run_id, run.owner)
        note_constraints(run, ledger, facts)
    counts = facts.get("baseline", {}).get("counts", {})
    logger.info(
        "baseline: %s", ", ".join(f"{n} {what}" for what, n in counts.items()) or "no tests"
    )
    return True


def approaches(run: Run) -> bool:
    """Note that the plan given is the one approach."""
    reason = {"approaches": [run.plan.feature], "reason_for_one": _GIVEN}
    return _phase(run, FeaturePhase.APPROACHES, lambda: (True, reason))


def judging(run: Run) -> bool:
    """Note that nothing was judged."""
    verdict = {"verdict": "approved", "findings": [], "note": _GIVEN}
    return _phase(run, FeaturePhase.JUDGING, lambda: (True, verdict))


def begin_implementation(run: Run) -> bool:
    """Enter the implementation phase; False when it was passed before the run was cut off."""
    with run.database.transaction() as ledger:
        ledger.require_lease(run.run_id, run.owner)
        if ledger.has_passed(run.run_id, FeaturePhase.IMPLEMENTATION):
            return False
        ledger.set_feature_phase(run.run_id, FeaturePhase.IMPLEMENTATION)
        run.phase_result_id = ledger.start_phase(run.run_id, FeaturePhase.IMPLEMENTATION)
    return True


def end_implementation(run: Run) -> bool:
    """Leave the implementation phase; True when every workstream is done."""
    with run.database.transaction() as ledger:
        ledger.require_lease(run.run_id, run.owner)
        states = {row["ws_id"]: row["status"] for row in ledger.get_workstreams_for_run(run.run_id)}
        done = all(status == "done" for status in states.values())
        output = {"workstreams": {key.split("/", 1)[1]: status for key, status in states.items()}}
        ledger.finish_phase(run.phase_result_id, "passed" if done else "failed", output)
    return done


def approved(run: Run) -> Verdict:
    """Ask a person before the result is delivered, where the settings want that; say how it stands.

    Somebody is asked once: whoever takes the run up finds the question, or its answer.
    """
    if not run.settings.delivery.approval:
        return "approved"
    with run.database.transaction() as ledger:
        ledger.require_lease(run.run_id, run.owner)
        asked = ledger.latest_cta(run.run_id, None)
        if asked is not None:
            note_approval(run, ledger, asked)
            return verdict(asked)
        added, deleted = delivery.lines_changed(run)
        ledger.request_cta(
            run.run_id,
            CtaKind.APPROVAL,
            f"{run.plan.feature} is done on {run.branch} ({run.sandbox.head[:12]}, {added} lines "
            f"added, {deleted} deleted). Deliver it ({run.settings.delivery.mode})?",
            timeout_s=run.settings.limits.approval_timeout_s,
        )
    logger.warning("the delivery waits for a person: `greenline inbox` has the question")
    return "waiting"


def pr(run: Run, approval: Verdict = "approved") -> bool:
    """Run the gates on the merged result and deliver it; True when it was delivered.

    Args:
        run: the run.
        approval: what a person said; anything but `approved` fails the phase.
    """
    if approval == "approved":
        return _phase(run, FeaturePhase.PR, lambda: _pr(run))
    reason = "nobody answered in time" if approval == "timed_out" else "a person said no"
    logger.error("nothing was delivered: %s", reason)
    output = {"failure_class": "rejected", "reason": reason}
    return _phase(run, FeaturePhase.PR, lambda: (False, output))


def _pr(run: Run) -> tuple[bool, dict[str, Any]]:
    for last in (False, False, True):
        output: dict[str, Any] = {}
        try:
            return _deliver(run, output), output
        except RefMoved as error:  # while the gates ran: they have to run on the new merge
            logger.warning("the target branch moved meanwhile: %s", error)
            if last:
                return False, output | {"failure_class": "conflict", "reason": str(error)}
        except (BranchTaken, GitError) as error:
            logger.error("nothing was delivered: %s", error)  # noqa: TRY400 - no fault of ours
            return False, output | {"failure_class": "conflict", "reason": str(error)}
    raise AssertionError("the last try returns")


def _deliver(run: Run, output: dict[str, Any]) -> bool:
    """Merge, check, deliver; True when it was delivered. What came of it is put into `output`."""
    merged = delivery.merge_with_target(run)
    if merged.conflicts:
        named = ", ".join(merged.conflicts)
        reason = f"{run.branch} conflicts with {merged.target} in {named}; nothing was delivered"
        logger.error("%s", reason)
        output |= {
            "failure_class": "conflict",
            "reason": reason,
            "conflicts": list(merged.conflicts),
        }
        return False
    report = delivery.check_merged(run, merged)
    output |= {"commit": merged.commit, "checks": report.checks}
    if report.verification is not None:
        with run.database.transaction() as ledger:
            record_verification(ledger, run.run_id, report.verification, commit=merged.commit)
            for rerun in report.reruns:
                record_verification(ledger, run.run_id, rerun, commit=merged.commit)
    if not report.passed:
        failed = report.checks[-1]
        output["reason"] = f"the {failed['check']} gate refused the result: {failed['reason']}"
        logger.error("%s", output["reason"])
        return False
    delivered = delivery.deliver(run, merged)
    added, deleted = delivery.lines_changed(run)
    with run.database.transaction() as ledger:
        ledger.record_delivery(
            run.run_id,
            mode=delivered.mode,
            target_branch=merged.target,
            commit_sha=delivered.commit,
            accepted=delivered.accepted,
            lines_added=added,
            lines_deleted=deleted,
        )
    output["delivery"] = {"mode": delivered.mode, "target": delivered.target}
    if delivered.note:
        output["delivery"]["note"] = delivered.note
    where = f" into {delivered.target}" if delivered.mode == "merge" else ""
    logger.info("delivered as %s: %s%s", delivered.mode, run.branch, where)
    return True


def end_run(run: Run) -> str:
    """Record how the run ended and return its status.

    Completed: every workstream is done and the result delivered. Partial: at least one is done.
    Failed: none is, or a phase failed.
    """
    with run.database.transaction() as ledger:
        ledger.require_lease(run.run_id, run.owner)
        states = [row["status"] for row in ledger.get_workstreams_for_run(run.run_id)]
        done = sum(status == "done" for status in states)
        delivered = ledger.has_passed(run.run_id, FeaturePhase.PR)
        if done == len(states) and delivered:
            status = RunStatus.COMPLETED
        elif 0 < done < len(states):
            status = RunStatus.PARTIAL
        else:
            status = RunStatus.FAILED
        finish(ledger, run.run_id, run.feature_id, status)
    remove_run_files(run.run_id, run.sandbox)
    logger.info("run %s is %s", run.run_id, status)
    return str(status)


def finish(
    ledger: Ledger,
    run_id: str,
    feature_id: int,
    status: RunStatus,
    *,
    reason: str | None = None,
    sandboxes: SandboxStatus = SandboxStatus.STOPPED,
) -> None:
    """End a run in the ledger, with its feature, its phase, its sandboxes, its locks and lease."""
    completed = status == RunStatus.COMPLETED
    ledger.set_feature_phase(
        run_id, FeaturePhase.COMPLETED if completed else FeaturePhase.FAILED, reason=reason
    )
    if completed:
        ledger.enter_stage(WorkStage.COMPLETED, feature_id=feature_id)
    else:
        ledger.finish_stage(feature_id=feature_id)
    ledger.settle_tasks(feature_id)
    ledger.settle_feature(feature_id, StepStatus.COMPLETED if completed else StepStatus.FAILED)
    ledger.end_sandboxes(run_id, sandboxes, reason)
    ledger.unlock_run(run_id)
    ledger.close_ctas(run_id, reason or f"the run is {status}")
    ledger.update_run_status(run_id, status, reason=reason)
