"""Past commits make a feature plan that leads from the first one's parent to the last one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from storage.exceptions import InputError
from tasks.plan import load_plan, parse_plan
from tasks.plan.file_kinds import kind_of
from tasks.plan.replay import dump_plan_yaml, make_replay_plan

FIRST = {"src/a.py": "0", "src/b.py": "0", "tests/test_a.py": "0", "tests/test_b.py": "0"}


class History:
    """A real repository whose commits a test writes in a line each."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = 1_700_000_000

    def git(self, *words: str) -> str:
        self.clock += 60
        person = {
            f"GIT_{who}_{what}": value
            for who in ("AUTHOR", "COMMITTER")
            for what, value in (
                ("NAME", "A Person"),
                ("EMAIL", "person@example.org"),
                ("DATE", f"{self.clock} +0000"),
            )
        }
        made = subprocess.run(
            ["git", *words],
            cwd=self.root,
            env={**os.environ, **person},
            check=True,
            capture_output=True,
        )
        return made.stdout.decode().strip()

    def commit(self, subject: str = "Change", /, **files: str | bytes | None) -> str:
        """Commit files by their short names (`a` is src/a.py, `test_a` tests/test_a.py)."""
        return self.write({_path(name): content for name, content in files.items()}, subject)

    def write(self, files, subject="Change") -> str:
        for path, content in files.items():
            target = self.root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                target.unlink()
            else:
                target.write_bytes(content if isinstance(content, bytes) else content.encode())
        self.git("add", "--all", "--force")
        self.git("commit", "--quiet", "--allow-empty", "-m", subject)
        return self.git("rev-parse", "HEAD")

    def blob(self, commit: str, path: str) -> str:
        return self.git("show", f"{commit}:{path}")

    def refusal(self, *commits: str, **more) -> str:
        with pytest.raises(InputError) as caught:
            make_replay_plan(self.root, commits, **more)
        return str(caught.value)


def _path(name: str) -> str:
    return f"tests/{name}.py" if name.startswith("test_") else f"src/{name}.py"


@pytest.fixture
def history(make_repo):
    return History(make_repo(FIRST))


def pairs(plan) -> list[tuple[str, str, str]]:
    """Return what the plan's steps write: type, file and the commit's id."""
    return [
        (step.step_type, step.file_path, step.replay[0].commit)
        for subtask in plan.subtasks
        for step in subtask.steps
    ]


def test_a_commit_becomes_a_subtask_of_two_steps(history):
    base = history.git("rev-parse", "HEAD")
    sha = history.commit("Add   numerals: I & V\n\nThe reason\nin two lines.", a="1", test_a="1")
    made = make_replay_plan(history.root, [sha])
    (subtask,) = made.plan.subtasks
    assert made.base_commit == base
    assert base in made.plan.description
    assert subtask.key == f"{sha[:10]}-add-numerals-i-v"
    assert subtask.title == "Add numerals: I & V"
    assert subtask.description == "The reason\nin two lines."
    test, source = subtask.steps
    assert (test.step_type, test.assigned_to, test.file_path) == (
        "test",
        "TaraAider",
        "tests/test_a.py",
    )
    assert (source.step_type, source.assigned_to, source.file_path) == (
        "implementation",
        "DevonAider",
        "src/a.py",
    )
    for step in subtask.steps:
        (entry,) = step.replay
        assert (entry.repo, entry.commit) == (str(history.root.resolve()), sha)
    assert made.notes == ()


def test_consecutive_commits_depend_on_each_other_oldest_first(history):
    shas = [history.commit(f"Step {i}", a=f"{i}", test_a=f"{i}") for i in (1, 2, 3)]
    made = make_replay_plan(history.root, [shas[2], shas[0], shas[1], shas[0]])
    subtasks = made.plan.subtasks
    assert [s.steps[0].replay[0].commit for s in subtasks] == shas
    assert [s.depends_on for s in subtasks] == [(), (subtasks[0].key,), (subtasks[1].key,)]
    assert made.base_commit == history.git("rev-parse", f"{shas[0]}^")


