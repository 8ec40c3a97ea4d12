"""The commands around a run: what they print, where they work, and how they end."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
from git import Repo

from flows.cli.app import app
from storage.database import SCHEMA_VERSION
from tests.acceptance.scripted import FILES, SUB, TEST_SUB, Project, step, sub, subtask
from tests.acceptance.support import AUTHOR, snapshot, write_files

ROOT = Path(__file__).parents[2]
#: Where `python` has pytest, whatever the machine's own has.
WITH_PYTEST = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
LONG = "tests/test_" + "long_" * 30 + "name.py"


def replayed(folder, *more):
    """A plan for the `replay` agent with its files beside it; the plan's path."""
    files = {"a.py": TEST_SUB, "b.py": FILES["calc.py"] + SUB, "c.py": "def test_c():\n    pass\n"}
    write_files(folder, files)
    steps = [
        step("test", "tests/test_sub.py", "", replay=[{"file": "a.py"}]),
        step("implementation", "calc.py", "", replay=[{"file": "b.py"}]),
        *more,
    ]
    plan = {"feature": "Sub", "tasks": [{"title": "T", "subtasks": [subtask("sub", *steps)]}]}
    (folder / "plan.json").write_text(json.dumps(plan))
    return folder / "plan.json"


@pytest.fixture(scope="module")
def fresh(greenline, tmp_path_factory):
    """`init` and `run` as a newcomer types them, from a git hook; the project and the document."""
    folder = tmp_path_factory.mktemp("a fresh project")
    root = folder / "my project"
    repo = Repo.init(root, initial_branch="main")
    write_files(root, FILES)
    repo.git.add("-A", "-f")
    repo.index.commit("The beginning", author=AUTHOR, committer=AUTHOR)
    (folder / "plans").mkdir()
    replayed(folder / "plans", step("test", LONG, "", replay=[{"file": "c.py"}], expect="green"))
    (root / "docs").mkdir()
    (root / "docs" / "plan.json").symlink_to(folder / "plans" / "plan.json")
    env = {"PATH": WITH_PYTEST}
    made = greenline.json("init", cwd=root, env=env)
    hook = {
        "GIT_DIR": str(root / ".git"),
        "GIT_INDEX_FILE": str(root / ".git/index"),
        "GIT_WORK_TREE": "/nowhere",
    }
    # Relative paths, the plan by a link, from a folder inside the checkout.
    words = ("run", "plan.json", "--repo", "..", "--agent", "replay")
    document = greenline.json(*words, cwd=root / "docs", env=env | hook)
    return root, made, document


@pytest.mark.prefect
def test_init_then_run_works_on_a_fresh_python_project(fresh):
    root, made, document = fresh
    assert Path(made["path"]).read_text() == made["settings"]
    assert "pytest" in made["settings"]
    assert document["status"] == "completed"
    assert [branch.name for branch in Repo(root).branches] == [document["branch"], "main"]


@pytest.mark.prefect
def test_init_replaces_nothing(fresh, greenline, tmp_path):
    root = fresh[0]
    before = snapshot(root)
    done = greenline("init", "--repo", root)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--force" in done.stderr
    assert snapshot(root) == before
    project = Project(
        greenline, tmp_path, FILES | {"pyproject.toml": "[tool.greenline.project]\nname = 'x'\n"}
    )
    done = greenline("init", "--repo", project.path)
    assert done.returncode == 2
    assert "[tool.greenline]" in done.stderr


@pytest.mark.prefect
def test_every_json_option_prints_one_document_and_nothing_else(fresh, greenline):
    root, _, document = fresh
    prefix = document["run_id"][:-4]
    documents = {
        words: greenline.json(*words.split(), cwd=root)
        for words in (
            "runs", "runs --limit 1", f"runs show {prefix}", "steps", f"steps {prefix}",
            "step info 1", "step diff 2", "ledger url", "ledger init", "ledger inspect", "doctor",
        )
    }  # fmt: skip
    assert documents[f"runs show {prefix}"] == document
    assert documents["steps"] == documents[f"steps {prefix}"]
    assert [step["file_path"] for step in documents["steps"]] == [
        "tests/test_sub.py",
        "calc.py",
        LONG,
    ]
    assert documents["step info 1"]["step_id"] == document["steps"][0]["step_id"]
    assert documents["step diff 2"]["diff"].startswith("diff --git a/calc.py b/calc.py\n")
    assert documents["ledger init"] == {"state": "up to date", "schema_version": SCHEMA_VERSION}
    for moment in re.findall(r'"created_at": "(.*?)"', json.dumps(documents["runs"])):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", moment)


@pytest.mark.prefect
@pytest.mark.parametrize(
    "words", ["steps", "runs", "runs show RUN", "step info 1", "ledger inspect", "doctor"]
)
def test_what_is_piped_is_whole_plain_and_has_no_blanks_at_its_lines_ends(fresh, greenline, words):
    root, _, document = fresh
    words = words.replace("RUN", document["run_id"]).split()
    done = greenline(*words, cwd=root, env={"FORCE_COLOR": "1", "COLUMNS": "40"})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout
    for line in done.stdout.splitlines():
        assert line == line.rstrip()
        assert "\x1b" not in line
    if words[0] == "steps" or words[:2] == ["runs", "show"]:
        assert LONG in done.stdout


