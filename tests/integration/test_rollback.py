"""A rollback ends in one and the same state, wherever it was cut off and whoever finishes it."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from storage.database import Database
from storage.exceptions import GreenlineError, InputError
from storage.home import Home
from storage.lease import this_owner
from tasks.commits import packed
from tasks.repository import UserRepository
from tasks.rollback import (
    STAGES,
    BeingRolledBack,
    Work,
    finish_pending_rollbacks,
    plan_rollback,
    roll_back,
)
from tasks.sandbox.clone import ProjectClone
from tests.conftest import GIT_ENVIRONMENT

#: What each workstream's tries at its steps come to: `+` a commit, `-` a failure, `=` nothing to do.
PLAN = {"one": ["+", "-+"], "two": ["+", "="], "three": ["--+"]}


@dataclass
class Story:
    """A run that ended, with a branch in Greenline's clone and in the user's repository."""

    database: Database
    path: Path
    plan: dict[str, list[str]]
    mode: str = "branch"
    status: str = "completed"
    published: bool = True
    numbers: list[int] = field(default_factory=list)
    commits: dict[int, str] = field(default_factory=dict)

    def __post_init__(self):
        self.user = UserRepository.open(self.path)
        home = Home.current().ensure()
        self.clone = ProjectClone.prepare(home, self.user, self.user.head)
        self.base = self.head = self.user.head
        with self.database.transaction() as ledger:
            self.project_id = ledger.get_or_create_project(str(self.path), "calc")["id"]
            self.feature_id = ledger.create_feature(self.project_id, "F")
            task = ledger.create_task(self.feature_id, "T")
            self.run_id = self.new_run(ledger)
            ledger.update_run_status(self.run_id, "running")
            ledger.settle_feature(self.feature_id, "in_progress")
            self.steps = {}
            for key, tries in self.plan.items():
                subtask = ledger.create_subtask(task, key, key)
                ledger.create_workstream(
                    self.run_id, f"{self.run_id}/{key}", subtask_id=subtask, status="ready"
                )
                self.steps[key] = [
                    ledger.create_step(
                        self.project_id, subtask, n, "implementation", "DevonAider",
                        file_path=f"{key}{n}.py", instructions="Do.",
                    )
                    for n in range(1, len(tries) + 1)
                ]  # fmt: skip
        for key in self.plan:
            self.do(key)
        with self.database.transaction() as ledger:
            ledger.settle_tasks(self.feature_id)
            done = self.status == "completed"
            ledger.settle_feature(self.feature_id, "completed" if done else "failed")
            if self.status != "running":
                ledger.update_run_status(self.run_id, self.status)
            if self.published:
                self.user.publish_branch(self.clone.git, f"refs/heads/{self.branch}", self.branch)
                ledger.record_delivery(
                    self.run_id, mode=self.mode, target_branch="main", commit_sha=self.head
                )

    def new_run(self, ledger):
        run_id = ledger.create_run(feature_id=self.feature_id)
        self.branch = f"greenline/{run_id}"
        ledger.update_run_metadata(
            run_id,
            {"branch": self.branch, "base_commit": self.head, "repo_path": str(self.path)},
        )
        ledger.set_run_head(run_id, self.head)
        return run_id

    def do(self, key):
        ws_id = f"{self.run_id}/{key}"
        for step_id, tries in zip(self.steps[key], self.plan[key], strict=True):
            for outcome in tries:
                with self.database.transaction() as ledger:
                    attempt = ledger.begin_attempt(
                        self.run_id, ws_id, step_id, commit_sha_before=self.head, agent_config={}
                    )
                    number = attempt["number"]
                    self.numbers.append(number)
                    status = {"+": "success", "-": "failure", "=": "skipped"}[outcome]
                    if outcome == "+":
                        self.head = self.commits[number] = self.commit(number)
                    commit = None if outcome == "-" else self.head
                    ledger.finish_attempt(attempt["id"], status, commit_sha_after=commit)
                    ledger.set_run_head(self.run_id, self.head)
                    self.clone.put_branch(self.branch, self.head)
        failed = self.plan[key][-1].endswith("-")
        with self.database.transaction() as ledger:
            states = ["editing", "static_check", "runtime_check", "failed" if failed else "done"]
            for state in states:
                ledger.update_workstream_status(ws_id, state)
            subtask = ledger.get_workstream(ws_id)["subtask_id"]
            ledger.settle_subtask(subtask, "failed" if failed else "completed")

    def commit(self, number):
        git = self.clone.git
        blob = git.text("hash-object", "-w", "--stdin", stdin=str(number).encode())
        files = git.run("ls-tree", self.head) + f"100644 blob {blob}\tf{number}\n".encode()
        return git.text(
            "commit-tree", git.text("mktree", stdin=files), "-p", self.head, stdin=b"Step"
        )

    # --- what is there

    def plan_of(self, number):
        return plan_rollback(self.database, self.project_id, number)

    def roll_back(self, number, **words):
        return roll_back(self.database, self.plan_of(number), **words)

    def rows(self, query):
        with psycopg.connect(self.database.url) as connection:
            return connection.execute(query, {"run": self.run_id}).fetchall()

    def refs(self):
        full = f"refs/heads/{self.branch}"
        return self.clone.git.resolve(full), self.user.git.resolve(full)

    def state(self):
        """All that a rollback changes, without times and without what only a crash leaves."""
        return {
            "refs": self.refs(),
            "backups": self.clone.git.text("for-each-ref", "refs/greenline/backups"),
            "attempts": self.rows("SELECT number, active FROM step_attempts ORDER BY number"),
            "steps": self.rows("SELECT status::text, last_error FROM steps ORDER BY id"),
            "plan": self.rows(
                "SELECT status::text, completed_at IS NULL FROM subtasks UNION ALL "
                "SELECT status::text, true FROM tasks UNION ALL SELECT status::text, true FROM features"
            ),
            "workstreams": self.rows("SELECT ws_id, status::text FROM workstreams ORDER BY ws_id"),
            "runs": self.rows("SELECT status::text, head_commit FROM runs"),
            "rollbacks": self.rows(
                "SELECT id, commits, backup_ref, state, who, why, completed_at IS NULL FROM rollbacks"
            ),
            "deliveries": self.rows("SELECT accepted, reverted_at IS NULL FROM deliveries"),
            "events": self.rows(
                "SELECT event_type, payload_json FROM events WHERE event_type LIKE 'roll%%' ORDER BY id"
            ),
        }

    def check(self):
        """Tree, rows and refs agree: a commit on the branch for each active success, in order."""
        ((head,),) = self.rows("SELECT head_commit FROM runs WHERE run_id = %(run)s")
        ours, published = self.refs()
        assert ours == head
        assert published in (None, head)
        listed = self.clone.git.text("rev-list", "--reverse", f"{self.base}..{head}").split()
        active = self.rows(
            "SELECT commit_sha_after FROM step_attempts WHERE run_id = %(run)s AND active "
            "AND status = 'success' ORDER BY number"
        )
        assert [commit for (commit,) in active] == listed
        files = self.clone.git.text("ls-tree", "--name-only", head).split()
        assert sorted(files) == sorted(
            ["a.py", *(f"f{n}" for n, commit in self.commits.items() if commit in listed)]
        )
        wrong = self.rows(
            "SELECT s.id FROM steps s WHERE (s.status = 'completed') <> EXISTS (SELECT 1 FROM "
            "step_attempts a WHERE a.step_id = s.id AND a.active AND a.status IN ('success', 'skipped'))"
        )
        assert wrong == []


@pytest.fixture(autouse=True)
def _home(monkeypatch, tmp_path):
    monkeypatch.setenv("GREENLINE_HOME", str(tmp_path / "home"))
    for name, value in GIT_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def story(database, make_repo):
    def tell(plan=None, **more):
        return Story(database, make_repo({"a.py": ""}).resolve(), plan or PLAN, **more)

    return tell


def git(folder, *words):
    done = subprocess.run(["git", "-C", folder, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


# --- what it does


def test_each_attempt_in_turn_tree_rows_and_refs_agree(story):
    """PLAN's attempts: one 1 | 2- 3, two 4 | 5=, three 6- 7- 8."""
    told = story()
    for number, gone in ((8, [8]), (7, [7]), (5, [5, 6]), (3, [3, 4]), (2, [2]), (1, [1])):
        done = told.roll_back(number)
        assert done.planned.numbers == gone
        told.check()
    assert told.refs() == (told.base, told.base)
    statuses = {status for (status,) in told.rows("SELECT status::text FROM steps")}
    assert statuses == {"pending"}


