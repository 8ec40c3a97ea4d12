"""Bringing a worktree back to what git and a manifest say it was."""

from __future__ import annotations

import contextlib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from tasks.git import joined
from tasks.sandbox.manifest import entry_at, scan
from tasks.sandbox.scope import is_cache
from tasks.sandbox.trees import open_folder, remove

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tasks.git import Git, TreeEntry
    from tasks.sandbox.manifest import Changes, Entry, Manifest


def put_back(
    git: Git,
    root: Path,
    before: Manifest,
    changes: Changes,
    tracked: Mapping[str, TreeEntry],
) -> tuple[str, ...]:
    """Undo changes: what was made goes, what git has comes back from the index.

    Args:
        git: git on the worktree, with the index to restore from.
        root: the worktree.
        before: its state to go back to.
        changes: what differs from that.
        tracked: what is in the index.

    Returns:
        What cannot be brought back: contents that git does not have.

    Raises:
        GitError: git cannot restore a file.
    """
    lost: list[str] = []
    from_git: list[str] = []
    for change in changes:
        # A parent that was removed on the way took the rest with it; a link is never followed.
        if change.what in {"created", "retyped"}:
            remove_within(root, change.path)
    for change in changes:
        old, path = change.before, change.path
        if old is None or change.what == "beyond":
            continue
        if path in tracked and tracked[path].kind == "blob":
            from_git.append(path)
        elif not _remade(root, path, old, change.what):
            lost.append(path)
    check_out(git, root, from_git)
    _put_modes_back(root, before, changes)
    return tuple(lost)


def restore_exactly(
    git: Git, root: Path, tracked: Mapping[str, TreeEntry], setup: Mapping[str, Entry]
) -> tuple[str, ...]:
    """Make a worktree hold what the index holds and what a set-up made, and nothing else.

    Returns:
        What of the set-up is changed or gone.

    Raises:
        GitError: git cannot restore a file.
    """
    if (top := entry_at(root)) is None or top.kind != "dir":
        remove(root)
        root.mkdir(parents=True, mode=0o700)
    folders = {path for path, entry in tracked.items() if entry.kind in {"tree", "commit"}}
    folders |= {path for path, entry in setup.items() if entry.kind == "dir"}
    folders |= {
        str(parent) for path in (*tracked, *setup) for parent in PurePosixPath(path).parents
    }
    now = scan(root)
    for path, entry in now.entries.items():
        wanted = path in folders if entry.kind == "dir" else path in tracked or path in setup
        wrong = entry.kind != "dir" and path in folders
        if not wanted or wrong:
            remove_within(root, path)
    lost = []
    for path, entry in setup.items():
        if path not in tracked and now.entries.get(path) != entry:
            if entry.kind == "dir":
                (root / path).mkdir(parents=True, exist_ok=True)
                _set_mode(root / path, entry)
            elif not is_cache(path, entry):
                lost.append(path)
    check_out(git, root, [path for path, entry in tracked.items() if entry.kind == "blob"])
    for path, found in tracked.items():
        if found.kind == "commit":
            (root / path).mkdir(parents=True, exist_ok=True)
    return tuple(lost)


def check_out(git: Git, root: Path, paths: Iterable[str]) -> None:
    """Write files and links from the index, in place of whatever lies there.

    Raises:
        GitError: git cannot write one.
    """
    wanted = list(paths)
    for path in wanted:
        _make_way(root, path)
        remove(root / path)
    if wanted:
        git.run("checkout-index", "-f", "-u", "-q", "-z", "--stdin", stdin=joined(wanted))


def _remade(root: Path, path: str, old: Entry, what: str) -> bool:
    """Bring back what git does not keep, where a manifest is enough to do it."""
    if old.kind == "dir":
        _make_way(root, path)
        (root / path).mkdir(exist_ok=True)
        return True
    if old.kind == "link":
        _make_way(root, path)
        remove(root / path)
        (root / path).symlink_to(old.target)
        return True
    return what == "mode"


def _make_way(root: Path, path: str) -> None:
    """Make each folder above a path a real one that can be written."""
    at = root
    for part in PurePosixPath(path).parts[:-1]:
        at = at / part
        found = entry_at(at)
        if found is None or found.kind != "dir":
            remove(at)
            at.mkdir()
        elif found.mode & 0o700 != 0o700:
            open_folder(str(at))


def remove_within(root: Path, path: str) -> None:
    """Remove what is at a path of a worktree, unless a link on the way there leads elsewhere."""
    if is_reached(root, path):
        remove(root / path)


def is_reached(root: Path, path: str) -> bool:
    """Whether every folder above a path is a real one."""
    parents = [str(parent) for parent in PurePosixPath(path).parents if str(parent) != "."]
    kinds = (entry_at(root / parent) for parent in reversed(parents))
    return all(found is not None and found.kind == "dir" for found in kinds)


def _set_mode(path: Path, entry: Entry) -> None:
    found = entry_at(path)
    if found is None or found.kind != entry.kind or found.mode == entry.mode:
        return
    if found.kind == "dir" or found.nlink == 1:
        with contextlib.suppress(FileNotFoundError):
            path.chmod(entry.mode)


def _put_modes_back(root: Path, before: Manifest, changes: Changes) -> None:
    """Give changed paths, and the folders that were opened on the way to them, their old modes."""
    folders = {str(up) for one in changes for up in PurePosixPath(one.path).parents}
    for path in sorted({*changes.paths(), *folders}, reverse=True):
        known = before.entries.get(path)
        if known is not None and known.kind in {"file", "dir"}:
            _set_mode(root / path, known)
