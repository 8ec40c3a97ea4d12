"""Carrying a write plan out: everything is written beside its place first, then gets its name."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Collection
from pathlib import Path

from storage.exceptions import InputError
from tasks.write_plan.journal import Entry, Journal, sync_folder, undo_what_was_left
from tasks.write_plan.model import Code, WritePlan
from tasks.write_plan.outcome import Outcome, Target, foresee
from tasks.write_plan.report import Finding, Report, all_well, failure


def execute(
    plan: WritePlan, root: Path, only: Collection[str] | None = None, *, dry_run: bool = False
) -> Report:
    """Write what a plan says, all of it or nothing.

    Every operation is checked before anything is written. The new contents are then written to
    drafts beside their places and made durable, and only then get their names; when one of these
    steps fails, or the process is interrupted, everything is put back as it was and the folders
    that were made are gone. What a crash left in the folder is undone by the next plan for it.

    Args:
        plan: the plan.
        root: the folder that its paths are relative to. No symbolic link below it is followed.
        only: the paths that may be written, such as a step's one file; None: any below `root`.
        dry_run: check only, and write nothing.

    Returns:
        The report; that the plan cannot be carried out is in it, with codes, and not raised.

    Raises:
        InputError: `root` is no folder.
    """
    if not root.is_dir():
        what = "a file" if root.exists() else "not there"
        raise InputError(f"{root} is {what}; give the folder that the plan's paths are relative to")
    root = root.resolve()
    notes = [] if dry_run else undo_what_was_left(root)
    outcome = foresee(plan, root, only)
    if outcome.findings:
        return failure(plan, outcome.findings, notes)
    if not dry_run:
        journal = Journal.new(
            root,
            [
                Entry(each.path, hashlib.sha256(each.content).hexdigest(), each.replaces)
                for each in outcome.targets
            ],
            outcome.folders,
        )
        if failed := _write(journal, outcome, notes):
            found, put_back = failed
            return failure(plan, [found], notes, put_back)
    return all_well(plan, outcome.sizes, outcome.folders, notes, dry_run=dry_run)


class _FailedError(Exception):
    """A step of the writing failed."""

    def __init__(self, target: Target, code: Code, error: OSError) -> None:
        super().__init__()
        told = f"{error.strerror or error}"
        self.finding = Finding(target.index, code, f"{told}; nothing of the plan was kept")


def _write(
    journal: Journal, outcome: Outcome, notes: list[str]
) -> tuple[Finding, list[str]] | None:
    """Write all; return what failed and what had to be put back, None if nothing did."""
    first = outcome.targets[0]
    back: list[str] = []
    try:
        with journal.held():
            try:
                _prepare(journal, outcome)
                _publish(journal, outcome)
                journal.settle()
            except BaseException:
                back, stuck = journal.undo()
                notes += stuck
                raise
            journal.clear()
    except _FailedError as failed:
        return failed.finding, back
    except OSError as error:  # of the journal itself
        return _FailedError(first, Code.EXECUTION_FAILED, error).finding, back
    return None


def _prepare(journal: Journal, outcome: Outcome) -> None:
    """Make the folders and the drafts, and keep what will be replaced."""
    for folder in outcome.folders:
        try:
            (journal.root / folder).mkdir()
        except OSError as error:
            below = next(t for t in outcome.targets if t.path.startswith(f"{folder}/"))
            raise _FailedError(below, Code.DIR_CREATE_FAILED, error) from error
    for number, target in enumerate(outcome.targets):
        try:
            _draft(journal.draft(number), target)
            if target.replaces:
                _keep(journal.root / target.path, journal.before(number))
        except OSError as error:
            raise _FailedError(target, Code.EXECUTION_FAILED, error) from error


def _publish(journal: Journal, outcome: Outcome) -> None:
    """Give the drafts their names."""
    folders = {}
    for number, target in enumerate(outcome.targets):
        at = journal.root / target.path
        try:
            if target.replaces:
                journal.draft(number).replace(at)
            else:
                _name_new(journal.draft(number), at)
        except OSError as error:
            raise _FailedError(target, Code.EXECUTION_FAILED, error) from error
        folders[at.parent] = target
    for folder, target in folders.items():
        try:
            sync_folder(folder)
        except OSError as error:
            raise _FailedError(target, Code.EXECUTION_FAILED, error) from error


def _draft(at: Path, target: Target) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(at, flags, target.mode), "wb") as stream:
        stream.write(target.content)
        if target.replaces:
            os.fchmod(stream.fileno(), target.mode)  # as it was, whatever the umask
        stream.flush()
        os.fsync(stream.fileno())


def _keep(target: Path, at: Path) -> None:
    try:
        os.link(target, at, follow_symlinks=False)
    except OSError:  # a file system without links
        shutil.copy2(target, at, follow_symlinks=False)


def _name_new(draft: Path, at: Path) -> None:
    """Give a draft a name that nothing has; unlike a rename a link never replaces anything."""
    try:
        os.link(draft, at)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if os.path.lexists(at):
            raise
        draft.rename(at)