def test_what_was_completed_by_it_is_pending_again_and_the_rest_is_not(story):
    told = story()
    told.roll_back(5, who="me@here", why="because")
    assert told.rows(
        "SELECT key, status::text, completed_at IS NULL FROM subtasks ORDER BY id"
    ) == [
        ("one", "completed", False),
        ("two", "pending", True),
        ("three", "pending", True),
    ]
    assert told.rows("SELECT status::text FROM tasks") == [("pending",)]
    assert told.rows("SELECT status::text FROM features") == [("pending",)]
    assert told.rows("SELECT status::text FROM workstreams ORDER BY subtask_id") == [
        ("done",),
        ("ready",),
        ("ready",),
    ]
    assert told.rows("SELECT status::text FROM runs") == [("completed",)]
    assert told.rows("SELECT accepted, reverted_at IS NULL FROM deliveries") == [(False, False)]
    assert told.rows("SELECT state, who, why, commits FROM rollbacks") == [
        ("done", "me@here", "because", [told.commits[8]])
    ]
    (event,) = told.rows("SELECT payload_json FROM events WHERE event_type = 'rolled_back'")
    assert event[0]["numbers"] == [5, 6, 7, 8]
    assert (event[0]["number"], event[0]["head"]) == (5, told.commits[4])


def test_numbers_go_on_and_the_next_parent_is_the_last_survivor(story):
    told = story()
    told.roll_back(4)
    with told.database.transaction() as ledger:
        run = told.new_run(ledger)
        ws = ledger.create_workstream(run, f"{run}/two")
        begun = ledger.begin_attempt(
            run, ws, told.steps["two"][0], commit_sha_before=told.commits[3], agent_config={}
        )
        survivor = ledger.attempt_by_number(told.project_id, 3)
    assert (begun["number"], begun["parent_attempt_id"]) == (9, survivor["id"])


