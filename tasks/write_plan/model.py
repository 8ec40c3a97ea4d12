"""The model of a write plan, and reading one from data, text or a file."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from tasks.plan.paths import path_problem
from tasks.plan.reading import read_document, read_text, with_lines
from tasks.problems import DocumentError, Location, Problem, path_of, problems_of, received

MOST_BYTES: Final = 20_000_000
"""The most that one operation may write; a larger file would be in no sandbox's commit either."""


class Code(StrEnum):
    """What kind of thing is wrong with an operation."""

    INVALID_OPERATION = "INVALID_OPERATION"  # no such operation, or not told as one
    INVALID_TARGET = "INVALID_TARGET"  # the path is not one that this operation may write
    INVALID_CONTENT = "INVALID_CONTENT"  # what is to be written is no text, or too much
    DIR_CREATE_FAILED = "DIR_CREATE_FAILED"  # a folder above it could not be made
    EXECUTION_FAILED = "EXECUTION_FAILED"  # it could not be written


@dataclass(frozen=True)
class CodedProblem(Problem):
    """One thing that is wrong with a write plan, with its code."""

    code: Code = Code.INVALID_OPERATION

    def __str__(self) -> str:
        return f"{self.code}: {super().__str__()}"


class WritePlanError(DocumentError):
    """A write plan cannot be read as one; `problems` holds all that is wrong, each with a code."""

    problems: tuple[CodedProblem, ...]

    def __init__(self, source: str, problems: Iterable[CodedProblem]) -> None:
        super().__init__(source, tuple(problems))


def _checked_target(path: str) -> str:
    problem = path_problem(path)
    if problem:
        raise ValueError(problem)
    return path


def _checked_content(content: str) -> str:
    try:
        size = len(content.encode())
    except UnicodeEncodeError as error:
        raise ValueError(
            f"is no text that UTF-8 can say: received half of a character at {error.start}"
        ) from None
    if size > MOST_BYTES:
        raise ValueError(f"is {size:,} bytes long; one operation writes at most {MOST_BYTES:,}")
    return content


class Operation(BaseModel):
    """One thing to do to one file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    operation: Literal["create", "append", "overwrite"] = Field(
        description=(
            "`create`: a file that is not there yet. `append`: text at the end of one that is "
            "there. `overwrite`: other text in one that is there."
        )
    )
    path: Annotated[str, AfterValidator(_checked_target)] = Field(
        description="The file, relative to the folder that the plan is for, with '/'."
    )
    content: Annotated[str, AfterValidator(_checked_content)] = Field(
        description="The text, written as UTF-8 exactly as it is."
    )


class WritePlan(BaseModel):
    """What is to be written: its operations are done in their order, all of them or none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    operations: tuple[Operation, ...] = Field(min_length=1, description="At least one operation.")


_CODES: Final = {"path": Code.INVALID_TARGET, "content": Code.INVALID_CONTENT}


def parse_write_plan(document: object, source_name: str = "write plan") -> WritePlan:
    """Return the write plan that plain data (`{"operations": […]}`) or its JSON or YAML text says.

    Args:
        document: a mapping as JSON gives it, or text.
        source_name: what error messages call it.

    Raises:
        WritePlanError: it is none; everything that is wrong with it is told, each with its code.
    """
    if isinstance(document, str):
        return _parse_text(document, source_name)
    try:
        return _validated(document)
    except _FoundError as found:
        raise WritePlanError(
            source_name, [_coded(place, message) for place, message in found.problems]
        ) from None


def load_write_plan(path: Path) -> WritePlan:
    """Return the write plan in a YAML or JSON file; raises WritePlanError."""
    try:
        text = read_text(path)
    except DocumentError as error:
        raise _unreadable(error) from None
    return _parse_text(text, str(path))


def write_plan_json_schema_text() -> str:
    """Return the JSON Schema of a write plan as text."""
    schema = WritePlan.model_json_schema()
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


class _FoundError(Exception):
    """What is wrong with a document, by its places."""

    def __init__(self, problems: list[tuple[Location, str]]) -> None:
        super().__init__()
        self.problems = problems


def _validated(document: object) -> WritePlan:
    if not isinstance(document, dict):
        message = f"must be a mapping with the key operations; received {received(document)}"
        raise _FoundError([((), message)])
    try:
        return WritePlan.model_validate(document)
    except ValidationError as error:
        raise _FoundError(problems_of(error, WritePlan)) from None


def _parse_text(text: str, source: str) -> WritePlan:
    try:
        read = read_document(text, source)
    except DocumentError as error:
        raise _unreadable(error) from None
    found: list[tuple[Location, str]] = []
    try:
        plan = _validated(read.data)
        if not read.problems:
            return plan
    except _FoundError as error:
        found = error.problems
    lined = with_lines(read, text, source)
    unread = {problem.path for problem in lined.problems}
    own = [CodedProblem(each.path, each.message, each.line) for each in lined.problems]
    made = [
        _coded(place, message, lined.line_of(place))
        for place, message in found
        if path_of(place) not in unread
    ]
    raise WritePlanError(source, sorted([*own, *made], key=lambda problem: problem.line or 0))


def _unreadable(error: DocumentError) -> WritePlanError:
    return WritePlanError(
        error.source, [CodedProblem(each.path, each.message, each.line) for each in error.problems]
    )


def _coded(location: Location, message: str, line: int | None = None) -> CodedProblem:
    field: Any = location[2] if len(location) == 3 else None
    code = _CODES.get(field, Code.INVALID_OPERATION)
    return CodedProblem(path_of(location), message, line, code)
