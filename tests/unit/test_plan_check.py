"""What a plan's paths mean in a repository is told before anything is run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from tasks.plan import FeaturePlan, PlanError, check_plan_against_repository


@dataclass(frozen=True)
class Tree:
    """A commit's files by path; a text that begins with `->` is a symlink to what follows."""

    files: Mapping[str, str]

    def exists(self, path: str) -> bool:
        return path in self.files or self.is_dir(path)

    def is_dir(self, path: str) -> bool:
        return path == "" or any(name.startswith(f"{path}/") for name in self.files)

    def is_symlink(self, path: str) -> bool:
        return self.files.get(path, "").startswith("->")

    def symlink_target(self, path: str) -> str:
        return self.files[path].removeprefix("->")


REPOSITORY = Tree(
    {
        "src/x.py": "",
        "README": "",
        "link.py": "->src/x.py",
        "lib": "->src",
        "out": "->../elsewhere",
        "abs": "->/etc",
        "deep/up": "->../../elsewhere",
        "deep/in": "->../src",
        "chain": "->lib",
        "loop": "->loop",
        "ping": "->pong",
        "pong": "->ping",
    }
)


def step(path="src/x.py", step_type="implementation", context=(), **more):
    return {
        "step_type": step_type,
        "file_path": path,
        "instructions": "x",
        "context_files": list(context),
    } | more


def plan(**subtasks) -> FeaturePlan:
    """Return a plan of subtasks, each given as (steps, keys it depends on)."""
    made = [
        {"key": key, "title": key, "steps": steps, "depends_on": list(needs)}
        for key, (steps, needs) in subtasks.items()
    ]
    return FeaturePlan.model_validate({"feature": "F", "tasks": [{"title": "T", "subtasks": made}]})


def warnings(**subtasks) -> list[str]:
    return [str(each) for each in check_plan_against_repository(plan(**subtasks), REPOSITORY)]


def refusal(*steps) -> PlanError:
    with pytest.raises(PlanError) as caught:
        check_plan_against_repository(plan(a=(list(steps), ())), REPOSITORY)
    return caught.value


@pytest.mark.parametrize("path", ["src/x.py", "src/new.py", "new/folder/x.py", "README"])
def test_files_that_are_there_or_new_are_fine(path):
    assert warnings(a=([step(path)], ())) == []


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("src", "is a folder"),
        ("deep", "is a folder"),
        ("README/x.py", "lies under 'README', which is a file"),
        ("link.py", "is a symlink to 'src/x.py': write 'src/x.py'"),
        ("lib/x.py", "lies under the symlink 'lib': write 'src/x.py'"),
        ("chain/new.py", "lies under the symlink 'chain': write 'src/new.py'"),
        ("deep/in/x.py", "lies under the symlink 'deep/in': write 'src/x.py'"),
        ("out", "which leaves the repository"),
        ("out/x.py", "symlink 'out', which leaves the repository"),
        ("abs/passwd", "which leaves the repository"),
        ("deep/up/x.py", "which leaves the repository"),
        ("loop", "leaves the repository"),
        ("ping/x", "leaves the repository"),
    ],
)
def test_files_that_no_step_may_write_are_refused(path, named):
    (problem,) = refusal(step(path)).problems
    assert named in problem.message
    assert problem.path == "tasks[0].subtasks[0].steps[0].file_path"


def test_all_such_problems_are_told_at_once():
    assert len(refusal(step("src"), step("out/x.py"), step(context=["abs/passwd"])).problems) == 3


@pytest.mark.parametrize("path", ["out/secret", "abs/passwd", "deep/up", "loop"])
def test_a_context_file_outside_the_repository_is_refused(path):
    """An agent is shown nothing that lies outside, whatever a link says."""
    (problem,) = refusal(step(context=["README", path])).problems
    assert problem.path == "tasks[0].subtasks[0].steps[0].context_files[1]"
    assert "leaves the repository" in problem.message


