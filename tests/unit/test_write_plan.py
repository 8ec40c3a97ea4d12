"""A write plan is carried out whole or not at all, and stays inside its folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.exceptions import InputError
from tasks.write_plan import (
    WritePlanError,
    execute,
    load_write_plan,
    parse_write_plan,
    write_plan_json_schema_text,
)
from tasks.write_plan import execution as module
from tasks.write_plan.journal import Entry, Journal


def plan(*operations):
    keys = ("operation", "path", "content")
    return parse_write_plan(
        {"operations": [dict(zip(keys, one, strict=True)) for one in operations]}
    )


def files(root: Path) -> dict[str, object]:
    """Everything below a folder; a journal or a draft that was left would show."""
    found: dict[str, object] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        found[name] = (
            f"->{path.readlink()}"
            if path.is_symlink()
            else None
            if path.is_dir()
            else path.read_bytes()
        )
    return found


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "root"
    folder.mkdir()
    (folder / "old.txt").write_text("old\n")
    (folder / "src").mkdir()
    (folder / "src" / "x.py").write_text("x = 1\n")
    return folder


# --- reading


@pytest.mark.parametrize(
    ("document", "code", "named"),
    [
        ([], "INVALID_OPERATION", "must be a mapping with the key operations"),
        ({}, "INVALID_OPERATION", "operations: is missing"),
        ({"operations": []}, "INVALID_OPERATION", "must not be empty"),
        ({"operations": {}}, "INVALID_OPERATION", "must be a list"),
        ({"operations": [1]}, "INVALID_OPERATION", "must be a mapping with the keys operation, path"),
        ({"operations": [{"operation": "delete", "path": "a", "content": ""}]}, "INVALID_OPERATION", "'create', 'append' or 'overwrite'; received 'delete'"),
        ({"operations": [{"operation": "create", "path": "a", "content": "", "mode": "0777"}]}, "INVALID_OPERATION", "unknown key"),
        ({"operations": [{"operation": "create", "path": "a", "content": ""}], "intent": "x"}, "INVALID_OPERATION", "unknown key"),
        ({"operations": [{"operation": "create", "content": ""}]}, "INVALID_TARGET", "is missing"),
        ({"operations": [{"operation": "create", "path": 1, "content": ""}]}, "INVALID_TARGET", "must be text"),
        ({"operations": [{"operation": "create", "path": "a"}]}, "INVALID_CONTENT", "is missing"),
        ({"operations": [{"operation": "create", "path": "a", "content": None}]}, "INVALID_CONTENT", "must be text"),
        ({"operations": [{"operation": "create", "path": "a", "content": "\ud800"}]}, "INVALID_CONTENT", "UTF-8"),
        ({"operations": [{"operation": "create", "path": "a", "content": "x" * 20_000_001}]}, "INVALID_CONTENT", "20,000,001 bytes"),
    ],
)  # fmt: skip
def test_what_is_no_write_plan_is_refused_with_a_code(document, code, named):
    with pytest.raises(WritePlanError) as caught:
        parse_write_plan(document)
    (problem,) = caught.value.problems
    assert problem.code == code
    assert named in str(problem)


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../x", "a/../../x", ".git/hooks/post-commit", "a/.GIT/x", "C:/x", "a\\b", "a//b", "./a", "a/", "", "~/x", "-x", "a\nb", "git~1/config"],
)  # fmt: skip
def test_paths_that_could_leave_the_folder_or_reach_git_are_refused(path):
    with pytest.raises(WritePlanError) as caught:
        plan(("create", path, ""))
    assert caught.value.problems[0].code == "INVALID_TARGET"


def test_all_problems_of_a_file_are_told_with_their_lines(tmp_path):
    file = tmp_path / "plan.yaml"
    file.write_text("operations:\n- operation: create\n  path: /x\n  content: 1\n- {}\n")
    with pytest.raises(WritePlanError) as caught:
        load_write_plan(file)
    assert [problem.line for problem in caught.value.problems] == [3, 4, 5, 5, 5]
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("text", ["", "a: [", "operations: [&a {b: *a}]", "[]", "a: 1\na: 2"])
def test_texts_that_say_no_plan_are_refused_and_nothing_else(text):
    with pytest.raises(WritePlanError):
        parse_write_plan(text)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["operations", "operation", "path", "content"]), inner)))  # fmt: skip
def test_any_document_is_a_plan_or_refused(document):
    """Models answer anything; the reader takes it or says what is wrong with it."""
    with contextlib.suppress(WritePlanError):
        assert parse_write_plan(document).operations


def test_the_published_schema_names_the_operations():
    schema = json.loads(write_plan_json_schema_text())
    assert schema["$defs"]["Operation"]["properties"]["operation"]["enum"] == ["create", "append", "overwrite"]  # fmt: skip


# --- carrying out


def test_the_three_operations_write_what_they_say(root):
    report = execute(
        plan(
            ("create", "new/deep/a.txt", "ä\r\n"),
            ("append", "old.txt", "more"),
            ("overwrite", "src/x.py", "y = 2\n"),
        ),
        root,
    )
    assert report.ok
    assert [each.status for each in report.operations] == ["written"] * 3
    assert report.folders == ("new", "new/deep")
    assert files(root) == {
        "new": None,
        "new/deep": None,
        "new/deep/a.txt": "ä\r\n".encode(),
        "old.txt": b"old\nmore",
        "src": None,
        "src/x.py": b"y = 2\n",
    }


def test_operations_on_one_file_are_done_in_their_order(root):
    report = execute(plan(("create", "a", "1"), ("append", "a", "2"), ("overwrite", "a", "3"), ("append", "a", "4")), root)  # fmt: skip
    assert report.ok
    assert (root / "a").read_text() == "34"
    assert [each.size for each in report.operations] == [1, 2, 1, 2]


@pytest.mark.parametrize(
    ("operation", "named"),
    [
        (("create", "old.txt", ""), "there is such a file already"),
        (("append", "none", ""), "there is no such file"),
        (("overwrite", "none", ""), "there is no such file"),
        (("overwrite", "src", ""), "is a folder"),
        (("create", "src", ""), "is a folder"),
        (("create", "old.txt/x", ""), "lies under 'old.txt', which is a file"),
        (("create", "fresh/x", ""), "lies under 'fresh', which this plan makes a file"),
        (("create", "link/x", ""), "lies under the symbolic link 'link'"),
        (("overwrite", "there", ""), "is a symbolic link"),
        (("create", "nowhere", ""), "is a symbolic link"),
        (("append", "pipe", ""), "no regular file"),
        (("create", "x" * 255 + "/" + "y" * 200, ""), None),
    ],
)
def test_a_target_that_does_not_fit_refuses_the_whole_plan(root, tmp_path, operation, named):
    (root / "link").symlink_to(tmp_path)
    (root / "there").symlink_to(root / "old.txt")
    (root / "nowhere").symlink_to(tmp_path / "none")
    os.mkfifo(root / "pipe")
    before = {path: path.lstat().st_mtime_ns for path in root.rglob("*")}
    if named is None:
        assert execute(plan(operation), root).ok  # long, but possible
        return
    report = execute(plan(("create", "fresh", "1"), operation, ("append", "old.txt", "2")), root)
    assert not report.ok
    assert [each.status for each in report.operations] == ["not done", "failed", "not done"]
    assert report.operations[1].code == "INVALID_TARGET"
    assert named in (report.operations[1].message or "")
    assert {path: path.lstat().st_mtime_ns for path in root.rglob("*")} == before


def test_a_folder_that_the_plan_makes_is_no_file(root):
    report = execute(plan(("create", "a/b", ""), ("create", "a", "")), root)
    assert report.operations[1].code == "INVALID_TARGET"
    assert "folder that this plan makes" in report.problems[0]


def test_only_the_files_that_may_be_written_are(root):
    """An agent that may write one file writes no other, and not half of its plan."""
    wanted = plan(("overwrite", "src/x.py", "z"), ("append", "old.txt", "z"))
    report = execute(wanted, root, only=("src/x.py",))
    assert report.operations[1].code == "INVALID_TARGET"
    assert "those that may: src/x.py" in report.problems[0]
    assert (root / "src/x.py").read_text() == "x = 1\n"
    assert execute(plan(("overwrite", "src/x.py", "z")), root, only=("src/x.py",)).ok


def test_a_dry_run_says_the_same_and_writes_nothing(root):
    before = files(root)
    report = execute(plan(("create", "n/a", "1"), ("append", "old.txt", "2")), root, dry_run=True)
    assert report.status == "possible"
    assert [(each.status, each.size) for each in report.operations] == [("possible", 1), ("possible", 5)]  # fmt: skip
    assert report.folders == ("n",)
    assert files(root) == before


def test_a_file_keeps_its_permissions_and_a_new_one_gets_the_usual(root):
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o751)
    assert execute(plan(("append", "run.sh", "true\n"), ("create", "n.txt", "")), root).ok
    assert stat.S_IMODE((root / "run.sh").stat().st_mode) == 0o751
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((root / "n.txt").stat().st_mode) == 0o666 & ~mask


def test_another_name_of_a_file_is_not_written_along(root):
    os.link(root / "old.txt", root / "twin.txt")
    assert execute(plan(("overwrite", "old.txt", "new\n")), root).ok
    assert (root / "twin.txt").read_text() == "old\n"


def test_a_root_that_is_no_folder_is_wrong_input(root):
    with pytest.raises(InputError, match="is a file"):
        execute(plan(("create", "a", "")), root / "old.txt")
    with pytest.raises(InputError, match="not there"):
        execute(plan(("create", "a", "")), root / "none")


# --- whole or nothing

MANY = (
    ("create", "new/deep/a.txt", "1"),
    ("overwrite", "old.txt", "2"),
    ("create", "b.txt", "3"),
    ("append", "src/x.py", "4"),
)


@pytest.mark.parametrize("step", ["_draft", "_keep", "_name_new", "sync_folder"])
@pytest.mark.parametrize("at", [0, 1])
def test_a_failure_in_the_middle_leaves_everything_as_it_was(root, monkeypatch, step, at):
    before = files(root)
    real, calls = getattr(module, step), []

    def broken(*arguments):
        calls.append(arguments)
        if len(calls) == at + 1:
            raise OSError(28, "No space left on device")
        return real(*arguments)

    monkeypatch.setattr(module, step, broken)
    report = execute(plan(*MANY), root)
    assert len(calls) == at + 1
    assert files(root) == before
    failed = [each for each in report.operations if each.status == "failed"]
    assert [each.code for each in failed] == ["EXECUTION_FAILED"]
    assert "No space left" in (failed[0].message or "")
    if step == "sync_folder":
        assert {each.status for each in report.operations} == {"failed", "put back"}


def test_a_folder_that_cannot_be_made_has_a_code_of_its_own(root, monkeypatch):
    before = files(root)

    def refused(path, *_arguments, **_named):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refused)
    report = execute(plan(*MANY), root)
    assert report.operations[0].code == "DIR_CREATE_FAILED"
    assert files(root) == before


def test_an_interrupt_leaves_everything_as_it_was(root, monkeypatch):
    before = files(root)

    def interrupted(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_name_new", interrupted)
    with pytest.raises(KeyboardInterrupt):
        execute(plan(*MANY), root)
    assert files(root) == before


def killed_at(root, number):
    """Carry MANY out in a process that is killed at its `number`th change of a name."""
    child = os.fork()
    if child == 0:
        left = [number]

        def counting(real):
            def call(*arguments, **named):
                if left[0] == 0:
                    os._exit(9)
                left[0] -= 1
                return real(*arguments, **named)

            return call

        os.link, os.mkdir = counting(os.link), counting(os.mkdir)
        os.replace, os.rename = counting(os.replace), counting(os.rename)
        os.unlink = counting(os.unlink)
        execute(plan(*MANY), root)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_crash_anywhere_is_undone_or_completed_by_the_next_plan(tmp_path):
    """Killed after any number of steps: once the next plan has run, all of it stands or nothing."""
    seen = set()
    for number in range(60):
        root = tmp_path / str(number)
        (root / "src").mkdir(parents=True)
        (root / "old.txt").write_text("old\n")
        (root / "src/x.py").write_text("x = 1\n")
        before = files(root)
        ended = killed_at(root, number)
        report = execute(plan(("create", "marker", "")), root)
        assert report.ok
        (root / "marker").unlink()
        now = files(root)
        if now == before:
            seen.add("undone")
        else:
            seen.add("whole")
            assert now == before | {"new": None, "new/deep": None, "new/deep/a.txt": b"1", "old.txt": b"2", "b.txt": b"3", "src/x.py": b"x = 1\n4"}  # fmt: skip
        if ended == 0:
            break
    assert ended == 0
    assert seen == {"undone", "whole"}


def test_what_somebody_wrote_after_a_crash_is_left_alone(root):
    (root / "a.txt").write_text("by hand")
    journal = Journal.new(root, [Entry("a.txt", "0" * 64, replaces=False)], ())
    with journal.held():
        pass
    execute(plan(("create", "b.txt", "")), root)
    assert (root / "a.txt").read_text() == "by hand"
    assert not journal.file.exists()


def test_a_journal_that_came_with_a_repository_reaches_nothing_outside(root, tmp_path):
    (tmp_path / "victim.txt").write_text("v")
    (root / "link").symlink_to(tmp_path)
    known = hashlib.sha256(b"v").hexdigest()
    entries = [{"path": path, "sha256": known, "replaces": False} for path in ("../victim.txt", "link/victim.txt", str(tmp_path / "victim.txt"))]  # fmt: skip
    told = {"files": entries, "folders": ["../root", ".."]}
    (root / ".greenline-write-plan-0.json").write_text(json.dumps(told))
    (root / ".greenline-write-plan-1.json").write_text("{")
    (root / ".greenline-write-plan-2.json").write_text('{"files": [[]], "folders": 1}')
    planted = files(root)
    assert execute(plan(("create", "b.txt", "")), root).ok
    assert files(root) == planted | {"b.txt": b""}, "a checkout's permissions are not a journal's"
    for file in root.glob(".greenline*"):
        file.chmod(0o600)
    assert execute(plan(("create", "c.txt", "")), root).ok
    assert (tmp_path / "victim.txt").read_text() == "v"
    assert not list(root.glob(".greenline*"))


def test_a_plan_under_way_is_not_undone_by_another(root):
    journal = Journal.new(root, [Entry("old.txt", "0" * 64, replaces=True)], ())
    with journal.held():
        report = execute(plan(("create", "b.txt", "")), root)
        assert journal.file.exists()
    assert report.notes == ()
    journal.clear()


names = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3).map("/".join)
operations = st.lists(
    st.tuples(
        st.sampled_from(["create", "append", "overwrite"]), names, st.text("xyz", max_size=3)
    ),
    min_size=1,
    max_size=6,
)


@given(operations, operations)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)  # fmt: skip
def test_any_plan_does_what_a_plain_model_says_or_nothing(tmp_path_factory, first, second):
    """Against a dictionary of files: the same result, or a refusal and no change at all."""
    root = tmp_path_factory.mktemp("model")
    model: dict[str, str] = {}
    for wanted in (first, second):
        expected = modelled(model, wanted)
        before = files(root)
        report = execute(plan(*wanted), root)
        assert report.ok == (expected is not None)
        if expected is None:
            assert files(root) == before
        else:
            model = expected
        assert {name: text.decode() for name, text in files(root).items() if text is not None} == model  # fmt: skip


def modelled(model, wanted):
    now = dict(model)
    for operation, path, content in wanted:
        above = path.split("/")
        blocked = any("/".join(above[:depth]) in now for depth in range(1, len(above)))
        is_folder = any(name.startswith(f"{path}/") for name in now)
        if blocked or is_folder or (operation == "create") == (path in now):
            return None
        now[path] = content if operation != "append" else now[path] + content
    return now
