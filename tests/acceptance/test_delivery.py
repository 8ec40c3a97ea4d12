"""What is delivered, where to, and what never is."""

from __future__ import annotations

import json

import pytest

from tests.acceptance.scripted import (
    FILES,
    PYTHON,
    Project,
    attempts,
    delivery_row,
    phase_output,
    step,
    sub,
    subtask,
)
from tests.acceptance.support import snapshot

pytestmark = pytest.mark.prefect
MERGE = '[delivery]\nmode = "merge"\n'


def moves_main(repository, path, content):
    """Code that puts a commit of somebody else on a bare repository's main branch."""
    script = (
        "import os, subprocess, tempfile\n"
        "def git(*words, given=None):\n"
        "    return subprocess.run(['git', '-c', 'user.name=O', '-c', 'user.email=o@o', *words],\n"
        f"        cwd={str(repository)!r}, input=given, capture_output=True, text=True, check=True).stdout.strip()\n"
        "os.environ['GIT_INDEX_FILE'] = tempfile.mktemp()\n"
        "git('read-tree', 'main')\n"
        f"blob = git('hash-object', '-w', '--stdin', given={content!r})\n"
        f"git('update-index', '--add', '--cacheinfo', '100644,' + blob + ',{path}')\n"
        "git('update-ref', 'refs/heads/main', git('commit-tree', git('write-tree'), '-p', 'main', '-m', 'Other'))\n"
        "del os.environ['GIT_INDEX_FILE']\n"
    )
    return f"exec({script!r})"


def test_merge_moves_the_target_forward_in_a_bare_repository(greenline, tmp_path):
    project = Project(greenline, tmp_path, bare=True, rest=MERGE)
    document = project.run(sub())
    head = document["commit"]
    assert project.branches() == {"main": head, document["branch"]: head}
    assert [c.hexsha for c in project.repo.iter_commits("main")][-1] == project.base
    row = delivery_row(greenline, document)
    assert row == ("merge", "main", head, True, 9, 0)


def test_a_target_that_moved_is_merged_and_checked_again_set_up_as_any_sandbox(greenline, tmp_path):
    """It moves once while the agent works and once more while the gates run on the merge."""
    files = FILES | {
        "setup.py": "open('f.made', 'w')\n",
        "tests/test_made.py": "import pathlib\n\n\ndef test_made():\n    assert pathlib.Path('f.made').exists()\n",
        "tests/test_old.py": "def test_old():\n    pass\n",
    }
    program = tmp_path / "typecheck.py"
    settings = f"setup = '{PYTHON} setup.py'\ntypecheck = ['{PYTHON} \"{program}\"']\n"
    project = Project(greenline, tmp_path, files, bare=True, project=settings, rest=MERGE)
    # Others may do away with a test of theirs; the run is not blamed for that.
    other = moves_main(project.path, "tests/test_old.py", "def test_other():\n    pass\n")
    done = f"pathlib.Path({str(tmp_path / 'done')!r})"
    second = moves_main(project.path, "second.txt", "2")
    program.write_text(
        f"import pathlib\nif not {done}.exists():\n    {done}.touch()\n    {second}\n"
    )
    document = project.run(sub(before_code=other))
    main = project.repo.branches["main"].commit
    assert main.parents[1].hexsha == document["commit"]
    theirs = [commit.message.strip() for commit in project.repo.iter_commits(main.parents[0])]
    assert theirs == ["Other", "Other", "The beginning"]
    assert {"second.txt", "tests/test_sub.py"} <= {blob.path for blob in main.tree.traverse()}
    assert project.branches()[document["branch"]] == document["commit"]
    assert delivery_row(greenline, document)[:4] == ("merge", "main", main.hexsha, True)
    runs = greenline.sql(
        f"SELECT commit_sha FROM verifications WHERE run_id = '{document['run_id']}' "
        "AND kind = 'delivery' ORDER BY id"
    )
    assert len(runs) == 2
    assert runs[-1] == (main.hexsha,)


def test_a_conflict_with_the_target_fails_the_run_and_moves_nothing(greenline, tmp_path):
    project = Project(greenline, tmp_path, bare=True, rest=MERGE)
    theirs = moves_main(
        project.path, "calc.py", FILES["calc.py"] + "\n\ndef mul(a, b):\n    return a * b\n"
    )
    document = project.run(sub(before_code=theirs), ok=(1,))
    assert document["status"] == "failed"
    status, output = phase_output(greenline, document, "pr")
    assert (status, output["failure_class"], output["conflicts"]) == (
        "failed",
        "conflict",
        ["calc.py"],
    )
    assert list(project.branches()) == ["main"]
    assert project.repo.branches["main"].commit.message.strip() == "Other"
    assert delivery_row(greenline, document) is None


