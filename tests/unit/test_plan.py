"""A feature plan is read as it is written, and all that is wrong with it is said at once."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from storage.exceptions import InputError
from tasks.plan import (
    FeaturePlan,
    PlanError,
    Step,
    Subtask,
    effective_expectation,
    load_decomposition,
    load_plan,
    parse_decomposition,
    parse_plan,
)
from tasks.plan.reading import MAX_BYTES

EXAMPLE = """
feature: Roman numerals
description: Convert both ways, 1..3999.
tasks:
  - title: Conversion
    subtasks:
      - key: to-roman
        title: Integer to numeral
        acceptance_criteria: ["4 -> IV", "0 and 4000 raise ValueError"]
        depends_on: []
        steps:
          - step_type: test
            assigned_to: TaraAider
            file_path: tests/test_roman.py
            instructions: "…"
            context_files: []
          - step_type: implementation
            assigned_to: DevonAider
            file_path: src/roman.py
            instructions: "…"
            context_files: [tests/test_roman.py]
        integration: []
"""
TEST = {"step_type": "test", "file_path": "tests/test_x.py", "instructions": "x"}
SUBTASK = "tasks[0].subtasks[0]"
CODE = {"step_type": "implementation", "file_path": "src/x.py", "instructions": "x"}


def plan_data(*subtasks, **more):
    return {"feature": "F", "tasks": [{"title": "T", "subtasks": list(subtasks)}]} | more


def subtask(key="a", *steps, **more):
    return {"key": key, "title": key.upper(), "steps": list(steps) or [TEST]} | more


def parse(data) -> FeaturePlan:
    return parse_plan(json.dumps(data), "plan.json")


def problems(data_or_text, parser=parse_plan) -> dict[str, str]:
    """Return the problems by path; a text that is refused twice at one place shows the last."""
    text = data_or_text if isinstance(data_or_text, str) else json.dumps(data_or_text)
    with pytest.raises(PlanError) as caught:
        parser(text, "plan.yaml")
    return {problem.path: problem.message for problem in caught.value.problems}


def step_problem(field, value, base=TEST) -> str:
    """Return what is said about one field of a step, and check that nothing else is said."""
    found = problems(plan_data(subtask("a", {**base, field: value})))
    (path,) = found
    assert path.startswith(f"tasks[0].subtasks[0].steps[0].{field}"), found
    return found[path]


# --- reading -------------------------------------------------------------------------------------


def test_the_example_of_the_design_is_read():
    plan = parse_plan(EXAMPLE, "plan.yaml")
    (only,) = plan.subtasks
    assert (plan.feature, only.key, only.acceptance_criteria[0]) == (
        "Roman numerals",
        "to-roman",
        "4 -> IV",
    )
    assert [step.file_path for step in only.steps] == ["tests/test_roman.py", "src/roman.py"]
    assert only.steps[1].context_files == ("tests/test_roman.py",)


def test_yaml_and_json_say_the_same():
    data = plan_data(subtask("a", TEST, CODE))
    as_yaml = """
        feature: F
        tasks:
        - title: T
          subtasks:
          - key: a
            title: A
            steps:
            - {step_type: test, file_path: tests/test_x.py, instructions: x}
            - {step_type: implementation, file_path: src/x.py, instructions: x}
    """
    assert parse(data) == parse_plan(dedent(as_yaml), "plan.yaml")


def test_everything_a_step_may_say_is_read():
    step = {
        **TEST,
        "expect": "green",
        "may_remove_tests": True,
        "skill": {"name": "tidy", "parameters": {"n": 1, "deep": [{"x": None}]}},
        "replay": [{"repo": ".", "commit": "1f2e3d4"}, {"file": "replay/x.py"}],
    }
    (read,) = parse(plan_data(subtask("a", step))).subtasks[0].steps
    assert (read.expect, read.may_remove_tests) == ("green", True)
    assert read.skill is not None
    assert read.skill.parameters == {"n": 1, "deep": [{"x": None}]}
    assert [(r.repo, r.commit, r.file) for r in read.replay] == [
        (".", "1f2e3d4", None),
        (None, None, "replay/x.py"),
    ]


def test_yaml_is_read_by_its_version_1_2():
    """`no`, `on` and dates are texts, as YAML 1.2 has it, whatever YAML 1.1 made of them."""
    text = EXAMPLE.replace("Integer to numeral", "no").replace("Conversion", "2020-01-01")
    plan = parse_plan(text, "plan.yaml")
    assert (plan.subtasks[0].title, plan.tasks[0].title) == ("no", "2020-01-01")


def test_aliases_stand_for_what_they_name():
    text = EXAMPLE.replace("feature: Roman numerals", "feature: &name Roman numerals")
    assert parse_plan(text.replace("title: Conversion", "title: *name"), "p").tasks[0].title == (
        "Roman numerals"
    )


def test_block_text_keeps_its_lines():
    text = EXAMPLE.replace(
        "description: Convert both ways, 1..3999.", "description: |\n  a\n   b\n"
    )
    assert parse_plan(text, "p").description == "a\n b\n"


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + EXAMPLE.replace("\n", "\r\n").encode())
    assert load_plan(path) == parse_plan(EXAMPLE, "p")


def test_what_is_read_cannot_be_changed():
    plan = parse_plan(EXAMPLE, "p")
    with pytest.raises(ValidationError, match="frozen"):
        plan.feature = "other"  # type: ignore[misc]


# --- texts that are no plan at all ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "is empty"),
        ("  \n\t\n", "is empty"),
        ("# only a comment\n", "is empty"),
        ("---\n", "must be a mapping"),
        ("null", "must be a mapping"),
        ("- a\n- b\n", "keys feature, description, tasks; received a list of 2"),
        ("[]", "must be a mapping"),
        ("just words", "must be a mapping"),
        ("42", "must be a mapping"),
        ("{[", "is no valid YAML"),
        ("a: [1, 2", "is no valid YAML"),
        ("a:\n\t- b", "is no valid YAML"),
        ("a: *nowhere", "is no valid YAML"),
        ("--- {a: 1}\n--- {b: 2}", "is no valid YAML"),
        ("a: \x00", "is no valid YAML"),
        ('{"a": 1,}x', "is no valid YAML"),
        ("[" * 5000, "nested too deeply"),
        ("x" * (MAX_BYTES + 1), "is longer than 2,000,000 bytes"),
    ],
)
def test_a_text_that_is_no_plan_is_refused_with_one_message(text, named):
    with pytest.raises(PlanError) as caught:
        parse_plan(text, "plan.yaml")
    assert len(caught.value.problems) == 1
    assert named in str(caught.value)
    assert str(caught.value).startswith("plan.yaml: ")


def test_the_line_of_broken_yaml_is_told():
    with pytest.raises(PlanError, match="line 3: is no valid YAML"):
        parse_plan("a: 1\nb: 2\n\t- c\n", "plan.yaml")


@pytest.mark.parametrize("loader", [load_plan, load_decomposition])
class TestFiles:
    def test_missing(self, loader, tmp_path):
        with pytest.raises(PlanError, match=r"nowhere\.yaml: there is no such file"):
            loader(tmp_path / "nowhere.yaml")

    def test_folder(self, loader, tmp_path):
        with pytest.raises(PlanError, match="is a folder"):
            loader(tmp_path)

    def test_under_a_file(self, loader, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(PlanError, match="cannot be read: Not a directory"):
            loader(tmp_path / "file" / "plan.yaml")

    def test_not_utf8(self, loader, tmp_path):
        path = tmp_path / "plan.yaml"
        path.write_bytes(b"feature: x\nname: \xff\n")
        with pytest.raises(PlanError, match="line 2: is not UTF-8 text: received the byte 0xff"):
            loader(path)

    def test_utf16(self, loader, tmp_path):
        path = tmp_path / "plan.yaml"
        path.write_bytes(EXAMPLE.encode("utf-16"))
        with pytest.raises(PlanError, match="UTF-8"):
            loader(path)

    def test_too_long(self, loader, tmp_path):
        path = tmp_path / "plan.yaml"
        path.write_bytes(b"#" * (MAX_BYTES + 1))
        with pytest.raises(PlanError, match="longer than"):
            loader(path)


def test_a_bad_plan_is_bad_input():
    """The command line turns it into exit code 2."""
    with pytest.raises(InputError) as caught:
        parse_plan("", "p")
    assert caught.value.exit_code == 2


# --- only plain data -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "path", "named"),
    [
        ("feature: B", "feature", "given twice (first on line 1)"),
        ("description: !!python/object/apply:os.system [ls]", "description", "not plain data"),
        ("description: !custom x", "description", "not plain data"),
        ("description: !!binary aGk=", "description", "not plain data"),
        ("<<: {description: x}", "", "not plain text"),
        ("? [a, b]\n: x", "", "not plain text"),
        ("description: !!int x", "description", "put it in quotes"),
    ],
)
def test_only_plain_data_is_read(line, path, named):
    found = problems(f"feature: A\n{line}\ntasks: []\n")
    assert named in found[path]


def test_a_duplicate_key_deep_inside_is_found_in_json_too():
    text = '{"feature": "F", "tasks": [{"title": "T", "title": "U", "subtasks": []}]}'
    assert "given twice" in problems(text)["tasks[0].title"]


def test_a_document_that_grows_by_its_aliases_is_refused():
    """A "billion laughs" document ends with a message, quickly, not with the memory used up."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    with pytest.raises(PlanError, match="more than 200,000 values"):
        parse_plan("\n".join(lines), "plan.yaml")


