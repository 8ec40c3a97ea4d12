"""What a write plan is about to do, on disk beforehand: so that it can be undone after a crash.

The journal lies in the folder that the plan is for, locked by whoever carries the plan out. A
journal that nobody holds was left by a crash: the next plan for the folder undoes it first.

Its word is not taken on trust, for a repository may have come with such a file. It cannot name
files of its own choosing to remove (those are named after the journal), leaves every file alone
that is not just what the plan wrote, and follows no symbolic link.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from tasks.plan.paths import path_problem

_PREFIX: Final = ".greenline-write-plan-"
_MOST: Final = 10_000_000
_MODE: Final = 0o600


@dataclass(frozen=True)
class Entry:
    """A file that is written: what it will hold, and whether it was there before."""

    path: str
    sha256: str
    replaces: bool


@dataclass(frozen=True)
class Journal:
    """A plan under way.

    Attributes:
        root: the folder that it is for.
        key: tells it from others.
        entries: its files.
        folders: the folders that it makes, those above first.
    """

    root: Path
    key: str
    entries: tuple[Entry, ...]
    folders: tuple[str, ...]

    @classmethod
    def new(cls, root: Path, entries: Sequence[Entry], folders: Sequence[str]) -> Journal:
        """Return a journal that is not on disk yet."""
        return cls(root, secrets.token_hex(8), tuple(entries), tuple(folders))

    @property
    def file(self) -> Path:
        """Where it lies."""
        return self.root / f"{_PREFIX}{self.key}.json"

    @property
    def _done(self) -> Path:
        return self.root / f"{_PREFIX}{self.key}.done"

    def draft(self, number: int) -> Path:
        """Where an entry's new content is, until it gets its name."""
        return self._beside(number, "draft")

    def before(self, number: int) -> Path:
        """Where the file is kept that an entry replaces."""
        return self._beside(number, "before")

    def _beside(self, number: int, kind: str) -> Path:
        at = self.root / self.entries[number].path
        return at.parent / f".greenline-{self.key}-{number}.{kind}"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Put it on disk, held while the context lasts. It is not removed at the end.

        Raises:
            OSError: it cannot be written.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(self.file, flags, _MODE), "w", encoding="utf-8") as stream:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(stream, fcntl.LOCK_EX)
            entries = [asdict(entry) for entry in self.entries]
            json.dump({"files": entries, "folders": list(self.folders)}, stream)
            stream.flush()
            os.fsync(stream.fileno())
            sync_folder(self.root)
            yield

    def settle(self) -> None:
        """Say that all is written: from now on there is nothing to undo."""
        self.file.rename(self._done)
        sync_folder(self.root)

    def clear(self) -> None:
        """Remove what the plan kept beside the files, then the journal."""
        for number in range(len(self.entries)):
            if self._is_safe(self.entries[number].path):
                self.draft(number).unlink(missing_ok=True)
                self.before(number).unlink(missing_ok=True)
        self.file.unlink(missing_ok=True)
        self._done.unlink(missing_ok=True)

    def undo(self) -> tuple[list[str], list[str]]:
        """Put everything back as it was, the last file first, and remove what was kept for it.

        Returns:
            The files that were put back, and what could not be, as sentences; then the journal
            stays for the next try.
        """
        back: list[str] = []
        stuck: list[str] = []
        for number, entry in reversed(list(enumerate(self.entries))):
            try:
                if self._is_safe(entry.path) and self._undo_one(number, entry):
                    back.append(entry.path)
            except OSError as error:
                kept = f"; what it held is in {self.before(number)}" if entry.replaces else ""
                stuck.append(f"{entry.path} could not be put back: {error.strerror}{kept}")
        if not stuck:
            with suppress(OSError):
                self.clear()
        for folder in reversed(self.folders):
            if self._is_safe(f"{folder}/x"):
                with suppress(OSError):  # something else is in it by now
                    (self.root / folder).rmdir()
        return back, stuck

    def _undo_one(self, number: int, entry: Entry) -> bool:
        target, before, draft = self.root / entry.path, self.before(number), self.draft(number)
        if _digest(target) != entry.sha256:
            return False  # it was not written yet, or somebody has written to it since
        if not entry.replaces:
            if _is_file(draft) and not draft.samefile(target):
                return False  # somebody else made it, with the same in it
            target.unlink()
            return True
        if _is_file(draft) or not _is_file(before):
            return False  # it was not replaced yet
        before.replace(target)
        return True

    def _is_safe(self, path: str) -> bool:
        """Whether a path stays inside the root and no symbolic link is on the way to it."""
        if path_problem(path) is not None:
            return False
        above = path.split("/")[:-1]
        folders = (self.root.joinpath(*above[:depth]) for depth in range(1, len(above) + 1))
        return not any(folder.is_symlink() for folder in folders)


def undo_what_was_left(root: Path) -> list[str]:
    """Undo the plans for a folder that were cut off by a crash; say what was done."""
    notes = []
    for file in sorted(root.glob(f"{_PREFIX}*.*")):
        with suppress(OSError), _taken(file) as text:
            journal = _read(root, file, text)
            if journal is None:  # cut off while it was written: nothing had been done
                file.unlink()
            elif file.suffix == ".done":
                journal.clear()
            else:
                back, stuck = journal.undo()
                told = f": {', '.join(back)} put back" if back else ", nothing of it stands"
                notes += [f"an earlier write plan was cut off here{told}", *stuck]
    return notes


@contextmanager
def _taken(file: Path) -> Iterator[str]:
    """Give the text of a journal that nobody holds.

    Raises:
        OSError: somebody does, it cannot be read, or it is none of ours.
    """
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(file, flags), "rb") as stream:
        found = os.fstat(stream.fileno())
        # A checkout has other permissions: what came with a repository is a file like any other.
        if found.st_mode != stat.S_IFREG | _MODE or found.st_uid != os.geteuid():
            raise PermissionError
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield stream.read(_MOST).decode("utf-8", "replace")


def _read(root: Path, file: Path, text: str) -> Journal | None:
    try:
        said = json.loads(text)
        entries = tuple(
            Entry(str(one["path"]), str(one["sha256"]), bool(one["replaces"]))
            for one in said["files"]
        )
        folders = tuple(str(folder) for folder in said["folders"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return Journal(root, file.stem.removeprefix(_PREFIX), entries, folders)


def _digest(file: Path) -> str | None:
    """Return the hash of a regular file's content, None: there is none."""
    if not _is_file(file):
        return None
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _is_file(file: Path) -> bool:
    try:
        return stat.S_ISREG(file.lstat().st_mode)
    except OSError:
        return False


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, where the file system can."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            os.fsync(number)
    finally:
        os.close(number)
