"""The gates of a step, in their order: scope, static, tests; the first that refuses decides.

What the gates judge is the tree that was written to git before them, and the worktree holds
exactly that tree while lint and tests run in it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Final

from storage.redaction import redact
from storage.states import WorkstreamStatus
from tasks.agents.base import AgentResult
from tasks.canary import Canary
from tasks.config.commands import expand_command
from tasks.flaky import Rerun, judge_fairly
from tasks.gates import SuiteRun, Verdict, judge_implementation_step, judge_test_step
from tasks.gates.signatures import shorten
from tasks.gates.test_source import weakened
from tasks.metering.meter import CUT_SHORT
from tasks.process import run_guarded
from tasks.records import Work, move_workstream
from tasks.run import PlannedStep, Run
from tasks.sandbox import Examined
from tasks.sandbox.scope import configures
from tasks.verify import Verification, suite_environment

#: What an agent's unfinished work fails as, when its model stopped answering in the middle of it.
_OF_THE_WORK: Final = frozenset(
    {"no_change", "static_check", "not_red", "red_error", "not_green", "agent_timeout"}
)


def judge(run: Run, step: PlannedStep, work: Work, agent: AgentResult, left: Examined) -> Verdict:
    """Take what the agent left through the gates; the first one that refuses decides.

    What is good counts, however its agent ended. What is not, because its model stopped answering,
    its budget was spent or its key was refused, fails as that.
    """
    verdict = _judged(run, step, work, agent, left)
    # It goes into logs and into Prefect too, not only into the ledger.
    verdict = replace(verdict, reason=redact(verdict.reason))
    cut_short = agent.failure_class if agent.failure_class in CUT_SHORT else None
    if verdict.passed or cut_short is None or verdict.failure_class not in _OF_THE_WORK:
        return verdict
    said = shorten((agent.error or "").strip(), 4_000, tail=True)
    return _no(cut_short, f"{redact(said)}\nWhat it left: {verdict.reason}")


def _judged(run: Run, step: PlannedStep, work: Work, agent: AgentResult, left: Examined) -> Verdict:
    planned = step.numbered.step
    if left.violations:
        named = "; ".join(str(violation) for violation in left.violations[:10])
        return _no("scope_violation", f"only {planned.file_path} may be edited: {named}")
    if left.left_out:
        return _no("scope_violation", f"{planned.file_path} is too large or no plain file")
    if agent.timed_out:
        limit = run.settings.limits.agent_timeout_s
        return _no("agent_timeout", f"the agent did not end within {limit:g} s and was killed")
    if not left.changed:
        return _nothing_changed(run, step, work, agent)
    if run.settings.project.lint:
        _enter(run, step, work, WorkstreamStatus.STATIC_CHECK)
        if (refused := _lint(run, step)) is not None:
            return refused
        # A command that fixes what it finds, or leaves files: the tests see what is committed.
        run.line.sandbox.clean_after_tests(left.manifest)
        _enter(run, step, work, WorkstreamStatus.RUNTIME_CHECK)
    else:
        _enter(run, step, work, WorkstreamStatus.STATIC_CHECK, WorkstreamStatus.RUNTIME_CHECK)
    return _test_gate(run, step, work, left)


def _enter(run: Run, step: PlannedStep, work: Work, *states: WorkstreamStatus) -> None:
    if not work.apart:
        with run.database.transaction() as ledger:
            move_workstream(ledger, step, *states)
    work.checked = True


def _no(failure_class: str, reason: str) -> Verdict:
    return Verdict(passed=False, failure_class=failure_class, reason=reason)


def _nothing_changed(run: Run, step: PlannedStep, work: Work, agent: AgentResult) -> Verdict:
    """Refuse an attempt that changed nothing, unless what the step expects is so already."""
    baseline = run.line.baseline
    if step.numbered.step.step_type == "implementation" and step.numbered.expect == "green":
        as_it_is = SuiteRun(baseline.last)
        verdict = judge_implementation_step(baseline, as_it_is, test_files=step.done_tests)
        if verdict.passed and step.done_tests:
            work.skipped = True
            reason = "nothing to do: the subtask's tests pass already"
            return Verdict(passed=True, reason=reason)
    file_path = step.numbered.step.file_path
    if agent.failure_class:
        said = shorten((agent.error or agent.stderr or agent.transcript).strip(), 1_000, tail=True)
        return _no(agent.failure_class, f"{file_path} is unchanged: {said}")
    return _no("no_change", f"the agent left {file_path} as it was")


def _lint(run: Run, step: PlannedStep) -> Verdict | None:
    """Run the lint and compile commands on the step's file; None when they accept it."""
    file_path = step.numbered.step.file_path
    worktree = run.line.sandbox.path
    for command in run.settings.project.lint:
        if "{file}" in command and not (worktree / file_path).is_file():
            continue  # the step removed its file
        result = run_guarded(
            expand_command(command, file=file_path),
            cwd=worktree,
            env=suite_environment(run.test_command.home),
            timeout_s=run.settings.project.timeout_s,
            fence=run.test_command.fenced(worktree),
        )
        if result.timed_out:
            limit = run.settings.project.timeout_s
            return _no(
                "static_check",
                f"`{command}` did not end within {limit:g} s (project.timeout_s) on {file_path}",
            )
        if result.exit_code != 0:
            said = shorten((result.stdout + result.stderr).strip(), 3_000, tail=True)
            return _no("static_check", f"`{command}` failed on {file_path}:\n{said}")
    return None


