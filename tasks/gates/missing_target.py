"""Whether an error says that the target of a subtask is missing.

In test-driven development a test's first failure is often that what it tests is not there yet:
the file cannot be loaded. Such an error is the right red only when it names the target, a file
(or a symbol of one) that the subtask's implementation steps will write; a misspelt import or a
missing dependency is a broken test.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_MODULE = re.compile(r"No module named ['\"]?([\w.]+)['\"]?")
_NAME_FROM = re.compile(
    r"cannot import name ['\"]?\w+['\"]? from (?:partially initialized module )?['\"]([\w.]+)['\"]"
)
_ATTRIBUTE = re.compile(r"module ['\"]([\w.]+)['\"] has no attribute")
_OWN_SYNTAX = re.compile(r"^(?:E\s+)?(?:SyntaxError|IndentationError|TabError)\b", re.MULTILINE)
_SYNTAX_FILE = re.compile(r'File "([^"]+)", line \d+')

#: How compilers and runtimes say that something is not there (Node, TypeScript, Go, Rust, Java).
_ABSENCE: Final = re.compile(
    r"cannot find|can't find|could not find|not found|undefined|unresolved|no such file"
    r"|has no exported member|does not provide an export|has no attribute|is not defined in",
    re.IGNORECASE,
)
#: Compilers that name the symbol, not the file it will be in; the build is of one package.
_SYMBOL_ONLY: Final = {".go": "undefined: ", ".rs": "cannot find "}


def names_target(text: str, targets: Iterable[str], test_file: str | None = None) -> bool:
    """Tell whether an error text names a missing target or arises inside one.

    Args:
        text: the error with its traceback.
        targets: relative paths of the files that the subtask's implementation steps write.
        test_file: the file whose own syntax errors are never the right reason.

    Returns:
        True when the error names a target's file, module or package as missing, or its
        traceback passes through a target file.
    """
    if test_file and _is_own_syntax_error(text, test_file):
        return False
    return any(_names(text, target) for target in targets)


def _is_own_syntax_error(text: str, test_file: str) -> bool:
    if not _OWN_SYNTAX.search(text):
        return False
    files = _SYNTAX_FILE.findall(text)
    return not files or files[-1].endswith(test_file)


def _names(text: str, target: str) -> bool:
    stem, dot, suffix = target.rpartition(".")
    path = stem if dot else target
    parts = path.split("/")
    if parts[-1] == "__init__":
        parts = parts[:-1]
    missing = [*_MODULE.findall(text), *_NAME_FROM.findall(text), *_ATTRIBUTE.findall(text)]
    if any(_within(module.split("."), parts) for module in missing):
        return True
    # A frame inside the target, or its path in quotes: `src/roman.py:12: in to_roman`.
    if re.search(rf"(?<![\w.-]){re.escape(target)}(?![\w/])", text):
        return True
    for line in text.splitlines():
        if _ABSENCE.search(line) and re.search(
            rf"(?<![\w-]){re.escape('/'.join(parts[-2:]))}(?![\w-])|"
            rf"(?<![\w.-]){re.escape(parts[-1])}(?![\w-])",
            line,
        ):
            return True
    phrase = _SYMBOL_ONLY.get(f".{suffix}") if dot else None
    return phrase is not None and phrase in text


def _within(module: list[str], parts: list[str]) -> bool:
    """Whether a dotted name is the target's module, under any root, or a package above it."""
    width = len(module)
    return any(parts[start : start + width] == module for start in range(len(parts) - width + 1))
