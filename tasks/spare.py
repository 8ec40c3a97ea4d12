"""A sandbox beside a run's own, for one purpose: made, recorded, and removed at its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from storage.states import SandboxStatus
from tasks.run import Run
from tasks.run_store import record_sandbox
from tasks.sandbox import Sandbox
from tasks.sandbox.trees import remove


@contextmanager
def spare_sandbox(run: Run, name: str, commit: str) -> Iterator[Sandbox]:
    """Give a sandbox at a commit, on a branch of its own that is gone at the end.

    One that a killed process left under the same name is replaced.

    Raises:
        GitError: there is no such commit.
    """
    clone = run.sandbox.clone
    path = run.folder / name
    remove(path)
    remove(path.with_name(f"{name}.control"))
    branch = f"greenline-spare/{run.run_id}/{name}"
    clone.put_branch(branch, commit)
    sandbox = Sandbox.create(
        clone, path, branch=branch, base_commit=commit, habits=run.sandbox.habits
    )
    with run.database.transaction() as ledger:
        before = ledger.current_sandbox(run.run_id)
        sandbox_id = record_sandbox(ledger, run.run_id, sandbox, run.repository, run.settings)
        if before is not None:
            ledger.use_sandbox(run.run_id, before)
    try:
        yield sandbox
    finally:
        sandbox.remove()
        clone.drop_branch(branch)
        with run.database.transaction() as ledger:
            ledger.update_sandbox_status(sandbox_id, SandboxStatus.STOPPING)
            ledger.update_sandbox_status(sandbox_id, SandboxStatus.STOPPED)
