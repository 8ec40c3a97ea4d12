"""Git hooks with real git: what they keep, whom they let through, and that they never hurt."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from storage.exceptions import InputError
from storage.home import Home
from tasks.pushes import hooks, spool
from tests.conftest import GIT_ENVIRONMENT

ENVIRONMENT = {**os.environ, **GIT_ENVIRONMENT, "LOGNAME": "ann"}
ZERO = "0" * 40


def git(at, *words, ok=True, **environ):
    done = subprocess.run(
        ["git", *words],
        cwd=at,
        env=ENVIRONMENT | environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) is ok, done.stderr
    return done.stdout.strip()


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "ho'me of $HOME").ensure()


@pytest.fixture
def bare(tmp_path):
    git(tmp_path, "init", "-q", "--bare", "ro man's.git")
    return tmp_path / "ro man's.git"


@pytest.fixture
def work(make_repo):
    return make_repo({"a.txt": "1\n"}, "work")


def install(repo, home, *kinds):
    return hooks.install(hooks.Place.of(repo), home, kinds)


def heard(home, number=1):
    """The pushes that hooks have kept, once there are so many files."""
    deadline = time.monotonic() + 60
    while len(files := spool.waiting(home)) < number:
        assert time.monotonic() < deadline, f"{len(files)} of {number}"
        time.sleep(0.02)
    return [push for file in files for push in spool.pushes_in(file)]


def commit(work, text, *options):
    (work / "a.txt").write_text(text)
    git(work, "commit", "-q", "-am", text.strip(), *options)
    return git(work, "rev-parse", "HEAD")


def own_hook(path, text, mode=0o755):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(mode)
    return path.read_text()


def test_a_push_into_a_bare_repository_is_kept(home, bare, work):
    """What is pushed is kept with repository, refs, commits and pusher, whatever the paths."""
    install(bare, home)
    head = git(work, "rev-parse", "HEAD")
    git(work, "push", "-q", str(bare), "main", "main:other")
    found = heard(home)
    assert {(p.ref, p.before, p.after) for p in found} == {
        ("refs/heads/main", ZERO, head),
        ("refs/heads/other", ZERO, head),
    }
    assert {(p.repository, p.pusher) for p in found} == {(str(bare), "ann")}


def test_nobody_waits_for_what_the_hook_starts(home, bare, work, tmp_path, monkeypatch):
    """Git comes back while the program that tells the server is still at it, or hangs."""
    pid = tmp_path / "pid"
    slow = tmp_path / "python"
    own_hook(slow, f'echo $$ >"{pid}.new"; mv "{pid}.new" "{pid}"; exec sleep 300')
    monkeypatch.setattr(sys, "executable", str(slow))
    install(bare, home)
    # Its output is captured by a pipe: whatever still held it open would keep us waiting.
    git(work, "push", "-q", str(bare), "main")
    deadline = time.monotonic() + 60
    while not pid.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    started = int(pid.read_text())
    os.kill(started, 0)
    variables = Path(f"/proc/{started}/environ").read_bytes().split(b"\0")
    os.kill(started, signal.SIGKILL)
    assert not [each for each in variables if each.startswith(b"GIT_")]


@pytest.mark.parametrize("what", ["home", "python", "no folder"])
def test_a_push_never_fails_for_greenline(home, bare, work, tmp_path, monkeypatch, what):
    """With the home gone, Greenline gone or nowhere to write, git pushes as ever."""
    if what == "python":
        monkeypatch.setattr(sys, "executable", str(tmp_path / "gone"))
    install(bare, home)
    waiting = spool.waiting_folder(home)
    if what == "home":
        home.path.rename(tmp_path / "moved")
    if what == "no folder":
        waiting.rmdir()
        waiting.touch()
    git(work, "push", "-q", str(bare), "main")
    assert git(bare, "rev-parse", "main") == git(work, "rev-parse", "HEAD")
    assert spool.waiting(home) == []


def test_a_hook_of_the_users_is_run_first_and_put_back(home, bare, work, tmp_path):
    """The user's post-receive gets what git gives it; uninstalling leaves it as it was."""
    theirs = bare / "hooks" / "post-receive"
    out = tmp_path / "theirs"
    text = own_hook(theirs, f'cat >"{out}"; echo "from theirs" >&2; exit 3')
    for _ in range(2):
        found = {hook.kind: hook for hook in install(bare, home)}["post-receive"]
        assert found.installed and found.current and found.kept.read_text() == text
    head = git(work, "rev-parse", "HEAD")
    git(work, "push", "-q", str(bare), "main")
    assert out.read_text() == f"{ZERO} {head} refs/heads/main\n"
    assert len(heard(home)) == 1
    hooks.uninstall(hooks.Place.of(bare), home)
    assert theirs.read_text() == text and os.access(theirs, os.X_OK)
    assert not theirs.with_name("post-receive.before-greenline").exists()


