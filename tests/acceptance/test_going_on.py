"""`run --from RUN`: what failed or was left is done anew on top of what stands, and no more."""

from __future__ import annotations

import json
import os
import signal
import sys

import pytest
from git import Repo

from tests.acceptance.killing import (
    Beside,
    Gate,
    assert_commits_and_attempts_agree,
    assert_whole,
    latest_run,
    run_words,
    wait_for,
)
from tests.acceptance.scripted import (
    AGENT,
    SUB,
    TEST_SUB,
    Project,
    attempts,
    delivery_row,
    step,
    subtask,
)

pytestmark = pytest.mark.prefect

TEST_NEG = "from neg import neg\n\n\ndef test_neg():\n    assert neg(1) == -1\n"
NEG = "def neg(a):\n    return -a\n"
LATE = "from calc import sub\n\nLATE = sub(2, 1)\n"


def plan(gate, code="pass"):
    """A subtask that gets done, one whose second step fails, and one that waits for that."""
    return (
        subtask(
            "neg",
            step("test", "tests/test_neg.py", f"{gate.tell('test-neg')}write({TEST_NEG!r})"),
            step("implementation", "neg.py", f"{gate.tell('neg')}write({NEG!r})"),
        ),
        subtask(
            "sub",
            step("test", "tests/test_sub.py", f"{gate.tell('test-sub')}write({TEST_SUB!r})"),
            step("implementation", "calc.py", f"{gate.tell('sub')}{code}"),
        ),
        subtask(
            "late",
            step("implementation", "late.py", f"{gate.tell('late')}write({LATE!r})"),
            depends_on=["sub"],
        ),
    )


class Going(Project):
    """A project with further agents, each of which does one thing whatever it is asked."""

    def __init__(self, greenline, folder, *gates, **agents):
        folder.mkdir(parents=True, exist_ok=True)
        sections = ""
        for name, code in agents.items():
            program = folder / f"{name}.py"
            body = AGENT.rpartition("exec(")[0]
            program.write_text(f"{body}\n{code}\n")
            command = json.dumps([sys.executable, str(program)])
            sections += f'[agents.{name}]\nadapter = "command"\ncommand = {command}\n'
        writable = tuple(each.folder for each in gates)
        super().__init__(
            greenline, folder, writable=writable, rest=f"{sections}[limits]\nattempts = 1\n"
        )

    def go_on(self, run_id, *words, ok=(0,), **options):
        return self.greenline.json("run", "--from", run_id, *words, ok=ok, **options)


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    return Gate(tmp_path_factory.mktemp("going-on") / "gate")


@pytest.fixture(scope="module")
def project(greenline, tmp_path_factory, gate):
    """A project whose first run ended as partial: `neg` is done, `sub` failed, `late` is blocked."""
    right = f"append({SUB!r}) if file.name == 'calc.py' else write({LATE!r})"
    project = Going(
        greenline,
        tmp_path_factory.mktemp("going"),
        gate,
        right=f"{gate.tell('right')}{right}",
        useless="append('# nothing\\n')",
    )
    project.first = project.run(*plan(gate), ok=(1,))
    assert project.first["status"] == "partial"
    return project


def content(project, document, path):
    tree = Repo(project.path).commit(document["branch"]).tree
    return (tree / path).data_stream.read().decode()


def metadata(greenline, document):
    ((found,),) = greenline.sql(
        f"SELECT metadata_json FROM runs WHERE run_id = '{document['run_id']}'"
    )
    return found


