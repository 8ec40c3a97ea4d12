"""The reading functions of `storage.queries`, on the ledger's own transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storage import queries
from storage.ledger.base import Base

if TYPE_CHECKING:
    from storage.queries import AttemptDetails, RunSummary, StepSummary, SubtaskDetails
    from storage.rows import CaseResultRow


class Reading(Base):
    """Listings and look-ups."""

    def list_runs(
        self, project_id: int | None = None, limit: int | None = None
    ) -> list[RunSummary]:
        """Return the runs of a project or of all, the latest first."""
        return queries.list_runs(self._driver, project_id, limit)

    def list_steps(self, run_id: str) -> list[StepSummary]:
        """Return the steps of a run in plan order with the attempts at them."""
        return queries.list_steps(self._driver, run_id)

    def spent(self, project_id: int, run_id: str, step_id: int) -> dict[str, float]:
        """Return tokens and USD used so far by budget: step, run and project-week."""
        return queries.spent(self._driver, project_id, run_id, step_id)

    def budgets_raised(self, run_id: str) -> dict[str, int]:
        """Return how often people let a run spend as much again, by budget."""
        return queries.budgets_raised(self._driver, run_id)

    def find_subtask(self, subtask: int | str) -> SubtaskDetails | None:
        """Return the stored subtask with that id, or the latest one with that key."""
        return queries.find_subtask(self._driver, subtask)

    def step_ids(self, run_id: str) -> dict[tuple[str, int], int]:
        """Return the ids of a run's steps by subtask key and step number, in plan order."""
        steps = queries.list_steps(self._driver, run_id)
        return {(step["subtask"], step["step_number"]): step["step_id"] for step in steps}

    def get_attempt(self, project_id: int, number: int) -> AttemptDetails | None:
        """Return everything about a project's attempt, None if there is none with that number."""
        return queries.get_attempt(self._driver, project_id, number)

    def counts_by_status(self) -> dict[str, dict[str, int]]:
        """Return how many runs, workstreams, steps and attempts there are in each status."""
        return queries.counts_by_status(self._driver)

    def last_outcomes(self, run_id: str) -> list[CaseResultRow]:
        """Return what each test did last on the run's line of commits.

        That is over the run's baseline and its active attempts that succeeded or were skipped.
        """
        return queries.last_outcomes(self._driver, run_id)
