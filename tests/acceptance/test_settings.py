"""Settings do what they say: suites, checks, set-up, limits, budgets, the agent's environment."""

from __future__ import annotations

import json
import sys

import pytest

from tests.acceptance.scripted import (
    FILES,
    PYTEST,
    PYTHON,
    SUB,
    TEST_SUB,
    Project,
    attempts,
    delivery_row,
    phase_output,
    step,
    sub,
    subtask,
)
from tests.acceptance.support import write_files

pytestmark = pytest.mark.prefect

FOCUSED = f"test_files = '{PYTEST} {{files}} --junitxml={{report}}'\n"
BREAKS_ADD = "write(file.read_text().replace('a + b', 'a - b'))"
ONE_TRY = "[limits]\nattempts = 1\n"


def kinds(greenline, document):
    """The kinds of verifications of each attempt, in their order."""
    rows = greenline.sql(
        "SELECT a.number, array_agg(v.kind ORDER BY v.id) FROM verifications v "
        f"JOIN step_attempts a ON a.id = v.attempt_id WHERE v.run_id = '{document['run_id']}' "
        "GROUP BY a.number ORDER BY a.number"
    )
    return [kinds for _, kinds in rows]


def test_with_the_whole_suite_at_each_step_own_tests_come_first_and_decide_early(
    greenline, tmp_path
):
    project = Project(greenline, tmp_path, project=FOCUSED + "full_suite = 'step'\n")
    support = subtask("support", step("test", "tests/conftest.py", "write('')", expect="unchanged"))
    works = sub(
        before_code=f"if attempt == 1:\n  {BREAKS_ADD}\nelif attempt == 2:\n  append('x = 1\\n'); sys.exit()"
    )
    document = project.run(support, works)
    assert attempts(document) == [
        ("test", "success", None),
        ("test", "success", None),
        ("implementation", "failure", "regression"),
        ("implementation", "failure", "not_green"),
        ("implementation", "success", None),
    ]
    both = ["focused", "full"]
    # What passed before and fails now is run again: it might be flaky.
    again = [*both, "rerun", "rerun"]
    assert kinds(greenline, document) == [["full"], both, again, ["focused"], both]


def test_with_the_whole_suite_at_a_subtasks_end_a_regression_elsewhere_is_caught_there(
    greenline, tmp_path
):
    project = Project(
        greenline, tmp_path, project=FOCUSED + "full_suite = 'subtask'\n", rest=ONE_TRY
    )
    more = subtask(
        "more",
        step("test", "tests/test_sub.py", f"write({TEST_SUB!r})"),
        step("implementation", "other.py", "write('')"),
        step("implementation", "calc.py", f"{BREAKS_ADD}; append({SUB!r})"),
    )
    document = project.run(more, ok=(1,))
    assert attempts(document)[-1] == ("implementation", "failure", "regression")
    assert kinds(greenline, document) == [
        ["focused"],
        ["focused"],
        ["focused", "full", "rerun", "rerun"],
    ]


def test_with_the_whole_suite_at_the_runs_end_a_regression_elsewhere_is_caught_there(
    greenline, tmp_path
):
    """Tests that an earlier subtask wrote count as well, and skipping them is no way out."""
    project = Project(greenline, tmp_path, project=FOCUSED + "full_suite = 'run'\n")
    later = subtask(
        "later",
        step("test", "tests/test_mul.py", "write('from calc import mul\\n\\n\\ndef test_mul():\\n    assert mul(2, 3) == 6\\n')"),
        step("implementation", "calc.py", "write(file.read_text().replace('return a - b', 'import pytest; pytest.skip()') + '\\n\\ndef mul(a, b):\\n    return a * b\\n')"),
    )  # fmt: skip
    document = project.run(sub(), later, ok=(1,))
    assert {status for _, status, _ in attempts(document)} == {"success"}
    # The last edit names pytest: a test that must fail is run beside the step's own.
    assert kinds(greenline, document) == [["focused"]] * 3 + [["focused", "canary"]]
    assert document["status"] == "failed"
    _, output = phase_output(greenline, document, "pr")
    (check,) = output["checks"]
    assert (check["check"], check["passed"], check["failure_class"]) == (
        "test",
        False,
        "test_tampering",
    )
    assert "test_sub" in output["reason"]
    assert delivery_row(greenline, document) is None
    assert list(project.branches()) == ["main"]


