"""A plan that is written as YAML is the same plan when it is read again."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.plan import FeaturePlan, parse_plan
from tasks.plan.writing import dump_plan_yaml

words = st.text(min_size=1, max_size=60).filter(lambda text: text.strip() == text)
anything = st.text(max_size=80) | st.text("ab \n\t:-#'\"{}[]\r\\", max_size=40)


@st.composite
def steps(draw):
    step_type = draw(st.sampled_from(["test", "implementation"]))
    path = draw(st.sampled_from(["a.py", "b c.py", "yes", "1e3", "ü/x", "#x", "{a}", "[id].ts"]))
    step = {"step_type": step_type, "file_path": path, "instructions": draw(words)}
    if draw(st.booleans()):
        step["context_files"] = draw(st.lists(st.sampled_from(["x", "a, b", "no", "[x]", "'"])))
    if draw(st.booleans()):
        step["expect"] = draw(st.sampled_from(["green", "unchanged"]))
    if draw(st.booleans()):
        value = st.none() | st.booleans() | st.integers() | anything
        step["skill"] = {
            "name": draw(words),
            "parameters": draw(st.dictionaries(anything, value | st.lists(value), max_size=3)),
        }
    entry = st.sampled_from(
        [{"file": "r/x.py"}, {"repo": ".", "commit": "1234567"}, {"repo": "a b", "commit": "1e10"}]
    )
    step["replay"] = draw(st.lists(entry, max_size=3))
    step["may_remove_tests"] = draw(st.booleans())
    return step


@st.composite
def plans(draw):
    count = draw(st.integers(1, 3))
    subtasks = [
        {
            "key": draw(st.sampled_from(["a", "0x1f", "1e5", "no", "12"])) + f"-{i}",
            "title": draw(words),
            "description": draw(anything),
            "acceptance_criteria": draw(st.lists(words, max_size=2)),
            "steps": draw(st.lists(steps(), min_size=1, max_size=3)),
            "integration": draw(st.lists(steps(), max_size=1)),
        }
        for i in range(count)
    ]
    for before, after in itertools.pairwise(subtasks):
        after["depends_on"] = [before["key"]]
    return FeaturePlan.model_validate(
        {
            "feature": draw(words),
            "description": draw(anything),
            "tasks": [{"title": draw(words), "subtasks": subtasks}],
        }
    )


@given(plans())
def test_a_written_plan_is_read_as_the_same_plan(plan):
    read = parse_plan(dump_plan_yaml(plan), "plan.yaml")
    assert read == plan
    assert read.sha256() == plan.sha256()


@pytest.mark.parametrize(
    "text",
    [
        "x\x85\n\x85y",
        "a \u2029 b",
        "a\u200bb",
        "a\ue000b",
        "no",
        "null",
        "1",
        "1.0",
        "0x1f",
        "2020-01-01",
        "~",
        "- a",
        "a: b",
        "a #b",
        "'",
        '"',
        "@x",
        "`x`",
        "%x",
        "&a",
        "*a",
        "!x",
        "|",
        ">",
        "a\nb",
        "a\n\nb",
        "a\n  b\nc",
        "a \nb",
        "a\n\tb",
        "a\rb",
        "a\u2028b",
        "a\x85b",
        "\ufeffa",
        "é\n日本",
        "x\x00y",
        "a\n#b",
        "a\n---\nb",
        "a\n...\nb",
        "=",
        "<<",
        "...",
        "---",
        "x" * 5000,
        "word " * 500 + "end",
        "😀\nb",
    ],
)
def test_texts_that_yaml_could_take_for_something_else(text):
    plan = FeaturePlan.model_validate(
        {
            "feature": text,
            "description": text,
            "tasks": [
                {
                    "title": text,
                    "subtasks": [
                        {
                            "key": "a",
                            "title": text,
                            "steps": [
                                {"step_type": "test", "file_path": "x", "instructions": text}
                            ],
                        }
                    ],
                }
            ],
        }
    )
    assert parse_plan(dump_plan_yaml(plan), "plan.yaml") == plan


def test_what_is_written_reads_well():
    plan = FeaturePlan.model_validate(
        {
            "feature": "Roman numerals",
            "tasks": [
                {
                    "title": "Conversion",
                    "subtasks": [
                        {
                            "key": "to-roman",
                            "title": "Integer to numeral",
                            "description": "One.\nTwo.",
                            "steps": [
                                {
                                    "step_type": "test",
                                    "file_path": "tests/test_roman.py",
                                    "instructions": "Write tests.",
                                    "context_files": ["src/roman.py"],
                                    "replay": [{"repo": ".", "commit": "1234567"}],
                                }
                            ],
                        }
                    ],
                }
            ],
        }
    )
    assert dump_plan_yaml(plan) == (
        "feature: Roman numerals\n"
        "tasks:\n"
        "  - title: Conversion\n"
        "    subtasks:\n"
        "      - key: to-roman\n"
        "        title: Integer to numeral\n"
        "        description: |-\n"
        "          One.\n"
        "          Two.\n"
        "        steps:\n"
        "          - step_type: test\n"
        "            assigned_to: TaraAider\n"
        "            file_path: tests/test_roman.py\n"
        "            instructions: Write tests.\n"
        "            context_files: [src/roman.py]\n"
        "            replay:\n"
        "              - {repo: ., commit: '1234567'}\n"
    )
