"""Proposes a `greenline.toml` by looking at a repository: its listing and a few of its files.

A proposal is a start for a person to read: what is certain is set, what may not work everywhere is
there as a comment. Nothing of the repository is run.
"""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Programs = Callable[[str], object]
"""Tells whether a program can be run: something true when it can (`shutil.which`)."""

_MAX_TEXT = 1_000_000
_PYTHON_FILES = ("pyproject.toml", "setup.py", "setup.cfg", "tox.ini", "pytest.ini", "Pipfile")
_PYTEST_FILES = (
    "pyproject.toml",
    "pytest.toml",
    ".pytest.toml",
    "pytest.ini",
    "setup.cfg",
    "tox.ini",
)
_ESLINT_FILES = re.compile(r"\.eslintrc(\..+)?|eslint\.config\.[cm]?[jt]s")


@dataclass(frozen=True)
class Proposal:
    """What is proposed for a kind of project.

    Attributes:
        kind: what the project seems to be.
        lines: the lines of the section [project], without its name.
    """

    kind: str
    lines: tuple[str, ...] = field(default=())


def propose_settings(
    repository: Path, *, default_branch: str | None = None, programs: Programs = shutil.which
) -> str:
    """Return the text of a `greenline.toml` for the repository in a folder.

    Args:
        repository: the folder; only its listing and some small files at its top are read.
        default_branch: the branch that work is delivered to, where it is known.
        programs: tells which programs can be run here.
    """
    names = sorted(path.name for path in repository.iterdir())
    ways = (_python, _node, _go)
    found = [made for way in ways if (made := way(repository, names, programs))]
    proposal = found[0] if found else _unknown()
    also = [other.kind for other in found[1:]]
    return _text(repository.name, proposal, also, default_branch)


def _text(name: str, proposal: Proposal, also: list[str], branch: str | None) -> str:
    seen = f"This looks like {proposal.kind}."
    if also:
        seen += f" It also looks like {' and '.join(also)}: change `test` if that is what counts."
    target = f"target = {_quoted(branch)}" if branch else '# target = "main"'
    return "\n".join(
        [
            "# Settings of Greenline for this repository. " + seen,
            "",
            "[project]",
            f"name = {_quoted(name)}",
            *proposal.lines,
            "timeout_s = 600                # for one test run",
            "",
            "# An agent is any program that edits files. It finds its prompt on stdin.",
            "# [agents.mine]",
            '# adapter = "command"',
            '# command = ["python", "/path/to/agent.py"]',
            '# env = ["API_KEY"]             # variables of your environment that it is given',
            "",
            "[roles]                        # who plays whom; or give --agent to `greenline run`",
            '# TaraAider = "mine"             # writes the tests',
            '# DevonAider = "mine"            # makes them pass',
            "",
            "[limits]",
            "attempts = 3                   # at each step",
            "agent_timeout_s = 1800         # for one attempt",
            "",
            "[delivery]",
            'mode = "branch"                # branch: keep the branch; merge: into the target',
            target,
            "",
        ]
    )


def _python(repository: Path, names: list[str], programs: Programs) -> Proposal | None:
    """Projects with Python packaging or test files; pytest runs unittest's tests too."""
    marked = [name for name in _PYTHON_FILES if name in names]
    if not marked and not any(name.endswith(".py") for name in names + _inside_tests(repository)):
        return None
    prefix = ""
    settings = [_read(repository / name) for name in _PYTEST_FILES if name in names]
    if (repository / "src").is_dir() and not any("pythonpath" in text for text in settings):
        # Before what is installed: an editable install would point to somebody's own checkout.
        prefix = "env PYTHONPATH=src "
    python = "python" if programs("python") or not programs("python3") else "python3"
    run = f"{prefix}{python} -m pytest -q"
    lines = [
        "# pytest runs tests written with unittest, too. It must be installed for this Python.",
        _setting("test", f"{run} --junitxml={{report}}"),
        _setting("test_files", f"{run} {{files}} --junitxml={{report}}"),
        *_python_checks(repository, names, programs),
        f'# setup = "{python} -m pip install -r requirements.txt"   # once in each new sandbox',
    ]
    return Proposal("a Python project", tuple(lines))


def _python_checks(repository: Path, names: list[str], programs: Programs) -> list[str]:
    tools = _table(repository / "pyproject.toml").get("tool", {})
    lines = []
    if "ruff" in tools or {"ruff.toml", ".ruff.toml"} & set(names):
        lines.append(_list_if("lint", "ruff check {file}", available=bool(programs("ruff"))))
    elif ".flake8" in names:
        lines.append(_list_if("lint", "flake8 {file}", available=bool(programs("flake8"))))
    else:
        lines.append('# lint = ["ruff check {file}"]   # {file}: the step\'s file')
    if "mypy" in tools or "mypy.ini" in names:
        lines.append('# typecheck = ["mypy"]           # before delivery')
    return lines


