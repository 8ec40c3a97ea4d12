"""The sample repository and its plan, step by step, with real git and real pytest."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from defusedxml import ElementTree
from git import Repo
from ruamel.yaml import YAML

from flows.demo import DEMO_PLAN, build_demo_repository
from storage.exceptions import InputError
from tasks.plan import check_plan_against_repository, load_plan

SETTINGS = DEMO_PLAN.parent / "history" / "06-greenline" / "files" / "greenline.toml"
TEST_COMMAND: str = tomllib.loads(SETTINGS.read_text())["project"]["test"]
PLAN: dict[str, Any] = YAML(typ="safe").load(DEMO_PLAN)
SUBTASKS = [subtask for task in PLAN["tasks"] for subtask in task["subtasks"]]
STEPS = [
    step for part in SUBTASKS for step in [*part.get("steps", []), *part.get("integration", [])]
]


def run_suite(repository: Path, report: Path) -> tuple[dict[str, str], str]:
    """Run the command of greenline.toml at that commit; each test's outcome, and all messages."""
    subprocess.run(
        [sys.executable, "-m", *shlex.split(TEST_COMMAND.format(report=report))],
        cwd=repository,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(report.parent),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        check=False,
        timeout=60,
    )
    outcomes, messages = {}, []
    for case in ElementTree.parse(report).iter("testcase"):
        faults = [child for child in case if child.tag in {"failure", "error"}]
        name = f"{case.get('classname')}::{case.get('name')}"
        outcomes[name] = faults[0].tag if faults else "passed"
        messages += [f"{fault.get('message')}\n{fault.text}" for fault in faults]
    return outcomes, "\n".join(messages)


def head(repository: Path) -> str:
    with Repo(repository) as repo:
        return repo.head.commit.hexsha


def test_the_repository_has_a_history_that_is_the_same_everywhere(tmp_path, monkeypatch):
    """Promise: authors, dates and ids do not depend on whose machine it is built on."""
    first = build_demo_repository(tmp_path / "first" / "tally")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".gitconfig").write_text(
        "[user]\nname = Somebody Else\nemail = else@example.com\n"
        "[commit]\ngpgsign = true\n[init]\ndefaultBranch = trunk\n"
        "[core]\nautocrlf = true\nhooksPath = /nonexistent\n"
    )
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    second = build_demo_repository(tmp_path / "second place" / "tally")

    assert head(first) == head(second)
    with Repo(second) as repo:
        assert repo.active_branch.name == "main"
        assert 4 <= len(list(repo.iter_commits())) <= 6
        assert {commit.author.name for commit in repo.iter_commits()} == {"Tally authors"}
        assert repo.git.status("--porcelain", "--ignored") == ""
    assert [path.name for path in second.parent.iterdir()] == ["tally"]


def test_building_inside_a_git_hook_leaves_the_outer_repository_alone(tmp_path, monkeypatch):
    """Promise: GIT_DIR and GIT_INDEX_FILE of an enclosing git command are not followed."""
    outer = Repo.init(tmp_path / "outer")
    monkeypatch.setenv("GIT_DIR", outer.git_dir)
    monkeypatch.setenv("GIT_INDEX_FILE", str(Path(outer.git_dir, "index")))
    built = build_demo_repository(tmp_path / "tally")
    assert (built / ".git" / "HEAD").read_text() == "ref: refs/heads/main\n"
    assert not Path(outer.git_dir, "index").exists()
    assert not list(Path(outer.git_dir, "refs", "heads").iterdir())


def test_every_commit_of_the_history_is_green(tmp_path):
    """Promise: the history is believable, so a run can begin anywhere in it."""
    repository = build_demo_repository(tmp_path / "tally")
    with Repo(repository) as repo:
        for commit in list(repo.iter_commits("main", max_parents=1))[1:]:
            repo.git.checkout("--quiet", "--detach", commit.hexsha)
            outcomes, messages = run_suite(repository, tmp_path / "report.xml")
            assert set(outcomes.values()) == {"passed"}, f"{commit.summary}: {messages}"


def test_a_second_build_keeps_what_was_added(tmp_path):
    """Promise: the demo can be run again; branches of earlier runs stay."""
    repository = build_demo_repository(tmp_path / "tally")
    with Repo(repository) as repo:
        repo.create_head("greenline/earlier-run")
    build_demo_repository(repository)
    with Repo(repository) as repo:
        assert {branch.name for branch in repo.heads} == {"main", "greenline/earlier-run"}


