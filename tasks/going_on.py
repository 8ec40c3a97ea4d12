"""Going on from another run's branch: what it had, and which of its steps stand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from storage.database import Database
from storage.exceptions import InputError
from storage.home import Home
from storage.ledger.recovery import TreeTaken
from storage.states import RunStatus
from tasks.commits import clone_with
from tasks.config import Settings
from tasks.plan import FeaturePlan
from tasks.repository import CommitTree, UserRepository
from tasks.repository_settings import read_settings
from tasks.run import EarlierRun
from tasks.sandbox.clone import ProjectClone

_ENDED: Final = (
    RunStatus.COMPLETED,
    RunStatus.FAILED,
    RunStatus.PARTIAL,
    RunStatus.ABANDONED,
)


@dataclass(frozen=True)
class Source:
    """A run that ended, as the one that goes on from its branch needs it.

    Attributes:
        database: the ledger that it is in.
        head: the commit that its branch stands on.
        standing: the numbers of the attempts that did its steps and were not taken back since, by
            subtask and step number.
        known: what was stored of it.
        taken_by: the run under way that works on its steps already, None: there is none.
    """

    database: Database
    run_id: str
    feature_id: int
    completed: bool
    head: str
    plan: FeaturePlan
    standing: dict[tuple[str, int], int]
    known: dict[str, Any]
    taken_by: str | None = None

    @classmethod
    def find(cls, database: Database, run_id: str) -> Source:
        """Look a run up by its whole id.

        Raises:
            InputError: it has not ended, or nothing of it is left to be done.
        """
        with database.transaction() as ledger:
            row = ledger.get_run(run_id)
            if row is None or row["metadata_json"] is None:
                raise InputError(f"there is no run {run_id}; `greenline runs` lists them")
            if row["status"] not in _ENDED:
                raise InputError(
                    f"run {run_id} is {row['status']}: `greenline resume {run_id}` goes on with "
                    "it, --from is for a run that has ended"
                )
            places = {step_id: key for key, step_id in ledger.step_ids(run_id).items()}
            standing = {
                places[step_id]: attempt["number"] or 0
                for workstream in ledger.get_workstreams_for_run(run_id)
                for step_id, attempt in ledger.completed_steps(workstream["ws_id"]).items()
            }
            taken_by = ledger.run_on_tree(row["feature_id"] or 0)
        known = row["metadata_json"]
        plan = FeaturePlan.model_validate(known["plan"])
        head = row["head_commit"] or known["base_commit"]
        completed = row["status"] == RunStatus.COMPLETED
        feature_id = row["feature_id"] or 0
        return cls(database, run_id, feature_id, completed, head, plan, standing, known, taken_by)

    @property
    def plan_path(self) -> Path:
        """The file that its plan was read from; it may be gone."""
        return Path(self.known["plan_path"])

    @property
    def repo_path(self) -> Path:
        """The repository that it worked on."""
        return Path(self.known["repo_path"])

    @property
    def agent(self) -> str | None:
        """The agent that played every role in it, if one did."""
        agent: str | None = self.known["agent"]
        return agent

    def require_repository(self, repository: UserRepository) -> ProjectClone:
        """Make sure that it worked on this repository; return the clone that has its branch.

        Raises:
            InputError: it did not, or its commits are not to be had.
        """
        if str(repository.path) != self.known["repo_path"]:
            raise InputError(
                f"run {self.run_id} worked on {self.known['repo_path']}, not on {repository.path}"
            )
        return clone_with(
            self.database, Home.current().ensure(), repository, self.run_id, self.known, self.head
        )

    def tree(self, repository: UserRepository) -> CommitTree:
        """The files that its branch stands on.

        Raises:
            InputError: its branch is not here.
        """
        return CommitTree(self.require_repository(repository).git, self.head)

    def read_settings(
        self, repository: UserRepository, config: Path | None
    ) -> tuple[Settings, list[str]]:
        """Read the settings to go on with: as the run got them, with what was changed since.

        A given file wins; then the file that the run was given; then the repository's own as they
        are now; then those that were stored.

        Raises:
            InputError: a file cannot be read or its settings are wrong.
        """
        given = self.known.get("config_path")
        if config is None and given and Path(given).is_file():
            config = Path(given)
        settings, notes = read_settings(repository, repository.head, config)
        if config is None and settings.project.test is None:
            return Settings.model_validate(self.known["config"]), notes
        return settings, notes

    def earlier(self, plan: FeaturePlan) -> EarlierRun:
        """Say which steps of a plan stand already: those that were done and are asked for alike.

        Once a step of a subtask is to be done, those after it are, too.

        Raises:
            InputError: nothing is left to be done, or another run is at it.
        """
        before = {subtask.key: subtask for subtask in self.plan.subtasks}
        done = {}
        for subtask in plan.subtasks:
            old = before.get(subtask.key)
            asked = {step.number: step.step for step in old.numbered_steps()} if old else {}
            for numbered in subtask.numbered_steps():
                key = (subtask.key, numbered.number)
                if key not in self.standing or asked.get(numbered.number) != numbered.step:
                    break
                done[key] = self.standing[key]
        left = sum(len(subtask.numbered_steps()) for subtask in plan.subtasks) - len(done)
        if left == 0 and self.completed:
            raise InputError(
                f"every step of run {self.run_id} stands and it was delivered: nothing is left "
                "to be done from its branch"
            )
        same = plan == self.plan
        if same and self.taken_by is not None:
            raise TreeTaken(self.taken_by)
        return EarlierRun(
            run_id=self.run_id,
            feature_id=self.feature_id if same else None,
            origin_commit=self.known.get("origin_commit", self.known["base_commit"]),
            baseline_run=self.known.get("baseline_run", self.run_id),
            tolerated_exit=self.known["tolerated_exit_code"],
            done=done,
        )
