"""Which paths a feature plan may name: files inside the repository, each spelled one way only."""

from __future__ import annotations

import posixpath
import re
import unicodedata

_DRIVE = re.compile(r"[A-Za-z]:")
# Windows' short name for `.git`; git itself refuses it for the same reason (core.protectNTFS).
_GIT_ALIASES = {".git", "git~1"}
_LONGEST_PATH = 4096
_LONGEST_PART = 255


def path_problem(path: str) -> str | None:
    """Say what is wrong with a path inside the repository, and what would work; None if nothing.

    A good path is relative to the repository's root, in POSIX form and in its shortest spelling
    (two spellings of one file would be two locks), names a file and nothing inside `.git`
    however its letters are cased.
    """
    shown = repr(path if len(path) <= 120 else path[:119] + "…")
    if not path.strip():
        return f"an empty path {shown}: name a file of the repository, such as 'src/roman.py'"
    return _character_problem(path, shown) or _form_problem(path, shown)


def is_git_part(part: str) -> bool:
    """Whether some file system would take this part of a path for the folder `.git`.

    Case, trailing dots and spaces (NTFS) and invisible characters (HFS+) make no difference there.
    """
    visible = "".join(c for c in part if unicodedata.category(c) != "Cf")
    name = visible.split(":", 1)[0].rstrip(". ").casefold()
    return name in _GIT_ALIASES


def _character_problem(path: str, shown: str) -> str | None:
    if "\\" in path:
        return f"a backslash in {shown}: write folders with '/', such as 'src/roman.py'"
    if any(unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} for c in path):
        return f"a control character in {shown}: a path is printable text"
    if path != path.strip():
        return f"white space around the path {shown}: write {path.strip()!r}"
    return None


def _form_problem(path: str, shown: str) -> str | None:
    """Check everything but the characters, the most telling problem first."""
    rest = "write it relative to the repository's root, such as 'src/roman.py'"
    parts = path.split("/")
    problems = (
        (path.startswith("/"), f"an absolute path {shown}: {rest}"),
        (_DRIVE.match(path), f"a path with a drive letter {shown}: {rest}"),
        (path.startswith("~"), f"a path in a home folder {shown}: {rest}"),
        (".." in parts, f"'..' in the path {shown}: a plan stays inside the repository, so {rest}"),
        (
            any(is_git_part(part) for part in parts),
            f"a path inside git's own folder {shown}: no step may touch '.git'",
        ),
        (
            path.startswith("-"),
            f"a path that begins with '-' {shown}: test and lint commands would read an option",
        ),
        (
            path.endswith("/") or path == ".",
            f"a folder {shown}: a step edits exactly one file, so name the file",
        ),
        (
            posixpath.normpath(path) != path,
            f"a path in a roundabout spelling {shown}: write {posixpath.normpath(path)!r}",
        ),
        (
            len(path.encode()) > _LONGEST_PATH
            or max(len(part.encode()) for part in parts) > _LONGEST_PART,
            f"a path that is too long {shown}: file systems take {_LONGEST_PART} bytes a part",
        ),
    )
    return next((message for applies, message in problems if applies), None)
