"""The `.git` that lies in a sandbox: real enough for agents and tests, believed by nobody.

Agents, version tools and test suites find an ordinary repository: HEAD on the run's branch, its
history, the tags, an index. Greenline never runs git on it and never reads it. When anything in it
has changed it is thrown away and written anew: a few files, no process.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tasks.sandbox.clone import ProjectClone, alternates
from tasks.sandbox.manifest import Manifest, scan
from tasks.sandbox.trees import remove, unlocked, write_bare

if TYPE_CHECKING:
    from pathlib import Path


class OwnGit:
    """The repository in a sandbox's `.git`."""

    def __init__(self, worktree: Path, clone: ProjectClone, branch: str) -> None:
        self._path = worktree / ".git"
        self._clone = clone
        self._branch = branch
        self._known: Manifest | None = None

    def write(self, head: str, index_file: Path) -> None:
        """Write it anew, on a commit and with a copy of an index; the worktree is a real folder."""
        remove(self._path)
        tags = self._clone.path / "packed-refs"
        shallow = self._clone.path / "shallow"
        files = {
            "HEAD": f"ref: refs/heads/{self._branch}\n".encode(),
            "config": self._clone.own_config(bare=False),
            "objects/info/alternates": alternates(self._clone.path / "objects"),
            f"refs/heads/{self._branch}": f"{head}\n".encode(),
            "index": index_file.read_bytes(),
            "packed-refs": tags.read_bytes(),
        }
        if shallow.is_file():
            files["shallow"] = shallow.read_bytes()
        with unlocked(os.fspath(self._path)):
            self._path.mkdir()
        write_bare(self._path, files)
        self._known = scan(self._path, skip=None)

    def remember(self) -> None:
        """Note how it is now, before somebody else gets to it."""
        self._known = scan(self._path, skip=None, settle=True)

    def is_intact(self) -> bool:
        """Whether nobody has written to it since it was noted."""
        if self._known is None:
            return False
        now = scan(self._path, skip=None)
        return now.root == self._known.root and now.entries == self._known.entries
