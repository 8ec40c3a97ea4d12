"""Agents that other people wrote, driven against the scripted model: where they are, one try of one.

`GREENLINE_TEST_AGENTS` names folders, with colons between, that have their programs; those on PATH
are used too. `.ci/run` installs some.
"""

from __future__ import annotations

import os
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

import pytest
from git import Repo

from tasks.agents.base import AgentResult, Assignment
from tasks.agents.installed import how_to_install
from tasks.agents.registry import ADAPTERS
from tasks.config.model import AgentSettings
from tasks.invocation import with_meter
from tasks.metering.meter import Meter
from tasks.metering.prices import Prices
from tasks.metering.proxy import proxy
from tests.model_server.server import ModelServer

VARIABLE = "GREENLINE_TEST_AGENTS"
#: Read when tests are collected: nothing of Greenline's is in the environment of a test.
PATH = ":".join(filter(None, (os.environ.get(VARIABLE), os.environ.get("PATH", os.defpath))))
KEY = "the-real-key-of-the-model"
KEY_VARIABLE = "REAL_AGENTS_MODEL_KEY"

#: The program of each adapter, and the model that it believes to ask.
PROGRAMS = {
    "direct": None,
    "claude": "claude",
    "codex": "codex",
    "aider": "aider",
    "acp": "opencode",
}
MODELS = {
    "direct": "scripted",
    "claude": "claude-sonnet-4-5",
    "codex": "gpt-5.5",
    "aider": "openai/gpt-5",  # its edits are blocks to search and replace; of unknown ones whole files
    "acp": "scripted",
}

BEFORE = "def to_roman(n):\n    raise NotImplementedError\n"
AFTER = "def to_roman(n):\n    return 'I' * n\n"
TEST = "from roman import to_roman\n\n\ndef test_three():\n    assert to_roman(3) == 'III'\n"
FILE = "src/roman.py"
PROMPT = f"Edit exactly one file: `{FILE}`. Make it count."


def needs(adapter):
    """Skip a test by name where an adapter's program is not installed."""
    program = PROGRAMS[adapter]
    missing = program is not None and shutil.which(program, path=PATH) is None
    how = f"{program} is not installed: {how_to_install(program)}" if missing else ""
    return pytest.mark.skipif(missing, reason=f"{how}; or name its folder in {VARIABLE}")


def agents(*adapters):
    """The adapters as parameters, each skipped where its program is missing."""
    return [pytest.param(adapter, marks=needs(adapter)) for adapter in adapters]


def in_toml(adapter):
    """The further settings of an agent with an adapter."""
    command = '\ncommand = ["opencode", "acp"]' if adapter == "acp" else ""
    return f'adapter = "{adapter}"\nmodel = "{MODELS[adapter]}"{command}'


@dataclass
class Try:
    """One invocation and what came of it."""

    result: AgentResult
    meter: Meter
    model: ModelServer
    worktree: Path

    @property
    def edited(self):
        """What the one file has now."""
        return (self.worktree / FILE).read_text()

    @property
    def told(self):
        """All texts that the model was sent."""
        return "\n".join(
            text
            for exchange in self.model.exchanges
            for text in (exchange.asked.system, *exchange.asked.prompts)
        )


class Bench:
    """Runs agents in a worktree of their own, with the real proxy and a scripted model."""

    def __init__(self, root):
        self.root = root
        self.worktree = root / "work tree"
        self.private = root / "private"

    def lay_out(self, files=()):
        """Make the worktree."""
        own = {FILE: BEFORE, "tests/test_roman.py": TEST}
        for path, content in {**own, **dict(files)}.items():
            target = self.worktree / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content)
        Repo.init(self.worktree)  # where one begins, agents look for what is meant for them
        self.private.mkdir()

    def agent(self, adapter, url):
        """The agent as settings would make it."""
        command = ("opencode", "acp") if adapter == "acp" else ()
        named = {"model": MODELS[adapter], "base_url": f"{url}/v1", "api_key_env": KEY_VARIABLE}
        api = {"claude": "anthropic"}.get(adapter, "openai")
        return ADAPTERS[adapter](AgentSettings("real", adapter, command, api=api, **named))

    def run(self, adapter, script, *, files=(), timeout_s=90, refused=False):
        """Have an agent work once; `refused`: nobody listens where its model should be."""
        self.lay_out(files)
        with ModelServer(script, api_key=KEY) as model:
            agent = self.agent(adapter, nobody() if refused else model.url)
            meter = Meter(agent.endpoint, prices=Prices())
            with proxy().metered(meter) as base_url:
                assignment = Assignment(
                    prompt=PROMPT,
                    worktree=self.worktree,
                    file_path=FILE,
                    step_type="implementation",
                    step_id=1,
                    subtask="roman",
                    attempt_no=1,
                    context_files=("tests/test_roman.py",),
                    timeout_s=timeout_s,
                    private=self.private,
                    base_url=base_url,
                )
                result = agent.run(assignment)
            return Try(with_meter(result, meter), meter, model, self.worktree)


def nobody():
    """An address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"http://127.0.0.1:{free.getsockname()[1]}"
