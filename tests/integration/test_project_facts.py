"""What a prompt is told about a project is so at that moment, uncommitted edits included."""

from __future__ import annotations

import os
from dataclasses import replace
from types import SimpleNamespace

import pytest
from git import Repo

from tasks import project_facts
from tasks.git import Git
from tasks.plan import FeaturePlan
from tasks.project_facts import fingerprint, for_step, list_files, search
from tasks.run import PlannedStep
from tasks.tool_cache import ToolCache

FILES = {
    "README.md": "roman numerals\nroman\n",
    "src/roman.py": "def to_roman(n): ...\n",
    "src/app.py": "from roman import to_roman\nprint(to_roman(4))\n",
    "src/romans.py": "# romans\n",
    "src/deep/x.py": "",
    "tests/test_roman.py": "import roman\n",
    "data.bin": "roman\0roman",
    "a b/ü:x.txt": "roman\n",
}


@pytest.fixture
def repo(make_repo):
    return make_repo(FILES)


def bare(repo):
    return Git(repo / ".git")


def tree(repo):
    return Git(repo / ".git", work_tree=repo)


@pytest.mark.parametrize("git_of", [bare, tree])
def test_names_are_found_as_words_in_text_files(repo, git_of):
    found = search(git_of(repo), "HEAD", ["roman", "to_roman", "nowhere"])
    assert found["files"] == len(FILES)
    assert found["places"]["roman"] == {
        "in": [
            {"path": "README.md", "lines": 2},
            {"path": "a b/ü:x.txt", "lines": 1},
            {"path": "src/app.py", "lines": 1},
            {"path": "tests/test_roman.py", "lines": 1},
        ],
        "more": 0,
    }
    assert [one["path"] for one in found["places"]["to_roman"]["in"]] == ["src/app.py", "src/roman.py"]  # fmt: skip
    assert found["places"]["nowhere"] == {"in": [], "more": 0}


@pytest.mark.parametrize("git_of", [bare, tree])
@pytest.mark.parametrize(
    ("path", "folder", "names"),
    [
        ("src/new.py", "src", ["app.py", "deep/", "roman.py", "romans.py"]),
        ("src/app.py", "src", ["deep/", "roman.py", "romans.py"]),
        ("src/none/at/all.py", "src", ["app.py", "deep/", "roman.py", "romans.py"]),
        ("none/x.py", "", ["README.md", "a b/", "data.bin", "src/", "tests/"]),
        ("README.md", "", ["a b/", "data.bin", "src/", "tests/"]),
        ("a b/new", "a b", ["ü:x.txt"]),
    ],
)
def test_what_lies_near_a_file_is_listed(repo, git_of, path, folder, names):
    assert list_files(git_of(repo), "HEAD", path) == {"folder": folder, "names": names, "more": 0}


def test_lists_are_bounded_and_say_so(make_repo, monkeypatch):
    repo = make_repo({f"d/f{n:03}.txt": "word\n" for n in range(60)})
    near = list_files(bare(repo), "HEAD", "d/new")
    assert (len(near["names"]), near["more"]) == (40, 20)
    found = search(bare(repo), "HEAD", ["word"])["places"]["word"]
    assert (len(found["in"]), found["more"]) == (20, 40)
    monkeypatch.setattr(project_facts, "MOST_FILES", 59)
    assert search(bare(repo), "HEAD", ["word"]) == {"files": None, "places": {}}


def test_a_commit_has_its_own_state_whatever_the_files_are(repo):
    before = fingerprint(bare(repo), "HEAD")
    (repo / "src/new.py").write_text("roman\n")
    assert fingerprint(bare(repo), "HEAD") == before
    Repo(repo).git.add("-A")
    Repo(repo).git.commit("-m", "x", "--author=a <a@b>", env={"GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a"})  # fmt: skip
    assert fingerprint(bare(repo), "HEAD") != before
    assert fingerprint(bare(repo), "HEAD~1") == before


