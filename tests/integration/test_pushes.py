"""What a push brought, by real git; one run of a pushed plan, by a real ledger."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from storage.exceptions import InputError, ServiceError
from storage.home import Home
from tasks.git import Git
from tasks.pushes import spool
from tasks.pushes.begin import begin
from tasks.pushes.emit import emit_spooled
from tasks.pushes.plans import changed_plans, forget_old_plans, write_plan
from tasks.pushes.push import Push
from tasks.pushes.remotes import push_deliveries, pushed_repository
from tasks.repository import UserRepository
from tests.conftest import GIT_ENVIRONMENT

ZERO = "0" * 40
PLAN = """
feature: Numerals
tasks:
  - title: Numerals
    subtasks:
      - key: numerals
        title: Numerals
        steps:
          - {step_type: test, file_path: test_n.py, assigned_to: TaraAider, instructions: i,
             replay: [{file: files/test.json}]}
          - {step_type: implementation, file_path: n.py, assigned_to: DevonAider, instructions: i,
             replay: [{file: files/n.py}]}
"""
SETTINGS = (
    f"[project]\ntest = '\"{sys.executable}\" -m pytest -q --junitxml={{report}}'\n"
    '[roles]\nTaraAider = "replay"\nDevonAider = "replay"\n'
)


class Work:
    """A repository that somebody works in."""

    def __init__(self, root):
        self.root = root
        self.git = Git(root / ".git")

    def __call__(self, *words):
        done = subprocess.run(
            ["git", *words], cwd=self.root, env={**os.environ, **GIT_ENVIRONMENT},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout.strip()

    def commit(self, files, message="Work"):
        for path, text in files.items():
            target = self.root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if text is None:
                target.unlink()
            elif isinstance(text, bytes):
                target.write_bytes(text)
            else:
                target.write_text(text)
        self("add", "-A")
        self("commit", "-q", "--allow-empty", "-m", message)
        return self("rev-parse", "HEAD")

    def plans(self, before, after, ref="refs/heads/main"):
        return [
            plan.path for plan in changed_plans(self.git, self.push(before, after, ref), "main")
        ]

    def push(self, before, after, ref="refs/heads/main"):
        return Push.of(repository=str(self.root), ref=ref, before=before, after=after)


@pytest.fixture
def work(make_repo):
    return Work(make_repo({"README": "x", "plans/old.yaml": PLAN}))


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("GREENLINE_HOME", str(tmp_path / "home"))
    return Home(tmp_path / "home").ensure()


def test_what_is_new_or_changed_is_run(work):
    """Of a push the plans count that differ between both its commits, in any format and depth."""
    before = work("rev-parse", "HEAD")
    after = work.commit({
        "plans/a.yaml": PLAN, "plans/deep/b.json": "{}", "plans/c.yml": PLAN, "plans/notes.md": "x",
        "elsewhere/d.yaml": PLAN, "plans/old.yaml": PLAN + "\n",
    })  # fmt: skip
    assert work.plans(before, after) == [
        "plans/a.yaml", "plans/c.yml", "plans/deep/b.json", "plans/old.yaml",
    ]  # fmt: skip
    gone = work.commit({"plans/a.yaml": None})
    assert work.plans(after, gone) == []
    assert work.plans(gone, after) == ["plans/a.yaml"], "forced back to where it was"


def test_a_new_branch_brings_what_the_default_branch_lacks(work):
    """A new branch is compared with where it left the default branch; a first push brings all."""
    work("checkout", "-q", "-b", "topic")
    topic = work.commit({"plans/topic.yaml": PLAN})
    work("checkout", "-q", "main")
    work.commit({"plans/main.yaml": PLAN})
    assert work.plans(ZERO, topic, "refs/heads/topic") == ["plans/topic.yaml"]
    assert work.plans("d" * 40, topic, "refs/heads/topic") == ["plans/topic.yaml"], "lost history"
    assert work.plans(ZERO, work("rev-parse", "main")) == ["plans/main.yaml", "plans/old.yaml"]


def test_a_merge_brings_what_it_merges(work):
    """Pushed with a merge, the other branch's plans are changes of this branch."""
    before = work("rev-parse", "HEAD")
    work("checkout", "-q", "-b", "topic")
    work.commit({"plans/topic.yaml": PLAN})
    work("checkout", "-q", "main")
    work.commit({"README": "y"})
    work("merge", "-q", "--no-ff", "-m", "Merge", "topic")
    assert work.plans(before, work("rev-parse", "HEAD")) == ["plans/topic.yaml"]


