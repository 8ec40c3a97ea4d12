"""What the fence shows of hidden folders, what the settings make of it, and what is said of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from storage.exceptions import ServiceError
from tasks.config import ConfigError, load_settings
from tasks.fence import Fence, available
from tasks.fence.available import Bubblewrap, Unavailable, bubblewrap
from tasks.fence.hints import hint
from tasks.fence.policy import fence_notes, network_policy
from tasks.fence.toolchain import needed_by

FENCE = Fence(Bubblewrap(Path("/usr/bin/bwrap")))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's home with what is usually in one; Greenline's home is in it."""
    monkeypatch.setenv("GREENLINE_HOME", str(tmp_path / "person/.greenline"))
    root = tmp_path / "person"
    for file in (
        ".ssh/id_ed25519", ".config/tool/token", ".greenline/postgres/password",
        ".local/share/keyrings/login", ".local/bin/plain",
        ".local/share/pipx/venvs/tool/pyvenv.cfg", ".local/share/pipx/venvs/tool/bin/tool",
        ".pyenv/libexec/pyenv", ".pyenv/shims/python", ".pyenv/versions/3.12/bin/python3.12",
        ".pyenv/versions/3.12/lib/os.py", ".cargo/bin/rg", ".cargo/credentials.toml",
        "tools/oracle.py", "tools/answers.json", "notes.py",
    ):  # fmt: skip
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text("")
        (root / file).chmod(0o755)
    for link in ("linked/env", "project/.venv/bin/python", "project/venv/bin/python"):
        (root / link).parent.mkdir(parents=True)
        (root / link).symlink_to("/usr/bin/env")
    for name in (".venv", "venv"):
        (root / "project" / name / "pyvenv.cfg").write_text("home = /usr/bin\n")
    (root / ".local/bin/tool").symlink_to("../share/pipx/venvs/tool/bin/tool")
    (root / ".local/share/pipx/venvs/tool/pyvenv.cfg").write_text(
        f"home = {root}/.pyenv/versions/3.12/bin\n"
    )
    return root


def shown(home: Path, *argv: str, path: str = "") -> set[str]:
    """What is shown of a home, relative to it; Greenline's own files may be in none."""
    found = needed_by(argv, home, {"PATH": path}, (home,))
    return {os.path.normpath(one.relative_to(home)) for one in found if one.is_relative_to(home)}


def test_what_path_leads_to_is_shown_with_its_installation(home):
    """A Python of pyenv and a tool of pipx work in the fence, with all that is theirs."""
    path = f"{home}/.pyenv/shims:{home}/.local/bin:/usr/bin:relative:{home}/nowhere"
    assert shown(home, "tool", path=path) == {
        ".pyenv",
        ".local/bin",
        ".local/share/pipx/venvs/tool",
        ".pyenv/versions/3.12",
    }


@pytest.mark.parametrize("name", ["venv", ".venv"])
def test_a_virtual_environment_of_the_systems_python_is_shown(home, name):
    """Its `python` leads out of what is hidden, and its packages are what is needed."""
    python = home / "project" / name / "bin/python"
    assert f"project/{name}" in shown(home, str(python), "-m", "pytest")
    assert f"project/{name}" in shown(home, "python", path=str(python.parent))


def test_secrets_beside_programs_stay_hidden(home):
    """`~/.cargo/bin` on PATH shows no credentials, `~/.local/bin` no keyring."""
    assert shown(home, "rg", path=f"{home}/.cargo/bin:{home}/.local/bin") >= {".cargo/bin"}
    for secret in (".cargo", ".local", ".local/share", ".ssh", "."):
        assert secret not in shown(home, "rg", path=f"{home}/.cargo/bin:{home}/.local/bin")


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("tools/oracle.py", {"tools"}),
        ("notes.py", {"notes.py"}),
        ("tools", {"tools"}),
        ("linked/env", {"linked"}),
        ("project/venv/bin/python", {"project/venv/bin"}),
        ("project/.venv/bin/python", set()),
        (".ssh/id_ed25519", set()),
        (".config/tool/token", set()),
        (".greenline/postgres/password", set()),
        (".", set()),
        ("missing", set()),
    ],
)
def test_a_script_that_a_command_names_is_shown_and_a_secret_never(home, word, expected):
    """What a command or a variable names can be read, but nothing of a dot folder."""
    by_variable = needed_by(["/usr/bin/env"], home, {"DATA": str(home / word)}, (home,))
    found = {str(one.relative_to(home)) for one in by_variable if one.is_relative_to(home)}
    assert found == expected
    assert shown(home, "/usr/bin/env", str(home / word)) == expected
    assert shown(home, "/usr/bin/env", f"--file={home / word}") == expected


def test_a_link_of_the_worktrees_shows_no_folder_that_is_no_installation(home, tmp_path):
    """Whoever writes the worktree has nothing shown by a program that is a link to a secret."""
    work = tmp_path / "work"
    work.mkdir()
    (work / "python").symlink_to(home / ".config/tool/token")
    found = needed_by(["./python"], work, {}, (home,))
    assert not [one for one in found if home in (one, *one.parents) and one.name != "tool"]
    assert not [one for one in found if (one / "login").exists() or one.name == ".config"]


