"""Flaky tests are nobody's failure; a regression is one, however often the tests are run."""

from __future__ import annotations

import pytest

from tests.acceptance.scripted import (
    FILES,
    PYTEST,
    PYTHON,
    SUB,
    Project,
    attempts,
    phase_output,
    step,
    sub,
    subtask,
)
from tests.acceptance.support import AUTHOR, write_files

pytestmark = pytest.mark.prefect

#: A test that has nothing to do with the plan: what its runs do is written in a file outside of
#: every worktree, the last letter again and again.
SHAKY = """
import pathlib

def test_shaky():
    outcomes = pathlib.Path({path!r})
    left = outcomes.read_text()
    outcomes.write_text(left[1:] or left)
    assert left[0] == "P"
"""
SHAKY_ID = "tests.test_shaky::test_shaky"


@pytest.fixture
def shaky(greenline, tmp_path):
    """Make a repository with a test whose runs have these outcomes, `P`assed or `F`ailed."""

    def make(outcomes, **more):
        (tmp_path / "project").mkdir()
        (tmp_path / "project/outcomes").write_text(outcomes)
        source = SHAKY.format(path=str(tmp_path / "project/outcomes"))
        files = FILES | {"tests/test_shaky.py": source, "check.py": CHECK}
        return Project(greenline, tmp_path / "project", files=files, **more)

    return make


def verifications(greenline, document):
    """Each execution of the suite: the attempt's number, kind, what the shaky test did, the tests."""
    rows = greenline.sql(
        "SELECT a.number, v.kind, v.tree, max(r.outcome) FILTER (WHERE r.node_id = "
        f"'{SHAKY_ID}'), count(r.id) FROM verifications v LEFT JOIN step_attempts a "
        "ON a.id = v.attempt_id LEFT JOIN test_results r ON r.verification_id = v.id "
        f"WHERE v.run_id = '{document['run_id']}' GROUP BY a.number, v.id ORDER BY v.id"
    )
    return [(kind, tree, outcome, count) for _, kind, tree, outcome, count in rows]


def results(greenline, document):
    """The result of each attempt of a run, in their order."""
    rows = greenline.sql(
        f"SELECT result_json FROM step_attempts WHERE run_id = '{document['run_id']}' ORDER BY id"
    )
    return [result for (result,) in rows]


CHECK = """
import sys, pytest
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", f"--junitxml={sys.argv[1]}"]))
"""
#: The settings with which the suite is run, and how many tests a run of the failing ones has.
COMMANDS = {
    "pytest, the files appended": ("", 2),
    "the project's command for files": (
        f"test_files = '{PYTEST} {{files}} --junitxml={{report}}'",
        2,
    ),
    "another command, the whole suite": (f"test = '{PYTHON} check.py {{report}}'", 3),
}


@pytest.mark.parametrize("project", COMMANDS)
def test_a_test_that_fails_every_other_time_stops_nobody(greenline, shaky, project, tmp_path):
    """Each step meets it red, and it passes when it is run again on the same tree."""
    settings, tests = COMMANDS[project]
    document = shaky("PFPFPF", project=settings, rest="[limits]\nattempts = 1").run(sub())
    assert document["status"] == "completed"
    assert attempts(document) == [
        ("test", "success", None),
        ("implementation", "success", None),
    ]
    seen = [each for each in verifications(greenline, document) if each[0] in ("full", "rerun")]
    assert [(kind, outcome) for kind, _, outcome, _ in seen] == [
        ("full", "failed"),
        ("rerun", "passed"),
        ("full", "failed"),
        ("rerun", "passed"),
    ]
    for full, rerun in (seen[:2], seen[2:]):
        assert full[1] == rerun[1], "the same tree"
        assert rerun[3] == tests
    assert [result["flaky"] for result in results(greenline, document)] == [[SHAKY_ID]] * 2
    events = greenline.sql(
        "SELECT payload_json -> 'tests' ->> 0 FROM events WHERE event_type = 'tests_flaky' "
        f"AND run_id = '{document['run_id']}'"
    )
    assert events == [(SHAKY_ID,)] * 2
    # The tree was judged: nothing is run once more to deliver it.
    assert (tmp_path / "project/outcomes").read_text() == "F"


