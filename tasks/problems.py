"""What is wrong with a document that a person wrote: every problem at once, each with its place.

Feature plans and settings are checked by pydantic; this module turns its findings into sentences
that say what was wrong, what was received and what would work.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from storage.exceptions import InputError

Location = tuple[str | int, ...]
"""Where in a document something stands: mapping keys and list indexes from the top."""

_SHOWN_LENGTH = 80


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a document.

    Attributes:
        path: its place in the document, such as `tasks[0].subtasks[1].key`; empty for the whole.
        message: what was wrong, what was received and what would work.
        line: its line in the file, counted from 1; None when it is not known.
    """

    path: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line is not None else ""
        return place + (f"{self.path}: {self.message}" if self.path else self.message)


class DocumentError(InputError):
    """A document has problems; `problems` holds them all, `source` names the document."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        super().__init__(source, self.problems)

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return f"{self.source}: {self.problems[0]}"
        listed = "\n".join(f"  - {problem}" for problem in self.problems)
        return f"{self.source}: {len(self.problems)} problems\n{listed}"


def path_of(location: Location) -> str:
    """Return a location as people write it: `tasks[0].subtasks[1].key`."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def received(value: object) -> str:
    """Describe a value that was received: its kind and, shortened, the value itself."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return f"{str(value).lower()} (a boolean)"
    if isinstance(value, int | float):
        return f"{value} (a number)"
    if isinstance(value, str):
        return repr(value if len(value) <= _SHOWN_LENGTH else value[: _SHOWN_LENGTH - 1] + "…")
    if isinstance(value, Mapping):
        return f"a mapping with {len(value)} key{'s' if len(value) != 1 else ''}"
    if isinstance(value, Sequence):
        return f"a list of {len(value)}"
    return f"{value!r} (a {type(value).__name__})"


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Return ' (did you mean …?)' when one of the known words is close to this one, else ''."""
    lowered = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), list(lowered), n=1, cutoff=0.6)
    return f" (did you mean '{lowered[close[0]]}'?)" if close else ""


def problems_of(error: ValidationError, model: type[BaseModel]) -> list[tuple[Location, str]]:
    """Return the location and the message of everything that pydantic found wrong.

    Args:
        error: what validating the document as `model` raised.
        model: the model of the whole document; it tells the keys known at a place.
    """
    found = []
    for entry in error.errors(include_url=False):
        if _is_echo(entry):
            continue
        location: Location = tuple(entry["loc"])
        found.append((location, _message(entry, location, model)))
    return found


def _is_echo(entry: Any) -> bool:
    """Whether a finding only says that something else is wrong, which has a finding of its own.

    Pydantic calls a list too short when its items are wrong, and reports defaults that it could
    not work out from other fields.
    """
    if entry["type"] == "default_factory_not_called":
        return True
    return entry["type"] == "too_short" and len(entry["input"]) > 0


def known_keys(model: type[BaseModel]) -> list[str]:
    """Return a model's keys as a document spells them."""
    return [field.alias or name for name, field in model.model_fields.items()]


def _message(entry: Any, location: Location, model: type[BaseModel]) -> str:
    """Say one pydantic finding in a sentence of ours."""
    kind, value, context = entry["type"], entry["input"], entry.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "missing":
        return f"is missing. {_description(model, location)}".rstrip()
    if kind == "extra_forbidden":
        owner = _model_at(model, location[:-1])
        keys = known_keys(owner) if owner else []
        hint = did_you_mean(str(location[-1]), keys)
        return f"unknown key{hint}; known here: {', '.join(keys)}"
    if kind in {"string_type", "literal_error", "bool_type"}:
        return _scalar_message(kind, value, context)
    if kind in {"tuple_type", "list_type"}:
        return f"must be a list, received {received(value)}"
    if kind in {"model_type", "model_attributes_type", "dict_type"}:
        owner = _model_at(model, location)
        names = f" with the keys {', '.join(known_keys(owner))}" if owner else ""
        return f"must be a mapping{names}; received {received(value)}"
    if kind in {"too_short", "string_too_short"}:
        return f"must not be empty. {_description(model, location)}".rstrip()
    text = entry["msg"].removeprefix("Input ").replace("should", "must", 1)
    return f"{text}, received {received(value)}"


def _scalar_message(kind: str, value: object, context: Mapping[str, Any]) -> str:
    """Say that a text, a word of a list or a boolean was expected."""
    if kind == "literal_error":
        one_of = "one of " if " or " in context["expected"] else ""
        return f"must be {one_of}{context['expected']}; received {received(value)}"
    if kind == "bool_type":
        return f"must be true or false, received {received(value)}"
    quote = isinstance(value, bool | int | float)
    return f"must be text, received {received(value)}" + (": put it in quotes" if quote else "")


def _description(model: type[BaseModel], location: Location) -> str:
    """Return what the field at a location is for, or '' when that is not described."""
    owner = _model_at(model, location[:-1])
    if owner is None:
        return ""
    for name, field in owner.model_fields.items():
        if (field.alias or name) == location[-1]:
            return field.description or ""
    return ""


def _model_at(model: type[BaseModel], location: Location) -> type[BaseModel] | None:
    """Return the model that a mapping at this location is read as; None for plain values."""
    annotation: Any = model
    for part in location:
        annotation = _unwrapped(annotation)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            fields = annotation.model_fields
            named = [f for name, f in fields.items() if (f.alias or name) == part]
            if not named:
                return None
            annotation = named[0].annotation
        else:
            arguments = get_args(annotation)
            if not arguments:
                return None
            annotation = arguments[-1] if isinstance(part, str) else arguments[0]
    annotation = _unwrapped(annotation)
    is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return annotation if is_model else None


def _unwrapped(annotation: Any) -> Any:
    """Return an optional annotation without its None."""
    if get_origin(annotation) in {Union, types.UnionType}:
        return next(a for a in get_args(annotation) if a is not types.NoneType)
    return annotation
