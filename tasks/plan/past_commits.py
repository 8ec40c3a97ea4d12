"""Past commits of a repository, looked at as possible subtasks of a replay plan."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tasks.plan.file_kinds import kind_of
from tasks.plan.paths import path_problem

if TYPE_CHECKING:
    from tasks.git import Git

_SYMLINK, _SUBMODULE = "120000", "160000"
_STATUS = {"D": "deletes", "R": "renames", "T": "changes the type of"}
# As far as git itself looks to tell a binary file (buffer_is_binary in xdiff-interface.c).
_BINARY_WITHIN = 8000


@dataclass(frozen=True)
class Change:
    """What a commit did to one file.

    Attributes:
        status: git's letter (A, M, D, R, T); of a rename `path` is the new name.
        mode: the file's mode afterwards.
        oid: the object id of its content afterwards.
        old_oid: the object id of its content before.
        path: the file.
        old_path: its name before a rename, else None.
    """

    status: str
    mode: str
    oid: str
    old_oid: str
    path: str
    old_path: str | None = None

    def __str__(self) -> str:
        verb = _STATUS.get(self.status)
        return f"{verb} {self.old_path or self.path}" if verb else self.path


@dataclass(frozen=True)
class PastCommit:
    """One commit with what it changed against its only parent.

    Attributes:
        sha: its full id.
        parents: the ids of its parents.
        subject: the first line of its message.
        body: the rest of its message.
        changes: what it did, file by file; empty for merges and root commits.
    """

    sha: str
    parents: tuple[str, ...]
    subject: str
    body: str
    changes: tuple[Change, ...] = field(default=())

    @property
    def short(self) -> str:
        """The beginning of the id, as people write it."""
        return self.sha[:10]

    @property
    def needed(self) -> tuple[Change, ...]:
        """The changes that tests may notice."""
        changed = (c for c in self.changes if c.status != "M" or c.oid != c.old_oid)
        return tuple(c for c in changed if kind_of(c.path) != "unneeded")

    @property
    def left_out(self) -> tuple[str, ...]:
        """The changed files that no test needs, and those whose mode alone changed."""
        needed = set(self.needed)
        return tuple(change.path for change in self.changes if change not in needed)

    def only(self, kind: str) -> Change:
        """Return its one change to a file of this kind; the commit is suitable."""
        (change,) = (c for c in self.needed if kind_of(c.path) == kind)
        return change


def read_commit(git: Git, sha: str) -> PastCommit:
    """Return a commit by its full id, with its changes if it has one parent."""
    shown = _clean(git.text("log", "-1", "--no-show-signature", "--format=%P%n%B", sha, "--"))
    parents, _, message = shown.partition("\n")
    subject, _, body = message.strip().partition("\n")
    commit = PastCommit(sha, tuple(parents.split()), " ".join(subject.split()), body.strip())
    if len(commit.parents) != 1:
        return commit
    changes = tuple(changes_between(git, commit.parents[0], sha))
    return PastCommit(sha, commit.parents, commit.subject, commit.body, changes)


def changes_between(git: Git, old: str, new: str) -> Iterator[Change]:
    """Yield what differs between two commits, file by file; renames are told apart."""
    from tasks.git import decode  # noqa: PLC0415 - with GitPython behind it

    raw = decode(git.run("diff-tree", "-r", "-z", "-M", "--raw", "--no-ext-diff", old, new))
    words = iter(raw.split("\0"))
    for head in words:
        if not head:
            continue
        _, mode, old_oid, oid, status = head.removeprefix(":").split(" ")
        path, old_path = next(words), None
        if status[0] in "RC":
            path, old_path = next(words), path
        yield Change(status[0], mode, oid, old_oid, path, old_path)


RULE = (
    "one that can be touches one test file and one source file, and besides only files that no "
    "test needs (documentation, changelogs, stubs)"
)
"""Which commits can be replayed."""


def unsuitable(git: Git, commit: PastCommit) -> str | None:
    """Say why a commit cannot be replayed as one test step and one implementation step.

    None when it can: it has one parent, and writes exactly one test file and one source file;
    files that no test needs do not count.
    """
    if not commit.parents:
        return "is the first commit of its history, so there is nothing to start from"
    if len(commit.parents) > 1:
        return f"is a merge of {len(commit.parents)} commits; give the commits that it merges"
    by_kind: dict[str, list[Change]] = {"test": [], "source": [], "other": []}
    for change in commit.needed:
        by_kind[kind_of(change.path)].append(change)
    tests, sources, others = by_kind["test"], by_kind["source"], by_kind["other"]
    if len(tests) != 1 or len(sources) != 1 or others:
        said = [
            f"{_count(changes, name)}{f' ({_listed(changes)})' if changes else ''}"
            for changes, name in ((tests, "test file"), (sources, "source file"))
        ]
        more = f" and {_count(others, 'other file')} ({_listed(others)})" if others else ""
        return f"touches {' and '.join(said)}{more}"
    for change in (*tests, *sources):
        problem = _unwritable(git, change)
        if problem:
            return problem
    return None


def _unwritable(git: Git, change: Change) -> str | None:
    """Say why an agent that writes a file's content cannot make this change."""
    if change.status in _STATUS:
        return f"{change}; a step writes a file's content and can do no more"
    if change.mode in {_SYMLINK, _SUBMODULE}:
        kind = "a symlink" if change.mode == _SYMLINK else "a submodule"
        return f"{change.path} is {kind}; a step writes a file's content"
    problem = path_problem(change.path)
    if problem:
        return f"cannot be put into a plan: {problem}"
    if b"\0" in git.blob(change.oid)[:_BINARY_WITHIN]:
        return f"{change.path} is a binary file; agents write text"
    return None


def _count(changes: list[Change], name: str) -> str:
    return f"{len(changes) or 'no'} {name}{'' if len(changes) == 1 else 's'}"


def _listed(changes: list[Change]) -> str:
    shown = ", ".join(str(change) for change in changes[:6])
    return shown + (f" and {len(changes) - 6} more" if len(changes) > 6 else "")


def _clean(text: str) -> str:
    """Return a commit's message as valid Unicode without control characters."""
    valid = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join(c for c in valid if c == "\n" or c.isprintable() or c == "\t").expandtabs(4)
