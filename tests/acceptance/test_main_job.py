"""The main job end to end: the demo, what it leaves in the ledger, and the commands that read it."""

from __future__ import annotations

import json
import subprocess

import pytest
from git import Repo

pytestmark = pytest.mark.prefect

WRITTEN = [
    "projects", "features", "tasks", "subtasks", "steps", "work_stages", "runs", "workstreams",
    "step_attempts", "verifications", "test_results", "errors", "events", "deliveries",
    "schema_meta", "agent.feature_runs", "agent.phase_results", "agent.agent_invocations",
    "agent.sandboxes",
]  # fmt: skip


@pytest.fixture(scope="module")
def greenline(demo_home):
    """The command line in the home of the demo."""
    return demo_home


@pytest.fixture(scope="module")
def repository(greenline, demo):
    (found,) = [
        Repo(path)
        for path in (greenline.home / "demo").glob("*/tally")
        if demo["branch"] in [str(branch) for branch in Repo(path).branches]
    ]
    return found


def attempts(demo):
    return [attempt for step in demo["steps"] for attempt in step["attempts"]]


def test_the_demo_completes_and_one_attempt_is_recovered(demo):
    assert demo["status"] == "completed"
    assert len(demo["steps"]) >= 6
    assert len({step["subtask"] for step in demo["steps"]}) >= 3
    assert {step["status"] for step in demo["steps"]} == {"completed"}
    (recovered,) = [step for step in demo["steps"] if len(step["attempts"]) == 2]
    assert [a["status"] for a in recovered["attempts"]] == ["failure", "success"]
    assert recovered["attempts"][0]["failure_class"] == "not_green"


def test_attempts_are_numbered_in_their_order_without_a_gap(demo):
    numbers = [attempt["number"] for attempt in attempts(demo)]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_the_branch_has_one_commit_for_each_successful_attempt(demo, repository):
    commits = repository.iter_commits(f"main..{demo['branch']}", reverse=True)
    kept = [a["commit_sha_after"] for a in attempts(demo) if a["status"] == "success"]
    assert [commit.hexsha for commit in commits] == kept
    assert demo["commit"] == kept[-1]
    assert not repository.is_dirty(untracked_files=True)


@pytest.mark.parametrize("table", WRITTEN)
def test_the_demo_writes_every_table_of_the_main_job(demo, greenline, table):
    ((rows,),) = greenline.sql(f"SELECT count(*) FROM {table}")
    assert rows > 0


def test_the_database_itself_refuses_an_illegal_move(demo, greenline):
    import psycopg

    url = greenline("ledger", "url").stdout.strip()
    run = f"SELECT run_id FROM runs WHERE run_id = '{demo['run_id']}'"
    with psycopg.connect(url) as connection:
        connection.execute(
            f"INSERT INTO workstreams (ws_id, run_id, status) SELECT 'w', ({run}), 'pending'"
        )
        with pytest.raises(psycopg.errors.CheckViolation, match="pending"):
            connection.execute("UPDATE workstreams SET status = 'done' WHERE ws_id = 'w'")


def test_phases_and_stages_went_in_their_order(demo, greenline):
    phases = greenline.sql(
        "SELECT phase::text, status::text FROM agent.phase_results "
        f"WHERE run_id = '{demo['run_id']}' ORDER BY started_at"
    )
    assert phases == [
        (phase, "passed") for phase in ("analysis", "approaches", "judging", "implementation", "pr")
    ]
    stages = greenline.sql(
        "SELECT work_stage::text FROM work_stages "
        f"WHERE ws_id = '{demo['run_id']}/rounding' ORDER BY id"
    )
    assert [stage for (stage,) in stages] == [
        "unit_testing", "unit_implementation", "integration_testing", "review", "completed",
    ]  # fmt: skip


