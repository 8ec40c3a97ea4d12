"""The pr phase: the gates once more on the merged result, then delivery.

Nothing that failed a gate gets here. The result is published to the user's repository as a
branch; with `merge` the target branch is moved as well, unless it is checked out somewhere: the
user's checkouts are never touched.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import Any

from storage.exceptions import InputError
from tasks.config.commands import expand_command
from tasks.diffs import count_lines
from tasks.flaky import Rerun, judge_fairly
from tasks.gates import Baseline, judge_suite
from tasks.git import GitError, RefMoved, records
from tasks.process import ProgramNotFound, run_guarded
from tasks.project_commands import run_setup
from tasks.repository import BranchTaken
from tasks.run import Run
from tasks.sandbox import Sandbox
from tasks.spare import spare_sandbox
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
    reruns: tuple[Verification, ...] = ()

    def add(self, name: str, *, passed: bool, **facts: object) -> bool:
        """Note one check and return whether it passed."""
        self.checks.append({"check": name, "passed": passed, **facts})
        self.passed = self.passed and passed
        return passed


def merge_with_target(run: Run) -> Merged:
    """Bring the run's head together with the target branch, in Greenline's own clone.

    Raises:
        GitError: git cannot merge them (they have no history in common).
    """
    head = run.sandbox.head
    target = run.settings.delivery.target or run.repository.default_branch
    if run.settings.delivery.mode == "branch":
        return Merged(head, target, None)
    git = run.sandbox.clone.git
    tip = run.repository.git.resolve(f"refs/heads/{target}")
    if tip is None or tip == run.origin_commit or git.is_ancestor(tip, head):
        return Merged(head, target, tip)
    if git.is_ancestor(head, tip):  # it was moved before the run was cut off
        return Merged(tip, target, tip)
    arguments = ("merge-tree", "--write-tree", "--name-only", "--no-messages", "-z", tip, head)
    merged = git.call(*arguments)
    if merged.status not in (0, 1):
        raise GitError(arguments, merged.status, merged.stderr)
    tree, *conflicts = records(merged.stdout)
    if merged.status == 1:
        return Merged(head, target, tip, conflicts=tuple(conflicts))
    commit = run.sandbox.commit(
        tree, f"Merge {run.branch} into {target}\n\nGreenline-Run: {run.run_id}\n", (tip, head)
    )
    return Merged(commit, target, tip)


def check_merged(run: Run, merged: Merged) -> GateReport:
    """Run typecheck, test, lint and build on the merged result; stop at the first that fails."""
    line = run.sandbox
    if merged.commit == line.head:
        return _check(run, line, merged)
    with spare_sandbox(run, "delivery", merged.commit) as sandbox:
        return _check(run, sandbox, merged)


def _check(run: Run, sandbox: Sandbox, merged: Merged) -> GateReport:
    report = GateReport()
    own = _own_files(run, sandbox, merged)
    for name in ("typecheck", "test", "lint", "build"):
        commands = [
            (command, file)
            for command in (() if name == "test" else getattr(run.settings.project, name))
            for file in (own if "{file}" in command else [None])
        ]
        if name != "test" and not commands:
            continue
        # Each stage sees what would be delivered, not what the one before made of it.
        if not _fresh(run, sandbox, report):
            break
        if name == "test":
            passed = _tests(run, sandbox, report, merged)
        else:
            passed = all(_command(run, sandbox, report, name, *each) for each in commands)
        if not passed:
            break
    return report


def _fresh(run: Run, sandbox: Sandbox, report: GateReport) -> bool:
    """Bring a sandbox to its commit with the project's set-up; False when that fails."""
    if sandbox.reset():
        sandbox.rebuild()
    if not sandbox.needs_set_up:
        return True
    try:
        run_setup(run.settings, sandbox, run.test_command)
    except InputError as error:
        return report.add("setup", passed=False, reason=str(error))
    return True


def _own_files(run: Run, sandbox: Sandbox, merged: Merged) -> list[str]:
    """Return the files that the run changed and that are there; others' are not its to answer."""
    changed = sandbox.changed_files(run.origin_commit, run.sandbox.head)
    there = sandbox.files(merged.commit)
    return [path for path in changed if path in there]