@pytest.fixture(scope="module")
def shown(greenline, tmp_path_factory):
    """A run with lint, set-up, a hanging implementation, an agent's environment and usage."""
    folder = tmp_path_factory.mktemp("shown")
    (folder / "lint.py").write_text(
        "import pathlib, sys\nif 'ugly' in pathlib.Path(sys.argv[1]).read_text():\n    sys.exit('no ugly words, please')\n"
    )
    files = FILES | {
        "setup.py": "open('f.made', 'w').write('made by the set-up')\n",
        "tests/test_made.py": "import pathlib\n\n\ndef test_made():\n    assert pathlib.Path('f.made').read_text()\n",
    }
    project = Project(
        greenline,
        folder,
        files,
        project=f"setup = '{PYTHON} setup.py'\nlint = ['{PYTHON} \"{folder / 'lint.py'}\" {{file}}']\ntimeout_s = 8\n",
        agent='env = ["SHOWN_TO_AGENTS", "NOT_SET_AT_ALL"]\n',
    )
    seen = f"pathlib.Path({str(folder / 'environment.json')!r}).write_text(json.dumps(dict(os.environ)))"
    told = f"pathlib.Path({str(folder / 'told.txt')!r}).write_text(prompt)"
    document = project.run(
        subtask(
            "sub",
            step("test", "tests/test_sub.py", f"{seen}; {told}\nwrite({TEST_SUB!r} + '# ugly' * (attempt == 1))\nused(model='some-model', input_tokens=1000, output_tokens=20, cache_read_tokens=300, cost_usd=0.25)", context_files=["calc.py"]),
            step("implementation", "calc.py", f"append({SUB!r})\nif attempt == 1:\n    append('import time\\ntime.sleep(60)\\n')"),
        ),
        env={
            "SHOWN_TO_AGENTS": "yes", "SECRET_API_KEY": "never", "GREENLINE_DELIVERY_TARGET": "main",
            "PREFECT_LOGGING_LEVEL": "INFO", "PYTHONPATH": str(folder), "VIRTUAL_ENV": "/x",
        },
    )  # fmt: skip
    return project, document, folder


def test_a_file_that_lint_refuses_is_a_static_check_failure_and_the_next_attempt_is_told(shown):
    _, document, folder = shown
    assert attempts(document)[:2] == [
        ("test", "failure", "static_check"),
        ("test", "success", None),
    ]
    assert "no ugly words, please" in (folder / "told.txt").read_text()


def test_an_implementation_that_hangs_is_not_green(shown):
    assert attempts(shown[1])[2:] == [
        ("implementation", "failure", "not_green"),
        ("implementation", "success", None),
    ]


def test_what_the_set_up_made_is_there_for_tests_and_never_committed(shown):
    project, document, _ = shown
    tree = project.repo.commit(document["commit"]).tree
    assert "f.made" not in {blob.path for blob in tree.traverse()}
    assert not (project.path / "f.made").exists()


def test_an_agent_is_given_the_documented_variables_and_nothing_else(shown):
    _, document, folder = shown
    seen = json.loads((folder / "environment.json").read_text())
    # What the C library and Python may set for themselves is none of the caller's.
    for name in ("LC_CTYPE", "__CF_USER_TEXT_ENCODING"):
        seen.pop(name, None)
    assert set(seen) - {"PWD"} == {  # which bubblewrap sets to the worktree, as a shell would
        "PATH", "HOME", "LANG", "TERM", "SHOWN_TO_AGENTS",
        "GREENLINE_PROMPT_FILE", "GREENLINE_FILE", "GREENLINE_STEP_TYPE", "GREENLINE_STEP_ID",
        "GREENLINE_SUBTASK", "GREENLINE_ATTEMPT_NO", "GREENLINE_CONTEXT_FILES",
        "GREENLINE_USAGE_FILE",
    }  # fmt: skip
    assert seen["SHOWN_TO_AGENTS"] == "yes"
    assert seen["GREENLINE_FILE"] == "tests/test_sub.py"
    assert seen["GREENLINE_STEP_TYPE"] == "test"
    assert seen["GREENLINE_STEP_ID"] == str(document["steps"][0]["step_id"])
    assert seen["GREENLINE_SUBTASK"] == "sub"
    assert seen["GREENLINE_ATTEMPT_NO"] == "2"
    assert json.loads(seen["GREENLINE_CONTEXT_FILES"]) == ["calc.py"]
    assert seen["HOME"] != str(folder)


