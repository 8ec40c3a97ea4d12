"""Agents as real processes: what they are told, what they may say, and what is not believed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from storage.exceptions import InputError
from tasks.agents.base import Assignment, Usage
from tasks.agents.command import CommandAgent, read_usage
from tasks.agents.registry import make_agent
from tasks.agents.replay import ReplayAgent
from tasks.config.model import AgentSettings, Settings
from tasks.git import Git
from tasks.plan.model import FeaturePlan, Replay
from tasks.repository import UserRepository


@pytest.fixture
def worktree(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    (tmp_path / "private").mkdir()
    return tmp_path / "work"


def assignment(worktree: Path, **changes) -> Assignment:
    values = {
        "prompt": "Write to_roman, für 1..3999.\n",
        "worktree": worktree,
        "file_path": "src/roman.py",
        "step_type": "implementation",
        "step_id": 12,
        "subtask": "to-roman",
        "attempt_no": 2,
        "context_files": ("tests/test_roman.py", "a b"),
        "timeout_s": 20.0,
        "private": worktree.parent / "private",
    }
    return Assignment(**(values | changes))


def script(worktree: Path, text: str, **settings) -> CommandAgent:
    (worktree / "agent.py").write_text(text)
    return CommandAgent(AgentSettings("mine", "command", (sys.executable, "agent.py"), **settings))


# --- the command agent


def test_it_is_told_everything_the_contract_names_and_nothing_else(worktree, monkeypatch):
    monkeypatch.setenv("GREENLINE_DATABASE_URL", "secret")
    monkeypatch.setenv("PREFECT_API_KEY", "secret")
    monkeypatch.setenv("MODEL_KEY", "key")
    monkeypatch.setenv("OTHER_KEY", "other")
    agent = script(
        worktree,
        "import json, os, sys\n"
        "seen = {'env': dict(os.environ), 'stdin': sys.stdin.read(), 'cwd': os.getcwd()}\n"
        "seen['prompt'] = open(os.environ['GREENLINE_PROMPT_FILE'], encoding='utf-8').read()\n"
        "print(json.dumps(seen))\n",
        env=("MODEL_KEY",),
    )
    done = agent.run(assignment(worktree))
    seen = json.loads(done.transcript)
    environment = seen["env"]
    private = worktree.parent / "private"
    assert seen["cwd"] == str(worktree)
    assert seen["stdin"] == seen["prompt"] == "Write to_roman, für 1..3999.\n"
    assert environment.pop("PATH")
    assert environment.pop("HOME") == str(private / "home")
    assert Path(environment.pop("GREENLINE_PROMPT_FILE")).parent == private
    assert Path(environment.pop("GREENLINE_USAGE_FILE")).parent == private
    assert json.loads(environment.pop("GREENLINE_CONTEXT_FILES")) == ["tests/test_roman.py", "a b"]
    for name in ("LANG", "TERM", "LC_CTYPE"):  # Python itself sets the last one
        environment.pop(name, None)
    assert environment == {
        "GREENLINE_FILE": "src/roman.py",
        "GREENLINE_STEP_TYPE": "implementation",
        "GREENLINE_STEP_ID": "12",
        "GREENLINE_SUBTASK": "to-roman",
        "GREENLINE_ATTEMPT_NO": "2",
        "MODEL_KEY": "key",
    }
    assert (done.exit_code, done.error, done.failure_class) == (0, None, None)


def test_usage_that_it_reports_is_recorded(worktree):
    agent = script(
        worktree,
        "import json, os\n"
        "json.dump({'model': 'm', 'input_tokens': 7, 'cost_usd': 0.5}, "
        "open(os.environ['GREENLINE_USAGE_FILE'], 'w'))\n",
    )
    done = agent.run(assignment(worktree))
    assert done.usage == Usage(model="m", input_tokens=7, cost_usd=0.5)
    assert done.usage.output_tokens is None
    assert done.error is None


@pytest.mark.parametrize(
    "content",
    [
        "not json",
        "[]",
        '{"input_tokens": -1}',
        '{"input_tokens": 1.5}',
        '{"input_tokens": true}',
        '{"input_tokens": "12"}',
        '{"cost_usd": NaN}',
        '{"cost_usd": -0.1}',
        '{"model": 5}',
        '{"modell": "m"}',
        "[" * 50_000,
        '{"model": "' + "x" * 70_000 + '"}',
        "\udcff",
    ],
)
def test_usage_that_is_wrong_is_a_warning_and_nothing_measured(tmp_path, content):
    path = tmp_path / "usage.json"
    path.write_text(content, errors="surrogateescape")
    usage, warning = read_usage(path)
    assert usage == Usage()
    assert warning
    assert len(warning) < 300


def test_a_usage_file_that_is_no_file_is_neither_followed_nor_waited_for(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text('{"model": "secret"}')
    (tmp_path / "link").symlink_to(secret)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("link", "pipe", "folder"):
        usage, warning = read_usage(tmp_path / name)
        assert usage == Usage()
        assert warning
    assert read_usage(tmp_path / "nothing") == (Usage(), None)


def test_an_exit_code_is_recorded_and_told(worktree):
    done = script(worktree, "import sys; print('out'); sys.exit('no key')").run(
        assignment(worktree)
    )
    assert (done.exit_code, done.failure_class) == (1, "agent_error")
    assert done.error == "the agent exited with 1: no key"
    assert done.transcript == "out\n"


@pytest.mark.skipif(sys.platform != "linux", reason="counts descendants in /proc")
def test_an_agent_that_does_not_end_is_killed_with_all_it_started(worktree):
    agent = script(
        worktree,
        "import subprocess, time\n"
        "subprocess.Popen(['sleep', '300'], start_new_session=True)\ntime.sleep(300)\n",
    )
    done = agent.run(assignment(worktree, timeout_s=1.0))
    assert done.timed_out
    assert done.exit_code is None
    assert done.failure_class == "agent_timeout"
    assert done.leftovers == 1
    assert "1 s" in done.error


def test_a_program_that_is_missing_is_found_before_a_run_and_told_in_one(worktree, tmp_path):
    agent = CommandAgent(AgentSettings("mine", "command", ("no-such-program",)))
    with pytest.raises(InputError, match="no-such-program"):
        agent.check(None, tmp_path, None)
    done = agent.run(assignment(worktree))
    assert done.failure_class == "agent_error"
    assert "no-such-program" in done.error


def test_its_fingerprint_follows_command_and_files_and_holds_no_secret(tmp_path, monkeypatch):
    monkeypatch.setenv("MODEL_KEY", "secret")
    oracle = tmp_path / "oracle.py"
    oracle.write_text("1")

    def made(*arguments: str) -> CommandAgent:
        return CommandAgent(AgentSettings("mine", "command", arguments, ("MODEL_KEY",)))

    one = made("python3", str(oracle)).fingerprint()
    assert one == made("python3", str(oracle)).fingerprint()
    assert one != made("python3", str(oracle), "-v").fingerprint()
    oracle.write_text("2")
    assert one != made("python3", str(oracle)).fingerprint()
    assert "secret" not in json.dumps(made("x").describe())


# --- the replay agent


@pytest.fixture
def past(tmp_path: Path) -> tuple[Path, list[str]]:
    """A repository whose three commits write, make executable and delete one file."""
    path = tmp_path / "past"
    path.mkdir()
    commits = []

    def git(*arguments: str) -> str:
        command = ["git", "-C", path, "-c", "user.name=A", "-c", "user.email=a@b", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q", "-b", "main")
    target = path / "src/roman.py"
    target.parent.mkdir()
    for change in (
        lambda: target.write_bytes(b"one\r\n\xff"),
        lambda: target.chmod(0o755),
        target.unlink,
        lambda: (target.parent.mkdir(exist_ok=True), target.symlink_to("x")),
    ):
        change()
        git("add", "-A")
        git("commit", "-qm", "x")
        commits.append(git("rev-parse", "HEAD"))
    return path, commits


def play(worktree: Path, tmp_path: Path, entry: Replay | None, **changes):
    agent = ReplayAgent(AgentSettings("replay", "replay"))
    return agent.run(assignment(worktree, replay=entry, plan_dir=tmp_path, **changes))


def test_a_past_commit_is_played_with_bytes_mode_and_deletion(worktree, tmp_path, past):
    path, commits = past
    target = worktree / "src/roman.py"
    for entry in (
        Replay(repo="past", commit=commits[0]),
        Replay(repo=str(path), commit=commits[0]),
    ):
        assert play(worktree, tmp_path, entry).error is None
        assert target.read_bytes() == b"one\r\n\xff"
        assert not os.access(target, os.X_OK)
    assert play(worktree, tmp_path, Replay(repo="past", commit=commits[1])).exit_code == 0
    assert os.access(target, os.X_OK)
    done = play(worktree, tmp_path, Replay(repo="past", commit=commits[2]))
    assert done.error is None
    assert not target.exists()
    assert done.usage == Usage()


def test_a_commit_that_the_project_has_is_taken_from_greenlines_clone(worktree, tmp_path, past):
    path, commits = past
    entry = Replay(repo="gone", commit=commits[0])
    done = play(worktree, tmp_path, entry, git=Git(path / ".git"))
    assert done.error is None
    assert (worktree / "src/roman.py").exists()


def test_a_file_beside_the_plan_is_played(worktree, tmp_path):
    (tmp_path / "answers").mkdir()
    (tmp_path / "answers/a.py").write_text("X = 1\n")
    assert play(worktree, tmp_path, Replay(file="answers/a.py")).error is None
    assert (worktree / "src/roman.py").read_text() == "X = 1\n"


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (None, "no replay entry"),
        (Replay(file="missing.py"), "missing.py"),
        (Replay(file="out.py"), "leads out"),
        (Replay(repo="nowhere", commit="1234567"), "no repository"),
        (Replay(repo="past", commit="1234567"), "no commit 1234567"),
        (Replay(repo="work", commit="1234567"), "no git repository"),
    ],
)
def test_what_cannot_be_played_is_the_agents_error(worktree, tmp_path, past, entry, says):
    (tmp_path / "out.py").symlink_to("/etc/passwd")
    done = play(worktree, tmp_path, entry)
    assert says in done.error
    assert done.failure_class == "agent_error"
    assert list(worktree.iterdir()) == []


def test_a_link_in_the_past_or_in_the_way_is_never_written(worktree, tmp_path, past):
    _, commits = past
    assert "no plain file" in play(worktree, tmp_path, Replay(repo="past", commit=commits[3])).error
    outside = tmp_path / "outside"
    outside.mkdir()
    (worktree / "src").symlink_to(outside)
    assert "no folder" in play(worktree, tmp_path, Replay(repo="past", commit=commits[0])).error
    assert list(outside.iterdir()) == []


def plan(*entries: dict[str, str]) -> FeaturePlan:
    step = {
        "step_type": "implementation",
        "file_path": "src/roman.py",
        "instructions": "x",
        "replay": list(entries),
    }
    subtask = {"key": "k", "title": "t", "steps": [step]}
    task = {"title": "t", "subtasks": [subtask]}
    return FeaturePlan.model_validate({"feature": "f", "tasks": [task]})


def test_a_plan_that_cannot_be_replayed_is_found_before_a_run(tmp_path, past):
    path, commits = past
    agent = ReplayAgent(AgentSettings("replay", "replay"))
    repository = UserRepository.open(path)
    agent.check(plan({"repo": "past", "commit": commits[0]}), tmp_path, repository)
    wrong = plan({"file": "nope.py"}, {"repo": "past", "commit": "7654321"})
    with pytest.raises(InputError, match=r"(?s)replay\[0\].*nope\.py.*replay\[1\].*7654321"):
        agent.check(wrong, tmp_path, repository)


# --- the registry


def test_an_agent_is_made_by_its_name_or_its_adapters():
    section = {"adapter": "command", "command": ["python3", "x.py"]}
    settings = Settings.model_validate({"agents": {"oracle": section}})
    oracle = make_agent("oracle", settings)
    assert (oracle.name, oracle.adapter) == ("oracle", "command")
    assert make_agent("replay", settings).adapter == "replay"
    with pytest.raises(InputError, match="oracle"):
        make_agent("nobody", settings)
