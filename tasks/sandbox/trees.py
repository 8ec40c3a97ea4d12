"""Folders that agents have been in: emptied and written without following a single link."""

# Paths are plain strings here, for the same reason as in tasks.manifest.
# ruff: noqa: PTH101, PTH104, PTH106, PTH108, PTH118, PTH120

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

OWNERS = stat.S_IRWXU


def remove(path: Path | str) -> None:
    """Remove whatever is at a path: file, link, pipe or a folder with all that is in it.

    Links are removed, never followed. Folders that were made read-only are opened first. Nothing
    there is fine.

    Raises:
        OSError: it cannot be removed even so, for instance because it belongs to somebody else.
    """
    here = os.fspath(path)
    try:
        found = os.lstat(here)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(found.st_mode):
        with unlocked(here):
            os.unlink(here)
        return
    try:
        _remove_folder(here)
    except (OSError, RecursionError) as error:
        if isinstance(error, OSError) and error.errno != errno.ENAMETOOLONG:
            raise
        _remove_deep_folder(here)


def open_folder(path: str) -> None:
    """Give ourselves the right to list and change a folder (a real one, no link)."""
    mode = stat.S_IMODE(os.lstat(path).st_mode)
    if mode & OWNERS != OWNERS:
        os.chmod(path, mode | OWNERS)


@contextlib.contextmanager
def unlocked(path: str) -> Iterator[None]:
    """Let an entry be made or removed in a folder that may be read-only; its mode is put back."""
    parent = os.path.dirname(path)
    mode = stat.S_IMODE(os.lstat(parent).st_mode)
    if mode & OWNERS == OWNERS:
        yield
        return
    os.chmod(parent, mode | OWNERS)
    try:
        yield
    finally:
        os.chmod(parent, mode)


def write_private(path: Path, content: bytes) -> None:
    """Replace a file of ours whole, mode 0600; the folder must be there."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    draft.replace(path)


def write_bare(git_dir: Path, files: Mapping[str, bytes]) -> None:
    """Write a new repository by hand: the folders git insists on, and these files.

    `git init` would do, at the price of a process and of templates with hooks in them.
    """
    for folder in ("objects/info", "objects/pack", "refs/heads", "refs/tags"):
        (git_dir / folder).mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        target = git_dir / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def _remove_folder(path: str) -> None:
    open_folder(path)
    with os.scandir(path) as entries:
        for entry in list(entries):
            if entry.is_dir(follow_symlinks=False):
                _remove_folder(entry.path)
            else:
                os.unlink(entry.path)
    with unlocked(path):
        os.rmdir(path)


def _remove_deep_folder(path: str) -> None:
    """Flatten while removing: for folders nested deeper than a path may be long."""
    waiting = [path]
    number = 0
    while waiting:
        at = waiting[-1]
        open_folder(at)
        inner = []
        with os.scandir(at) as entries:
            for entry in list(entries):
                if entry.is_dir(follow_symlinks=False):
                    open_folder(entry.path)
                    number += 1
                    lifted = os.path.join(os.path.dirname(path), f".greenline-removing-{number}")
                    os.rename(entry.path, lifted)
                    inner.append(lifted)
                else:
                    os.unlink(entry.path)
        os.rmdir(at)
        waiting.pop()
        waiting.extend(inner)