def test_playing_the_plan_leads_to_the_last_commits_tree(history):
    """Writing each step's file over the base ends in the tree that the project had."""
    shas = [
        history.commit(f"Step {i}", **{f"{'ab'[i % 2]}": f"{i}", f"test_{'ab'[i % 2]}": f"{i}"})
        for i in range(1, 7)
    ]
    made = make_replay_plan(history.root, [f"{shas[0]}^..{shas[-1]}"])
    tree = {path: history.blob(made.base_commit, path) for path in FIRST}
    tree.update({path: history.blob(commit, path) for _, path, commit in pairs(made.plan)})
    assert tree == {path: history.blob(shas[-1], path) for path in FIRST}
    assert len(pairs(made.plan)) == 12


@pytest.mark.parametrize("form", ["{}^..{}", "{}~1..{}"])
def test_a_range_is_the_commits_after_its_beginning(history, form):
    shas = [history.commit(f"Step {i}", a=f"{i}", test_a=f"{i}") for i in (1, 2, 3)]
    made = make_replay_plan(history.root, [form.format(shas[0], shas[2])])
    assert [c for _, _, c in pairs(made.plan)][::2] == shas
    open_end = make_replay_plan(history.root, [f"{shas[0]}.."])
    assert [c for _, _, c in pairs(open_end.plan)][::2] == shas[1:]


def test_names_of_commits_serve_as_well_as_ids(history):
    history.commit(a="1", test_a="1")
    sha = history.commit(a="2", test_a="2")
    history.git("tag", "v2")
    for name in ("HEAD", "main", "v2", sha[:8], "HEAD~0"):
        assert make_replay_plan(history.root, [name]).plan.subtasks[0].key.startswith(sha[:10])


def test_new_files_are_no_different(history):
    sha = history.write({"src/new.py": "1", "tests/test_new.py": "1"})
    made = make_replay_plan(history.root, [sha])
    test, source = made.plan.subtasks[0].steps
    assert (test.file_path, source.file_path) == ("tests/test_new.py", "src/new.py")
    assert (test.context_files, source.context_files) == ((), ("tests/test_new.py",))


def test_files_that_no_test_needs_are_left_out_and_named(history):
    others = {
        "README.md": "1",
        "CHANGELOG.md": "1",
        "docs/api.rst": "1",
        "src/a.pyi": "1",
        ".github/workflows/ci.yml": "1",
    }
    sha = history.write({"src/a.py": "1", "tests/test_a.py": "1", **others})
    made = make_replay_plan(history.root, [sha])
    assert len(pairs(made.plan)) == 2
    (note,) = made.notes
    assert all(path in note for path in others)


# --- commits that do not fit ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({"src/a.py": "1"}, "no test files and 1 source file (src/a.py)"),
        ({"tests/test_a.py": "1"}, "1 test file (tests/test_a.py) and no source files"),
        ({"README.md": "1"}, "no test files and no source files"),
        ({}, "no test files and no source files"),
        (
            {"src/a.py": "1", "src/b.py": "1", "tests/test_a.py": "1"},
            "2 source files (src/a.py, src/b.py)",
        ),
        (
            {"src/a.py": "1", "tests/test_b.py": "1", "tests/test_a.py": "1"},
            "2 test files (tests/test_a.py, tests/test_b.py)",
        ),
        (
            {"src/a.py": "1", "tests/test_a.py": "1", "pyproject.toml": "1"},
            "1 other file (pyproject.toml)",
        ),
        ({"src/a.py": "1", "tests/test_a.py": None}, "deletes tests/test_a.py"),
        ({"src/a.py": None, "tests/test_a.py": "1"}, "deletes src/a.py"),
        ({"src/a.py": b"\x00\x01", "tests/test_a.py": "1"}, "src/a.py is a binary file"),
        ({"src/a\\b.py": "1", "tests/test_a.py": "1"}, "backslash"),
        ({"-x.py": "1", "tests/test_a.py": "1"}, "begins with '-'"),
    ],
)
def test_a_commit_that_does_not_fit_is_refused_by_name(history, files, named):
    sha = history.write(files, "The subject")
    said = history.refusal(sha)
    assert named in said
    assert f"{sha[:10]} (The subject)" in said


