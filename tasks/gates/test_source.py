"""What a test file's source alone shows about weakened tests (Python only).

Running the suite shows removed, skipped and failing tests, but not a test that lost its
assertions, and nothing at all of a file that does not load yet. For Python the syntax tree does.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass


@dataclass(frozen=True)
class TestFunction:
    """A test as its source has it: qualified name and the number of checks in its body."""

    __test__ = False

    name: str
    checks: int


def test_functions(source: bytes) -> dict[str, TestFunction] | None:
    """Return the test functions of a Python file by qualified name (`TestX.test_y`).

    Returns:
        None when the source is no valid Python.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    found: dict[str, TestFunction] = {}
    _collect(tree, (), found)
    return found


test_functions.__test__ = False  # type: ignore[attr-defined]  # a name pytest would collect


def _collect(node: ast.AST, inside: tuple[str, ...], found: dict[str, TestFunction]) -> None:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            _collect(child, (*inside, child.name), found)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            if child.name.startswith("test"):
                name = ".".join((*inside, child.name))
                found[name] = TestFunction(name, _checks(child))
        elif isinstance(child, ast.If | ast.Try | ast.With):
            _collect(child, inside, found)


def _checks(function: ast.AST) -> int:
    """Count what can make a test fail on purpose: asserts, expected errors, calls that check."""
    count = 0
    for node in ast.walk(function):
        if isinstance(node, ast.Assert | ast.Raise):
            count += 1
        elif isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            name = node.func.id if isinstance(node.func, ast.Name) else name
            lowered = name.lower()
            if lowered.startswith(("assert", "check", "expect", "verify")) or lowered in (
                "raises",
                "warns",
                "fail",
                "deprecated_call",
            ):
                count += 1
    return count


def weakened(before: bytes | None, after: bytes | None) -> list[str]:
    """Say which tests of a Python file were removed or lost every check.

    Args:
        before: the file as it was, None when it did not exist.
        after: the file as the agent left it, None when it is gone.

    Returns:
        One sentence a test; empty when nothing was weakened or either side is not Python.
    """
    old = test_functions(before) if before is not None else None
    new = test_functions(after) if after is not None else {}
    if not old or new is None:
        return []
    removed = [f"{name} was removed" for name in old if name not in new]
    emptied = [
        f"{name} lost all its checks (it had {test.checks})"
        for name, test in old.items()
        if name in new and test.checks and not new[name].checks
    ]
    return removed + emptied
