"""Facts of a project that help with a step: what lies near its file, and who mentions it.

Three read-only tools, each with a small result that the cache keeps (`tasks.tool_cache`), and the
short lines that a prompt gets of them. They tell names and numbers only, never a file's text.
"""

from __future__ import annotations

import builtins
import hashlib
import json
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

from storage.database import SCHEMA_VERSION
from tasks.git import Git, records
from tasks.run import PlannedStep
from tasks.tool_cache import ToolCache

MOST_NAMES: Final = 40
"""The most names of one folder."""

MOST_PLACES: Final = 20
"""The most files in which a name occurs."""

MOST_TERMS: Final = 4
"""The most names that are looked for."""

MOST_FILES: Final = 20_000
"""In a larger repository names are not looked for: that would take seconds for each."""

_LINE: Final = 600
_SHOWN: Final = 8
_NAMELESS: Final = frozenset({"__init__", "__main__", "index", "main", "mod", "lib"})
_COMMON: Final = frozenset(dir(builtins)) | {"null", "true", "false", "undefined", "self", "this"}
_QUOTED: Final = re.compile(r"`([^`\n]{1,200})`")
_CALLED: Final = re.compile(r"\b([A-Za-z_]\w{2,})\(")
_COMPOUND: Final = re.compile(r"\b([a-z]\w*_\w+|[A-Z][a-z0-9]+(?:[A-Z][a-z0-9]*)+)\b")
_NAME: Final = re.compile(r"[A-Za-z_]\w{2,80}")


def for_step(cache: ToolCache, git: Git, commit: str, step: PlannedStep) -> list[str]:
    """Return short lines for a step's prompt; none where there is nothing to tell.

    Args:
        cache: the project's cache.
        git: a git that has the commit. With a work tree, its files are what is read, those that
            were edited or are new too.
        commit: the commit that the step starts from.
        step: the step.
    """
    planned = step.numbered.step
    state = fingerprint(git, commit)
    path = planned.file_path
    terms = terms_of(path, planned.instructions)
    near = cache.call(
        "list_files", "near", {"path": path}, state, lambda: list_files(git, commit, path)
    )
    places = cache.call(
        "search", "names", {"terms": terms}, state, lambda: search(git, commit, terms)
    )
    context = _subtask_context(cache, step.step_id)
    return summary(path, near, places, context)


def fingerprint(git: Git, commit: str) -> str:
    """Return what tells the state of a project's files from any other.

    Without a work tree that is the commit's tree. With one, every file counts that differs from
    the commit, uncommitted and untracked ones with their content; what git ignores does not.

    Raises:
        GitError: there is no such commit.
    """
    tree = git.tree_of(commit)
    if git.work_tree is None:
        return f"tree {tree}"
    options = ("-z", "--name-only", "--no-renames", "--no-ext-diff", "--ignore-submodules=dirty")
    edited = records(git.run(*_there(git), "diff", *options, commit, "--"))
    new = records(git.run(*_there(git), "ls-files", "-z", "--others", "--exclude-standard"))
    state = {path: _state_of(git.work_tree / path) for path in (*edited, *new)}
    if not state:
        return f"tree {tree}"
    told = json.dumps(state, sort_keys=True).encode("utf-8", "surrogatepass")
    return f"tree {tree} with {hashlib.sha256(told).hexdigest()}"


def _there(git: Git) -> tuple[str, ...]:
    """Return the words that have git start in the work tree, if it has one."""
    return () if git.work_tree is None else ("-C", str(git.work_tree))


def _state_of(file: Path) -> str:
    """Tell a file's content and mode; links are not followed."""
    try:
        found = file.lstat()
        if stat.S_ISLNK(found.st_mode):
            return f"link {os.readlink(file)}"  # noqa: PTH115 - a name of any bytes, as it is
        if not stat.S_ISREG(found.st_mode):
            return f"{found.st_mode:o}"
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as stream:
            return f"{found.st_mode:o} {hashlib.file_digest(stream, 'sha256').hexdigest()}"
    except OSError as error:
        return f"gone: {error.strerror}"


def list_files(git: Git, commit: str, path: str) -> dict[str, Any]:
    """Return what lies beside a file, or in the nearest folder above it that is there.

    Returns:
        `folder` (empty: the root), `names` (folders with a `/` at the end, the file itself left
        out), and how many `more` there are.
    """
    for above in PurePosixPath(path).parents:
        folder = "" if str(above) == "." else str(above)
        names = _names_in(git, commit, folder)
        if names or not folder:
            break
    others = [name for name in names if f"{folder}/{name}".lstrip("/") != path]
    return {
        "folder": folder,
        "names": others[:MOST_NAMES],
        "more": max(0, len(others) - MOST_NAMES),
    }


def _names_in(git: Git, commit: str, folder: str) -> list[str]:
    begin = f"{folder}/" if folder else ""
    where = ("--", begin) if begin else ()
    if git.work_tree is None:
        listed = git.run("ls-tree", "-z", "--full-tree", commit, *where)
        found = []
        for record in records(listed):
            head, _, path = record.partition("\t")
            name = path.removeprefix(begin)
            found.append(f"{name}/" if head.split(" ")[1] != "blob" else name)
        return sorted(found)
    options = ("-z", "--cached", "--others", "--exclude-standard")
    inside = (
        path.removeprefix(begin).partition("/")
        for path in records(git.run(*_there(git), "ls-files", *options, *where))
        if os.path.lexists(git.work_tree / path)
    )
    return sorted({name + slash for name, slash, _ in inside})


