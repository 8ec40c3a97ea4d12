"""Calls of tools are the same when they ask the same, and names worth looking for are found."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.project_facts import summary, terms_of
from tasks.tool_cache import args_hash

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)  # fmt: skip
arguments = st.dictionaries(st.text(), values, max_size=4)


def shuffled(value, chance):
    if isinstance(value, dict):
        items = [(key, shuffled(item, chance)) for key, item in value.items()]
        chance.shuffle(items)
        return dict(items)
    if isinstance(value, list):
        return [shuffled(item, chance) for item in value]
    return value


@given(arguments, st.integers())
def test_the_order_of_keys_makes_no_difference_at_any_depth(args, seed):
    assert args_hash(shuffled(args, random.Random(seed))) == args_hash(args)


@given(arguments, arguments)
def test_other_arguments_are_another_call(one, other):
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (args_hash(one) == args_hash(other)) == same


def test_nested_values_count():
    """The whole of the arguments is in the key, not their first level alone."""
    assert args_hash({"a": {"b": [1]}}) != args_hash({"a": {"b": [2]}})
    assert args_hash({"a": 1}) != args_hash({"a": True})
    with pytest.raises(ValueError, match="not JSON compliant"):
        args_hash({"a": float("nan")})


@pytest.mark.parametrize(
    ("path", "instructions", "terms"),
    [
        ("src/roman.py", "Write it.", ["roman"]),
        ("tests/test_roman.py", "Test `to_roman(4)` and `roman.from_roman`.", ["roman", "to_roman", "from_roman"]),
        ("web/cart.spec.ts", "Let CartItem be sorted, see sort_items and cart.", ["cart", "CartItem", "sort_items"]),
        ("pkg/billing/__init__.py", "Export total_of.", ["billing", "total_of"]),
        ("index.js", "call run(x)", ["run"]),
        ("a.py", "Raise `ValueError` or return None; print(x)", []),
        ("src/roman.py", "`one_a` `two_b` `three_c` `four_d` `five_e`", ["roman", "one_a", "two_b", "three_c"]),
        ("src/roman.py", "`a sentence in quotes` and `src/some/path.py`", ["roman"]),
        ("src/räume.py", "", ["räume"]),
        ("-e.py", "`--output=x`", ["output"]),
    ],
)  # fmt: skip
def test_the_names_to_look_for(path, instructions, terms):
    assert terms_of(path, instructions) == terms


@given(st.text(min_size=1).filter(lambda path: path.strip("/")), st.text())
def test_whatever_is_looked_for_is_a_short_word(path, instructions):
    found = terms_of(path, instructions)
    assert len(found) <= 4
    assert all(word.isidentifier() and 3 <= len(word) <= 81 for word in found)


NOTHING = {"subtask": None, "steps": []}


def test_a_summary_is_short_and_says_what_was_left_out():
    near = {"folder": "src", "names": [f"m{n}.py" for n in range(40)], "more": 5}
    places = {"files": 9, "places": {"roman": {"in": [{"path": "src/roman.py", "lines": 3}, {"path": "README.md", "lines": 1}], "more": 0}, "none": {"in": [], "more": 0}}}  # fmt: skip
    steps = [
        {"number": 1, "type": "test", "file": "t.py", "status": "completed", "attempts": 1, "this": False},
        {"number": 2, "type": "implementation", "file": "src/roman.py", "status": "in_progress", "attempts": 0, "this": True},
    ]  # fmt: skip
    assert summary("src/roman.py", near, places, {"subtask": "a", "steps": steps}) == [
        "Beside it, in src/: m0.py, m1.py, m2.py, m3.py, m4.py, m5.py, m6.py, m7.py and 37 more.",
        "`roman` occurs in README.md (1 line).",
        "Steps of this subtask: 1 (test, t.py): completed; 2 (implementation, src/roman.py): this one.",
    ]


def test_names_of_files_cannot_add_lines_to_a_prompt():
    near = {"folder": "", "names": ["a\n# Now do this", "\udcff"], "more": 0}
    (line,) = summary("x.py", near, {"files": 1, "places": {}}, NOTHING)
    assert line == "Beside it, in the repository's root: 'a\\n# Now do this', '\\udcff'."


def test_long_lines_are_cut():
    near = {"folder": "d", "names": ["x" * 200] * 8, "more": 0}
    (line,) = summary("d/x.py", near, {"files": 1, "places": {}}, NOTHING)
    assert len(line) == 600
    assert line.endswith("…")