def test_a_target_that_is_checked_out_is_left_alone_and_the_branch_is_published(
    greenline, tmp_path
):
    project = Project(greenline, tmp_path, rest=MERGE)
    (project.path / "mine.txt").write_text("in progress")
    before = {k: v for k, v in snapshot(project.path).items() if not k.startswith(".git/")}
    done = project.start(sub(), words=["--json"])
    document = json.loads(done.stdout)
    assert (done.returncode, document["status"]) == (0, "completed")
    after = {k: v for k, v in snapshot(project.path).items() if not k.startswith(".git/")}
    assert after == before
    assert project.branches() == {"main": project.base, document["branch"]: document["commit"]}
    assert delivery_row(greenline, document)[:4] == ("branch", "main", document["commit"], None)
    _, output = phase_output(greenline, document, "pr")
    for told in (output["delivery"]["note"], done.stderr):
        assert "checked out" in told
        assert f"git merge {document['branch']}" in told


def test_another_target_is_moved_and_the_checked_out_branch_is_not(greenline, tmp_path):
    project = Project(greenline, tmp_path, rest=MERGE + 'target = "release"\n')
    project.repo.create_head("release")
    document = project.run(sub())
    assert project.branches() == {
        "main": project.base,
        "release": document["commit"],
        document["branch"]: document["commit"],
    }
    assert delivery_row(greenline, document)[:2] == ("merge", "release")


def test_by_default_a_branch_is_kept_and_nobody_has_accepted_it_yet(greenline, tmp_path):
    project = Project(greenline, tmp_path)
    document = project.run(sub())
    assert delivery_row(greenline, document)[:4] == ("branch", "main", document["commit"], None)
    assert project.branches() == {"main": project.base, document["branch"]: document["commit"]}


def test_a_branch_in_the_way_of_all_run_branches_is_told_before_anything_is_done(
    greenline, tmp_path
):
    project = Project(greenline, tmp_path)
    project.repo.create_head("greenline")
    done = project.start(sub())
    assert done.returncode == 2
    assert "git branch -m greenline" in done.stderr


def test_the_last_gates_stop_at_the_first_failure_and_nothing_is_published(greenline, tmp_path):
    """The order is typecheck, test, lint, build; no stage sees what the one before made."""
    log = tmp_path / "log"
    check = tmp_path / "check.py"
    check.write_text(
        "import pathlib, sys\n"
        "code = pathlib.Path('calc.py')\n"
        f"with open({str(log)!r}, 'a') as log:\n"
        "    print(*sys.argv[1:], 'def add' in code.read_text(), file=log)\n"
        "if sys.argv[1] == 'typecheck':\n    code.write_text('')\n"
        # In the two attempts lint is content.
        f"linted = open({str(log)!r}).read().count('lint')\n"
        "sys.exit('no good' if sys.argv[1] == 'lint' and linted > 2 else 0)\n"
    )
    names = {"typecheck": "typecheck", "lint": "lint {file}", "build": "build"}
    lines = [f"{name} = ['{PYTHON} \"{check}\" {words}']" for name, words in names.items()]
    project = Project(greenline, tmp_path, project="\n".join(lines), rest=MERGE, bare=True)
    document = project.run(sub(), ok=(1,))
    assert attempts(document) == [("test", "success", None), ("implementation", "success", None)]
    assert log.read_text().splitlines() == [
        "lint tests/test_sub.py True", "lint calc.py True",  # the attempts
        "typecheck True", "lint calc.py True",
    ]  # fmt: skip
    assert document["status"] == "failed"
    status, output = phase_output(greenline, document, "pr")
    checks = [(check["check"], check["passed"]) for check in output["checks"]]
    assert (status, checks) == ("failed", [("typecheck", True), ("test", True), ("lint", False)])
    assert "no good" in output["reason"]
    assert project.branches() == {"main": project.base}
    assert delivery_row(greenline, document) is None


def test_what_waits_for_a_failed_workstream_is_blocked_and_nothing_of_the_run_is_published(
    greenline, tmp_path
):
    project = Project(greenline, tmp_path, rest="[limits]\nattempts = 1\n" + MERGE, bare=True)
    document = project.run(
        sub(),
        subtask("bad", step("test", "tests/test_bad.py", "write('def test_bad():\\n    pass\\n')")),
        subtask("after", step("test", "tests/test_after.py", "write('')"), depends_on=["bad"]),
        subtask(
            "last", step("test", "tests/test_last.py", "write('')"), depends_on=["after", "sub"]
        ),
        ok=(1,),
    )
    assert document["status"] == "partial"
    states = greenline.sql(
        "SELECT split_part(ws_id, '/', 2), status::text FROM workstreams "
        f"WHERE run_id = '{document['run_id']}'"
    )
    assert dict(states) == {"sub": "done", "bad": "failed", "after": "blocked", "last": "blocked"}
    assert attempts(document, "after") == attempts(document, "last") == []
    assert project.branches() == {"main": project.base}
    assert delivery_row(greenline, document) is None
    shown = greenline("runs", "show", document["run_id"]).stdout
    assert "partial" in shown