def search(git: Git, commit: str, terms: Sequence[str]) -> dict[str, Any]:
    """Return in which text files names occur as whole words.

    Returns:
        `files`: how many were searched; None: they are too many to search. `places`: per name the
        files with the number of `lines`, most lines first, and how many `more` files there are.
    """
    count = git.run("ls-tree", "-r", "-z", "--name-only", "--full-tree", commit).count(b"\0")
    if count > MOST_FILES:
        return {"files": None, "places": {}}
    return {"files": count, "places": {term: _places_of(git, commit, term) for term in terms}}


def _places_of(git: Git, commit: str, term: str) -> dict[str, Any]:
    where = (commit,) if git.work_tree is None else ("--untracked",)
    options = ("-I", "-F", "-w", "-c", "-z", "--full-name", "--no-recurse-submodules")
    begin = f"{commit}:" if git.work_tree is None else ""
    words = (*_there(git), "grep", *options, "-e", term, *where)
    lines = git.run(*words, ok=(0, 1)).split(b"\n")
    counted = []
    for line in filter(None, lines):
        path, _, number = line.rpartition(b"\0")
        counted.append((-int(number), os.fsdecode(path).removeprefix(begin)))
    counted.sort()
    return {
        "in": [{"path": path, "lines": -number} for number, path in counted[:MOST_PLACES]],
        "more": max(0, len(counted) - MOST_PLACES),
    }


def _subtask_context(cache: ToolCache, step_id: int) -> dict[str, Any]:
    with cache.database.transaction() as ledger:
        rows = ledger.subtask_of_step(step_id)
    found: dict[str, Any] = {
        "subtask": rows[0]["key"] if rows else None,
        "steps": [
            {
                "number": row["step_number"],
                "type": row["step_type"],
                "file": row["file_path"],
                "status": row["step_status"],
                "attempts": row["attempt_count"],
                "this": row["this_one"],
            }
            for row in rows
        ],
    }
    # The schema's version alone would let a step look unfinished for as long as a result lives.
    rest = hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()
    state = f"schema {SCHEMA_VERSION}, steps {rest}"
    result: dict[str, Any] = cache.call(
        "subtask_context", "steps", {"step_id": step_id}, state, lambda: found
    )
    return result


def terms_of(path: str, instructions: str) -> list[str]:
    """Return the names to look for: the module's, then those that the instructions mention.

    Names are what stands in backquotes, is called, or is written in snake_case or CamelCase;
    names that every program has are left out.
    """
    found = [_module_name(path)]
    mentioned: list[tuple[int, str]] = []
    for quoted in _QUOTED.finditer(instructions):
        words = _NAME.findall(quoted[1].partition("(")[0])
        # Of `billing.total_of` the last is the name; a sentence or a path in quotes names nothing.
        if words and not set(" /") & set(quoted[1].partition("(")[0].strip()):
            mentioned.append((quoted.start(), words[-1]))
    for pattern in (_CALLED, _COMPOUND):
        mentioned += [(each.start(1), each[1]) for each in pattern.finditer(instructions)]
    found += [name for _, name in sorted(mentioned)]
    usable = (name for name in found if _is_name(name) and name not in _COMMON)
    return list(dict.fromkeys(usable))[:MOST_TERMS]


def _is_name(word: str) -> bool:
    return _NAME.fullmatch(word) is not None and word.isidentifier()


def _module_name(path: str) -> str:
    """Return what others would call a file by: `roman` for src/roman.py and tests/test_roman.py."""
    parts = PurePosixPath(path)
    name = parts.name.split(".")[0]
    name = name.removeprefix("test_").removesuffix("_test")
    return parts.parent.name if name in _NAMELESS else name


def summary(
    path: str, near: dict[str, Any], places: dict[str, Any], context: dict[str, Any]
) -> list[str]:
    """Return what the three tools said as short lines for a prompt.

    Args:
        path: the step's file, which is not told where it occurs itself.
        near: what `list_files` returned.
        places: what `search` returned.
        context: the steps of the subtask.
    """
    lines = []
    if near["names"]:
        folder = f"{_shown(near['folder'])}/" if near["folder"] else "the repository's root"
        beside = (
            "Beside it" if str(PurePosixPath(path).parent) == (near["folder"] or ".") else "Near"
        )
        lines.append(f"{beside}, in {folder}: {_some(map(_shown, near['names']), near['more'])}.")
    for term, found in places["places"].items():
        others = [
            f"{_shown(one['path'])} ({one['lines']} line{'s' if one['lines'] > 1 else ''})"
            for one in found["in"]
            if one["path"] != path
        ]
        if others:
            lines.append(f"`{term}` occurs in {_some(others, found['more'])}.")
    if len(context["steps"]) > 1:
        steps = (
            f"{one['number']} ({one['type']}, {_shown(one['file'] or '')}): "
            + ("this one" if one["this"] else one["status"].replace("_", " "))
            for one in context["steps"]
        )
        lines.append(f"Steps of this subtask: {'; '.join(steps)}.")
    return [line if len(line) <= _LINE else f"{line[: _LINE - 1]}…" for line in lines]


def _some(names: Any, more: int) -> str:
    """Return the first names, and how many there are besides."""
    listed = list(names)
    rest = more + max(0, len(listed) - _SHOWN)
    return ", ".join(listed[:_SHOWN]) + (f" and {rest} more" if rest else "")


def _shown(name: str) -> str:
    """Return a path for a prompt: one with line ends or other controls in it is escaped."""
    return name if name.isprintable() else ascii(name)
