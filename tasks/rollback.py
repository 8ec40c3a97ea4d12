"""Taking an attempt back, with everything that came after it on its run's branch.

The order makes it safe to be killed anywhere: the intent is recorded; a ref keeps the old head; the
run's branch goes back in Greenline's clone, then the published one in the user's repository; at
last one transaction says so in the ledger, and until then the ledger has everything as it was. Each
stage may be done twice, so whoever comes next finishes what was begun
(:func:`finish_pending_rollbacks`).
"""

from __future__ import annotations

import datetime as dt
import logging
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from storage.database import Database
from storage.exceptions import GreenlineError, InputError
from storage.home import Home
from storage.lease import described, owner_is_dead
from storage.ledger import Ledger
from storage.rows import AttemptRow, DeliveryRow, RollbackRow, RunRow
from storage.states import legal_moves
from tasks.commits import clone_with
from tasks.git import Git, GitError, RefMoved, decode
from tasks.repository import BranchTaken, UserRepository
from tasks.rollback_extent import Made, what_goes
from tasks.sandbox.clone import ProjectClone
from tasks.sandbox.trees import remove

logger = logging.getLogger(__name__)

_PATIENCE_S: Final = 3.0  # a process that was killed holds its lock a little longer
_NAMED: Final = 5


class BeingRolledBack(InputError):  # noqa: N818 - it names what happened
    """Another process is rolling the same run back."""

    def __init__(self, run_id: str) -> None:
        super().__init__(
            f"run {run_id} is being rolled back by another process; wait until that is done, then "
            "look again"
        )


# --- what would go


@dataclass(frozen=True)
class Planned:
    """What taking an attempt back would do.

    Attributes:
        number: the attempt's number.
        branch: the run's branch, in Greenline's clone and, when it was published, the user's
            repository.
        base_commit: where the branch starts.
        old_head: where it stands.
        head: where it goes.
        commits: those that go, newest first.
        attempts: those that go, by number.
        obstacles: what is in the way in the user's repository, as sentences.
        notes: what it leaves as it is, and what a person may want to do about that.
    """

    run_id: str
    project_id: int
    attempt_id: int
    number: int
    branch: str
    repository: UserRepository
    clone: Path
    base_commit: str
    old_head: str
    head: str
    commits: tuple[str, ...]
    attempts: tuple[AttemptRow, ...]
    obstacles: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def numbers(self) -> list[int]:
        """The numbers of the attempts that go, ascending."""
        return [row["number"] or 0 for row in self.attempts]


@dataclass(frozen=True)
class RolledBack:
    """What was taken back.

    Attributes:
        planned: what went.
        rollback_id: the row's id.
        backup_ref: where Greenline's clone keeps the old head.
        notes: what was left as it is, and why.
    """

    planned: Planned
    rollback_id: int
    backup_ref: str
    notes: tuple[str, ...]

    @property
    def way_back(self) -> str:
        """The command that puts what was taken back on a branch of the user's repository."""
        repo, clone = shlex.quote(str(self.planned.repository.path)), self.planned.clone
        refs = f"{self.backup_ref}:refs/heads/rolled-back-{self.rollback_id}"
        return f"git -C {repo} fetch {shlex.quote(str(clone))} {refs}"


def plan_rollback(database: Database, project_id: int, number: int) -> Planned:
    """Say what taking an attempt back would do; nothing is changed.

    Raises:
        InputError: there is no such attempt, it does not stand any more, its run has not ended,
            another run went on from it, or its commits are not on this machine.
    """
    with database.transaction() as ledger:
        attempt = ledger.attempt_by_number(project_id, number)
        if attempt is None:
            raise InputError(f"there is no attempt {number}; `greenline steps` lists them")
        run = _run_of(ledger, attempt)
        _require_standing(ledger, attempt)
        _require_ended(run)
        _require_last(ledger, run["run_id"])
        rows = ledger.active_attempts(run["run_id"])
        pending = ledger.pending_rollbacks(run["run_id"])
    planned = _planned(database, run, attempt, rows)
    notes = [
        f"rollback {row['id']} of this run was interrupted and is finished first" for row in pending
    ]
    return _looked_around(planned, notes)


def _run_of(ledger: Ledger, attempt: AttemptRow) -> RunRow:
    run = ledger.get_run(attempt["run_id"])
    known = (run["metadata_json"] if run else None) or {}
    if run is None or not {"branch", "repo_path", "base_commit"} <= known.keys():
        raise InputError(
            f"attempt {attempt['number']} was recorded from elsewhere: its run "
            f"{attempt['run_id']} has no branch of Greenline's that could be rolled back"
        )
    return run


