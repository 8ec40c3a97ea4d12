"""The fence: what of this machine a program that nobody trusts can see, change and reach.

Agents, tests and the project's other commands are put into namespaces of their own by bubblewrap,
where it is installed. They see the system read-only and without anybody's home; they can write
their sandbox, their private HOME and temporary files that nobody else sees; they have no network,
save, for an agent, its model through the metering proxy. See docs/fence.md.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from storage.home import Home
from tasks.fence.available import Bubblewrap
from tasks.fence.toolchain import is_there, needed_by

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

TEMPORARY: Final = tuple(map(Path, ("/tmp", "/var/tmp", "/dev/shm")))  # noqa: S108 - to be hidden
"""Folders that everybody may write; in the fence they are empty, writable and nobody else's."""

_HIDDEN: Final = (Path("/root"), Path("/home"), Path("/run"), *TEMPORARY)
#: What root can read though it has no privileges left: it owns them.
_SECRETS: Final = tuple(
    map(Path, ("/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/ssh"))
)
#: Of the hidden /run: what other folders' links lead to.
_OF_RUN: Final = tuple(map(Path, ("/etc/resolv.conf", "/run/current-system", "/run/opengl-driver")))
#: Of /dev there are the usual few; a further one (a GPU, say) is one to be used.
_BINDING: Final = {Path("/dev"): "--dev-bind"}
#: What root could set for the whole machine though it has no privileges left: it owns it.
#: (bubblewrap covers some of it, but takes /proc/sys for one that cannot be written anyway.)
_OF_THE_KERNEL: Final = tuple(
    Path("/proc", name) for name in ("sys", "sysrq-trigger", "irq", "bus", "fs", "acpi", "scsi")
)
_NAMESPACES: Final = ("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try")


@dataclass(frozen=True)
class Fence:
    """What the fence around a program lets through.

    Attributes:
        bubblewrap: the program that puts it up.
        readable: paths in hidden folders that can be read all the same.
        writable: paths that can be written.
        network: the program has this machine's network; else a loopback of its own.
        port: without a network, the one port of our loopback that it can reach.
    """

    bubblewrap: Bubblewrap
    readable: tuple[Path, ...] = ()
    writable: tuple[Path, ...] = ()
    network: bool = False
    port: int | None = None

    def opened(
        self, *writable: Path, network: bool | None = None, port: int | None = None
    ) -> Fence:
        """Return it with more let through: folders to write, the network, a port."""
        return replace(
            self,
            writable=(*self.writable, *writable),
            network=self.network if network is None else network,
            port=port,
        )

    def words(self, argv: Sequence[str], cwd: Path, env: Mapping[str, str]) -> list[str]:
        """Return the words of a command that come before a program's own to run it fenced.

        Args:
            argv: the program and its arguments.
            cwd: where it works.
            env: its environment.
        """
        hidden = hidden_folders()
        view = _View(hidden)
        for path in (*self.readable, *needed_by(argv, cwd, env, hidden)):
            view.show(path)
        for path in _OF_RUN:
            view.show(path)
        for path in self.writable:
            view.show(path, writable=True)
        return [
            str(self.bubblewrap.path),
            *_NAMESPACES,
            *(() if self.network else ("--unshare-net",)),
            *("--cap-drop", "ALL"),
            *("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"),
            *(w for at in _OF_THE_KERNEL if at.exists() for w in ("--ro-bind", f"{at}", f"{at}")),
            *view.words(),
            *("--chdir", str(cwd.resolve())),
        ]


class _View:
    """The mounts that make of the whole system what a program is to see of it."""

    def __init__(self, hidden: Sequence[Path]) -> None:
        self._hidden = hidden
        self._mounts: dict[Path, tuple[int, str]] = {}  # where, rank among those there, how
        self._links: dict[Path, Path] = {}

    def show(self, path: Path, *, writable: bool = False) -> None:
        """Show a path that lies in a hidden folder, or have one be written wherever it lies."""
        real = path.resolve()
        if not is_there(real):
            return
        if writable or self._is_hidden(real):
            how = (2, _BINDING.get(real.parent, "--bind")) if writable else (1, "--ro-bind")
            self._mounts[real] = max(self._mounts.get(real, (0, "")), how)
        if path != real and self._is_hidden(path):
            self._links[path] = real

    def _is_hidden(self, path: Path) -> bool:
        return any(path.is_relative_to(folder) for folder in self._hidden)

    def _is_shown_anyway(self, path: Path, rank: int) -> bool:
        """Say whether the folder that a path lies in shows it, and lets it be written if so."""
        around = [at for at in (*self._hidden, *self._mounts) if at != path and at in path.parents]
        nearest = max(around, key=lambda at: len(at.parts), default=Path("/"))
        return nearest in self._mounts and self._mounts[nearest][0] >= rank

    def words(self) -> list[str]:
        """Return them in order: a folder before what lies in it, and what hides before the rest."""
        todo = [(len(folder.parts), 0, "--tmpfs", folder) for folder in self._hidden]
        todo += [
            (len(at.parts), rank, how, at)
            for at, (rank, how) in self._mounts.items()
            if not self._is_shown_anyway(at, rank)
        ]
        words: list[str] = []
        for _, rank, how, at in sorted(todo, key=lambda one: (one[0], one[1], one[3])):
            words += [how, str(at)] if rank == 0 else [how, str(at), str(at)]
        for link, real in self._links.items():
            if not any(link.is_relative_to(at) for at in self._mounts):
                words += ["--symlink", str(real), str(link)]
        for secret in _SECRETS:
            if os.access(secret, os.R_OK):
                words += ["--tmpfs", str(secret)] if secret.is_dir() else [
                    "--ro-bind", os.devnull, str(secret)
                ]  # fmt: skip
        # Whoever writes there is to hear that it is no use.
        temporary = {folder.resolve() for folder in TEMPORARY}
        for folder in self._hidden:
            if folder not in temporary and folder not in self._mounts:
                words += ["--remount-ro", str(folder)]
        return words


def hidden_folders() -> tuple[Path, ...]:
    """Return the folders that are hidden: homes, what runs, what is temporary; real paths."""
    home = os.environ.get("HOME", "")
    named: Iterable[Path] = (
        *_HIDDEN,
        *((Path(home),) if home.startswith("/") and home != "/" else ()),
        Home.current().path,
    )
    return tuple(sorted({folder.resolve() for folder in named if folder.is_dir()}))