def test_a_value_that_contains_itself_is_refused():
    assert "part of" in problems("feature: &a [*a]\ntasks: []")["feature[0]"]


@given(st.text(max_size=200))
def test_any_text_is_a_plan_or_a_plan_error(text):
    """No text makes the reader fail in a way that is not for people."""
    with contextlib.suppress(PlanError):
        parse_plan(text, "plan.yaml")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["feature", "tasks", "title", "subtasks", "key", "depends_on", "steps", "x"]
            )
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=25,
)


@given(json_values)
def test_any_data_is_a_plan_or_a_plan_error(data):
    with contextlib.suppress(PlanError):
        parse_plan(json.dumps(data), "plan.json")


# --- single values -------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["step_type", "file_path", "instructions"])
def test_a_required_key_of_a_step_that_is_missing_is_named(field):
    found = problems(plan_data(subtask("a", {k: v for k, v in TEST.items() if k != field})))
    assert found[f"tasks[0].subtasks[0].steps[0].{field}"].startswith("is missing.")


@pytest.mark.parametrize("field", ["feature", "tasks"])
def test_a_required_key_of_a_plan_that_is_missing_is_named(field):
    data = plan_data(subtask())
    del data[field]
    assert problems(data)[field].startswith("is missing.")


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("step_type", "tests", "must be one of 'test' or 'implementation'; received 'tests'"),
        ("step_type", None, "received nothing (null)"),
        ("assigned_to", "DevonAider", "such a step is done by 'TaraAider'"),
        ("assigned_to", "Tara", "must be one of"),
        ("instructions", "", "must not be empty"),
        ("instructions", "   ", "must not be empty"),
        ("instructions", 5, "put it in quotes"),
        ("instructions", ["a"], "must be text, received a list of 1"),
        ("context_files", "a.py", "must be a list, received 'a.py'"),
        ("context_files", ["a.py", "../b.py"], "'..' in the path"),
        ("context_files", [3], "must be text"),
        ("expect", "blue", "must be one of"),
        ("may_remove_tests", "yes", "must be true or false, received 'yes'"),
        ("may_remove_tests", 1, "must be true or false"),
        ("skill", "tidy", "must be a mapping with the keys name, parameters"),
        ("skill", {"parameters": {}}, "is missing"),
        ("skill", {"name": "x", "args": {}}, "unknown key"),
        ("replay", {"file": "x"}, "must be a list"),
        ("replay", [{}], "{repo, commit} or {file}; received neither"),
        ("replay", [{"repo": "."}], "received {repo}"),
        ("replay", [{"commit": "abc"}], "received {commit}"),
        ("replay", [{"file": "x", "repo": ".", "commit": "a"}], "received {repo, commit, file}"),
        ("replay", [{"repo": "--upload-pack=x", "commit": "a"}], "is no repository"),
        ("replay", [{"repo": ".", "commit": "-x"}], "is no commit"),
        ("replay", [{"repo": ".", "commit": "a..b"}], "is no commit"),
        ("replay", [{"repo": ".", "commit": "a b"}], "is no commit"),
        ("replay", [{"repo": ".", "commit": 1234567}], "put it in quotes"),
        ("replay", [{"file": "../x"}], "'..'"),
        ("replay", [{"file": "/x"}], "absolute"),
        ("colour", "red", "unknown key"),
        ("filepath", "x", "did you mean 'file_path'?"),
    ],
)
def test_a_wrong_value_of_a_step_is_named_with_what_would_work(field, value, named):
    assert named in step_problem(field, value)


