"""What lies in a worktree, and what somebody changed in it.

A manifest is taken before an agent starts and compared with one taken after it ended. The scan
follows no link and opens no file: names, types, modes, sizes, times and inodes tell. A program can
set a file's mtime back, not its ctime.
"""

# Paths are plain strings here: a worktree may have 100,000, and each Path would cost as much as its
# lstat does.
# ruff: noqa: PTH115, PTH116, PTH118, PTH120

from __future__ import annotations

import errno
import os
import stat
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from tasks.sandbox.trees import open_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

Kind = Literal["file", "dir", "link", "fifo", "socket", "device", "unreachable"]
What = Literal[
    "created", "deleted", "retyped", "hard-linked", "modified", "touched", "mode", "beyond"
]

CLOCK_TICK_S = 0.011
"""How far apart two writes may be and still get the same ctime (a kernel at 100 Hz)."""

_KINDS: Mapping[int, Kind] = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}

Beyond = tuple[object, ...]
"""The signature of what a link that leaves the worktree points to."""


class Entry(NamedTuple):
    """One path of a worktree.

    Attributes:
        kind: `unreachable`: nested deeper than a path may be long.
        mode: permission bits.
        target: of a link: where it points, as written.
        beyond: of a link that leaves the worktree: the signature of what it points to.
    """

    kind: Kind
    mode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    nlink: int
    target: str = ""
    beyond: Beyond | None = None


@dataclass(frozen=True)
class Manifest:
    """All that a worktree holds, by path (relative, POSIX form); its own `.git` left out.

    Attributes:
        entries: path → entry.
        root: what the worktree itself is: its kind and inode (an agent may replace it).
    """

    entries: Mapping[str, Entry]
    root: tuple[Kind | None, int]

    def without(self, paths: Iterable[str], fresh: Mapping[str, Entry] | None = None) -> Manifest:
        """This manifest with some paths taken out and some entries replaced."""
        gone = set(paths)
        kept = {path: entry for path, entry in self.entries.items() if path not in gone}
        return Manifest(kept | dict(fresh or {}), self.root)


_TOO_DEEP = Entry("unreachable", 0, 0, 0, 0, 0, 0)


class Change(NamedTuple):
    """One path that is not as it was.

    Attributes:
        what: `touched`: written again, at the same size and mode (perhaps the same content);
            `beyond`: what a link points to outside the worktree has changed.
    """

    path: str
    what: What
    before: Entry | None
    after: Entry | None


@dataclass(frozen=True)
class Changes:
    """All that differs between two manifests, sorted by path."""

    items: tuple[Change, ...] = field(default=())

    def __iter__(self) -> Iterator[Change]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def paths(self, *whats: What) -> tuple[str, ...]:
        """The changed paths, of these sorts or of all."""
        return tuple(one.path for one in self.items if not whats or one.what in whats)

    def where(self, wanted: Callable[[Change], bool]) -> Changes:
        """Only the changes that are wanted."""
        return Changes(tuple(one for one in self.items if wanted(one)))


def scan(root: Path | str, skip: str | None = ".git", *, settle: bool = False) -> Manifest:
    """Take the manifest of a worktree.

    A folder that was made unreadable is opened for ourselves (its entry keeps the mode found).

    Args:
        root: the worktree.
        skip: an entry at its top that is left out.
        settle: return only when the file system's clock has moved on from the last write, so that
            a later one is told apart: needed before a stranger gets to the worktree.

    Raises:
        OSError: a folder cannot be read even so.
    """
    top = os.fspath(root)
    try:
        found = os.lstat(top)
    except (FileNotFoundError, NotADirectoryError):
        return Manifest({}, (None, 0))
    here = (_KINDS.get(stat.S_IFMT(found.st_mode), "device"), found.st_ino)
    if here[0] != "dir":
        return Manifest({}, here)
    entries: dict[str, Entry] = {}
    waiting = [(top, "")]
    while waiting:
        folder, prefix = waiting.pop()
        for item in _listed(folder):
            path = prefix + item.name
            if path == skip:
                continue
            entry = entries[path] = _looked_at(item)
            if entry.kind == "dir":
                waiting.append((item.path, path + "/"))
    links = [path for path, entry in entries.items() if entry.kind == "link"]
    inside = os.path.realpath(top)
    for path in links:
        entries[path] = entries[path]._replace(beyond=_beyond(inside, path, entries[path].target))
    if settle:
        _wait_for_clock(max((entry.ctime_ns for entry in entries.values()), default=0))
    return Manifest(entries, here)


