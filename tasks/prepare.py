"""Preparing a run: everything that can be wrong is found before anything is stored.

The plan, the settings, the repository and the agents are checked, a sandbox is made and set up,
and the project's suite is run once in it. Only then one transaction stores the plan and the run.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from storage.claims import FlowRunClaim
from storage.database import Database
from storage.exceptions import InputError
from storage.home import Home
from storage.ids import new_run_id
from tasks.agents.base import Agent
from tasks.agents.registry import make_agent
from tasks.analysis import baseline_facts, repository_facts
from tasks.config import Settings
from tasks.fence.policy import fence_notes
from tasks.flaky import flaky_in_baseline
from tasks.going_on import Source
from tasks.leftovers import claim, remove_run_files
from tasks.metering.prices import Prices
from tasks.plan import FeaturePlan, check_plan_against_repository, load_plan
from tasks.project_commands import lacks_pytest, project_tests, require_programs, run_setup
from tasks.repository import UserRepository
from tasks.repository_settings import read_settings
from tasks.run import EarlierRun, Prepared, RunOptions
from tasks.run_store import store_run
from tasks.sandbox import ProjectClone, Sandbox
from tasks.skills import skills_of_commit
from tasks.verify import (
    TestCommandError,
    Verification,
    require_usable_baseline,
    tolerated_exit,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checked:
    """Input that was found right, before anything costly or lasting was done."""

    plan: FeaturePlan
    plan_path: Path
    settings: Settings
    agent: str | None
    repository: UserRepository
    base_commit: str
    notes: tuple[str, ...]
    options: RunOptions
    config_path: Path | None = None
    earlier: EarlierRun | None = None

    def observe(self) -> Prepared:
        """Make the run's sandbox, set it up and run the suite once in it.

        Raises:
            InputError: the set-up or the test command does not serve; all that was made is gone.
        """
        home = Home.current().ensure()
        run_id = new_run_id()
        branch = f"greenline/{run_id}"
        clone = ProjectClone.prepare(home, self.repository, self.base_commit)
        command = project_tests(self.settings, home.sandboxes / run_id / "scratch", clone)
        sandbox = None
        try:
            claim(home.folder(home.sandboxes / run_id))
            sandbox = Sandbox.create(
                clone, home.sandboxes / run_id / "main", branch=branch, base_commit=self.base_commit
            )
            run_setup(self.settings, sandbox, command)
            require_programs(self.settings, command.home)
            before = sandbox.manifest()
            baseline = command.verify(
                sandbox.path, tree=sandbox.tree(), kind="baseline", known_files=sandbox.files()
            )
            sandbox.clean_after_tests(before, habitual=True)
            _require_usable(baseline, command.argv, sandbox.path)
            flaky, reruns = flaky_in_baseline(command, sandbox, baseline, before)
            facts = {
                "repository": repository_facts(
                    clone.git, self.base_commit, sandbox.files(), self.plan
                ),
                "baseline": baseline_facts(baseline, tolerated_exit(baseline), flaky),
                "flaky_tests": list(flaky),
            }
        except BaseException:
            remove_run_files(run_id, sandbox)
            raise
        return Prepared(
            run_id=run_id,
            plan=self.plan,
            plan_path=self.plan_path,
            settings=self.settings,
            agent=self.agent,
            repository=self.repository,
            base_commit=self.base_commit,
            branch=branch,
            sandbox=sandbox,
            baseline=baseline,
            reruns=reruns,
            facts=facts,
            notes=self.notes,
            options=self.options,
            config_path=self.config_path,
            earlier=self.earlier,
        )


def check(
    plan_path: Path | None,
    *,
    repo: Path | None = None,
    config: Path | None = None,
    agent: str | None = None,
    base: str | None = None,
    options: RunOptions | None = None,
    source: Source | None = None,
) -> Checked:
    """Check a plan, the settings, the repository and the agents against each other.

    Args:
        plan_path: the feature plan; replay files in it are relative to its folder. None: that of
            the run to go on from.
        repo: the target repository; by default the one of the run to go on from, else here.
        config: a settings file to use instead of the repository's own.
        agent: the name of an agent to play every role.
        base: the commit to start from, the repository's HEAD by default.
        options: how the run goes about its work.
        source: the run whose branch this one goes on from.

    Raises:
        InputError: something is wrong, with what would work. Nothing was written.
    """
    if plan_path is None and source is None:
        raise InputError("name a feature plan, or the run to go on from: --from RUN")
    if source is not None and base is not None:
        raise InputError("--base and --from exclude each other: a run's branch is the base")
    plan = source.plan if plan_path is None and source else load_plan(plan_path or Path())
    # Replay files lie beside the plan itself, not beside a link to it.
    plan_path = source.plan_path if plan_path is None and source else (plan_path or Path())
    plan_path = plan_path.resolve()
    repository = UserRepository.open(repo or (source.repo_path if source else Path()))
    _require_branch_name(repository)
    if source is not None:
        source.require_repository(repository)
    base_commit = source.head if source else _base_commit(repository, base)
    if source is None:
        settings, notes = read_settings(repository, base_commit, config)
    else:
        settings, notes = source.read_settings(repository, config)
        agent = agent or source.agent
    settings.require_test_command()
    notes += fence_notes(settings)
    for each in role_agents(plan, settings, agent).values():
        each.check(plan, plan_path.parent, repository)
        if each.endpoint is not None:
            Prices.current()  # a table that cannot be used is told before anything is begun
    tree = source.tree(repository) if source else repository.tree(base_commit)
    warnings = check_plan_against_repository(plan, tree)
    notes += [*map(str, warnings), *skills_of_commit(tree, Home.current().path).warnings]
    if dirty := repository.dirty():
        notes.append(
            f"{repository.path} has uncommitted changes ({', '.join(dirty[:3])}"
            f"{' …' if len(dirty) > 3 else ''}); only what is committed counts"
        )
    return Checked(
        plan,
        plan_path,
        settings,
        agent,
        repository,
        base_commit,
        tuple(notes),
        options or RunOptions(),
        config.resolve() if config else None,
        source.earlier(plan) if source else None,
    )


def _base_commit(repository: UserRepository, base: str | None) -> str:
    if base is None:
        return repository.head
    found = repository.git.resolve(f"{base}^{{commit}}")
    if found is None:
        raise InputError(f"--base {base}: {repository.path} has no such commit")
    return found


def store(prepared: Prepared, database: Database, claim: FlowRunClaim | None = None) -> str:
    """Store plan, run and baseline in one transaction and return the run's id.

    Args:
        prepared: the run.
        database: the ledger.
        claim: the flow run that the run is for, which no other process may have begun with.

    Raises:
        GreenlineError: the ledger cannot take it; what was made on disk is removed then.
    """
    try:
        with database.transaction() as ledger:
            store_run(ledger, prepared, claim.flow_run_id if claim else None)
            if claim is not None:
                claim.require()
    except BaseException:
        discard(prepared)
        raise
    return prepared.run_id


def discard(prepared: Prepared) -> None:
    """Remove what was made on disk for a run that does not come about."""
    remove_run_files(prepared.run_id, prepared.sandbox)


def _require_branch_name(repository: UserRepository) -> None:
    """Refuse a repository in which no branch `greenline/<run>` can be made.

    Raises:
        InputError: it has a branch `greenline`, which git keeps where those would be.
    """
    if repository.git.resolve("refs/heads/greenline") is not None:
        raise InputError(
            f"{repository.path} has a branch 'greenline', and git allows no branches "
            "'greenline/…' beside it; rename it: git branch -m greenline greenline-old"
        )


def _require_usable(baseline: Verification, command: Sequence[str], folder: Path) -> None:
    """Refuse a test command that does not serve, and say what would where that is known.

    Raises:
        InputError: the command hung, or left no readable report.
    """
    try:
        require_usable_baseline(baseline, command)
    except TestCommandError as error:
        if "No module named pytest" in baseline.output and (hint := lacks_pytest(command, folder)):
            raise InputError(f"{error}\n  {hint}") from error
        raise


def role_agents(plan: FeaturePlan, settings: Settings, override: str | None) -> dict[str, Agent]:
    """Return who plays each role that the plan has.

    Raises:
        InputError: a role has nobody to play it, or an agent is unknown.
    """
    roles = {
        numbered.step.assigned_to
        for subtask in plan.subtasks
        for numbered in subtask.numbered_steps()
    }
    return {
        role: make_agent(settings.agent_for(role, override).name, settings)
        for role in sorted(roles)
    }
