"""Command lines of the settings: one program with its arguments, never a shell.

Placeholders in braces (`{report}`, `{files}`, `{file}`) are filled in after the line is split into
words, so that a path with spaces or quotes stays one argument.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Sequence

from tasks.problems import received

_PLACEHOLDER = re.compile(r"\{([A-Za-z_]+)\}")
_SHELL_WORD = re.compile(r"&&|\|\|?|;|&|\d*>>?(?:&\d+)?|\d*<<?|\d*>&\d+")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_SEVERAL = "files"


def command_problem(
    command: str, *, required: Collection[str] = (), allowed: Collection[str] = ()
) -> str | None:
    """Say what is wrong with a command line, and what would work; None when nothing is.

    Args:
        command: the command line as the settings have it.
        required: the placeholders that must be in it.
        allowed: further placeholders that may be in it.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        return f"{received(command)} cannot be split into words: {error}; check its quotes"
    if not words:
        return f"{received(command)} names no program"
    return _shell_problem(words, command) or _placeholder_problem(
        words, command, set(required), {*required, *allowed}
    )


def expand_command(
    command: str, *, report: str | None = None, files: Sequence[str] = (), file: str | None = None
) -> list[str]:
    """Return the arguments of a checked command line with its placeholders filled in.

    Args:
        command: a command line that `command_problem` finds nothing wrong with.
        report: what `{report}` stands for: where the JUnit XML goes.
        files: what the word `{files}` stands for: one argument each.
        file: what `{file}` stands for: the step's file.
    """
    values = {"report": report, "file": file}
    arguments: list[str] = []
    for word in shlex.split(command):
        if word == f"{{{_SEVERAL}}}":
            arguments.extend(files)
            continue
        for name, value in values.items():
            if value is not None:
                word = word.replace(f"{{{name}}}", value)  # noqa: PLW2901 - filled in step by step
        arguments.append(word)
    return arguments


def _shell_problem(words: Sequence[str], command: str) -> str | None:
    """Find what only a shell would understand."""
    operator = next((word for word in words if _SHELL_WORD.fullmatch(word)), None)
    if operator is not None:
        return (
            f"{received(command)} has the shell's '{operator}', and commands run without a shell: "
            "put it in a script, or write sh -c '…'"
        )
    if _ASSIGNMENT.match(words[0]):
        return (
            f"{received(command)} begins with a variable, which takes a shell: "
            f"write env {command.strip()}"
        )
    return None


def _placeholder_problem(
    words: Sequence[str], command: str, required: set[str], known: set[str]
) -> str | None:
    found = {name for word in words for name in _PLACEHOLDER.findall(word)}
    unknown = sorted(found - known)
    if unknown:
        there = ", ".join(f"{{{name}}}" for name in sorted(known)) or "none"
        return f"has the placeholder {{{unknown[0]}}}, which is not known here; known here: {there}"
    missing = sorted(required - found)
    if missing:
        names = " and ".join(f"{{{name}}}" for name in missing)
        return f"lacks {names}: received {received(command)}; {_PURPOSE[missing[0]]}"
    if any(f"{{{_SEVERAL}}}" in word and word != f"{{{_SEVERAL}}}" for word in words):
        return "has {files} inside a word: it stands for several arguments, so write it alone"
    return None


_PURPOSE = {
    "report": "{report} is where the test runner must put its JUnit XML",
    "files": "{files} stands for the test files to run, one argument each",
    "file": "{file} stands for the step's file",
}
