"""Where skills lie: folders, and commits. What is read there is bounded, and no link is followed.

A repository's skills come from whoever wrote to it, agents included. So a folder is walked from
open folder to open folder, a `SKILL.md` has to be a regular file of reasonable size, and nothing
else in a skill's folder is read.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

from tasks.repository import LINK, CommitTree

Source = Literal["home", "repository", "shipped"]

REPOSITORY_FOLDER: Final = ".greenline/skills"
"""Where a repository keeps its skills."""

FILE: Final = "SKILL.md"
LONGEST: Final = 64_000
"""The longest `SKILL.md` that is read, in bytes; the format advises a tenth of it."""

MOST: Final = 200
"""The most folders that are looked into in one place."""


class UnusableError(Exception):
    """A place or a skill in it cannot be read; the message says why."""


class Place(Protocol):
    """Somewhere that skills lie."""

    @property
    def source(self) -> Source:
        """Whose they are."""

    def names(self) -> list[str]:
        """Return the names of the folders in it, sorted; none where there is no such place.

        Raises:
            UnusableError: it cannot be read.
        """

    def read(self, name: str) -> bytes:
        """Return the content of a folder's `SKILL.md`.

        Raises:
            UnusableError: it has none, or none that is read.
        """

    def where(self, name: str) -> str:
        """Return where a skill's text lies, for people."""


@dataclass(frozen=True)
class FolderPlace:
    """A folder on disk.

    Attributes:
        source: whose skills they are.
        root: a folder that is trusted to be what it is called.
        below: the way from it to the skills' folders, on which no link is followed.
        links: whether links inside are followed, in a folder that only its owner writes to.
    """

    source: Source
    root: Path
    below: str = ""
    links: bool = False

    def where(self, name: str) -> str:
        """Return the path of a skill's file."""
        return str(self.root / self.below / name / FILE)

    def names(self) -> list[str]:
        """Return the names of the folders in it."""
        try:
            with self._opened() as folder, os.scandir(folder) as entries:
                return sorted(each.name for each in entries if self._is_folder(each))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UnusableError(
                f"{self.root / self.below} cannot be read: {_why(error)}"
            ) from error

    def read(self, name: str) -> bytes:
        """Return the content of a folder's `SKILL.md`."""
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | self._no_links
        try:
            with self._opened(name) as folder:
                number = os.open(FILE, flags, dir_fd=folder)
                with os.fdopen(number, "rb") as file:
                    if not stat.S_ISREG(os.fstat(number).st_mode):
                        raise UnusableError(f"{FILE} is no regular file")
                    content = file.read(LONGEST + 1)
        except FileNotFoundError:
            raise UnusableError(f"has no {FILE}") from None
        except OSError as error:
            raise UnusableError(f"{FILE} cannot be read: {_why(error)}") from error
        return _bounded(content, len(content))

    @property
    def _no_links(self) -> int:
        return 0 if self.links else os.O_NOFOLLOW

    def _is_folder(self, entry: os.DirEntry[str]) -> bool:
        if entry.name.startswith("."):
            return False
        return entry.is_dir(follow_symlinks=self.links) or entry.is_symlink()

    @contextmanager
    def _opened(self, *more: str) -> Iterator[int]:
        """Give the skills' folder, or one in it, open."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        at = os.open(self.root, flags)
        try:
            for part in (*filter(None, self.below.split("/")), *more):
                inner = os.open(part, flags | self._no_links, dir_fd=at)
                os.close(at)
                at = inner
            yield at
        finally:
            os.close(at)


@dataclass(frozen=True)
class CommitPlace:
    """The skills of a commit."""

    tree: CommitTree
    source: Source = "repository"

    def where(self, name: str) -> str:
        """Return the path of a skill's file in the repository."""
        return f"{REPOSITORY_FOLDER}/{name}/{FILE}"

    def names(self) -> list[str]:
        """Return the names of the folders in it."""
        begin = f"{REPOSITORY_FOLDER}/"
        for folder in (REPOSITORY_FOLDER.partition("/")[0], REPOSITORY_FOLDER):
            if self.tree.is_symlink(folder):
                raise UnusableError(f"{folder} is a symbolic link, and none is followed")
        inside = (
            (path.removeprefix(begin), entry)
            for path, entry in self.tree.entries.items()
            if path.startswith(begin)
        )
        return sorted(
            name
            for name, entry in inside
            if "/" not in name
            and not name.startswith(".")
            and (entry.kind == "tree" or entry.mode == LINK)
        )

    def read(self, name: str) -> bytes:
        """Return the content of a folder's `SKILL.md`."""
        entry = self.tree.entries.get(self.where(name))
        if entry is None:
            if self.tree.is_symlink(f"{REPOSITORY_FOLDER}/{name}"):
                raise UnusableError("is a symbolic link, and none is followed")
            raise UnusableError(f"has no {FILE}")
        if entry.kind != "blob" or entry.mode == LINK:
            raise UnusableError(f"{FILE} is no regular file")
        size = int(self.tree.git.text("cat-file", "-s", entry.oid))
        return _bounded(b"" if size > LONGEST else self.tree.git.blob(entry.oid), size)


def _bounded(content: bytes, size: int) -> bytes:
    if size > LONGEST:
        raise UnusableError(
            f"{FILE} is longer than {LONGEST:,} bytes: move what is rarely needed to other files"
        )
    return content


def _why(error: OSError) -> str:
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return "a file or a symbolic link is on the way, and no link is followed"
    return str(error.strerror)
