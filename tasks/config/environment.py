"""Settings from the environment: `GREENLINE_` + section + key, laid over what the file says.

`GREENLINE_LIMITS_ATTEMPTS=5`, `GREENLINE_ROLES_TARAAIDER=replay`,
`GREENLINE_AGENTS_ORACLE_COMMAND='["python", "oracle.py"]'`. An empty variable counts as not set;
lists are written as JSON. Variables that name no section (`GREENLINE_HOME`) are somebody else's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from tasks.problems import Location, Problem, did_you_mean, received

PREFIX = "GREENLINE_"


def overlay(
    data: Mapping[str, Any],
    environ: Mapping[str, str],
    *,
    sections: Mapping[str, Sequence[str]],
    elsewhere: Mapping[str, tuple[str, ...]],
    agent_keys: Sequence[str],
    list_keys: Sequence[str],
    number_keys: Sequence[str],
) -> tuple[dict[str, Any], dict[Location, str], list[Problem]]:
    """Lay the environment's settings over a file's.

    Args:
        data: what the file says; not changed.
        environ: the environment's variables.
        sections: the keys of each section, as the file spells them.
        elsewhere: keys that may be named without their section, and their place.
        agent_keys: the keys of an agent's settings.
        list_keys: the keys whose values are lists.
        number_keys: the keys whose values are numbers.

    Returns:
        The settings, the variable that each overlaid setting came from, and the problems.
    """
    merged: dict[str, Any] = deepcopy(dict(data))
    origins: dict[Location, str] = {}
    problems: list[Problem] = []
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or not environ[variable].strip():
            continue
        name = variable[len(PREFIX) :]
        try:
            place = _place(name, merged, sections, elsewhere, agent_keys)
            if place is None:
                continue
            value: Any = environ[variable]
            if place[-1] in list_keys:
                value = _list(value)
            elif place[-1] in number_keys:
                value = _number(value)
        except ValueError as error:
            problems.append(Problem(variable, str(error)))
            continue
        if _put(merged, place, value):
            origins[tuple(place)] = variable
    return merged, origins, problems


def _place(
    name: str,
    data: Mapping[str, Any],
    sections: Mapping[str, Sequence[str]],
    elsewhere: Mapping[str, tuple[str, ...]],
    agent_keys: Sequence[str],
) -> tuple[str, ...] | None:
    """Return the setting that a variable names; None when it names none of any section.

    Raises:
        ValueError: it names a section, but no key of it.
    """
    for key, place in elsewhere.items():
        if name == key.upper():
            return place
    section, _, key = name.partition("_")
    if section == "AGENTS":
        return _agent_place(key, data, agent_keys)
    known = sections.get(section.lower())
    if known is None:
        return None
    for candidate in known:
        if key == candidate.upper():
            return (section.lower(), candidate)
    names = [candidate.upper() for candidate in known]
    hint = did_you_mean(key, names)
    raise ValueError(
        f"unknown key of section [{section.lower()}]{hint}; known here: "
        + ", ".join(f"{PREFIX}{section}_{each}" for each in names)
    )


def _agent_place(name: str, data: Mapping[str, Any], keys: Sequence[str]) -> tuple[str, ...]:
    """Return the agent's setting that `<AGENT>_<KEY>` names; a new agent gets a lower-case name."""
    # Both may have underscores: the longest key that the name ends with is meant.
    ends = [key for key in keys if name.endswith(f"_{key.upper()}")]
    key = max(ends, key=len, default="")
    agent = name.removesuffix(f"_{key.upper()}")
    if not agent or not key:
        endings = ", ".join(f"{PREFIX}AGENTS_<NAME>_{each.upper()}" for each in keys)
        raise ValueError(f"names no setting of an agent; known here: {endings}")
    agents = data.get("agents")
    for existing in agents if isinstance(agents, Mapping) else ():
        if re.sub(r"[^A-Z0-9]", "_", str(existing).upper()) == agent:
            return ("agents", str(existing), key)
    return ("agents", agent.lower(), key)


def _list(text: str) -> list[Any]:
    """Return a variable's value that is a list."""
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, list):
        raise ValueError(  # noqa: TRY004 - a wrong value of a variable, not of an argument
            f'must be a JSON list, such as ["first", "second"]; received {received(text)}'
        )
    return value


def _number(text: str) -> float | str:
    """Return a variable's value as a number; what is none is left to the setting's type."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _put(data: dict[str, Any], place: Sequence[str], value: Any) -> bool:
    """Put a value in its place; False where the file has no mapping there, a problem of its own."""
    for key in place[:-1]:
        inner = data.setdefault(key, {})
        if not isinstance(inner, dict):
            return False
        data = inner
    data[place[-1]] = value
    return True
