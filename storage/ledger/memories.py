"""What a run remembers: short sentences that its later steps are told."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final, cast

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from storage import models
from storage.exceptions import InputError
from storage.ledger.base import Base, one_of
from storage.states import FeaturePhase, MemoryKind
from storage.text import clean_text

if TYPE_CHECKING:
    import datetime as dt

    from sqlalchemy import Table

    from storage.rows import MemoryRow

_memories = cast("Table", models.MemoryRecord.__table__)
_FURTHEST: Final = 20  # runs that one after the other went on from


class Memories(Base):
    """Writing and reading memories."""

    def remember(
        self,
        run_id: str,
        kind: str,
        content: str,
        *,
        phase: str,
        phase_result_id: str | None = None,
        invocation_id: str | None = None,
    ) -> str:
        """Keep a memory of a run; return its id. The same words of the same kind are kept once.

        Args:
            run_id: the run.
            kind: `insight`, `failure`, `decision` or `constraint`.
            content: what is to be remembered; secrets in it are hidden.
            phase: the phase in which it came up.
            phase_result_id: the phase's record.
            invocation_id: the agent that left it.

        Raises:
            InputError: there is nothing in it, or no such kind or phase.
        """
        kind = one_of(MemoryKind, kind, "kind")
        content = clean_text(content).strip()
        if not content:
            raise InputError("a memory needs words; received none")
        # The id follows from what is remembered: of two lanes at once, one writes it.
        memory_id = str(uuid.uuid5(uuid.UUID(run_id), f"{kind} {content}"))
        self.session.execute(
            insert(_memories)
            .values(
                id=memory_id,
                run_id=run_id,
                phase_result_id=phase_result_id,
                invocation_id=invocation_id,
                phase=one_of(FeaturePhase, phase, "phase"),
                kind=kind,
                content=content,
            )
            .on_conflict_do_nothing(index_elements=["id"])
        )
        return memory_id

    def memories_of(
        self, run_id: str, *, before: dt.datetime | None = None, limit: int = 500
    ) -> list[MemoryRow]:
        """Return what a run remembers, the newest first.

        That includes what the runs remember that it goes on from, except their constraints: it
        has its own.

        Args:
            run_id: the run.
            before: leave out what came up later.
            limit: how many at most.
        """
        memories = _memories
        earlier = memories.c.run_id.in_(self._went_before(run_id)) & (
            memories.c.kind != MemoryKind.CONSTRAINT
        )
        query = select(memories).where((memories.c.run_id == run_id) | earlier)
        if before is not None:
            query = query.where(memories.c.created_at < before)
        newest = query.order_by(memories.c.created_at.desc(), memories.c.id).limit(limit)
        return cast("list[MemoryRow]", self._rows(newest))

    def _went_before(self, run_id: str) -> list[str]:
        """Return the runs that a run goes on from, one after the other."""
        runs = models.runs
        found: list[str] = []
        current = run_id
        while len(found) < _FURTHEST:
            named = runs.c.metadata_json["from_run"].astext
            before = self._scalar(select(named).where(runs.c.run_id == current))
            if before is None or before in (run_id, *found):
                break
            found.append(current := str(before))
        return found
