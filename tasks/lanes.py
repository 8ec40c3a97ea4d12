"""Parallel workstreams: each works in a lane of its own and joins the run's line when it is green.

A lane is a sandbox on a branch that starts at the run's head. Its commits are put on top of what
the run's head has become, and the whole suite judges the result, before the run's line moves: the
branch stays linear and no red result gets onto it. Workstreams that name the same file take turns
(`flows.feature`), so a step's file seldom changed meanwhile; where it did, git merges it or the
workstream is done again on top of the other's.

Where a lane stands is in its workstream's metadata (`lane_base`, `lane_head`) until it has joined,
so that whoever takes the run up finds it.
"""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from storage.rows import AttemptRow, PackedCommit
from storage.states import SandboxStatus, WorkstreamStatus
from tasks.commits import packed
from tasks.flaky import Judged, Rerun, judge_fairly
from tasks.gates import Baseline, Expectation, SuiteRun, judge_implementation_step
from tasks.gates.signatures import signature
from tasks.git import GitError, TreeEntry
from tasks.project_commands import run_setup
from tasks.run import Line, PlannedStep, Run
from tasks.run_store import record_sandbox, record_verification, stored_results
from tasks.sandbox import Sandbox
from tasks.sandbox.trees import remove
from tasks.verify import Verification

logger = logging.getLogger(__name__)

_NO_LANE: Final = {"lane_base": None, "lane_head": None}


def _at(base: str, head: str | None = None) -> dict[str, str]:
    """Return a workstream's metadata for a lane that starts at a commit and stands at another."""
    return {"lane_base": base, "lane_head": head or base}


class Conflict(Exception):  # noqa: N818 - it says what happened
    """A lane's change to a file and the run's do not go together."""

    def __init__(self, file_path: str) -> None:
        self.file_path = file_path
        super().__init__(f"{file_path} was changed by another workstream meanwhile")


@dataclass
class Lane:
    """A sandbox for one workstream after another.

    Attributes:
        name: `lane-1`, `lane-2` …
        sandbox: the worktree, on the lane's own branch.
        sandbox_id: its row.
    """

    name: str
    sandbox: Sandbox
    sandbox_id: str


@dataclass(frozen=True)
class Refused:
    """Why a workstream could not join the run's line.

    Attributes:
        failure_class: `conflict`, or the class of the suite's verdict on the result.
        reason: a sentence or a few.
    """

    failure_class: str
    reason: str


@dataclass(frozen=True)
class _Stand:
    """Where the run's line stands, and what its tests did last."""

    head: str
    baseline: Baseline


