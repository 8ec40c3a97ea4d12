"""A load error is the right red only when it names what the subtask is to write."""

from __future__ import annotations

import pytest

from tasks.gates.missing_target import names_target


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("roman.py", "ModuleNotFoundError: No module named 'roman'"),
        ("src/roman.py", "ModuleNotFoundError: No module named 'roman'"),
        ("src/pkg/roman.py", "ModuleNotFoundError: No module named 'pkg.roman'"),
        ("src/pkg/roman.py", "ModuleNotFoundError: No module named 'pkg'"),
        ("src/pkg/__init__.py", "ModuleNotFoundError: No module named 'pkg'"),
        ("pkg/more.py", "ImportError: cannot import name 'f' from 'pkg' (/s/pkg/__init__.py)"),
        ("pkg/more.py", "ImportError: cannot import name 'f' from 'pkg.more' (/s/pkg/more.py)"),
        ("pkg/more.py", "ImportError: cannot import name 'f' from partially initialized module 'pkg'"),
        ("pkg/more.py", "AttributeError: module 'pkg' has no attribute 'f'"),
        ("src/roman.py", "src/roman.py:12: in to_roman\nE  NotImplementedError"),
        ("src/roman.js", "Cannot find module '../src/roman' from 'tests/roman.test.js'"),
        ("src/roman.ts", "error TS2307: Cannot find module '../src/roman'"),
        ("roman.go", "./roman_test.go:8:7: undefined: ToRoman"),
        ("src/lib.rs", "error[E0425]: cannot find function `to_roman` in this scope"),
        ("src/Roman.java", "error: cannot find symbol class Roman"),
        ("data/rates.json", "FileNotFoundError: No such file or directory: '/s/data/rates.json'"),
    ],
)  # fmt: skip
def test_an_error_that_names_the_target_is_the_right_reason(target, text):
    assert names_target(text, [target])


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("src/roman.py", "ModuleNotFoundError: No module named 'rmoan'"),
        ("src/roman.py", "ModuleNotFoundError: No module named 'roman_numerals'"),
        ("src/roman.py", "ModuleNotFoundError: No module named 'requests'"),
        ("src/roman.py", "ImportError: cannot import name 'patch' from 'unittest.mock'"),
        ("src/roman.py", "NameError: name 'pytst' is not defined"),
        (
            "src/roman.py",
            "tests/test_roman.py:3: in <module>\nE   TypeError: f() missing 1 argument",
        ),
        ("src/roman.py", "fixture 'numeral' not found"),
        ("src/roman.js", "SyntaxError: Unexpected token (3:4) in tests/roman.test.js"),
    ],
)
def test_any_other_error_is_not(target, text):
    assert not names_target(text, [target])


def test_the_test_files_own_syntax_error_never_counts():
    text = (
        '  File "/s/tests/test_roman.py", line 1\n    import roman roman\nE   SyntaxError: invalid'
    )
    assert not names_target(text, ["roman.py"], "tests/test_roman.py")
