"""Running the project's test command and observing what it did: a verification."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import Final

from storage.exceptions import InputError
from tasks.fence import Fence
from tasks.fence.hints import hint
from tasks.gates import SuiteRun
from tasks.gates.junit import FileIndex, ReportError, TestResult, parse_report
from tasks.process import ProcessResult, run_guarded, scrubbed_env

#: Makes the usual runners leave no files behind and show all they can; others ignore it.
#: pytest stops at the first file that does not load unless told to go on, which would hide the
#: rest of the suite behind a test step's rightful import error.
RUNNER_ENVIRONMENT: Final = {
    "PYTEST_ADDOPTS": "--continue-on-collection-errors",
    "PYTHONDONTWRITEBYTECODE": "1",
    "CI": "true",
    "NO_COLOR": "1",
}
_TAIL: Final = 4_000
_ALLOWING: Final = "`test_network = true` in [project]"

NOTHING_RAN: Final = 5
"""How pytest ends when it ran no test at all."""


class TestCommandError(InputError):
    """The test command cannot be used: it is missing, hangs, or leaves no readable report."""

    __test__ = False


@dataclass(frozen=True)
class Verification:
    """One execution of the test command on one tree.

    Attributes:
        tree: the git tree that was tested.
        command_hash: what was run, so that the same tree is never run twice for the same command.
        kind: `baseline`, `focused` (the subtask's own test files), `full`, `rerun` (of tests that
            may be flaky), `merge` or `delivery`.
        run: what the gates judge.
        duration_ms: wall-clock time of the command.
        timed_out: the command was killed at its time limit.
        report_state: `ok`, `missing` or `broken`.
        output: the end of what the command printed, for a person to read.
        started_at: when it began; the same command may be run on the same tree more than once.
    """

    tree: str
    command_hash: str
    kind: str
    run: SuiteRun
    duration_ms: int
    timed_out: bool
    report_state: str
    output: str
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True)
class TestCommand:
    """The project's test command, ready to be run in any of its sandboxes.

    Attributes:
        argv: the command with its `{report}` placeholder.
        focused_argv: the command for some files only, with `{files}` and `{report}`, if any.
        timeout_s: wall-clock limit of one run in seconds.
        home: the private HOME that tests get.
        tolerated_exit: the exit code with which the suite ended at the run's first baseline
            although nothing in its report failed (a coverage threshold, say), None for none.
        fence: what lies around it; None for none.
    """

    __test__ = False

    argv: tuple[str, ...]
    focused_argv: tuple[str, ...] | None
    timeout_s: float
    home: Path
    tolerated_exit: int | None = None
    fence: Fence | None = None

    def fenced(self, worktree: Path) -> Fence | None:
        """Return the fence for a command in a worktree, None for none."""
        return self.fence and self.fence.opened(worktree, self.home)

    def command_hash(self, files: Collection[str] = ()) -> str:
        """Return a digest of the command (and files) that a verification is keyed by."""
        argv = self.focused_argv if files and self.focused_argv else self.argv
        written = json.dumps([argv, sorted(files)])
        return hashlib.sha256(written.encode()).hexdigest()[:16]

    def narrowed(self) -> TestCommand | None:
        """Return the command with which some test files can be run alone, None if there is none.

        pytest takes files as further words; whether it then runs them, its report shows.
        """
        if self.focused_argv:
            return self
        if _runs_pytest(self.argv):
            return replace(self, focused_argv=(*self.argv, "{files}"))
        return None

    def verify(
        self,
        worktree: Path,
        *,
        tree: str,
        kind: str,
        known_files: Collection[str],
        files: Sequence[str] = (),
    ) -> Verification:
        """Run the tests in a worktree and observe the outcome.

        Args:
            worktree: where the tree is checked out; the command's working directory.
            tree: the git tree that is checked out there.
            kind: what the verification is for.
            known_files: the paths of the tree, to tell which test lives where.
            files: run only these test files; the configuration must have `test_files`.

        Returns:
            The verification. A report that is missing, broken or at odds with the exit code is
            a `problem` of its run, never an exception: the gates refuse it.

        Raises:
            ProgramNotFound: the command's program does not exist.
        """
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        report = self.home / "report.xml"
        report.unlink(missing_ok=True)
        template = self.focused_argv if files and self.focused_argv else self.argv
        started_at = datetime.now(UTC)
        result = run_guarded(
            _fill(template, report, files),
            cwd=worktree,
            env=suite_environment(self.home),
            timeout_s=self.timeout_s,
            fence=self.fenced(worktree),
        )
        run, state = self._observe(result, report, known_files, files)
        report.unlink(missing_ok=True)
        return Verification(
            tree=tree,
            command_hash=self.command_hash(files),
            kind=kind,
            run=run,
            duration_ms=result.duration_ms,
            timed_out=result.timed_out,
            report_state=state,
            output=(result.stdout + result.stderr)[-_TAIL:],
            started_at=started_at,
        )

    def _observe(
        self,
        result: ProcessResult,
        report: Path,
        known_files: Collection[str],
        files: Sequence[str],
    ) -> tuple[SuiteRun, str]:
        only = frozenset(files) if files else None
        run = SuiteRun(results={}, exit_code=result.exit_code, files=only)
        if result.timed_out:
            limit = f"{self.timeout_s:g} s (project.timeout_s)"
            return replace(run, problem=f"the test command did not end within {limit}"), "missing"
        try:
            data = report.read_bytes() if report.is_file() and not report.is_symlink() else None
        except OSError as error:
            return replace(run, problem=f"the test report cannot be read: {error}"), "broken"
        if data is None:
            problem = f"the test command wrote no report (exit code {result.exit_code})"
            return replace(run, problem=problem), "missing"
        try:
            results = parse_report(data, FileIndex.of(known_files))
        except ReportError as error:
            return replace(run, problem=f"the test report is broken: {error}"), "broken"
        run = replace(run, results=self._explained(results))
        return replace(run, problem=self._disagreement(run)), "ok"

    def _explained(self, results: Mapping[str, TestResult]) -> dict[str, TestResult]:
        """Say with tests that failed at the fence that they did."""
        told = {}
        for key, result in results.items():
            why = (
                hint(f"{result.message}\n{result.text}", self.fence, _ALLOWING)
                if result.red
                else None
            )
            told[key] = replace(result, message=f"{result.message} ({why})") if why else result
        return told

    def _disagreement(self, run: SuiteRun) -> str | None:
        """Say how exit code and report disagree: a runner that left early is never green."""
        if run.exit_code is None:
            return "the test command was killed before it had ended"
        any_red = any(result.red for result in run.results.values())
        if run.exit_code == 0 or any_red or run.exit_code == self.tolerated_exit:
            return None
        if run.exit_code == NOTHING_RAN and not any(
            result.outcome == "passed" for result in run.results.values()
        ):
            return None  # they agree: what is missing or skipped is for the gates to see
        return (
            f"the test command ended with exit code {run.exit_code}, "
            f"but none of the {len(run.results)} tests in its report failed"
        )


def suite_environment(home: Path) -> dict[str, str]:
    """Return the environment that set-up, lint and test commands run in.

    Nothing of the caller's but PATH, LANG and TERM, and a private HOME. Greenline's own programs
    come last on PATH, so that a Python with pytest is there where the machine has none.
    """
    env = scrubbed_env(home, extra=RUNNER_ENVIRONMENT)
    env["PATH"] = os.pathsep.join([env.get("PATH", os.defpath), str(Path(sys.executable).parent)])
    return env


def require_usable_baseline(verification: Verification, command: Sequence[str]) -> None:
    """Refuse a test command that does not serve, before anything is written.

    Raises:
        TestCommandError: the command hung, or left no readable report.
    """
    problem = verification.run.problem
    if problem is None or verification.report_state == "ok":
        return
    tail = "\n".join(verification.output.strip().splitlines()[-8:])
    raise TestCommandError(
        f"{problem}.\n  command: {' '.join(command)}\n"
        "  what works: a command that runs the suite to its end and writes JUnit XML to {report}, "
        "set as project.test in greenline.toml" + (f"\n  its last output:\n{tail}" if tail else "")
    )


def tolerated_exit(verification: Verification) -> int | None:
    """Return the exit code to accept from now on although nothing failed, None for none.

    A suite may end with another code than 0 before anybody touched it (a coverage threshold, no
    tests yet). What it did at the first baseline is no agent's fault.
    """
    run = verification.run
    clean = not any(result.red for result in run.results.values())
    return run.exit_code if clean and run.exit_code not in (0, None) else None


def _runs_pytest(argv: Sequence[str]) -> bool:
    """Whether a command is pytest, by its program or as `python -m pytest`, whatever is around."""
    return any(
        PurePath(word).name in ("pytest", "py.test", "pytest.exe")
        and (not index or argv[index - 1] not in ("-c", "-p", "-k"))
        for index, word in enumerate(argv)
    )


def _fill(template: Sequence[str], report: Path, files: Sequence[str]) -> list[str]:
    argv: list[str] = []
    for word in template:
        if word == "{files}":
            argv.extend(files)
        else:
            argv.append(word.replace("{report}", str(report)).replace("{files}", " ".join(files)))
    return argv
