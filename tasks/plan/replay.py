"""Feature plans of past commits, for the `replay` agent: the oracle for tests and benchmarks.

Each commit becomes a subtask of two steps: first its test file, then its source file, as the commit
has them. The plan runs from the first commit's parent. Commits between two given ones may be left
out: what they did to a file comes along with the next commit that writes that file. What they did
to other files the plan lacks. That is noted, and with more emphasis where one such commit changed a
file that the plan lacks together with a file that it takes over afterwards: whether half of that
commit does harm only the gates can tell.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from storage.exceptions import InputError
from tasks.plan.file_kinds import kind_of
from tasks.plan.model import FeaturePlan, Replay, Step, Subtask, Task
from tasks.plan.past_commits import RULE, PastCommit, read_commit, unsuitable
from tasks.plan.writing import dump_plan_yaml

if TYPE_CHECKING:
    from tasks.git import Git

__all__ = ["ReplayPlan", "dump_plan_yaml", "make_replay_plan"]

MAX_COMMITS = 200
"""The most commits that one plan is made of."""

_MAX_BODY = 2000


class ReplayPlanError(InputError):
    """The commits do not make a feature plan; the message says of each one why."""


@dataclass(frozen=True)
class ReplayPlan:
    """A feature plan of past commits.

    Attributes:
        plan: the plan; one subtask a commit, each depending on the one before.
        base_commit: the commit to run it from: the first one's parent.
        notes: what a person should know: files left out, commits left out.
    """

    plan: FeaturePlan
    base_commit: str
    notes: tuple[str, ...]


def make_replay_plan(
    repo: Path, commits: Sequence[str], *, max_commits: int = MAX_COMMITS
) -> ReplayPlan:
    """Make a feature plan of commits that each touch one test file and one source file.

    Args:
        repo: the repository that has them.
        commits: revisions and ranges `A..B`, in any order. Of a range, commits that do not fit are
            left out with a note; a commit that is named must fit.
        max_commits: the most commits to take.

    Raises:
        InputError: there is no such repository or commit, or they do not make a plan: the message
            names each commit and says why.
    """
    from tasks.repository import UserRepository  # noqa: PLC0415 - with GitPython behind it

    repository = UserRepository.open(repo)
    git = repository.git
    named, ranged = _resolved(git, commits)
    notes: list[str] = []
    chosen = _suitable(git, named, ranged, notes)
    if len(chosen) > max_commits:
        raise ReplayPlanError(
            f"{len(chosen)} commits are more than one plan takes ({max_commits}); give fewer"
        )
    ordered = _one_line(git, chosen, set(named), notes)
    _check_gaps(git, ordered, notes)
    base = ordered[0].parents[0]
    notes.extend(
        f"{commit.short}: {', '.join(commit.left_out)} left out: no test needs it"
        for commit in ordered
        if commit.left_out
    )
    plan = _plan(repository.name, repository.path, git, ordered, base)
    return ReplayPlan(plan, base, tuple(notes))


def _resolved(git: Git, revisions: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the ids of the commits that are named and of those that only a range brings in."""
    named: list[str] = []
    ranged: list[str] = []
    problems = []
    for revision in revisions:
        start, dots, end = revision.partition("..")
        if not dots:
            found = git.resolve(revision)
            if found is None:
                problems.append(f"there is no commit {revision!r} in the repository")
            else:
                named.append(found)
            continue
        ends = [git.resolve(start), git.resolve(end or "HEAD")]
        if end.startswith(".") or not start or None in ends:
            problems.append(f"{revision!r} is no range of commits: write A..B, without A itself")
            continue
        inside = git.text("rev-list", "--reverse", "--topo-order", f"{ends[0]}..{ends[1]}", "--")
        if not inside:
            problems.append(
                f"the range {revision!r} is empty: {end} has nothing that {start} lacks"
            )
        ranged.extend(inside.split())
    if problems:
        raise ReplayPlanError("; ".join(problems))
    if not named and not ranged:
        raise ReplayPlanError("no commits are given: name some, or a range A..B")
    named = list(dict.fromkeys(named))
    return named, [sha for sha in dict.fromkeys(ranged) if sha not in set(named)]


def _suitable(
    git: Git, named: Sequence[str], ranged: Sequence[str], notes: list[str]
) -> list[PastCommit]:
    """Return the commits that fit; raises when a named one does not, notes those of ranges."""
    chosen: list[PastCommit] = []
    problems = []
    for sha in (*named, *ranged):
        commit = read_commit(git, sha)
        reason = unsuitable(git, commit)
        if reason is None:
            chosen.append(commit)
        elif sha in named:
            problems.append(f"{commit.short} ({commit.subject}) {reason}")
        else:
            notes.append(f"{commit.short} ({commit.subject}) is not in the plan: it {reason}")
    if problems:
        raise ReplayPlanError(_listed(f"these commits cannot be replayed; {RULE}", problems))
    if not chosen:
        raise ReplayPlanError(
            _listed(f"no commit of the range can be replayed; {RULE}", notes[:10])
        )
    return chosen


