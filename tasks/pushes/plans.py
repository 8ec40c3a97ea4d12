"""The feature plans that a push brought: which are new or changed, read at exactly its commit.

Nothing is read from a work tree. A plan is a `.json`, `.yaml` or `.yml` file under `plans/` that no
other plan there replays; its replay files come with it.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from storage.exceptions import GreenlineError, InputError
from storage.supervision import open_private
from tasks.git import Git, decode, records
from tasks.plan import FeaturePlan, parse_plan
from tasks.plan.reading import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from storage.home import Home
    from tasks.git import TreeEntry
    from tasks.pushes.push import Push

FOLDER: Final = "plans"
"""Where in a repository plans lie that are run when they are pushed."""

MOST_PLANS: Final = 100
"""How many plans one push may have run."""

OWN_BRANCHES: Final = ("greenline/", "greenline-left/")
"""What Greenline delivers is pushed like anything else; it begins nothing."""

_ENDINGS: Final = (".json", ".yaml", ".yml")
_FILES: Final = {"100644": 0o600, "100755": 0o700}
_KEPT_S: Final = 90 * 86_400.0


@dataclass(frozen=True)
class PushedPlan:
    """A plan of a push.

    Attributes:
        path: its path in the repository.
        text: what it says; None when it is no text that could be a plan, see `problem`.
        problem: why it cannot be a plan.
    """

    path: str
    text: str | None
    problem: str | None = None

    def read(self) -> FeaturePlan:
        """Read the plan.

        Raises:
            InputError: it is none; all that is wrong is told.
        """
        if self.text is None:
            raise InputError(f"{self.path}: {self.problem}")
        return parse_plan(self.text, self.path)


def changed_plans(git: Git, push: Push, default_branch: str) -> list[PushedPlan]:
    """Return the plans that a push added or changed, in the order of their paths.

    A new branch brings what it has over the default branch; a branch of a repository without
    another one brings all. A branch that was moved elsewhere brings what differs from where it was.
    A deleted ref, a tag, Greenline's own branches and plans that Greenline's own commits wrote
    bring nothing.

    Args:
        git: the repository, in which the pushed commit is.
        push: the push.
        default_branch: the name of the repository's default branch.

    Raises:
        InputError: the commit is not there, or there are more plans than a push may have run.
        GitError: the repository cannot be read.
    """
    branch = push.branch
    if branch is None or push.deletes or branch.startswith(OWN_BRANCHES):
        return []
    if git.resolve(push.after) is None:
        raise InputError(
            f"{push.repository} has no commit {push.after}; was the branch moved on and the commit "
            "removed since?"
        )
    since = _since(git, push, default_branch)
    changed = {
        path: entry
        for path, entry in _changed(git, since, push.after)
        if path.endswith(_ENDINGS) and not _is_own(git, since, push.after, path)
    }
    if not changed:
        return []
    replayed = _replayed(git, push.after)
    plans = [_plan(git, path, entry) for path, entry in sorted(changed.items())]
    plans = [plan for plan in plans if plan.path not in replayed]
    if len(plans) > MOST_PLANS:
        raise InputError(
            f"the push changes {len(plans)} plans under {FOLDER}/, and {MOST_PLANS} is the most "
            "that is run by itself; run those that you mean with `greenline run`"
        )
    return plans


def pushed_commits(git: Git, push: Push, default_branch: str) -> set[str]:
    """Return the commits that a push brought: those that were not on the branch before.

    Raises:
        GitError: the repository cannot be read.
    """
    since = _since(git, push, default_branch)
    bounds = [push.after, *([f"^{since}"] if since else [])]
    return set(git.text("rev-list", *bounds).split()) | {push.after}


def _since(git: Git, push: Push, default_branch: str) -> str | None:
    """Return the commit that the pushed one is compared with; None: with nothing."""
    if not push.creates and git.resolve(push.before) is not None:
        return push.before
    main = f"refs/heads/{default_branch}"
    if push.ref == main or git.resolve(main) is None:
        return None
    found = git.call("merge-base", push.after, main)
    return decode(found.stdout).split()[0] if found.status == 0 else None


def _changed(git: Git, since: str | None, commit: str) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield path, mode and object of each file under `plans/` that is new or different."""
    if since is None:
        for path, entry in _listing(git, commit).items():
            yield path, (entry.mode, entry.oid)
        return
    arguments = ("-r", "-z", "--raw", "--no-renames", "--diff-filter=AMT", "--no-abbrev")
    told = records(git.run("diff-tree", *arguments, since, commit, "--", FOLDER))
    for fields in told:
        _, mode, _, oid, _ = fields.split(" ")
        yield next(told), (mode, oid)


