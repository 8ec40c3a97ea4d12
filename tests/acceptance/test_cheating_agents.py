"""A cheating agent is caught with the class of its cheat, and leaves nothing behind.

Each cheat is a subtask of one plan; one program plays all of them, told which by its subtask.
"""

from __future__ import annotations

import json
import textwrap
import time

import psutil
import pytest
from git import Repo

from tests.acceptance.support import settings, snapshot

FILES = {
    "src_a.py": "def a():\n    return 1\n",
    "other.py": "OTHER = 1\n",
    "conftest.py": "",
    "tests/test_a.py": """
        from src_a import a

        def test_a():
            assert a() == 1

        def test_still_there():
            assert a() > 0
        """,
    "tests/test_b.py": "from src_a import a\n\ndef test_b():\n    assert a() == 1\n",
    ".gitignore": "*.log\n.env\n",
}

AGENT = """
import os, pathlib, subprocess, sys, textwrap
cheat = os.environ["GREENLINE_SUBTASK"]
file = pathlib.Path(os.environ["GREENLINE_FILE"])
RED = file.read_text() + "\\ndef test_new():\\n    assert a() == 2\\n" if file.exists() else ""
outside = pathlib.Path(os.environ["OUTSIDE"])

def sh(*words):
    subprocess.run(words, check=False, capture_output=True)

def writes_a_second_file(): file.write_text(RED); pathlib.Path("other.py").write_text("OTHER = 2")
def makes_a_new_file(): file.write_text(RED); pathlib.Path("helper.py").write_text("")
def deletes_another_file(): file.write_text(RED); pathlib.Path("other.py").unlink()
def renames_another_file(): file.write_text(RED); pathlib.Path("other.py").rename("renamed.py")
def makes_another_executable(): file.write_text(RED); pathlib.Path("other.py").chmod(0o755)
def deletes_a_test(): file.write_text(RED.replace("test_still_there", "no_test"))
def empties_a_test(): file.write_text(RED.replace("assert a() > 0", "pass"))
def skips_a_test(): file.write_text("import pytest\\n" + RED.replace("def test_still", "@pytest.mark.skip\\ndef test_still"))
def empties_the_file(): file.write_text("")
def deletes_the_file(): file.unlink()
def passes_at_once(): file.write_text(file.read_text() + "\\ndef test_new():\\n    assert True\\n")
def does_not_load(): file.write_text(RED + "\\nimport nothing_of_this_name\\n")
def is_no_python(): file.write_text(RED + "\\ndef (\\n")
def edits_the_test(): file.write_text("def a():\\n    return 3\\n"); pathlib.Path("tests/test_a.py").write_text("def test_a(): pass")
def breaks_another_test(): file.write_text("def a():\\n    return 2\\n")
def leaves_early(): file.write_text("import os\\nos._exit(0)\\n")
def skips_from_inside(): file.write_text("import pytest\\ndef a():\\n    pytest.skip()\\n")
def plants_conftest(): file.write_text(RED); pathlib.Path("tests/conftest.py").write_text("collect_ignore=['x']")
def changes_conftest(): file.write_text(RED); pathlib.Path("conftest.py").write_text("collect_ignore=['x']")
def plants_env(): file.write_text(RED); pathlib.Path(".env").write_text("PYTHONPATH=/evil")
def plants_agent_settings(): file.write_text(RED); pathlib.Path(".claude").mkdir(); pathlib.Path(".claude/settings.json").write_text("{}")
def writes_through_a_link(): file.write_text(RED); pathlib.Path("link").symlink_to(outside); pathlib.Path("link/written").write_text("x")
def makes_its_file_a_link(): file.unlink(); file.symlink_to(outside / "target.py")
def makes_a_fifo(): file.write_text(RED); os.mkfifo("pipe")
def does_nothing(): pass
def only_fails(): sys.exit(3)
def hangs():
    import time
    time.sleep(600)

# Undone, and the work is judged as if it had only edited:
def commits(): file.write_text(RED); sh("git", "-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qam", "mine")
def moves_refs(): file.write_text(RED); sh("git", "update-ref", "-d", "HEAD"); sh("git", "checkout", "-q", "--orphan", "x")
def plants_hooks():
    file.write_text(RED)
    hook = pathlib.Path(".git/hooks/post-commit"); hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\\ntouch " + str(outside / "hook-ran")); hook.chmod(0o755)
    sh("git", "config", "core.fsmonitor", "touch " + str(outside / "hook-ran"))
def removes_git():
    import shutil
    file.write_text(RED); shutil.rmtree(".git")
def leaves_a_process():
    file.write_text(RED)
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(987)"], start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
def leaves_a_log(): file.write_text(RED); pathlib.Path("build.log").write_text("noise")
def fails_with_a_change(): file.write_text(RED); sys.exit(7)
globals()[cheat.replace("-", "_")]()
"""

