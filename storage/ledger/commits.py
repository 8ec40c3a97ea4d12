"""The commits of attempts with the objects they added: what git keeps on one host only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.dialects.postgresql import insert

from storage import models
from storage.ledger.base import Base

if TYPE_CHECKING:
    from collections.abc import Iterable

    from storage.rows import PackedCommit


class Commits(Base):
    """Keeping commits. They are read without SQLAlchemy (`storage.queries`)."""

    def keep_commits(self, project_id: int, commits: Iterable[PackedCommit]) -> None:
        """Keep commits with their objects; one that is kept already stays as it is."""
        rows = [{"project_id": project_id, **commit} for commit in commits]
        if rows:
            self.session.execute(
                insert(models.commits).values(rows).on_conflict_do_nothing(index_elements=["sha"])
            )
