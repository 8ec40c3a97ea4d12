"""A plan names files inside the repository, each in one spelling, and nothing of git's own."""

from __future__ import annotations

import posixpath
from pathlib import PurePosixPath

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tasks.plan.paths import is_git_part, path_problem


@pytest.mark.parametrize(
    "path",
    [
        "a",
        "src/roman.py",
        "tests/test_roman.py",
        ".gitignore",
        ".github/workflows/ci.yml",
        ".gitattributes",
        "a/.gitkeep",
        "src/[id].tsx",
        "with space/file name.py",
        "ünï/cödé.py",
        "日本/語.py",
        "a/-b",
        "...",
        "a..b/c",
        "a/~b",
        "git/x",
        "x.git/y",
        "a'b",
        "{file}",
        "$HOME/x",
        "a" * 255,
    ],
)
def test_paths_that_are_fine(path):
    assert path_problem(path) is None


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("", "empty"),
        (" ", "empty"),
        ("/", "absolute"),
        ("/etc/passwd", "absolute"),
        ("//host/share", "absolute"),
        ("..", "'..'"),
        ("../x", "'..'"),
        ("a/../b", "'..'"),
        ("a/..", "'..'"),
        ("a/../../b", "'..'"),
        ("a\\b", "backslash"),
        ("..\\x", "backslash"),
        ("C:/x", "drive"),
        ("c:x", "drive"),
        ("~/x", "home"),
        ("~root/x", "home"),
        ("a\0b", "control"),
        ("a\nb", "control"),
        ("a\x7fb", "control"),
        ("a\u2028b", "control"),
        ("a\udcffb", "control"),
        (" a", "white space"),
        ("a ", "white space"),
        ("a\t", "control"),
        (".git", "git's own"),
        (".git/config", "git's own"),
        ("a/.git/hooks/pre-commit", "git's own"),
        (".GIT/x", "git's own"),
        (".Git", "git's own"),
        ("a/.gIT", "git's own"),
        (".git./x", "git's own"),
        (".git /x", "git's own"),
        ("git~1/x", "git's own"),
        ("GIT~1", "git's own"),
        (".g\u200cit/x", "git's own"),
        (".git::$INDEX_ALLOCATION/x", "git's own"),
        ("-rf", "begins with '-'"),
        ("--help/x", "begins with '-'"),
        ("a/", "folder"),
        (".", "folder"),
        ("./a", "write 'a'"),
        ("a//b", "write 'a/b'"),
        ("a/./b", "write 'a/b'"),
        ("a" * 256, "too long"),
        ("é" * 128, "too long"),
        ("/".join(["aaaaaaaa"] * 600), "too long"),
    ],
)
def test_paths_that_are_refused_say_why(path, named):
    assert named in (path_problem(path) or "")


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a\\b", "a//b"])
def test_a_refusal_shows_what_was_received(path):
    assert repr(path) in (path_problem(path) or "")


@given(
    st.text(alphabet=st.sampled_from("ab./\\~-: gitGIT\0\n"), max_size=12) | st.text(max_size=20)
)
@example(".git")
def test_what_is_accepted_stays_inside_and_has_one_spelling(path):
    """Whatever passes, joined to a folder, is a file below it, and not in its `.git`."""
    assume(path_problem(path) is None)
    joined = posixpath.normpath(posixpath.join("/repo", path))
    assert joined == f"/repo/{path}"
    assert all(part.casefold() != ".git" for part in PurePosixPath(path).parts)
    assert not {"\\", "\0", "\n"} & set(path)
    assert not path.startswith(("-", "/", "~"))


@given(st.lists(st.text("abc_.é", min_size=1, max_size=5), min_size=1, max_size=4))
def test_plain_relative_paths_are_accepted(parts):
    assume(not any(part in {".", ".."} for part in parts))
    assert path_problem("/".join(parts)) is None


@given(
    st.lists(st.sampled_from("gG"), min_size=1, max_size=1),
    st.sampled_from("iI"),
    st.sampled_from("tT"),
)
def test_git_is_found_in_every_case(g, i, t):
    assert is_git_part(f".{g[0]}{i}{t}")
