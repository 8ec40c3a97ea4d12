"""Whether bubblewrap is there and may do its work: found out by trying, once for each process."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

PROGRAM: Final = "bwrap"
_TRY_S: Final = 30.0

_INSTALL: Final = "install bubblewrap (apt-get install bubblewrap, dnf install bubblewrap)"
_ALLOW: Final = (
    "have this machine allow it: in a container `--cap-add SYS_ADMIN` with "
    "`--security-opt seccomp=unconfined`; on Ubuntu 24.04 and later an AppArmor profile for bwrap, "
    "or `sysctl kernel.apparmor_restrict_unprivileged_userns=0`; elsewhere "
    "`sysctl user.max_user_namespaces=10000`"
)


@dataclass(frozen=True)
class Bubblewrap:
    """The program that puts fences up; it was tried and works here."""

    path: Path


@dataclass(frozen=True)
class Unavailable:
    """There can be no fence here.

    Attributes:
        why: what was found, as a sentence without its full stop.
        mend: what would change that.
    """

    why: str
    mend: str


def bubblewrap() -> Bubblewrap | Unavailable:
    """Return the program if it works here, else why there is none."""
    folders = [one for one in os.environ.get("PATH", os.defpath).split(":") if one.startswith("/")]
    return _tried(shutil.which(PROGRAM, path=":".join(folders)))


@cache
def _tried(program: str | None) -> Bubblewrap | Unavailable:
    if program is None:
        return Unavailable("bubblewrap is not installed", _INSTALL)
    command = [
        program, "--unshare-all", "--cap-drop", "ALL", "--ro-bind", "/", "/", "--dev", "/dev",
        "--proc", "/proc", "--tmpfs", "/tmp", "--json-status-fd", "1",  # noqa: S108 - one of its own
        "--", "/bin/sh", "-c", ":",
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TRY_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Unavailable(f"{program} cannot be run: {error}", _INSTALL)
    if done.returncode == 0 and b'"exit-code": 0' in done.stdout:
        return Bubblewrap(Path(program))
    said = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it does not say why"]
    return Unavailable(f"{program} may not work here ({said[0]})", _ALLOW)