def _test_gate(run: Run, step: PlannedStep, work: Work, left: Examined) -> Verdict:
    """Judge the suite on the result: the subtask's own files first where that is configured."""
    own = step.done_tests
    policy = run.settings.project.full_suite
    focused = bool(run.test_command.focused_argv and own)
    whole = not focused or policy == "step" or (policy == "subtask" and step.last)
    verdict = Verdict(passed=True)
    if focused:
        verdict = _judge_run(run, step, work, left, ("focused", own))
    if verdict.passed and whole:
        verdict = _judge_run(run, step, work, left, ("full", ()))
    return (_silences(run, step, work, left) or verdict) if verdict.passed else verdict


def _silences(run: Run, step: PlannedStep, work: Work, left: Examined) -> Verdict | None:
    """Refuse an edit that keeps failing tests from being reported; None where it does not."""
    planned = step.numbered.step
    seen = (result.file_path for result in run.line.baseline.last.values())
    tests = step.done_tests or [path for path in seen if path and path.endswith(".py")][:1]
    named, made = Canary(
        run.test_command,
        run.line.sandbox,
        left.manifest,
        left.tree,
        planned.file_path,
        tests,
    ).silenced()
    work.verifications += made
    if not named:
        return None
    return _no(
        "test_tampering" if planned.step_type == "test" else "not_green",
        f"beside {planned.file_path} a test that must fail is not reported as failed: it changes "
        f"how tests run or what they report (it names {', '.join(sorted(named))})",
    )


def _judge_run(
    run: Run, step: PlannedStep, work: Work, left: Examined, what: tuple[str, tuple[str, ...]]
) -> Verdict:
    """Judge one run of the suite, some of its files or all; flaky tests are nobody's fault."""
    line, planned = run.line, step.numbered.step
    verification = _verify(run, work, left, *what)
    judged = judge_fairly(
        verification,
        lambda suite: _judge_suite(run, step, suite),
        baseline=line.baseline,
        known=frozenset(line.flaky),
        rerun=Rerun(
            run.test_command,
            line.sandbox,
            left.manifest,
            made=(work.file_path,),
            beside=step.done_tests,
        ),
        written=(planned.file_path,) if planned.step_type == "test" else (),
    )
    work.accepted = judged.verification.run
    work.verifications += judged.reruns
    if judged.flaky:
        work.flaky = tuple(dict.fromkeys([*work.flaky, *judged.flaky]))
        line.flaky |= set(judged.flaky)
        line.remember(replace(verification, run=judged.verification.run))
        with run.database.transaction() as ledger:
            ledger.record_event(
                run.run_id,
                step.ws_id,
                "tests_flaky",
                {
                    "attempt": work.number,
                    "tree": verification.tree,
                    "tests": list(judged.flaky),
                    "reruns": len(judged.reruns),
                },
            )
    return judged.verdict


def _judge_suite(run: Run, step: PlannedStep, suite: SuiteRun) -> Verdict:
    planned, baseline = step.numbered.step, run.line.baseline
    if planned.step_type == "test":
        return judge_test_step(
            baseline,
            suite,
            file_path=planned.file_path,
            targets=_targets(run, step),
            expect=step.numbered.expect,
            may_remove_tests=planned.may_remove_tests,
            weakened=_weakened(run, step),
        )
    return judge_implementation_step(
        baseline, suite, test_files=step.done_tests, expect=step.numbered.expect
    )


def _targets(run: Run, step: PlannedStep) -> Collection[str]:
    """Return the files that a test may miss: the subtask's, or the plan's when it has none.

    A subtask may consist of tests alone that a later one makes pass.
    """
    return step.subtask.target_files or [
        path for subtask in run.plan.subtasks for path in subtask.target_files
    ]


def _weakened(run: Run, step: PlannedStep) -> list[str]:
    """Return what the test file's source shows to have been removed or emptied (Python)."""
    file_path = step.numbered.step.file_path
    if not file_path.endswith(".py"):
        return []
    sandbox = run.line.sandbox
    known = file_path in sandbox.files()  # most test files are new: no git for them
    entry = sandbox.git.entry(sandbox.head, file_path) if known else None
    after = sandbox.path / file_path
    return weakened(
        sandbox.git.blob(entry.oid) if entry else None,
        after.read_bytes() if after.is_file() else None,
    )


def _verify(
    run: Run, work: Work, left: Examined, kind: str, files: tuple[str, ...]
) -> Verification:
    """Run the suite on the tree that was written; the same tree is never run twice."""
    command, line = run.test_command, run.line
    known = line.verified.get((left.tree, command.command_hash(files)))
    if known is not None:
        return known
    verification = command.verify(
        line.sandbox.path,
        tree=left.tree,
        kind=kind,
        known_files=line.sandbox.files() | {work.file_path},
        files=files,
    )
    written = line.sandbox.clean_after_tests(left.manifest).written
    if rewritten := _rewritten(written, verification):
        problem = f"tests were rewritten while they ran: {', '.join(rewritten[:5])}"
        verification = replace(verification, run=replace(verification.run, problem=problem))
    line.remember(verification)
    work.verifications.append(verification)
    return verification


def _rewritten(written: Collection[str], verification: Verification) -> list[str]:
    """Return the test files, and the settings of tests, that a run of the suite wrote to."""
    tests = {result.file_path for result in verification.run.results.values()}
    return sorted(path for path in written if path in tests or configures(path))
