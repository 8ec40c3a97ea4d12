"""Preparing a run: everything that can be wrong is found before anything is stored.

The plan, the settings, the repository and the agents are checked, a sandbox is made and set up,
and the project's suite is run once in it. Only then one transaction stores the plan and the run.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from storage.database import Database
from storage.exceptions import InputError
from storage.home import Home
from storage.ids import new_run_id
from tasks.agents.base import Agent
from tasks.agents.registry import make_agent
from tasks.analysis import baseline_facts, repository_facts
from tasks.config import FILE_NAME, PYPROJECT, Settings, load_settings, pyproject_section
from tasks.plan import FeaturePlan, check_plan_against_repository, load_plan
from tasks.project_commands import lacks_pytest, project_tests, require_programs, run_setup
from tasks.repository import UserRepository
from tasks.run import Prepared
from tasks.run_store import store_run
from tasks.sandbox import ProjectClone, Sandbox
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

    def observe(self) -> Prepared:
        """Make the run's sandbox, set it up and run the suite once in it.

        Raises:
            InputError: the set-up or the test command does not serve; all that was made is gone.
        """
        home = Home.current().ensure()
        run_id = new_run_id()
        branch = f"greenline/{run_id}"
        command = project_tests(self.settings, home.sandboxes / run_id / "scratch")
        clone = ProjectClone.prepare(home, self.repository, self.base_commit)
        sandbox = None
        try:
            sandbox = Sandbox.create(
                clone, home.sandboxes / run_id / "main", branch=branch, base_commit=self.base_commit
            )
            run_setup(self.settings, sandbox, command)
            require_programs(self.settings, command.home)
            before = sandbox.manifest()
            baseline = command.verify(
                sandbox.path, tree=sandbox.tree(), kind="baseline", known_files=sandbox.files()
            )
            sandbox.clean_after_tests(before)
            _require_usable(baseline, command.argv, sandbox.path)
            facts = {
                "repository": repository_facts(
                    clone.git, self.base_commit, sandbox.files(), self.plan
                ),
                "baseline": baseline_facts(baseline, tolerated_exit(baseline)),
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
            facts=facts,
            notes=self.notes,
        )


def check(
    plan_path: Path,
    *,
    repo: Path,
    config: Path | None = None,
    agent: str | None = None,
    base: str | None = None,
) -> Checked:
    """Check a plan, the settings, the repository and the agents against each other.

    Args:
        plan_path: the feature plan; replay files in it are relative to its folder.
        repo: the target repository.
        config: a settings file to use instead of the repository's own.
        agent: the name of an agent to play every role.
        base: the commit to start from, the repository's HEAD by default.

    Raises:
        InputError: something is wrong, with what would work. Nothing was written.
    """
    plan = load_plan(plan_path)
    # Replay files lie beside the plan itself, not beside a link to it.
    plan_path = plan_path.resolve()
    repository = UserRepository.open(repo)
    _require_branch_name(repository)
    base_commit = repository.head
    if base is not None:
        found = repository.git.resolve(f"{base}^{{commit}}")
        if found is None:
            raise InputError(f"--base {base}: {repository.path} has no such commit")
        base_commit = found
    settings, notes = read_settings(repository, base_commit, config)
    settings.require_test_command()
    for each in role_agents(plan, settings, agent).values():
        each.check(plan, plan_path.parent, repository)
    warnings = check_plan_against_repository(plan, repository.tree(base_commit))
    notes += [str(warning) for warning in warnings]
    if dirty := repository.dirty():
        notes.append(
            f"{repository.path} has uncommitted changes ({', '.join(dirty[:3])}"
            f"{' …' if len(dirty) > 3 else ''}); only what is committed counts"
        )
    return Checked(plan, plan_path, settings, agent, repository, base_commit, tuple(notes))


def store(prepared: Prepared, database: Database) -> str:
    """Store plan, run and baseline in one transaction and return the run's id.

    Raises:
        GreenlineError: the ledger cannot take it; what was made on disk is removed then.
    """
    try:
        with database.transaction() as ledger:
            store_run(ledger, prepared)
    except BaseException:
        discard(prepared)
        raise
    return prepared.run_id


def discard(prepared: Prepared) -> None:
    """Remove what was made on disk for a run that does not come about."""
    remove_run_files(prepared.run_id, prepared.sandbox)


def read_settings(
    repository: UserRepository, commit: str, config: Path | None
) -> tuple[Settings, list[str]]:
    """Read a project's settings: a given file, else what is committed, else what lies there.

    Only committed state counts; a `greenline.toml` that is not committed at all is the user's own
    word nevertheless (an agent never gets to write there) and is taken with a note.

    Raises:
        InputError: the file cannot be read or its settings are wrong.
    """
    if config is not None:
        try:
            given = config.read_bytes()
        except OSError as error:
            raise InputError(f"--config {config} cannot be read: {error.strerror}") from error
        return load_settings(_text(given, str(config)), str(config), os.environ), []
    tree = repository.tree(commit)
    if (data := tree.show(FILE_NAME)) is not None:
        return load_settings(_text(data, FILE_NAME), FILE_NAME, os.environ), []
    if (data := tree.show(PYPROJECT)) is not None:
        section = pyproject_section(_text(data, PYPROJECT))
        if section is not None:
            return load_settings(section, PYPROJECT, os.environ), []
    if not repository.is_bare:
        uncommitted = repository.path / FILE_NAME
        if uncommitted.is_file():
            note = f"{FILE_NAME} is not committed; it is used as it lies there"
            text = _text(uncommitted.read_bytes(), FILE_NAME)
            return load_settings(text, FILE_NAME, os.environ), [note]
        if (section := pyproject_settings(repository.path)) is not None:
            note = (
                "[tool.greenline] of pyproject.toml is not committed; it is used as it lies there"
            )
            return load_settings(section, PYPROJECT, os.environ), [note]
    return load_settings(None, FILE_NAME, os.environ), []


def pyproject_settings(folder: Path) -> str | None:
    """Return the text of a folder's `pyproject.toml` if it has a table `[tool.greenline]`.

    Raises:
        InputError: it speaks of Greenline and cannot be read.
    """
    path = folder / PYPROJECT
    return pyproject_section(_text(path.read_bytes(), PYPROJECT)) if path.is_file() else None


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


def remove_run_files(run_id: str, sandbox: Sandbox | None) -> None:
    """Remove a run's sandbox, if it came to one, and its scratch folder."""
    if sandbox is not None:
        sandbox.remove()
    shutil.rmtree(Home.current().sandboxes / run_id, ignore_errors=True)


def _text(data: bytes, name: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InputError(
            f"{name} is no UTF-8 text ({error.reason} at byte {error.start})"
        ) from None