class Lanes:
    """The lanes of one run.

    Several threads may open lanes, while another one joins: who begins does not wait for a suite.
    All else is for one thread at a time: `flows.implementation` holds a lock.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._lock = threading.Lock()  # of where the run's line stands, and of the number of lanes
        self._free: list[Lane] = []
        self._used: dict[str, Lane] = {}  # by workstream
        self._forks: dict[str, Baseline] = {}
        self._count = 0

    # --- a workstream's lane

    def open(self, steps: Sequence[PlannedStep]) -> Run:
        """Give a workstream a lane and return the run as it is seen from there.

        One that was begun before the run was cut off goes on where it stood, on top of what the
        run's head is now; if that does not go together, it begins anew.
        """
        run, ws_id = self.run, steps[0].ws_id
        stand = self._stand()
        lane = self._idle() or self._make(stand)
        self._used[ws_id] = lane
        with run.database.transaction() as ledger:
            row = ledger.get_workstream(ws_id)
        known = (row["metadata_json"] if row else None) or {}
        base, head = known.get("lane_base"), known.get("lane_head")
        begun = bool(head) and head != base
        view = self._view(lane, stand)
        if begun and base and head:
            try:
                self._take_up(view, steps, stand, base, head)
            except (Conflict, GitError) as error:
                self._undo(view, steps, stand, f"it was cut off, and {error}")
        else:
            with run.database.transaction() as ledger:
                ledger.require_lease(run.run_id, run.owner)
                ledger.update_workstream_metadata(ws_id, _at(stand.head))
        self._forks[ws_id] = stand.baseline
        return view

    def join(self, view: Run, steps: Sequence[PlannedStep]) -> Refused | None:
        """Put a green lane's commits on top of the run's line, judged by the whole suite.

        Returns:
            None when the run's line has them; else why it does not. The lane is as it was then.
        """
        run, lane, ws_id = self.run, view.sandbox, steps[0].ws_id
        run.sandbox.keep_branch()
        before, own_head = run.sandbox.head, lane.head
        with run.database.transaction() as ledger:
            rows = list(ledger.completed_steps(ws_id).values())
            row = ledger.get_workstream(ws_id)
        base = ((row["metadata_json"] if row else None) or {}).get("lane_base") or before
        judged: Judged | None = None
        made: tuple[Verification, ...] = ()
        moved: list[tuple[AttemptRow, str, str]] = []
        if base != before:
            try:
                moved = self._rebase(lane, rows, base, before)
            except Conflict as error:
                return Refused("conflict", str(error))
            new = moved[-1][2] if moved else before
            self._bring(view, new)
            made, judged = self._judge(view, steps)
            if not judged.verdict.passed:
                self._bring(view, own_head)
                verdict = judged.verdict
                return Refused(verdict.failure_class or "regression", verdict.reason)
        head = lane.head
        packs = _packs(lane, moved)
        with run.database.transaction() as ledger:
            ledger.require_lease(run.run_id, run.owner)
            ledger.keep_commits(run.project_id, packs)
            for attempt, commit_before, commit in moved:
                ledger.rebase_attempt(
                    attempt["id"], commit_sha_before=commit_before, commit_sha_after=commit
                )
            for verification in made:
                record_verification(ledger, run.run_id, verification, commit=head)
            ledger.set_run_head(run.run_id, head)
            ledger.update_workstream_metadata(ws_id, dict(_NO_LANE))
            ledger.record_event(
                run.run_id,
                ws_id,
                "lane_joined",
                {"lane": view.lane, "from": base, "onto": before, "head": head,
                 "rebased": len(moved)},
            )  # fmt: skip
        with self._lock:
            if head != before:
                run.sandbox.advance(head, before)
            if judged is not None:
                run.line.remember(judged.verification)
                run.line.baseline = run.line.baseline.after(judged.verification.run)
            else:
                run.line.baseline = view.line.baseline
                run.line.verified |= view.line.verified
        return None

    def begin_anew(self, view: Run, steps: Sequence[PlannedStep], refused: Refused) -> Run:
        """Take back what a lane did and could not join with, to do it again on the run's head.

        Returns:
            The run as it is seen from the lane, which stands on the run's head now.
        """
        ws_id = steps[0].ws_id
        with self.run.database.transaction() as ledger:
            ledger.require_lease(self.run.run_id, self.run.owner)
            ledger.record_error(
                self.run.run_id,
                ws_id,
                None,
                refused.failure_class,
                signature(refused.failure_class, refused.reason),
                refused.reason,
                {"lane": view.lane},
            )
            ledger.update_workstream_status(ws_id, WorkstreamStatus.FIXING, reason=refused.reason)
        stand = self._stand()
        self._undo(view, steps, stand, refused.reason)
        self._forks[ws_id] = stand.baseline
        note = (
            "This was done before, and did not go together with what others did meanwhile: "
            f"{refused.reason}"
        )
        return replace(self._view_of(view, stand.baseline), notes=(*view.notes, note))

    def leave(self, view: Run, steps: Sequence[PlannedStep]) -> str | None:
        """Keep a failed lane's commits on a branch of their own; return its name, None: no commits.

        Its steps that were done go back to pending: they are not on the run's line.
        """
        run, ws_id = self.run, steps[0].ws_id
        lane = view.sandbox
        branch = None
        with run.database.transaction() as ledger:
            ledger.require_lease(run.run_id, run.owner)
            row = ledger.get_workstream(ws_id)
            base = ((row["metadata_json"] if row else None) or {}).get("lane_base")
            if base is not None and lane.head != base:
                branch = f"greenline-left/{run.run_id}/{steps[0].subtask.key}"
                lane.clone.put_branch(branch, lane.head)
            undone = ledger.undo_workstream(ws_id, "its lane did not join the run's line")
            ledger.update_workstream_metadata(ws_id, {**_NO_LANE, "left_branch": branch})
            facts = {"branch": branch, "head": lane.head, "attempts": undone}
            ledger.record_event(run.run_id, ws_id, "lane_left", facts)
        if branch:
            logger.warning(
                "%s: its commits are kept as %s in Greenline's clone", steps[0].subtask.key, branch
            )
        return branch

    def release(self, ws_id: str) -> None:
        """Give a workstream's lane to whoever comes next."""
        if (lane := self._used.pop(ws_id, None)) is not None:
            self._free.append(lane)
        self._forks.pop(ws_id, None)

    def close(self) -> None:
        """Remove every lane."""
        lanes = [*self._free, *self._used.values()]
        for lane in lanes:
            lane.sandbox.remove()
            lane.sandbox.clone.drop_branch(lane.sandbox.branch)
        with self.run.database.transaction() as ledger:
            for lane in lanes:
                ledger.update_sandbox_status(lane.sandbox_id, SandboxStatus.STOPPING)
                ledger.update_sandbox_status(lane.sandbox_id, SandboxStatus.STOPPED)
        self._free.clear()
        self._used.clear()

    # --- inside

    def _stand(self) -> _Stand:
        with self._lock:
            return _Stand(self.run.sandbox.head, self.run.line.baseline)

    def _idle(self) -> Lane | None:
        with self._lock:
            return self._free.pop() if self._free else None

    def _make(self, stand: _Stand) -> Lane:
        """Make another sandbox and set it up."""
        run = self.run
        with self._lock:
            self._count += 1
            number = self._count
        name = f"lane-{number}"
        path = run.folder / name
        remove(path)  # left by a process that was killed
        remove(path.with_name(f"{name}.control"))
        clone, branch = run.sandbox.clone, f"greenline-lanes/{run.run_id}/{number}"
        clone.put_branch(branch, stand.head)
        sandbox = Sandbox.create(
            clone, path, branch=branch, base_commit=stand.head, habits=run.sandbox.habits
        )
        with run.database.transaction() as ledger:
            before = ledger.current_sandbox(run.run_id)
            sandbox_id = record_sandbox(ledger, run.run_id, sandbox, run.repository, run.settings)
            if before is not None:
                ledger.use_sandbox(run.run_id, before)
        lane = Lane(name, sandbox, sandbox_id)
        run_setup(run.settings, sandbox, self._view(lane, stand).test_command)
        return lane

    def _view(self, lane: Lane, stand: _Stand) -> Run:
        """Return the run as it is seen from a lane, which is brought to its head first."""
        run = self.run
        scratch = run.folder / f"{lane.name}.scratch"
        view = replace(
            run,
            line=Line(lane.sandbox, stand.baseline, flaky=run.line.flaky),
            lane=lane.name,
            sandbox_id=lane.sandbox_id,
            scratch=scratch,
            test_command=replace(run.test_command, home=scratch),
        )
        self._bring(view, stand.head)
        return view

    @staticmethod
    def _view_of(view: Run, baseline: Baseline) -> Run:
        return replace(view, line=Line(view.sandbox, baseline, flaky=view.line.flaky))

    @staticmethod
    def _bring(view: Run, commit: str) -> None:
        """Bring a lane's worktree to a commit, with what the project's set-up makes."""
        sandbox = view.sandbox
        if sandbox.head != commit and sandbox.move_to(commit):
            sandbox.rebuild()
            run_setup(view.settings, sandbox, view.test_command)

    def _undo(self, view: Run, steps: Sequence[PlannedStep], stand: _Stand, reason: str) -> None:
        """Take a lane's work back and put the lane on the run's head."""
        with self.run.database.transaction() as ledger:
            ledger.require_lease(self.run.run_id, self.run.owner)
            ledger.undo_workstream(steps[0].ws_id, reason)
            ledger.update_workstream_metadata(steps[0].ws_id, _at(stand.head))
        self._bring(view, stand.head)
        view.line.baseline = stand.baseline
        logger.warning("%s begins anew: %s", steps[0].subtask.key, reason)

    def _take_up(
        self, view: Run, steps: Sequence[PlannedStep], stand: _Stand, base: str, head: str
    ) -> None:
        """Go on with a lane that was cut off, on top of what the run's head is now."""
        run, ws_id = self.run, steps[0].ws_id
        with run.database.transaction() as ledger:
            rows = list(ledger.completed_steps(ws_id).values())
        if base == stand.head:
            self._bring(view, head)
            with run.database.transaction() as ledger:
                for row in rows:
                    if results := ledger.results_of_attempt(row["id"]):
                        seen = SuiteRun(stored_results(results))
                        view.line.baseline = view.line.baseline.after(seen)
            return
        moved = self._rebase(view.sandbox, rows, base, stand.head)
        self._bring(view, moved[-1][2] if moved else stand.head)
        seen_now = self._observe(view)
        packs = _packs(view.sandbox, moved)
        with run.database.transaction() as ledger:
            ledger.require_lease(run.run_id, run.owner)
            ledger.keep_commits(run.project_id, packs)
            for attempt, before, commit in moved:
                ledger.rebase_attempt(
                    attempt["id"], commit_sha_before=before, commit_sha_after=commit
                )
            ledger.update_workstream_metadata(ws_id, _at(stand.head, view.sandbox.head))
        view.line.baseline = view.line.baseline.after(seen_now.run)

    @staticmethod
    def _rebase(
        lane: Sandbox, rows: Sequence[AttemptRow], base: str, onto: str
    ) -> list[tuple[AttemptRow, str, str]]:
        """Make a lane's commits anew on top of another one; no branch moves.

        Each commit of a step changes one file, so a rebase is a three-way merge of that file.

        Returns:
            Per attempt the commit before and the commit it has now.

        Raises:
            Conflict: a file was changed differently on both sides.
        """
        moved = []
        at, origin = onto, base
        for row in rows:
            after = row["commit_sha_after"] or origin
            commit = at
            if after != origin:
                tree = lane.tree(at)
                for path in lane.changed_files(origin, after):
                    tree = _with_file(lane, tree, path, origin, after, at)
                message = lane.git.text("log", "-1", "--format=%B", after)
                commit = lane.commit(tree, f"{message}\n", (at,))
            moved.append((row, at, commit))
            at, origin = commit, after
        return moved

    def _observe(self, view: Run) -> Verification:
        """Run the whole suite where a lane stands, unless that tree was judged already."""
        sandbox, command = view.sandbox, view.test_command
        tree = sandbox.tree()
        known = view.line.verified.get((tree, command.command_hash()))
        if known is not None:
            return known
        before = sandbox.manifest()
        made = command.verify(sandbox.path, tree=tree, kind="merge", known_files=sandbox.files())
        sandbox.clean_after_tests(before)
        view.line.remember(made)
        return made

    def _judge(
        self, view: Run, steps: Sequence[PlannedStep]
    ) -> tuple[tuple[Verification, ...], Judged]:
        """Judge the suite on a rebased lane: nothing of the run's or of its own may be worse."""
        verification = self._observe(view)
        own_files = steps[-1].done_tests
        expected = self._expected(view, steps)
        expect: Expectation = "green" if own_files and _ends_green(steps) else "unchanged"
        sandbox = view.sandbox
        judged = judge_fairly(
            verification,
            lambda suite: judge_implementation_step(
                expected, suite, test_files=own_files, expect=expect
            ),
            baseline=expected,
            known=frozenset(view.line.flaky),
            rerun=Rerun(view.test_command, sandbox, sandbox.manifest(), beside=own_files),
        )
        view.line.flaky |= set(judged.flaky)
        return (verification, *judged.reruns), judged

    def _expected(self, view: Run, steps: Sequence[PlannedStep]) -> Baseline:
        """What the tests are to do once both have come together."""
        fork = self._forks[steps[0].ws_id].last
        run, lane = self.run.line.baseline, view.line.baseline
        files = {step.numbered.step.file_path for step in steps}
        gone = {
            key for key, test in fork.items() if key not in lane.last and test.file_path in files
        }
        last = {key: test for key, test in run.last.items() if key not in gone}
        last |= {
            key: test
            for key, test in lane.last.items()
            if test.file_path in files or key not in fork
        }
        return Baseline(first=run.first, last=last)