def test_a_failed_run_that_was_never_published(story):
    told = story({"one": ["+", "--"], "two": ["+"]}, status="partial", published=False)
    told.roll_back(3)
    told.check()
    assert told.rows("SELECT status::text FROM workstreams ORDER BY subtask_id") == [
        ("failed",),
        ("ready",),
    ], "a failed workstream is that for good"
    assert told.rows("SELECT status::text FROM steps ORDER BY id") == [
        ("completed",),
        ("pending",),
        ("pending",),
    ]
    assert told.refs() == (told.commits[1], None)


def test_the_old_commits_are_kept_and_the_command_that_is_named_gets_them(story):
    told = story()
    done = told.roll_back(1)
    assert told.clone.git.resolve(done.backup_ref) == told.head
    subprocess.run(done.way_back, shell=True, check=True)
    assert git(told.path, "rev-parse", f"rolled-back-{done.rollback_id}") == told.head


def test_a_branch_that_merged_the_commits_is_left_with_the_command_that_undoes_them(story):
    told = story(mode="merge")
    git(told.path, "merge", "--quiet", "--ff-only", told.branch)
    done = told.roll_back(4)
    assert git(told.path, "rev-parse", "main") == told.head
    assert told.rows("SELECT accepted, reverted_at IS NULL FROM deliveries") == [(None, True)]
    (note,) = done.notes
    assert "branch main" in note
    command = note[note.index("git -C") :].replace("switch main", "switch --quiet main")
    subprocess.run(command, shell=True, check=True, capture_output=True)
    assert git(told.path, "rev-parse", "main^{tree}") == git(
        told.path, "rev-parse", f"{told.commits[3]}^{{tree}}"
    )