def entry_at(path: Path | str) -> Entry | None:
    """The entry of one path alone, or None; folders above it are taken as they are."""
    try:
        entry = _entry(os.lstat(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return _TOO_DEEP
    return entry._replace(target=os.readlink(path)) if entry.kind == "link" else entry


def compare(before: Manifest, after: Manifest) -> Changes:
    """What changed between two manifests of one worktree; folders only by being there and mode."""
    found = []
    if before.root != after.root:
        was, now = before.root[0], after.root[0]
        found.append(Change("", "retyped" if was != now else "created", None, None))
    for path, old in before.entries.items():
        new = after.entries.get(path)
        if new is None:
            found.append(Change(path, "deleted", old, None))
        elif old != new and (what := _difference(old, new)):
            found.append(Change(path, what, old, new))
    found.extend(
        Change(path, "created", None, new)
        for path, new in after.entries.items()
        if path not in before.entries
    )
    return Changes(tuple(sorted(found, key=lambda change: change.path)))


def _difference(old: Entry, new: Entry) -> What | None:
    if old.kind != new.kind:
        return "retyped"
    if old.kind == "link":
        if old.target != new.target:
            return "modified"
        return "beyond" if old.beyond != new.beyond else None
    if old.kind == "dir":
        return "mode" if old.mode != new.mode else None
    if new.nlink > old.nlink:
        return "hard-linked"
    if old.size != new.size:
        return "modified"
    if old.mode != new.mode:
        return "mode"
    return "touched"


def _entry(found: os.stat_result) -> Entry:
    return Entry(
        _KINDS.get(stat.S_IFMT(found.st_mode), "device"),
        stat.S_IMODE(found.st_mode),
        found.st_size,
        found.st_mtime_ns,
        found.st_ctime_ns,
        found.st_ino,
        found.st_nlink,
    )


def _looked_at(item: os.DirEntry[str]) -> Entry:
    try:
        entry = _entry(item.stat(follow_symlinks=False))
        return entry._replace(target=os.readlink(item.path)) if entry.kind == "link" else entry
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return _TOO_DEEP


def _listed(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as items:
            return list(items)
    except PermissionError:
        open_folder(folder)
        with os.scandir(folder) as items:
            return list(items)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return []
        raise


def _beyond(inside: str, path: str, target: str) -> Beyond | None:
    """The signature of a link's target where it is outside, one level deep."""
    real = os.path.realpath(os.path.join(inside, os.path.dirname(path), target))
    if real == inside or real.startswith(inside + "/"):
        return None
    try:
        found = os.stat(real)
    except OSError:
        return ("nothing", real)
    kind = _KINDS.get(stat.S_IFMT(found.st_mode), "device")
    if kind == "file":
        return (kind, real, *_entry(found)[1:7])
    # A folder that holds the worktree changes by our own doing: who it is must do.
    if kind != "dir" or inside.startswith(real.rstrip("/") + "/"):
        return (kind, real, found.st_dev, found.st_ino)
    try:
        with os.scandir(real) as items:
            listed = sorted((item.name, *_shallow(item)) for item in items)
    except OSError:
        listed = []
    return (kind, real, found.st_dev, found.st_ino, tuple(listed))


def _shallow(item: os.DirEntry[str]) -> tuple[int, ...]:
    found = item.stat(follow_symlinks=False)
    if stat.S_ISDIR(found.st_mode):
        return (found.st_mode, found.st_ino)
    return (found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def _wait_for_clock(newest_ns: int) -> None:
    ahead = newest_ns / 1e9 + CLOCK_TICK_S - time.time()
    if 0 < ahead <= CLOCK_TICK_S:  # a ctime in the future is a clock that was set back
        time.sleep(ahead)
