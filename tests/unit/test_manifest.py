"""Manifests tell every change of a worktree apart, without opening or following anything."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from tasks.sandbox.manifest import compare, scan
from tasks.sandbox.trees import remove


@pytest.fixture
def root(tmp_path: Path) -> Path:
    top = tmp_path / "work"
    (top / "src").mkdir(parents=True)
    (top / "src/a.py").write_text("a = 1\n")
    (top / "b").write_text("b")
    (top / "link").symlink_to("b")
    (top / ".git").mkdir()
    (top / ".git/HEAD").write_text("ref")
    return top


def changed(root: Path, change) -> list[tuple[str, str]]:
    before = scan(root, settle=True)
    change()
    return [(one.path, one.what) for one in compare(before, scan(root))]


def test_nothing_done_is_no_change(root):
    assert changed(root, (root / "b").read_text) == []


def test_the_worktrees_own_git_is_left_out(root):
    assert changed(root, lambda: (root / ".git/HEAD").write_text("other")) == []
    assert ".git/HEAD" in scan(root, skip=None).entries


def test_a_git_folder_anywhere_else_is_seen(root):
    assert changed(root, (root / "src/.git").mkdir) == [("src/.git", "created")]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda root: (root / "c").write_text(""), ("c", "created")),
        (lambda root: (root / "b").unlink(), ("b", "deleted")),
        (lambda root: (root / "b").write_text("bb"), ("b", "modified")),
        (lambda root: (root / "b").write_text("c"), ("b", "touched")),
        (lambda root: (root / "b").chmod(0o700), ("b", "mode")),
        (lambda root: (root / "src").chmod(0o700), ("src", "mode")),
        (lambda root: ((root / "b").unlink(), (root / "b").mkdir()), ("b", "retyped")),
        (
            lambda root: ((root / "link").unlink(), (root / "link").symlink_to("src")),
            ("link", "modified"),
        ),
    ],
)
def test_each_sort_of_change_has_its_name(root, change, expected):
    assert changed(root, lambda: change(root)) == [expected]


def test_a_time_that_was_set_back_hides_nothing(root):
    def change():
        was = (root / "b").stat()
        (root / "b").write_text("c")
        os.utime(root / "b", ns=(was.st_atime_ns, was.st_mtime_ns))

    assert changed(root, change) == [("b", "touched")]


def test_a_write_right_after_the_manifest_is_told_apart(root):
    """The promise behind `settle`: two writes within one tick of the clock have one ctime."""
    for number in range(30):
        (root / "b").write_text(str(number % 10))
        assert changed(root, lambda n=number: (root / "b").write_text(str((n + 1) % 10)))


def test_a_link_replaced_by_the_same_link_is_no_change(root):
    def change():
        (root / "link").unlink()
        (root / "link").symlink_to("b")

    assert changed(root, change) == []


def test_a_second_name_for_a_file_is_seen_on_both(root):
    found = changed(root, lambda: os.link(root / "b", root / "c"))
    assert found == [("b", "hard-linked"), ("c", "created")]


def test_special_files_are_named_and_never_opened(root):
    os.mkfifo(root / "pipe")
    here = Path.cwd()
    os.chdir(root)
    try:
        socket.socket(socket.AF_UNIX).bind("sock")
    finally:
        os.chdir(here)
    entries = scan(root).entries
    assert (entries["pipe"].kind, entries["sock"].kind) == ("fifo", "socket")


def test_names_keep_their_bytes(root):
    name = b"\xff\nx"
    (root / os.fsdecode(name)).write_text("")
    assert name in {os.fsencode(path) for path in scan(root).entries}


def test_links_are_never_followed(root, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text("")
    (root / "out").symlink_to(tmp_path / "outside")
    (root / "loop").symlink_to("loop")
    (root / "up").symlink_to("..")
    assert set(scan(root).entries) == {"src", "src/a.py", "b", "link", "out", "loop", "up"}


def test_a_write_behind_a_link_that_leaves_the_worktree_is_seen(root, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "data").write_text("1")
    (root / "folder").symlink_to(outside)
    (root / "file").symlink_to(outside / "data")
    time.sleep(0.02)
    assert changed(root, lambda: (outside / "data").write_text("2")) == [
        ("file", "beyond"),
        ("folder", "beyond"),
    ]
    assert changed(root, lambda: (outside / "new").write_text("")) == [("folder", "beyond")]


def test_a_worktree_that_is_gone_or_replaced_is_a_change_of_itself(root, tmp_path):
    before = scan(root)
    root.rename(tmp_path / "moved")
    assert ("", "retyped") in [(one.path, one.what) for one in compare(before, scan(root))]
    root.symlink_to(tmp_path / "moved")
    after = scan(root)
    assert after.root[0] == "link"
    assert after.entries == {}


def test_removing_never_follows_a_link(root, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "keep").write_text("")
    (root / "src/out").symlink_to(outside)
    (root / "src").chmod(0o500)
    remove(root)
    assert not root.exists()
    assert (outside / "keep").exists()
    remove(root)  # nothing there is fine
