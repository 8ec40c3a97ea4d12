"""The user's repository: looked at, and given branches; its checkout and index are never touched.

Everything that decides what Greenline does is read from commits. What Greenline writes here is
objects and branches, with hooks off, and never a branch that somebody has checked out.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from storage.exceptions import GreenlineError, InputError
from tasks.git import GREENLINE, Git, Identity, as_user, decode, records

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.git import TreeEntry

LINK = "120000"
SUBMODULE = "160000"
_LOCK_S = 0.5


class BranchTaken(GreenlineError):  # noqa: N818 - it names what happened
    """A branch cannot be written: it holds other work, or somebody has it checked out."""


@dataclass(frozen=True)
class CommitTree:
    """The files of one commit, read once; paths are relative to its root, in POSIX form."""

    git: Git
    commit: str

    @cached_property
    def entries(self) -> Mapping[str, TreeEntry]:
        """Every entry by its path, folders and submodules too."""
        return self.git.listing(self.commit)

    def exists(self, path: str) -> bool:
        """Whether the commit has a file, a symlink or a folder at this path."""
        return path in self.entries

    def is_dir(self, path: str) -> bool:
        """Whether the commit has a folder at this path (a submodule counts as one)."""
        found = self.entries.get(path)
        return found is not None and found.kind in {"tree", "commit"}

    def is_symlink(self, path: str) -> bool:
        """Whether the commit has a symlink at this path."""
        found = self.entries.get(path)
        return found is not None and found.mode == LINK

    def symlink_target(self, path: str) -> str:
        """Return what the symlink at this path points to, as it is written.

        Raises:
            InputError: there is no symlink at this path.
        """
        if not self.is_symlink(path):
            raise InputError(f"commit {self.commit[:12]} has no symlink at {path!r}")
        return decode(self.git.blob(self.entries[path].oid))

    def show(self, path: str) -> bytes | None:
        """Return a file's content (of a symlink: its target); None where there is no file."""
        found = self.entries.get(path)
        return self.git.blob(found.oid) if found and found.kind == "blob" else None