def test_a_renamed_test_file_is_told_as_renamed(history):
    text = "".join(f"line {i}\n" for i in range(50))
    history.commit(a="1", test_a=text)
    history.git("mv", "tests/test_a.py", "tests/test_c.py")
    sha = history.write({"src/a.py": "2", "tests/test_c.py": text + "more\n"})
    assert "renames tests/test_a.py" in history.refusal(sha)


def test_a_symlink_is_refused(history):
    (history.root / "src/a.py").unlink()
    (history.root / "src/a.py").symlink_to("b.py")
    assert "changes the type of src/a.py" in history.refusal(history.commit(test_a="1"))
    (history.root / "src/new.py").symlink_to("b.py")
    assert "src/new.py is a symlink" in history.refusal(history.commit(test_a="2"))


def test_a_change_of_mode_alone_is_left_out(history):
    (history.root / "src/b.py").chmod(0o755)
    made = make_replay_plan(history.root, [history.commit(a="1", test_a="1")])
    assert len(pairs(made.plan)) == 2
    assert "src/b.py" in made.notes[0]


def test_all_commits_that_do_not_fit_are_told_at_once(history):
    shas = [history.commit(a="1"), history.commit(test_a="1"), history.commit(a="2", test_a="2")]
    said = history.refusal(*shas)
    assert shas[0][:10] in said
    assert shas[1][:10] in said
    assert shas[2][:10] not in said


def test_a_merge_is_refused(history):
    history.git("checkout", "--quiet", "-b", "side")
    side = history.commit("Side", b="1", test_b="1")
    history.git("checkout", "--quiet", "main")
    history.commit("Main", a="1", test_a="1")
    history.git("merge", "--quiet", "--no-ff", "-m", "Both", "side")
    merge = history.git("rev-parse", "HEAD")
    assert "is a merge of 2 commits" in history.refusal(merge)
    assert "different branches" in history.refusal(side, f"{merge}^1")


def test_a_first_commit_is_refused(history):
    root = history.git("rev-list", "--max-parents=0", "HEAD")
    assert "first commit" in history.refusal(root)


@pytest.mark.parametrize(
    ("commits", "named"),
    [
        ([], "no commits are given"),
        (["nowhere"], "there is no commit 'nowhere'"),
        (["-h"], "there is no commit '-h'"),
        (["--all"], "there is no commit '--all'"),
        (["HEAD:src/a.py"], "there is no commit"),
        (["nowhere..HEAD"], "is no range"),
        (["..HEAD"], "is no range"),
        (["HEAD...HEAD"], "is no range"),
        (["HEAD..HEAD"], "is empty"),
        ([""], "there is no commit ''"),
    ],
)
def test_what_is_no_commit_is_refused(history, commits, named):
    history.commit(a="1", test_a="1")
    assert named in history.refusal(*commits)


def test_a_folder_that_is_no_repository_is_refused(tmp_path):
    with pytest.raises(InputError, match="git"):
        make_replay_plan(tmp_path, ["HEAD"])


def test_more_commits_than_asked_for_are_refused(history):
    for i in range(3):
        history.commit(a=f"{i + 1}", test_a=f"{i + 1}")
    assert "3 commits are more than one plan takes (2)" in history.refusal(
        "HEAD~3..HEAD", max_commits=2
    )


# --- commits in between --------------------------------------------------------------------------