@pytest.mark.parametrize(
    "ref",
    ["refs/tags/v1", "refs/heads/greenline/01a1", "refs/heads/greenline-left/x", "refs/notes/x"],
)
def test_refs_that_begin_nothing(work, ref):
    """Tags and Greenline's own branches begin no run: a delivery starts no loop."""
    before = work("rev-parse", "HEAD")
    assert work.plans(before, work.commit({"plans/a.yaml": PLAN}), ref) == []


def test_what_greenline_itself_wrote_begins_nothing(work):
    """A plan that a run wrote is not run when its branch is merged and pushed; a person's is."""
    before = work("rev-parse", "HEAD")
    work.commit({"plans/a.yaml": PLAN}, "Step\n\nGreenline-Run: 01a1")
    after = work.commit({"plans/b.yaml": PLAN})
    assert work.plans(before, after) == ["plans/b.yaml"]


def test_a_deleted_branch_and_a_commit_that_is_gone(work):
    """A deletion brings nothing; a commit that is not there is named."""
    before = work("rev-parse", "HEAD")
    assert work.plans(before, ZERO) == []
    with pytest.raises(InputError, match=r"e{40}"):
        work.plans(before, "e" * 40)


def test_what_can_be_no_plan_is_told_one_by_one(work):
    """A link, bytes that are no text and a wrong plan are problems of their own, not of others."""
    before = work("rev-parse", "HEAD")
    (work.root / "plans" / "link.yaml").symlink_to("/etc/passwd")
    after = work.commit(
        {"plans/bytes.yaml": b"\xff\xfe", "plans/wrong.yaml": "feature: 1", "plans/a.yaml": PLAN}
    )
    found = {plan.path: plan for plan in changed_plans(work.git, work.push(before, after), "main")}
    assert found["plans/a.yaml"].read().feature == "Numerals"
    for name in ("link", "bytes", "wrong"):
        with pytest.raises(InputError, match=f"plans/{name}.yaml"):
            found[f"plans/{name}.yaml"].read()


def test_a_plan_comes_with_its_replay_files_and_nothing_else(work, home):
    """A plan is written as its commit has it, with what it replays; replayed JSON is no plan."""
    before = work("rev-parse", "HEAD")
    files = {"plans/a.yaml": PLAN, "plans/files/test.json": "{}", "plans/files/n.py": "N = 1\n"}
    after = work.commit(files | {"plans/files/other.py": "x"})
    work.commit({"plans/files/n.py": "N = 2\n"})
    push = work.push(before, after)
    (plan,) = changed_plans(work.git, push, "main")
    file = write_plan(home, work.git, push, plan)
    found = {
        path.relative_to(file.parent.parent).as_posix(): path.read_text()
        for path in file.parent.rglob("*")
        if path.is_file()
    }
    assert found == files
    assert forget_old_plans(home) == 0 and forget_old_plans(home, older_s=-1) == 1
    assert not file.exists()


def test_a_pushed_plan_reads_no_other_repository(work, home, make_repo):
    """Who pushes may name any path; commits are replayed of the pushed repository only."""
    other = make_repo({"secret.py": "x"}, "other")
    commit = Work(other)("rev-parse", "HEAD")
    own = work("rev-parse", "HEAD")
    text = PLAN.replace("{file: files/n.py}", f"{{repo: {other}, commit: {commit}}}")
    after = work.commit({"plans/bad.yaml": text, "plans/own.yaml": text.replace(commit, own)})
    push = work.push(own, after)
    bad, good = changed_plans(work.git, push, "main")
    with pytest.raises(InputError, match="own repository only"):
        write_plan(home, work.git, push, bad)
    assert write_plan(home, work.git, push, good).is_file()


@pytest.fixture
def pushed(work):
    """A bare repository whose HEAD names a branch that was never pushed, and a push to it."""
    bare = work.root.parent / "bare.git"
    work("init", "-q", "--bare", "--initial-branch=elsewhere", str(bare))
    before = work("rev-parse", "HEAD")
    after = work.commit({
        "greenline.toml": SETTINGS, "test_x.py": "def test_x(): pass\n", "plans/a.yaml": PLAN,
        "plans/files/test.json": "import n\ndef test_n(): assert n.N == 1\n", "plans/files/n.py": "N = 1\n",
    })  # fmt: skip
    last = work.commit({"README": "later", "greenline.toml": None})
    work("push", "-q", str(bare), "main")
    repository = UserRepository.open(bare)
    return (
        repository,
        Push.of(repository=str(bare), ref="refs/heads/main", before=before, after=after),
        Push.of(repository=str(bare), ref="refs/heads/main", before=before, after=last),
    )