def _node(repository: Path, names: list[str], _programs: Programs) -> Proposal | None:
    """Projects with a package.json: vitest, jest, or Node's own test runner."""
    if "package.json" not in names:
        return None
    package = _json(repository / "package.json")
    needs = {**_mapping(package, "dependencies"), **_mapping(package, "devDependencies")}
    scripts = _mapping(package, "scripts")
    lines = _node_tests(needs, str(scripts.get("test", "")))
    if any(_ESLINT_FILES.fullmatch(name) for name in names):
        lines.append('# lint = ["npx --no-install eslint {file}"]')
    if "typescript" in needs:
        lines.append('# typecheck = ["npx --no-install tsc --noEmit"]   # before delivery')
    if "build" in scripts:
        lines.append('# build = ["npm run build"]      # before delivery')
    if needs:
        lines.append(_setting("setup", _node_setup(names)))
    return Proposal("a Node project", tuple(lines))


def _node_tests(needs: Mapping[str, Any], script: str) -> list[str]:
    if "vitest" in needs:
        run, report = "npx --no-install vitest run", "--reporter=junit --outputFile={report}"
        return [
            _setting("test", f"{run} {report}"),
            _setting("test_files", f"{run} {{files}} {report}"),
        ]
    if "jest" in needs or "react-scripts" in needs:
        run = (
            "env JEST_JUNIT_OUTPUT_FILE={report} JEST_JUNIT_ADD_FILE_ATTRIBUTE=true "
            "npx --no-install jest --reporters=jest-junit"
        )
        hint = [] if "jest-junit" in needs else ["# needs: npm install --save-dev jest-junit"]
        return [
            *hint,
            _setting("test", run),
            _setting("test_files", f"{run} --runTestsByPath {{files}}"),
        ]
    if "node --test" in script:
        run = "node --test --test-reporter=junit --test-reporter-destination={report}"
        return [_setting("test", run), _setting("test_files", f"{run} {{files}}")]
    return [
        "# How are the tests run? Any runner will do that writes JUnit XML to {report}:",
        '# test = "node --test --test-reporter=junit --test-reporter-destination={report}"',
    ]


def _node_setup(names: list[str]) -> str:
    """Return the command that installs what the lock file says, if there is one."""
    if "pnpm-lock.yaml" in names:
        return "pnpm install --frozen-lockfile"
    if "yarn.lock" in names:
        return "yarn install --frozen-lockfile"
    return "npm ci" if "package-lock.json" in names else "npm install"


def _go(_repository: Path, names: list[str], programs: Programs) -> Proposal | None:
    """Projects with a go.mod; gotestsum writes the report that go itself does not."""
    if "go.mod" not in names:
        return None
    lines = [_setting("test", "gotestsum --junitfile {report} ./...")]
    if not programs("gotestsum"):
        lines.insert(0, "# needs: go install gotest.tools/gotestsum@latest")
    lines += ['# typecheck = ["go vet ./..."]   # before delivery', 'build = ["go build ./..."]']
    return Proposal("a Go project", tuple(lines))


def _unknown() -> Proposal:
    lines = (
        "# Say how the tests are run. Any command will do that writes JUnit XML to {report};",
        "# it is run without a shell, in the repository's root:",
        '# test = "python -m pytest -q --junitxml={report}"',
        '# test = "gotestsum --junitfile {report} ./..."',
        '# test = "sh scripts/test.sh {report}"',
        '# lint = ["…  {file}"]           # {file}: the step\'s file',
        '# setup = "…"                   # once in each new sandbox',
    )
    return Proposal("no kind of project that is known here", lines)


def _setting(key: str, value: str) -> str:
    return f"{key} = {_quoted(value)}"


def _list_if(key: str, command: str, *, available: bool) -> str:
    line = f"{key} = [{_quoted(command)}]"
    return line if available else f"# {line}   # {command.split(maxsplit=1)[0]} was not found here"


def _quoted(text: str) -> str:
    """Return a TOML basic string; JSON's escapes are TOML's, but for the one TOML also wants."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _inside_tests(repository: Path) -> list[str]:
    """Return the names in the usual folders of tests."""
    folders = (repository / name for name in ("tests", "test"))
    return [path.name for folder in folders if folder.is_dir() for path in folder.iterdir()]


def _read(path: Path) -> str:
    """Return a file's text; '' when there is none that can be read as text."""
    if not path.is_file() or path.stat().st_size > _MAX_TEXT:
        return ""
    return path.read_text(encoding="utf-8", errors="replace")


def _table(path: Path) -> dict[str, Any]:
    """Return what a TOML file says; nothing when it is broken: that is its owner's business."""
    try:
        return tomllib.loads(_read(path))
    except tomllib.TOMLDecodeError:
        return {}


def _json(path: Path) -> dict[str, Any]:
    """Return what a JSON file says; nothing when it is broken or no object."""
    try:
        data = json.loads(_read(path))
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def _mapping(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = data.get(key)
    return value if isinstance(value, dict) else {}
