"""Reading YAML 1.2 or JSON text as plain data that knows the line of each of its parts.

Only mappings with text keys, lists, texts, numbers, booleans and null come out: tags, merge keys,
duplicate keys and documents that grow when their aliases are followed are problems. Dates stay
texts, as YAML 1.2 has it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from tasks.problems import DocumentError, Location, Problem, path_of, received

MAX_BYTES = 2_000_000
"""The longest text that is read, in bytes: thousands of subtasks fit in."""

MAX_VALUES = 200_000
"""The most values a document may have once its aliases are followed."""

_TAG = "tag:yaml.org,2002:"
_PLAIN_SCALARS = {"str", "int", "float", "bool", "null", "timestamp", "value"}


@dataclass(frozen=True)
class Document:
    """What a text says.

    Attributes:
        data: the plain data.
        lines: the line (from 1) of each value, by its location in the data.
        problems: what is wrong with the text itself, such as duplicate keys.
    """

    data: Any
    lines: Mapping[Location, int]
    problems: tuple[Problem, ...] = ()

    def line_of(self, location: Location) -> int | None:
        """Return the line of a value, or of the nearest value around it; None when unknown."""
        for end in range(len(location), -1, -1):
            if location[:end] in self.lines:
                return self.lines[location[:end]]
        return None

    def problem(self, location: Location, message: str) -> Problem:
        """Return a problem at this location, with its line."""
        return Problem(path_of(location), message, self.line_of(location))


def read_text(path: Path) -> str:
    """Return the text of a file that a person named.

    Raises:
        DocumentError: it is missing, a folder, unreadable, longer than MAX_BYTES or not UTF-8.
    """
    if path.is_dir():
        refuse(str(path), "is a folder; name the file in it")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        refuse(str(path), "there is no such file")
    except OSError as error:
        refuse(str(path), f"cannot be read: {error.strerror}")
    if len(content) > MAX_BYTES:
        refuse(str(path), f"is longer than {MAX_BYTES:,} bytes; split it into several")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        refuse(
            str(path),
            f"is not UTF-8 text: received the byte 0x{content[error.start]:02x}; "
            "save the file as UTF-8",
            line,
        )


def read_document(text: str, source: str) -> Document:
    """Return what a YAML or JSON text says.

    Raises:
        DocumentError: the text as a whole cannot be read: too long, empty, not YAML.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        refuse(source, f"is longer than {MAX_BYTES:,} bytes; split it into several")
    if not text.strip():
        refuse(source, "is empty")
    return _quick_json(text) or _read_yaml(text, source)


def refuse(source: str, message: str, line: int | None = None) -> NoReturn:
    """Raise the one problem of a text that cannot be read at all."""
    raise DocumentError(source, [Problem("", message, line)])


class _NotQuickError(ValueError):
    """The JSON text needs the slower reader, which knows lines."""


def _quick_json(text: str) -> Document | None:
    """Read JSON some fifty times faster than as YAML; None when it is not flawless JSON."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        mapping = dict(pairs)
        if len(mapping) < len(pairs):
            raise _NotQuickError
        return mapping

    def no_constant(_name: str) -> NoReturn:
        raise _NotQuickError

    try:
        data = json.loads(text, object_pairs_hook=unique, parse_constant=no_constant)
    except (ValueError, RecursionError):
        return None
    return Document(data, {}) if isinstance(data, dict) else None


def with_lines(document: Document, text: str, source: str) -> Document:
    """Return the document with lines, reading its text again if it was read quickly."""
    return document if document.lines else _read_yaml(text, source)


def _read_yaml(text: str, source: str) -> Document:
    from ruamel.yaml import YAML  # noqa: PLC0415 - takes time, and JSON does not need it
    from ruamel.yaml.error import MarkedYAMLError, YAMLError  # noqa: PLC0415

    try:
        root = YAML(typ="safe", pure=True).compose(text)
        if root is None:
            refuse(source, "is empty: it holds nothing but comments")
        return _Builder().document(root)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = "; ".join(filter(None, [error.context, error.problem]))
        refuse(source, f"is no valid YAML: {said}", mark.line + 1 if mark else None)
    except YAMLError as error:
        refuse(source, f"is no valid YAML: {' '.join(str(error).split())}")
    except RecursionError:
        refuse(source, "is nested too deeply to be read")
    except _TooManyError as error:
        refuse(source, str(error))


class _TooManyError(Exception):
    """The document grows beyond all bounds when its aliases are followed."""


class _Builder:
    """Turns YAML nodes into plain data, collecting lines and problems on the way."""

    def __init__(self) -> None:
        self._lines: dict[Location, int] = {}
        self._problems: list[Problem] = []
        self._around: set[int] = set()

    def document(self, root: Any) -> Document:
        data = self._value(root, ())
        return Document(data, self._lines, tuple(self._problems))

    def _problem(self, location: Location, node: Any, message: str) -> None:
        line = node.start_mark.line + 1
        self._problems.append(Problem(path_of(location), message, line))

    def _value(self, node: Any, location: Location) -> Any:
        self._lines.setdefault(location, node.start_mark.line + 1)
        if len(self._lines) > MAX_VALUES:
            raise _TooManyError(
                f"has more than {MAX_VALUES:,} values once its aliases are followed; write less"
            )
        tag = str(node.tag).removeprefix(_TAG)
        if isinstance(node.value, str):
            return self._scalar(node, tag, location)
        if tag not in {"map", "seq"}:
            self._problem(location, node, f"the tag {node.tag} is not plain data: leave it out")
            return None
        if id(node) in self._around:
            self._problem(location, node, "an alias to a value that it is part of: write it out")
            return None
        self._around.add(id(node))
        try:
            if tag == "seq":
                return [self._value(item, (*location, i)) for i, item in enumerate(node.value)]
            return self._mapping(node, location)
        finally:
            self._around.discard(id(node))

    def _mapping(self, node: Any, location: Location) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value
            if not isinstance(key, str) or str(key_node.tag) == f"{_TAG}merge":
                self._problem(location, key_node, "a key that is not plain text: write it out")
                continue
            place = (*location, key)
            if key in mapping:
                self._problem(
                    place,
                    key_node,
                    f"the key is given twice (first on line {self._lines[place]}): keep one",
                )
                continue
            self._lines[place] = key_node.start_mark.line + 1
            mapping[key] = self._value(value_node, place)
        return mapping

    def _scalar(self, node: Any, tag: str, location: Location) -> Any:
        text: str = node.value
        if tag not in _PLAIN_SCALARS:
            self._problem(
                location, node, f"the tag {node.tag} is not plain data: received {received(text)}"
            )
            return None
        try:
            return _plain(tag, text)
        except ValueError:
            self._problem(location, node, f"{received(text)} is no {tag}: put it in quotes")
            return None


def _plain(tag: str, text: str) -> str | float | bool | None:
    """Return the value of a scalar by the core schema of YAML 1.2."""
    if tag == "null":
        return None
    if tag == "bool":
        return text.lower() == "true"
    if tag == "int":
        return int(text, 0) if text.lstrip("+-")[:2] in {"0x", "0o"} else int(text)
    if tag == "float":
        word = text.lower()
        return float(word.replace(".inf", "inf").replace(".nan", "nan"))
    return text
