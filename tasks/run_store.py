"""A run in the ledger: stored whole from what was prepared, opened again from what is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from storage.database import Database
from storage.exceptions import InputError
from storage.home import Home
from storage.lease import LEASE_S, this_owner
from storage.ledger import Ledger
from storage.rows import CaseResultRow, RunRow
from storage.states import SandboxStatus
from tasks.agents.registry import make_agent
from tasks.commits import clone_with, fetch
from tasks.config import Settings
from tasks.fence.policy import network_policy
from tasks.flaky import baseline_taken_up
from tasks.gates import Baseline
from tasks.gates.junit import TestResult
from tasks.plan import FeaturePlan, Subtask
from tasks.process.strays import end_programs_in
from tasks.project_commands import project_tests, run_setup
from tasks.repository import UserRepository
from tasks.run import Line, PlannedStep, Prepared, Run
from tasks.sandbox import Sandbox
from tasks.verify import Verification, tolerated_exit


def store_run(ledger: Ledger, prepared: Prepared, flow_run_id: str | None = None) -> None:
    """Store project, plan, run, workstreams, steps, sandbox and baseline: all or nothing.

    The run is this process's from the beginning: its lease is taken with it.

    Args:
        ledger: a transaction.
        prepared: the run.
        flow_run_id: the Prefect flow run that carries it, where it is known by now.
    """
    settings, repository = prepared.settings, prepared.repository
    project = ledger.get_or_create_project(
        str(repository.path), settings.project.name or repository.name, repository.default_branch
    )
    plan, earlier = prepared.plan, prepared.earlier
    feature_id = earlier.feature_id if earlier else None
    same_tree = feature_id is not None
    if earlier is not None:
        ledger.require_no_rollback(earlier.run_id)
    if feature_id is not None:
        ledger.require_tree_free(feature_id)
    else:
        feature_id = ledger.create_feature(project["id"], plan.feature, plan.description)
    tolerated = earlier.tolerated_exit if earlier else tolerated_exit(prepared.baseline)
    ledger.create_run(
        run_id=prepared.run_id,
        feature_id=feature_id,
        metadata={
            "plan": plan.model_dump(mode="json"),
            "plan_path": str(prepared.plan_path),
            "plan_hash": plan.sha256(),
            "repo_path": str(repository.path),
            "base_commit": prepared.base_commit,
            "origin_commit": earlier.origin_commit if earlier else prepared.base_commit,
            "branch": prepared.branch,
            "agent": prepared.agent,
            "config": settings.model_dump(mode="json", by_alias=True, exclude_unset=True),
            "config_path": str(prepared.config_path) if prepared.config_path else None,
            "tolerated_exit_code": tolerated,
            "facts": prepared.facts,
            "notes": list(prepared.notes),
            "options": asdict(prepared.options),
            "baseline_run": earlier.baseline_run if earlier else prepared.run_id,
            "from_run": earlier.run_id if earlier else None,
            "taken_over": {f"{key}/{number}": n for (key, number), n in earlier.done.items()}
            if earlier
            else {},
            "prefect_flow_run_ids": [flow_run_id] if flow_run_id else [],
        },
    )
    ledger.set_run_head(prepared.run_id, prepared.base_commit)
    ledger.acquire_lease(prepared.run_id, this_owner(), LEASE_S)
    ledger.create_feature_run(
        prepared.run_id, prompt=plan.description or plan.feature, github_branch=prepared.branch
    )
    if same_tree:
        _store_workstreams(ledger, prepared, ledger.subtask_ids(feature_id))
    else:
        for task in plan.tasks:
            task_id = ledger.create_task(feature_id, task.title, task.description)
            for subtask in task.subtasks:
                _store_subtask(ledger, prepared.run_id, project["id"], task_id, subtask)
    record_sandbox(
        ledger, prepared.run_id, prepared.sandbox, prepared.repository, prepared.settings
    )
    record_verification(ledger, prepared.run_id, prepared.baseline, commit=prepared.base_commit)
    for rerun in prepared.reruns:
        record_verification(ledger, prepared.run_id, rerun, commit=prepared.base_commit)


def _store_subtask(
    ledger: Ledger, run_id: str, project_id: int, task_id: int, subtask: Subtask
) -> None:
    subtask_id = ledger.create_subtask(
        task_id,
        subtask.key,
        subtask.title,
        description=subtask.description,
        acceptance_criteria=subtask.acceptance_criteria,
        depends_on=subtask.depends_on,
    )
    _store_workstream(ledger, run_id, subtask, subtask_id)
    parent: int | None = None
    for numbered in subtask.numbered_steps():
        step = numbered.step
        parent = ledger.create_step(
            project_id,
            subtask_id,
            numbered.number,
            step.step_type,
            step.assigned_to,
            file_path=step.file_path,
            instructions=step.instructions,
            context_files=list(step.context_files),
            parent_step_id=parent,
        )


def _store_workstreams(ledger: Ledger, prepared: Prepared, subtask_ids: Mapping[str, int]) -> None:
    """Store the workstreams of a run that goes on with a tree that is there."""
    for subtask in prepared.plan.subtasks:
        _store_workstream(ledger, prepared.run_id, subtask, subtask_ids[subtask.key])


def _store_workstream(ledger: Ledger, run_id: str, subtask: Subtask, subtask_id: int) -> None:
    ledger.create_workstream(
        run_id,
        f"{run_id}/{subtask.key}",
        depends_on=[f"{run_id}/{key}" for key in subtask.depends_on],
        subtask_id=subtask_id,
    )


def record_sandbox(
    ledger: Ledger, run_id: str, sandbox: Sandbox, repository: UserRepository, settings: Settings
) -> str:
    """Record a sandbox of a run with what it was made from, running; return its id."""
    policy = network_policy(settings)
    sandbox_id = ledger.create_sandbox(
        run_id,
        source_type="git",
        source_url=str(repository.path),
        source_revision=sandbox.head,
        cwd=str(sandbox.path),
        runtime=policy["fence"] or "process",
        network_policy=policy,
    )
    ledger.update_sandbox_status(sandbox_id, SandboxStatus.RUNNING)
    return sandbox_id


def record_verification(
    ledger: Ledger,
    run_id: str,
    verification: Verification,
    *,
    attempt_id: int | None = None,
    commit: str | None = None,
) -> None:
    """Record one execution of the test command with the outcome of each test."""
    counts = verification.run.counts
    ledger.record_verification(
        run_id,
        results=verification.run.results.values(),
        kind=verification.kind,
        tree=verification.tree,
        command_hash=verification.command_hash,
        report_state=verification.report_state,
        attempt_id=attempt_id,
        commit_sha=commit,
        exit_code=verification.run.exit_code,
        timed_out=verification.timed_out,
        started_at=verification.started_at,
        duration_ms=verification.duration_ms,
        passed=counts.get("passed", 0),
        failed=counts.get("failed", 0),
        errored=counts.get("errored", 0),
        skipped=counts.get("skipped", 0),
        load_errors=counts.get("load_error", 0),
    )


def open_run(database: Database, run_id: str, *, taken_up: bool = False) -> Run:
    """Open a stored run to be carried on in this process, which holds its lease.

    The branch is put where the ledger says that the run's line stands, and the worktree is
    brought there, whatever state a process that was killed left them in. What such a process left
    running is ended. Commits that another host made come from the ledger.

    Args:
        database: the ledger.
        run_id: the run.
        taken_up: a person asked for it, after it was cut off.

    Raises:
        InputError: there is no such run, or its commits are neither on this machine nor in the
            ledger.
    """
    home = Home.current().ensure()
    with database.transaction() as ledger:
        row = ledger.get_run(run_id)
        if row is None or row["metadata_json"] is None:
            raise InputError(f"there is no run {run_id}; `greenline runs` lists them")
        known = row["metadata_json"]
        project = ledger.get_or_create_project(known["repo_path"], "", "")
        step_ids = ledger.step_ids(run_id)
        baseline = ledger.find_verification(known.get("baseline_run", run_id), kind="baseline")
        first = stored_results(ledger.results_of(baseline["id"])) if baseline else {}
        last = stored_results(ledger.last_outcomes(run_id))
        flaky = ledger.flaky_tests(run_id) | ledger.flaky_tests(known.get("baseline_run", run_id))
        sandbox_id = ledger.current_sandbox(run_id)
        streams = ledger.get_workstreams_for_run(run_id)
    settings = Settings.model_validate(known["config"])
    plan = FeaturePlan.model_validate(known["plan"])
    repository = UserRepository.open(Path(known["repo_path"]))
    folder = home.sandboxes / run_id
    end_programs_in(folder)
    sandbox = _open_sandbox(database, home, repository, row, folder)
    for stream in streams:  # what is not to be had is done anew (`tasks.lanes`)
        if lane_head := (stream["metadata_json"] or {}).get("lane_head"):
            fetch(database, sandbox.clone.git, lane_head)
    command = project_tests(
        settings, folder / "scratch", sandbox.clone, known["tolerated_exit_code"]
    )
    if sandbox.needs_set_up:
        run_setup(settings, sandbox, command)
    options = known.get("options", {})
    seen = Baseline(first=first, last=last or first)
    return Run(
        database=database,
        run_id=run_id,
        project_id=project["id"],
        feature_id=row["feature_id"] or 0,
        plan=plan,
        plan_dir=Path(known["plan_path"]).parent,
        settings=settings,
        repository=repository,
        base_commit=known["base_commit"],
        origin_commit=known.get("origin_commit", known["base_commit"]),
        branch=known["branch"],
        line=Line(sandbox, baseline_taken_up(seen, flaky), flaky=flaky),
        test_command=command,
        steps=planned_steps(run_id, plan, settings, known["agent"], step_ids),
        folder=folder,
        scratch=folder / "scratch",
        owner=this_owner(),
        sandbox_id=sandbox_id or "",
        no_wait=options.get("no_wait", False),
        max_parallel=options.get("max_parallel", 1),
        taken_up=datetime.now(UTC) if taken_up else None,
        taken_over={
            (key.rpartition("/")[0], int(key.rpartition("/")[2])): number
            for key, number in known.get("taken_over", {}).items()
        },
    )


def _open_sandbox(
    database: Database, home: Home, repository: UserRepository, row: RunRow, folder: Path
) -> Sandbox:
    """Take the run's sandbox over, on its branch where the ledger says that it stands."""
    known: dict[str, Any] = row["metadata_json"] or {}
    head = row["head_commit"] or known["base_commit"]
    clone = clone_with(database, home, repository, row["run_id"], known, head)
    clone.put_branch(known["branch"], head)
    home.folder(folder)
    return Sandbox.open(clone, folder / "main", branch=known["branch"])


