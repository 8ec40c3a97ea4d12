"""Runs whose agent does what each step of the plan tells it, in Python: `RUN: "write('…')"`."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from git import Repo

from tests.acceptance.support import AUTHOR, Greenline, write_files

PYTHON = json.dumps(sys.executable)
# Plugins that happen to be installed beside pytest take most of its time here.
PYTEST = f"env PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 {PYTHON} -m pytest -q -p no:cacheprovider"

AGENT = """
import json, os, pathlib, re, subprocess, sys, time
prompt = sys.stdin.read()
file = pathlib.Path(os.environ["GREENLINE_FILE"])
attempt = int(os.environ["GREENLINE_ATTEMPT_NO"])

def write(text):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)

def append(text):
    write(file.read_text() + text)

def used(**usage):
    pathlib.Path(os.environ["GREENLINE_USAGE_FILE"]).write_text(json.dumps(usage))

exec(json.loads(re.search("^RUN: (.*)$", prompt, re.M).group(1)))
"""

FILES = {
    "calc.py": "def add(a, b):\n    return a + b\n",
    "tests/test_calc.py": "from calc import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n",
    ".gitignore": "*.made\n",
}
TEST_SUB = "from calc import sub\n\n\ndef test_sub():\n    assert sub(3, 1) == 2\n"
SUB = "\n\ndef sub(a, b):\n    return a - b\n"


def step(kind, path, code, **more):
    return {
        "step_type": kind,
        "file_path": path,
        "instructions": f"Do.\nRUN: {json.dumps(code)}",
    } | more


def subtask(key, *steps, **more):
    return {"key": key, "title": key, "steps": list(steps)} | more


def sub(before_test="", before_code=""):
    """The usual subtask: a test for `sub`, and `sub`."""
    return subtask(
        "sub",
        step("test", "tests/test_sub.py", f"{before_test}\nwrite({TEST_SUB!r})"),
        step("implementation", "calc.py", f"{before_code}\nappend({SUB!r})"),
    )


@dataclass
class Project:
    """A repository, its settings and what a run of a plan left."""

    greenline: Greenline
    folder: Path
    files: dict[str, str] = field(default_factory=lambda: dict(FILES))
    bare: bool = False
    project: str = ""
    agent: str = ""
    rest: str = ""
    writable: tuple[Path, ...] = ()

    def __post_init__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        self.path = self.folder / "calc"
        checkout = Repo.init(self.path, initial_branch="main")
        write_files(self.path, self.files)
        checkout.git.add("-A", "-f")
        checkout.index.commit("The beginning", author=AUTHOR, committer=AUTHOR)
        if self.bare:
            self.path = self.folder / "calc.git"
            checkout.clone(self.path, bare=True)
        self.repo = Repo(self.path)
        self.base = self.repo.head.commit.hexsha
        (self.folder / "agent.py").write_text(AGENT)
        agent = json.dumps([sys.executable, str(self.folder / "agent.py")])
        test = "" if "test = " in self.project else f"test = '{PYTEST} --junitxml={{report}}'\n"
        self.config = self.folder / "greenline.toml"
        # What its agent leaves beside the repository, to be looked at, gets through the fence.
        self.settings = (
            f"fence_writable = {json.dumps([str(self.folder), *map(str, self.writable)])}\n[project]\n{test}{self.project}\n"
            f'[agents.scripted]\nadapter = "command"\ncommand = {agent}\n{self.agent}\n'
            f'[roles]\nTaraAider = "scripted"\nDevonAider = "scripted"\n{self.rest}\n'
        )
        self.config.write_text(self.settings)

    def plan(self, *subtasks):
        path = self.folder / "plan.json"
        document = {"feature": "F", "tasks": [{"title": "T", "subtasks": list(subtasks)}]}
        path.write_text(json.dumps(document))
        return path

    def run(self, *subtasks, words=(), ok=(0,), **options) -> dict[str, Any]:
        """Run a plan of these subtasks; the run's document."""
        repo = ("--repo", self.path, "--config", self.config)
        return self.greenline.json("run", self.plan(*subtasks), *repo, *words, ok=ok, **options)

    def start(self, *subtasks, words=(), **options) -> subprocess.CompletedProcess[str]:
        """Run a plan of these subtasks; how the process ended."""
        repo = ("--repo", self.path, "--config", self.config)
        return self.greenline("run", self.plan(*subtasks), *repo, *words, **options)

    def branches(self):
        return {branch.name: branch.commit.hexsha for branch in self.repo.branches}


def attempts(document, subtask=None):
    """The attempts of a run (of one subtask) as (step type, status, failure class)."""
    return [
        (step["step_type"], attempt["status"], attempt["failure_class"])
        for step in document["steps"]
        if subtask in (None, step["subtask"])
        for attempt in step["attempts"]
    ]


def phase_output(greenline, document, phase):
    """The status and the output of a run's phase."""
    ((status, output),) = greenline.sql(
        "SELECT status::text, output FROM agent.phase_results "
        f"WHERE run_id = '{document['run_id']}' AND phase = '{phase}'"
    )
    return status, output


def delivery_row(greenline, document):
    """The run's row of `deliveries`, None if there is none."""
    rows = greenline.sql(
        "SELECT mode, target_branch, commit_sha, accepted, lines_added, lines_deleted "
        f"FROM deliveries WHERE run_id = '{document['run_id']}'"
    )
    return rows[0] if rows else None