def test_everything_of_the_plan_ends_completed(demo, greenline):
    """Of this run, whatever else the ledger holds."""
    run_id = demo["run_id"]
    of_run = (
        "FROM runs r JOIN features f ON f.id = r.feature_id JOIN tasks t ON t.feature_id = f.id "
        "JOIN subtasks st ON st.task_id = t.id JOIN steps s ON s.subtask_id = st.id "
        f"WHERE r.run_id = '{run_id}'"
    )
    for table in ("f", "t", "st", "s"):
        found = greenline.sql(f"SELECT DISTINCT {table}.status::text {of_run}")
        assert found == [("completed",)]
    sandboxes = greenline.sql(
        f"SELECT DISTINCT status::text FROM agent.sandboxes WHERE run_id = '{run_id}'"
    )
    assert sandboxes == [("stopped",)]
    assert not (greenline.home / "sandboxes" / run_id).exists()


def test_the_commands_that_read_agree_with_the_run(demo, greenline):
    steps = greenline.json("steps", demo["run_id"])
    assert [{k: v for k, v in step.items() if k != "run_id"} for step in steps] == demo["steps"]
    figures = {"metrics": demo["metrics"], "report": demo["report"]}
    assert greenline.json("runs", "show", demo["run_id"]) | figures == demo
    assert demo["run_id"] in {run["run_id"] for run in greenline.json("runs")}
    inspected = greenline.json("ledger", "inspect")
    assert inspected["runs"]["completed"] >= 1


def test_a_failed_attempt_can_be_looked_at(demo, greenline):
    (failed,) = [a for a in attempts(demo) if a["status"] == "failure"]
    project = greenline.sql(
        "SELECT p.name FROM projects p JOIN features f ON f.project_id = p.id JOIN runs r "
        f"ON r.feature_id = f.id WHERE r.run_id = '{demo['run_id']}'"
    )[0][0]
    info = greenline.json("step", "info", failed["number"], "--project", project)
    assert info["failure_class"] == "not_green"
    assert "assert" in info["result_json"]["reason"]
    shown = greenline("step", "diff", failed["number"], "--project", project).stdout
    assert shown.startswith("diff --git")


def test_the_second_try_was_told_why_the_first_failed(demo, greenline):
    (step,) = [step for step in demo["steps"] if len(step["attempts"]) == 2]
    ((messages,),) = greenline.sql(
        "SELECT i.input_messages FROM agent.agent_invocations i "
        "JOIN step_attempts a ON a.id = i.attempt_id "
        f"WHERE a.step_id = {step['step_id']} AND a.attempt_no = 2"
    )
    assert "The attempt before failed: not_green" in messages[0]["content"]


def test_the_prefect_run_reads_like_the_work(demo, greenline):
    import urllib.request

    api = greenline.json("up", "--no-worker")["prefect_api_url"]

    def post(path, body):
        request = urllib.request.Request(
            f"{api}/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    flow_run = demo["prefect_flow_run_id"]
    runs = post("flow_runs/filter", {"flow_runs": {"id": {"any_": [flow_run]}}})
    assert [run["state"]["type"] for run in runs] == ["COMPLETED"]
    tasks = post("task_runs/filter", {"flow_runs": {"id": {"any_": [flow_run]}}})
    names = {task["name"] for task in tasks}
    assert {"analysis", "approaches", "judging", "pr"} <= names
    retried = [task for task in tasks if task["run_count"] == 2]
    assert len(retried) == 1
    assert "rates" in retried[0]["name"]


def test_the_deployments_of_prefect_yaml_can_be_deployed(greenline):
    """As they stand there, all of them at once, with Prefect's own command."""
    import os
    import sys
    from pathlib import Path

    root = Path(__file__).parents[2]
    api = greenline.json("up", "--no-worker")["prefect_api_url"]
    env = greenline.env | {
        "PREFECT_API_URL": api,
        "PREFECT_HOME": str(greenline.home / "prefect-client"),
        "PATH": os.environ["PATH"],
    }
    done = subprocess.run(
        [str(Path(sys.executable).with_name("prefect")), "--no-prompt", "deploy", "--all"],
        cwd=root, env=env, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("feature/feature", "reconcile/reconcile"):
        assert name in done.stdout


def test_doctor_finds_everything_a_run_needs(greenline, tmp_path):
    findings = greenline.json("doctor", cwd=tmp_path)
    assert {finding["check"] for finding in findings} >= {"python", "git", "ledger", "prefect"}
    assert all(finding["ok"] for finding in findings)
