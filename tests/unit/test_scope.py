"""The scope gate's rule, on changes that are data."""

from __future__ import annotations

import pytest

from tasks.sandbox.manifest import Change, Changes, Entry
from tasks.sandbox.scope import configures, is_cache, is_swept, scope_violations

OWN = "src/a.py"


def entry(kind="file", mode=0o644, size=1, nlink=1, target=""):
    return Entry(kind, mode, size, 0, 0, 1, nlink, target)


def judge(*changes, ignored=()):
    return [one.path for one in scope_violations(Changes(changes), OWN, ignored)]


def test_the_steps_file_may_be_made_written_and_deleted():
    assert judge(Change(OWN, "created", None, entry())) == []
    assert judge(Change(OWN, "modified", entry(), entry(size=2))) == []
    assert judge(Change(OWN, "mode", entry(), entry(mode=0o755))) == []
    assert judge(Change(OWN, "deleted", entry(), None)) == []


@pytest.mark.parametrize("kind", ["link", "dir", "fifo", "socket", "device", "unreachable"])
def test_the_steps_file_stays_a_plain_file(kind):
    assert judge(Change(OWN, "retyped", entry(), entry(kind))) == [OWN]
    assert judge(Change(OWN, "created", None, entry(kind))) == [OWN]


def test_the_steps_file_is_no_second_name_of_another_and_not_too_large():
    assert judge(Change(OWN, "hard-linked", entry(), entry(nlink=2))) == [OWN]
    assert judge(Change(OWN, "modified", entry(), entry(size=20_000_000))) == []
    assert judge(Change(OWN, "modified", entry(), entry(size=20_000_001))) == [OWN]


def test_new_and_empty_folders_are_no_violation():
    assert judge(Change("new", "created", None, entry("dir"))) == []
    assert judge(Change("old", "deleted", entry("dir"), None)) == []


@pytest.mark.parametrize(
    "change",
    [
        Change("b", "created", None, entry()),
        Change("b", "deleted", entry(), None),
        Change("b", "modified", entry(), entry(size=2)),
        Change("b", "mode", entry(), entry(mode=0o755)),
        Change("b", "retyped", entry("dir"), entry("link")),
        Change("b", "hard-linked", entry(), entry(nlink=2)),
        Change("b", "beyond", entry("link"), entry("link")),
        Change("b", "created", None, entry("link", target="/etc/passwd")),
        Change("b", "created", None, entry("fifo")),
        Change("", "retyped", None, None),
    ],
)
def test_everything_else_is_a_violation_and_says_what(change):
    (found,) = scope_violations(Changes((change,)), OWN)
    assert found.path == change.path
    assert found.what
    assert str(found)


def test_ignored_files_are_excused_only_when_new_and_configuring_nothing():
    made = Change("x.log", "created", None, entry())
    assert judge(made, ignored={"x.log"}) == []
    assert is_swept(made, {"x.log"})
    assert judge(Change("x.log", "modified", entry(), entry(size=2)), ignored={"x.log"}) == [
        "x.log"
    ]
    assert judge(Change("x.log", "deleted", entry(), None), ignored={"x.log"}) == ["x.log"]
    assert judge(Change(".env", "created", None, entry()), ignored={".env"}) == [".env"]
    assert judge(Change("p", "created", None, entry("fifo")), ignored={"p"}) == ["p"]


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        "a/.env.local",
        "tests/conftest.py",
        "sitecustomize.py",
        "lib/x.pth",
        "pyproject.toml",
        ".claude/settings.json",
        ".codex/config.toml",
        ".aider.conf.yml",
        "AGENTS.md",
        "sub/package.json",
        "sub/.git/hooks/pre-commit",
        ".gitattributes",
    ],
)
def test_what_configures_tools_and_agents(path):
    assert configures(path)


@pytest.mark.parametrize(
    "path", ["build/x.o", "environment.txt", "src/git.py", "test_conftest.txt"]
)
def test_what_configures_nothing(path):
    assert not configures(path)


@pytest.mark.parametrize(
    ("path", "kind", "expected"),
    [
        ("src/__pycache__/x.pyc", "file", True),
        ("src/__pycache__", "dir", True),
        ("src/__pycache__", "link", False),
        ("src/__pycache__", "file", False),
        ("node_modules/.cache/a/b", "file", True),
        (".cache/a", "file", False),
        (".coverage", "file", True),
        (".coverage.host.123", "file", True),
        (".coveragerc", "file", False),
        ("my__pycache__/x", "file", False),
        ("x.pyc", "link", False),
    ],
)
def test_well_known_caches(path, kind, expected):
    assert is_cache(path, entry(kind)) is expected
