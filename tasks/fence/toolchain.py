"""What programs need of hidden folders: where they are installed, and the scripts they are given.

People keep interpreters and tools in their homes (pyenv, nvm, uv, cargo, virtual environments).
What PATH leads to, and what a command names by its absolute path, is shown; all else stays hidden.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from storage.home import Home

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_PROGRAMS: Final = frozenset({"bin", "sbin", "shims", "Scripts"})
_OF_INSTALLATIONS: Final = ("pyvenv.cfg", "lib", "lib64", "libexec")
#: Of a home: these hold far more than programs.
_TOO_MUCH: Final = (".local", ".cache", ".config")
_BASE: Final = re.compile(r"^home\s*=\s*(.+?)\s*$", re.MULTILINE)
_MOST_LINKS: Final = 40
_PACKAGES: Final = Path(__file__).resolve().parents[2]
"""Where Greenline itself lies: some of its own files are run in the fence."""


def needed_by(
    argv: Sequence[str], cwd: Path, env: Mapping[str, str], hidden: tuple[Path, ...]
) -> tuple[Path, ...]:
    """Return what a command needs of hidden folders.

    Args:
        argv: the program and its arguments.
        cwd: where it works.
        env: its environment: PATH, and what other variables name.
        hidden: the folders that are hidden, as real paths.
    """
    look = _Look(hidden)
    path = env.get("PATH", "")
    look.take(_on_path(path, hidden))
    word = argv[0]
    program = word if "/" in word else shutil.which(word, path=path)
    if program is not None:
        look.program(cwd / program)
    for given in argv:
        _, equals, value = given.partition("=")
        look.named(Path(value if equals and value.startswith("/") else given))
    for name, value in env.items():
        if name not in ("PATH", "HOME") and value.startswith("/"):
            look.named(Path(value))
    return look.found


@cache
def _on_path(path: str, hidden: tuple[Path, ...]) -> tuple[Path, ...]:
    """Return what all the programs on a PATH need, and Greenline's own Python."""
    look = _Look(hidden)
    beginnings = tuple(f"{one}/" for one in hidden)
    for name in path.split(os.pathsep):
        folder = Path(name)
        if not name.startswith("/"):
            continue
        try:
            entries = list(os.scandir(folder))
        except OSError:  # not there, or not for us: not for the program either
            continue
        look.folder(folder)
        for entry in entries:
            if entry.is_symlink() and _leads_away(entry.path, beginnings):
                look.program(Path(entry.path))
    look.program(Path(sys.executable))
    for own in (sys.prefix, sys.base_prefix):
        look.installation(Path(own) / "bin")
    for script in (_PACKAGES / "tasks" / "fence", _PACKAGES / "tasks" / "agents"):
        if look.is_hidden(script):
            look.take((script,))
    return look.found


def is_there(path: Path) -> bool:
    """Whether a path can be looked at: one in a folder that is closed to us cannot."""
    return os.path.exists(path)  # noqa: PTH110 - a Path raises for those


def _leads_away(link: str, hidden: tuple[str, ...]) -> bool:
    """Say whether a link leads to a hidden folder or into a virtual environment.

    Of the many links of a system next to none do: hence the haste, without a `Path`.
    """
    target = os.readlink(link)  # noqa: PTH115
    if os.sep not in target:
        return False  # to its neighbour, which is looked at itself
    if os.path.join(os.path.dirname(link), target).startswith(hidden):  # noqa: PTH118, PTH120
        return True
    real = os.path.realpath(link)
    venv = os.path.join(real, os.pardir, os.pardir, "pyvenv.cfg")  # noqa: PTH118
    return real.startswith(hidden) or os.path.exists(os.path.normpath(venv))  # noqa: PTH110