# --- killed anywhere


@pytest.mark.parametrize("stages", range(1, len(STAGES)))
@pytest.mark.parametrize("twice", [False, True])
def test_cut_off_after_any_stage_the_next_command_ends_in_the_same_state(
    story, make_repo, database, stages, twice
):
    """With `twice`, the one who finishes is cut off after the next stage as well."""
    reference = story({"one": ["+", "-+"], "two": ["+"]})
    before = reference.state()
    work = Work(reference.database, reference.plan_of(3), "w", "y")
    for _, stage in STAGES[:stages]:
        stage(work)
    assert reference.state()["attempts"] == before["attempts"], "the ledger comes last"
    if twice:
        again = Work(Database(database.url), reference.plan_of(3), "w", "y", row=work.row)
        for _, stage in STAGES[1 : stages + 1]:
            stage(again)
        again.database.dispose()
    fresh = Database(database.url)
    finished = finish_pending_rollbacks(fresh)
    assert finish_pending_rollbacks(fresh) == []
    fresh.dispose()
    all_done = twice and stages + 1 == len(STAGES)
    assert [done.planned.numbers for done in finished] == ([] if all_done else [[3, 4]])
    reference.check()
    state = reference.state()
    head = reference.commits[1]
    assert state["refs"] == (head, head)
    assert state["rollbacks"] == [
        (1, [reference.commits[4], reference.commits[3]], "refs/greenline/backups/1", "done",
         "w", "y", False)
    ]  # fmt: skip
    assert state["backups"].split() == [reference.head, "commit", "refs/greenline/backups/1"]
    assert [kind for kind, _ in state["events"]] == ["rollback_begun", "rolled_back"]
    assert state["steps"] == [("completed", None), ("pending", None), ("pending", None)]
    assert state["deliveries"] == [(False, False)]


def test_lock_files_of_a_git_that_was_killed_are_in_nobodys_way(story):
    """Those of the run's own refs, that is."""
    told = story()
    work = Work(told.database, told.plan_of(4))
    work.record_intent()
    branch = f"refs/heads/{told.branch}"
    clone = told.clone.path
    for ref in (clone / branch, clone / work.backup_ref, told.path / ".git" / branch):
        lock = ref.with_name(f"{ref.name}.lock")
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
    finish_pending_rollbacks(told.database)
    told.check()


def test_what_git_refuses_in_the_users_repository_is_told_and_finished_once_it_is_mended(story):
    told = story()
    lock = told.path / f".git/refs/heads/{told.branch}.lock"
    lock.mkdir()  # no git made this
    with pytest.raises(GreenlineError, match=r"rollback 1 of attempt 4 is begun.*\.lock"):
        told.roll_back(4)
    assert told.refs() == (told.commits[3], told.head)
    with pytest.raises(GreenlineError, match="is begun and not finished"):
        finish_pending_rollbacks(told.database, told.run_id)
    assert finish_pending_rollbacks(told.database) == [], "others are not held up by it"
    lock.rmdir()
    (done,) = finish_pending_rollbacks(told.database)
    assert done.planned.numbers == [4, 5, 6, 7, 8]
    told.check()


def test_a_branch_that_somebody_moved_while_it_was_cut_off_is_theirs(story):
    told = story()
    work = Work(told.database, told.plan_of(4))
    work.record_intent()
    git(told.path, "branch", "--force", told.branch, told.commits[1])
    (done,) = finish_pending_rollbacks(told.database)
    assert told.refs() == (told.commits[3], told.commits[1])
    (note,) = done.notes
    assert "was left where it is" in note
    assert told.rows("SELECT accepted FROM deliveries") == [(None,)], "nobody took that back"
    (event,) = told.rows("SELECT payload_json FROM events WHERE event_type = 'rolled_back'")
    assert event[0]["notes"] == [note]