@pytest.mark.parametrize(
    ("base", "expect"),
    [(TEST, "red"), (TEST, "green"), (TEST, "unchanged"), (CODE, "green"), (CODE, "unchanged")],
)
def test_what_a_step_may_expect(base, expect):
    assert parse(plan_data(subtask("a", {**base, "expect": expect}))).subtasks[0].steps[0].expect


def test_an_implementation_step_cannot_expect_red():
    assert "it may expect 'green' or 'unchanged'" in step_problem("expect", "red", CODE)


def test_a_wrong_role_says_both_what_is_and_what_works():
    said = step_problem("assigned_to", "TaraAider", CODE)
    assert "received 'TaraAider'" in said
    assert "'DevonAider'" in said


@pytest.mark.parametrize(("base", "role"), [(TEST, "TaraAider"), (CODE, "DevonAider")])
def test_the_role_follows_from_the_type(base, role):
    assert parse(plan_data(subtask("a", base))).subtasks[0].steps[0].assigned_to == role


def test_a_step_without_a_valid_type_gets_no_second_complaint_about_its_role():
    found = problems(plan_data(subtask("a", {**TEST, "step_type": "x"})))
    assert list(found) == ["tasks[0].subtasks[0].steps[0].step_type"]


@pytest.mark.parametrize(
    "key", ["a", "1", "to-roman", "to_roman", "2-1-1", "a" * 64, "a-_-b", "x9"]
)
def test_keys_that_are_slugs(key):
    assert parse(plan_data(subtask(key))).subtask(key).key == key


