"""Tests that lose their checks show in the source, even when the file does not load."""

from __future__ import annotations

import pytest

from tasks.gates.test_source import weakened

OLD = b"""
import pytest
class TestX:
    def test_a(self):
        assert f() == 1
def test_b():
    with pytest.raises(ValueError):
        f()
def test_no_checks():
    f()
def helper():
    assert 1
"""


@pytest.mark.parametrize(
    ("new", "names"),
    [
        (OLD, []),
        (OLD + b"\ndef test_c(): assert 0", []),
        (OLD.replace(b"== 1", b"== 2"), []),
        (OLD.replace(b"assert f() == 1", b"pass"), ["TestX.test_a"]),
        (OLD.replace(b"with pytest.raises(ValueError):\n        f()", b"f()"), ["test_b"]),
        (OLD.replace(b"def test_b", b"def tset_b"), ["test_b"]),
        (b"", ["TestX.test_a", "test_b", "test_no_checks"]),
        (None, ["TestX.test_a", "test_b", "test_no_checks"]),
        (b"def broken(", []),
    ],
)
def test_removed_and_emptied_tests_are_named(new, names):
    assert [sentence.split(" ")[0] for sentence in sorted(weakened(OLD, new))] == sorted(names)


def test_a_new_file_weakens_nothing():
    assert weakened(None, b"def test_a(): pass") == []


def test_unittest_assertions_count_as_checks():
    old = b"class T:\n    def test_a(self):\n        self.assertEqual(1, 1)"
    assert weakened(old, old.replace(b"self.assertEqual(1, 1)", b"pass"))
