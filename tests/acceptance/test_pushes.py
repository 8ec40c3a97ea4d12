"""Pushes, from git to the delivered branch: hooks, a real Prefect server, its worker and a ledger."""

import subprocess
import sys
import time

import httpx
import pytest

from tests.acceptance.support import Greenline, write_files
from tests.conftest import GIT_ENVIRONMENT

# Services start, and four flow runs: a minute, several on a machine that is busy.
pytestmark = [pytest.mark.prefect, pytest.mark.timeout(900)]

SETTINGS = (
    f"[project]\ntest = '\"{sys.executable}\" -m pytest -q --junitxml={{report}}'\n"
    '[roles]\nTaraAider = "replay"\nDevonAider = "replay"\n'
)


def plan(name):
    """A plan of one subtask, with the files that it replays."""
    step = (
        "{{step_type: {}, file_path: {}, assigned_to: {}, instructions: i, replay: [{{file: {}}}]}}"
    )
    steps = [
        step.format("test", f"test_{name}.py", "TaraAider", f"{name}/test.py"),
        step.format("implementation", f"{name}.py", "DevonAider", f"{name}/code.py"),
    ]
    text = f"feature: {name}\ntasks: [{{title: t, subtasks: [{{key: {name}, title: t, steps: [{', '.join(steps)}]}}]}}]\n"
    return {
        f"plans/{name}.yaml": text,
        f"plans/{name}/test.py": f"import {name}\n\ndef test_it():\n    assert {name}.ONE == 1\n",
        f"plans/{name}/code.py": "ONE = 1\n",
    }


class Team:
    """A home with services, a bare repository with hooks, and somebody who works and pushes."""

    def __init__(self, folder):
        self.greenline = Greenline(folder / "home of 'greenline'")
        self.api = ""
        self.bare = folder / "team's.git"
        self.work = folder / "work"
        self.git(folder, "init", "-q", "--bare", "--initial-branch=main", str(self.bare))
        self.git(folder, "init", "-q", "--initial-branch=main", str(self.work))
        found = self.greenline.json("hooks", "install", "--repo", self.bare)
        assert [hook["kind"] for hook in found["hooks"]] == ["post-receive"]

    def git(self, at, *words):
        environment = {**self.greenline.env, **GIT_ENVIRONMENT}
        done = subprocess.run(
            ["git", *words],
            cwd=at,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return done.stdout.strip()

    def push(self, files):
        """Commit and push; return the commit, and the seconds that the push took."""
        write_files(self.work, files)
        self.git(self.work, "add", "-A")
        self.git(self.work, "commit", "-q", "--allow-empty", "-m", "Work")
        started = time.monotonic()
        self.git(self.work, "push", "-q", str(self.bare), "main")
        return self.git(self.work, "rev-parse", "HEAD"), time.monotonic() - started

    def until(self, query, found):
        """Wait until a query of the ledger finds something, and return that."""
        deadline = time.monotonic() + 240
        while not found(rows := self.greenline.sql(query)):
            assert time.monotonic() < deadline, f"{rows}\n{self.logs()}"
            time.sleep(0.3)
        return rows

    def logs(self):
        return "\n".join(
            path.read_text()[-3000:] for path in (self.greenline.home / "logs").glob("*.log")
        )

    def unfinished(self):
        folder = self.greenline.home / "pushes"
        return [*folder.glob("waiting/*"), *folder.glob("sent/*")]

    def kept(self, pushes):
        """Wait until so many pushes wait for the server: they are written down after git is done."""
        deadline = time.monotonic() + 60
        while self.greenline.json("hooks", "status", "--repo", self.bare)["waiting"] != pushes:
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.3)

    def settled(self):
        """Wait until every push that was heard of is dealt with."""
        deadline = time.monotonic() + 240
        while self.unfinished():
            assert time.monotonic() < deadline, f"{self.unfinished()}\n{self.logs()}"
            time.sleep(0.3)

    def ask(self, path, document=None):
        """Ask the Prefect server, as anybody could."""
        method = "POST" if document else "GET"
        for _ in range(20):
            answer = httpx.request(method, f"{self.api}{path}", json=document, timeout=60)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            time.sleep(1)  # its database is locked for a moment: a person would try again
        return answer.raise_for_status().json()

    def on_push(self, before, after):
        """Have the deployment run for a push, as a person does in the UI; return the flow run."""
        told = {
            "repository": str(self.bare),
            "ref": "refs/heads/main",
            "before": before,
            "after": after,
        }
        deployment = self.ask("/deployments/name/on-push/on-push")["id"]
        return self.ask(f"/deployments/{deployment}/create_flow_run", {"parameters": told})["id"]

    def flow_runs(self):
        """The states of the flow runs of pushes, the oldest first, once all have ended."""
        deadline = time.monotonic() + 240
        wanted = {"flows": {"name": {"any_": ["on-push"]}}, "sort": "EXPECTED_START_TIME_ASC"}
        while True:
            found = {run["id"]: run["state_type"] for run in self.ask("/flow_runs/filter", wanted)}
            if not {"SCHEDULED", "PENDING", "RUNNING"} & set(found.values()):
                return found
            assert time.monotonic() < deadline, f"{found}\n{self.logs()}"
            time.sleep(0.3)


