"""Aider works in a folder of its own: what goes in, and what comes back."""

from __future__ import annotations

import pytest

from storage.exceptions import InputError
from tasks.agents.aider import _copy_back, _copy_there
from tasks.agents.base import Assignment


@pytest.fixture
def assignment(tmp_path):
    worktree, private = tmp_path / "worktree", tmp_path / "private"
    (worktree / "src").mkdir(parents=True)
    private.mkdir()

    def make(path="src/a.py"):
        return Assignment("", worktree, path, "test", 1, "s", 1, (), 5, private)

    return make


def test_only_the_file_goes_in_and_every_change_comes_back(assignment):
    """A file that was not asked for comes back too: the scope gate is to see it."""
    given = assignment()
    (given.worktree / "src/a.py").write_text("old")
    (given.worktree / ".aider.conf.yml").write_text("test-cmd: rm -rf /")
    folder = given.private / "work"
    _copy_there(given, folder)
    inside = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    assert [path for path in inside if not path.startswith(".git/")] == ["src/a.py"]
    (folder / "src/a.py").write_text("new")
    (folder / "tests").mkdir()
    (folder / "tests/b.py").write_text("more")
    (folder / ".aider.tags.cache").write_text("its own")
    assert _copy_back(given, folder) == ()
    assert (given.worktree / "src/a.py").read_text() == "new"
    assert (given.worktree / "tests/b.py").read_text() == "more"
    assert not (given.worktree / ".aider.tags.cache").exists()


def test_an_empty_file_that_aider_makes_before_it_asks_is_no_change(assignment):
    """Else a refused key would look like an edit."""
    given = assignment("src/new.py")
    folder = given.private / "work"
    _copy_there(given, folder)
    (folder / "src/new.py").write_text("")
    assert _copy_back(given, folder) == ()
    assert not (given.worktree / "src/new.py").exists()


def test_nothing_is_written_through_a_link(assignment, tmp_path):
    """Neither one in the file's place nor one on the way to it."""
    given = assignment("src/a.py")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/a.py").write_text("theirs")
    (given.worktree / "src/a.py").symlink_to(tmp_path / "elsewhere/a.py")
    (given.worktree / "away").symlink_to(tmp_path / "elsewhere")
    folder = given.private / "work"
    _copy_there(given, folder)
    assert not (folder / "src/a.py").exists()
    (folder / "src/a.py").write_text("mine")
    (folder / "away").mkdir()
    (folder / "away/a.py").write_text("mine")
    assert len(_copy_back(given, folder)) == 2
    assert (tmp_path / "elsewhere/a.py").read_text() == "theirs"


@pytest.mark.parametrize("path", [".env", ".aider.conf.yml", ".aiderignore"])
def test_its_own_configuration_is_no_work_for_it(assignment, path):
    given = assignment(path)
    with pytest.raises(InputError, match="it would obey it"):
        _copy_there(given, given.private / "work")