@dataclass(frozen=True)
class UserRepository:
    """A repository that somebody owns; made by :meth:`open`.

    Attributes:
        path: its identity: the top of the checkout, or the bare repository (symlinks resolved).
        git: git on it, with Greenline's settings.
        common_dir: where objects and branches are; apart from `git.git_dir` in a linked worktree.
        is_bare: whether there is no checkout.
        object_format: `sha1` or `sha256`.
        head: the commit that it was on when it was opened.
    """

    path: Path
    git: Git
    common_dir: Path
    is_bare: bool
    object_format: str
    head: str

    @classmethod
    def open(cls, path: Path | str) -> UserRepository:
        """Find the repository that a path is in.

        Raises:
            InputError: the path does not exist, is in no repository, in one that belongs to
                somebody else, or in one without a commit.
        """
        given = Path(path)
        if not given.is_dir():
            raise InputError(
                f"{given} is {'a file' if given.exists() else 'not there'}; "
                "give the folder of a git repository"
            )
        questions = (
            "--is-bare-repository",
            "--is-inside-git-dir",
            "--absolute-git-dir",
            "--git-common-dir",
            "--show-object-format",
        )
        asked = as_user(given, "rev-parse", *questions)
        if asked.status != 0:
            raise InputError(_why_not(given, asked.stderr))
        answers = decode(asked.stdout).rstrip("\n").split("\n")
        bare, inside, object_format = answers[0] == "true", answers[1] == "true", answers[-1]
        folders = answers[2:-1]
        if len(folders) != 2:  # names with line ends in them: one question at a time
            folders = [_asked(given, question) for question in questions[2:4]]
        git_dir = Path(folders[0])
        common_dir = Path(os.path.normpath(given.absolute() / folders[1])).resolve()
        if inside and not bare:
            raise InputError(
                f"{given} is inside a repository's .git folder; give its checkout, "
                f"for instance {git_dir.parent}"
            )
        top = git_dir.resolve() if bare else Path(_asked(given, "--show-toplevel")).resolve()
        git = Git(git_dir, work_tree=None if bare else top)
        head = git.resolve("HEAD") or (_usual_branch(git) if bare else None)
        if head is None:
            raise InputError(_no_commit(top, git))
        return cls(top, git, common_dir, bare, object_format, head)

    @property
    def name(self) -> str:
        """What people call it: the folder's name, without `.git`."""
        at = self.path.parent if self.path.name == ".git" else self.path
        return at.name.removesuffix(".git") or "repository"

    @cached_property
    def default_branch(self) -> str:
        """The branch that HEAD is on; with a detached HEAD `main`, `master` or the first one."""
        on = self.git.call("symbolic-ref", "--quiet", "--short", "HEAD")
        # A bare repository may have been made with another name than what was pushed to it then.
        if on.status == 0 and (not self.is_bare or self.git.resolve("HEAD") is not None):
            return decode(on.stdout).rstrip("\n")
        return _usual(_branches(self.git)) or "HEAD"

    @cached_property
    def identity(self) -> Identity:
        """Who the user's commits are by: their configured name and address, else Greenline."""
        asked = as_user(self.path, "config", "--null", "--get-regexp", r"^user\.(name|email)$")
        found = {}
        for record in records(asked.stdout):
            key, _, value = record.partition("\n")
            found[key.lower()] = value.strip()  # the last one wins, as in git
        name, email = found.get("user.name"), found.get("user.email")
        return Identity(name, email) if name and email else GREENLINE

    def resolve(self, revision: str) -> str:
        """The commit that a revision (a branch, a tag, an id) names.

        Raises:
            InputError: there is none.
        """
        commit = self.git.resolve(revision)
        if commit is None:
            raise InputError(
                f"{self.path} has no commit {revision!r}; give a branch, a tag or a commit's id"
            )
        return commit

    def tree(self, commit: str | None = None) -> CommitTree:
        """The files of a commit (of the head, if none is named)."""
        return CommitTree(self.git, commit or self.head)

    def show(self, commit: str, path: str) -> bytes | None:
        """One file's content as a commit has it; None where it has no file.

        Raises:
            GitError: there is no such commit.
        """
        found = self.git.entry(commit, path)
        return self.git.blob(found.oid) if found and found.kind == "blob" else None

    def dirty(self, *, untracked: bool = True) -> list[str]:
        """Paths that differ from the head, new files that git does not ignore too.

        Runs no program that a configuration names: filters are off.

        Args:
            untracked: False leaves files out that git does not know.

        Raises:
            GitError: the index cannot be read.
        """
        if self.is_bare:
            return []
        asked = self.git.call("config", "--null", "--name-only", "--get-regexp", r"^filter\.")
        filters = {key.rpartition(".")[0] for key in records(asked.stdout)}
        off = [f"{one}.{what}" for one in sorted(filters) for what in ("clean=", "process=")]
        off += [f"{one}.required=false" for one in sorted(filters)]
        excludes = as_user(self.path, "config", "--path", "core.excludesFile")
        usual = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "git/ignore"
        excluded = decode(excludes.stdout).rstrip("\n") or str(usual)
        git = Git(self.git.git_dir, self.path, settings=(*off, f"core.excludesFile={excluded}"))
        options = ["--porcelain=v1", "-z", "--no-renames", "--ignore-submodules=dirty"]
        options += [] if untracked else ["--untracked-files=no"]
        return [record[3:] for record in records(git.run("status", *options))]

    def checked_out_branches(self) -> frozenset[str]:
        """Branches that a checkout of this repository is on, or is just rebasing or bisecting."""
        found = set()
        for line in decode(self.git.run("worktree", "list", "--porcelain")).splitlines():
            if line.startswith("branch refs/heads/"):
                found.add(line.removeprefix("branch refs/heads/"))
        busy = ("rebase-merge/head-name", "rebase-apply/head-name", "BISECT_START")
        for folder in (self.common_dir, *(self.common_dir / "worktrees").glob("*")):
            for name in busy:
                note = folder / name
                if note.is_file():
                    found.add(note.read_text().strip().removeprefix("refs/heads/"))
        return frozenset(found)

    def publish_branch(self, clone: Git, ref: str, branch: str) -> str:
        """Give the user a branch with what a ref of our clone has; return its commit.

        The branch may be there already when it is an older state of the same work and nobody has
        it checked out. Hooks do not run.

        Raises:
            BranchTaken: the branch holds something else, or is checked out.
            InputError: no such ref, or no possible name for a branch.
        """
        commit = clone.resolve(ref)
        if commit is None:
            raise InputError(f"there is no {ref} to publish as branch {branch!r}")
        full = f"refs/heads/{branch}"
        if branch.startswith("-") or self.git.call("check-ref-format", full).status != 0:
            raise InputError(f"{branch!r} is no name for a branch; 'greenline/my-run' would be")
        old = self.git.resolve(full)
        if old == commit:
            return commit
        if old is not None and not clone.is_ancestor(old, commit):
            raise BranchTaken(
                f"branch {branch!r} of {self.path} is at {old[:12]}, which is no part of "
                f"{commit[:12]}; rename or delete it, then deliver again"
            )
        self._refuse_checked_out(branch)
        self.take_objects(clone, commit)
        self.git.move_ref(full, commit, old, "greenline: published")
        return commit

    def advance_branch(self, branch: str, new: str, expected_old: str) -> None:
        """Move a branch forward to a commit that is here already (see :meth:`take_objects`).

        Raises:
            BranchTaken: it is checked out somewhere, or `new` does not contain `expected_old`.
            RefMoved: the branch is not at `expected_old`.
            GitError: a commit is missing.
        """
        self._refuse_checked_out(branch)
        if not self.git.is_ancestor(expected_old, new):
            raise BranchTaken(
                f"branch {branch!r} of {self.path} cannot go from {expected_old[:12]} to "
                f"{new[:12]}: that would lose commits; rebase or merge first"
            )
        self.git.move_ref(f"refs/heads/{branch}", new, expected_old, "greenline: merged")

    def retract_branch(self, branch: str, to: str, expected_old: str) -> None:
        """Move a branch that was published back to one of its earlier commits.

        Raises:
            BranchTaken: it is checked out somewhere.
            RefMoved: the branch is not at `expected_old`.
            GitError: there is no such commit here.
        """
        self._refuse_checked_out(branch)
        self.git.move_ref(f"refs/heads/{branch}", to, expected_old, "greenline: rolled back")

    def free_branch(self, branch: str) -> bool:
        """Remove the lock of a branch of Greenline's own that a git which was killed has left.

        Git holds such a lock for some milliseconds; one that lasts is nobody's.

        Returns:
            True when there was one.
        """
        lock = self.common_dir / f"refs/heads/{branch}.lock"
        found = _identity(lock)
        deadline = time.monotonic() + _LOCK_S
        while found is not None and _identity(lock) == found:
            if time.monotonic() > deadline:
                lock.unlink(missing_ok=True)
                return True
            time.sleep(0.02)
        return False

    def branches_with(self, commit: str) -> list[str]:
        """The branches that contain a commit; none when it is not here."""
        if self.git.resolve(commit) is None:
            return []
        form = "--format=%(refname)"
        listed = decode(self.git.run("for-each-ref", form, f"--contains={commit}", "refs/heads/"))
        return [ref.removeprefix("refs/heads/") for ref in listed.splitlines()]

    def take_objects(self, clone: Git, commit: str) -> None:
        """Copy a commit of our clone with all it needs; no ref is written.

        Raises:
            GitError: the clone lacks objects, or they cannot be written here.
        """
        # A pack by hand and not a fetch: no configuration of remotes, no ownership questions.
        known = decode(self.git.run("for-each-ref", "--format=%(objectname)")).split()
        wanted = "\n".join([commit, *(f"^{oid}" for oid in {self.head, *known}), ""])
        packing = ("pack-objects", "--quiet", "--revs", "--thin", "--stdout")
        pack = clone.run(*packing, stdin=wanted.encode())
        self.git.run("unpack-objects", "-q", "--strict", stdin=pack)

    def _refuse_checked_out(self, branch: str) -> None:
        if branch in self.checked_out_branches():
            raise BranchTaken(
                f"branch {branch!r} of {self.path} is checked out, and Greenline never touches a "
                "checkout; switch to another branch, or deliver to one that is not checked out"
            )


