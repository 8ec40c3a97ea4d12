"""Writes docs/settings.md from the models of the settings: python -m tasks.config_docs [--check].

Sections, keys, kinds of values, defaults and meanings come from the models. What belongs to no
model is written here: where settings are looked for, and the variables of the whole program.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from storage.database import OLDEST_SERVER, URL_VARIABLE
from storage.home import DEFAULT_NAME, ENVIRONMENT_VARIABLE
from storage.usage import DEFAULT_IDLE_S, IDLE_VARIABLE
from tasks.config import ADAPTERS, FILE_NAME, Settings
from tasks.config.environment import PREFIX
from tasks.config.model import NEEDED

DOCUMENT: Final = Path(__file__).resolve().parents[1] / "docs" / "settings.md"

_NOT_SET: Final = "not set"

_INTRODUCTION: Final = f"""\
<!-- Generated from the models of the settings by `python -m tasks.config_docs`. Do not edit. -->

# Settings

## Where they are looked for

A run takes the first of these, and lays the variables of the environment over it:

1. the file given with `--config`;
2. `{FILE_NAME}` at the root of the repository, as the commit that the run starts from has it;
3. the table `[tool.greenline]` in `pyproject.toml`, likewise;
4. the same two as they lie in the checkout without being committed; a note says so.

An unknown key is an error, and all problems of a file are told at once. `greenline init` writes a
first `{FILE_NAME}`.

A variable is `{PREFIX}` + section + key in capitals: `{PREFIX}LIMITS_ATTEMPTS=5`. Lists are
written as JSON: `{PREFIX}PROJECT_LINT='["ruff check {{file}}"]'`. An empty variable counts as not
set.

Commands are split into words as a shell would, and run without a shell: for pipes or `&&` name a
script, or write `sh -c '…'`.
"""

_PROGRAM: Final = (
    (
        ENVIRONMENT_VARIABLE,
        f"`~/{DEFAULT_NAME}`",
        "the folder of the ledger, clones, sandboxes, logs",
    ),
    (
        URL_VARIABLE,
        _NOT_SET,
        f"libpq URL of a PostgreSQL of your own ({OLDEST_SERVER // 10000} or newer) for the ledger",
    ),
    (
        IDLE_VARIABLE,
        f"`{DEFAULT_IDLE_S:g}`",
        "seconds without use after which the services stop; what the latest command says holds",
    ),
    ("PREFECT_API_URL", _NOT_SET, "the API of a Prefect server of your own, `http://…/api`"),
    ("PREFECT_SERVER_…", _NOT_SET, "settings of the Prefect server that is started"),
)
_NEVER_PASSED: Final = """\
With a server of your own, none is started. Agents, tests and the project's other commands get none
of these variables: their environment holds `PATH`, a private `HOME`, `LANG` and `TERM`. Tests and
commands get a few settings of test runners besides, and agents what they are told of their step and
what `env` of their section names.
"""

_NOTES: Final = {
    "project": (
        "`lint` is run on the step's file in each attempt, and before delivery on every file that "
        "the run changed; `typecheck` and `build` are run before delivery alone. `timeout_s` "
        "bounds each of these, `limits.agent_timeout_s` bounds `setup`."
    ),
    "agents.<name>": (
        "A name has letters, digits, `-`, `_` and `.`. In variables it is written in capitals, "
        f"with `_` for `-` and `.`: `{PREFIX}AGENTS_MY_AGENT_COMMAND` is for `my-agent`."
    ),
    "limits": (
        "Budgets are looked at before each attempt, and count what agents reported: one that "
        "reports no usage uses up none. `on_stuck`, `transient` and what begins with `fence` may "
        "stand at the top of the file, too. What the fence is and hides: [fence.md](fence.md)."
    ),
}


_WORDS: Final = {
    "string": "text",
    "number": "number",
    "integer": "whole number",
    "boolean": "true or false",
}


def settings_page() -> str:
    """Return the document."""
    schema = Settings.model_json_schema(by_alias=True)
    parts = [_INTRODUCTION]
    for name, section in schema["properties"].items():
        inner = section.get("additionalProperties")
        title = f"{name}.<name>" if inner else name
        definition = _definition(schema, inner or section)
        meaning = section["description"] if inner else definition["description"]
        parts.append(_section(title, meaning, definition))
    parts.append(_adapters())
    parts.append(_program())
    return "\n".join(parts)


def _definition(schema: Mapping[str, Any], reference: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = schema["$defs"][reference["$ref"].rpartition("/")[2]]
    return found


def _section(title: str, meaning: str, definition: Mapping[str, Any]) -> str:
    """Return a section's heading and the table of its keys."""
    prefix = PREFIX + title.upper().replace(".", "_") + "_"
    required = definition.get("required", ())
    lines = [f"## `[{title}]`", "", meaning, ""]
    if title in _NOTES:
        lines += [_NOTES[title], ""]
    lines += ["| key | value | default | meaning | variable |", "|---|---|---|---|---|"]
    for key, field in definition["properties"].items():
        default = "required" if key in required else _default(field)
        variable = f"`{prefix}{key.upper()}`"
        lines.append(_row(f"`{key}`", _kind(field), default, field["description"], variable))
    return "\n".join(lines) + "\n"


