"""Reading the files that a prompt is made from, whatever lies there in their place."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

LARGEST: Final = 8_000_000
"""Bytes; a larger file is hashed and not shown."""


@dataclass(frozen=True)
class Read:
    """A file, or why it is not shown.

    Attributes:
        text: its text, None: it is not there, or is not shown.
        record: its SHA-256 and modification time in ns, None: there is no such plain file.
        problem: why it is not shown although something is there.
    """

    text: str | None = None
    record: dict[str, Any] | None = None
    problem: str | None = None


def read_file(worktree: Path, relative: str) -> Read:
    """Read a file of the worktree; symbolic links are never followed."""
    path = worktree / relative
    try:
        if any(part.is_symlink() for part in _lineage(worktree, path)):
            return Read(problem="a symbolic link")
        info = path.stat()
        if not stat.S_ISREG(info.st_mode):
            return Read(problem="no regular file")
        with path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
            stream.seek(0)
            data = stream.read(LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError):
        return Read()
    except OSError as error:
        return Read(problem=str(error.strerror))
    record = {"sha256": sha256, "mtime_ns": info.st_mtime_ns}
    if len(data) > LARGEST:
        return Read(record=record, problem=f"{info.st_size:,} bytes are too many")
    try:
        return Read(data.decode(), record)
    except UnicodeDecodeError:
        return Read(record=record, problem="no UTF-8 text")


def _lineage(root: Path, path: Path) -> Sequence[Path]:
    return [path, *[parent for parent in path.parents if parent.is_relative_to(root)][:-1]]
