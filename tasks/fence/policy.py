"""What the settings make of the fence: whether there is one, what it lets through, what is told."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from storage.exceptions import ServiceError
from tasks.config.model import ADAPTERS
from tasks.fence import Fence
from tasks.fence.available import Bubblewrap, Unavailable, bubblewrap

if TYPE_CHECKING:
    from tasks.config import AgentSettings, Settings
    from tasks.sandbox.clone import ProjectClone


def fence_of(settings: Settings, clone: ProjectClone) -> Fence | None:
    """Return the fence around the tests in a project's sandboxes; None where there is none.

    Args:
        settings: the project's.
        clone: whose objects, and those it borrows, the sandboxes' `.git` leads to.

    Raises:
        ServiceError: the settings demand one, and there can be none here.
    """
    found = _found(settings)
    if not isinstance(found, Bubblewrap):
        return None
    limits = settings.limits
    return Fence(
        found,
        readable=(*clone.object_folders(), *_paths(limits.fence_readable)),
        writable=_paths(limits.fence_writable),
        network=settings.project.test_network,
    )


def fence_notes(settings: Settings) -> list[str]:
    """Return what a run is to tell of the fence before it begins: that there is none.

    Raises:
        ServiceError: the settings demand one, and there can be none here.
    """
    found = _found(settings)
    if not isinstance(found, Unavailable):
        return []
    told = f"agents and tests run without a fence: {found.why}; {found.mend}"
    return [f'{told}, or say that it is to be so with `fence = "off"`']


def network_policy(settings: Settings) -> dict[str, Any]:
    """Return, for the record of a sandbox, which network its programs have.

    `none`: a loopback of their own; `model`: that, and their model through the metering proxy;
    `host`: this machine's.
    """
    fenced = isinstance(_found(settings), Bubblewrap)
    players = (settings.roles.tara_aider, settings.roles.devon_aider)
    names = dict.fromkeys([*settings.agents, *(player for player in players if player)])
    agents = [settings.agent(name) for name in names]

    return {
        "fence": "bubblewrap" if fenced else None,
        "setup": "host",
        "tests": "host" if settings.project.test_network or not fenced else "none",
        "agents": {
            agent.name: _network(agent, fenced=fenced)
            for agent in agents
            if "network" in ADAPTERS[agent.adapter]  # the others run in Greenline itself
        },
    }


def _network(agent: AgentSettings, *, fenced: bool) -> str:
    if agent.network or not fenced:
        return "host"
    return "model" if agent.endpoint is not None else "none"


def _found(settings: Settings) -> Bubblewrap | Unavailable | None:
    """Return what the settings ask for, as far as it is there; None: they want no fence."""
    if settings.limits.fence == "off":
        return None
    found = bubblewrap()
    if isinstance(found, Unavailable) and settings.limits.fence == "on":
        raise ServiceError(
            f'fence = "on" cannot be had: {found.why}\n  what works: {found.mend}; or '
            '`fence = "auto"`, which goes without where there is none'
        )
    return found


def _paths(named: tuple[str, ...]) -> tuple[Path, ...]:
    return tuple(Path(one).expanduser() for one in named)
