"""The client of the Agent Client Protocol, with an agent that tries what it should not."""

from __future__ import annotations

import json
import sys
import time

import pytest

from tasks.agents.acp import AcpAgent
from tasks.agents.base import Assignment
from tasks.config.model import AgentSettings
from tasks.process.strays import end_programs_in

#: An agent of the protocol: plays the moves that a file of the worktree has, asks as real ones do.
AGENT = """
import json, os, sys, time, pathlib
moves = json.load(open(sys.argv[1]))
number = 100
def send(**m): print(json.dumps({"jsonrpc": "2.0", **m}), flush=True)
def ask(method, params):
    global number
    number += 1
    send(id=number, method=method, params=params)
    for line in sys.stdin:
        m = json.loads(line)
        if m.get("id") == number and "method" not in m: return m
def update(**u): send(method="session/update", params={"sessionId": "s", "update": u})
def play(move):
    kind = move["do"]
    if kind == "edit":
        path = move["path"]
        options = [{"optionId": "y", "kind": "allow_once"}, {"optionId": "n", "kind": "reject_once"}]
        tool = {"toolCallId": "c", "kind": move.get("kind", "edit"), "locations": [{"path": path}]}
        said = ask("session/request_permission", {"sessionId": "s", "toolCall": tool, "options": options})
        if said["result"]["outcome"]["optionId"] == "y": pathlib.Path(path).write_text(move["content"])
    elif kind in ("fs/write_text_file", "fs/read_text_file", "terminal/create"):
        said = ask(kind, move); update(sessionUpdate="agent_message_chunk", said=said)
    elif kind == "plant": pathlib.Path(move["path"]).write_text("planted")
    elif kind == "noise": print("not JSON at all", flush=True)
    elif kind == "child": os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "600")
    elif kind == "hang": time.sleep(600)
    elif kind == "die": os._exit(3)
    elif kind == "environment": update(sessionUpdate="environment", names=dict(os.environ))
for line in sys.stdin:
    m = json.loads(line)
    if m["method"] == "initialize": send(id=m["id"], result={"protocolVersion": 1, "agentInfo": {"name": "t"}})
    elif m["method"] == "session/new": send(id=m["id"], result={"sessionId": "s", "models": {"currentModelId": "a", "availableModels": [{"modelId": "a"}, {"modelId": "x/m"}]}})
    elif m["method"] == "session/set_model": update(sessionUpdate="model", model=m["params"]["modelId"]); send(id=m["id"], result={})
    elif m["method"] == "session/prompt":
        error = None
        for move in moves:
            if move["do"] == "fail": error = move["error"]
            else: play(move)
        if error: send(id=m["id"], error=error)
        else: send(id=m["id"], result={"stopReason": "end_turn"})
"""


@pytest.fixture
def play(tmp_path):
    """Have the agent play moves at `a.py`."""
    (tmp_path / "agent.py").write_text(AGENT)
    worktree, private = tmp_path / "work tree", tmp_path / "private"
    worktree.mkdir()
    private.mkdir()
    (worktree / "b.py").write_text("b")

    def played(*moves, timeout_s=20, api="openai"):
        (tmp_path / "moves.json").write_text(json.dumps(moves))
        command = (sys.executable, str(tmp_path / "agent.py"), str(tmp_path / "moves.json"))
        settings = AgentSettings("x", "acp", command, model="m", base_url="http://m/v1", api=api)
        assignment = Assignment(
            "Do it.", worktree, "a.py", "test", 1, "s", 1, (), timeout_s, private,
            base_url="http://proxy/token/v1",
        )  # fmt: skip
        return AcpAgent(settings).run(assignment)

    played.worktree, played.private = worktree, private
    return played


def files(play):
    return {path.name: path.read_text() for path in play.worktree.iterdir()}


