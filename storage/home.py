"""The folder that everything of one Greenline user lives in (`GREENLINE_HOME`)."""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from storage.exceptions import InputError

ENVIRONMENT_VARIABLE = "GREENLINE_HOME"
DEFAULT_NAME = ".greenline"
PRIVATE_FOLDER = 0o700
PRIVATE_FILE = 0o600
OPEN_TO_OTHERS = stat.S_IRWXG | stat.S_IRWXO

# What tells a home of ours from a folder that somebody named by mistake.
_SUBFOLDERS = (
    "postgres", "prefect", "projects", "sandboxes", "logs", "demo", "services", "exports",
    "reports", "acceptance", "skills", "agents", "pushes", "mirrors",
)  # fmt: skip


@dataclass(frozen=True)
class Home:
    """Where the data of one user lies: ledger, Prefect's database, clones, sandboxes, logs.

    Nothing is made by constructing it; :meth:`ensure` makes the folder. Folders in it are 0700
    and files 0600, whatever the umask, because the ledger's passwords and the agents' transcripts
    are here.

    Attributes:
        path: the folder, absolute.
    """

    path: Path

    @classmethod
    def current(cls) -> Home:
        """Return the home that `GREENLINE_HOME` names, or `~/.greenline`; nothing is created.

        Raises:
            InputError: there is no home folder to put it in, or `~somebody` does not exist.
        """
        named = os.environ.get(ENVIRONMENT_VARIABLE, "")
        if not named:
            return cls(_user_home() / DEFAULT_NAME)
        if named == "~" or named.startswith("~/"):
            return cls(Path(os.path.abspath(_user_home() / named[2:])))  # noqa: PTH100
        try:
            expanded = Path(named).expanduser()
        except RuntimeError as error:
            raise InputError(
                f"{ENVIRONMENT_VARIABLE}={named!r} starts with the name of a user who does not "
                "exist here. Name a folder by its absolute path."
            ) from error
        # abspath, not resolve: a symbolic link that the user made is the name to show.
        return cls(Path(os.path.abspath(expanded)))  # noqa: PTH100

    def ensure(self) -> Home:
        """Make the folder (0700, with its parents where they are missing) and return this home.

        A folder that is there is taken when it is private, empty or a home already; a folder with
        other things in it that others can look into is refused rather than closed to them, so
        that `GREENLINE_HOME=/tmp` breaks nothing.

        Raises:
            InputError: a file is there, it belongs to somebody else, it cannot be written, or it
                is open to others and holds other things.
        """
        try:
            self.path.mkdir(mode=PRIVATE_FOLDER, parents=True)
        except FileExistsError:
            self._check_existing()
        except OSError as error:
            raise InputError(
                f"{self.path} cannot be created: {error.strerror}. {self._elsewhere()}"
            ) from error
        return self

    @property
    def postgres(self) -> Path:
        """The embedded PostgreSQL: data and passwords."""
        return self.path / "postgres"

    @property
    def prefect(self) -> Path:
        """`PREFECT_HOME` of the local Prefect server and of our flows."""
        return self.path / "prefect"

    @property
    def projects(self) -> Path:
        """Greenline's own clones of the projects it works on."""
        return self.path / "projects"

    @property
    def sandboxes(self) -> Path:
        """The worktrees and private folders of running steps."""
        return self.path / "sandboxes"

    @property
    def logs(self) -> Path:
        """Logs of the services."""
        return self.path / "logs"

    @property
    def demo(self) -> Path:
        """The repository that the demo works on."""
        return self.path / "demo"

    @property
    def services(self) -> Path:
        """Locks and records of the running services."""
        return self.path / "services"

    def folder(self, path: Path) -> Path:
        """Make `path`, a folder inside this home, private and the home owner's; return it.

        Raises:
            InputError: it cannot be created, for instance because a file has its name.
        """
        self.ensure()
        missing = []
        at = path
        while at != self.path and not at.is_dir():
            missing.append(at)
            at = at.parent
        for each in reversed(missing):
            try:
                each.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
                self.give_to_owner(each)
            except OSError as error:
                raise InputError(f"{each} cannot be created: {error.strerror}.") from error
        return path

    def give_to_owner(self, path: Path) -> None:
        """Let the home's owner own `path` too, when root works in somebody else's home."""
        if os.geteuid() == 0:
            owner = self.path.stat()
            if owner.st_uid != 0:
                os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)

    def _check_existing(self) -> None:
        try:
            found = self.path.stat()
        except OSError as error:
            raise InputError(
                f"{self.path} cannot be used: {error.strerror}. {self._elsewhere()}"
            ) from error
        if not stat.S_ISDIR(found.st_mode):
            raise InputError(f"{self.path} is a file, not a folder. {self._elsewhere()}")
        if os.geteuid() not in {0, found.st_uid}:
            raise InputError(
                f"{self.path} belongs to {_user_name(found.st_uid)}, and this is "
                f"{_user_name(os.geteuid())}. {self._elsewhere()}"
            )
        if not os.access(self.path, os.R_OK | os.W_OK | os.X_OK):
            raise InputError(f"{self.path} cannot be written. {self._elsewhere()}")
        if found.st_mode & OPEN_TO_OTHERS:
            self._close_to_others(found)

    def _close_to_others(self, found: os.stat_result) -> None:
        names = {entry.name for entry in os.scandir(self.path)}
        if names and names.isdisjoint(_SUBFOLDERS):
            raise InputError(
                f"{self.path} holds other things and is open to other users (mode "
                f"{stat.S_IMODE(found.st_mode):04o}); Greenline keeps its data in a folder of its "
                f"own. Set {ENVIRONMENT_VARIABLE} to a new folder, for instance "
                f"{self.path / 'greenline'}."
            )
        self.path.chmod(PRIVATE_FOLDER)

    def _elsewhere(self) -> str:
        return f"Set {ENVIRONMENT_VARIABLE} to a folder that you can write."


def _user_home() -> Path:
    """Return the user's home folder: `HOME`, else what the system's list of users says."""
    named = os.environ.get("HOME", "")
    if not named:
        try:
            named = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError as error:
            raise InputError(
                f"HOME is not set and the system knows no home folder for user {os.getuid()}. "
                f"Set {ENVIRONMENT_VARIABLE} to a folder that you can write."
            ) from error
    return Path(os.path.abspath(named))  # noqa: PTH100


def _user_name(uid: int) -> str:
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"
