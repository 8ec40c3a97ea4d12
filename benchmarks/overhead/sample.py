"""The sample that both sides work on: a small library, a feature plan, and an instant agent.

The library is a handful of modules with a test file each. The feature adds one module after the
other: a test step, then an implementation step. The agent copies the prepared file, so that what
is measured is not the agent.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PACKAGE: Final = "gauge"
EXISTING: Final = ("length", "area", "volume", "mass", "speed", "pressure")
AGENT_FILE: Final = "instant_agent.py"
_TEST_COMMAND: Final = (sys.executable, "-m", "pytest", "-q", "--junitxml={report}")
_WITHOUT_PLUGINS: Final = "--disable-plugin-autoload"

#: Who the sample's commits are by; no setting of the user's or the system's counts.
_GIT_ENVIRONMENT: Final = {
    "GIT_AUTHOR_NAME": "Benchmark",
    "GIT_AUTHOR_EMAIL": "benchmark@localhost",
    "GIT_COMMITTER_NAME": "Benchmark",
    "GIT_COMMITTER_EMAIL": "benchmark@localhost",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}

_AGENT = """\
import os
import shutil
from pathlib import Path

prepared = Path(__file__).with_name("prepared") / os.environ["GREENLINE_SUBTASK"]
target = Path(os.environ["GREENLINE_FILE"])
target.parent.mkdir(parents=True, exist_ok=True)
shutil.copyfile(prepared / target, target)
"""

_MODULE = '''\
"""Conversions of {name}."""

from __future__ import annotations

FACTORS = {{"small": 1, "middle": {factor}, "large": {factor} ** 2}}


def convert(amount: float, unit: str, to: str) -> float:
    """Convert an amount of {name} from one unit to another."""
    if unit not in FACTORS or to not in FACTORS:
        raise ValueError(f"no such unit: {{unit!r}} or {{to!r}}; there are {{sorted(FACTORS)}}")
    return amount * FACTORS[unit] / FACTORS[to]


def total(amounts: list[tuple[float, str]], to: str = "small") -> float:
    """Add amounts in any units."""
    return sum(convert(amount, unit, to) for amount, unit in amounts)
'''

_TESTS = """\
import pytest

from {package}.{name} import FACTORS, convert, total


@pytest.mark.parametrize("unit", sorted(FACTORS))
@pytest.mark.parametrize("amount", [0, 1, 2.5])
def test_converts_to_itself(amount, unit):
    assert convert(amount, unit, unit) == amount


def test_converts_up_and_down():
    assert convert(1, "large", "small") == {factor} ** 2
    assert convert({factor}, "small", "middle") == 1


def test_adds_mixed_units():
    assert total([(1, "small"), (1, "middle")]) == 1 + {factor}


def test_refuses_unknown_units():
    with pytest.raises(ValueError, match="no such unit"):
        convert(1, "gigantic", "small")
"""


@dataclass(frozen=True)
class Step:
    """One step of the feature: which file its agent writes, and what the suite must say then."""

    subtask: str
    step_type: str
    file_path: str

    @property
    def green(self) -> bool:
        """Whether all tests pass afterwards."""
        return self.step_type == "implementation"


@dataclass(frozen=True)
class Sample:
    """The prepared files in a folder, from which repositories and a plan are made."""

    folder: Path
    steps: tuple[Step, ...]
    test_command: tuple[str, ...]

    @property
    def plan(self) -> Path:
        """The feature plan."""
        return self.folder / "plan.json"

    @property
    def agent_command(self) -> tuple[str, ...]:
        """The instant agent's command line."""
        return (sys.executable, "-I", str(self.folder / AGENT_FILE))

    @classmethod
    def make(cls, folder: Path, steps: int, *, plugins: bool = True) -> Sample:
        """Write agent, prepared files and plan for a feature of so many steps (an even number).

        Args:
            folder: where to.
            steps: how many steps; half of them are test steps.
            plugins: whether the suite loads the pytest plugins that are installed here.
        """
        subtasks = [f"scale{number:02}" for number in range(1, steps // 2 + 1)]
        planned = tuple(
            step
            for name in subtasks
            for step in (
                Step(name, "test", f"tests/test_{name}.py"),
                Step(name, "implementation", f"src/{PACKAGE}/{name}.py"),
            )
        )
        _write(folder / AGENT_FILE, _AGENT)
        for number, step in enumerate(planned):
            text = _text(step.subtask, 3 + number // 2, tests=step.step_type == "test")
            _write(folder / "prepared" / step.subtask / step.file_path, text)
        made = cls(
            folder, planned, _TEST_COMMAND if plugins else (*_TEST_COMMAND, _WITHOUT_PLUGINS)
        )
        _write(made.plan, json.dumps(_plan(subtasks, planned), indent=1))
        return made

    def repository(self, path: Path) -> Path:
        """Make a repository of the library as it is before the feature; the same each time."""
        for number, name in enumerate(EXISTING):
            _write(path / "src" / PACKAGE / f"{name}.py", _text(name, 10 + number, tests=False))
            _write(path / "tests" / f"test_{name}.py", _text(name, 10 + number, tests=True))
        _write(path / "src" / PACKAGE / "__init__.py", '"""Units and scales."""\n')
        _write(path / "README.md", "# gauge\n\nUnits and scales.\n")
        _write(path / ".gitignore", "__pycache__/\n.pytest_cache/\n")
        _write(
            path / "pyproject.toml",
            f'[project]\nname = "{PACKAGE}"\nversion = "1.0"\n\n'
            '[tool.pytest.ini_options]\npythonpath = ["src"]\ntestpaths = ["tests"]\n',
        )
        _write(path / "greenline.toml", self._settings())
        git(path, "init", "-q", "-b", "main")
        git(path, "add", "-A")
        git(path, "commit", "-q", "-m", "Units and scales")
        return path

    def _settings(self) -> str:
        command = ", ".join(json.dumps(word) for word in self.agent_command)
        return (
            f"[project]\ntest = {json.dumps(shlex.join(self.test_command))}\n\n"
            f'[agents.instant]\nadapter = "command"\ncommand = [{command}]\n\n'
            '[roles]\nTaraAider = "instant"\nDevonAider = "instant"\n'
        )


def git(folder: Path, *arguments: str) -> None:
    """Run git on the sample as a script would."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    subprocess.run(["git", *arguments], cwd=folder, env={**kept, **_GIT_ENVIRONMENT}, check=True)


def _text(name: str, factor: int, *, tests: bool) -> str:
    return (_TESTS if tests else _MODULE).format(package=PACKAGE, name=name, factor=factor)


def _plan(subtasks: list[str], steps: tuple[Step, ...]) -> dict[str, object]:
    return {
        "feature": "More scales",
        "tasks": [
            {
                "title": "Scales",
                "subtasks": [
                    {
                        "key": name,
                        "title": f"The scale {name}",
                        "acceptance_criteria": ["converts up, down and to itself"],
                        "steps": [_step(step) for step in steps if step.subtask == name],
                    }
                    for name in subtasks
                ],
            }
        ],
    }


def _step(step: Step) -> dict[str, object]:
    tests, module = f"tests/test_{step.subtask}.py", f"src/{PACKAGE}/{step.subtask}.py"
    if step.step_type == "test":
        what = {"assigned_to": "TaraAider", "instructions": f"Write tests for {module}."}
        return {"step_type": "test", "file_path": tests, **what}
    what = {"assigned_to": "DevonAider", "instructions": f"Write {module} so that they pass."}
    return {
        "step_type": "implementation",
        "file_path": module,
        "context_files": [tests],
        **what,
    }


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