def test_one_that_was_cut_off_is_in_the_way_of_the_next_until_it_is_finished(story):
    told = story()
    Work(told.database, told.plan_of(4)).record_intent()
    assert "is finished first" in told.plan_of(2).notes[0]
    with pytest.raises(InputError, match="is being rolled back"):
        told.roll_back(2)
    with told.database.transaction() as ledger, pytest.raises(InputError, match="rollback 1"):
        ledger.require_no_rollback(told.run_id)
    finish_pending_rollbacks(told.database)
    with told.database.transaction() as ledger:
        ledger.require_no_rollback(told.run_id)
    told.roll_back(2)
    told.check()


# --- two at once


def test_of_two_at_once_exactly_one_wins_and_the_other_is_told(story, database):
    told = story()

    def attempt(number):
        own = Database(database.url)
        try:
            return roll_back(own, plan_rollback(own, told.project_id, number))
        except InputError as error:
            return str(error)
        finally:
            own.dispose()

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(attempt, [4, 4]))
    (reason,) = [each for each in results if isinstance(each, str)]
    assert "inactive" in reason or "being rolled back" in reason
    told.check()
    assert told.rows("SELECT count(*) FROM rollbacks") == [(1,)]


def test_while_one_is_busy_another_waits_a_little_and_then_refuses(story, database, monkeypatch):
    monkeypatch.setattr("tasks.rollback._PATIENCE_S", 0.1)
    told = story()
    planned = told.plan_of(4)
    Work(told.database, planned).record_intent()
    other = Database(database.url)
    with other.transaction() as busy:
        assert busy.try_lock_rollbacks(told.run_id)
        assert finish_pending_rollbacks(told.database) == [], "it is in somebody's hands"
        for work in (
            lambda: finish_pending_rollbacks(told.database, told.run_id),
            lambda: roll_back(told.database, planned),
        ):
            with pytest.raises(BeingRolledBack, match="by another process"):
                work()
    other.dispose()
    assert len(finish_pending_rollbacks(told.database)) == 1


def test_what_was_shown_is_what_is_done_or_nothing(story):
    told = story()
    planned = told.plan_of(2)
    told.roll_back(5)
    with pytest.raises(InputError, match="has changed meanwhile"):
        roll_back(told.database, planned)
    told.check()


# --- refused


def test_an_attempt_that_does_not_stand_is_refused(story):
    told = story()
    told.roll_back(5)
    with pytest.raises(InputError, match="attempt 6 is inactive: rollback 1 took it back at"):
        told.plan_of(6)
    with told.database.transaction() as ledger:
        ledger.undo_workstream(f"{told.run_id}/one", "its lane did not join")
    with pytest.raises(InputError, match="never got onto the run's branch"):
        told.plan_of(3)
    with pytest.raises(InputError, match="there is no attempt 99"):
        told.plan_of(99)


def test_a_run_that_has_not_ended_is_refused_with_what_to_do(story):
    told = story(status="running", published=False)
    with pytest.raises(
        InputError, match=r"is running.*nobody carries it: `greenline resume .*abandon"
    ):
        told.plan_of(1)
    with told.database.transaction() as ledger:
        ledger.acquire_lease(told.run_id, this_owner())
    with pytest.raises(InputError, match=r"process \d+ on .* carries it: wait until it ends"):
        told.plan_of(1)
    with told.database.transaction() as ledger:
        ledger.update_run_status(told.run_id, "failed")
    with pytest.raises(InputError, match="just cleaning up"):
        told.plan_of(1)


def test_a_run_that_another_one_went_on_from_is_refused_until_that_is_taken_back(story):
    told = story({"one": ["+"], "two": ["+", "--"]}, status="partial", published=False)
    first, old_head = told.run_id, told.head
    with told.database.transaction() as ledger:
        step = told.steps["one"][0]
        run = told.new_run(ledger)
        ws = ledger.create_workstream(run, f"{run}/one")
    with pytest.raises(InputError, match=f"run {run} went on from run {first}.*wait until it ends"):
        told.plan_of(1)
    with told.database.transaction() as ledger:
        ledger.reopen_step(step, "taken over", run, ws)
        taken = ledger.begin_attempt(run, ws, step, commit_sha_before=old_head, agent_config={})
        ledger.finish_attempt(taken["id"], "skipped", commit_sha_after=old_head)
        ledger.update_run_status(run, "running")
        ledger.update_run_status(run, "failed")
    with pytest.raises(InputError, match=f"`greenline step rollback {taken['number']}`"):
        told.plan_of(1)
    told.roll_back(taken["number"])
    assert told.rows("SELECT status::text FROM steps ORDER BY id LIMIT 1") == [("completed",)], (
        "the first run's attempt at it stands"
    )
    done = told.roll_back(1)
    assert done.planned.numbers == [1, 2, 3, 4]
    assert {status for (status,) in told.rows("SELECT status::text FROM steps")} == {"pending"}