@pytest.mark.parametrize(
    "key", ["", "-a", "a-", "_a", "To-Roman", "to roman", "a.b", "a/b", "é", "a" * 65, "a\n", " a"]
)
def test_keys_that_are_none_are_refused_with_the_rule(key):
    said = problems(plan_data(subtask(key)))["tasks[0].subtasks[0].key"]
    assert "lower-case letters, digits" in said


def test_a_refused_key_comes_with_one_that_would_work():
    (said,) = problems(plan_data(subtask("To Roman!"))).values()
    assert "such as 'to-roman'" in said


@pytest.mark.parametrize(
    ("data", "path", "named"),
    [
        (plan_data(), "tasks[0].subtasks", "must not be empty"),
        ({"feature": "F", "tasks": []}, "tasks", "must not be empty"),
        ({"feature": "F", "tasks": {}}, "tasks", "must be a list"),
        ({"feature": "F", "tasks": ["x"]}, "tasks[0]", "must be a mapping with the keys title"),
        (plan_data(subtask(), feature=""), "feature", "must not be empty"),
        (plan_data(subtask(), Feature="x"), "Feature", "did you mean 'feature'?"),
        (plan_data(subtask(), owner="x"), "owner", "known here: feature, description, tasks"),
        (plan_data(subtask() | {"steps": []}), SUBTASK, "has no steps"),
        (plan_data(subtask(description=None)), SUBTASK + ".description", "nothing (null)"),
        (plan_data(subtask(acceptance_criteria="x")), SUBTASK + ".acceptance_criteria", "list"),
        (
            plan_data(subtask(acceptance_criteria=[""])),
            SUBTASK + ".acceptance_criteria[0]",
            "empty",
        ),
        (plan_data(subtask(depends_on="b")), SUBTASK + ".depends_on", "must be a list"),
        (plan_data(subtask(integration=[{}])), SUBTASK + ".integration[0].step_type", "missing"),
    ],
)
def test_a_wrong_value_around_steps_is_named_with_its_path(data, path, named):
    assert named in problems(data)[path]


