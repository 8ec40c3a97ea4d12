"""The published JSON Schema says what the reader accepts."""

from __future__ import annotations

import json

import jsonschema
import pytest

from tasks.plan import plan_json_schema, plan_json_schema_text
from tasks.plan.schema import PUBLISHED, main

STEP = {"step_type": "test", "file_path": "tests/test_x.py", "instructions": "x"}


def plan(step):
    return {
        "feature": "F",
        "tasks": [{"title": "T", "subtasks": [{"key": "a", "title": "A", "steps": [step]}]}],
    }


def test_the_published_schema_is_up_to_date():
    assert PUBLISHED.read_text(encoding="utf-8") == plan_json_schema_text()
    assert main(["--check"]) == 0


def test_a_schema_that_is_not_up_to_date_is_told_and_written(tmp_path, capsys):
    path = tmp_path / "schema.json"
    assert main(["--check", "--file", str(path)]) == 1
    path.write_text("{}")
    assert main(["--check", "--file", str(path)]) == 1
    assert "not up to date" in capsys.readouterr().err
    assert main(["--file", str(path)]) == 0
    assert main(["--check", "--file", str(path)]) == 0


def test_it_is_a_valid_schema():
    jsonschema.Draft202012Validator.check_schema(plan_json_schema())


def test_every_field_is_described():
    for name, definition in {**plan_json_schema()["$defs"], "plan": plan_json_schema()}.items():
        assert definition.get("description") or name == "JsonValue", name
        for field, said in definition.get("properties", {}).items():
            assert said.get("description"), f"{name}.{field}"


@pytest.mark.parametrize(
    "step",
    [
        STEP,
        STEP | {"assigned_to": "TaraAider", "context_files": ["a"], "expect": None},
        STEP | {"expect": "green", "skill": {"name": "x", "parameters": {"a": [1, None]}}},
        STEP | {"replay": [{"file": "a"}, {"repo": ".", "commit": "abc"}]},
    ],
)
def test_good_plans_pass_the_schema(step):
    jsonschema.validate(plan(step), plan_json_schema())


@pytest.mark.parametrize(
    "change",
    [
        {"colour": "red"},
        {"step_type": "tests"},
        {"assigned_to": "Tara"},
        {"expect": "blue"},
        {"context_files": "a"},
        {"instructions": ""},
        {"replay": [{}]},
        {"replay": [{"repo": "."}]},
        {"may_remove_tests": "yes"},
    ],
)
def test_bad_plans_fail_the_schema(change):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(plan(STEP | change), plan_json_schema())


def test_the_schema_is_json_for_people():
    assert json.loads(plan_json_schema_text()) == plan_json_schema()
    assert plan_json_schema_text().endswith("}\n")
