"""What people see in Prefect's UI, looked at with a real browser, and the forms they answer with.

Skipped without a Chromium: `apt-get install chromium`, or name one in `GREENLINE_TEST_BROWSER`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.acceptance.scripted import SUB, TEST_SUB, Project, step, subtask
from tests.browser import Browser, program

EVIL = (
    "# ``````\n"
    "# <img src=x onerror=\"document.title='PWNED'\"><script>document.title='PWNED'</script>\n"
    "# ![x](https://evil.example/p.png) [click](javascript:alert(1)) https://evil.example/link\n"
    "# ```\n"
    "\n# A heading of the agent\n"
    "```mermaid\ngraph TD; A-->B\n```\n"
)
KEY = "sk-ant-" + "q7" * 20
ASKS = "[limits]\non_stuck = 'ask'\nattempts = 1\n"


def stuck(first):
    """A subtask whose second step does what is right at its second attempt only."""
    return subtask(
        "stuck",
        step("test", "tests/test_sub.py", f"write({TEST_SUB!r})"),
        step("implementation", "calc.py", f"append({SUB!r}) if attempt > 1 else {first}"),
    )


@dataclass
class Prefect:
    """The Prefect server of a home, with Greenline's deployments and no worker."""

    home: Any
    url: str

    def post(self, path, **content):
        # SQLite under the server is busy at times.
        for _ in range(20):
            answer = httpx.post(f"{self.url}/api{path}", json=content, timeout=60, trust_env=False)
            if answer.status_code < 500:
                assert answer.is_success, answer.text
                return answer.json()
            time.sleep(0.5)
        raise AssertionError(answer.text)

    def get(self, path):
        return httpx.get(f"{self.url}/api{path}", timeout=60, trust_env=False).json()

    def artifacts(self, flow_run_id):
        """The artifacts of a flow run by key, without the run's part of it."""
        found = self.post("/artifacts/filter", flow_runs={"id": {"any_": [flow_run_id]}})
        return {each["key"].split("-")[0]: each for each in found}

    def flow_runs(self, **state):
        return self.post("/flow_runs/filter", **state)

    def execute(self, flow_run_id):
        """Do what a worker does with a flow run, and return how it is then."""
        done = subprocess.run(
            [sys.executable, "-m", "prefect.engine", flow_run_id],
            env=self.home.env | {
                "PREFECT_API_URL": f"{self.url}/api", "PREFECT__FLOW_RUN_ID": flow_run_id,
                "PREFECT_HOME": str(self.home.home / "prefect"),
            },
            capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return self.get(f"/flow_runs/{flow_run_id}")


@pytest.fixture(scope="module")
def prefect(greenline):
    return Prefect(greenline, greenline.json("up", "--no-worker")["ui"])


@pytest.fixture(scope="module")
def waiting(greenline, tmp_path_factory):
    """The document of a run that waits for a person; what its agent wrote is hostile."""
    project = Project(greenline, tmp_path_factory.mktemp("seen"), rest=ASKS)
    wrote = f"append({EVIL + f'KEY = {KEY!r}' + SUB!r})"
    return project.run(stuck(wrote), ok=(3,))


@pytest.fixture(scope="module")
def browser():
    if program() is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    with Browser.started() as started:
        yield started


@pytest.fixture(autouse=True)
def nothing_asked_of_the_world(request):
    """No page asks anything of another host, whatever it shows, and none fails."""
    yield
    if "browser" in request.fixturenames:
        seen = request.getfixturevalue("browser")
        assert seen.outside() == []
        assert seen.said == []


def test_a_run_reads_like_the_work(prefect, waiting, browser):
    """Its name, where it stands, whom it is by, and its phases and steps as people call them."""
    run = waiting["prefect_flow_run_id"]
    browser.go(f"{prefect.url}/runs/flow-run/{run}")
    browser.click("Task Runs")
    text = browser.wait_for(
        f"F · {waiting['run_id'][:13]}", "Waits for a person", "analysis",
        "stuck 1 test tests/test_sub.py", "stuck 2 implementation calc.py",
    )  # fmt: skip
    assert {"project:calc", "agent:scripted", "plan:plan.json"} <= set(text.splitlines())


def test_progress_and_steps_are_there(prefect, waiting, browser):
    """Made of the ledger: the same figures that `greenline steps` has."""
    found = prefect.artifacts(waiting["prefect_flow_run_id"])
    assert found["progress"]["data"] == 50
    assert "1 of 2 steps done, 1 waits for a person" in found["progress"]["description"]
    rows = json.loads(found["steps"]["data"])
    numbers = [
        ", ".join(str(attempt["number"]) for attempt in each["attempts"])
        for each in waiting["steps"]
    ]
    assert [row["attempts"] for row in rows] == numbers
    browser.go(f"{prefect.url}/artifacts/artifact/{found['steps']['id']}")
    browser.wait_for("tests/test_sub.py", "completed", "waits for a person", "regression")


def test_a_failed_attempt_shows_its_diff_and_does_nothing_else(prefect, waiting, browser):
    """What the agent wrote is text: no picture, link, heading or program comes of it."""
    failed = prefect.artifacts(waiting["prefect_flow_run_id"])["failed"]
    assert failed["task_run_id"] is not None
    assert KEY not in failed["data"]
    assert "[redacted]" in failed["data"]
    browser.go(f"{prefect.url}/artifacts/artifact/{failed['id']}")
    text = browser.wait_for("What it had changed", "+# <img src=x onerror=", "SyntaxError")
    assert "+```mermaid" in text
    assert "PWNED" not in browser.evaluate("document.title")
    shown = "document.querySelector('.artifact-data-markdown')"
    assert browser.evaluate(f"{shown}.querySelectorAll('img, script, iframe').length") == 0
    headings = browser.evaluate(
        f"[...{shown}.querySelectorAll('h1, h2, h3')].map(each => each.innerText).join('|')"
    )
    assert "A heading of the agent" not in headings
    assert "What it had changed" in headings
    links = browser.evaluate("[...document.querySelectorAll('a')].map(each => each.href)")
    assert not [link for link in links if "evil" in link or link.startswith("javascript")]


def test_deployments_and_their_schedules_are_listed(prefect, browser):
    browser.go(f"{prefect.url}/deployments")
    browser.wait_for("feature", "on-push", "answer", "reconcile", "export", "weekly-report")
    weekly = prefect.get("/deployments/name/weekly-report/weekly-report")["id"]
    browser.go(f"{prefect.url}/deployments/deployment/{weekly}")
    browser.wait_for("monday-morning", "flows.weekly_report.weekly_report", "Scheduled for")


def test_a_form_answers_the_question_and_the_run_goes_on(prefect, waiting, browser, greenline):
    """The question's artifact links to a form with the answer filled in."""
    paused = waiting["prefect_flow_run_id"]
    cta = waiting["pending_cta"]["id"]
    question = prefect.artifacts(paused)["question"]
    browser.go(f"{prefect.url}/artifacts/artifact/{question['id']}")
    browser.wait_for("This run waits for a person", "Try the step again", f"answer {cta[:8]} skip")
    link = browser.evaluate(
        "[...document.querySelectorAll('a')].find(a => a.innerText.trim() === 'retry')"
        ".getAttribute('href')"
    )
    browser.go(prefect.url + link)
    values = "[...document.querySelectorAll('textarea, select, input')].map(each => each.value)"
    browser.wait(f"{values}.includes('retry') && {values}.includes('{cta}')")
    browser.click("Submit")
    named = {"flow_runs": {"name": {"any_": [f"retry to {cta[:8]}"]}}}
    deployment = prefect.get("/deployments/name/answer/answer")["id"]
    mine = {"deployments": {"id": {"any_": [deployment]}}}
    deadline = time.monotonic() + 60
    while not (sent := prefect.flow_runs(**mine)):
        assert time.monotonic() < deadline, "the form was not sent"
        time.sleep(0.2)
    answered = prefect.execute(sent[0]["id"])
    assert answered["state"]["type"] == "COMPLETED"
    assert prefect.flow_runs(**named), "its name says which answer to what"
    ((_, by),) = greenline.sql(
        f"SELECT response_selected_id, responded_by FROM agent.cta_events WHERE id = '{cta}'"
    )
    assert by == "Prefect's UI"
    # A worker would carry what was handed over; here it is this test.
    tags = {"tags": {"all_": [f"greenline-run:{waiting['run_id']}"]}}
    (next_one,) = prefect.flow_runs(flow_runs=tags)
    assert prefect.execute(next_one["id"])["state"]["type"] == "COMPLETED"
    assert greenline.json("runs", "show", waiting["run_id"])["status"] == "completed"
    before = prefect.get(f"/flow_runs/{paused}")["state"]
    assert before["type"] == "COMPLETED", "it does not wait any more"
    assert prefect.artifacts(next_one["id"])["progress"]["data"] == 100
    assert "is completed" in prefect.artifacts(next_one["id"])["result"]["description"]


def test_a_flow_run_that_is_resumed_goes_on_with_the_answer_of_its_form(
    prefect, greenline, tmp_path
):
    """Resume on the flow run's own page has a form, too; it makes no other run."""
    project = Project(greenline, tmp_path, rest=ASKS)
    feature = prefect.get("/deployments/name/feature/feature")["id"]
    given = {
        "plan": str(project.plan(stuck("None"))), "repo": str(project.path),
        "config": str(project.config),
    }  # fmt: skip
    path = f"/deployments/{feature}/create_flow_run"
    flow_run = prefect.post(path, parameters=given, state={"type": "SCHEDULED"})["id"]
    paused = prefect.execute(flow_run)
    assert (paused["state"]["type"], paused["state"]["name"]) == ("PAUSED", "Waits for a person")
    resume = f"/flow_runs/{flow_run}/resume"
    assert prefect.post(resume, run_input={"choice": "what"})["status"] == "REJECT"
    assert prefect.post(resume, run_input={"choice": "retry"})["status"] == "ACCEPT"
    done = prefect.execute(flow_run)
    assert done["state"]["type"] == "COMPLETED"
    (run,) = greenline.json("runs", cwd=project.path)
    assert (run["status"], run["attempts"]) == ("completed", 3)
    found = prefect.post("/artifacts/filter", flow_runs={"id": {"any_": [flow_run]}})
    assert [each["type"] for each in found].count("progress") == 1


def test_a_server_that_is_away_fails_nothing(tmp_path):
    """Nothing is shown then, and the log says so; the work goes on at once."""
    code = (
        "import asyncio, logging, time; logging.basicConfig()\n"
        "from flows.artifacts.sheets import Sheet\n"
        "from flows.artifacts.writer import show\n"
        "began = time.monotonic()\n"
        "asyncio.run(show(lambda: Sheet('k', 'markdown', 'x')))\n"
        "asyncio.run(show(lambda: 1 / 0))\n"
        "assert time.monotonic() - began < 30\n"
        "print('went on')\n"
    )
    env = os.environ | {
        "PREFECT_API_URL": "http://127.0.0.1:9/api", "PREFECT_HOME": str(tmp_path),
        "PREFECT__RUNTIME__FLOW_RUN__ID": "01a1ff0e-bb7e-70cc-a4a5-419519ab6df0",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
    )
    assert done.stdout == "went on\n", done.stderr
    assert done.stderr.count("not shown in Prefect's UI") == 2
    assert "Traceback" not in done.stderr
