"""Three hosts, thirty runs, one of them killed and one cut off: nothing is lost or done twice.

`make soak-workers` runs it; it takes some minutes and needs root, for network namespaces.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from git import Repo

from tests.acceptance.killing import wait_for
from tests.acceptance.scripted import Project, step, subtask
from tests.soak.hosts import ROOT, Host, Servers, missing

RUNS = int(os.environ.get("GREENLINE_SOAK_WORKERS", "0"))
KEEP = bool(os.environ.get("GREENLINE_SOAK_KEEP"))
CUT_OFF_S = 60
RESUMED = "SELECT run_id FROM events WHERE event_type = 'run_resumed'"
LONG = 1000
"""The number of the plan whose agent is at it when its host is cut off."""
DEADLINE_S = 1500

pytestmark = [
    pytest.mark.timeout(3 * DEADLINE_S),
    pytest.mark.skipif(not RUNS, reason="takes minutes: `make soak-workers` runs it"),
    pytest.mark.skipif(bool(RUNS) and missing() is not None, reason=str(RUNS and missing())),
]


@pytest.fixture
def servers():
    """PostgreSQL and the Prefect server, with the deployments on it."""
    folder = Path(tempfile.mkdtemp(prefix="soak-of-workers-", dir="/dev/shm"))
    made = Servers(folder)
    try:
        made.start()
        environment = made.environment(folder / "deployer" / "home")
        for words in (("ledger", "init"), ("up", "--no-worker"), ("down",)):
            done = subprocess.run(
                [sys.executable, "-m", "flows.cli", *words],
                cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout + done.stderr
        yield made
    finally:
        made.stop()
        if not KEEP:
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def hosts(servers):
    made = []
    try:
        for number in (1, 2, 3):
            made.append(Host(number, servers))
            made[-1].start_worker()
        yield made
    finally:
        for host in made:
            host.remove()


class Prefect:
    """The Prefect server's API, as anybody asks it."""

    def __init__(self, servers):
        auth = tuple(servers.auth.split(":"))
        self.client = httpx.Client(base_url=servers.api_url, auth=auth, timeout=30, trust_env=False)

    def begin(self, deployment, **parameters):
        found = self.client.get(f"/deployments/name/{deployment}").raise_for_status().json()
        made = self.client.post(
            f"/deployments/{found['id']}/create_flow_run",
            json={"parameters": parameters, "state": {"type": "SCHEDULED"}},
        )
        return made.raise_for_status().json()["id"]

    def flow_runs(self, deployment, **wanted):
        body = {"deployments": {"name": {"any_": [deployment]}}, "limit": 200, **wanted}
        return self.client.post("/flow_runs/filter", json=body).raise_for_status().json()


class Reconciling:
    """Asks for `reconcile` more often than its schedule does, so that the test is over sooner."""

    def __init__(self, prefect):
        self.prefect = prefect
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._ask, daemon=True)

    def _ask(self):
        while not self.over.wait(15):
            with suppress(httpx.HTTPError):
                self.prefect.begin("reconcile/reconcile")

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


def patient(marker):
    """Agent's code: say where it is and take longer than a lease lasts, unless it was cut off."""
    return (
        f"marker = pathlib.Path({str(marker)!r})\n"
        "if not marker.exists():\n"
        "    marker.write_text(os.getcwd())\n    time.sleep(300)\n"
    )


def plans(project, numbers, first=""):
    """Plans of four steps each, over files that no other plan has."""
    made = {}
    for number in numbers:
        parts = []
        for letter in "ab":
            name = f"m{number}{letter}"
            test = f"from {name} import f\n\n\ndef test_{name}():\n    assert f() == {number}\n"
            code = f"def f():\n    return {number}\n"
            parts.append(
                subtask(
                    letter,
                    step(
                        "test", f"tests/test_{name}.py", f"{first}time.sleep(1.5)\nwrite({test!r})"
                    ),
                    step("implementation", f"{name}.py", f"time.sleep(1.5)\nwrite({code!r})"),
                )
            )
        path = project.folder / f"plan{number}.json"
        document = {"feature": f"F{number}", "tasks": [{"title": "T", "subtasks": parts}]}
        path.write_text(json.dumps(document))
        made[number] = path
    return made


def finished(servers, least):
    found = servers.sql("SELECT status::text, count(*) FROM runs GROUP BY 1")
    return dict(found).get("completed", 0) >= least


