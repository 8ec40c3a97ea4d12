"""Leases of runs and locks of files: who may carry what, and the token that fences late writers."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, cast

from sqlalchemy import Sequence, and_, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from storage import models
from storage.exceptions import GreenlineError
from storage.lease import LOCK_S, LeaseLost, described
from storage.ledger.base import Base

if TYPE_CHECKING:
    from storage.rows import FileLockRow

_TOKENS = Sequence("file_lock_tokens")


class LockLost(GreenlineError):  # noqa: N818 - it names what happened
    """A file's lock ran out and somebody else took it: what was done under it does not count."""

    def __init__(self, file_path: str, token: int, now: FileLockRow | None) -> None:
        self.file_path = file_path
        who = f"{described(now['holder'])} has it with {now['token']}" if now else "nobody has it"
        super().__init__(f"the lock of {file_path} (token {token}) was lost: {who} now")


class Locks(Base):
    """Checking leases; taking, checking and giving back the locks of files."""

    def lease_of(self, run_id: str) -> str | None:
        """Return who holds the lease of a run, run out or not."""
        runs = models.runs
        return cast(
            "str | None",
            self._scalar(select(runs.c.lease_owner).where(runs.c.run_id == run_id)),
        )

    def now(self) -> dt.datetime:
        """Return the database's time: leases run out by it, and by no host's own."""
        return cast("dt.datetime", self._scalar(select(func.clock_timestamp())))

    def require_lease(self, run_id: str, owner: str) -> None:
        """Make sure that this owner carries the run, until the transaction ends.

        Raises:
            LeaseLost: somebody else does, or nobody.
        """
        runs = models.runs
        now = self._scalar(
            select(runs.c.lease_owner)
            .where(runs.c.run_id == run_id)
            .with_for_update(key_share=True)
        )
        if now != owner:
            raise LeaseLost(run_id, now)

    def end_lease(self, run_id: str) -> str | None:
        """Take the right to carry a run from whoever has it; return who that was."""
        runs = models.runs
        before = self.lease_of(run_id)
        self.session.execute(
            update(runs)
            .where(runs.c.run_id == run_id)
            .values(lease_owner=None, lease_expires_at=None)
        )
        return before

    def lock_file(
        self,
        project_id: int,
        file_path: str,
        holder: str,
        *,
        run_id: str,
        step_id: int,
        seconds: float = LOCK_S,
        instead_of: str | None = None,
    ) -> int | None:
        """Lock a file of a project for one step; return the fencing token, None: it is taken.

        A lock that ran out is free. The same step of the same holder gets its lock anew, with
        a new token. Tokens rise from lock to lock.

        Args:
            project_id: the project.
            file_path: relative to the repository.
            holder: the owner of the run's lease.
            run_id: the run.
            step_id: the step that wants to edit the file.
            seconds: how long it holds unless it is renewed.
            instead_of: a holder who is known to be dead.
        """
        locks = models.file_locks
        now = func.clock_timestamp()
        values = {
            "holder": holder,
            "run_id": run_id,
            "step_id": step_id,
            "token": _TOKENS.next_value(),
            "acquired_at": now,
            "expires_at": now + dt.timedelta(seconds=seconds),
        }
        new = insert(locks).values(project_id=project_id, file_path=file_path, **values)
        token = self._scalar(
            new.on_conflict_do_update(
                index_elements=["project_id", "file_path"],
                set_=values,
                where=or_(
                    locks.c.expires_at < now,
                    locks.c.holder == (instead_of or ""),
                    and_(
                        locks.c.holder == holder,
                        locks.c.run_id == run_id,
                        locks.c.step_id == step_id,
                    ),
                ),
            ).returning(locks.c.token)
        )
        return None if token is None else int(token)

    def get_file_lock(self, project_id: int, file_path: str) -> FileLockRow | None:
        """Return the lock of a file, run out or not."""
        locks = models.file_locks
        query = select(locks).where(
            locks.c.project_id == project_id, locks.c.file_path == file_path
        )
        return cast("FileLockRow | None", self._row(query))

    def require_file_lock(self, project_id: int, file_path: str, token: int) -> None:
        """Make sure that nobody took a file's lock since, until the transaction ends.

        A lock that ran out and that nobody took is still ours.

        Raises:
            LockLost: somebody took it, or freed it.
        """
        locks = models.file_locks
        query = select(locks).where(
            locks.c.project_id == project_id, locks.c.file_path == file_path
        )
        row = cast("FileLockRow | None", self._row(query.with_for_update()))
        if row is None or row["token"] != token:
            raise LockLost(file_path, token, row)

    def unlock_file(self, project_id: int, file_path: str, token: int) -> bool:
        """Give a file's lock back; False when somebody else has it by now."""
        locks = models.file_locks
        freed = self._scalar(
            delete(locks)
            .where(
                locks.c.project_id == project_id,
                locks.c.file_path == file_path,
                locks.c.token == token,
            )
            .returning(locks.c.token)
        )
        return freed is not None

    def unlock_run(self, run_id: str) -> list[str]:
        """Free every lock of a run, whoever held it; return the files."""
        locks = models.file_locks
        freed = self._rows(
            delete(locks).where(locks.c.run_id == run_id).returning(locks.c.file_path)
        )
        return sorted(row["file_path"] for row in freed)
