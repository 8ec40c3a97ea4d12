"""Git hooks that tell Greenline of pushes and commits: put in place, taken away, looked at.

A hook of the user's is kept beside ours under another name and run first, with what git gives it;
its exit code is the hook's. Ours never delays and never fails what git does.
"""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from storage.exceptions import InputError
from storage.supervision import write_private
from tasks.git import as_user, decode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from storage.home import Home

KINDS: Final = ("post-receive", "post-commit", "pre-push")
MARK: Final = "# greenline-hook"
KEPT: Final = ".before-greenline"
_API_VARIABLE: Final = "PREFECT_API_URL"
_CODE: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Place:
    """A repository as far as hooks go; it may have no commit yet.

    Attributes:
        path: the top of the checkout, or the bare repository.
        folder: where git looks for hooks, by `core.hooksPath` too.
        bare: it has no checkout.
    """

    path: Path
    folder: Path
    bare: bool

    @classmethod
    def of(cls, repo: Path) -> Place:
        """Find the repository that a folder is in.

        Raises:
            InputError: there is none, or its hooks are not its own.
        """
        if not repo.is_dir():
            raise InputError(f"{repo} is no folder; give the folder of a git repository")

        def asked(*words: str) -> str:
            done = as_user(repo, "rev-parse", "--path-format=absolute", *words)
            if done.status != 0:
                raise InputError(f"{repo} is no git repository: {done.stderr.strip()}")
            return decode(done.stdout).removesuffix("\n")

        bare = asked("--is-bare-repository") == "true"
        common = Path(asked("--git-common-dir")).resolve()
        path = common if bare else Path(asked("--show-toplevel")).resolve()
        folder = Path(asked("--git-path", "hooks"))
        real = folder.resolve()
        if not any(real.is_relative_to(own) for own in (common, path)):
            raise InputError(
                f"the hooks of {path} lie in {folder} (core.hooksPath), which other repositories "
                "may share: a hook there would tell of all of them. Give this repository a folder "
                "of its own: git config core.hooksPath .git/hooks"
            )
        return cls(path, folder, bare)

    def kinds(self) -> tuple[str, ...]:
        """The hooks that go with such a repository."""
        return ("post-receive",) if self.bare else ("post-commit", "pre-push")


@dataclass(frozen=True)
class Hook:
    """One hook of a repository.

    Attributes:
        kind: which one.
        path: its file.
        installed: it is Greenline's.
        current: it is as this Greenline, with this home, would write it.
        kept: the user's own hook that it runs first, None if there is none.
    """

    kind: str
    path: Path
    installed: bool
    current: bool
    kept: Path | None


def install(place: Place, home: Home, kinds: Sequence[str] = ()) -> list[Hook]:
    """Put hooks in place; those that are there already are brought up to date.

    Args:
        place: the repository.
        home: where what they tell is kept.
        kinds: which ones; by default those that go with the repository.

    Raises:
        InputError: a kind is none, the files cannot be written, or the user has two hooks of a
            kind by now: the one that was kept, and one in the place of ours.
    """
    home.folder(home.path / "pushes" / "waiting")
    for kind in _known(kinds or place.kinds()):
        path = place.folder / kind
        kept = path.with_name(kind + KEPT)
        try:
            place.folder.mkdir(parents=True, exist_ok=True)
            if os.path.lexists(path) and not _is_ours(path):
                if os.path.lexists(kept):
                    raise InputError(
                        f"{path} was put in the place of Greenline's hook, and {kept} is another "
                        "one that was there before; make one of the two, and remove the other"
                    )
                path.rename(kept)
            _write(home, path, script(kind, home))
        except OSError as error:
            raise InputError(f"{path} cannot be written: {error.strerror}") from error
    return status(place, home)


def uninstall(place: Place, home: Home, kinds: Sequence[str] = ()) -> list[Hook]:
    """Take hooks away and put back what was there before; hooks of others stay.

    Raises:
        InputError: a kind is none, or the files cannot be written.
    """
    for kind in _known(kinds or KINDS):
        path = place.folder / kind
        kept = path.with_name(kind + KEPT)
        try:
            if not _is_ours(path):
                continue
            if os.path.lexists(kept):
                kept.replace(path)
            else:
                path.unlink()
        except OSError as error:
            raise InputError(f"{path} cannot be changed: {error.strerror}") from error
    return status(place, home)


def status(place: Place, home: Home) -> list[Hook]:
    """Say of each kind of hook how it stands."""
    found = []
    for kind in KINDS:
        path = place.folder / kind
        kept = path.with_name(kind + KEPT)
        ours = _is_ours(path)
        current = ours and path.read_text(encoding="utf-8") == script(kind, home)
        found.append(Hook(kind, path, ours, current, kept if os.path.lexists(kept) else None))
    return found


def script(kind: str, home: Home) -> str:
    """Return the text of a hook.

    Where Greenline, its home and a Prefect server of the user's own are, is written into it: what
    git's caller has in the environment does not matter.
    """
    template = resources.files("tasks.pushes").joinpath("hook.sh").read_text("utf-8")
    values = {
        "KIND": kind,
        "PYTHON": sys.executable,
        "CODE": str(_CODE),
        "HOME_FOLDER": str(home.path),
        "API": _users_api(home),
    }
    for name, value in values.items():
        template = template.replace(f"@{name}@", shlex.quote(value))
    return template


def _users_api(home: Home) -> str:
    """The Prefect server that the environment names, unless it is the home's own; no password."""
    named = os.environ.get(_API_VARIABLE, "").strip()
    if not named or os.environ.get("PREFECT_HOME") == str(home.prefect):
        return ""
    parts = urlsplit(named)
    if parts.username or parts.password:
        raise InputError(
            f"{_API_VARIABLE} has a password in it, which would be written into the hook; put it "
            "into PREFECT_API_AUTH_STRING"
        )
    return named


def _known(kinds: Sequence[str]) -> Sequence[str]:
    for kind in kinds:
        if kind not in KINDS:
            raise InputError(f"{kind!r} is no hook of Greenline's; {', '.join(KINDS)} are")
    return kinds


def _is_ours(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return MARK.encode() in file.read(200)
    except OSError:
        return False


def _write(home: Home, path: Path, text: str) -> None:
    """Write a hook at once or not at all; whoever may push may run it."""
    write_private(home, path, text)
    path.chmod(0o755)
    owner = path.parent.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.chown(path, owner.st_uid, owner.st_gid)