def test_every_edit_of_the_working_tree_is_another_state(repo, tmp_path):
    """Uncommitted edits count: changed, new, deleted, made executable, linked."""
    git = tree(repo)
    seen = [fingerprint(git, "HEAD")]
    assert seen[0] == fingerprint(bare(repo), "HEAD")
    for edit in (
        lambda: (repo / "src/app.py").write_text("one\n"),
        lambda: (repo / "src/app.py").write_text("two\n"),
        lambda: (repo / "new.txt").write_text("new"),
        lambda: (repo / "new.txt").write_text("NEW"),
        lambda: (repo / "new.txt").chmod(0o755),
        (repo / "README.md").unlink,
        lambda: (repo / "link").symlink_to("a"),
        lambda: ((repo / "link").unlink(), (repo / "link").symlink_to("b")),
    ):
        edit()
        seen.append(fingerprint(git, "HEAD"))
    assert len(set(seen)) == len(seen)
    (repo / ".git/info/exclude").write_text("*.log\n")
    now = fingerprint(git, "HEAD")
    (repo / "x.log").write_text("ignored")
    os.utime(repo / "src/roman.py")
    assert fingerprint(git, "HEAD") == now


def test_edited_and_new_files_are_what_is_read(repo, tmp_path):
    (tmp_path / "secret").write_text("roman\n")
    (repo / "link").symlink_to(tmp_path / "secret")
    (repo / "src/new.py").write_text("roman = 1\n")
    (repo / "src/app.py").unlink()
    found = search(tree(repo), "HEAD", ["roman"])["places"]["roman"]
    assert [one["path"] for one in found["in"]] == ["README.md", "a b/ü:x.txt", "src/new.py", "tests/test_roman.py"]  # fmt: skip
    assert "new.py" in list_files(tree(repo), "HEAD", "src/x.py")["names"]
    assert "app.py" not in list_files(tree(repo), "HEAD", "src/x.py")["names"]


@pytest.fixture
def step(stored):
    made = {"step_type": "implementation", "file_path": "src/roman.py", "instructions": "Write `to_roman`."}  # fmt: skip
    subtask = {"key": "to-roman", "title": "T", "steps": [made]}
    plan = FeaturePlan.model_validate({"feature": "F", "tasks": [{"title": "T", "subtasks": [subtask]}]})  # fmt: skip
    (numbered,) = plan.subtasks[0].numbered_steps()
    return PlannedStep(plan.subtasks[0], numbered, stored.steps[1], stored.ws_id, SimpleNamespace(), (), last=True)  # fmt: skip


def test_a_step_is_told_short_lines_and_the_second_time_from_the_cache(stored, repo, step):
    cache = ToolCache(stored.database, stored.project_id, stored.run_id, stored.ws_id)
    lines = for_step(cache, bare(repo), "HEAD", step)
    assert lines == [
        "Beside it, in src/: app.py, deep/, romans.py.",
        "`roman` occurs in README.md (2 lines), a b/ü:x.txt (1 line), src/app.py (1 line), tests/test_roman.py (1 line).",
        "`to_roman` occurs in src/app.py (2 lines).",
        "Steps of this subtask: 1 (test, file_1.py): pending; 2 (implementation, file_2.py): this one.",
    ]  # fmt: skip
    assert for_step(cache, bare(repo), "HEAD", step) == lines
    with stored.database.get_connection() as connection:
        rows = connection.execute(
            "SELECT payload_json ->> 'tool' AS tool, event_type FROM events WHERE event_type LIKE 'cache_%' ORDER BY id"
        ).fetchall()
    tools = ("list_files", "search", "subtask_context")
    assert [(row["tool"], row["event_type"]) for row in rows] == [
        *((tool, event) for tool in tools for event in ("cache_miss", "cache_store")),
        *((tool, "cache_hit") for tool in tools),
    ]


def test_an_edit_and_a_finished_step_are_told_at_once(stored, repo, step):
    """No result outlives what it is about, however short its time."""
    cache = ToolCache(stored.database, stored.project_id, stored.run_id, stored.ws_id)
    for_step(cache, tree(repo), "HEAD", step)
    (repo / "src/extra.py").write_text("")
    stored.finish(stored.begin(0), "success", commit_sha_after="b" * 40)
    lines = for_step(cache, tree(repo), "HEAD", step)
    assert "extra.py" in lines[0]
    assert "1 (test, file_1.py): completed" in lines[-1]


def test_a_step_that_the_ledger_does_not_have_is_told_of_its_files_alone(stored, repo, step):
    cache = ToolCache(stored.database, stored.project_id)
    lines = for_step(cache, bare(repo), "HEAD", replace(step, step_id=0))
    assert not any("Steps of" in line for line in lines)
