"""Where the programs of agents are, in which version, and how to get those that are missing.

Each is installed in an environment of its own, below `agents` in GREENLINE_HOME or anywhere on
PATH, and never in Greenline's: aider alone pins a hundred packages.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from storage.home import Home

FOLDER: Final = "agents"
"""Of GREENLINE_HOME: `agents/<program>/bin/<program>`."""

_VERSION: Final = re.compile(r"\d+(?:\.\d+)+")


@dataclass(frozen=True)
class Source:
    """Where a program comes from.

    Attributes:
        package: its name in the registry.
        registry: npm or pypi.
    """

    package: str
    registry: str


KNOWN: Final[Mapping[str, Source]] = {
    "aider": Source("aider-chat", "pypi"),
    "claude": Source("@anthropic-ai/claude-code", "npm"),
    "codex": Source("@openai/codex", "npm"),
    "opencode": Source("opencode-ai", "npm"),
}
"""The programs that the adapters know by name; `opencode` is one of those that `acp` can drive."""


def find(program: str) -> Path | None:
    """Return where a program is: on PATH, else where :func:`how_to_install` puts it.

    Only absolute folders of PATH count: a relative one would be the repository's.

    Args:
        program: its name, or its absolute path.
    """
    if "/" in program:
        return Path(program) if program.startswith("/") and shutil.which(program) else None
    folders = [one for one in os.environ.get("PATH", os.defpath).split(":") if one.startswith("/")]
    own = Home.current().path / FOLDER / program / "bin"
    found = shutil.which(program, path=":".join([*folders, str(own)]))
    return Path(found) if found else None


def version_of(program: Path) -> str | None:
    """Return the version of a program that npm or pip installed, without running it."""
    try:
        real = program.resolve(strict=True)
        return _version(real, real.stat().st_mtime_ns)
    except OSError:
        return None


def stamp_of(program: Path) -> str | None:
    """Return what tells a program from its next version: that, or its file's size and time."""
    version = version_of(program)
    if version is not None:
        return version
    try:
        stat = program.stat()
    except OSError:
        return None
    return f"{stat.st_size}:{stat.st_mtime_ns}"


def how_to_install(program: str) -> str:
    """Return a command that installs a program in an environment of its own."""
    source = KNOWN.get(program)
    if source is None:
        return f"install {program} so that it is on PATH, or name it by its absolute path"
    folder = Home.current().path / FOLDER / program
    if source.registry == "npm":
        return f"npm install --global --prefix '{folder}' {source.package}"
    return (
        f"python3.12 -m venv '{folder}' && '{folder}/bin/pip' install {source.package} "
        "(any Python from 3.10 to 3.12)"
    )


@cache
def _version(real: Path, _stamp: int) -> str | None:
    """Read the version that was installed; once for each time that the file was written."""
    if _VERSION.fullmatch(real.name):  # Claude's own installer names the file so
        return real.name
    if "node_modules" in real.parts:
        for folder in real.parents:
            if folder.name == "node_modules":
                break
            if (version := _of_package(folder / "package.json")) is not None:
                return version
    source = KNOWN.get(real.name)
    name = (source.package if source else real.name).replace("-", "_")
    for folder in real.parent.parent.glob(f"lib/python3*/site-packages/{name}-*.dist-info"):
        return folder.name.removeprefix(f"{name}-").removesuffix(".dist-info")
    return None


def _of_package(path: Path) -> str | None:
    try:
        version = json.loads(path.read_text(encoding="utf-8"))["version"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return version if isinstance(version, str) else None