@pytest.mark.parametrize("what", ["file", "folder", "another repository", "changed"])
def test_something_else_in_its_place_is_refused_and_kept(tmp_path, what):
    """Promise: nobody's file, folder or commit is overwritten by the demo."""
    place = tmp_path / "tally"
    if what == "file":
        place.write_text("mine")
    elif what == "folder":
        place.mkdir()
        (place / "mine.txt").write_text("mine")
    elif what == "another repository":
        Repo.init(place, initial_branch="main").index.commit("mine")
    else:
        Repo(build_demo_repository(place)).index.commit("mine")
    before = head(place) if (place / ".git").exists() else None
    with pytest.raises(InputError, match="move it away or choose another folder"):
        build_demo_repository(place)
    assert [path.name for path in tmp_path.iterdir()] == ["tally"]
    if before:
        assert head(place) == before
    else:
        assert "mine" in (place if what == "file" else place / "mine.txt").read_text()


def test_an_empty_folder_will_do(tmp_path):
    (tmp_path / "tally").mkdir()
    assert (build_demo_repository(tmp_path / "tally") / "greenline.toml").is_file()


def test_the_plan_shows_what_a_plan_can_say():
    """Promise: dependencies, an integration pair, a green test, and exactly one failed try."""
    assert len(SUBTASKS) >= 3
    assert len(STEPS) >= 7
    assert any(subtask.get("depends_on") for subtask in SUBTASKS)
    assert {step.get("expect") for step in STEPS} == {None, "green"}
    tries = Counter((step["step_type"], len(step["replay"])) for step in STEPS)
    assert tries[("implementation", 2)] == 1
    assert {number for _, number in tries} == {1, 2}
    assert {(step["step_type"], step["assigned_to"]) for step in STEPS} == {
        ("test", "TaraAider"),
        ("implementation", "DevonAider"),
    }


def test_the_plan_is_read_without_a_warning(tmp_path):
    """Promise: the plan that people copy from is one that Greenline has nothing to say about."""
    repository = build_demo_repository(tmp_path / "tally")
    assert check_plan_against_repository(load_plan(DEMO_PLAN), Checkout(repository)) == []


class Checkout:
    """A checked-out commit, as the check of a plan asks for it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def exists(self, path: str) -> bool:
        return (self.root / path).exists()

    def is_dir(self, path: str) -> bool:
        return (self.root / path).is_dir()

    def is_symlink(self, path: str) -> bool:
        return (self.root / path).is_symlink()

    def symlink_target(self, path: str) -> str:
        return str((self.root / path).readlink())


def test_the_plan_uses_every_replay_file():
    named = {DEMO_PLAN.parent / entry["file"] for step in STEPS for entry in step["replay"]}
    there = set((DEMO_PLAN.parent / "replay").rglob("*.py"))
    assert named == there


def test_every_step_ends_as_the_plan_expects(tmp_path):
    """Promise: the demo's red and green are real.

    A test step is red for a missing name of its subtask or a failed assertion, the failed try
    fails an assertion, an implementation step turns the whole suite green, and no test is lost.
    """
    repository = build_demo_repository(tmp_path / "tally")
    report = tmp_path / "report.xml"
    before, _ = run_suite(repository, report)
    assert set(before.values()) == {"passed"}
    for step in STEPS:
        where = f"{step['step_type']} {step['file_path']}"
        for context in step["context_files"]:
            assert (repository / context).is_file(), where
        *wrong, right = step["replay"]
        for entry in wrong:
            replay(entry, repository / step["file_path"])
            outcomes, messages = run_suite(repository, report)
            failed = {name for name, outcome in outcomes.items() if outcome != "passed"}
            assert failed, where
            assert failed.isdisjoint(before), where
            assert {outcomes[name] for name in failed} == {"failure"}, where
            assert "AssertionError: assert 1998 == 1999" in messages, where
        replay(right, repository / step["file_path"])
        outcomes, messages = run_suite(repository, report)
        if step["step_type"] == "test" and step.get("expect") != "green":
            assert set(outcomes.values()) & {"failure", "error"}, where
            assert is_red_for_the_right_reason(messages), messages
        else:
            assert set(outcomes.values()) == {"passed"}, f"{where}\n{messages}"
            assert before.keys() <= outcomes.keys(), where
            before = outcomes


def replay(entry: dict[str, str], target: Path) -> None:
    shutil.copyfile(DEMO_PLAN.parent / entry["file"], target)


def is_red_for_the_right_reason(messages: str) -> bool:
    return any(
        reason in messages
        for reason in (
            "cannot import name 'round_up' from 'tally.durations'",
            "No module named 'tally.rates'",
            "No module named 'tally.invoice'",
            "unrecognized arguments: --rates",
        )
    )