def _require_standing(ledger: Ledger, attempt: AttemptRow) -> None:
    if attempt["active"]:
        return
    number = attempt["number"]
    for event in reversed(ledger.events_of(attempt["run_id"], "rolled_back")):
        if number in event["payload_json"]["numbers"]:
            rollback = event["payload_json"]["rollback"]
            raise InputError(
                f"attempt {number} is inactive: rollback {rollback} took it back at "
                f"{event['timestamp']:%Y-%m-%d %H:%M:%S %Z}; `greenline steps` shows what stands"
            )
    raise InputError(
        f"attempt {number} is inactive: its commit never got onto the run's branch; "
        "`greenline steps` shows what stands"
    )


def _require_ended(run: RunRow) -> None:
    run_id, status, owner = run["run_id"], run["status"], run["lease_owner"]
    expires = run["lease_expires_at"]
    carried = (
        owner is not None
        and expires is not None
        and expires > dt.datetime.now(dt.UTC)
        and not owner_is_dead(owner)
    )
    if legal_moves("run", status):
        how = (
            f"{described(owner or '')} carries it: wait until it ends"
            if carried
            else f"nobody carries it: `greenline resume {run_id}` goes on with it"
        )
        raise InputError(
            f"run {run_id} is {status}, and only a run that has ended can be rolled back; {how}, "
            f"or give it up with `greenline abandon {run_id}`"
        )
    if carried:
        raise InputError(
            f"run {run_id} is {status} and {described(owner or '')} is just cleaning up after it; "
            "try again in a moment"
        )


def _require_last(ledger: Ledger, run_id: str) -> None:
    later = ledger.later_run_of_tree(run_id)
    if later is None:
        return
    other, first = later
    if first is None:
        how = f"wait until it ends, or give it up with `greenline abandon {other}`"
    else:
        how = f"take that one back first: `greenline step rollback {first}`"
    raise InputError(f"run {other} went on from run {run_id} with the same steps; {how}")


def _planned(
    database: Database, run: RunRow, attempt: AttemptRow, rows: list[AttemptRow]
) -> Planned:
    """Work out what goes, from the ledger and from git's objects; refs are not looked at.

    Raises:
        InputError: the user's repository or the run's commits are not to be had.
    """
    known: dict[str, Any] = run["metadata_json"] or {}
    base, head = known["base_commit"], run["head_commit"] or known["base_commit"]
    repository = UserRepository.open(Path(known["repo_path"]))
    home = Home.current().ensure()
    clone = clone_with(database, home, repository, run["run_id"], known, head).git
    listed = clone.run("rev-list", "--first-parent", "--reverse", f"{base}..{head}")
    number = attempt["number"] or 0
    extent = what_goes([Made.of(row) for row in rows], base, decode(listed).split(), number)
    return Planned(
        run_id=run["run_id"],
        project_id=attempt["project_id"] or 0,
        attempt_id=attempt["id"],
        number=number,
        branch=known["branch"],
        repository=repository,
        clone=clone.git_dir,
        base_commit=base,
        old_head=head,
        head=extent.head,
        commits=extent.commits,
        attempts=tuple(row for row in rows if row["number"] in extent.numbers),
    )


def _looked_around(planned: Planned, notes: list[str]) -> Planned:
    """Add what is in the way in the user's repository, and what stays as it is there."""
    return replace(
        planned,
        obstacles=tuple(_obstacles(planned)),
        notes=(*notes, *_kept_elsewhere(planned)),
    )


def _obstacles(planned: Planned) -> Iterator[str]:
    repository, branch = planned.repository, planned.branch
    if dirty := repository.dirty(untracked=False):
        names = ", ".join(dirty[:_NAMED]) + (", …" if len(dirty) > _NAMED else "")
        yield (
            f"{repository.path} has uncommitted changes in {names}; commit or stash them "
            f"(git -C {shlex.quote(str(repository.path))} stash), then roll back"
        )
    tip = repository.git.resolve(f"refs/heads/{branch}")
    if tip is None or not planned.commits:
        return
    if branch in repository.checked_out_branches():
        yield (
            f"branch {branch} is checked out in {repository.path} or a worktree of it; switch to "
            "another branch first (git switch -), Greenline never changes a checkout"
        )
    if tip in (planned.old_head, planned.head):
        return
    other = f"rename it first: git -C {shlex.quote(str(repository.path))} branch -m {branch} mine"
    if _contains(repository.git, tip, planned.old_head):
        yield (
            f"branch {branch} of {repository.path} has commits of somebody else on top of "
            f"{planned.old_head[:12]}, which would be lost; {other}"
        )
    else:
        yield (
            f"branch {branch} of {repository.path} is at {tip[:12]}, and Greenline left it at "
            f"{planned.old_head[:12]}; {other}"
        )


