"""The ledger as it begins: plan, execution, evidence, agents, and the guards over their states.

Revision: 0001, the first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SQL: Final = Path(__file__).parents[1] / "sql"
FILES: Final = ("plan", "execution", "evidence", "agent", "guards")

# What storage.states.TRANSITIONS said when this was written; a later change of it comes with a
# migration of its own. "" is the beginning: where the first stage of a workstream may be.
LEGAL: Final = {
    "run": {
        "pending": "running abandoned",
        "running": "completed failed partial abandoned",
    },
    "workstream": {
        "pending": "ready failed blocked abandoned",
        "ready": "editing failed blocked abandoned",
        "editing": "static_check failed abandoned",
        "static_check": "editing fixing runtime_check failed abandoned",
        "fixing": "editing static_check runtime_check failed abandoned",
        "runtime_check": "editing fixing done failed abandoned",
        "done": "ready failed abandoned",
        "blocked": "ready failed abandoned",
    },
    "feature": {
        "pending": "in_progress",
        "in_progress": "completed failed",
        "completed": "pending",
        "failed": "pending in_progress",
    },
    "task": {
        "pending": "in_progress",
        "in_progress": "completed failed",
        "completed": "pending",
        "failed": "pending in_progress",
    },
    "subtask": {
        "pending": "in_progress",
        "in_progress": "completed failed",
        "completed": "pending",
        "failed": "pending in_progress",
    },
    "step": {
        "pending": "in_progress",
        "in_progress": "completed failed",
        "completed": "pending",
        "failed": "pending in_progress",
    },
    "attempt": {
        "in_progress": "success failure skipped",
    },
    "work_stage": {
        "pending": "analysis",
        "analysis": "unit_testing unit_implementation integration_testing"
        " integration_implementation",
        "unit_testing": "unit_implementation integration_testing review",
        "unit_implementation": "integration_testing integration_implementation review",
        "integration_testing": "integration_implementation review",
        "integration_implementation": "review",
        "review": "unit_implementation completed",
    },
    "feature_phase": {
        "analysis": "approaches failed",
        "approaches": "judging failed",
        "judging": "implementation failed",
        "implementation": "pr failed",
        "pr": "completed failed",
    },
    "phase": {
        "running": "passed failed",
    },
    "sandbox": {
        "pending": "running failed aborted",
        "running": "stopping failed aborted snapshotting",
        "stopping": "stopped failed aborted",
        "snapshotting": "running stopping failed aborted",
    },
    "snapshot": {
        "created": "deleted failed",
    },
}
FIRST_WORK_STAGES: Final = (
    "pending analysis unit_testing unit_implementation"
    " integration_testing integration_implementation review"
)


def transitions() -> list[dict[str, str]]:
    """Return the rows of `legal_transitions`."""
    table = {entity: dict(moves) for entity, moves in LEGAL.items()}
    table["work_stage"][""] = FIRST_WORK_STAGES
    return [
        {"entity": entity, "from_state": before, "to_state": after}
        for entity, moves in table.items()
        for before, afters in moves.items()
        for after in afters.split()
    ]


def upgrade() -> None:
    # A file at a time, by the driver itself: SQLAlchemy would prepare it, and then it may hold no
    # more than one statement.
    cursor = op.get_bind().connection.cursor()
    for name in FILES:
        cursor.execute((SQL / f"{revision}_{name}.sql").read_text(encoding="utf-8"))
    columns = [sa.column(name, sa.Text) for name in ("entity", "from_state", "to_state")]
    op.bulk_insert(sa.table("legal_transitions", *columns), transitions())


def downgrade() -> None:
    op.execute("DROP SCHEMA agent CASCADE")
    op.execute(
        "DROP TABLE projects, features, tasks, subtasks, steps, runs, workstreams, work_stages,"
        " step_attempts, errors, events, verifications, test_results, file_locks, tool_results,"
        " rollbacks, deliveries, schema_meta, legal_transitions"
    )
    op.execute("DROP SEQUENCE file_lock_tokens")
    op.execute("DROP FUNCTION guard_transition(), guard_work_stage(), refuse_change()")
    op.execute(
        "DROP TYPE step_type, status, assigned_to, work_stage,"
        " run_status, workstream_status, attempt_status"
    )
