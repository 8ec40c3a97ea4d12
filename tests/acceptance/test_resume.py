"""A run that was cut off goes on where it stood, from anywhere, and nothing is done twice."""

from __future__ import annotations

import http.client
import json
import os
import signal
from urllib.parse import urlsplit

import psutil
import pytest

from flows.operation.prefect_server import PrefectServer
from storage.home import Home
from tests.acceptance.killing import (
    Beside,
    Gate,
    Victim,
    assert_whole,
    latest_run,
    processes_in,
    run_words,
    wait_for,
)
from tests.acceptance.scripted import SUB, TEST_SUB, Project, attempts, step, sub, subtask

pytestmark = pytest.mark.prefect


@pytest.fixture(scope="module")
def ended(greenline, tmp_path_factory):
    """The documents of a completed run and of a failed one of the same project."""
    project = Project(greenline, tmp_path_factory.mktemp("ended"), rest="[limits]\nattempts = 1\n")
    wrong = subtask("wrong", step("test", "tests/test_wrong.py", "write('x = 1\\n')"))
    return project.run(sub()), project.run(wrong, ok=(1,))


@pytest.fixture
def gate(tmp_path):
    return Gate(tmp_path / "gate")


def everything(greenline):
    """How many rows each table has, and when the runs changed last."""
    tables = greenline.sql(
        "SELECT schemaname || '.' || tablename FROM pg_tables "
        "WHERE schemaname IN ('public', 'agent') ORDER BY 1"
    )
    counts = " UNION ALL ".join(
        f"SELECT '{name}', count(*)::text FROM {name}" for (name,) in tables
    )
    return greenline.sql(f"{counts} UNION ALL SELECT run_id, updated_at::text FROM runs ORDER BY 1")


def prefect(greenline, method, path, body=None):
    """What the Prefect server of a home answers."""
    found = urlsplit(PrefectServer(Home(greenline.home)).url())
    connection = http.client.HTTPConnection(found.hostname, found.port, timeout=20)
    connection.request(
        method, found.path + path, json.dumps(body) if body is not None else None,
        {"Content-Type": "application/json"},
    )  # fmt: skip
    answer = connection.getresponse()
    assert answer.status in (200, 201), answer.read()
    return json.loads(answer.read())


