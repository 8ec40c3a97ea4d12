"""What a skill is, and reading one from the text of its `SKILL.md`."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    ValidationError,
    model_validator,
)

from tasks.plan.reading import Document, read_document
from tasks.problems import DocumentError, Problem, known_keys, path_of, problems_of, received

LONGEST_NAME: Final = 64
LONGEST_DESCRIPTION: Final = 1024
LONGEST_COMPATIBILITY: Final = 500

_NAME: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_PARAMETER: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x84\x86-\x9f]")
_MARK: Final = "---"

Kind = Literal["string", "integer", "number", "boolean", "array"]


class SkillError(DocumentError):
    """A skill cannot be used; `problems` says all that is wrong with it."""


def value_problem(value: object, kind: Kind, choices: tuple[JsonValue, ...] | None) -> str | None:
    """Say why a parameter cannot have this value, and what would work; None if it can."""
    if kind == "array":
        if not isinstance(value, list | tuple):
            return f"must be a list, received {received(value)}"
        items = (value_problem(item, "string", choices) for item in value)
        found = ((place, problem) for place, problem in enumerate(items) if problem)
        return next((f"item {place + 1} {problem}" for place, problem in found), None)
    kinds: dict[str, tuple[type, ...]] = {
        "string": (str,),
        "integer": (int,),
        "number": (int, float),
        "boolean": (bool,),
    }
    fits = isinstance(value, kinds[kind]) and (kind == "boolean") == isinstance(value, bool)
    if not fits:
        return f"must be {_CALLED[kind]}, received {received(value)}"
    if choices is not None and not any(_same(value, choice) for choice in choices):
        return f"must be one of {', '.join(map(written, choices))}; received {received(value)}"
    return None


_CALLED: Final = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
}


def _same(value: object, choice: object) -> bool:
    """Whether two values are the same in JSON, where `true` is no number."""
    return value == choice and isinstance(value, bool) == isinstance(choice, bool)


def written(value: object) -> str:
    """Return a parameter's value as it stands in a skill's text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ", ".join(map(written, value))
    return str(value)


def _plain(text: str) -> str:
    """Refuse what a terminal or a prompt would not show as it is."""
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in text):
        raise ValueError("has control characters or halves of characters: write plain text")
    return text


Plain = Annotated[str, AfterValidator(_plain)]


class Parameter(BaseModel):
    """A value that a skill asks for; `{{ its name }}` in the skill's text stands for it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    description: Plain = Field(default="", description="What it is for.")
    required: StrictBool = Field(default=False, description="Whether a step has to give it.")
    default: JsonValue = Field(default=None, description="What it is where a step does not say.")
    type: Kind = Field(default="string", description="What kind of value it is.")
    choices: tuple[JsonValue, ...] | None = Field(
        default=None, min_length=1, description="The only values that it may have."
    )

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Parameter:
        kind: Kind = "string" if self.type == "array" else self.type
        for choice in self.choices or ():
            if problem := value_problem(choice, kind, None):
                raise ValueError(f"a choice {problem}")
        if self.default is None:
            return self
        if self.required:
            raise ValueError("is required and has a default: leave one of the two out")
        if problem := value_problem(self.default, self.type, self.choices):
            raise ValueError(f"its default {problem}")
        return self


def _checked_name(name: str) -> str:
    if len(name) > LONGEST_NAME or not _NAME.fullmatch(name):
        raise ValueError(
            f"{received(name)} is no name for a skill: lower-case letters and digits, single "
            f"hyphens between them, at most {LONGEST_NAME} characters"
        )
    return name


def _checked_parameter_name(name: str) -> str:
    if not _PARAMETER.fullmatch(name):
        raise ValueError(
            f"{received(name)} is no name for a parameter: a lower-case letter, then lower-case "
            "letters, digits, '_' and '-', at most 64 characters"
        )
    return name


def _one_line(text: str) -> str:
    """Return a description as it stands in a list of skills: on one line."""
    line = " ".join(text.split())
    if not line:
        raise ValueError("must not be empty: say what the skill is for, and when to use it")
    if len(line) > LONGEST_DESCRIPTION:
        raise ValueError(
            f"has {len(line):,} characters; a description has at most {LONGEST_DESCRIPTION:,}"
        )
    return _plain(line)


def _tools(value: object) -> object:
    """Take the tools as words of a text or as a list."""
    return value.split() if isinstance(value, str) else value


class _Metadata(BaseModel):
    """What a skill says besides; its parameters are ours, all else is anybody's."""

    model_config = ConfigDict(frozen=True, extra="allow")

    parameters: dict[Annotated[str, AfterValidator(_checked_parameter_name)], Parameter] = Field(
        default_factory=dict, description="The values that the skill asks for, by name."
    )


