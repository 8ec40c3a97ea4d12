"""The `replay` agent: writes what the plan's `replay` entry says, the oracle of tests and demos."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storage.exceptions import InputError
from tasks.agents.base import AgentResult, Usage, digest
from tasks.git import Git, as_user, decode
from tasks.sandbox.trees import remove

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.agents.base import Assignment
    from tasks.config import AgentSettings
    from tasks.metering.endpoint import Endpoint
    from tasks.plan.model import FeaturePlan, Replay
    from tasks.repository import UserRepository

_FILE_MODES = {"100644": 0o644, "100755": 0o755}


@dataclass(frozen=True)
class _Content:
    """A file as it is to be; `data` None: it is not to be there."""

    data: bytes | None
    mode: int = 0o644


class ReplayAgent:
    """Plays a plan's `replay` entries; uses no model and starts no program."""

    adapter = "replay"
    endpoint: Endpoint | None = None

    def __init__(self, settings: AgentSettings) -> None:
        self.name = settings.name

    def describe(self) -> dict[str, Any]:
        """Name and adapter: it has no settings."""
        return {"name": self.name, "adapter": self.adapter}

    def fingerprint(self) -> str:
        """Covers the adapter; what is replayed is part of the plan's step."""
        return digest(self.describe())

    def check(self, plan: FeaturePlan, plan_dir: Path, repository: UserRepository) -> None:
        """Find out whether every entry of a plan can be played.

        Raises:
            InputError: an entry names a repository, commit or file that is not there. All that
                are wrong are told.
        """
        problems = []
        for key, file_path, entries in _entries(plan):
            for number, entry in enumerate(entries):
                try:
                    _content(entry, file_path, plan_dir, repository.git)
                except InputError as error:
                    problems.append(f"{key}, {file_path}, replay[{number}]: {error}")
        if problems:
            raise InputError("the plan cannot be replayed:\n  " + "\n  ".join(problems))

    def run(self, assignment: Assignment) -> AgentResult:
        """Write the file as the assignment's entry has it."""
        started = time.monotonic()
        error = None
        if assignment.replay is None:
            error = (
                f"the plan has no replay entry for {assignment.file_path}; give the step a "
                "`replay` list with {repo, commit} or {file}, or have another agent do it"
            )
        else:
            try:
                content = _content(
                    assignment.replay,
                    assignment.file_path,
                    assignment.plan_dir or assignment.worktree,
                    assignment.git,
                )
                _write(assignment.worktree, assignment.file_path, content)
            except (InputError, OSError) as problem:
                error = str(problem)
        return AgentResult(
            exit_code=None if error else 0,
            timed_out=False,
            duration_ms=round((time.monotonic() - started) * 1000),
            usage=Usage(),
            transcript="" if error else f"wrote {assignment.file_path}\n",
            stderr="",
            error=error,
            failure_class="agent_error" if error else None,
            leftovers=0,
        )


def _entries(plan: FeaturePlan) -> Iterator[tuple[str, str, tuple[Replay, ...]]]:
    for task in plan.tasks:
        for subtask in task.subtasks:
            for numbered in subtask.numbered_steps():
                yield subtask.key, numbered.step.file_path, numbered.step.replay


def _content(entry: Replay, file_path: str, plan_dir: Path, own: Git | None) -> _Content:
    """What an entry says that the file is to be.

    Raises:
        InputError: it cannot be found.
    """
    if entry.file is not None:
        return _of_file(plan_dir, entry.file)
    return _of_commit(entry.repo or "", entry.commit or "", file_path, plan_dir, own)


def _of_file(plan_dir: Path, name: str) -> _Content:
    root = plan_dir.resolve()
    path = (root / name).resolve()
    # A plan may come with a push; it does not get to read what lies elsewhere.
    if not path.is_relative_to(root):
        raise InputError(f"{name} leads out of the plan's folder {root}")
    try:
        return _Content(path.read_bytes(), 0o755 if os.access(path, os.X_OK) else 0o644)
    except OSError as error:
        raise InputError(f"the replay file {path} cannot be read: {error.strerror}") from error


def _of_commit(repo: str, commit: str, file_path: str, plan_dir: Path, own: Git | None) -> _Content:
    git, found = _found(repo, commit, plan_dir, own)
    entry = git.entry(found, file_path)
    if entry is None:
        return _Content(None)
    if entry.mode not in _FILE_MODES:
        raise InputError(f"{file_path} is no plain file in commit {commit} of {repo}")
    return _Content(git.blob(entry.oid), _FILE_MODES[entry.mode])


@lru_cache(maxsize=256)  # a plan names few commits, and each in many steps
def _found(repo: str, commit: str, plan_dir: Path, own: Git | None) -> tuple[Git, str]:
    """Where a commit is: in our own clone, or in the repository that the plan names."""
    if own is not None and (found := own.resolve(commit)) is not None:
        return own, found
    git = _git_of(plan_dir, repo)
    found = git.resolve(commit)
    if found is None:
        raise InputError(f"the repository {repo} has no commit {commit}")
    return git, found


def _git_of(plan_dir: Path, repo: str) -> Git:
    path = plan_dir / repo
    if not path.is_dir():
        raise InputError(f"there is no repository at {path}, where the commit is looked for")
    asked = as_user(path, "rev-parse", "--absolute-git-dir")
    if asked.status != 0:
        raise InputError(f"{path} is no git repository: {asked.stderr.strip()}")
    return Git(Path(decode(asked.stdout).removesuffix("\n")))


def _write(worktree: Path, file_path: str, content: _Content) -> None:
    """Write, or delete, one file of a worktree; a link on the way to it is an error."""
    target = worktree / file_path
    for folder in reversed(target.relative_to(worktree).parents[:-1]):
        at = worktree / folder
        if at.is_symlink() or (at.exists() and not at.is_dir()):
            raise InputError(f"{folder} is no folder in the worktree, so {file_path} has no place")
        if content.data is not None:
            at.mkdir(exist_ok=True)
    remove(target)
    if content.data is not None:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, content.mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.data)
