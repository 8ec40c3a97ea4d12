"""Greenline's own clone of a project: bare, private, and trusted only after a look.

Objects are borrowed from the user's repository (git's alternates), so a clone costs a few small
files. Refs, configuration and hooks are Greenline's alone. An agent runs as the same user and could
write here; what it could plant is found before git is used again, put right and reported.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from storage.exceptions import InputError
from tasks.git import Git, decode
from tasks.sandbox.trees import remove, write_bare, write_private

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from storage.home import Home
    from tasks.git import Identity
    from tasks.repository import UserRepository

HEAD = b"ref: refs/heads/greenline\n"
_MOST_BORROWED = 8
"""Folders of objects; git itself follows no more than five in a row."""
_KEPT = frozenset({"HEAD", "config", "objects", "refs", "packed-refs", "shallow"})


@dataclass(frozen=True)
class ProjectClone:
    """The clone of one project; made by :meth:`prepare`.

    Attributes:
        path: the bare repository.
        borrowed: the folder of the user's objects.
        object_format: `sha1` or `sha256`.
        identity: who commits here are by.
    """

    path: Path
    borrowed: Path
    object_format: str
    identity: Identity

    @classmethod
    def prepare(cls, home: Home, repository: UserRepository, base_commit: str) -> ProjectClone:
        """Make the clone if it is not there, and bring its tags up to date.

        Safe to be called by several processes at once.

        Raises:
            InputError: the user's repository has no such commit, or the home cannot be written.
        """
        folder = home.folder(_folder(home, repository.path))
        clone = cls(
            folder / "repo.git",
            repository.common_dir / "objects",
            repository.object_format,
            repository.identity,
        )
        with _locked(folder / "lock"):
            if not (clone.path / "objects").is_dir():
                home.folder(clone.path)
                write_bare(clone.path, {})
            clone._bring_up_to_date(repository)
        if clone.git.call("cat-file", "-e", f"{base_commit}^{{tree}}").status != 0:
            raise InputError(f"{repository.path} has no commit {base_commit}")
        return clone

    @property
    def git(self) -> Git:
        """Git on the clone, without files."""
        return Git(self.path, identity=self.identity)

    def with_files(self, work_tree: Path, index_file: Path) -> Git:
        """Git on the clone, a worktree and an index."""
        return Git(self.path, work_tree, index_file, identity=self.identity)

    def object_folders(self) -> tuple[Path, ...]:
        """Return the folders of objects that the clone and its worktrees read from."""
        folders = [self.path / "objects"]
        todo = [self.borrowed]
        while todo and len(folders) <= _MOST_BORROWED:
            folder = todo.pop()
            folders.append(folder)
            with contextlib.suppress(OSError):
                lines = (folder / "info" / "alternates").read_bytes().splitlines()
                todo += [folder / os.fsdecode(line) for line in lines if line[:1] not in b'#"']
        return tuple(folders)

    def verify(self) -> tuple[str, ...]:
        """Put right what somebody else changed in the clone's set-up, and say what it was.

        Configuration, borrowed objects and everything that could name a program are looked at;
        commits and refs are not: nobody's word is taken for where a branch is.
        """
        found = []
        for entry in os.scandir(self.path):
            if entry.name not in _KEPT and not entry.name.startswith((".", "tmp_")):
                found.append(entry.name)
                remove(entry.path)
        for name, content in self._files().items():
            target = self.path / name
            if target.is_symlink() or not target.is_file() or target.read_bytes() != content:
                found.append(name)
                remove(target)
                target.parent.mkdir(parents=True, exist_ok=True)
                write_private(target, content)
        return tuple(sorted(found))

    def put_branch(self, branch: str, commit: str) -> None:
        """Put a branch of Greenline's own on a commit, wherever it was.

        For whoever holds the run's lease: a process that was killed may have left git's lock, and
        an agent that it ran may have moved the branch.

        Raises:
            GitError: there is no such commit.
        """
        ref = f"refs/heads/{branch}"
        remove(self.path / f"{ref}.lock")
        plain = self.path / ref
        if plain.is_symlink() or plain.is_dir():
            remove(plain)
        self.git.run("update-ref", "--no-deref", ref, commit)

    def drop_branch(self, branch: str) -> None:
        """Remove a branch of Greenline's own; its commits stay until git has them pruned."""
        remove(self.path / f"refs/heads/{branch}.lock")
        self.git.call("update-ref", "--no-deref", "-d", f"refs/heads/{branch}")

    def own_config(self, *, bare: bool) -> bytes:
        """The configuration of a repository with this clone's objects, and nothing in it to run."""
        sha256 = self.object_format == "sha256"
        lines = [
            "[core]",
            f"\trepositoryformatversion = {int(sha256)}",
            f"\tbare = {str(bare).lower()}",
            "\tfilemode = true",
            "\tlogallrefupdates = false",
            "[gc]",
            "\tauto = 0",
        ]
        if os.uname().sysname == "Darwin":
            lines[5:5] = ["\tignorecase = true", "\tprecomposeunicode = true"]
        if sha256:
            lines += ["[extensions]", "\tobjectformat = sha256"]
        return ("\n".join(lines) + "\n").encode()

    def _files(self) -> dict[str, bytes]:
        return {
            "HEAD": HEAD,
            "config": self.own_config(bare=True),
            "objects/info/alternates": alternates(self.borrowed),
        }

    def _bring_up_to_date(self, repository: UserRepository) -> None:
        self.verify()
        shallow = repository.common_dir / "shallow"
        if shallow.is_file():
            write_private(self.path / "shallow", shallow.read_bytes())
        else:
            remove(self.path / "shallow")
        # Tools that make a version number of the last tag find it; no other ref is shown.
        # The clone's own refs are all loose, so that this file is nobody else's.
        form = "--format=%(objectname) %(refname)%(if)%(*objectname)%(then)%0a^%(*objectname)%(end)"
        tags = decode(repository.git.run("for-each-ref", form, "refs/tags"))
        header = "# pack-refs with: peeled fully-peeled sorted \n"
        write_private(self.path / "packed-refs", os.fsencode(header + tags))


def alternates(objects: Path) -> bytes:
    """The content of an alternates file that names one folder, whatever its name."""
    name = os.fsencode(objects)
    if b"\n" in name or name.startswith((b'"', b"#")):
        quoted = name.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
        return b'"' + quoted + b'"\n'
    return name + b"\n"


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes; it ends with the process that holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def existing_clone(home: Home, repository_path: Path) -> Git | None:
    """Git on the clone of the repository at a path, None if there is no clone of it."""
    path = _folder(home, repository_path) / "repo.git"
    return Git(path) if (path / "objects").is_dir() else None


def _folder(home: Home, repository_path: Path) -> Path:
    """Where the clone of a repository lies: named for people, told apart by its path."""
    name = repository_path.name if repository_path.name != ".git" else repository_path.parent.name
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower().removesuffix(".git")).strip("-")[:40]
    identity = hashlib.sha256(os.fsencode(repository_path)).hexdigest()[:12]
    return home.projects / f"{slug or 'project'}-{identity}"
