"""The commits of attempts with their objects, for whoever goes on with a run on another host.

Revision: 0004, after 0003.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SQL: Final = Path(__file__).parents[1] / "sql"


def upgrade() -> None:
    op.get_bind().connection.cursor().execute(
        (SQL / f"{revision}_commits.sql").read_text(encoding="utf-8")
    )


def downgrade() -> None:
    op.execute("DROP TABLE commits")