def test_a_subtask_of_integration_steps_only_is_fine():
    data = plan_data(subtask() | {"steps": [], "integration": [TEST]})
    assert parse(data).subtasks[0].numbered_steps()[0].stage == "integration_testing"


# --- all at once ---------------------------------------------------------------------------------

MANY = """\
feature: F
colour: red
tasks:
  - title: T
    subtasks:
      - key: a
        title: A
        depends_on: [b, nowhere]
        steps:
          - step_type: test
            assigned_to: DevonAider
            file_path: /etc/passwd
            instructions: x
      - key: b
        title: 5
        depends_on: [a]
        steps:
          - {step_type: test, file_path: ../x, instructions: ""}
      - key: b
        title: B
        steps: []
"""


def test_all_problems_are_told_at_once_with_their_lines():
    with pytest.raises(PlanError) as caught:
        parse_plan(MANY, "plan.yaml")
    found = {(p.line, p.path.removeprefix("tasks[0].subtasks")) for p in caught.value.problems}
    assert found == {
        (2, "colour"),
        (8, "[0].depends_on[0]"),
        (8, "[0].depends_on[1]"),
        (11, "[0].steps[0].assigned_to"),
        (12, "[0].steps[0].file_path"),
        (15, "[1].title"),
        (18, "[1].steps[0].file_path"),
        (18, "[1].steps[0].instructions"),
        (19, "[2].key"),
        (19, "[2]"),
    }
    text = str(caught.value)
    assert text.startswith("plan.yaml: 10 problems\n  - line 2: colour: unknown key")
    assert "a -> b -> a" in text


def test_problems_of_json_come_with_lines_too():
    text = json.dumps(plan_data(subtask("a", {**TEST, "file_path": "/x"})), indent=1)
    with pytest.raises(PlanError) as caught:
        parse_plan(text, "plan.json")
    (problem,) = caught.value.problems
    assert problem.line == 1 + text[: text.index('"file_path"')].count("\n")


def test_thousands_of_problems_are_all_told():
    data = plan_data(*(subtask(f"k{i}", {**TEST, "file_path": "/x"}) for i in range(1500)))
    assert len(problems(data)) == 1500


# --- keys and dependencies -----------------------------------------------------------------------


def links(**depends_on):
    return plan_data(*(subtask(key, depends_on=list(needed)) for key, needed in depends_on.items()))