def test_a_range_leaves_out_what_does_not_fit_and_says_so(history):
    history.commit("First", a="1", test_a="1")
    other = history.write({"README.md": "x"}, "Write the manual")
    history.commit("Last", a="2", test_a="2")
    made = make_replay_plan(history.root, ["HEAD~3..HEAD"])
    assert [s.title for s in made.plan.subtasks] == ["First", "Last"]
    (note,) = made.notes
    assert f"{other[:10]} (Write the manual) is not in the plan" in note


def test_a_range_without_a_commit_that_fits_is_refused(history):
    history.commit(a="1")
    history.commit(a="2")
    assert "no commit of the range can be replayed" in history.refusal("HEAD~2..HEAD")


def test_what_a_commit_in_between_did_to_the_next_ones_files_comes_along(history):
    """Both files are taken over whole, so nothing of them is missing: no note, no refusal."""
    first = history.commit(a="1", test_a="1")
    history.commit(a="2")
    history.commit(test_a="2")
    last = history.commit(a="3", test_a="3")
    made = make_replay_plan(history.root, [first, last])
    assert made.notes == ()
    assert made.plan.subtasks[1].steps[1].replay[0].commit == last


def test_what_a_commit_in_between_did_elsewhere_is_noted(history):
    first = history.commit(a="1", test_a="1")
    history.commit(b="1", test_b="1")
    last = history.commit(a="3", test_a="3")
    (note,) = make_replay_plan(history.root, [first, last]).notes
    assert note.startswith(f"from {last[:10]} on the plan lacks")
    assert "src/b.py, tests/test_b.py" in note


@pytest.mark.parametrize(
    "files",
    [
        {"b": "1", "test_a": "2"},  # its tests would come without its source
        {"a": "2", "test_b": "1"},  # its source would come without its tests
        {"a": "2", "b": "1"},  # half of its source would come
    ],
)
def test_half_of_a_commit_in_between_is_told_with_its_name(history, files):
    first = history.commit(a="1", test_a="1")
    between = history.commit("Between", **files)
    last = history.commit(a="3", test_a="3")
    made = make_replay_plan(history.root, [first, last])
    (said,) = (note for note in made.notes if "builds on" in note)
    assert said.startswith(f"{last[:10]} (Change) builds on {between[:10]} (Between)")
    assert len(made.plan.subtasks) == 2


def test_half_of_an_earlier_commit_is_told_even_later(history):
    """The commit in between is long gone when the next one takes one of its files over."""
    first = history.commit(a="1", test_a="1")
    history.write({"src/b.py": "1", "src/c.py": "1"}, "Between")
    second = history.commit(a="2", test_a="2")
    last = history.commit(b="3", test_b="3")
    assert not any("builds on" in n for n in make_replay_plan(history.root, [first, second]).notes)
    notes = make_replay_plan(history.root, [first, second, last]).notes
    assert sum("(Between)" in note and "builds on" in note for note in notes) == 1


def test_a_commit_in_between_that_was_undone_is_not_missed(history):
    first = history.commit(a="1", test_a="1")
    history.commit(b="1", test_a="2")
    history.commit(b="0")
    last = history.commit(a="3", test_a="3")
    assert make_replay_plan(history.root, [first, last]).notes == ()


def test_commits_of_a_merged_branch_follow_each_other(history):
    """A project that merges every change has no two commits in a row, and can be replayed."""
    shas = []
    for i in (1, 2, 3):
        history.git("checkout", "--quiet", "-b", f"side{i}")
        shas.append(history.commit(f"Side {i}", a=f"{i}", test_a=f"{i}"))
        history.git("checkout", "--quiet", "main")
        history.git("merge", "--quiet", "--no-ff", "-m", f"Merge {i}", f"side{i}")
    made = make_replay_plan(history.root, shas)
    assert [s.title for s in made.plan.subtasks] == ["Side 1", "Side 2", "Side 3"]
    in_range = make_replay_plan(history.root, [f"{shas[0]}^..HEAD"])
    assert in_range.plan.tasks[0].subtasks == made.plan.tasks[0].subtasks
    assert sum("is a merge" in note for note in in_range.notes) == 3