class _Look:
    """Gathers what is to be shown of hidden folders."""

    def __init__(self, hidden: tuple[Path, ...]) -> None:
        self._hidden = hidden
        self._found: dict[Path, None] = {}
        self._home = Home.current().path.resolve()

    @property
    def found(self) -> tuple[Path, ...]:
        return tuple(self._found)

    def take(self, paths: Sequence[Path]) -> None:
        self._found.update(dict.fromkeys(paths))

    def is_hidden(self, path: Path) -> bool:
        return any(path.is_relative_to(folder) for folder in self._hidden)

    def folder(self, folder: Path) -> None:
        """Take a folder of programs."""
        for one in {folder, folder.resolve()}:
            if self.is_hidden(one):
                self.installation(one)

    def program(self, program: Path) -> None:
        """Take what a program needs, and the links on the way to it.

        Whoever can write the links cannot have more shown than installations of programs.
        """
        for at in _chain(program):
            if self.is_hidden(at) or self.is_hidden(at.parent.resolve()):
                if os.access(at, os.X_OK):
                    self.installation(_modules_of(at) or at.parent)
            elif is_there(at.parent.parent / "pyvenv.cfg"):
                self.installation(at.parent)  # itself in sight, but perhaps not its base

    def installation(self, folder: Path) -> None:
        """Take a folder of programs, with what is installed around it."""
        prefix = folder.parent
        whole = folder.name in _PROGRAMS and self._is_installation(prefix)
        taken = prefix if whole else folder
        if taken in self._found or not self._may_be_shown(taken):
            return
        if self.is_hidden(taken) or self.is_hidden(taken.resolve()):
            self._found[taken] = None
        if whole and (base := _base_of(prefix)) is not None and is_there(base):
            self.installation(base)
            self.installation(base.resolve())

    def named(self, path: Path) -> None:
        """Take what is named by its absolute path: a folder, or a file with the folder it lies in.

        Nothing of a home's own dot folders, where secrets are, and nothing of Greenline's home.
        """
        if not path.is_absolute() or not self.is_hidden(path):
            return
        is_folder = os.path.isdir(path)  # noqa: PTH112 - a Path raises where it may not look
        if not is_folder and not os.path.isfile(path):  # noqa: PTH113 - likewise
            return  # not there, or a socket
        real = path.resolve()  # of a link that leads out of what is hidden, no more than the link
        if real.is_relative_to(self._home) or self._is_private(path) or self._is_private(real):
            return
        for one in (path,) if is_folder else (path.parent, path):
            if self._may_be_shown(one.resolve()):
                self._found[one] = None
                return

    def _is_private(self, path: Path) -> bool:
        """Say whether it lies in a dot folder of a hidden one, where secrets are."""
        return any(
            part.startswith(".")
            for folder in self._hidden
            if path.is_relative_to(folder)
            for part in path.relative_to(folder).parts
        )

    def _is_installation(self, prefix: Path) -> bool:
        return self._may_be_shown(prefix.resolve()) and any(
            is_there(prefix / name) for name in _OF_INSTALLATIONS
        )

    def _may_be_shown(self, folder: Path) -> bool:
        """Say whether a folder is not one that holds homes, or much more than programs.

        One that holds Greenline's home may: that is hidden once more.
        """
        if any(one.is_relative_to(folder) for one in self._hidden if one != self._home):
            return False
        if folder.is_relative_to(self._home) and not folder.is_relative_to(self._home / "agents"):
            return False
        return not (folder.name in _TOO_MUCH and self._is_home(folder.parent))

    def _is_home(self, folder: Path) -> bool:
        return folder in self._hidden or folder.parent in self._hidden


def _modules_of(program: Path) -> Path | None:
    """Return the outermost `node_modules` that a program of npm's lies in, with all it needs."""
    parts = program.parts
    if "node_modules" not in parts:
        return None
    return Path(*parts[: parts.index("node_modules") + 1])


def _chain(path: Path) -> Iterator[Path]:
    """Yield a path and where the links lead, one after the other."""
    for _ in range(_MOST_LINKS):
        yield path
        try:
            path = path.parent / path.readlink()
        except OSError:
            break
    real = path.resolve()
    if real != path:
        yield real


def _base_of(prefix: Path) -> Path | None:
    """Return the folder of the Python that a virtual environment was made with."""
    try:
        found = _BASE.search((prefix / "pyvenv.cfg").read_text("utf-8", "replace"))
    except OSError:
        return None
    return Path(found.group(1)) if found and found.group(1).startswith("/") else None