def test_only_the_one_file_may_be_edited(play):
    """Whether by permission or through the client; what is denied is told."""
    inside, outside = str(play.worktree / "b.py"), str(play.private / "c.py")
    result = play(
        {"do": "noise"},
        {"do": "edit", "path": str(play.worktree / "a.py"), "content": "mine"},
        {"do": "edit", "path": inside, "content": "not mine"},
        {"do": "edit", "path": "b.py/../b.py", "content": "not mine"},
        {"do": "edit", "path": outside, "content": "not mine"},
        {"do": "edit", "path": inside, "content": "not mine", "kind": "execute"},
        {"do": "edit", "path": str(play.worktree / "a.py"), "content": "gone", "kind": "delete"},
        {"do": "fs/write_text_file", "path": inside, "content": "not mine"},
        {"do": "fs/read_text_file", "path": "/etc/passwd"},
        {"do": "terminal/create", "command": "ls"},
    )
    assert files(play) == {"a.py": "mine", "b.py": "b"}
    assert not (play.private / "c.py").exists()
    assert (result.failure_class, result.exit_code) == (None, 0)
    for said in (
        f"denied edit {inside}",
        f"edit {outside}",
        "execute",
        "delete",
        "/etc/passwd",
        "terminal/create",
    ):
        assert said in result.error


def test_a_link_is_not_the_file(play):
    """A link in the file's place leads elsewhere."""
    (play.worktree / "a.py").symlink_to(play.worktree / "b.py")
    play({"do": "fs/write_text_file", "path": str(play.worktree / "a.py"), "content": "not mine"})
    assert (play.worktree / "b.py").read_text() == "b"


def test_reading_and_writing_through_the_client(play):
    result = play(
        {"do": "fs/write_text_file", "path": str(play.worktree / "a.py"), "content": "1\n2\n3\n"},
        {"do": "fs/read_text_file", "path": str(play.worktree / "a.py"), "line": 2, "limit": 1},
    )
    assert '"content": "2\\n"' in result.transcript
    assert result.error is None


def test_the_model_is_chosen_where_it_is_offered(play):
    """Under its own name, or with a provider before it."""
    assert '"model": "x/m"' in play().transcript


@pytest.mark.parametrize(
    ("api", "named", "address"),
    [
        ("openai", "OPENAI", "http://proxy/token/v1"),
        ("anthropic", "ANTHROPIC", "http://proxy/token"),
    ],
)
def test_the_proxy_is_all_that_it_is_told_of_its_model(play, monkeypatch, api, named, address):
    """Any key of the caller's stays out."""
    monkeypatch.setenv("OPENAI_API_KEY", "the-real-one")
    monkeypatch.setenv("GREENLINE_SECRET", "the-real-one")
    transcript = play({"do": "environment"}, api=api).transcript
    assert f'"{named}_BASE_URL": "{address}"' in transcript
    assert "the-real-one" not in transcript


def test_a_failure_is_told_with_its_class(play):
    error = {"code": -32603, "message": "Internal error: You exceeded your current quota."}
    result = play({"do": "fail", "error": error})
    assert result.failure_class == "quota_exhausted"
    assert "exceeded your current quota" in result.error


def test_an_agent_that_dies_failed(play):
    result = play({"do": "die"})
    assert result.failure_class == "agent_error"
    assert "ended before it answered session/prompt" in result.error


def test_the_time_limit_holds_and_nothing_is_left(play):
    """The agent's processes go with it."""
    began = time.monotonic()
    result = play({"do": "child"}, {"do": "hang"}, timeout_s=2)
    assert (result.failure_class, result.timed_out) == ("agent_timeout", True)
    assert time.monotonic() - began < 6
    assert end_programs_in(play.private) == 0


def test_what_an_agent_leaves_running_is_killed_and_counted(play):
    result = play({"do": "child"})
    assert (result.failure_class, result.leftovers) == (None, 1)
    assert end_programs_in(play.private) == 0


def test_what_a_repository_orders_agents_to_do_is_not_there_while_one_works(play):
    """It is back afterwards as it was, and what the agent put in its place is told."""
    (play.worktree / ".opencode/plugin").mkdir(parents=True)
    (play.worktree / ".opencode/plugin/x.js").write_text("x")
    (play.worktree / "AGENTS.md").write_text("orders")
    (play.worktree / "CLAUDE.md").symlink_to("AGENTS.md")
    result = play(
        {"do": "fs/read_text_file", "path": str(play.worktree / "AGENTS.md")},
        {"do": "plant", "path": str(play.worktree / "AGENTS.md")},
    )
    assert "read of" in result.error
    assert (play.worktree / "AGENTS.md").read_text() == "orders"
    assert (play.worktree / ".opencode/plugin/x.js").read_text() == "x"
    assert (play.worktree / "CLAUDE.md").is_symlink()
    assert "it wrote AGENTS.md, which is not its file" in result.error
