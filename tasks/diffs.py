"""What an attempt changed, from Greenline's own clone of the project."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storage.exceptions import InputError
from storage.home import Home
from tasks.commits import fetch_over
from tasks.git import Git
from tasks.repository import UserRepository
from tasks.sandbox.clone import ProjectClone, existing_clone

if TYPE_CHECKING:
    import psycopg


def count_lines(git: Git, before: str, after: str, *paths: str) -> tuple[int, int] | None:
    """Count the lines added and deleted between two trees or commits, in all files or some.

    Returns:
        None when only binary files differ: they have no lines.
    """
    options = ("-r", "--numstat", "--no-renames", "--no-ext-diff", "--no-textconv", before, after)
    told = git.text("diff-tree", *options, "--", *paths)
    # Names may hold what other line breaks are made of.
    counts = [line.split("\t")[:2] for line in told.split("\n") if line]
    text = [(int(added), int(deleted)) for added, deleted in counts if added.isdigit()]
    if counts and not text:
        return None
    return sum(added for added, _ in text), sum(deleted for _, deleted in text)


def attempt_diff(
    connection: psycopg.Connection[Any], repo_path: str, before: str | None, after: str | None
) -> str:
    """Return the patch between two commits of a project, empty when nothing was changed.

    Args:
        connection: to the ledger, which has the commits that other hosts made.
        repo_path: the user's repository.
        before: a commit, None for none.
        after: likewise.

    Raises:
        InputError: a commit is not to be had, or there is neither a clone nor the repository.
    """
    if before is None or after is None or before == after:
        return ""
    home = Home.current()
    git = existing_clone(home, Path(repo_path))
    if git is None:  # another host did it
        repository = UserRepository.open(repo_path)
        git = ProjectClone.prepare(home.ensure(), repository, repository.head).git
    if not (fetch_over(connection, git, before) and fetch_over(connection, git, after)):
        raise InputError(
            f"Greenline's clone of {repo_path} does not have {before[:10]}..{after[:10]}, and the "
            f"ledger has not kept them (GREENLINE_HOME is {home.path})"
        )
    options = ("-p", "--no-ext-diff", "--no-textconv", "--no-color", "-M", "--binary")
    return os.fsdecode(git.run("diff", *options, before, after)).encode("utf-8", "replace").decode()
