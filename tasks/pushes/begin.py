"""Beginning the run of a plan that was pushed: once, whatever tells of the push how often."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from storage.home import Home
from storage.pushes import one_at_a_time, pushed_runs
from tasks.prepare import check, store
from tasks.pushes.plans import PushedPlan, pushed_commits, write_plan
from tasks.run import RunOptions

if TYPE_CHECKING:
    from storage.database import Database
    from tasks.pushes.push import Push
    from tasks.repository import UserRepository


@dataclass(frozen=True)
class Begun:
    """A run of a pushed plan.

    Attributes:
        plan_path: the plan's file in the home.
        new: it was stored just now, and this process is to carry it.
    """

    run_id: str
    plan_path: Path
    new: bool


def begin(
    database: Database,
    repository: UserRepository,
    push: Push,
    plan: PushedPlan,
    *,
    max_parallel: int = 1,
) -> Begun:
    """Check a pushed plan and store its run, unless a push has begun it before.

    Before means: the same plan in this repository, from a commit of this very push. So a commit
    that was told of when it was made is not run again when it is pushed, nor when it comes to
    another branch by a merge.

    Args:
        database: the ledger.
        repository: what was pushed to; it has the pushed commit.
        push: the push.
        plan: one of its plans.
        max_parallel: how many of the plan's workstreams may be under way at the same time.

    Raises:
        InputError: the plan, the settings or the repository are wrong; nothing is stored.
        GreenlineError: git or the ledger does not do its part.
    """
    plan_hash = plan.read().sha256()
    with one_at_a_time(database, str(repository.path), plan_hash):
        with database.get_connection() as connection:
            known = pushed_runs(connection, str(repository.path), plan_hash)
        plan_path = write_plan(Home.current().ensure(), repository.git, push, plan)
        if known:
            commits = pushed_commits(repository.git, push, repository.default_branch)
            for run in known:
                if run["base_commit"] in commits:
                    return Begun(run["run_id"], plan_path, new=False)
        checked = check(
            plan_path,
            repo=repository.path,
            base=push.after,
            options=RunOptions(max_parallel=max_parallel, pushed=push.ref),
        )
        return Begun(store(checked.observe(), database), plan_path, new=True)