def _contains(git: Git, tip: str, commit: str) -> bool:
    """Whether a commit contains another one, which may not even be there."""
    return git.resolve(commit) is not None and git.is_ancestor(commit, tip)


def _kept_elsewhere(planned: Planned) -> Iterator[str]:
    """Say which other branches of the user's have commits that go: those are not rewritten."""
    if not planned.commits:
        return
    git, path = planned.repository.git, shlex.quote(str(planned.repository.path))
    for branch in planned.repository.branches_with(planned.commits[-1]):
        if branch == planned.branch:
            continue
        newest = git.text("merge-base", f"refs/heads/{branch}", planned.commits[0]).splitlines()[0]
        yield (
            f"branch {branch} of {planned.repository.path} has these commits too and is left as it "
            f"is; to undo them there: git -C {path} switch {shlex.quote(branch)} && "
            f"git -C {path} revert --no-edit {planned.head[:12]}..{newest[:12]}"
        )


# --- doing it


@dataclass
class Work:
    """A rollback under way, done stage by stage (:data:`STAGES`).

    Attributes:
        row: the recorded intent, once there is one.
        left: why the published branch was left where it is, None: it was not.
    """

    database: Database
    planned: Planned
    who: str | None = None
    why: str | None = None
    row: RollbackRow | None = None
    left: str | None = None

    def record_intent(self) -> None:
        """Record what is to be done; from here on it will be.

        Raises:
            InputError: a run went on from this one meanwhile, or a rollback of it is pending.
        """
        planned = self.planned
        with self.database.transaction() as ledger:
            ledger.lock_run(planned.run_id)
            _require_last(ledger, planned.run_id)
            self.row = ledger.begin_rollback(
                planned.run_id, planned.attempt_id, planned.commits, who=self.who, why=self.why
            )

    def keep_backup(self) -> None:
        """Keep the old head under a ref of Greenline's clone."""
        clone = self._clone()
        ref = self.backup_ref
        remove(clone.path / f"{ref}.lock")  # of a git that was killed; nobody else writes it
        clone.git.run("update-ref", "--no-deref", ref, self.planned.old_head)

    def move_branch(self) -> None:
        """Put the run's branch in Greenline's clone on the commit before."""
        self._clone().put_branch(self.planned.branch, self.planned.head)

    def retract_published(self) -> None:
        """Put the published branch there too, if it is where Greenline left it.

        What somebody did with it since the rollback was begun is theirs: then it is left alone.
        """
        planned, repository = self.planned, self.planned.repository
        tip = repository.git.resolve(f"refs/heads/{planned.branch}")
        if tip in (None, planned.head):
            return
        if repository.free_branch(planned.branch):
            logger.info("branch %s was locked by a git that was killed", planned.branch)
        try:
            repository.retract_branch(planned.branch, planned.head, planned.old_head)
        except (BranchTaken, RefMoved) as error:
            self.left = (
                f"branch {planned.branch} of {repository.path} was left where it is "
                f"({tip[:12] if tip else 'gone'}): {error}"
            )
            logger.warning("%s", self.left)

    def record_end(self) -> None:
        """Say in the ledger that it is done: attempts, steps, head, delivery, event."""
        planned = self.planned
        with self.database.transaction() as ledger:
            delivery = ledger.get_delivery(planned.run_id)
            ledger.complete_rollback(
                self._row["id"],
                planned.numbers,
                planned.head,
                delivery_reverted=self.left is None and _is_taken_back(planned, delivery),
                facts={
                    "number": planned.number,
                    "old_head": planned.old_head,
                    "notes": [self.left] if self.left else [],
                },
            )

    @property
    def backup_ref(self) -> str:
        """Where the old head is kept."""
        return self._row["backup_ref"] or ""

    def result(self) -> RolledBack:
        """Return what was done."""
        notes = (*self.planned.notes, *([self.left] if self.left else []))
        return RolledBack(self.planned, self._row["id"], self.backup_ref, notes)

    @property
    def _row(self) -> RollbackRow:
        assert self.row is not None  # noqa: S101 - the first stage has been done
        return self.row

    def _clone(self) -> ProjectClone:
        planned = self.planned
        return ProjectClone.prepare(Home.current(), planned.repository, planned.base_commit)


Stage = Callable[[Work], None]

STAGES: Final[tuple[tuple[str, Stage], ...]] = (
    ("intent", Work.record_intent),
    ("backup", Work.keep_backup),
    ("branch", Work.move_branch),
    ("published", Work.retract_published),
    ("ledger", Work.record_end),
)
"""The stages of a rollback by name. Each but the first may be done any number of times."""


