"""What a write plan comes to in a folder: checked as a whole, before anything is written."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tasks.write_plan.model import MOST_BYTES, Code, Operation, WritePlan
from tasks.write_plan.report import Finding

_USUAL_MODE: Final = 0o666


@dataclass
class Target:
    """A file of the plan: how it is, and how it will be.

    Attributes:
        index: the operation that names it first.
        path: relative to the root.
        replaces: whether it is there already.
        mode: the permissions that it has, or that a new file gets before the umask.
        content: all that it will hold.
    """

    index: int
    path: str
    replaces: bool
    mode: int
    content: bytes


@dataclass(frozen=True)
class Outcome:
    """What a plan comes to.

    Attributes:
        targets: the files in the order of the plan, each once.
        folders: folders that have to be made, those above first.
        sizes: per operation how many bytes its file has after it.
        findings: what is wrong; then nothing may be written.
    """

    targets: tuple[Target, ...]
    folders: tuple[str, ...]
    sizes: tuple[int, ...]
    findings: tuple[Finding, ...]


class _WrongError(Exception):
    """An operation cannot be done."""

    def __init__(self, message: str, code: Code = Code.INVALID_TARGET) -> None:
        super().__init__(message)
        self.code = code


def foresee(plan: WritePlan, root: Path, only: Collection[str] | None) -> Outcome:
    """Say what a plan comes to, without writing anything.

    Args:
        plan: the plan.
        root: the folder that its paths are relative to, free of symbolic links itself.
        only: the paths that it may write; None: any below the root.
    """
    look = _Look(root, only)
    findings: list[Finding] = []
    spoiled: set[str] = set()  # of what follows a refused operation nothing can be said
    sizes = []
    for index, operation in enumerate(plan.operations):
        size = 0
        if operation.path not in spoiled:
            try:
                size = look.take(index, operation)
            except _WrongError as wrong:
                findings.append(Finding(index, wrong.code, str(wrong)))
                spoiled.add(operation.path)
        sizes.append(size)
    targets = tuple(look.targets.values())
    return Outcome(targets, tuple(look.folders), tuple(sizes), tuple(findings))


class _Look:
    """The folder as it will be after the operations so far."""

    def __init__(self, root: Path, only: Collection[str] | None) -> None:
        self._root = root
        self._only = only
        self.targets: dict[str, Target] = {}
        self.folders: dict[str, None] = {}

    def take(self, index: int, operation: Operation) -> int:
        """Note an operation; return how many bytes its file has after it.

        Raises:
            _WrongError: it cannot be done.
        """
        path = operation.path
        if self._only is not None and path not in self._only:
            may = ", ".join(sorted(self._only)) or "none"
            raise _WrongError(f"this file may not be written here; those that may: {may}")
        missing = self._missing_above(path)
        before = self.targets.get(path) or self._found(index, path)
        if operation.operation == "create":
            if before is not None:
                raise _WrongError("there is such a file already; `overwrite` it, or `append` to it")
            before = Target(index, path, replaces=False, mode=_USUAL_MODE, content=b"")
        elif before is None:
            raise _WrongError("there is no such file; `create` it")
        made = operation.content.encode()
        if operation.operation == "append":
            if path not in self.targets:
                before.content = self._read(path)
            made = before.content + made
        if len(made) > MOST_BYTES:
            raise _WrongError(
                f"the file would have {len(made):,} bytes; the most is {MOST_BYTES:,}",
                Code.INVALID_CONTENT,
            )
        before.content = made
        self.targets[path] = before
        self.folders.update(dict.fromkeys(missing))
        return len(made)

    def _missing_above(self, path: str) -> list[str]:
        """Return the folders above a path that have to be made.

        Raises:
            _WrongError: something above it is no folder.
        """
        missing = []
        parts = path.split("/")
        for depth in range(1, len(parts)):
            folder = "/".join(parts[:depth])
            if folder in self.targets:
                raise _WrongError(f"it lies under '{folder}', which this plan makes a file")
            found = self._lstat(folder)
            if found is None:
                if folder not in self.folders:
                    missing.append(folder)
            elif stat.S_ISLNK(found.st_mode):
                raise _WrongError(
                    f"it lies under the symbolic link '{folder}', and none is followed; "
                    "name the file where it really is"
                )
            elif not stat.S_ISDIR(found.st_mode):
                raise _WrongError(f"it lies under '{folder}', which is a file")
        return missing

    def _found(self, index: int, path: str) -> Target | None:
        """Return the file that is there, None: nothing is.

        Raises:
            _WrongError: it is none that may be written.
        """
        if path in self.folders:
            raise _WrongError("it is a folder that this plan makes; name a file in it")
        found = self._lstat(path)
        if found is None:
            return None
        if stat.S_ISLNK(found.st_mode):
            raise _WrongError("it is a symbolic link, and none is followed; name what it points to")
        if stat.S_ISDIR(found.st_mode):
            raise _WrongError("it is a folder; name a file in it")
        if not stat.S_ISREG(found.st_mode):
            raise _WrongError("it is no regular file; name another")
        if not os.access(self._root / path, os.W_OK):
            raise _WrongError("it may only be read; make it writable first")
        return Target(index, path, replaces=True, mode=stat.S_IMODE(found.st_mode), content=b"")

    def _read(self, path: str) -> bytes:
        try:
            number = os.open(self._root / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with os.fdopen(number, "rb") as file:
                return file.read(MOST_BYTES + 1)
        except OSError as error:
            raise _WrongError(f"it cannot be read: {error.strerror}") from error

    def _lstat(self, path: str) -> os.stat_result | None:
        try:
            return (self._root / path).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _WrongError(f"'{path}' cannot be looked at: {error.strerror}") from error