def refused(told, number=4):
    """Why a rollback is refused; nothing has changed."""
    before = told.state()
    (obstacle,) = told.plan_of(number).obstacles
    with pytest.raises(InputError) as error:
        told.roll_back(number)
    assert str(error.value) == obstacle
    assert told.state() == before
    return obstacle


def test_uncommitted_changes_are_refused_and_new_files_are_not(story):
    told = story()
    (told.path / "plan.yaml").write_text("new")
    assert told.plan_of(4).obstacles == ()
    (told.path / "a.py").write_text("changed")
    assert f"{told.path} has uncommitted changes in a.py; commit or stash them" in refused(told)


def test_a_branch_that_is_checked_out_is_refused_in_any_worktree(story, tmp_path):
    told = story()
    git(told.path, "worktree", "add", "--quiet", tmp_path / "other", told.branch)
    assert "is checked out" in refused(told)
    git(told.path, "worktree", "remove", tmp_path / "other")
    told.roll_back(4)
    told.check()


def test_commits_of_somebody_else_on_the_published_branch_are_not_lost(story):
    told = story()
    tree = told.user.git.tree_of(told.head)
    theirs = told.user.git.text("commit-tree", tree, "-p", told.head, stdin=b"Theirs")
    git(told.path, "branch", "--force", told.branch, theirs)
    assert "commits of somebody else on top of" in refused(told)
    git(told.path, "branch", "--force", told.branch, told.commits[1])
    assert f"and Greenline left it at {told.head[:12]}" in refused(told)
    git(told.path, "branch", "--move", told.branch, "mine")
    told.roll_back(4)
    told.check()


def test_the_last_failure_of_a_run_goes_although_the_branch_stays_and_is_checked_out(story):
    told = story({"one": ["+"], "two": ["--"]}, status="partial")
    git(told.path, "switch", "--quiet", told.branch)
    done = told.roll_back(3)
    assert (done.planned.numbers, done.planned.commits) == ([3], ())
    told.check()
    assert told.rows("SELECT accepted, reverted_at FROM deliveries") == [(None, None)]


def test_on_another_machine_the_commits_come_from_the_ledger(story, monkeypatch, tmp_path):
    """Where the ledger has not kept them (earlier versions did not), it says so."""
    told = story(published=False)
    Work(told.database, told.plan_of(4)).record_intent()
    own = told.clone.git
    monkeypatch.setenv("GREENLINE_HOME", str(tmp_path / "another"))
    with pytest.raises(InputError, match="are not on this machine"):
        told.plan_of(2)
    assert finish_pending_rollbacks(told.database) == [], "whoever has the commits will"
    with told.database.transaction() as ledger:
        made = list(told.commits.values())
        line = zip(made, [told.base, *made[:-1]], strict=True)
        ledger.keep_commits(told.project_id, [packed(own, *each) for each in line])
    assert told.plan_of(2).commits == tuple(reversed(made[1:]))
    (done,) = finish_pending_rollbacks(told.database)
    assert done.planned.number == 4
    assert told.rows("SELECT head_commit FROM runs") == [(made[1],)]


def test_an_attempt_recorded_from_elsewhere_has_no_branch(database, stored):
    stored.finish(stored.begin(), "success", commit_sha_after="b" * 40)
    with pytest.raises(InputError, match="has no branch of Greenline's"):
        plan_rollback(database, stored.project_id, 1)