def _is_taken_back(planned: Planned, delivery: DeliveryRow | None) -> bool:
    """Whether what was delivered as a branch is on no branch that it was meant for any more."""
    if delivery is None or delivery["mode"] != "branch":
        return False
    git, commit = planned.repository.git, delivery["commit_sha"]
    tip = git.resolve(f"refs/heads/{delivery['target_branch']}")
    return commit in planned.commits and not (tip and _contains(git, tip, commit))


def roll_back(
    database: Database, planned: Planned, *, who: str | None = None, why: str | None = None
) -> RolledBack:
    """Take an attempt back as it was planned.

    Args:
        database: the ledger.
        planned: what was shown to whoever agreed.
        who: who wants it, for people.
        why: likewise.

    Raises:
        BeingRolledBack: another process is rolling the run back.
        InputError: something is in the way, or what would go is not what was planned any more.
        GreenlineError: git or the ledger failed; what was begun is finished by the next command.
    """
    with _alone(database, planned.run_id):
        now = plan_rollback(database, planned.project_id, planned.number)
        if (now.numbers, now.commits, now.head) != (
            planned.numbers,
            planned.commits,
            planned.head,
        ):
            raise InputError(
                f"what rolling attempt {planned.number} back takes with it has changed meanwhile; "
                f"look again: greenline step rollback {planned.number} --dry-run"
            )
        if now.obstacles:
            raise InputError("; ".join(now.obstacles))
        return _carry_out(Work(database, now, who, why))


def finish_pending_rollbacks(database: Database, run_id: str | None = None) -> list[RolledBack]:
    """Finish the rollbacks that were begun and cut off, and return those.

    Does nothing about one that a process is busy with, unless it is of the run that was named.

    Args:
        database: the ledger.
        run_id: only those of this run, and every error is raised; without it one that cannot be
            finished (its commits are on another machine) is logged and left for later.

    Raises:
        BeingRolledBack: another process is rolling the named run back.
        GreenlineError: a rollback of the named run cannot be finished; the message says why.
    """
    with database.transaction() as ledger:
        rows = ledger.pending_rollbacks(run_id)
    finished = []
    for row in rows:
        try:
            done = _finish(database, row)
        except BeingRolledBack:
            if run_id is not None:
                raise
        except (GreenlineError, OSError) as error:
            if run_id is not None:
                raise
            logger.warning(
                "rollback %d of run %s is not finished yet: %s", row["id"], row["run_id"], error
            )
        else:
            finished += [done] if done else []
    return finished


def _finish(database: Database, row: RollbackRow) -> RolledBack | None:
    """Finish one rollback; None when somebody else did so meanwhile."""
    with _alone(database, row["run_id"]):
        with database.transaction() as ledger:
            if row["id"] not in {each["id"] for each in ledger.pending_rollbacks(row["run_id"])}:
                return None
            rows = ledger.active_attempts(row["run_id"])
            attempt = next((each for each in rows if each["id"] == row["attempt_id"]), None)
            if attempt is None:
                raise GreenlineError(f"the attempt of rollback {row['id']} is inactive already")
            run = _run_of(ledger, attempt)
        planned = _planned(database, run, attempt, rows)
        if list(planned.commits) != row["commits"]:
            raise GreenlineError(
                f"rollback {row['id']} was to take {len(row['commits'])} commits back, and by the "
                f"ledger it would be {len(planned.commits)} now: somebody changed run "
                f"{row['run_id']} by hand"
            )
        return _carry_out(Work(database, planned, row["who"], row["why"], row=row))


def _carry_out(work: Work) -> RolledBack:
    """Do the stages that are left.

    Raises:
        InputError: it cannot be begun; nothing was changed.
        GreenlineError: a stage failed after that.
    """
    for name, stage in STAGES:
        if name == "intent" and work.row is not None:
            continue
        try:
            stage(work)
        except (GitError, OSError) as error:
            if work.row is None:
                raise
            raise GreenlineError(
                f"rollback {work.row['id']} of attempt {work.planned.number} is begun and not "
                f"finished: {error}; when that is mended, the next greenline command finishes it"
            ) from error
    return work.result()


@contextmanager
def _alone(database: Database, run_id: str) -> Iterator[None]:
    """Be the only one who rolls a run back; a process that is killed lets go of it.

    Raises:
        BeingRolledBack: somebody else is.
    """
    with database.transaction() as guard:
        deadline = time.monotonic() + _PATIENCE_S
        while not guard.try_lock_rollbacks(run_id):
            if time.monotonic() > deadline:
                raise BeingRolledBack(run_id)
            time.sleep(0.05)
        yield
