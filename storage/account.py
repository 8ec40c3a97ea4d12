"""Which operating-system account PostgreSQL runs as, since it refuses to be root.

Everybody else's PostgreSQL simply runs as they do. Root's runs as the owner of the home, or else
as `postgres` or `nobody`. Those cannot enter root's home folder or private temporary folders, and
nobody's folders are opened for their sake: the process gets one capability to pass instead
(`CAP_DAC_READ_SEARCH`, or `CAP_DAC_OVERRIDE` in containers that only have that), and only when a
folder on the way is really closed. The ledger's role is no superuser of the database, so no SQL
of ours or of a user reaches files through it.
"""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from storage.exceptions import ServiceError
from storage.home import ENVIRONMENT_VARIABLE
from storage.launch import CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH

if TYPE_CHECKING:
    from storage.home import Home

_FALLBACKS = ("postgres", "nobody")


@dataclass(frozen=True)
class Account:
    """An account to run PostgreSQL as.

    Attributes:
        uid: its user id.
        gid: its group id.
        name: its name, for messages.
    """

    uid: int
    gid: int
    name: str

    def can_enter(self, folder: Path) -> bool:
        """Say whether the account may pass through the folder, by owner, group and mode."""
        return self._allowed(folder.stat(), read=False)

    def can_run(self, program: Path) -> bool:
        """Say whether the account may read and execute the file, by owner, group and mode."""
        return self._allowed(program.stat(), read=True)

    def _allowed(self, found: os.stat_result, *, read: bool) -> bool:
        if found.st_uid == self.uid:
            shift = 6
        elif found.st_gid == self.gid:
            shift = 3
        else:
            shift = 0
        asked = 0o5 if read else 0o1
        return (found.st_mode >> shift) & asked == asked


def server_account(home: Home, data: Path) -> Account | None:
    """Return the account that PostgreSQL must be run as; None for our own.

    Args:
        home: the home, which exists.
        data: its data folder, which may not exist yet.

    Raises:
        ServiceError: the data belongs to somebody we cannot become, or no account is there.
    """
    owner = _owner(data) if data.exists() else None
    if os.geteuid() != 0:
        if owner is not None and owner.uid != os.geteuid():
            raise ServiceError(
                f"{data} belongs to {owner.name}: it was made by root or another user. Run as "
                f"{owner.name} or root, or set {ENVIRONMENT_VARIABLE} to another folder."
            )
        return None
    if owner is None:
        owner = _owner(home.path)
    if owner.uid != 0:
        return owner
    for name in _FALLBACKS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(entry.pw_uid, entry.pw_gid, name)
    raise ServiceError(
        "PostgreSQL refuses to run as root, and there is neither a user `postgres` nor `nobody`. "
        "Create one, or run Greenline as an ordinary user."
    )


def launch_options(account: Account | None, folder: Path, program: Path) -> list[str]:
    """Return the options of `launch.py` that run `program` on `folder` as the account.

    Raises:
        ServiceError: a folder on the way is closed to the account, and the system gives us no
            capability to pass on.
    """
    if account is None:
        return []
    options = ["--uid", str(account.uid), "--gid", str(account.gid)]
    closed = _closed_to(account, (folder, program.parent))
    runs = account.can_run(program)
    if closed is None and runs:
        return options
    held = _held_capabilities()
    # Reading and entering is the lesser of the two, but does not execute a closed program.
    for capability in (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE) if runs else (CAP_DAC_OVERRIDE,):
        if held & (1 << capability):
            return [*options, "--cap", str(capability)]
    raise ServiceError(
        f"PostgreSQL refuses to run as root, and user {account.name} cannot enter "
        f"{closed or program}. Set {ENVIRONMENT_VARIABLE} to a folder below one that "
        f"{account.name} can enter (for instance /var/lib/greenline), or run Greenline as an "
        "ordinary user."
    )


def _closed_to(account: Account, folders: tuple[Path, ...]) -> Path | None:
    """Return the first folder on the way to one of `folders` that the account cannot enter."""
    for folder in folders:
        real = folder.resolve()
        for each in (*reversed(real.parents), real):
            if not account.can_enter(each):
                return each
    return None


def _held_capabilities() -> int:
    """Return the capabilities that we may pass on, as a bit set; 0 where there is no such thing."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("CapPrm:"):
                return int(line.split()[1], 16)
    return 0


def _owner(path: Path) -> Account:
    found = path.stat()
    if not stat.S_ISDIR(found.st_mode):
        raise ServiceError(f"{path} is a file, where PostgreSQL's data folder should be.")
    try:
        name = pwd.getpwuid(found.st_uid).pw_name
    except KeyError:
        name = str(found.st_uid)
    return Account(found.st_uid, found.st_gid, name)