def _tests(run: Run, sandbox: Sandbox, report: GateReport, merged: Merged) -> bool:
    """Judge the suite on the merged tree; the same tree is never run twice."""
    tree = sandbox.tree()
    known = run.line.verified.get((tree, run.test_command.command_hash()))
    before = sandbox.manifest()
    verification = known or run.test_command.verify(
        sandbox.path, tree=tree, kind="delivery", known_files=sandbox.files()
    )
    if known is None:
        sandbox.clean_after_tests(before)
        report.verification = verification
    lost = may_lose(run) | _changed_on_target(run, merged)
    judged = judge_fairly(
        verification,
        lambda suite: judge_suite(_expected(run.line.baseline), suite, may_lose=lost),
        baseline=run.line.baseline,
        known=frozenset(run.line.flaky),
        rerun=Rerun(run.test_command, sandbox, before),
    )
    run.line.remember(judged.verification)
    report.reruns, verdict = judged.reruns, judged.verdict
    return report.add(
        "test",
        passed=verdict.passed,
        failure_class=verdict.failure_class,
        reason=verdict.reason,
        counts=verification.run.counts,
        ran=known is None,
    )


def _expected(baseline: Baseline) -> Baseline:
    """Return the baseline with what passed during the run: it is to be there and pass at the end.

    Where the whole suite is not run at each step, a test that an earlier step wrote could be
    skipped or gone without notice.
    """
    from_before = {result.base_id for result in baseline.first.values()}
    passed = {
        key: result
        for key, result in baseline.last.items()
        if result.outcome == "passed" and result.base_id not in from_before
    }
    return replace(baseline, first=passed | dict(baseline.first))


def _changed_on_target(run: Run, merged: Merged) -> set[str]:
    """Return the files that others changed on the target meanwhile: their tests may be gone."""
    if merged.target_commit is None or merged.commit == run.sandbox.head:
        return set()
    sandbox = run.sandbox
    fork = sandbox.git.text("merge-base", merged.target_commit, sandbox.head).splitlines()[0]
    return set(sandbox.changed_files(fork, merged.target_commit))


def _command(
    run: Run, sandbox: Sandbox, report: GateReport, name: str, command: str, file: str | None
) -> bool:
    """Run one lint, typecheck or build command in a sandbox, in the tests' environment."""
    facts: dict[str, object] = {"command": command, "file": file}
    try:
        result = run_guarded(
            expand_command(command, file=file),
            cwd=sandbox.path,
            env=suite_environment(run.test_command.home),
            timeout_s=run.settings.project.timeout_s,
            fence=run.test_command.fenced(sandbox.path),
        )
    except ProgramNotFound as error:
        return report.add(name, passed=False, reason=str(error), **facts)
    output = (result.stdout + result.stderr)[-2_000:]
    passed = result.exit_code == 0 and not result.timed_out
    if result.timed_out:
        limit = run.settings.project.timeout_s
        facts["reason"] = f"`{command}` did not end within {limit:g} s (project.timeout_s)"
    elif not passed:
        last = (output.strip().splitlines() or [""])[-1]
        facts["reason"] = f"`{command}` ended with {result.exit_code}: {last[:300]}"
    return report.add(name, passed=passed, exit_code=result.exit_code, output=output, **facts)


def lines_changed(run: Run) -> tuple[int, int]:
    """Return how many lines the run added and deleted; binary files count as none."""
    counted = count_lines(run.sandbox.clone.git, run.origin_commit, run.sandbox.head)
    return counted or (0, 0)


@dataclass(frozen=True)
class Delivered:
    """What was delivered where; `note` says what a person has left to do."""

    mode: str
    target: str | None
    commit: str
    accepted: bool | None
    note: str | None = None


def deliver(run: Run, merged: Merged) -> Delivered:
    """Move the target branch where that was asked for, and publish the run's branch.

    Raises:
        RefMoved: the target branch is no longer where it was when the gates ran; nothing changed.
        BranchTaken: the run's branch name is used for something else in the user's repository.
    """
    note = None
    if run.settings.delivery.mode == "merge":
        note = _move_target(run, merged)
    sandbox = run.sandbox
    run.repository.free_branch(run.branch)
    run.repository.publish_branch(sandbox.clone.git, sandbox.ref, run.branch)
    if run.settings.delivery.mode == "branch" or note:
        return Delivered("branch", merged.target, sandbox.head, accepted=None, note=note)
    return Delivered("merge", merged.target, merged.commit, accepted=True)


def _move_target(run: Run, merged: Merged) -> str | None:
    """Move the target branch to the merged result; where it cannot be, say what is left to do."""
    clone = run.sandbox.clone.git
    try:
        if merged.target_commit is None:
            run.repository.publish_branch(clone, merged.commit, merged.target)
        else:
            run.repository.take_objects(clone, merged.commit)
            run.repository.advance_branch(merged.target, merged.commit, merged.target_commit)
    except RefMoved:
        raise
    except (BranchTaken, GitError) as error:
        note = f"{error}; to merge it yourself: git merge {run.branch}"
        logger.warning("%s was not moved: %s", merged.target, note)
        return note
    return None