def test_what_failed_is_done_by_another_agent_on_top_of_what_stands(greenline, project, gate):
    """Twice over: the agent of the second run fails too, that of the third one does it."""
    first, told = project.first, len(gate.log)
    second = project.go_on(first["run_id"], "--agent", "useless", ok=(1,), cwd="/")
    # What the first run's test step left red is no excuse.
    done = [("test", "skipped", None), ("implementation", "skipped", None)]
    failed = ("implementation", "failure", "not_green")
    assert attempts(second, "neg") == done
    assert attempts(second, "sub") == [done[0], failed]
    assert second["status"] == "partial"
    assert second["commit"] == first["commit"]
    third = project.go_on(second["run_id"][:18], "--agent", "right", cwd="/")
    assert attempts(third, "neg") == done
    assert attempts(third, "sub") == [done[0], ("implementation", "success", None)]
    assert attempts(third, "late") == [("implementation", "success", None)]
    assert gate.log[told:] == ["right 1", "right 1"], "no agent for what was done"
    assert len({each["run_id"] for each in (first, second, third)}) == 3
    assert len({each["branch"] for each in (first, second, third)}) == 3
    assert metadata(greenline, third)["base_commit"] == first["commit"]
    assert [s["step_id"] for s in third["steps"]] == [s["step_id"] for s in first["steps"]]
    assert list(project.branches()) == [third["branch"], "main"]
    assert content(project, third, "neg.py") == NEG
    assert content(project, third, "late.py") == LATE
    assert content(project, third, "calc.py").count(SUB) == 1
    repo = Repo(project.path)
    assert_commits_and_attempts_agree(
        greenline, third["run_id"], repo, first["commit"], third["commit"]
    )
    assert repo.is_ancestor(first["commit"], third["commit"])
    lines = sum(text.count("\n") for text in (TEST_NEG, NEG, TEST_SUB, SUB, LATE))
    assert delivery_row(greenline, third)[4:] == (lines, 0), "counted from where it all began"
    left = project.greenline("run", "--from", third["run_id"], "--json")
    assert (left.returncode, left.stdout) == (2, "")
    assert "nothing is left" in left.stderr
    ((numbers,),) = greenline.sql(
        "SELECT array_agg(a.number ORDER BY a.id) FROM step_attempts a JOIN projects p "
        f"ON p.id = a.project_id WHERE p.repo_path = '{project.path}'"
    )
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_changed_plan_keeps_what_it_asks_for_alike(greenline, project, gate):
    """One step is asked for otherwise, a subtask is new; what was done and is asked alike stands."""
    told = len(gate.log)
    more = subtask("more", step("implementation", "more.py", "write('more = 1\\n')"))
    changed = project.plan(*plan(gate, code=f"append({SUB!r})"), more)
    document = project.go_on(project.first["run_id"], changed)
    assert document["status"] == "completed"
    assert attempts(document, "neg") == [
        ("test", "skipped", None), ("implementation", "skipped", None)
    ]  # fmt: skip
    assert gate.log[told:] == ["sub 1", "late 1"]
    old = {each["step_id"] for each in project.first["steps"]}
    assert old.isdisjoint(each["step_id"] for each in document["steps"])
    assert content(project, document, "more.py") == "more = 1\n"
    assert content(project, document, "neg.py") == NEG
    # It was completed, and more is asked for.
    extra = subtask("extra", step("implementation", "extra.py", "write('extra = 1\\n')"))
    longer = project.plan(*plan(gate, code=f"append({SUB!r})"), more, extra)
    again = project.go_on(document["run_id"], longer)
    assert [each["attempts"][0]["status"] for each in again["steps"]] == ["skipped"] * 6 + [
        "success"
    ]
    assert again["status"] == "completed"


def test_it_can_be_cut_off_and_resumed(greenline, tmp_path, gate):
    """And it goes on from a run that was given up, with settings that were changed since."""
    own = Gate(tmp_path / "gate")
    project = Going(greenline, tmp_path / "cut", gate, own)
    with Beside(greenline, *run_words(project, *plan(gate, own.hold("sub")))) as running:
        own.wait("sub")
        os.kill(running.pid, signal.SIGINT)
        running.ended()
    run_id = latest_run(project)
    refused = greenline("run", "--from", run_id, "--json")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"greenline resume {run_id}" in refused.stderr
    first = greenline.json("abandon", run_id)
    own.close("sub")
    agent = (tmp_path / "cut" / "agent.py").read_text()
    (tmp_path / "cut" / "agent.py").write_text(
        agent + f"\nif file.name == 'calc.py': append({SUB!r})\n"
    )
    words = ("run", "--from", run_id, "--json")
    # Two at once would be at the same steps: one is, the other is told so.
    with Beside(greenline, *words) as one, Beside(greenline, *words) as other:
        own.wait("sub")
        wait_for(lambda: one.process.poll() != other.process.poll())
        going, refused = (one, other) if one.process.poll() is None else (other, one)
        told = refused.ended()
        assert (told.returncode, told.stdout) == (2, ""), told.stderr
        assert f"greenline resume {latest_run(project)}" in told.stderr
        os.kill(going.pid, signal.SIGKILL)
        going.ended()
    second = latest_run(project)
    assert second != run_id
    own.open("sub")
    told = len(gate.log)
    document = greenline.json("resume", second, cwd="/")
    assert_whole(greenline, project, document, files=(), base=first["commit"])
    assert attempts(document, "sub") == [
        ("test", "skipped", None), ("implementation", "failure", "crashed"),
        ("implementation", "success", None),
    ]  # fmt: skip
    assert gate.log[told:] == ["sub 2", "late 1"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--from", "zzz"), "greenline runs"),
        (("--from", "FIRST", "--base", "HEAD"), "--base and --from exclude each other"),
        (("--from", "FIRST", "--repo", "OTHER"), "worked on "),
        (("--from", "FIRST", "--repo", "NOWHERE"), "NOWHERE"),
        (("--from", "FIRST", "--agent", "nobody"), "nobody"),
        ((), "--from RUN"),
    ],
)
def test_what_cannot_be_gone_on_from_is_refused(greenline, project, tmp_path, words, told):
    other = Repo.init(tmp_path / "other")
    other.index.commit("Begin")
    values = {"FIRST": project.first["run_id"], "OTHER": tmp_path / "other"}
    before = greenline.sql("SELECT count(*) FROM runs")
    done = greenline("run", *(values.get(word, word) for word in words), "--json")
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert greenline.sql("SELECT count(*) FROM runs") == before