def test_a_pre_push_hook_that_refuses_still_refuses(home, bare, work):
    """The user's pre-push gets its arguments and lines, and its refusal is the end of the push."""
    kept = work / ".git" / "hooks" / "pre-push"
    kept.parent.mkdir(exist_ok=True)
    own_hook(kept, '[ "$1" = origin ] || exit 9; read -r a b c d; [ "$c" = refs/heads/main ]')
    install(work, home, "pre-push")
    git(work, "remote", "add", "origin", str(bare))
    git(work, "push", "-q", "origin", "main:other", ok=False)
    git(work, "push", "-q", str(bare), "main", ok=False)
    git(work, "push", "-q", "origin", "main")
    assert [(p.ref, p.before, p.repository) for p in heard(home)] == [
        ("refs/heads/main", ZERO, str(work))
    ]


def test_a_hook_that_was_switched_off_stays_off(home, bare, work, tmp_path):
    """A hook of the user's that git would not run is kept, and not run."""
    own_hook(bare / "hooks" / "post-receive", f'touch "{tmp_path}/ran"', mode=0o644)
    install(bare, home)
    git(work, "push", "-q", str(bare), "main")
    assert heard(home) and not (tmp_path / "ran").exists()


def test_commits_are_told_by_where_the_branch_was(home, work):
    """Of an amended commit only what the amendment changed counts; a detached one counts not."""
    install(work, home)
    begin = git(work, "rev-parse", "HEAD")
    first = commit(work, "2\n")
    heard(home, 1)
    amended = commit(work, "3\n", "--amend")
    heard(home, 2)
    git(work, "checkout", "-q", "--detach")
    commit(work, "4\n")
    git(work, "checkout", "-q", "main")
    last = commit(work, "5\n")
    assert [(p.before, p.after) for p in heard(home, 3)] == [
        (begin, first),
        (first, amended),
        (amended, last),
    ]


def test_commits_without_a_reflog(home, tmp_path):
    """Where git keeps no reflog a commit is told with its parent, the first one with zeros."""
    git(tmp_path, "init", "-q", "--initial-branch=main", "new")
    work = tmp_path / "new"
    git(work, "config", "core.logAllRefUpdates", "false")
    install(work, home, "post-commit")
    (work / "a.txt").write_text("")
    git(work, "add", "a.txt")
    first = commit(work, "1\n")
    heard(home, 1)
    second = commit(work, "2\n")
    assert [(p.before, p.after) for p in heard(home, 2)] == [(ZERO, first), (first, second)]


def test_a_folder_for_hooks_of_the_repositorys_own(home, work, tmp_path):
    """`core.hooksPath` is followed; a folder that other repositories may share is refused."""
    git(work, "config", "core.hooksPath", "my hooks")
    assert install(work, home)[1].path == work / "my hooks" / "post-commit"
    commit(work, "2\n")
    assert heard(home)
    git(work, "config", "core.hooksPath", str(tmp_path / "shared"))
    with pytest.raises(InputError, match=r"core\.hooksPath"):
        install(work, home)


def test_two_hooks_of_the_users(home, bare):
    """Where the user has put a hook over ours nothing is overwritten, and somebody is asked."""
    own_hook(bare / "hooks" / "post-receive", "exit 1")
    install(bare, home)
    text = own_hook(bare / "hooks" / "post-receive", "exit 2")
    with pytest.raises(InputError, match="make one of the two"):
        install(bare, home)
    hooks.uninstall(hooks.Place.of(bare), home)
    assert (bare / "hooks" / "post-receive").read_text() == text


def test_no_password_gets_into_a_hook(home, bare, monkeypatch):
    """A Prefect server of the user's own is named in the hook, but not with a password."""
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect.example:4200/api")
    install(bare, home)
    assert "http://prefect.example:4200/api" in (bare / "hooks" / "post-receive").read_text()
    monkeypatch.setenv("PREFECT_API_URL", "http://ann:secret@prefect.example/api")
    with pytest.raises(InputError, match="PREFECT_API_AUTH_STRING") as raised:
        install(bare, home)
    assert "secret" not in str(raised.value)