@pytest.mark.prefect
def test_in_a_terminal_a_table_fits_its_width(fresh, greenline):
    import pty

    ours, theirs = pty.openpty()
    env = greenline.env | {"COLUMNS": "160", "TERM": "xterm", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "flows.cli", "steps"]
    with subprocess.Popen(command, cwd=fresh[0], env=env, stdout=theirs, stderr=theirs) as child:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 10_000):
                shown += part
        except OSError:  # the other end is closed: that is how a terminal ends
            pass
    os.close(ours)
    assert child.returncode == 0
    text = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode())
    assert "tests/test_sub.py" in text
    assert max(map(len, text.splitlines())) <= 160
    assert not re.search(rb"\x1b\[[0-9;]*3[0-9]m", shown)  # no colour


@pytest.mark.prefect
def test_listings_are_of_this_folders_project_elsewhere_of_all(fresh, greenline, tmp_path):
    root, _, document = fresh
    project = Project(greenline, tmp_path / "other", rest="[limits]\nattempts = 1\n")
    other = project.run(sub(before_test="sys.exit(1)"), ok=(1,))
    here = {run["run_id"] for run in greenline.json("runs", cwd=root / "docs")}
    assert here == {document["run_id"]}
    everywhere = {run["run_id"] for run in greenline.json("runs", cwd=tmp_path)}
    assert everywhere >= {document["run_id"], other["run_id"]}
    (mine,) = greenline.json("runs", cwd=root)
    assert greenline.json("runs", "--project", mine["project"], cwd=tmp_path) == [mine]
    assert {step["run_id"] for step in greenline.json("steps", cwd=root)} == {document["run_id"]}
    assert {step["run_id"] for step in greenline.json("steps", cwd=tmp_path)} == {other["run_id"]}
    # Attempt 1 is in both projects: which one is meant has to be said.
    done = greenline("step", "info", 1, cwd=tmp_path)
    assert done.returncode == 2
    assert "--project" in done.stderr
    assert greenline("runs", "--project", "no-such", cwd=root).returncode == 2
    assert greenline("runs", "show", document["run_id"][:3], cwd=root).returncode == 2

    # The blocked or failed subtasks of a stored plan can be given further steps.
    steps = [step("implementation", "calc.py", "pass")]
    subtask_id = greenline.sql(
        "SELECT st.id FROM subtasks st JOIN workstreams w ON w.subtask_id = st.id "
        f"WHERE w.run_id = '{other['run_id']}'"
    )[0][0]
    for by in (subtask_id, "sub"):
        (tmp_path / "small.json").write_text(json.dumps({"subtask_id": by, "steps": steps}))
        stored = greenline.json("decompose", tmp_path / "small.json")
        assert stored["subtask_id"] == subtask_id
        assert len(stored["step_ids"]) == 1
    numbers = [step["step_number"] for step in greenline.json("steps", other["run_id"])]
    assert numbers == [1, 2, 3, 4]


@pytest.mark.prefect
@pytest.mark.parametrize("kind", ["subdirectory", "linked worktree", "submodule"])
def test_a_run_works_in_any_kind_of_checkout(greenline, tmp_path, kind):
    project = Project(greenline, tmp_path)
    at = project.path / "tests"
    target = project.repo
    if kind == "linked worktree":
        at = tmp_path / "linked"
        project.repo.git.worktree("add", "-b", "work", str(at))
    elif kind == "submodule":
        whole = Repo.init(tmp_path / "whole", initial_branch="main")
        whole.git.execute(
            [
                "git",
                "-c",
                "protocol.file.allow=always",
                "submodule",
                "add",
                str(project.path),
                "part",
            ]
        )
        at = tmp_path / "whole" / "part"
        target = Repo(at)
    words = (
        "run",
        replayed(tmp_path),
        "--repo",
        at,
        "--config",
        project.config,
        "--agent",
        "replay",
    )
    document = greenline.json(*words)
    assert document["status"] == "completed"
    assert target.branches[document["branch"]].commit.hexsha == document["commit"]
    assert not target.is_dirty(untracked_files=True)