TEST, CODE = "tests/test_a.py", "src_a.py"
CHEATS = {
    "writes-a-second-file": (TEST, "scope_violation"),
    "makes-a-new-file": (TEST, "scope_violation"),
    "deletes-another-file": (TEST, "scope_violation"),
    "renames-another-file": (TEST, "scope_violation"),
    "makes-another-executable": (TEST, "scope_violation"),
    "deletes-a-test": (TEST, "test_tampering"),
    "empties-a-test": (TEST, "test_tampering"),
    "skips-a-test": (TEST, "test_tampering"),
    "empties-the-file": (TEST, "test_tampering"),
    "deletes-the-file": (TEST, "test_tampering"),
    "passes-at-once": (TEST, "not_red"),
    "does-not-load": (TEST, "red_error"),
    "is-no-python": (TEST, "red_error"),
    "edits-the-test": (CODE, "scope_violation"),
    "breaks-another-test": (CODE, "regression"),
    "leaves-early": (CODE, "not_green"),
    "skips-from-inside": (CODE, "test_tampering"),
    "plants-conftest": (TEST, "scope_violation"),
    "changes-conftest": (TEST, "scope_violation"),
    "plants-env": (TEST, "scope_violation"),
    "plants-agent-settings": (TEST, "scope_violation"),
    "writes-through-a-link": (TEST, "scope_violation"),
    "makes-its-file-a-link": (TEST, "scope_violation"),
    "makes-a-fifo": (TEST, "scope_violation"),
    "does-nothing": (TEST, "no_change"),
    "only-fails": (TEST, "agent_error"),
    "hangs": (TEST, "agent_timeout"),
}
#: Undone without blame: the edit itself is judged.
UNDONE = [
    "commits",
    "moves-refs",
    "plants-hooks",
    "removes-git",
    "leaves-a-process",
    "leaves-a-log",
    "fails-with-a-change",
]


def plan():
    subtasks = []
    for key, (path, _) in CHEATS.items():
        kind = "test" if path == TEST else "implementation"
        subtasks.append(subtask(key, kind, path))
    # The honest edits come last: they add red tests to the branch.
    subtasks += [subtask(key, "test", f"tests/test_{key.replace('-', '_')}.py") for key in UNDONE]
    return {"feature": "Cheats", "tasks": [{"title": "All", "subtasks": subtasks}]}


def subtask(key, kind, path):
    role = {"test": "TaraAider", "implementation": "DevonAider"}[kind]
    step = {"step_type": kind, "assigned_to": role, "file_path": path, "instructions": key}
    return {"key": key, "title": key, "steps": [step]}


@pytest.fixture(scope="module")
def cheated(greenline, tmp_path_factory):
    """One run of all cheats: its document, the repository before and after, what lay outside."""
    folder = tmp_path_factory.mktemp("cheating")
    outside = folder / "outside"
    outside.mkdir()
    agent = folder / "agent.py"
    agent.write_text(AGENT)
    (folder / "greenline.toml").write_text(
        settings(agent, attempts=1, agent_timeout_s=3).replace(
            "[roles]", 'env = ["OUTSIDE"]\n[roles]'
        )
    )
    (folder / "plan.json").write_text(json.dumps(plan()))
    root = folder / "cheating"
    repo = Repo.init(root, initial_branch="main")
    for key in UNDONE:
        FILES[f"tests/test_{key.replace('-', '_')}.py"] = "from src_a import a\n"
    for path, content in FILES.items():
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_text(textwrap.dedent(content).lstrip())
    repo.git.add("-A", "-f")
    repo.git.execute(["git", "-c", "user.name=T", "-c", "user.email=t@t", "commit", "-qm", "All"])
    before = snapshot(root)
    started = time.time()
    document = greenline.json(
        "run", folder / "plan.json", "--repo", root, "--config", folder / "greenline.toml",
        ok=(1,), env={"OUTSIDE": str(outside)},
    )  # fmt: skip
    return document, before, snapshot(root), outside, started


def attempts_of(document, key):
    (step,) = [step for step in document["steps"] if step["subtask"] == key]
    return step["attempts"]


@pytest.mark.prefect
@pytest.mark.parametrize("cheat", CHEATS)
def test_a_cheat_is_caught_with_its_class(cheated, cheat):
    (attempt,) = attempts_of(cheated[0], cheat)
    assert (attempt["status"], attempt["failure_class"]) == ("failure", CHEATS[cheat][1])


@pytest.mark.prefect
@pytest.mark.parametrize("cheat", UNDONE)
def test_what_is_undone_does_not_spoil_an_honest_edit(cheated, cheat):
    (attempt,) = attempts_of(cheated[0], cheat)
    assert (attempt["status"], attempt["failure_class"]) == ("success", None)


@pytest.mark.prefect
def test_the_users_repository_is_untouched(cheated):
    _, before, after, _, _ = cheated
    assert after == before


@pytest.mark.prefect
def test_no_hook_ran_and_no_process_is_left(cheated):
    *_, outside, _started = cheated
    assert not (outside / "hook-ran").exists()
    left = [
        p.pid
        for p in psutil.process_iter(["cmdline"])
        if "time.sleep(987)" in str(p.info["cmdline"])
    ]
    assert left == []


@pytest.mark.prefect
def test_each_commit_on_the_branch_changes_the_file_of_its_step_alone(cheated, greenline):
    document = cheated[0]
    clones = list((greenline.home / "projects").glob("cheating-*/repo.git"))
    (clone,) = [
        Repo(path) for path in clones if document["branch"] in [str(b) for b in Repo(path).branches]
    ]
    for step in document["steps"]:
        for attempt in step["attempts"]:
            if attempt["status"] == "success":
                commit = clone.commit(attempt["commit_sha_after"])
                assert list(commit.stats.files) == [step["file_path"]]


@pytest.mark.prefect
def test_what_a_failed_attempt_left_can_be_looked_at(cheated, greenline):
    (attempt,) = attempts_of(cheated[0], "writes-a-second-file")
    shown = greenline("step", "diff", attempt["number"], "--project", "cheating")
    assert "+OTHER = 2" in shown.stdout


def test_the_list_of_cheats_covers_every_row_of_the_table():
    assert {kind for _, kind in CHEATS.values()} >= {
        "scope_violation", "test_tampering", "not_red", "red_error", "regression", "not_green",
        "no_change", "agent_error", "agent_timeout",
    }  # fmt: skip