@pytest.fixture(scope="module")
def team(tmp_path_factory):
    team = Team(tmp_path_factory.mktemp("pushes"))
    yield team
    team.greenline("down")


RUNS = """
SELECT f.title, r.status::text, r.metadata_json ->> 'base_commit', r.metadata_json ->> 'branch',
    r.head_commit
FROM public.runs r JOIN public.features f ON f.id = r.feature_id ORDER BY r.created_at
"""


def test_from_a_push_to_a_delivered_branch(team):
    """A push while nothing runs is kept and its plan run once services are up, at its very commit.

    Later pushes: a plan runs beside a wrong one; the flow run again for the same pushes begins
    nothing; a merge of the result and its revert are seen.
    """
    first, seconds = team.push(
        {"greenline.toml": SETTINGS, "test_x.py": "def test_x(): pass\n"} | plan("roman")
    )
    assert seconds < 10, "nobody waits for a server that is not there"
    team.kept(1)
    team.api = team.greenline.json("up")["prefect_api_url"]
    ((_, _, base, branch, head),) = team.until(
        RUNS, lambda rows: rows and rows[0][1] == "completed"
    )
    assert (base, team.git(team.bare, "rev-parse", branch)) == (first, head)
    assert team.git(team.bare, "show", f"{branch}:roman.py") == "ONE = 1"

    second, _ = team.push({"plans/wrong.yaml": "feature: 1\n"} | plan("arab"))
    team.until(RUNS, lambda rows: len(rows) == 2 and rows[1][1] == "completed")
    team.settled()
    again = team.on_push("0" * 40, first), team.on_push(first, second)

    team.git(team.work, "fetch", "-q", str(team.bare), branch)
    team.git(team.work, "merge", "-q", "--no-ff", "-m", "Merge", "FETCH_HEAD")
    team.git(team.work, "revert", "--no-edit", "-m", "1", "HEAD")
    team.push({})
    (accepted, reverted), *_ = team.until(
        "SELECT accepted, reverted_at FROM public.deliveries ORDER BY id", lambda rows: rows[0][0]
    )
    assert accepted and reverted is not None
    team.settled()
    states = team.flow_runs()
    assert [states.pop(each) for each in again] == ["COMPLETED", "FAILED"]
    assert list(states.values()) == ["COMPLETED", "FAILED", "COMPLETED"]
    assert [row[:3] for row in team.greenline.sql(RUNS)] == [
        ("roman", "completed", first),
        ("arab", "completed", second),
    ]