def programs_without_pytest(folder):
    """A PATH on which `python` and `python3` have no pytest."""
    folder.mkdir()
    for name in ("python", "python3"):
        (folder / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -S "$@"\n')
        (folder / name).chmod(0o755)
    others = [one for one in os.environ["PATH"].split(":") if not (Path(one) / "pytest").exists()]
    return ":".join([str(folder), *others])


@pytest.mark.prefect
def test_a_python_without_pytest_is_told_with_what_works(greenline, tmp_path):
    root = tmp_path / "project"
    write_files(root, FILES)
    repo = Repo.init(root, initial_branch="main")
    repo.git.add("-A", "-f")
    repo.index.commit("The beginning", author=AUTHOR, committer=AUTHOR)
    env = {"PATH": programs_without_pytest(tmp_path / "bin")}
    said = greenline("init", cwd=root, env=env)
    assert said.returncode == 0
    doctor = greenline.json("doctor", cwd=root, env=env, ok=(2,))
    (found,) = [finding for finding in doctor if not finding["ok"]]
    assert found["check"] == "test command"
    run = greenline("run", replayed(tmp_path), "--agent", "replay", cwd=root, env=env)
    assert run.returncode == 2
    for told in (said.stderr, found["mend"], run.stderr):
        assert "python -m pip install pytest" in told
    # What it says works: pytest alone is Greenline's own.
    text = (root / "greenline.toml").read_text().replace("python -m pytest", "pytest")
    (root / "greenline.toml").write_text(text.replace("pytest -q", "env PYTHONPATH=. pytest -q"))
    done = greenline("run", replayed(tmp_path), "--agent", "replay", cwd=root, env=env)
    assert done.returncode == 0, done.stderr


@pytest.mark.prefect
@pytest.mark.parametrize(
    ("settings", "check", "named"),
    [
        ("[project]\ntset = 'x'\n", "settings", "tset"),
        ("[project]\ntest = 'no-such-program {report}'\n", "test command", "no-such-program"),
        (b"[project]\nname = '\xff'\n", "settings", "UTF-8"),
    ],
    ids=["unknown key", "missing program", "no text"],
)
def test_doctor_says_what_is_wrong_with_a_repository_and_exits_2(
    greenline, tmp_path, settings, check, named
):
    project = Project(greenline, tmp_path)
    content = settings if isinstance(settings, bytes) else settings.encode()
    (project.path / "greenline.toml").write_bytes(content)
    findings = greenline.json("doctor", "--repo", project.path, ok=(2,))
    (wrong,) = [finding for finding in findings if not finding["ok"]]
    assert wrong["check"] == check
    assert named in wrong["found"]
    assert wrong["mend"]
    plain = greenline("doctor", "--repo", project.path)
    assert plain.returncode == 2
    assert named in plain.stdout
    assert wrong["mend"] in plain.stdout


@pytest.mark.prefect
def test_up_and_down_can_be_said_twice(greenline):
    first = greenline.json("up", "--no-worker")
    again = greenline.json("up", "--no-worker")
    assert (again["ui"], again["home"], again["worker"]) == (first["ui"], first["home"], None)
    assert first["ui"] in greenline("up", "--no-worker").stdout
    assert {"postgres", "prefect"} <= set(greenline.json("down")["stopped"])
    assert greenline.json("down") == {"stopped": []}
    assert greenline("down").returncode == 0


@pytest.mark.prefect
def test_a_reader_that_goes_away_is_no_error(fresh, greenline):
    for words in (
        ["steps"],
        ["steps", "--json"],
        ["schema", "plan"],
        ["--help"],
        ["step", "info", "1"],
    ):
        command = [sys.executable, "-m", "flows.cli", *words]
        with subprocess.Popen(
            command, cwd=fresh[0], env=greenline.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as child:  # fmt: skip
            child.stdout.close()
            assert child.stderr.read() == "", words


@pytest.mark.prefect
def test_a_full_disk_and_a_closed_output_are_told_in_a_line(fresh, greenline):
    command = f"{shlex.quote(sys.executable)} -m flows.cli steps"
    for redirection, code, told in ((">/dev/full", 1, "No space left"), (">&-", 0, "")):
        done = subprocess.run(
            ["sh", "-c", f"{command} {redirection}"],
            cwd=fresh[0], env=greenline.env, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == code
        assert told in done.stderr
        assert len(done.stderr.splitlines()) == bool(told)


def commands(group=None, path=()):
    """Every command and group of the command line as its words."""
    group = group or typer.main.get_command(app)
    yield path
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*path, name))


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_help_is_readable(greenline, words):
    done = greenline(*words, "--help", env={"COLUMNS": "80"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: " in done.stdout
    cut = [line for line in done.stdout.splitlines() if line.endswith("...")]
    assert [line for line in cut if not line.startswith("Usage: ")] == []
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_greenline_alone_shows_its_help(greenline):
    done = greenline()
    assert done.returncode == 2
    assert "replay-plan" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_the_schema_is_the_published_one_and_valid(greenline):
    import jsonschema

    printed = greenline("schema", "plan").stdout
    assert printed == (ROOT / "docs" / "plan.schema.json").read_text()
    schema = json.loads(printed)
    validator = jsonschema.validators.validator_for(schema)
    validator.check_schema(schema)
    document = {
        "feature": "F",
        "tasks": [{"title": "T", "subtasks": [subtask("a", step("test", "t.py", ""))]}],
    }
    assert list(validator(schema).iter_errors(document)) == []
    document["tasks"][0]["subtasks"][0]["steps"][0]["colour"] = "red"
    assert list(validator(schema).iter_errors(document)) != []


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["steps"], ["runs", "--json"]])
def test_commands_that_only_read_import_nothing_heavy(greenline, words):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "flows.cli", *words],
        cwd=greenline.home.parent, env=greenline.env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    loaded = {
        line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()
    }
    assert "typer" in loaded
    assert loaded.isdisjoint({"prefect", "fastapi", "pydantic_ai", "alembic", "sqlalchemy"})
