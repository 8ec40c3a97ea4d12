"""What an attempt changed, from Greenline's own clone of the project."""

from __future__ import annotations

import os
from pathlib import Path

from storage.exceptions import InputError
from storage.home import Home
from tasks.sandbox.clone import existing_clone


def attempt_diff(repo_path: str, before: str | None, after: str | None) -> str:
    """Return the patch between two commits of a project, empty when nothing was changed.

    Raises:
        InputError: the clone, or a commit in it, is not there any more.
    """
    if before is None or after is None or before == after:
        return ""
    git = existing_clone(Home.current(), Path(repo_path))
    if git is None or git.resolve(before) is None or git.resolve(after) is None:
        raise InputError(
            f"Greenline's clone of {repo_path} does not have {before[:10]}..{after[:10]} "
            f"(GREENLINE_HOME is {Home.current().path})"
        )
    options = ("-p", "--no-ext-diff", "--no-textconv", "--no-color", "-M", "--binary")
    return os.fsdecode(git.run("diff", *options, before, after)).encode("utf-8", "replace").decode()