# --- what comes out ------------------------------------------------------------------------------


def test_the_plan_is_written_and_read_again(history, tmp_path):
    for i in range(1, 4):
        history.commit(f"no: {i} 'quotes' \"more\" # hash\n\n- a\n\n  b", a=f"{i}", test_a=f"{i}")
    plan = make_replay_plan(history.root, ["HEAD~3..HEAD"]).plan
    path = tmp_path / "plan.yaml"
    path.write_text(dump_plan_yaml(plan), encoding="utf-8")
    assert load_plan(path) == plan


@pytest.mark.parametrize(
    ("subject", "key"),
    [
        ("Übergröße: naïve Ærøskøbing", "ubergroe-naive-rskbing"),
        ("日本語", ""),
        ("!!!", ""),
        ("a" * 100, "a" * 40),
        ("x\x1b[31m\x07y", "x-31my"),
    ],
)
def test_any_subject_makes_a_key_and_a_plan(history, subject, key):
    sha = history.commit(subject, a="1", test_a="1")
    plan = make_replay_plan(history.root, [sha]).plan
    assert plan.subtasks[0].key == "-".join(filter(None, [sha[:10], key]))
    assert parse_plan(dump_plan_yaml(plan), "plan.yaml") == plan


def test_a_commit_without_a_subject_makes_a_plan(history):
    (history.root / "src/a.py").write_text("1")
    (history.root / "tests/test_a.py").write_text("1")
    history.git("add", "-A")
    history.git("commit", "--quiet", "--allow-empty-message", "-m", "")
    made = make_replay_plan(history.root, ["HEAD"])
    assert made.plan.subtasks[0].title == history.git("rev-parse", "HEAD")[:10]


def test_a_message_that_is_not_utf8_makes_a_plan(history):
    (history.root / "src/a.py").write_text("1")
    (history.root / "tests/test_a.py").write_text("1")
    message = history.root.parent / "message"
    message.write_bytes(b"caf\xe9\n\nbody \xff\n")
    history.git("add", "-A")
    history.git("commit", "--quiet", "-F", str(message))
    plan = make_replay_plan(history.root, ["HEAD"]).plan
    assert plan.subtasks[0].title.startswith("caf")
    assert parse_plan(dump_plan_yaml(plan), "plan.yaml") == plan


def test_a_bare_repository_serves_as_well(history, tmp_path):
    sha = history.commit(a="1", test_a="1")
    bare = tmp_path / "bare.git"
    history.git("clone", "--quiet", "--bare", str(history.root), str(bare))
    made = make_replay_plan(bare, ["HEAD"])
    assert made.plan.subtasks[0].steps[0].replay[0].commit == sha


def test_the_repositorys_own_settings_run_nothing(history, tmp_path):
    """Diff drivers, pagers and aliases of a repository's configuration are programs: not run."""
    trace = tmp_path / "ran"
    for key in ("diff.external", "core.pager", "core.fsmonitor", "pager.log", "diff.x.textconv"):
        history.git("config", key, f"touch {trace}; cat")
    history.write({".gitattributes": "* diff=x\n"})
    history.git("config", "diff.renames", "copies")
    history.git("config", "log.showSignature", "true")
    trace.unlink(missing_ok=True)
    sha = history.commit(a="1", test_a="1")
    trace.unlink(missing_ok=True)
    assert len(pairs(make_replay_plan(history.root, [sha]).plan)) == 2
    assert not trace.exists()


def test_every_file_of_a_plan_is_of_its_steps_kind(history):
    history.commit(a="1", test_a="1")
    for step_type, path, _ in pairs(make_replay_plan(history.root, ["HEAD"]).plan):
        assert kind_of(path) == {"test": "test", "implementation": "source"}[step_type]
