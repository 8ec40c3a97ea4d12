"""Git is run deaf to everybody's configuration, and its failures say what happened."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tasks.git import Git, GitError, GitMissing, Identity, RefMoved


@pytest.fixture
def git(tmp_path: Path) -> Git:
    subprocess.run(["git", "init", "-q", "--bare", tmp_path / "r.git"], check=True)
    return Git(tmp_path / "r.git")


def commit(git: Git, message: bytes = b"x") -> str:
    return git.text("commit-tree", git.text("mktree", stdin=b""), stdin=message)


def test_the_callers_git_variables_do_not_reach_it(git, monkeypatch, tmp_path):
    """A hook that starts Greenline has these set; they would lead git to another repository."""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_OBJECT_DIRECTORY", "GIT_INDEX_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", "'core.bare'='nonsense'")
    monkeypatch.setenv("GIT_NAMESPACE", "other")
    monkeypatch.setenv("GIT_AUTHOR_DATE", "nonsense")
    made = commit(git)
    git.move_ref("refs/heads/x", made, None)
    assert git.resolve("x") == made
    assert (git.git_dir / "refs/heads/x").is_file()


def test_no_configuration_of_user_or_system_reaches_it(git, monkeypatch, tmp_path):
    config = tmp_path / "config"
    config.write_text("[user]\n\tname = Somebody\n[alias]\n\tversion = !false\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".gitconfig").write_text(config.read_text())
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    assert git.call("config", "--get", "user.name").status == 1


def test_hooks_do_not_run(git, tmp_path):
    hook = git.git_dir / "hooks/reference-transaction"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    git.move_ref("refs/heads/x", commit(git), None)
    assert not (tmp_path / "ran").exists()


def test_replaced_objects_are_not_believed(git):
    one, two = commit(git, b"one"), commit(git, b"two")
    git.run("update-ref", f"refs/replace/{one}", two)
    assert git.text("log", "-1", "--format=%s", one) == "one"


def test_a_failure_names_command_status_and_gits_own_words(git):
    with pytest.raises(
        GitError, match=r"git cat-file blob nonsense failed.*128.*nonsense"
    ) as caught:
        git.run("cat-file", "blob", "nonsense")
    assert caught.value.status == 128
    assert "-c" not in caught.value.command


def test_a_missing_git_is_said_so(git, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GitMissing, match="PATH"):
        git.run("version")


def test_a_ref_moves_only_from_where_it_is_expected(git):
    one, two = commit(git, b"one"), commit(git, b"two")
    git.move_ref("refs/heads/x", one, None)
    with pytest.raises(RefMoved):
        git.move_ref("refs/heads/x", two, None)
    with pytest.raises(RefMoved):
        git.move_ref("refs/heads/x", one, two)
    with pytest.raises(RefMoved):
        git.move_ref("refs/heads/new", one, two)
    git.move_ref("refs/heads/x", two, one)
    assert git.resolve("refs/heads/x") == two
    with pytest.raises(GitError) as caught:
        git.move_ref("refs/heads/x", "0" * 39 + "1", two)
    assert not isinstance(caught.value, RefMoved)


def test_revisions_that_look_like_options_or_do_not_exist_are_no_commits(git):
    for revision in ("--all", "nonsense", "", "HEAD"):
        assert git.resolve(revision) is None


def test_paths_keep_their_bytes(git):
    name = os.fsdecode(b"\xff\n:(top)x")
    blob = git.text("hash-object", "-w", "--stdin", stdin=b"content")
    record = f"100644 blob {blob}\t".encode() + os.fsencode(name) + b"\0"
    tree = git.text("mktree", "-z", stdin=record)
    assert list(git.listing(tree)) == [name]
    assert git.blob(git.entry(tree, name).oid) == b"content"
    assert git.entry(tree, "x") is None


def test_large_input_and_output_do_not_block(git):
    data = b"x" * 5_000_000
    assert git.blob(git.text("hash-object", "-w", "--stdin", stdin=data)) == data


def test_commits_are_by_the_given_identity(git):
    made = commit(Git(git.git_dir, identity=Identity("Ann", "ann@example.org")))
    assert (
        git.text("log", "-1", "--format=%an %ae %cn %ce", made)
        == "Ann ann@example.org Ann ann@example.org"
    )
