"""What `greenline doctor` says of agents, their keys and their prices."""

from __future__ import annotations

import pytest

from flows.operation import doctor
from tasks.config.model import AgentSection, Settings


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("GREENLINE_HOME", str(tmp_path / "home"))
    return tmp_path


def test_an_agent_that_is_missing_is_no_fault_and_told_how_to_get(home):
    """Nobody needs them all."""
    found = doctor._program("codex")
    assert found.ok
    assert f"npm install --global --prefix '{home}/home/agents/codex' @openai/codex" in found.found


def test_an_agent_that_is_there_is_told_with_its_version(home):
    program = home / "home/agents/aider/bin/aider"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    lib = home / "home/agents/aider/lib/python3.12/site-packages/aider_chat-0.86.2.dist-info"
    lib.mkdir(parents=True)
    assert doctor._program("aider").found == f"0.86.2, {program}"


def test_an_agent_of_the_settings_has_to_be_there():
    """Else a run would end before it began."""
    settings = Settings(agents={"sonnet": AgentSection(adapter="claude")})
    found = doctor._agent("sonnet", settings)
    assert (found.ok, found.exit_code) == (False, 2)
    assert "npm install" in found.found


def test_keys_are_told_by_name_only(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-mine")
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    assert doctor._keys().found == "ANTHROPIC_API_KEY not set, OPENAI_API_KEY set"


def test_prices_that_hold_are_told_and_wrong_ones_too(home):
    assert "genai-prices" in doctor._prices().found
    (home / "home").mkdir()
    (home / "home/prices.toml").write_text("version = 1")
    found = doctor._prices()
    assert not found.ok
    assert "prices.toml" in found.found
