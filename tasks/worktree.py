"""A worktree of Greenline's clone on a branch, with git's control files out of reach.

Greenline uses its own clone, the worktree and an index of its own, and never reads the `.git` that
lies in the worktree (see `tasks.own_git`). The scope gate is in `tasks.sandbox`.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Self

from storage.exceptions import GreenlineError
from tasks.git import GitError, TreeEntry, joined, records
from tasks.manifest import Changes, Entry, Manifest, compare, entry_at, scan
from tasks.own_git import OwnGit
from tasks.scope import LARGEST_FILE, is_cache
from tasks.trees import remove, write_private
from tasks.undo import is_reached, put_back, remove_within, restore_exactly

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from tasks.clone import ProjectClone
    from tasks.git import Git
    from tasks.manifest import Change


LISTINGS = 4
"""How many trees' contents are remembered; an attempt needs two."""

FOLDER = "040000"
SUBMODULE = "160000"


class SandboxError(GreenlineError):
    """A worktree could not be brought into the state it should have."""


@dataclass(frozen=True)
class Snapshot:
    """A state of the worktree in git.

    Attributes:
        tree: the tree's id.
        left_out: paths that are not in it: too large, or nothing that git keeps.
    """

    tree: str
    left_out: tuple[str, ...] = ()


class Worktree:
    """A worktree of the project's clone; made by :meth:`create` or :meth:`open`.

    Attributes:
        clone: Greenline's clone of the project.
        path: the worktree.
        branch: the branch it is on, without `refs/heads/`.
        git: git on the three: clone, worktree and our own index.
        needs_set_up: whether the project's set-up command is to be run: the worktree is new, or
            what the command once made is changed or gone.
    """

    def __init__(self, clone: ProjectClone, path: Path, branch: str) -> None:
        self.clone = clone
        self.path = path
        self.branch = branch
        self._control = path.with_name(path.name + ".control")
        self.git: Git = clone.with_files(path, self._control / "index")
        self._own_git = OwnGit(path, clone, branch)
        self._head = ""
        self._setup: dict[str, Entry] = {}
        self._clean: tuple[str, Manifest] | None = None  # a commit, and the worktree at it
        self._current: tuple[str, Manifest] | None = None  # a tree, and the worktree at it
        self._index: tuple[str, Entry | None] = ("", None)  # the tree in the index, and the file
        self._trees: dict[str, str] = {}  # commit → its tree
        self._listings: dict[str, dict[str, TreeEntry]] = {}  # tree → what is in it
        self.needs_set_up = True

    @classmethod
    def create(cls, clone: ProjectClone, path: Path, *, branch: str, base_commit: str) -> Self:
        """Make one at a path that is free, on a branch that is new or at the base already.

        Raises:
            RefMoved: the branch exists elsewhere.
            SandboxError: something lies at the path.
        """
        made = cls(clone, path, branch)
        if os.path.lexists(path):
            raise SandboxError(f"{path} exists already; open that sandbox, or remove it first")
        at = clone.git.resolve(made.ref)
        if at != base_commit:
            clone.git.move_ref(made.ref, base_commit, None)
        made._head = base_commit
        made._build()
        return made

    @classmethod
    def open(cls, clone: ProjectClone, path: Path, *, branch: str) -> Self:
        """Take over one that another process left, whatever state it is in.

        It is brought to the branch's head; `needs_set_up` says whether that was possible with all
        that the set-up had made.

        Raises:
            SandboxError: the branch does not exist.
        """
        made = cls(clone, path, branch)
        clone.verify()
        # A git that was killed leaves its lock behind; the run's lease says that we are alone.
        remove(clone.path / f"{made.ref}.lock")
        head = clone.git.resolve(made.ref)
        if head is None:
            raise SandboxError(f"the clone {clone.path} has no branch {branch}")
        made._head = head
        noted = made._control / "setup.json"
        if noted.is_file() and path.is_dir():
            saved = json.loads(noted.read_text())
            made._setup = {name: _entry(fields) for name, fields in saved.items()}
            made.needs_set_up = False
            made.reset()
        else:
            made.rebuild()
        return made

    @property
    def ref(self) -> str:
        """The branch's full name."""
        return f"refs/heads/{self.branch}"

    @property
    def head(self) -> str:
        """The commit that the branch is on, as Greenline put it there."""
        return self._head

    def tree(self, commit: str | None = None) -> str:
        """The tree of a commit, of the head by default.

        Raises:
            GitError: there is no such commit.
        """
        named = commit or self._head
        if named not in self._trees:
            self._trees[named] = self.git.tree_of(named)
        return self._trees[named]

    def files(self, commit: str | None = None) -> frozenset[str]:
        """The files and links of a commit, of the head by default.

        Raises:
            GitError: there is no such commit.
        """
        return frozenset(_blobs(self._listing(self.tree(commit))))

    def changed_files(self, older: str, newer: str) -> tuple[str, ...]:
        """The paths that differ between two commits or trees, sorted.

        Raises:
            GitError: one of them does not exist.
        """
        options = ("-r", "-z", "--name-only", "--no-renames")
        return tuple(sorted(records(self.git.run("diff-tree", *options, older, newer))))

    # --- into git

    def snapshot_tree(self, paths: Iterable[str]) -> Snapshot:
        """Write the head's tree with these paths as they are in the worktree now.

        Links are kept as links, never followed. Files over 20 MB, what lies in a `.git` and what
        is no file or link is left out and named.

        Raises:
            GitError: git cannot write it.
        """
        self._load_index(self.tree())
        staged: list[str] = []
        left_out: list[str] = []
        for path in paths:
            (staged if self._can_be_staged(path) else left_out).append(path)
        staged = [path for path in staged if is_reached(self.path, path)]
        if staged:
            options = ("--add", "--remove", "--replace", "-z", "--stdin")
            self.git.run("update-index", *options, stdin=joined(sorted(staged)))
        tree = self.git.text("write-tree") if staged else self._index[0]
        self._index_holds(tree)
        return Snapshot(tree, tuple(left_out))

    def commit(self, tree: str, message: str, parents: Sequence[str] | None = None) -> str:
        """Write a commit, on top of the head by default; no branch moves.

        Raises:
            GitError: there is no such tree or parent.
        """
        over = [self._head] if parents is None else parents
        options = [word for parent in over for word in ("-p", parent)]
        made = self.git.text("commit-tree", tree, *options, stdin=message.encode())
        self._trees[made] = tree
        return made

    def advance(self, new: str, expected_old: str) -> None:
        """Move the branch to a commit. The worktree follows with :meth:`reset` where it must.

        Raises:
            RefMoved: the branch is not at `expected_old`; nothing changed.
        """
        self.clone.verify()
        self.git.move_ref(self.ref, new, expected_old)
        self._head = new
        if self._current and self._current[0] == self.tree(new) == self._index[0]:
            self._clean = (new, self._current[1])
            self._own_git.write(new, self._control / "index")
        self._current = None

    def keep_failed(self, number: int, tree: str, message: str) -> str:
        """Keep what a failed attempt left: a commit under `refs/greenline/attempts/<number>`."""
        commit = self.commit(tree, message)
        self.git.run("update-ref", "--no-deref", f"refs/greenline/attempts/{number}", commit)
        return commit

    # --- back to the head

    def reset(self) -> tuple[str, ...]:
        """Bring the worktree to the head exactly: content, modes, nothing more and nothing less.

        What the sandbox's set-up made stays.

        Returns:
            Files of the set-up that were changed or deleted; they cannot be restored. Not empty:
            :meth:`rebuild` and set up again.

        Raises:
            SandboxError: it could not be done.
        """
        self._check_control()
        self._current = None
        now = scan(self.path)
        lost = None
        if self._clean is not None and now.root == self._clean[1].root:
            lost = self._reset_by_manifest(now, *self._clean)
        if lost is None:
            lost, reached = self._restore_whole(self.tree())
            self._clean = (self._head, reached)
        self._own_git.write(self._head, self._control / "index")
        self.needs_set_up = self.needs_set_up or bool(lost)
        return lost

    def rebuild(self) -> None:
        """Make the worktree anew at the head; the set-up command has to be run again."""
        self._discard()
        self._setup, self._clean, self._current = {}, None, None
        self._build()

    def remove(self) -> None:
        """Remove the worktree and its control files; commits and branch stay in the clone."""
        self._discard()

    # --- inside

    def _build(self) -> None:
        self.clone.verify()
        self.path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
        self.path.mkdir(mode=0o700)
        self._control.mkdir(parents=True, mode=0o700)
        self.git.run("read-tree", "--reset", "-u", self._head)
        self._index_holds(self.tree())
        self._own_git.write(self._head, self._control / "index")
        self._clean = (self._head, scan(self.path))
        self.needs_set_up = True

    def _discard(self) -> None:
        remove(self.path)
        remove(self._control)

    def _note_setup(self) -> None:
        write_private(self._control / "setup.json", json.dumps(self._setup).encode())

    def _known_clean(self) -> Manifest:
        if self._clean is None or self._clean[0] != self._head:
            raise SandboxError(f"the worktree {self.path} is not at its head; reset it first")
        return self._clean[1]

    def _check_control(self) -> tuple[str, ...]:
        """Put right what was tampered with in the clone or in our index, and name it."""
        found = self.clone.verify()
        if self._index[0] and entry_at(self._control / "index") != self._index[1]:
            remove(self._control / "index")
            self.git.run("read-tree", self._index[0])
            self._index_holds(self._index[0])
            found += ("index",)
        return found

    def _load_index(self, tree: str) -> None:
        if self._index[0] != tree:
            self.git.run("read-tree", "--reset", tree)
            self._index_holds(tree)

    def _index_holds(self, tree: str) -> None:
        self._index = (tree, entry_at(self._control / "index"))

    def _listing(self, tree: str) -> dict[str, TreeEntry]:
        if tree not in self._listings:
            while len(self._listings) >= LISTINGS:
                del self._listings[next(iter(self._listings))]
            self._listings[tree] = self.git.listing(tree)
        return self._listings[tree]

    def _learn(self, old: str, new: str) -> set[str]:
        """Which paths differ between two trees; what is in the new one is known from then on."""
        if old == new:
            return set()
        changed = {}
        told = records(self.git.run("diff-tree", "-r", "-z", "--raw", "--no-renames", old, new))
        for told_of, path in zip(told, told, strict=True):
            _, mode, _, oid, status = told_of.split(" ")
            changed[path] = None if status == "D" else TreeEntry(mode, "blob", oid)
        # A folder that came to nothing is not told of; such trees are read when they are needed.
        if all(entry is not None and entry.mode != SUBMODULE for entry in changed.values()):
            listing = dict(self._listing(old))
            for path, entry in changed.items():
                folders = (str(up) for up in PurePosixPath(path).parents if str(up) != ".")
                listing |= {up: TreeEntry(FOLDER, "tree", "") for up in folders}
                listing |= {path: entry} if entry else {}
            self._listings[new] = listing
        return set(changed)

    def _real_changes(
        self, before: Manifest, after: Manifest, tracked: dict[str, TreeEntry]
    ) -> Changes:
        """The changes, with each file that was only touched taken out or called modified."""
        changes = compare(before, after)
        touched = [path for path in changes.paths("touched") if path in tracked]
        same = self._same(touched, tracked)
        return Changes(
            tuple(
                change._replace(what="modified") if change.what == "touched" else change
                for change in changes
                if change.what != "touched" or change.path not in same
            )
        )

    def _same(self, paths: Iterable[str], tracked: dict[str, TreeEntry]) -> set[str]:
        """Which files have the bytes that git checks out there."""
        same, other = set(), {}
        for path in paths:
            content = (self.path / path).read_bytes()
            head = b"blob %d\0" % len(content)
            digest = hashlib.new(self.clone.object_format, head + content).hexdigest()
            if digest == tracked[path].oid:
                same.add(path)
            else:
                other[path] = content
        if other:
            # Line ends and `ident` are converted on the way out: only git knows what it writes.
            beside = self._control / "compare"
            remove(beside)
            options = ("-f", "-q", f"--prefix={beside}/", "-z", "--stdin")
            self.git.run("checkout-index", *options, stdin=joined(other))
            same |= {path for path in other if (beside / path).read_bytes() == other[path]}
            remove(beside)
        return same

    def _can_be_staged(self, path: str) -> bool:
        if not is_reached(self.path, path):
            return True  # it is not there: a link is, and staged in its place
        entry = entry_at(self.path / path)
        if entry is None:
            return True
        parts = path.lower().split("/")
        if entry.kind not in {"file", "link"} or any(part in {".git", "git~1"} for part in parts):
            return False
        if entry.kind == "file" and entry.nlink == 1 and entry.mode & 0o7600 != 0o600:
            (self.path / path).chmod(entry.mode & 0o777 | 0o600)  # unreadable or setuid
        return entry.kind == "link" or entry.size <= LARGEST_FILE

    def _put_back(
        self, before: Manifest, changes: Changes, tracked: dict[str, TreeEntry]
    ) -> tuple[str, ...]:
        """Undo changes; what of the set-up could not be brought back."""
        caches = changes.where(lambda change: in_cache(change, tracked))
        for path in reversed(caches.paths()):
            remove_within(self.path, path)
        kept = changes.where(lambda change: not in_cache(change, tracked))
        lost = put_back(self.git, self.path, before, kept, tracked)
        self._index_holds(self._index[0])  # restored files have new times in it
        return lost

    def _reset_by_manifest(
        self, now: Manifest, commit: str, clean: Manifest
    ) -> tuple[str, ...] | None:
        """Undo what differs from the last clean state; None where that does not lead there."""
        tracked = self._listing(self.tree(commit))
        self._load_index(self.tree(commit))  # first: what git would check out is read from it
        changes = self._real_changes(clean, now, tracked)
        lost = self._put_back(clean, changes, tracked)
        if commit != self._head:
            step = self.git.call("read-tree", "-m", "-u", commit, self._head)
            if step.status != 0:
                return None
            self._index_holds(self.tree())
        reached = scan(self.path)
        if commit == self._head:
            left = self._real_changes(clean, reached, tracked).where(
                lambda change: change.what != "beyond" and not in_cache(change, tracked)
            )
            if set(left.paths()) - set(lost):
                return None
        self._clean = (self._head, reached)
        return lost

    def _restore_whole(self, tree: str) -> tuple[tuple[str, ...], Manifest]:
        """Write every file of a tree anew and remove all that neither it nor the set-up has."""
        tracked = self._listing(tree)
        remove(self._control / "index")
        self._control.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.git.run("read-tree", tree)
        try:
            lost = restore_exactly(self.git, self.path, tracked, self._setup)
        except GitError as error:
            raise SandboxError(f"the worktree {self.path} cannot be restored: {error}") from error
        self._index_holds(tree)
        reached = scan(self.path)
        strange = _blobs(tracked) ^ {
            path
            for path, entry in reached.entries.items()
            if entry.kind != "dir" and path not in self._setup
        }
        if strange:
            raise SandboxError(
                f"the worktree {self.path} cannot be restored: {', '.join(sorted(strange)[:5])}"
            )
        return lost, reached


def _blobs(listing: dict[str, TreeEntry]) -> set[str]:
    return {path for path, entry in listing.items() if entry.kind == "blob"}


def _entry(fields: list[Any]) -> Entry:
    return Entry._make([*fields[:-1], _tuples(fields[-1])])


def _tuples(value: object) -> object:
    return tuple(_tuples(one) for one in value) if isinstance(value, list) else value


def in_cache(change: Change, tracked: dict[str, TreeEntry]) -> bool:
    """Whether a change is the business of a well-known cache that git does not track."""
    entry = change.after or change.before
    if entry is None or entry.kind not in {"file", "dir", "link"}:
        return False
    return change.path not in tracked and is_cache(change.path, entry)