def _one_line(
    git: Git, commits: Sequence[PastCommit], named: set[str], notes: list[str]
) -> list[PastCommit]:
    """Return the commits oldest first, each containing the one before."""

    def compare(one: PastCommit, other: PastCommit) -> int:
        if git.is_ancestor(one.sha, other.sha):
            return -1
        return 1 if git.is_ancestor(other.sha, one.sha) else 0

    # Commits of a range come in an order that suits already; only named ones may come in any.
    ordered = sorted(commits, key=functools.cmp_to_key(compare)) if named else list(commits)
    line = ordered[:1]
    for commit in ordered[1:]:
        if git.is_ancestor(line[-1].sha, commit.sha):
            line.append(commit)
        elif commit.sha in named:
            raise ReplayPlanError(
                f"{line[-1].short} ({line[-1].subject}) and {commit.short} ({commit.subject}) are "
                "on different branches: neither contains the other; give commits of one line"
            )
        else:
            notes.append(
                f"{commit.short} ({commit.subject}) is not in the plan: it is on another branch "
                f"than {line[-1].short}"
            )
    return line


def _check_gaps(git: Git, ordered: Sequence[PastCommit], notes: list[str]) -> None:
    """Compare the tree that the plan makes with history's, and note what it lacks."""
    made = _needed_blobs(git, ordered[0].parents[0])
    skipped: list[PastCommit] = []
    noted: set[str] = set()
    told: set[str] = set()
    for before, commit in zip([None, *ordered], ordered, strict=False):
        written = [commit.only("test"), commit.only("source")]
        made.update({change.path: change.oid for change in written})
        if before is not None and before.sha != commit.parents[0]:
            span = f"{before.sha}..{commit.parents[0]}"
            between = git.text("rev-list", "--no-merges", span, "--").split()
            skipped.extend(read_commit(git, sha) for sha in between)
        if not skipped:
            continue
        history = _needed_blobs(git, commit.sha)
        lacking = {p for p in {*made, *history} if made.get(p) != history.get(p)}
        for other in skipped:
            changed = {change.path for change in other.needed}
            both, taken = changed & lacking, changed & {change.path for change in written}
            if both and taken and other.sha not in told:
                told.add(other.sha)
                notes.append(
                    f"{commit.short} ({commit.subject}) builds on {other.short} ({other.subject}), "
                    f"which is not in the plan and changed {', '.join(sorted(both))} together with "
                    f"{', '.join(sorted(taken))}: the steps may fail for that; give it too if it "
                    "can be replayed, else end before it or begin after it"
                )
        fresh = sorted(lacking - noted)
        if fresh:
            noted.update(fresh)
            notes.append(
                f"from {commit.short} on the plan lacks what commits left out did to "
                f"{', '.join(fresh[:6])}{f' and {len(fresh) - 6} more' if len(fresh) > 6 else ''}"
            )


def _needed_blobs(git: Git, commit: str) -> dict[str, str]:
    """Return the object id of each file of a commit that tests may notice."""
    entries = git.listing(commit).items()
    return {p: e.oid for p, e in entries if e.kind != "tree" and kind_of(p) != "unneeded"}


def _plan(name: str, repo: Path, git: Git, commits: Sequence[PastCommit], base: str) -> FeaturePlan:
    subtasks: list[Subtask] = []
    for commit in commits:
        subtasks.append(_subtask(repo, git, commit, [s.key for s in subtasks[-1:]]))
    first, last = commits[0], commits[-1]
    count = f"{len(commits)} commit{'s' if len(commits) > 1 else ''}"
    return FeaturePlan(
        feature=f"Replay of {count} of {name}",
        description=(
            f"The commits {first.short} to {last.short}, each as its test file and then its source "
            f"file. To be run from {base}, the parent of the first."
        ),
        tasks=(Task(title=f"{first.short}..{last.short}", subtasks=tuple(subtasks)),),
    )


def _subtask(repo: Path, git: Git, commit: PastCommit, before: list[str]) -> Subtask:
    test, source = commit.only("test"), commit.only("source")
    replay = (Replay(repo=str(repo), commit=commit.sha),)
    known = git.entry(commit.parents[0], source.path) is not None
    title = commit.subject or commit.short
    steps = (
        Step(
            step_type="test",
            file_path=test.path,
            instructions=f"Write the tests for: {title}",
            context_files=(source.path,) if known else (),
            replay=replay,
        ),
        Step(
            step_type="implementation",
            file_path=source.path,
            instructions=f"Make the tests in {test.path} pass: {title}",
            context_files=(test.path,),
            replay=replay,
        ),
    )
    return Subtask(
        key=_key(commit),
        title=title,
        description=commit.body[:_MAX_BODY].rstrip(),
        depends_on=tuple(before),
        steps=steps,
    )


def _key(commit: PastCommit) -> str:
    """Return a key from the commit's id and its subject."""
    plain = unicodedata.normalize("NFKD", commit.subject).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:40].strip("-")
    return "-".join(filter(None, [commit.sha[:10], slug]))


def _listed(heading: str, lines: Sequence[str]) -> str:
    return f"{heading}:" + "".join(f"\n  - {line}" for line in lines)
