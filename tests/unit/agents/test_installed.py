"""Finding the programs of agents, their versions, and how to get those that are missing."""

from __future__ import annotations

import json

import pytest

from storage.exceptions import InputError
from tasks.agents import installed
from tasks.agents.claude import ClaudeAgent
from tasks.config.model import AgentSettings


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("GREENLINE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def program(path, target=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    if target is None:
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    else:
        program(target)
        path.symlink_to(target)
    return path


def agent(*command):
    return ClaudeAgent(AgentSettings("sonnet", "claude", command))


def test_a_program_is_found_where_it_is_installed_and_on_path_first(tmp_path, home):
    assert installed.find("claude") is None
    own = program(home / "agents/claude/bin/claude")
    assert installed.find("claude") == own
    on_path = program(tmp_path / "bin/claude")
    assert installed.find("claude") == on_path
    assert installed.find(str(own)) == own


def test_a_program_of_the_repository_is_none(tmp_path, monkeypatch):
    """Neither a relative path nor a relative folder of PATH reaches into a worktree."""
    program(tmp_path / "work/claude")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("PATH", ".:")
    assert installed.find("claude") is None
    assert installed.find("./claude") is None
    with pytest.raises(InputError, match="absolute path"):
        agent("./claude").require_program()


def test_the_version_of_what_npm_installed(tmp_path):
    package = tmp_path / "lib/node_modules/@anthropic-ai/claude-code"
    found = program(tmp_path / "bin/claude", package / "bin/claude.exe")
    (package / "package.json").write_text(json.dumps({"version": "2.1.197"}))
    assert installed.version_of(found) == "2.1.197"


def test_the_version_of_what_pip_installed(tmp_path):
    found = program(tmp_path / "bin/aider", tmp_path / "venv/bin/aider")
    (tmp_path / "venv/lib/python3.12/site-packages/aider_chat-0.86.2.dist-info").mkdir(parents=True)
    assert installed.version_of(found) == "0.86.2"


def test_the_version_of_what_claude_installed_by_itself(tmp_path):
    found = program(tmp_path / "bin/claude", tmp_path / "share/claude/versions/2.1.200")
    assert installed.version_of(found) == "2.1.200"


def test_another_version_is_another_agent(tmp_path):
    """Its fingerprint changes, so nothing that the old one did is taken for its work."""
    found = program(tmp_path / "bin/claude")
    before = agent().fingerprint()
    assert agent().fingerprint() == before
    found.write_text("#!/bin/sh\n# newer\n")
    assert agent().fingerprint() != before
    assert installed.version_of(tmp_path / "gone") is None


def test_what_is_missing_is_told_with_how_to_get_it(home, monkeypatch):
    with pytest.raises(InputError, match="npm install --global --prefix"):
        agent().check(None, None, None)
    assert f"{home}/agents/aider" in installed.how_to_install("aider")
    assert "on PATH" in installed.how_to_install("goose")


def test_a_missing_key_is_told_before_a_run(tmp_path, monkeypatch):
    program(tmp_path / "bin/claude")
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    with pytest.raises(InputError, match="set ANTHROPIC_API_KEY"):
        agent().check(None, None, None)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "a-secret-key")
    agent().check(None, None, None)
    assert "a-secret-key" not in json.dumps(agent().describe())
