"""The pr phase: the gates once more on the merged result, then delivery.

Nothing that failed a gate gets here. The result is published to the user's repository as a
branch; with `merge` the target branch is moved as well, unless it is checked out somewhere: the
user's checkouts are never touched.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.config.commands import expand_command
from tasks.gates import judge_suite
from tasks.git import GitError
from tasks.process import ProcessResult, run_guarded
from tasks.repository import BranchTaken
from tasks.run import Run
from tasks.sandbox import Sandbox
from tasks.verify import Verification, suite_environment
from tasks.workstream import may_lose

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Merged:
    """The result as it would be on the target branch.

    Attributes:
        commit: the run's head, or a merge of it with what the target branch has become.
        target: the target branch.
        target_commit: where the target branch stood, None when it does not exist.
        conflicts: the files in conflict; nothing can be delivered to the target then.
    """

    commit: str
    target: str
    target_commit: str | None
    conflicts: tuple[str, ...] = ()


@dataclass
class GateReport:
    """What the gates found on the merged result, in their order; the last one may be red."""

    passed: bool = True
    checks: list[dict[str, Any]] = field(default_factory=list)
    verification: Verification | None = None

    def add(self, name: str, *, passed: bool, **facts: object) -> bool:
        """Note one check and return whether it passed."""
        self.checks.append({"check": name, "passed": passed, **facts})
        self.passed = self.passed and passed
        return passed


def merge_with_target(run: Run) -> Merged:
    """Bring the run's head together with the target branch, in Greenline's own clone."""
    head = run.line.sandbox.head
    target = run.settings.delivery.target or run.repository.default_branch
    if run.settings.delivery.mode == "branch":
        return Merged(head, target, None)
    git = run.line.sandbox.clone.git
    tip = run.repository.git.resolve(f"refs/heads/{target}")
    if tip is None or tip == run.base_commit or git.is_ancestor(tip, head):
        return Merged(head, target, tip)
    merged = git.call("merge-tree", "--write-tree", "--name-only", "-z", tip, head)
    words = [word for word in merged.stdout.decode(errors="replace").split("\0") if word]
    if merged.status != 0:
        return Merged(head, target, tip, conflicts=tuple(words[1:]) or ("unknown",))
    commit = run.line.sandbox.commit(
        words[0], f"Merge {run.branch} into {target}\n\nGreenline-Run: {run.run_id}\n", (tip, head)
    )
    return Merged(commit, target, tip)


def check_merged(run: Run, merged: Merged) -> GateReport:
    """Run typecheck, test, lint and build on the merged result; stop at the first that fails."""
    line = run.line.sandbox
    if merged.commit == line.head:
        return _check(run, line, merged)
    sandbox = Sandbox.create(
        line.clone,
        line.path.parent / "delivery",
        branch=f"{run.branch}-merged",
        base_commit=merged.commit,
    )
    try:
        return _check(run, sandbox, merged)
    finally:
        sandbox.remove()


def _check(run: Run, sandbox: Sandbox, merged: Merged) -> GateReport:
    report = GateReport()
    project = run.settings.project
    if not all(_command(run, sandbox, report, "typecheck", each) for each in project.typecheck):
        return report
    if not _tests(run, sandbox, report):
        return report
    changed = [
        path
        for path in sandbox.changed_files(run.base_commit, merged.commit)
        if (sandbox.path / path).is_file()
    ]
    for each in project.lint:
        files = changed if "{file}" in each else [None]
        if not all(_command(run, sandbox, report, "lint", each, file) for file in files):
            return report
    all(_command(run, sandbox, report, "build", each) for each in project.build)
    return report


def _tests(run: Run, sandbox: Sandbox, report: GateReport) -> bool:
    """Judge the suite on the merged tree; the same tree is never run twice."""
    tree = sandbox.tree()
    known = run.line.verified.get((tree, run.test_command.command_hash()))
    verification = known or run.test_command.verify(
        sandbox.path, tree=tree, kind="delivery", known_files=sandbox.files()
    )
    if known is None:
        sandbox.reset()
        run.line.remember(verification)
        report.verification = verification
    verdict = judge_suite(run.line.baseline, verification.run, may_lose=may_lose(run))
    return report.add(
        "test",
        passed=verdict.passed,
        reason=verdict.reason,
        counts=verification.run.counts,
        ran=known is None,
    )


def _command(
    run: Run, sandbox: Sandbox, report: GateReport, name: str, command: str, file: str | None = None
) -> bool:
    result = run_check(expand_command(command, file=file), sandbox.path, run)
    return report.add(
        name,
        passed=result.exit_code == 0 and not result.timed_out,
        command=command,
        file=file,
        exit_code=result.exit_code,
        output=(result.stdout + result.stderr)[-2_000:],
    )


def run_check(argv: list[str], worktree: Path, run: Run) -> ProcessResult:
    """Run one lint, typecheck or build command in a worktree, in the tests' environment."""
    return run_guarded(
        argv,
        cwd=worktree,
        env=suite_environment(run.test_command.home),
        timeout_s=run.settings.project.timeout_s,
    )


def lines_changed(run: Run) -> tuple[int, int]:
    """Return how many lines the run added and deleted; binary files count as none."""
    options = ("-r", "--numstat", "--no-renames")
    told = run.line.sandbox.git.text("diff-tree", *options, run.base_commit, run.line.sandbox.head)
    counts = [line.split("\t")[:2] for line in told.splitlines()]
    added = sum(int(plus) for plus, _ in counts if plus.isdigit())
    deleted = sum(int(minus) for _, minus in counts if minus.isdigit())
    return added, deleted


@dataclass(frozen=True)
class Delivered:
    """What was delivered where; `note` says what a person has left to do."""

    mode: str
    target: str | None
    commit: str
    accepted: bool | None
    note: str | None = None


def deliver(run: Run, merged: Merged) -> Delivered:
    """Publish the run's branch, and move the target branch where that was asked for.

    Raises:
        BranchTaken: the run's branch name is used for something else in the user's repository.
    """
    sandbox = run.line.sandbox
    run.repository.publish_branch(sandbox.clone.git, sandbox.ref, run.branch)
    if run.settings.delivery.mode == "branch":
        return Delivered("branch", merged.target, sandbox.head, accepted=None)
    try:
        if merged.target_commit is None:
            run.repository.publish_branch(sandbox.clone.git, merged.commit, merged.target)
        else:
            run.repository.take_objects(sandbox.clone.git, merged.commit)
            run.repository.advance_branch(merged.target, merged.commit, merged.target_commit)
    except (BranchTaken, GitError) as error:
        logger.warning("%s was not moved: %s", merged.target, error)
        note = f"{error}; to merge it yourself: git merge {run.branch}"
        return Delivered("branch", merged.target, sandbox.head, accepted=None, note=note)
    return Delivered("merge", merged.target, merged.commit, accepted=True)
