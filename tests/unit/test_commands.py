"""Command lines run without a shell, and say so where somebody expects one."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.config.commands import command_problem, expand_command


@pytest.mark.parametrize(
    "command",
    [
        "ruff check {file}",
        "true",
        "sh -c 'a && b | c > d; e'",
        "env X=1 pytest",
        'node -e "console.log({})"',
        "jest --config '{\"a\": 1}'",
        "grep 'a;b' {file}",
        "awk '$1 > 2'",
        "tool --eq=a=b",
    ],
)
def test_commands_that_are_fine(command):
    assert command_problem(command, allowed=("file",)) is None


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("", "names no program"),
        ("   ", "names no program"),
        ("# only", None),
        ("a 'b", "No closing quotation"),
        ("a && b", "the shell's '&&'"),
        ("a || b", "the shell's '||'"),
        ("a | b", "the shell's '|'"),
        ("a ; b", "the shell's ';'"),
        ("a > b", "the shell's '>'"),
        ("a 2>&1", "the shell's '2>&1'"),
        ("a < b", "the shell's '<'"),
        ("a &", "the shell's '&'"),
        ("X=1 a", "write env X=1 a"),
        ("a {files}", "{files}, which is not known here; known here: {file}"),
        ("a {reprot}", "{reprot}"),
    ],
)
def test_commands_that_are_refused_say_why(command, named):
    problem = command_problem(command, allowed=("file",))
    assert (problem is None) if named is None else (named in (problem or ""))


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("pytest", "lacks {files} and {report}"),
        ("pytest {report}", "lacks {files}: received 'pytest "),
        ("pytest {files}", "{report} is where the test runner must put its JUnit XML"),
        ("pytest --only={files} {report}", "{files} inside a word"),
    ],
)
def test_required_placeholders_are_asked_for(command, named):
    assert named in (command_problem(command, required=("files", "report")) or "")


def test_placeholders_may_be_inside_words_and_quotes():
    command = "pytest {files} --junitxml={report} 'x {report}'"
    assert command_problem(command, required=("files", "report")) is None


odd = st.text(min_size=1, max_size=20)


@given(odd, st.lists(odd, max_size=4))
def test_what_is_filled_in_stays_one_argument_each(report, files):
    """No path, however odd, becomes two arguments, an option of another or a placeholder."""
    made = expand_command("run {files} --xml={report} end", report=report, files=files)
    assert made == ["run", *files, f"--xml={report}", "end"]


@given(odd)
def test_a_file_is_filled_in_as_it_is(path):
    assert expand_command("ruff check {file}", file=path) == ["ruff", "check", path]


@given(st.lists(st.text("abc '\"\\$`", min_size=1, max_size=8), min_size=1, max_size=4))
def test_words_are_split_as_a_shell_would(words):
    assert expand_command(shlex.join(words)) == words