def test_what_an_agent_says_it_used_is_in_the_ledger_and_the_unknown_is_null(shown, greenline):
    _, document, _ = shown
    said, silent = (step["attempts"][-1]["token_usage"] for step in document["steps"])
    assert said == {
        "prompt_tokens": 1000,
        "completion_tokens": 20,
        "total_tokens": 1020,
        "cost": 0.25,
    }
    assert silent is None
    rows = greenline.sql(
        "SELECT i.model_id, i.input_tokens, i.output_tokens, i.total_tokens, "
        "i.input_tokens_cache_read, i.cost_reported::float FROM agent.agent_invocations i "
        "JOIN step_attempts a ON a.id = i.attempt_id "
        f"WHERE a.run_id = '{document['run_id']}' ORDER BY a.number"
    )
    assert rows[1] == ("some-model", 1000, 20, 1020, 300, 0.25)
    assert rows[3] == (None,) * 6


def test_a_budget_that_is_spent_stops_before_the_next_attempt(greenline, tmp_path):
    """And a person is asked, whatever `on_stuck` says of other failures."""
    project = Project(greenline, tmp_path, rest="[limits]\nrun_tokens = 150\n")
    document = project.run(sub(before_test="used(input_tokens=100, output_tokens=100)"), ok=(3,))
    assert document["pending_cta"] is not None
    assert attempts(document) == [
        ("test", "success", None),
        ("implementation", "failure", "budget_exceeded"),
    ]
    info = greenline.json("step", "info", 2, cwd=project.path)
    assert (info["exit_code"], info["token_usage"]) == (None, None)  # the agent was not started
    assert "150" in info["result_json"]["reason"]


def test_the_environment_and_pyproject_have_their_say(greenline, tmp_path):
    """[tool.greenline] is read from the commit, GREENLINE_ variables win over it."""
    project = Project(greenline, tmp_path)
    table = "[tool.greenline.project]\nname = 'from pyproject'\ntest = 'no-such-program {report}'\n"
    agent = json.dumps([sys.executable, str(tmp_path / "agent.py")])
    table += f"[tool.greenline.agents.scripted]\nadapter = 'command'\ncommand = {agent}\n"
    write_files(project.path, {"pyproject.toml": table})
    project.repo.git.add("-A")
    project.repo.index.commit("Settings")
    document = greenline.json(
        "run", project.plan(sub(before_test="sys.exit(1)")), "--repo", "calc", "--agent", "scripted",
        cwd=tmp_path, ok=(1,),
        env={
            "GREENLINE_LIMITS_ATTEMPTS": "1",
            "GREENLINE_PROJECT_TEST": f"{PYTEST} --junitxml={{report}}",
        },
    )  # fmt: skip
    assert attempts(document) == [("test", "failure", "agent_error")]
    (listed,) = greenline.json("runs", cwd=project.path)
    assert listed["project"] == "from pyproject"


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (f"setup = '{PYTHON} -c \"print(7 * 6); raise SystemExit(3)\"'", ("set-up", "exit code 3", "42")),
        ("setup = 'no-such-set-up'", ("project.setup", "no-such-set-up")),
        ("lint = ['no-such-lint {file}']", ("project.lint", "no-such-lint")),
        ("build = ['no-such-build']", ("project.build", "no-such-build")),
    ],
    ids=["set-up fails", "no set-up", "no lint", "no build"],
)  # fmt: skip
def test_commands_that_cannot_work_are_told_before_anything_is_written(
    greenline, tmp_path, settings, named
):
    project = Project(greenline, tmp_path, project=settings)
    before = set((greenline.home / "sandboxes").glob("*"))
    done = project.start(sub())
    assert (done.returncode, done.stdout) == (2, "")
    for word in named:
        assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert greenline.sql(f"SELECT 1 FROM projects WHERE repo_path = '{project.path}'") == []
    assert set((greenline.home / "sandboxes").glob("*")) <= before
    assert list(project.branches()) == ["main"]
