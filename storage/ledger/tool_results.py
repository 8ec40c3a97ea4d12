"""Results of read-only tools, kept for a while: the rows behind `tasks.tool_cache`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from psycopg.rows import dict_row
from sqlalchemy import JSON, delete, func
from sqlalchemy.dialects.postgresql import insert

from storage import models
from storage.ledger.base import Base
from storage.queries import statement
from storage.text import clean_json

if TYPE_CHECKING:
    from sqlalchemy import Table

    from storage.rows import SubtaskStepRow, ToolResultKey, ToolResultRow


class ToolResults(Base):
    """Keeping, finding and forgetting what tools said; what a tool asks the ledger itself."""

    def find_tool_result(
        self, project_id: int, key: ToolResultKey, fingerprint: str
    ) -> ToolResultRow | None:
        """Return a kept result that is fresh and was made of the same state; None: there is none.

        Args:
            project_id: the project.
            key: the call.
            fingerprint: of the state that the tool would read now.
        """
        asked = {"project_id": project_id, "fingerprint": fingerprint, **key}
        found = self._asked("tool_result", asked)
        return cast("ToolResultRow", found[0]) if found else None

    def keep_tool_result(
        self,
        project_id: int,
        key: ToolResultKey,
        fingerprint: str,
        result: Any,
        ttl_seconds: int,
    ) -> None:
        """Keep a result in the place of an earlier one, and forget those that are too old.

        Args:
            project_id: the project.
            key: the call.
            fingerprint: of the state that the tool read.
            result: what it said, as JSON.
            ttl_seconds: for how long it may be told again.
        """
        table = _table()
        values = {
            "fingerprint": fingerprint,
            "result": JSON.NULL if result is None else clean_json(result),
            "created_at": func.clock_timestamp(),
            "ttl_seconds": ttl_seconds,
        }
        self.session.execute(
            insert(table)
            .values(project_id=project_id, **key, **values)
            .on_conflict_do_update(
                index_elements=["project_id", "tool_name", "action", "args_hash"], set_=values
            )
        )
        self._driver.execute(statement("tool_results_expired"))

    def forget_tool_results(self, project_id: int) -> int:
        """Forget all results of a project; return how many there were."""
        table = _table()
        forgotten = delete(table).where(table.c.project_id == project_id).returning(table.c.id)
        return len(self._rows(forgotten))

    def subtask_of_step(self, step_id: int) -> list[SubtaskStepRow]:
        """Return the steps of a step's subtask with their states, in their order."""
        return cast("list[SubtaskStepRow]", self._asked("subtask_steps", {"step_id": step_id}))

    def _asked(self, name: str, values: Any) -> list[dict[str, Any]]:
        with self._driver.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(statement(name), values).fetchall()


def _table() -> Table:
    return cast("Table", models.ToolResult.__table__)
