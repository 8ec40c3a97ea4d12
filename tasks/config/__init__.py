"""Settings of a project: `greenline.toml` (or `[tool.greenline]`), the environment laid over it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from pydantic import ValidationError

from tasks.config.commands import expand_command
from tasks.config.environment import overlay
from tasks.config.model import (
    ADAPTERS,
    FILE_NAME,
    AgentSection,
    AgentSettings,
    Delivery,
    Limits,
    ProjectSettings,
    Roles,
    Settings,
    agent_problem,
)
from tasks.problems import DocumentError, Location, Problem, known_keys, path_of, problems_of

__all__ = [
    "ADAPTERS",
    "FILE_NAME",
    "AgentSettings",
    "ConfigError",
    "Delivery",
    "Limits",
    "ProjectSettings",
    "Roles",
    "Settings",
    "expand_command",
    "load_settings",
    "pyproject_section",
]

PYPROJECT = "pyproject.toml"
_BUDGETS = ("step_tokens", "step_usd", "run_tokens", "run_usd", "week_tokens", "week_usd")
_LIMITS_AT_TOP = ("on_stuck", "transient", "fence", "fence_readable", "fence_writable")
_LISTS = ("lint", "typecheck", "build", "command", "env", "fence_readable", "fence_writable")
_NUMBERS = (
    "timeout_s",
    "attempts",
    "agent_timeout_s",
    "context_tokens",
    "approval_timeout_s",
    "transient",
    *_BUDGETS,
)
_AGENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_SECTIONS = {
    "project": known_keys(ProjectSettings),
    "roles": known_keys(Roles),
    "limits": known_keys(Limits),
    "delivery": known_keys(Delivery),
}
_ELSEWHERE = {
    **{key: ("limits", key) for key in _LIMITS_AT_TOP},
}


class ConfigError(DocumentError):
    """The settings cannot be used; `problems` holds everything that is wrong with them."""


def load_settings(toml_text: str | None, source: str, environ: Mapping[str, str]) -> Settings:
    """Return the settings in a TOML text with those of the environment laid over them.

    Args:
        toml_text: the text; None: there is no file. Of a `pyproject.toml` the table
            `[tool.greenline]` counts.
        source: the file's name, for error messages and to tell a `pyproject.toml`.
        environ: the environment's variables; those that begin with GREENLINE_ are looked at.

    Raises:
        ConfigError: something is wrong; all problems are in it.
    """
    data, prefix = _table(toml_text, source)
    found = list(_limits_moved_down(data))
    merged, origins, wrong_variables = overlay(
        data,
        environ,
        sections=_SECTIONS,
        elsewhere=_ELSEWHERE,
        agent_keys=known_keys(AgentSection),
        list_keys=_LISTS,
        number_keys=_NUMBERS,
    )
    found += _agent_problems(merged)
    found += _not_available(merged)
    settings = None
    try:
        settings = Settings.model_validate(merged)
    except ValidationError as error:
        found += problems_of(error, Settings)
    problems = [Problem(_place(at, origins, prefix), text) for at, text in found]
    problems += wrong_variables
    if settings is None or problems:
        raise ConfigError(source, list(dict.fromkeys(problems)))
    return settings


def pyproject_section(pyproject_text: str) -> str | None:
    """Return the text of a `pyproject.toml` if it has a table `[tool.greenline]`, else None.

    Raises:
        ConfigError: the text speaks of Greenline and cannot be read.
    """
    if "greenline" not in pyproject_text:
        return None
    return pyproject_text if _table(pyproject_text, PYPROJECT)[0] else None


def _table(toml_text: str | None, source: str) -> tuple[dict[str, Any], str]:
    """Return the settings of a text, and what their paths begin with in it."""
    try:
        data = tomllib.loads((toml_text or "").removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(source, [Problem("", f"is no valid TOML: {error}")]) from None
    if PurePath(source).name != PYPROJECT:
        return data, ""
    tool = data.get("tool")
    table = tool.get("greenline", {}) if isinstance(tool, dict) else {}
    if not isinstance(table, dict):
        message = "must be a table: write [tool.greenline]"
        raise ConfigError(source, [Problem("tool.greenline", message)])
    return table, "tool.greenline."


def _limits_moved_down(data: dict[str, Any]) -> Iterator[tuple[Location, str]]:
    """Move limits that stand outside their section into it; yield those given twice."""
    for key in _LIMITS_AT_TOP:
        if key not in data:
            continue
        limits = data.setdefault("limits", {})
        if not isinstance(limits, dict):
            return
        if key in limits:
            yield (key,), f"is given in [limits] too: keep that one ({limits[key]!r})"
        limits.setdefault(key, data[key])
        del data[key]


def _not_available(data: dict[str, Any]) -> Iterator[tuple[Location, str]]:
    """Take out and yield what the design has and this version has not."""
    for section, key, value, instead in (
        ("delivery", "mode", "pull-request", '"branch" or "merge"'),
    ):
        table = data.get(section)
        if isinstance(table, dict) and table.get(key) == value:
            del table[key]
            yield (section, key), f"'{value}' is not available in this version: write {instead}"


def _agent_problems(data: Mapping[str, Any]) -> Iterator[tuple[Location, str]]:
    """Yield what is wrong with agents' names and with the roles that name agents."""
    agents, roles = data.get("agents"), data.get("roles")
    names = list(agents) if isinstance(agents, dict) else []
    for name in names:
        section = agents[name] if isinstance(agents, dict) else None
        adapter = section.get("adapter") if isinstance(section, dict) else None
        if not _AGENT_NAME.fullmatch(name):
            yield (
                ("agents", name),
                "is no name for an agent: use letters, digits, '-', '_' and '.', at most 64",
            )
        elif name in ADAPTERS and adapter != name:
            yield (
                ("agents", name),
                f"'{name}' is an adapter's name, so an agent of another adapter needs another name",
            )
    for role in known_keys(Roles):
        player = roles.get(role) if isinstance(roles, dict) else None
        problem = agent_problem(player, names) if isinstance(player, str) and player else None
        if problem:
            yield ("roles", role), problem


def _place(location: Location, origins: Mapping[Location, str], prefix: str) -> str:
    """Return where a person finds a setting: in a variable or in the file."""
    for end in range(len(location), 0, -1):
        if location[:end] in origins:
            return origins[location[:end]] + path_of(location[end:])
    return prefix + path_of(location)