def _identity(file: Path) -> tuple[int, int] | None:
    """Tell a plain file from the one that takes its place; None: there is none."""
    with contextlib.suppress(OSError):
        found = file.lstat()
        if stat.S_ISREG(found.st_mode):
            return (found.st_ino, found.st_mtime_ns)
    return None


def _branches(git: Git) -> list[str]:
    listed = decode(git.run("for-each-ref", "--format=%(refname)", "refs/heads/")).splitlines()
    return [ref.removeprefix("refs/heads/") for ref in listed]


def _usual(branches: list[str]) -> str | None:
    """The branch that most likely is the one people work on."""
    usual = (name for name in ("main", "master", "trunk", "develop") if name in branches)
    return next(usual, branches[0] if branches else None)


def _usual_branch(git: Git) -> str | None:
    """The commit of the usual branch, None where there is none."""
    name = _usual(_branches(git))
    return git.resolve(f"refs/heads/{name}") if name else None


def _asked(folder: Path, question: str) -> str:
    return decode(as_user(folder, "rev-parse", question).stdout).removesuffix("\n")


def _why_not(given: Path, stderr: str) -> str:
    if "dubious ownership" in stderr:
        return (
            f"the git repository at {given} belongs to somebody else, so git refuses it; "
            f"if you trust it: git config --global --add safe.directory {given.resolve()}"
        )
    if "not a git repository" in stderr:
        return (
            f"{given} is not in a git repository; give one that is, or make it one: "
            "git init && git add -A && git commit -m 'First commit'"
        )
    return f"git cannot read the repository at {given}: {stderr.strip()}"


def _no_commit(path: Path, git: Git) -> str:
    branches = _branches(git)
    if branches:
        return (
            f"HEAD of {path} names a branch without a commit; check out one that has some: "
            + ", ".join(branches[:5])
        )
    return (
        f"the repository {path} has no commit yet, and Greenline works from commits; "
        "make one: git add -A && git commit -m 'First commit'"
    )