def test_a_pushed_plan_is_begun_once(database, home, pushed):
    """Told by two at once, and again by a later push of the same commits, it is one run.

    It begins at exactly the pushed commit, with the settings of that commit, in a bare repository.
    """
    repository, push, later = pushed
    (plan,) = changed_plans(repository.git, push, repository.default_branch)
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(lambda _: begin(database, repository, push, plan), range(2)))
    assert sorted(each.new for each in found) == [False, True]
    assert len({each.run_id for each in found}) == 1
    again = begin(database, repository, later, plan)
    assert (again.new, again.run_id) == (False, found[0].run_id)
    with database.transaction() as ledger:
        row = ledger.get_run(again.run_id)
    known = row["metadata_json"]
    assert (known["base_commit"], known["options"]["pushed"]) == (push.after, "refs/heads/main")
    assert known["repo_path"] == str(repository.path)


def test_a_wrong_plan_is_told_and_nothing_is_stored(database, home, pushed):
    """Settings that are missing at the pushed commit are told as they are for `greenline run`."""
    repository, push, later = pushed
    (plan,) = changed_plans(repository.git, push, repository.default_branch)
    without = Push.of(**(later.payload() | {"before": push.after}))
    with pytest.raises(InputError, match=r"project\.test|test command"):
        begin(database, repository, without, plan)
    with database.get_connection() as connection:
        assert connection.execute("SELECT count(*) AS n FROM public.runs").fetchone()["n"] == 0


def listed(home, text):
    (home.path / "webhooks.toml").write_text(text)


def remote_push(before, after):
    return Push.of(
        repository="forge.example/acme/roman", ref="refs/heads/main", before=before, after=after
    )


def test_a_mirror_is_fetched_and_delivered_branches_go_back(work, home):
    """What was pushed elsewhere is fetched into a mirror; only its delivered branches go back."""
    before = work("rev-parse", "HEAD")
    upstream = work.root.parent / "upstream.git"
    work("clone", "-q", "--bare", ".", str(upstream))
    listed(home, f'[repositories."Forge.example/Acme/Roman"]\nurl = "{upstream}"\npush = true\n')
    found = pushed_repository(home, remote_push(ZERO, before))
    assert (found.default_branch, found.is_bare, found.head) == ("main", True, before)
    assert push_deliveries(home) == []
    found.git.move_ref("refs/heads/greenline/01", before, None)
    found.git.move_ref("refs/heads/own", before, None)
    hook = found.path / "hooks" / "reference-transaction"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch '{home.path}/ran'\n")
    hook.chmod(0o755)
    after = work.commit({"README": "y"})
    work("push", "-q", "--force", str(upstream), "main")
    assert pushed_repository(home, remote_push(before, after)).head == after
    assert push_deliveries(home) == ["forge.example/acme/roman"]
    assert push_deliveries(home) == [], "nothing new"
    assert work("ls-remote", "--heads", str(upstream)).split()[1::2] == [
        "refs/heads/greenline/01", "refs/heads/main",
    ]  # fmt: skip
    assert not (home.path / "ran").exists(), "no hook runs"


def test_a_clone_of_the_users_is_only_given_what_is_elsewhere(work, home, make_repo):
    """A checkout that is named as the place gets remote branches; its own stay where they are."""
    upstream = make_repo({"a": "1"}, "upstream")
    work("remote", "add", "origin", str(upstream))
    own = work("rev-parse", "HEAD")
    there = Work(upstream)("rev-parse", "HEAD")
    listed(home, f'[repositories."forge.example/acme/roman"]\npath = "{work.root}"\n')
    found = pushed_repository(home, remote_push(ZERO, there))
    assert found.git.resolve(there) == there
    assert (work("rev-parse", "main"), work("rev-parse", "origin/main")) == (own, there)


def test_only_what_is_listed_is_fetched(work, home):
    """A push of a repository that nobody listed is refused; one that cannot be had is told."""
    with pytest.raises(InputError, match="not on the list"):
        pushed_repository(home, remote_push(ZERO, "a" * 40))
    listed(home, f'[repositories."forge.example/acme/roman"]\nurl = "{home.path}/gone.git"\n')
    with pytest.raises(ServiceError, match=r"forge\.example/acme/roman"):
        pushed_repository(home, remote_push(ZERO, "a" * 40))


def test_pushes_wait_for_a_server_that_is_not_there(work, home):
    """With no server, none of the home's and none that answers, nothing is lost."""
    head = work("rev-parse", "HEAD")
    spool.keep(home, work.push(ZERO, head))
    for where in (None, "http://127.0.0.1:1/api", "nonsense"):
        assert emit_spooled(home, where) == 0
    assert [push.after for file in spool.waiting(home) for push in spool.pushes_in(file)] == [head]