def _packs(lane: Sandbox, moved: Sequence[tuple[AttemptRow, str, str]]) -> list[PackedCommit]:
    """Return the commits that a rebase made, with their objects."""
    return [packed(lane.git, commit, before) for _, before, commit in moved if commit != before]


def _ends_green(steps: Sequence[PlannedStep]) -> bool:
    last = steps[-1].numbered
    return last.step.step_type == "implementation" or last.expect == "green"


def _with_file(lane: Sandbox, tree: str, path: str, origin: str, after: str, at: str) -> str:
    """Return a tree with a file as a lane's commit changed it.

    Raises:
        Conflict: it was changed differently there, or is no plain file on one side.
    """
    git = lane.git
    old, new, theirs = (git.entry(commit, path) for commit in (origin, after, at))
    if theirs == new:
        return tree
    if theirs == old:
        return lane.with_entry(tree, path, new)
    sides = [entry for entry in (old, new, theirs) if entry is not None]
    if new is None or theirs is None or any(entry.kind != "blob" for entry in sides):
        raise Conflict(path)
    merged = _merged_content(lane, old, new, theirs)
    if merged is None:
        raise Conflict(path)
    return lane.with_entry(tree, path, TreeEntry(new.mode, "blob", merged))


def _merged_content(
    lane: Sandbox, old: TreeEntry | None, new: TreeEntry, theirs: TreeEntry
) -> str | None:
    """Return the blob in which both sides' changes are, None when they are in conflict."""
    git = lane.git
    with _scratch_files(lane, old, new, theirs) as (ours_file, base_file, theirs_file):
        names = (str(ours_file), str(base_file), str(theirs_file))
        done = git.call("merge-file", "-p", "--quiet", *names)
    if done.status != 0:
        return None
    return git.text("hash-object", "-w", "--stdin", stdin=done.stdout)


@contextmanager
def _scratch_files(
    lane: Sandbox, old: TreeEntry | None, new: TreeEntry, theirs: TreeEntry
) -> Iterator[tuple[Path, Path, Path]]:
    with tempfile.TemporaryDirectory(dir=lane.path.parent, prefix="merge-") as name:
        files = []
        for title, entry in (("new", new), ("old", old), ("theirs", theirs)):
            file = Path(name) / title
            file.write_bytes(lane.git.blob(entry.oid) if entry else b"")
            files.append(file)
        yield files[0], files[1], files[2]
