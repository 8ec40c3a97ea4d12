"""Feature plans: read from a file, checked, and ready to be carried out.

This is the face of the subject. The models are in `tasks.plan.model`, what must hold for a plan
as a whole in `tasks.plan.structure`, reading text in `tasks.plan.reading`, and what can only be
told with the repository at hand in `tasks.plan.check`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from tasks.plan.check import CommittedTree, PlanWarning, check_plan_against_repository
from tasks.plan.model import (
    AssignedTo,
    Decomposition,
    Expectation,
    FeaturePlan,
    NumberedStep,
    PlanError,
    Replay,
    Skill,
    Stage,
    Step,
    StepType,
    Subtask,
    Task,
    effective_expectation,
)
from tasks.plan.reading import Document, read_document, read_text, with_lines
from tasks.plan.structure import nodes_of, structure_problems
from tasks.problems import (
    DocumentError,
    Location,
    Problem,
    known_keys,
    path_of,
    problems_of,
    received,
)

__all__ = [
    "AssignedTo",
    "CommittedTree",
    "Decomposition",
    "Expectation",
    "FeaturePlan",
    "NumberedStep",
    "PlanError",
    "PlanWarning",
    "Problem",
    "Replay",
    "Skill",
    "Stage",
    "Step",
    "StepType",
    "Subtask",
    "Task",
    "check_plan_against_repository",
    "effective_expectation",
    "load_decomposition",
    "load_plan",
    "parse_decomposition",
    "parse_plan",
    "plan_json_schema",
]


Model = TypeVar("Model", bound=BaseModel)


def load_plan(path: Path) -> FeaturePlan:
    """Return the feature plan in a YAML or JSON file.

    Raises:
        PlanError: the file cannot be read, or the plan in it has problems; all are in it.
    """
    return parse_plan(_text_of(path), str(path))


def parse_plan(text: str, source_name: str) -> FeaturePlan:
    """Return the feature plan that a YAML or JSON text holds.

    Args:
        text: the plan.
        source_name: what error messages call the text: its file's name.

    Raises:
        PlanError: the plan has problems; all of them are in it.
    """
    return _parse(text, source_name, FeaturePlan, lambda d: structure_problems(nodes_of(d)))


def load_decomposition(path: Path) -> Decomposition:
    """Return the small form of a plan in a file; raises PlanError as `load_plan` does."""
    return parse_decomposition(_text_of(path), str(path))


def parse_decomposition(text: str, source_name: str) -> Decomposition:
    """Return the small form of a plan, `{subtask_id, steps}`; raises PlanError."""
    return _parse(text, source_name, Decomposition, lambda _: [])


def plan_json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a feature plan."""
    schema = FeaturePlan.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def plan_json_schema_text() -> str:
    """Return the JSON Schema of a feature plan as the text that is published."""
    return json.dumps(plan_json_schema(), indent=2, ensure_ascii=False) + "\n"


def _text_of(path: Path) -> str:
    try:
        return read_text(path)
    except DocumentError as error:
        raise PlanError(error.source, error.problems) from None


def _parse(
    text: str,
    source: str,
    model: type[Model],
    check_whole: Callable[[object], list[tuple[Location, str]]],
) -> Model:
    """Read, check each value and check the whole; raise all that is wrong at once."""
    try:
        document = read_document(text, source)
    except DocumentError as error:
        raise PlanError(error.source, error.problems) from None
    if not isinstance(document.data, dict):
        keys = ", ".join(known_keys(model))
        message = f"must be a mapping with the keys {keys}; received {received(document.data)}"
        raise PlanError(source, [Problem("", message, document.line_of(()))])
    found = check_whole(document.data)
    try:
        plan = model.model_validate(document.data)
    except ValidationError as error:
        # What an after-validator says of the whole tree is in `found` already, with its place.
        found = [each for each in problems_of(error, model) if each[0]] + found
    else:
        if not found and not document.problems:
            return plan
    raise PlanError(source, _sorted(with_lines(document, text, source), found))


def _sorted(document: Document, found: list[tuple[Location, str]]) -> list[Problem]:
    """Return all problems of a document in the order of its lines.

    Of a value that could not be read only that is told, not what was made of it.
    """
    unread = {problem.path for problem in document.problems}
    made = [document.problem(*each) for each in found if path_of(each[0]) not in unread]
    unique = dict.fromkeys([*document.problems, *made])
    return sorted(unique, key=lambda problem: problem.line or 0)
