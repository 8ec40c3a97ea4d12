"""Which adapters there are. A new one is a module and a line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storage.exceptions import InputError
from tasks.agents.acp import AcpAgent
from tasks.agents.aider import AiderAgent
from tasks.agents.claude import ClaudeAgent
from tasks.agents.codex import CodexAgent
from tasks.agents.command import CommandAgent
from tasks.agents.direct import DirectAgent
from tasks.agents.replay import ReplayAgent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tasks.agents.base import Agent
    from tasks.config import AgentSettings, Settings

ADAPTERS: Mapping[str, Callable[[AgentSettings], Agent]] = {
    "acp": AcpAgent,
    "aider": AiderAgent,
    "claude": ClaudeAgent,
    "codex": CodexAgent,
    "command": CommandAgent,
    "direct": DirectAgent,
    "replay": ReplayAgent,
}


def make_agent(name: str, settings: Settings) -> Agent:
    """Make the agent that the settings, or an adapter that needs none, have under a name.

    Raises:
        InputError: there is no such agent; the message says which there are.
    """
    agent = settings.agent(name)
    if agent.adapter not in ADAPTERS:
        raise InputError(
            f"the adapter {agent.adapter!r} is not available; there are: {', '.join(ADAPTERS)}"
        )
    return ADAPTERS[agent.adapter](agent)