def test_homes_are_hidden_before_and_what_is_written_is_shown_after(home, monkeypatch):
    """The mounts come in an order in which none hides what a later one is to show."""
    monkeypatch.setenv("HOME", str(home))
    work = home / ".greenline/sandboxes/r/main"
    work.mkdir(parents=True)
    words = FENCE.opened(work).words(["true"], work, {"PATH": f"{home}/.pyenv/shims"})
    text = " ".join(words)
    order = [
        f"--tmpfs {home} ",
        f"--tmpfs {home}/.greenline ",
        f"--ro-bind {home}/.pyenv ",
        f"--bind {work} ",
        f"--remount-ro {home}/.greenline ",
    ]
    assert sorted(order, key=text.index) == order
    assert "--unshare-net" in words
    assert "--unshare-net" not in FENCE.opened(network=True).words(["true"], work, {})


def test_what_can_be_written_anyway_is_not_made_read_only(home, monkeypatch):
    """What is shown read-only in a folder that may be written stays as the folder is."""
    monkeypatch.setenv("HOME", str(home))
    fence = Fence(FENCE.bubblewrap, readable=(home / "tools/sub", home / ".greenline/postgres"))
    (home / "tools/sub").mkdir()
    words = fence.opened(home).words(["true"], home, {})
    assert f"--bind {home} {home}" in " ".join(words)
    assert str(home / "tools/sub") not in words
    assert str(home / ".greenline/postgres") in words  # Greenline's own home is hidden again


def test_a_fence_that_is_demanded_and_cannot_be_had_is_a_missing_service(monkeypatch):
    """`fence = "on"` ends with exit code 4 and the mend; `auto` goes on and says so; `off` not."""
    monkeypatch.setenv("PATH", "/nowhere")
    assert isinstance(bubblewrap(), Unavailable)
    demanding = load_settings('fence = "on"', "greenline.toml", {})
    with pytest.raises(ServiceError, match=r"(?s)not installed.*apt-get install bubblewrap"):
        fence_notes(demanding)
    (note,) = fence_notes(load_settings(None, "greenline.toml", {}))
    assert "without a fence" in note
    assert fence_notes(load_settings(None, "greenline.toml", {"GREENLINE_FENCE": "off"})) == []


def test_a_bubblewrap_that_may_not_work_is_none(tmp_path, monkeypatch):
    """Where the system forbids namespaces that is found out by trying, and its words are told."""
    program = tmp_path / "bwrap"
    program.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2; exit 1")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = bubblewrap()
    assert isinstance(found, Unavailable)
    assert "setting up uid map: Permission denied" in found.why
    assert "apparmor" in found.mend


def test_what_the_environment_says_of_the_fence_holds_over_the_repositorys_file():
    """Who runs strangers' repositories has the last word on their fence."""
    text = 'fence = "off"\nfence_readable = ["/"]\nfence_writable = ["~/.ssh"]\n'
    environ = {
        "GREENLINE_FENCE": "on",
        "GREENLINE_FENCE_READABLE": "[]",
        "GREENLINE_LIMITS_FENCE_WRITABLE": "[]",
    }
    limits = load_settings(text, "greenline.toml", environ).limits
    assert (limits.fence, limits.fence_readable, limits.fence_writable) == ("on", (), ())
    with pytest.raises(ConfigError, match="absolute path"):
        load_settings('fence_readable = ["tools"]', "greenline.toml", {})


def test_the_record_says_which_network_each_had(monkeypatch):
    """`none`, `model` or `host`, as it was; without a fence everybody had the host's."""
    text = """
        [project]
        test_network = true
        [agents.oracle]
        adapter = "command"
        command = ["x"]
        [agents.asking]
        adapter = "command"
        command = ["x"]
        base_url = "http://127.0.0.1:1/v1"
        [agents.surfing]
        adapter = "codex"
        network = true
        [agents.within]
        adapter = "direct"
        model = "m"
        [roles]
        TaraAider = "claude"
        """
    settings = load_settings(text, "greenline.toml", {})
    monkeypatch.setattr(available, "_tried", lambda _: FENCE.bubblewrap)
    assert network_policy(settings) == {
        "fence": "bubblewrap",
        "setup": "host",
        "tests": "host",
        "agents": {"oracle": "none", "asking": "model", "surfing": "host", "claude": "model"},
    }
    policy = network_policy(load_settings(text, "greenline.toml", {"GREENLINE_FENCE": "off"}))
    assert policy["fence"] is None
    assert set(policy["agents"].values()) == {"host"}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("OSError: [Errno 101] Network is unreachable", "network = true"),
        ("psycopg.OperationalError: ... Connection refused", "network = true"),
        ("Error: getaddrinfo EAI_AGAIN registry", "network = true"),
        ("OSError: [Errno 30] Read-only file system: '/srv/x'", "fence_writable"),
        ("AssertionError: assert 1 == 2", None),
    ],
)
def test_a_failure_at_the_fence_says_so(said, told):
    """What fails for want of the network, or of a folder to write, is told which setting helps."""
    found = hint(said, FENCE, "network = true")
    assert found is None if told is None else told in (found or "")
    assert hint(said, None, "network = true") is None
