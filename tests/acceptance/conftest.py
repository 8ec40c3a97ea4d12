"""Acceptance tests use the command line as a process, with real services, agents and git."""

from __future__ import annotations

import pytest
from git import Repo

from tests.acceptance.support import AUTHOR, Greenline, write_files


@pytest.fixture(scope="session")
def greenline(tmp_path_factory):
    """One home with one set of services for the whole session."""
    command = Greenline(tmp_path_factory.mktemp("acceptance") / "home of greenline")
    yield command
    command("down")


@pytest.fixture(scope="session")
def demo_home(tmp_path_factory):
    """A home in which nothing but one demo is ever run."""
    command = Greenline(tmp_path_factory.mktemp("demo") / "home", cold=True)
    yield command
    command("down")


@pytest.fixture(scope="session")
def demo(demo_home):
    """The document of that demo."""
    return demo_home.json("demo", cwd="/")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Look at the demo as it ended before `test_figures.py` merges it and takes it back."""
    items.sort(key=lambda item: item.path.name == "test_figures.py")


@pytest.fixture
def make_repository(tmp_path):
    """Make a repository with one commit from a mapping of paths to contents."""

    def make(files, name="project", at=None):
        root = (at or tmp_path) / name
        repo = Repo.init(root, initial_branch="main")
        write_files(root, files)
        repo.git.add("-A", "-f")
        repo.index.commit("The beginning", author=AUTHOR, committer=AUTHOR)
        return root

    return make