@pytest.mark.parametrize("path", ["link.py", "lib/x.py", "chain/x.py", "deep/in/x.py", "README"])
def test_a_context_file_behind_a_link_inside_is_fine(path):
    assert warnings(a=([step(context=[path])], ())) == []


@pytest.mark.parametrize(
    ("path", "named"), [("nowhere.py", "there is no 'nowhere.py'"), ("src", "is a folder")]
)
def test_a_context_file_that_cannot_be_shown_is_a_warning(path, named):
    (said,) = warnings(a=([step(context=[path])], ()))
    assert named in said
    assert said.startswith("tasks[0].subtasks[0].steps[0].context_files[0]: ")


def test_a_context_file_that_an_earlier_step_makes_is_not_missing():
    own = ([step("t.py", "test"), step("new.py", context=["t.py"])], ())
    later = ([step("other.py", context=["new.py"])], ("a",))
    assert warnings(a=own, b=later) == []


def test_a_context_file_that_an_independent_subtask_makes_is_missing():
    (said,) = warnings(a=([step("new.py")], ()), b=([step("b.py", context=["new.py"])], ()))
    assert "there is no 'new.py'" in said


@pytest.mark.parametrize(("count", "expected"), [(3, 0), (4, 1), (9, 1)])
def test_more_than_three_steps_are_a_warning(count, expected):
    said = [s for s in warnings(a=([step()] * count, ())) if "at most 3" in s]
    assert len(said) == expected


@pytest.mark.parametrize(
    ("needs", "expected"),
    [
        ({"a": "", "b": ""}, 1),
        ({"a": "", "b": "a"}, 0),
        ({"a": "b", "b": ""}, 0),
        ({"a": "", "b": "a", "c": "b"}, 0),
        ({"a": "", "b": "", "c": "ab"}, 1),
        ({"a": "", "b": "a", "c": "a"}, 1),
    ],
)
def test_independent_subtasks_that_name_the_same_file_are_a_warning(needs, expected):
    said = warnings(**{key: ([step()], tuple(others)) for key, others in needs.items()})
    assert len(said) == expected
    assert all("they will take turns" in s and "'src/x.py'" in s for s in said)


def test_independent_subtasks_with_files_of_their_own_are_fine():
    assert warnings(a=([step("a.py")], ()), b=([step("b.py")], ())) == []


def test_an_early_implementation_step_before_more_tests_is_pointed_out():
    """Its default, `unchanged`, is rarely meant when tests follow."""
    steps = [step("t.py", "test"), step("a.py"), step("t.py", "test"), step("b.py")]
    assert any("say `expect: green`" in s for s in warnings(a=(steps, ())))
    steps[1]["expect"] = "green"
    assert not any("say `expect: green`" in s for s in warnings(a=(steps, ())))


@pytest.fixture
def no_home(monkeypatch, tmp_path):
    monkeypatch.setenv("GREENLINE_HOME", str(tmp_path / "none"))


def test_a_skill_that_comes_with_greenline_can_be_named(no_home):
    assert warnings(a=([step(skill={"name": "hello-world"})], ())) == []


@pytest.mark.parametrize(
    ("skill", "place", "named"),
    [
        ({"name": "helo-world"}, "name", "did you mean 'hello-world'?"),
        ({"name": "characterise"}, "parameters.subject", "is missing"),
        ({"name": "hello-world", "parameters": {"who": 1}}, "parameters.who", "must be text"),
        ({"name": "hello-world", "parameters": {"whom": "x"}}, "parameters.whom", "unknown"),
    ],
)
def test_a_skill_that_cannot_be_used_so_is_found_before_the_run(no_home, skill, place, named):
    (problem,) = refusal(step(skill=skill)).problems
    assert problem.path == f"tasks[0].subtasks[0].steps[0].skill.{place}"
    assert named in problem.message