@pytest.mark.parametrize(
    ("data", "path", "named"),
    [
        (links(a="a"), "[0].depends_on[0]", "depends on itself"),
        (links(a=["x"]), "[0].depends_on[0]", "there is no subtask 'x'; other keys: none"),
        (links(a=["too"], to=""), "[0].depends_on[0]", "did you mean 'to'?"),
        (links(a="bb", b=""), "[0].depends_on[1]", "named twice"),
        (links(a="b", b="a"), "[0].depends_on[0]", "a -> b -> a"),
        (links(a="b", b="c", c="a"), "[0].depends_on[0]", "a -> b -> c -> a"),
        (links(z="", c="b", b="c"), "[1].depends_on[0]", "c -> b -> c"),
    ],
)
def test_wrong_dependencies_are_named(data, path, named):
    assert named in problems(data)["tasks[0].subtasks" + path]


def test_two_cycles_are_both_named():
    said = "\n".join(problems(links(a="b", b="a", c="d", d="c")).values())
    assert "a -> b -> a" in said
    assert "c -> d -> c" in said


def test_a_key_is_unique_over_all_tasks():
    data = {"feature": "F", "tasks": [{"title": t, "subtasks": [subtask("a")]} for t in "TU"]}
    assert "taken" in problems(data)["tasks[1].subtasks[0].key"]


def test_a_plan_made_in_python_is_checked_as_well():
    with pytest.raises(ValidationError, match="depends on itself"):
        FeaturePlan.model_validate(links(a="a"))


@pytest.mark.parametrize(
    ("data", "order"),
    [
        (links(a="", b="", c=""), "abc"),
        (links(a="b", b="", c=""), "bac"),
        (links(a="c", b="c", c=""), "cab"),
        (links(a="b", b="c", c="d", d=""), "dcba"),
        (links(d="", c="d", b="d", a="cb"), "dcba"),
        (links(a="", b="d", c="", d="a"), "acdb"),
    ],
)
def test_the_order_keeps_dependencies_and_else_the_plan(data, order):
    assert "".join(s.key for s in parse(data).in_dependency_order()) == order


@given(
    st.integers(1, 12).flatmap(
        lambda n: st.lists(
            st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=20
        ).map(
            lambda pairs: {i: sorted({b for a, b in pairs if a == i and b < i}) for i in range(n)}
        )
    ),
    st.randoms(),
)
def test_every_acyclic_plan_has_an_order_that_is_stable(graph, random):
    keys = list(graph)
    random.shuffle(keys)
    data = plan_data(*(subtask(f"k{i}", depends_on=[f"k{j}" for j in graph[i]]) for i in keys))
    plan = parse(data)
    order = [s.key for s in plan.in_dependency_order()]
    assert sorted(order) == sorted(s.key for s in plan.subtasks)
    for each in plan.subtasks:
        assert all(order.index(other) < order.index(each.key) for other in each.depends_on)
    if not any(graph.values()):
        assert order == [s.key for s in plan.subtasks]


def test_an_unknown_subtask_is_named_with_those_there_are():
    with pytest.raises(KeyError, match="did you mean 'to-roman'"):
        parse_plan(EXAMPLE, "p").subtask("to-romn")


# --- steps: numbers, stages, expectations --------------------------------------------------------


def made(steps, integration=()) -> Subtask:
    return Subtask.model_validate(
        {"key": "a", "title": "A", "steps": list(steps), "integration": list(integration)}
    )


def test_steps_are_numbered_over_both_stages():
    numbered = made([TEST, CODE], [TEST, CODE]).numbered_steps()
    assert [(n.number, n.stage) for n in numbered] == [
        (1, "unit_testing"),
        (2, "unit_implementation"),
        (3, "integration_testing"),
        (4, "integration_implementation"),
    ]