def _kind(field: Mapping[str, Any]) -> str:
    """Return what a key's value may be, in words."""
    options = [option for option in field.get("anyOf", [field]) if option.get("type") != "null"]
    (only,) = options  # a setting has one kind of value, or is not set
    if "const" in only:
        return f"`{json.dumps(only['const'])}`"
    if "enum" in only:
        return " or ".join(f"`{json.dumps(value)}`" for value in only["enum"])
    if only["type"] == "array":
        return "list of paths" if only["items"].get("format") == "path" else "list of texts"
    words = _WORDS[only["type"]]
    if "exclusiveMinimum" in only:
        words += f" above {only['exclusiveMinimum']}"
    if "minimum" in only:
        words += f", at least {only['minimum']}"
    if "maximum" in only:
        words += f", at most {only['maximum']}"
    return words


def _default(field: Mapping[str, Any]) -> str:
    default = field["default"]
    if default is None:
        return _NOT_SET
    return f"`{json.dumps(default)}`"


def _adapters() -> str:
    """Return the table of adapters with the settings that each takes."""
    lines = ["## Adapters", "", "| adapter | needs | takes besides |", "|---|---|---|"]
    for name, takes in ADAPTERS.items():
        needed = NEEDED.get(name, ())
        rest = [key for key in takes if key not in needed]
        without = "nothing; it can be named without a section"
        lines.append(_row(f"`{name}`", _listed(needed) or without, _listed(rest) or "nothing"))
    return "\n".join(lines) + "\n"


def _listed(keys: Sequence[str]) -> str:
    return ", ".join(f"`{key}`" for key in keys)


def _program() -> str:
    """Return the table of the variables that are no settings of a project."""
    lines = ["## Variables of the whole program", "", "| variable | default | meaning |"]
    lines.append("|---|---|---|")
    lines += [_row(f"`{name}`", default, meaning) for name, default, meaning in _PROGRAM]
    return "\n".join([*lines, "", _NEVER_PASSED])


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def main(arguments: list[str] | None = None) -> int:
    """Write the document, or with `--check` say whether it is what it would be; 1 if not."""
    parser = argparse.ArgumentParser(prog="python -m tasks.config_docs", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, 1 if it differs")
    parser.add_argument("--file", type=Path, default=DOCUMENT, help="where it is")
    given = parser.parse_args(arguments)
    path: Path = given.file
    document = settings_page()
    if not given.check:
        path.write_text(document, encoding="utf-8")
        return 0
    if path.is_file() and path.read_text(encoding="utf-8") == document:
        return 0
    sys.stderr.write(f"{path} is not what the models say: python -m tasks.config_docs\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
