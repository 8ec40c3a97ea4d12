"""A run in the ledger: stored whole from what was prepared, opened again from what is stored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from storage.database import Database
from storage.exceptions import InputError
from storage.home import Home
from storage.ledger import Ledger
from storage.rows import CaseResultRow
from tasks.agents.registry import make_agent
from tasks.config import Settings
from tasks.gates import Baseline
from tasks.gates.junit import TestResult
from tasks.plan import FeaturePlan, Subtask
from tasks.project_commands import project_tests
from tasks.repository import UserRepository
from tasks.run import Line, PlannedStep, Prepared, Run
from tasks.sandbox import ProjectClone, Sandbox
from tasks.verify import Verification, tolerated_exit


def store_run(ledger: Ledger, prepared: Prepared) -> None:
    """Store project, plan, run, workstreams, steps, sandbox and baseline: all or nothing."""
    settings, repository = prepared.settings, prepared.repository
    project = ledger.get_or_create_project(
        str(repository.path), settings.project.name or repository.name, repository.default_branch
    )
    plan = prepared.plan
    feature_id = ledger.create_feature(project["id"], plan.feature, plan.description)
    ledger.create_run(
        run_id=prepared.run_id,
        feature_id=feature_id,
        metadata={
            "plan": plan.model_dump(mode="json"),
            "plan_path": str(prepared.plan_path),
            "plan_hash": plan.sha256(),
            "repo_path": str(repository.path),
            "base_commit": prepared.base_commit,
            "branch": prepared.branch,
            "agent": prepared.agent,
            "config": settings.model_dump(mode="json", by_alias=True),
            "tolerated_exit_code": tolerated_exit(prepared.baseline),
            "facts": prepared.facts,
            "notes": list(prepared.notes),
            "prefect_flow_run_ids": [],
        },
    )
    ledger.create_feature_run(
        prepared.run_id, prompt=plan.description or plan.feature, github_branch=prepared.branch
    )
    for task in plan.tasks:
        task_id = ledger.create_task(feature_id, task.title, task.description)
        for subtask in task.subtasks:
            _store_subtask(ledger, prepared.run_id, project["id"], task_id, subtask)
    record_sandbox(ledger, prepared)
    record_verification(ledger, prepared.run_id, prepared.baseline, commit=prepared.base_commit)


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
    ledger.create_workstream(
        run_id,
        f"{run_id}/{subtask.key}",
        depends_on=[f"{run_id}/{key}" for key in subtask.depends_on],
        subtask_id=subtask_id,
    )
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


def record_sandbox(ledger: Ledger, prepared: Prepared) -> None:
    """Record the run's sandbox with what it was made from, running."""
    sandbox = ledger.create_sandbox(
        prepared.run_id,
        source_type="git",
        source_url=str(prepared.repository.path),
        source_revision=prepared.base_commit,
        cwd=str(prepared.sandbox.path),
        runtime="process",
    )
    ledger.update_sandbox_status(sandbox, "running")


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
        duration_ms=verification.duration_ms,
        passed=counts.get("passed", 0),
        failed=counts.get("failed", 0),
        errored=counts.get("errored", 0),
        skipped=counts.get("skipped", 0),
        load_errors=counts.get("load_error", 0),
    )


def open_run(database: Database, run_id: str) -> Run:
    """Open a stored run to be carried on in this process.

    Raises:
        InputError: there is no such run.
    """
    home = Home.current()
    with database.transaction() as ledger:
        row = ledger.get_run(run_id)
        if row is None or row["metadata_json"] is None:
            raise InputError(f"there is no run {run_id}; `greenline runs` lists them")
        known = row["metadata_json"]
        project = ledger.get_or_create_project(known["repo_path"], "", "")
        step_ids = ledger.step_ids(run_id)
        baseline = ledger.find_verification(run_id, kind="baseline")
        first = stored_results(ledger.results_of(baseline["id"])) if baseline else {}
        last = stored_results(ledger.last_outcomes(run_id))
    settings = Settings.model_validate(known["config"])
    plan = FeaturePlan.model_validate(known["plan"])
    repository = UserRepository.open(Path(known["repo_path"]))
    clone = ProjectClone.prepare(home, repository, known["base_commit"])
    folder = home.sandboxes / run_id
    sandbox = Sandbox.open(clone, folder / "main", branch=known["branch"])
    command = project_tests(settings, folder / "scratch", known["tolerated_exit_code"])
    line = Line(sandbox, Baseline(first=first, last=last or first))
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
        branch=known["branch"],
        line=line,
        test_command=command,
        steps=_planned_steps(run_id, plan, settings, known["agent"], step_ids),
        scratch=folder / "scratch",
    )


def _planned_steps(
    run_id: str,
    plan: FeaturePlan,
    settings: Settings,
    override: str | None,
    step_ids: dict[tuple[str, int], int],
) -> dict[str, tuple[PlannedStep, ...]]:
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