@pytest.mark.parametrize("named", ["zzz", "0", "", "'; --"])
def test_an_id_that_names_no_run_or_several_is_refused(greenline, ended, named):
    done = greenline("resume", named, "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    assert "greenline runs" in done.stderr


@pytest.mark.parametrize(("which", "code"), [(0, 0), (1, 1)])
def test_resuming_a_run_that_has_ended_prints_its_document_and_changes_nothing(
    greenline, ended, which, code
):
    document = ended[which]
    before = everything(greenline)
    done = greenline("resume", document["run_id"], "--json", cwd="/")
    assert done.returncode == code, done.stderr
    assert json.loads(done.stdout) == document
    assert everything(greenline) == before


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_was_stopped_goes_on_from_any_directory(greenline, tmp_path, gate, how):
    """However it was stopped: what is done stays done, what was under way is done anew."""
    project = Project(greenline, tmp_path)
    plan = sub(before_test=gate.tell("test"), before_code=gate.tell("code") + gate.hold("code"))
    with Beside(greenline, *run_words(project, plan)) as running:
        gate.wait("code")
        run_id = latest_run(project)
        refused = greenline("resume", run_id, "--json")
        assert (refused.returncode, refused.stdout) == (2, "")
        assert f"process {running.pid} on " in refused.stderr
        assert f"greenline abandon {run_id}" in refused.stderr
        os.kill(running.pid, how)
        stopped = running.ended()
    assert stopped.stdout == ""
    assert "Traceback" not in stopped.stderr
    document = greenline.json("runs", "show", run_id)
    assert document["status"] == "running"
    first = ("test", "success", None)
    if how == signal.SIGKILL:
        assert stopped.returncode == -how
        assert attempts(document) == [first, ("implementation", "in_progress", None)]
    else:
        assert stopped.returncode == 130
        assert f"greenline resume {run_id}" in stopped.stderr
        assert "interrupted" in stopped.stderr
        assert attempts(document) == [first, ("implementation", "failure", "crashed")]
        assert greenline.sql(f"SELECT lease_owner FROM runs WHERE run_id = '{run_id}'") == [(None,)]
        assert greenline.sql(f"SELECT 1 FROM file_locks WHERE run_id = '{run_id}'") == []
    wait_for(lambda: processes_in(greenline.home / "sandboxes" / run_id) == [])
    before = document["prefect_flow_run_id"]
    told = prefect(greenline, "GET", f"/flow_runs/{before}")["state_type"]
    assert told == ("RUNNING" if how == signal.SIGKILL else "CRASHED"), "known until now"
    gate.open("code")
    # Everything that is needed was stored with the run.
    (tmp_path / "plan.json").unlink()
    project.config.unlink()
    document = greenline.json("resume", run_id[:20], cwd="/")
    assert attempts(document) == [
        first, ("implementation", "failure", "crashed"), ("implementation", "success", None)
    ]  # fmt: skip
    assert gate.log == ["test 1", "code 1", "code 2"]
    assert_whole(greenline, project, document, files=())
    old = prefect(greenline, "GET", f"/flow_runs/{before}")
    assert old["state_type"] == "CRASHED"
    of_it = {"flow_runs": {"id": {"any_": [before]}}}
    tasks = prefect(greenline, "POST", "/task_runs/filter", of_it)
    assert {task["state_type"] for task in tasks} <= {"CRASHED", "COMPLETED", "FAILED"}
    assert document["prefect_flow_run_id"] != before
    new = prefect(greenline, "GET", f"/flow_runs/{document['prefect_flow_run_id']}")
    assert new["state_type"] == "COMPLETED"


def test_what_was_cut_off_uses_up_no_attempt_and_what_failed_does(greenline, tmp_path, gate):
    """Two of three attempts used, then killed twice: one is left, not three and not none."""
    project = Project(greenline, tmp_path)
    wrong = "append(f'\\n\\ndef sub(a, b):\\n    raise {[KeyError, ValueError, TypeError][attempt % 3].__name__}({attempt})\\n')"
    code = f"{gate.tell('code')}if attempt > 2:\n    " + gate.hold("third").replace("\n", "\n    ")
    plan = subtask(
        "sub",
        step("test", "tests/test_sub.py", f"write({TEST_SUB!r})"),
        step("implementation", "calc.py", f"{code}\n{wrong}"),
    )
    with Beside(greenline, *run_words(project, plan)) as running:
        gate.wait("third")
        Victim.kill_group(running.process)
        running.ended()
    run_id = latest_run(project)
    gate.close("third")
    with Beside(greenline, "resume", run_id, "--json") as running:
        gate.wait("third")
        os.kill(running.pid, signal.SIGTERM)
        assert running.ended().returncode == 130
    gate.open("third")
    document = greenline.json("resume", run_id, ok=(1,))
    assert document["status"] == "failed"
    assert [failure for *_, failure in attempts(document)] == [
        None, "not_green", "not_green", "crashed", "crashed", "not_green"
    ]  # fmt: skip
    assert [each["attempt_no"] for each in document["steps"][1]["attempts"]] == [1, 2, 3, 4, 5]
    ((reason,),) = greenline.sql(
        "SELECT payload_json->>'reason' FROM events "
        f"WHERE run_id = '{run_id}' AND event_type = 'step_stopped'"
    )
    assert reason == "all 3 attempts are used up"


def test_an_agent_that_outlived_everything_is_gone_after_the_resume(greenline, tmp_path, gate):
    """Kill -9 of Greenline and of the guard: what the agent left works on in the worktree."""
    # In a fence nothing would be left: it ends with the first process in it.
    project = Project(greenline, tmp_path, rest='[limits]\nfence = "off"\n')
    left = "left = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
    plan = sub(
        before_code=f"if attempt == 1:\n    {left}    {gate.hold('code').replace(chr(10), chr(10) + '    ')}"
    )
    with Beside(greenline, *run_words(project, plan)) as running:
        gate.wait("code")
        greenlines = psutil.Process(running.pid)
        family = greenlines.children(recursive=True)
        (sleeper,) = [each for each in family if each.name() == "sleep"]
        greenlines.suspend()
        for each in family:
            if each != sleeper:
                each.kill()
        greenlines.kill()
        running.ended()
    run_id = latest_run(project)
    assert processes_in(greenline.home / "sandboxes" / run_id) == [sleeper.pid]
    # Two at once: one carries the run, the other is told so.
    words = ("resume", run_id, "--json")
    with Beside(greenline, *words) as one, Beside(greenline, *words) as other:
        ended = sorted([one.ended(), other.ended()], key=lambda done: done.returncode)
    codes = [done.returncode for done in ended]
    assert codes in ([0, 0], [0, 2]), [done.stderr for done in ended]
    if codes == [0, 2]:
        assert "is being carried by process " in ended[1].stderr
    # Where nobody collects orphans, one that was killed stays a zombie.
    assert not sleeper.is_running() or sleeper.status() == psutil.STATUS_ZOMBIE
    document = json.loads(ended[0].stdout)
    assert attempts(document) == [
        ("test", "success", None), ("implementation", "failure", "crashed"),
        ("implementation", "success", None),
    ]  # fmt: skip
    assert_whole(greenline, project, document, files=())
    written = project.repo.commit(document["branch"]).tree["calc.py"].data_stream.read().decode()
    assert written.count(SUB) == 1
