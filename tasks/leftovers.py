"""What runs leave on disk: whose it is, and what is removed when nobody needs it any more.

A run's folder under the home's sandboxes holds a note of the process that made it, so that the
folder of a run that was never stored can be told from one that is just being prepared.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from storage.exceptions import InputError
from storage.home import Home
from storage.lease import owner_is_dead, this_owner
from storage.states import RunStatus
from tasks.process.strays import end_programs_in
from tasks.sandbox.trees import remove

if TYPE_CHECKING:
    from storage.database import Database
    from tasks.sandbox import Sandbox

_OWNER: Final = "owner"
_ABANDONED_S: Final = 24 * 3600.0
_UNDER_WAY: Final = (RunStatus.PENDING, RunStatus.RUNNING)


def claim(folder: Path) -> None:
    """Note that a run's folder is this process's."""
    (folder / _OWNER).write_text(this_owner(), encoding="utf-8")


def remove_run_files(run_id: str, sandbox: Sandbox | None = None) -> None:
    """Remove a run's sandboxes and its scratch folder, whatever agents did to them."""
    if sandbox is not None:
        sandbox.remove()
    # What cannot be removed now is found by the next sweep.
    with contextlib.suppress(OSError):
        remove(Home.current().sandboxes / run_id)


def sweep(database: Database) -> list[str]:
    """Remove the folders of runs that have ended or never came about; return their names.

    A folder whose run is under way, or whose maker may still live, is left alone.
    """
    folder = Home.current().sandboxes
    if not folder.is_dir():
        return []
    found = sorted(each.name for each in folder.iterdir() if each.is_dir())
    if not found:
        return []
    with database.transaction() as ledger:
        rows = {name: ledger.get_run(name) for name in found}
        now = ledger.now()
    swept = []
    for name, row in rows.items():
        if row is None:
            unused = _maker_is_dead(folder / name)
        else:
            over = row["lease_expires_at"] is not None and row["lease_expires_at"] < now
            free = over or _is_free(row["lease_owner"])
            unused = row["status"] not in _UNDER_WAY and free
        if unused:
            end_programs_in(folder / name)
            with contextlib.suppress(OSError, InputError):
                remove(folder / name)
                swept.append(name)
    return swept


def _is_free(owner: str | None) -> bool:
    return owner is None or owner == this_owner() or owner_is_dead(owner)


def _maker_is_dead(folder: Path) -> bool:
    note = folder / _OWNER
    try:
        # One from before this host was started anew cannot be told from one of another host that
        # has the same home; nobody prepares a run for a day.
        age = time.time() - note.stat().st_mtime
        return owner_is_dead(note.read_text(encoding="utf-8")) or age > _ABANDONED_S
    except OSError:
        return False