def _listing(git: Git, commit: str) -> Mapping[str, TreeEntry]:
    found = git.entry(commit, FOLDER)
    if found is None or found.kind != "tree":
        return {}
    return {
        f"{FOLDER}/{path}": entry
        for path, entry in git.listing(found.oid).items()
        if entry.kind == "blob"
    }


def _is_own(git: Git, since: str | None, commit: str, path: str) -> bool:
    """Whether a commit of Greenline's is the last one that wrote a file: a plan begins no other."""
    bounds = [commit, *([f"^{since}"] if since else [])]
    form = "--format=%(trailers:key=Greenline-Run,valueonly)"
    return bool(git.text("log", "-1", form, *bounds, "--", path).strip())


def _plan(git: Git, path: str, entry: tuple[str, str]) -> PushedPlan:
    mode, oid = entry
    if mode not in _FILES:
        return PushedPlan(path, None, "is no plain file; a plan is one")
    try:
        path.encode()
        size = int(git.text("cat-file", "-s", oid))
        if size > MAX_BYTES:
            return PushedPlan(path, None, f"has {size:,} bytes, and a plan has {MAX_BYTES:,}")
        return PushedPlan(path, git.blob(oid).decode("utf-8-sig"))
    except UnicodeError:
        shown = path.encode(errors="surrogateescape").decode(errors="replace")
        return PushedPlan(shown, None, "is not UTF-8 text; save it, and name it, as UTF-8")


def _replayed(git: Git, commit: str) -> set[str]:
    """Return the files that plans of a commit replay: those are no plans themselves."""
    found = set()
    for path, entry in _listing(git, commit).items():
        if path.endswith(_ENDINGS) and entry.mode in _FILES:
            with suppress(GreenlineError):
                found |= set(_replay_files(_plan(git, path, (entry.mode, entry.oid)).read(), path))
    return found


def _replay_files(plan: FeaturePlan, path: str) -> Iterator[str]:
    """Yield where in the repository a plan's replay files lie; what leads out of it is left out."""
    for subtask in plan.subtasks:
        for numbered in subtask.numbered_steps():
            for entry in numbered.step.replay:
                if entry.file is not None:
                    at = posixpath.normpath(posixpath.join(posixpath.dirname(path), entry.file))
                    if not at.startswith(("/", "../")):
                        yield at


def write_plan(home: Home, git: Git, push: Push, plan: PushedPlan) -> Path:
    """Write a pushed plan with its replay files into the home; return the plan's file.

    They lie as they do in the repository, in a folder of the commit's.

    Raises:
        InputError: it is no plan, or it replays commits of other repositories.
        GitError: the repository cannot be read.
        OSError: the files cannot be written.
    """
    read = plan.read()
    _refuse_other_repositories(read, plan.path, git)
    mark = hashlib.sha256(push.repository.encode()).hexdigest()[:12]
    root = home.path / "pushes" / "plans" / mark / push.after
    tree = _listing(git, push.after)
    for path in (plan.path, *_replay_files(read, plan.path)):
        entry = tree.get(path)
        if entry is None or entry.mode not in _FILES:
            continue  # the agent says which file is missing
        file = root / path
        home.folder(file.parent)
        draft = file.with_name(f".{file.name}.{os.getpid()}")
        with os.fdopen(open_private(home, draft, os.O_WRONLY | os.O_TRUNC), "wb") as stream:
            stream.write(git.blob(entry.oid))
        draft.chmod(_FILES[entry.mode])
        draft.replace(file)
    return root / plan.path


def _refuse_other_repositories(plan: FeaturePlan, path: str, git: Git) -> None:
    """Refuse a plan that has commits of other repositories read: whoever pushes may name any.

    Raises:
        InputError: it does.
    """
    for subtask in plan.subtasks:
        for numbered in subtask.numbered_steps():
            for entry in numbered.step.replay:
                if entry.commit is not None and git.resolve(entry.commit) is None:
                    raise InputError(
                        f"{path}, {subtask.key}: replays commit {entry.commit[:40]} of "
                        f"{entry.repo}; a plan that was pushed replays commits of its own "
                        "repository only"
                    )


def forget_old_plans(home: Home, *, older_s: float = _KEPT_S) -> int:
    """Remove the plans of pushes that are long past; return of how many commits."""
    gone = 0
    with suppress(OSError):
        for folder in (home.path / "pushes" / "plans").glob("*/*"):
            with suppress(OSError):
                if time.time() - folder.stat().st_mtime > older_s:
                    shutil.rmtree(folder)
                    gone += 1
    return gone