def planned_steps(
    run_id: str,
    plan: FeaturePlan,
    settings: Settings,
    override: str | None,
    step_ids: dict[tuple[str, int], int],
) -> dict[str, tuple[PlannedStep, ...]]:
    """Return a plan's steps by subtask, with their rows and who does them."""
    steps: dict[str, tuple[PlannedStep, ...]] = {}
    for subtask in plan.subtasks:
        numbered_steps = subtask.numbered_steps()
        planned: list[PlannedStep] = []
        tests: list[str] = []
        for numbered in numbered_steps:
            step = numbered.step
            # A support file (`unchanged`) holds no tests that could be run or be green.
            holds_tests = step.step_type == "test" and numbered.expect != "unchanged"
            if holds_tests and step.file_path not in tests:
                tests.append(step.file_path)
            role = step.assigned_to
            planned.append(
                PlannedStep(
                    subtask=subtask,
                    numbered=numbered,
                    step_id=step_ids[subtask.key, numbered.number],
                    ws_id=f"{run_id}/{subtask.key}",
                    agent=make_agent(settings.agent_for(role, override).name, settings),
                    done_tests=tuple(tests),
                    last=numbered is numbered_steps[-1],
                )
            )
        steps[subtask.key] = tuple(planned)
    return steps


def stored_results(rows: Sequence[CaseResultRow]) -> dict[str, TestResult]:
    """Return stored test results as the gates take them."""
    return {
        row["node_id"]: TestResult(
            node_id=row["node_id"],
            outcome=row["outcome"],  # type: ignore[arg-type]  # the table checks the values
            duration_ms=row["duration_ms"] or 0,
            message=row["message"] or "",
            file_path=row["file_path"],
            moment="load" if row["outcome"] == "load_error" else "run",
        )
        for row in rows
    }