def test_a_regression_is_refused_after_two_runs_of_the_failing_tests_alone(greenline, tmp_path):
    files = FILES | {f"tests/test_other_{n}.py": "def test_it():\n    pass\n" for n in range(5)}
    project = Project(greenline, tmp_path, files=files, rest="[limits]\nattempts = 1")
    break_add = f"write(file.read_text().replace('a + b', 'a - b') + {SUB!r})"
    document = project.run(subtask("break", step("implementation", "calc.py", break_add)), ok=(1,))
    assert attempts(document) == [("implementation", "failure", "regression")]
    seen = verifications(greenline, document)
    assert [(kind, count) for kind, _, _, count in seen[1:]] == [
        ("full", 6),
        ("rerun", 1),
        ("rerun", 1),
    ]
    (result,) = results(greenline, document)
    assert "flaky" not in result and result["tests"] == ["tests.test_calc::test_add"]


def test_a_new_test_is_never_excused(greenline, tmp_path):
    """The agent's code makes the subtask's own test pass every other time: that is not green."""
    toggle = str(tmp_path / "toggle")
    sometimes = (
        "\n\ndef sub(a, b):\n    import pathlib\n"
        f"    toggle = pathlib.Path({toggle!r})\n"
        "    if toggle.exists():\n        toggle.unlink()\n        return a - b\n"
        "    toggle.touch()\n    return 0\n"
    )
    project = Project(greenline, tmp_path / "project", rest="[limits]\nattempts = 1")
    test_step = sub()["steps"][0]
    cheat = step("implementation", "calc.py", f"append({sometimes!r})")
    document = project.run(subtask("sub", test_step, cheat), ok=(1,))
    assert attempts(document)[1] == ("implementation", "failure", "not_green")
    assert "rerun" not in [kind for kind, *_ in verifications(greenline, document)]


def test_a_test_known_to_be_flaky_that_stays_red_uses_up_no_attempt(greenline, shaky):
    """With one attempt alone the step is tried again, and passes when the test does."""
    project = shaky("PFPFFFP", rest="[limits]\nattempts = 1")
    document = project.run(sub())
    assert document["status"] == "completed"
    assert attempts(document) == [
        ("test", "success", None),
        ("implementation", "failure", "flaky"),
        ("implementation", "success", None),
    ]


def test_a_test_that_stays_red_is_borne_a_bounded_number_of_times(greenline, shaky):
    project = shaky("PFPF", rest="[limits]\nattempts = 1\ntransient = 2")
    document = project.run(sub(), ok=(1,))
    assert attempts(document)[1:] == [("implementation", "failure", "flaky")] * 2
    reasons = greenline.sql(
        "SELECT payload_json ->> 'reason' FROM events WHERE event_type = 'step_stopped' "
        f"AND run_id = '{document['run_id']}'"
    )
    assert "limits.transient is 2" in reasons[0][0]


def test_a_test_that_is_flaky_at_the_start_is_neither_a_failure_nor_a_success(greenline, shaky):
    """It is told among the facts, and may do as it likes from then on."""
    document = shaky("FPFPF", rest="[limits]\nattempts = 1").run(sub())
    assert document["status"] == "completed"
    _, facts = phase_output(greenline, document, "analysis")
    assert facts["flaky_tests"] == [SHAKY_ID] and facts["baseline"]["failing"] == []
    seen = [(kind, outcome) for kind, _, outcome, _ in verifications(greenline, document)]
    assert seen == [
        ("baseline", "failed"),
        ("rerun", "passed"),
        ("full", "failed"),
        ("full", "passed"),
    ]


def test_a_test_that_is_flaky_on_what_is_delivered_keeps_nothing_back(greenline, shaky):
    """The target moved meanwhile, so the suite runs once more on the merged result."""
    project = shaky(
        "PPPFP", rest='[limits]\nattempts = 1\n[delivery]\nmode = "merge"\ntarget = "other"'
    )
    project.repo.git.checkout("-b", "other")
    write_files(project.path, {"news.txt": "news"})
    project.repo.git.add("-A")
    project.repo.index.commit("News", author=AUTHOR, committer=AUTHOR)
    project.repo.git.checkout("main")
    document = project.run(sub())
    assert document["status"] == "completed"
    seen = [(kind, outcome) for kind, _, outcome, _ in verifications(greenline, document)]
    assert seen[-2:] == [("delivery", "failed"), ("rerun", "passed")]