@pytest.mark.parametrize(
    ("steps", "integration", "expected"),
    [
        ([TEST], [], ["red"]),
        ([CODE], [], ["green"]),
        ([TEST, CODE], [], ["red", "green"]),
        ([TEST, CODE, CODE], [], ["red", "unchanged", "green"]),
        ([TEST, CODE], [TEST, CODE], ["red", "green", "red", "green"]),
        ([CODE], [CODE, CODE], ["green", "unchanged", "green"]),
        ([CODE, TEST], [], ["green", "red"]),
        (
            [{**TEST, "expect": "green"}, {**CODE, "expect": "unchanged"}],
            [],
            ["green", "unchanged"],
        ),
        ([{**CODE, "expect": "green"}, CODE], [], ["green", "green"]),
        ([{**TEST, "expect": "unchanged"}], [], ["unchanged"]),
    ],
)
def test_what_steps_expect_by_default(steps, integration, expected):
    """The last implementation step of each list is green, earlier ones leave outcomes alone."""
    subject = made(steps, integration)
    assert [n.expect for n in subject.numbered_steps()] == expected
    assert [effective_expectation(subject, i + 1) for i in range(len(expected))] == expected


@pytest.mark.parametrize("number", [0, -1, 3])
def test_there_is_no_expectation_of_a_step_that_is_not_there(number):
    with pytest.raises(IndexError, match="has steps 1 to 2"):
        effective_expectation(made([TEST, CODE]), number)


def test_files_of_a_subtask_are_named_once_in_plan_order():
    more = made([TEST, CODE, {**CODE, "file_path": "b.py"}, CODE], [{**TEST, "file_path": "t2.py"}])
    assert more.target_files == ("src/x.py", "b.py")
    assert more.test_files == ("tests/test_x.py", "t2.py")


# --- the hash ------------------------------------------------------------------------------------


def test_the_hash_is_of_what_a_plan_says_not_of_how():
    base = parse(plan_data(subtask("a", TEST)))
    same = plan_data(subtask("a", {"assigned_to": "TaraAider", "context_files": [], **TEST}))
    reordered = {"tasks": same["tasks"], "description": "", "feature": "F"}
    assert base.sha256() == parse(same).sha256() == parse(reordered).sha256()
    assert len(base.sha256()) == 64


@pytest.mark.parametrize(
    "change", [{"expect": "green"}, {"instructions": "y"}, {"may_remove_tests": True}]
)
def test_the_hash_changes_with_what_a_plan_says(change):
    base = parse(plan_data(subtask("a", TEST)))
    assert base.sha256() != parse(plan_data(subtask("a", {**TEST, **change}))).sha256()


# --- the small form ------------------------------------------------------------------------------


@pytest.mark.parametrize("subtask_id", [7, "to-roman"])
def test_the_small_form_is_read(subtask_id):
    small = parse_decomposition(json.dumps({"subtask_id": subtask_id, "steps": [TEST]}), "d.json")
    assert (small.subtask_id, small.steps) == (subtask_id, (Step.model_validate(TEST),))


@pytest.mark.parametrize(
    ("data", "path", "named"),
    [
        ({"steps": [TEST]}, "subtask_id", "is missing"),
        ({"subtask_id": 1}, "steps", "is missing"),
        ({"subtask_id": 1, "steps": []}, "steps", "must not be empty"),
        ({"subtask_id": [], "steps": [TEST]}, "subtask_id", "must be a subtask's id or key"),
        ({"subtask_id": True, "steps": [TEST]}, "subtask_id", "received true (a boolean)"),
        ({"subtask_id": 1.5, "steps": [TEST]}, "subtask_id", "must be a subtask's id or key"),
        ({"subtask_id": None, "steps": [TEST]}, "subtask_id", "nothing (null)"),
        ({"subtask_id": 1, "steps": [TEST | {"expect": 1}]}, "steps[0].expect", "must be one of"),
        ({"subtask_id": 1, "steps": [TEST], "step": []}, "step", "did you mean 'steps'?"),
    ],
)
def test_problems_of_the_small_form_are_told_like_a_plans(data, path, named):
    assert named in problems(data, parse_decomposition)[path]


def test_the_plan_of_the_demo_is_a_good_plan():
    root = Path(__file__).parents[2]
    assert load_plan(root / "flows" / "demo_data" / "plan.yaml").subtasks