def test_nothing_is_lost_and_nothing_done_twice(servers, hosts, capsys):
    """Each plan is one run, each step done once, each result delivered.

    One host is killed with what it carries; another is cut off for a minute, in which it ends its
    agents, and takes new work afterwards.
    """

    def say(*words):
        with capsys.disabled():
            sys.stdout.write(f"{time.monotonic() - begun:6.1f} s {' '.join(map(str, words))}\n")
            sys.stdout.flush()

    begun = time.monotonic()
    project = Project(None, servers.folder / "shared", bare=True)
    prefect = Prefect(servers)
    killed = hosts[0]
    given = plans(project, range(RUNS - 1))

    def begin(path):
        where = {"repo": str(project.path), "config": str(project.config)}
        prefect.begin("feature/feature", plan=str(path), **where)

    for path in given.values():
        begin(path)
    with Reconciling(prefect):
        wait_for(lambda: killed.carries() and finished(servers, 1), 300)
        lost = set(killed.carries())
        say("host 1 is killed; it carries", len(lost), "runs")
        killed.kill()
        wait_for(lambda: not killed.at_work(), 20)

        marker = servers.folder / "an agent is at it"
        (path,) = plans(project, [LONG], first=patient(marker)).values()
        given[LONG] = path
        begin(path)
        wait_for(lambda: marker.exists() and marker.read_text(), 300)
        cut = next(host for host in hosts if marker.read_text().startswith(f"{host.home}/"))
        away = set(cut.carries())
        since = time.monotonic()
        cut.cut_off()
        say(f"host {cut.number} is cut off; it carries", len(away), "runs")
        wait_for(lambda: not cut.at_work(), CUT_OFF_S)
        say(f"its agents were ended after {time.monotonic() - since:.0f} s")
        time.sleep(max(0.0, CUT_OFF_S - (time.monotonic() - since)))
        cut.connect_again()
        say(f"host {cut.number} is connected again")
        assert cut.alive()

        wait_for(lambda: finished(servers, RUNS), DEADLINE_S)
        say("all runs are completed")
        more = plans(project, range(RUNS, RUNS + 6))
        for path in more.values():
            begin(path)
        wait_for(cut.carries, 180)
        say(f"host {cut.number} took new work")
        wait_for(lambda: finished(servers, RUNS + 6), 300)

    assert_whole(servers, project, [*given.values(), *more.values()])
    taken = {str(row[0]) for row in servers.sql(RESUMED)}
    say(
        len(taken),
        "runs were taken up;",
        len(lost | away),
        "were under way on the hosts that failed",
    )
    assert set(map(str, lost)) <= taken, "it cannot have done more"
    wait_for(lambda: not unended(prefect), 240)
    say("no flow run is left that looks as if it were under way")
    for host in hosts[1:]:
        assert not list((host.home / "sandboxes").glob("*-*")), "nothing is left on disk"


def assert_whole(servers, project, plans_given):
    """Everything that holds once all is done, whoever did it."""
    # One that was killed after its last word holds its lease until that runs out.
    wait_for(lambda: not servers.sql("SELECT 1 FROM runs WHERE lease_expires_at > now()"), 60)
    runs = servers.sql("SELECT run_id, status::text, metadata_json->>'plan_path' FROM runs")
    assert Counter(status for _, status, _ in runs) == {"completed": len(plans_given)}
    assert Counter(path for *_, path in runs) == Counter(map(str, plans_given)), "one run a plan"
    successes = servers.sql(
        "SELECT run_id, step_id, count(*) FROM step_attempts WHERE status = 'success' GROUP BY 1, 2"
    )
    assert len(successes) == 4 * len(runs) and {count for *_, count in successes} == {1}
    for query in (
        "SELECT 1 FROM step_attempts WHERE status = 'in_progress'",
        "SELECT 1 FROM file_locks",
        "SELECT 1 FROM step_attempts WHERE status = 'failure' AND failure_class <> 'crashed'",
    ):
        assert servers.sql(query) == [], query
    repo = Repo(project.path)
    for run_id, *_ in runs:
        recorded = servers.sql(
            "SELECT commit_sha_after FROM step_attempts "
            "WHERE run_id = %s AND status = 'success' ORDER BY number",
            run_id,
        )
        head = repo.commit(f"greenline/{run_id}").hexsha
        line = [each.hexsha for each in repo.iter_commits(f"{project.base}..{head}")]
        assert line[::-1] == [row[0] for row in recorded], "delivered as it was recorded"


def unended(prefect):
    """The flow runs that are shown as under way."""
    state = {"state": {"type": {"any_": ["PENDING", "RUNNING", "SCHEDULED"]}}}
    return prefect.flow_runs("feature", flow_runs=state)