class _FrontMatter(BaseModel):
    """What stands between the two lines `---` at the top of a `SKILL.md`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: Annotated[str, AfterValidator(_checked_name)] = Field(
        description="The skill's name, the same as its folder's."
    )
    description: Annotated[str, AfterValidator(_one_line)] = Field(
        description="What the skill is for, and when to use it."
    )
    license: Plain | None = None
    compatibility: Plain | None = Field(default=None, max_length=LONGEST_COMPATIBILITY)
    metadata: _Metadata = Field(default_factory=_Metadata)
    allowed_tools: Annotated[tuple[Plain, ...], BeforeValidator(_tools)] = Field(
        default=(), alias="allowed-tools"
    )


@dataclass(frozen=True)
class Skill:
    """A skill that can be used.

    Attributes:
        name: its name, also its folder's.
        description: what it is for, on one line.
        parameters: the values that it asks for, by name.
        body: its text, with `{{ parameter }}` where a value is to stand.
        license: under which licence it comes, if it says.
        compatibility: what it needs, if it says.
        allowed_tools: the tools that it would have an agent use; nobody is allowed more for it.
        metadata: what else it says of itself.
        ignored: keys of its front matter that mean nothing here.
        sha256: of the whole text: another one, another skill.
    """

    name: str
    description: str
    parameters: Mapping[str, Parameter]
    body: str
    license: str | None
    compatibility: str | None
    allowed_tools: tuple[str, ...]
    metadata: Mapping[str, Any]
    ignored: tuple[str, ...]
    sha256: str


@lru_cache(maxsize=512)
def parse_skill(text: str, folder: str) -> Skill:
    """Return the skill that the text of a `SKILL.md` says.

    Args:
        text: the whole text.
        folder: the name of the folder that it lies in, which has to be the skill's.

    Raises:
        SkillError: it is none; all that is wrong is told, with lines.
    """
    front, body = _cut(text, folder)
    try:
        document = read_document(front, folder)
    except DocumentError as error:
        raise SkillError(folder, [_with_hint(problem) for problem in error.problems]) from None
    if not isinstance(document.data, dict):
        told = f"must be a mapping such as `name: {folder}`; received {received(document.data)}"
        raise SkillError(folder, [Problem("", f"the front matter {told}")])
    said = _validated(document, folder)
    if said.name != folder:
        told = f"is {said.name!r}, and its folder is {folder!r}: they have to be the same"
        raise SkillError(folder, [document.problem(("name",), told)])
    known = known_keys(_FrontMatter)
    return Skill(
        name=said.name,
        description=said.description,
        parameters=said.metadata.parameters,
        body=body,
        license=said.license,
        compatibility=said.compatibility,
        allowed_tools=said.allowed_tools,
        metadata=said.metadata.model_extra or {},
        ignored=tuple(sorted(str(key) for key in document.data if key not in known)),
        sha256=hashlib.sha256(text.encode()).hexdigest(),
    )


def _with_hint(problem: Problem) -> Problem:
    """Say what is nearly always behind a description that YAML takes for a mapping."""
    if "mapping values are not allowed" not in problem.message:
        return problem
    return replace(problem, message=f"{problem.message}; put a text with ': ' in it in quotes")


def _cut(text: str, folder: str) -> tuple[str, str]:
    """Return the front matter, an empty line in place of its first mark, and the text after it."""
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    for number, line in enumerate(lines, start=1):
        if control := _CONTROL.search(line):
            told = f"has the control character {control[0]!r}: write plain text"
            raise SkillError(folder, [Problem("", told, number)])
    if lines[0].rstrip() != _MARK:
        told = f"must begin with a line '{_MARK}', the front matter and another line '{_MARK}'"
        raise SkillError(folder, [Problem("", told, 1)])
    for end in range(1, len(lines)):
        if lines[end].rstrip() == _MARK:
            return "\n".join(["", *lines[1:end]]), "\n".join(lines[end + 1 :]).strip("\n")
    raise SkillError(
        folder, [Problem("", f"the front matter has no end: put a line '{_MARK}' after it", 1)]
    )


def _validated(document: Document, folder: str) -> _FrontMatter:
    found = []
    try:
        said = _FrontMatter.model_validate(document.data)
        if not document.problems:
            return said
    except ValidationError as error:
        found = problems_of(error, _FrontMatter)
    unread = {problem.path for problem in document.problems}
    made = [
        document.problem(place, message) for place, message in found if path_of(place) not in unread
    ]
    raise SkillError(folder, [*document.problems, *made])
