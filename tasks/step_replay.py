"""An attempt done again by another agent, in a sandbox that is thrown away, to be compared.

It starts from the commit that the attempt started from, is told what that was told, and goes
through the same gates. Nothing is merged: no step, attempt, branch or number changes.
What is recorded is that it happened: an invocation of the run (of no attempt, so that the sums of
attempts stay true), the suite's runs, the sandbox, and an event with the comparison.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from storage.database import Database
from storage.exceptions import InputError
from storage.home import Home
from storage.lease import this_owner
from storage.ledger import Ledger
from storage.rows import AttemptRow, RunRow
from storage.states import AttemptStatus, FeaturePhase, SandboxStatus
from tasks.agents.base import Agent
from tasks.agents.registry import make_agent
from tasks.breaker import PASSING
from tasks.commits import clone_with, fetch
from tasks.config import Settings
from tasks.context.besides import besides
from tasks.context.of_attempt import rebuilt
from tasks.diffs import count_lines
from tasks.flaky import baseline_taken_up
from tasks.gates import Baseline, Verdict
from tasks.git import Git
from tasks.invocation import invoke
from tasks.leftovers import claim
from tasks.plan import FeaturePlan
from tasks.project_commands import project_tests, run_setup
from tasks.records import Work, record_invocation, token_usage
from tasks.repository import UserRepository
from tasks.repository_settings import read_settings
from tasks.run import Line, PlannedStep, Run
from tasks.run_store import planned_steps, record_sandbox, record_verification, stored_results
from tasks.sandbox import Sandbox
from tasks.sandbox.trees import remove
from tasks.step_gates import judge
from tasks.stuck import instructions_before
from tasks.verify import Verification

KIND: Final = "replay"
"""The kind of the verifications that a replay makes."""


@dataclass(frozen=True)
class Outcome:
    """One side of the comparison; what was not measured is None.

    Attributes:
        duration_ms: wall-clock time from the attempt's begin to its end.
        tests: how many tests had which outcome in the last run of the suite.
        lines_added, lines_deleted: of the step's file; None for no change and binary files.
        commit: what it left, whether it passed or not.
    """

    agent: str | None
    status: str
    failure_class: str | None
    reason: str | None
    exit_code: int | None
    duration_ms: int | None
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    tests: dict[str, int] | None
    lines_added: int | None
    lines_deleted: int | None
    commit: str | None


@dataclass(frozen=True)
class Comparison:
    """An attempt and its replay, side by side.

    Attributes:
        same_change: both left the same files.
        ref: where Greenline's clone keeps what the replay left, None when it left nothing.
    """

    number: int
    commit_before: str
    original: Outcome
    replay: Outcome
    same_change: bool
    ref: str | None


def replay_attempt(
    database: Database, project_id: int, number: int, agent: str, config: Path | None = None
) -> Comparison:
    """Do an attempt again with another agent, and compare.

    Args:
        database: the ledger.
        project_id: the project.
        number: the attempt's number within it.
        agent: the agent's name in the present settings, or those of the run; or an adapter's.
        config: settings to look the agent up in, instead of the repository's own.

    Raises:
        InputError: there is no such attempt or agent, or the attempt's commits are not here.
    """
    home = Home.current().ensure()
    with database.transaction() as ledger:
        attempt = ledger.attempt_by_number(project_id, number)
        row = ledger.get_run(attempt["run_id"]) if attempt else None
    if attempt is None:
        raise InputError(f"there is no attempt {number}; `greenline steps` lists them")
    known = (row["metadata_json"] if row else None) or {}
    if row is None or "plan" not in known or attempt["step_id"] is None:
        raise InputError(f"attempt {number} was recorded from elsewhere and cannot be replayed")
    repository = UserRepository.open(Path(known["repo_path"]))
    other = _agent(agent, repository, Settings.model_validate(known["config"]), config)
    other.check(
        FeaturePlan.model_validate(known["plan"]), Path(known["plan_path"]).parent, repository
    )
    with _sandboxed(database, home, repository, row, attempt, other) as (run, step):
        return _compare(run, step, attempt)


def _agent(name: str, repository: UserRepository, stored: Settings, config: Path | None) -> Agent:
    """Find the agent in the present settings, else in those that the run had.

    Raises:
        InputError: neither has it.
    """
    present, _ = read_settings(repository, repository.head, config)
    try:
        return make_agent(name, present)
    except InputError:
        if config is not None:
            raise
        return make_agent(name, stored)


@contextmanager
def _sandboxed(
    database: Database,
    home: Home,
    repository: UserRepository,
    row: RunRow,
    attempt: AttemptRow,
    agent: Agent,
) -> Iterator[tuple[Run, PlannedStep]]:
    """Give the run and the step as they were when the attempt began, in a sandbox of their own."""
    known: dict[str, Any] = row["metadata_json"] or {}
    commit = attempt["commit_sha_before"] or ""
    clone = clone_with(database, home, repository, row["run_id"], known, commit)
    if (left := attempt["commit_sha_after"]) is not None:
        fetch(database, clone.git, left)
    settings = Settings.model_validate(known["config"])
    name = f"replay-{uuid.uuid4().hex[:12]}"
    folder = home.folder(home.sandboxes / name)
    claim(folder)
    command = project_tests(settings, folder / "scratch", clone, known["tolerated_exit_code"])
    branch = f"greenline-spare/{name}"
    sandbox_id = None
    try:
        sandbox = Sandbox.create(clone, folder / "main", branch=branch, base_commit=commit)
        with database.transaction() as ledger:
            own = ledger.current_sandbox(row["run_id"])
            sandbox_id = record_sandbox(ledger, row["run_id"], sandbox, repository, settings)
            if own is not None:
                ledger.use_sandbox(row["run_id"], own)
            step_ids = ledger.step_ids(row["run_id"])
            origin = known.get("baseline_run", row["run_id"])
            baseline = ledger.find_verification(origin, kind="baseline")
            first = stored_results(ledger.results_of(baseline["id"])) if baseline else {}
            flaky = ledger.flaky_tests(row["run_id"]) | ledger.flaky_tests(origin)
            phase = ledger.latest_phase(row["run_id"], FeaturePhase.IMPLEMENTATION)
        run_setup(settings, sandbox, command)
        plan = FeaturePlan.model_validate(known["plan"])
        steps = planned_steps(row["run_id"], plan, settings, known["agent"], step_ids)
        (step,) = (
            each for of in steps.values() for each in of if each.step_id == attempt["step_id"]
        )
        run = Run(
            database=database,
            run_id=row["run_id"],
            project_id=attempt["project_id"] or 0,
            feature_id=row["feature_id"] or 0,
            plan=plan,
            plan_dir=Path(known["plan_path"]).parent,
            settings=settings,
            repository=repository,
            base_commit=known["base_commit"],
            origin_commit=known.get("origin_commit", known["base_commit"]),
            branch=branch,
            line=Line(sandbox, Baseline(first=first), flaky=flaky),
            test_command=command,
            steps=steps,
            folder=folder,
            scratch=folder / "scratch",
            owner=this_owner(),
            phase_result_id=phase or "",
            sandbox_id=sandbox_id,
        )
        before = sandbox.manifest()
        seen = command.verify(
            sandbox.path, tree=sandbox.tree(), kind=KIND, known_files=sandbox.files()
        )
        sandbox.clean_after_tests(before, habitual=True)
        run.line.baseline = baseline_taken_up(Baseline(first, dict(seen.run.results)), flaky)
        yield run, replace(step, agent=agent)
    finally:
        remove(folder)
        clone.drop_branch(branch)
        if sandbox_id is not None:
            with database.transaction() as ledger:
                ledger.update_sandbox_status(sandbox_id, SandboxStatus.STOPPING)
                ledger.update_sandbox_status(sandbox_id, SandboxStatus.STOPPED)


def _compare(run: Run, step: PlannedStep, attempt: AttemptRow) -> Comparison:
    with run.database.transaction() as ledger:
        tries = [
            row
            for row in ledger.attempts_of_step(step.step_id, run.run_id)
            if (row["number"] or 0) < (attempt["number"] or 0)
            and row["status"] == "failure"
            and row["failure_class"] not in PASSING
        ]
        told = instructions_before(run, step, ledger, attempt["started_at"])
        original = _original(run, step, ledger, attempt)
    sandbox = run.sandbox
    failed = tries[-1] if tries else None
    context = rebuilt(run, step, attempt, failed, instructions=told, known=besides(run, step))
    work = Work(attempt, context, step.numbered.step.file_path, token=0, apart=True)
    work.own_tries = 1 + len(tries)
    began = datetime.now(UTC)
    before = sandbox.manifest()
    work.agent = invoke(run, step, work, replayed=True)
    work.left = sandbox.examine(before, step.numbered.step.file_path)
    verdict = judge(run, step, work, work.agent, work.left)
    duration_ms = round((datetime.now(UTC) - began).total_seconds() * 1000)
    commit, ref = None, None
    if work.left.changed:
        commit = sandbox.commit(work.left.tree, f"Replay of attempt {attempt['number']}\n")
        ref = f"refs/greenline/replays/{run.sandbox_id}"
        sandbox.clone.git.run("update-ref", "--no-deref", ref, commit)
    made = _replayed(run, step, work, verdict, commit, duration_ms)
    comparison = Comparison(
        number=attempt["number"] or 0,
        commit_before=sandbox.head,
        original=original,
        replay=made,
        same_change=_same_tree(sandbox.clone.git, original.commit, commit),
        ref=ref,
    )
    with run.database.transaction() as ledger:
        if run.phase_result_id:
            record_invocation(run, work, ledger, work.agent, attempt_id=None)
        for verification in work.verifications:
            own = replace(verification, kind=KIND)
            record_verification(ledger, run.run_id, own, commit=commit)
        ledger.record_event(run.run_id, step.ws_id, "step_replayed", _facts(comparison))
    return comparison


def _original(run: Run, step: PlannedStep, ledger: Ledger, attempt: AttemptRow) -> Outcome:
    result = attempt["result_json"] or {}
    usage = attempt["token_usage"] or {}
    added, deleted = _lines(run.sandbox, step, attempt["commit_sha_after"])
    config = attempt["agent_config"] or {}
    return Outcome(
        agent=config.get("name") or config.get("adapter"),
        status=attempt["status"],
        failure_class=attempt["failure_class"],
        reason=result.get("reason") or result.get("error"),
        exit_code=attempt["exit_code"],
        duration_ms=attempt["duration_ms"],
        input_tokens=usage.get("prompt_tokens"),
        output_tokens=usage.get("completion_tokens"),
        cost_usd=usage.get("cost"),
        tests=ledger.counts_of_attempt(attempt["id"]),
        lines_added=added,
        lines_deleted=deleted,
        commit=attempt["commit_sha_after"],
    )


def _replayed(
    run: Run,
    step: PlannedStep,
    work: Work,
    verdict: Verdict,
    commit: str | None,
    duration_ms: int,
) -> Outcome:
    assert work.agent is not None  # noqa: S101 - it has run
    usage = token_usage(work.agent.usage) or {}
    if not verdict.passed:
        status = AttemptStatus.FAILURE
    else:
        status = AttemptStatus.SKIPPED if work.skipped else AttemptStatus.SUCCESS
    added, deleted = _lines(run.sandbox, step, commit)
    config = step.agent.describe()
    last: Verification | None = work.verifications[-1] if work.verifications else None
    return Outcome(
        agent=config.get("name") or config.get("adapter"),
        status=str(status),
        failure_class=verdict.failure_class,
        reason=verdict.reason,
        exit_code=work.agent.exit_code,
        duration_ms=duration_ms,
        input_tokens=usage.get("prompt_tokens"),
        output_tokens=usage.get("completion_tokens"),
        cost_usd=usage.get("cost"),
        tests=last.run.counts if last else None,
        lines_added=added,
        lines_deleted=deleted,
        commit=commit,
    )


def _lines(
    sandbox: Sandbox, step: PlannedStep, commit: str | None
) -> tuple[int | None, int | None]:
    """Count the lines that a commit changed in the step's file since the one before."""
    if commit is None or commit == sandbox.head or sandbox.clone.git.resolve(commit) is None:
        return None, None
    path = step.numbered.step.file_path
    return count_lines(sandbox.clone.git, sandbox.head, commit, path) or (None, None)


def _same_tree(git: Git, one: str | None, other: str | None) -> bool:
    if one is None or other is None or git.resolve(one) is None:
        return False
    return git.tree_of(one) == git.tree_of(other)


def _facts(comparison: Comparison) -> dict[str, Any]:
    keys = ("status", "failure_class", "duration_ms", "input_tokens", "output_tokens", "cost_usd")
    sides = {"original": comparison.original, "replay": comparison.replay}
    return {
        "number": comparison.number,
        "agent": comparison.replay.agent,
        "same_change": comparison.same_change,
        "ref": comparison.ref,
        **{name: {key: getattr(side, key) for key in keys} for name, side in sides.items()},
    }
