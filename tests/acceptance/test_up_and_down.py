"""`greenline up` in operation: worker, deployments, schedules; kill -9 of everything; `down`."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from datetime import UTC, datetime
from urllib.parse import urlsplit

import psutil
import pytest

from flows.operation.prefect_api import PrefectApi
from flows.operation.worker import workers
from tests.acceptance.killing import Gate, assert_whole, wait_for
from tests.acceptance.scripted import SUB, TEST_SUB, Project, step, sub, subtask
from tests.acceptance.support import Greenline

pytestmark = [pytest.mark.prefect, pytest.mark.timeout(600)]
LONG = 180  # seconds: a flow run takes some to start, and more on a busy machine


class Server:
    """The Prefect server of a home that is up."""

    def __init__(self, up):
        self.url = up["prefect_api_url"]
        self.api = PrefectApi(self.url, local=True)

    def deployment(self, name):
        return self.api.get(f"/deployments/name/{name}/{name}")

    def trigger(self, name):
        (found,) = self.api.get(
            f"/automations/related-to/prefect.deployment.{self.deployment(name)['id']}"
        )
        return found

    def start(self, name, **parameters):
        """Have a deployment run; the flow run's id."""
        return self.api.post(
            f"/deployments/{self.deployment(name)['id']}/create_flow_run",
            {"parameters": parameters, "state": {"type": "SCHEDULED"}},
        )["id"]

    def state(self, flow_run):
        return self.api.get(f"/flow_runs/{flow_run}")["state"]["type"]


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A home that is up; whoever looks leaves it so."""
    command = Greenline(tmp_path_factory.mktemp("up") / "home of mine", cold=True)
    command.env |= {
        "GREENLINE_TIMEZONE": "UTC",
        "GREENLINE_FENCE": "off",  # the agents here wait at gates outside of their worktrees
    }
    command.json("up")
    yield command
    command("down")


def processes_of(home):
    """All that runs for a home: services, what they started, agents."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            told = [*process.cmdline(), process.cwd(), *process.environ().values()]
            if process.pid != os.getpid() and any(str(home) in word for word in told):
                found.append(process)
    return found


def begun(project, gate, server):
    """Have the worker run a plan whose agent waits at the gate; the flow run and the run."""
    flow_run = server.start(
        "feature",
        plan=str(project.plan(sub(before_code=gate.hold("code")))),
        repo=str(project.path),
        config=str(project.config),
    )
    gate.wait("code", LONG)
    ((run_id,),) = project.greenline.sql(
        "SELECT r.run_id FROM runs r JOIN features f ON f.id = r.feature_id "
        f"JOIN projects p ON p.id = f.project_id WHERE p.repo_path = '{project.path}'"
    )
    return flow_run, run_id


def ended(greenline, run_id):
    """The document of a run once it has ended."""

    def document():
        found = greenline.json("runs", "show", run_id)
        return found if found["status"] not in {"pending", "running"} else None

    return wait_for(document, LONG)


def test_up_puts_all_deployments_there_with_their_limits_and_next_runs(kept):
    """A second `up` finds everything there and starts nothing."""
    again = kept.json("up")
    assert again["worker"]["started"] is False
    server = Server(again)
    found = {each["name"]: each for each in again["deployments"]}
    assert set(found) >= {
        "feature/feature", "on-push/on-push", "reconcile/reconcile", "export/export",
        "weekly-report/weekly-report",
    }  # fmt: skip
    now = datetime.now(UTC)
    for name in ("reconcile", "export", "weekly-report"):
        deployment = server.deployment(name)
        assert deployment["global_concurrency_limit"]["limit"] == 1
        assert deployment["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
        assert datetime.fromisoformat(found[f"{name}/{name}"]["next_run"]) > now
    assert found["on-push/on-push"]["trigger"] == "git.push"
    (worker,) = workers(server.api)
    assert (worker["name"], worker["status"]) == (again["worker"]["name"], "ONLINE")
    shown = kept("up")
    assert shown.returncode == 0
    assert again["ui"] in shown.stdout and "0 6 * * 1 UTC" in shown.stdout


def test_what_a_person_paused_stays_paused_when_the_deployments_change(kept):
    """A new version of Greenline, or another time zone, puts them there anew."""
    server = Server(kept.json("up"))
    export = server.deployment("export")
    (schedule,) = export["schedules"]
    server.api.patch(f"/deployments/{export['id']}/schedules/{schedule['id']}", {"active": False})
    server.api.patch(f"/automations/{server.trigger('on-push')['id']}", {"enabled": False})

    again = kept.json("up", env={"GREENLINE_TIMEZONE": "Europe/Berlin"})

    found = {each["name"]: each for each in again["deployments"]}
    assert found["export/export"]["schedule"] == "0 2 * * * Europe/Berlin"
    paused = {name for name, each in found.items() if each["paused"]}
    assert paused == {"export/export", "on-push/on-push"}
    assert server.trigger("on-push")["enabled"] is False
    assert [each["active"] for each in server.deployment("export")["schedules"]] == [False]
    assert again["worker"]["started"] is False


def test_after_kill_9_of_everything_up_brings_it_back(kept, tmp_path):
    """What was under way is carried to its end, and what waits for a person can be answered.

    What the dead carried is not shown as running.
    """
    server = Server(kept.json("up"))
    asked = Project(kept, tmp_path / "asked", rest="[limits]\non_stuck='ask'\nattempts = 1\n")
    waiting = asked.run(
        subtask(
            "sub",
            step("test", "tests/test_sub.py", f"write({TEST_SUB!r})"),
            step("implementation", "calc.py", f"append({SUB!r}) if attempt > 1 else None"),
        ),
        ok=(3,),
    )
    gate = Gate(tmp_path / "gate")
    project = Project(kept, tmp_path / "killed")
    flow_run, run_id = begun(project, gate, server)

    gate.open("code")
    killed = processes_of(kept.home)
    for process in killed:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(killed, timeout=10)
    again = kept.json("up")

    assert again["prefect_api_url"] == server.url  # a bookmark still leads there
    server = Server(again)
    assert again["worker"]["started"] is True
    now = datetime.now(UTC)
    nexts = [each["next_run"] for each in again["deployments"] if each["schedule"]]
    assert all(datetime.fromisoformat(each) > now for each in nexts if each)
    assert server.state(flow_run) == "CRASHED"
    assert_whole(kept, project, ended(kept, run_id), files=())
    (question,) = kept.json("inbox")
    assert question["run_id"] == waiting["run_id"]
    kept.json("answer", question["id"], "retry")
    server.start("reconcile")  # rather than wait for its schedule
    assert ended(kept, waiting["run_id"])["status"] == "completed"


@pytest.mark.parametrize("service", ["worker", "postgres"])
def test_what_ends_by_itself_is_started_again(kept, service):
    """The keeper looks after what `up` keeps, and says so in its log."""
    kept.json("up")
    log = kept.home / "logs" / "keeper.log"
    since = log.stat().st_size
    os.kill(pid_of(kept, service), signal.SIGKILL)
    wait_for(lambda: f"{service} is started again" in log.read_text()[since:], LONG)
    wait_for(lambda: pid_of(kept, service), LONG)
    assert kept.json("up")["worker"]["started"] is False


def pid_of(greenline, service):
    """The process of a service that answers, None while there is none."""
    import json

    from storage.embedded import EmbeddedPostgres
    from storage.home import Home

    if service == "postgres":
        found = EmbeddedPostgres(Home(greenline.home)).postmaster()
        return found.pid if found else None
    record = json.loads((greenline.home / "services" / f"{service}.json").read_text())
    return record["pid"] if psutil.pid_exists(record["pid"]) else None


@pytest.mark.soak
def test_down_leaves_nothing_and_what_was_under_way_goes_on_after_up(kept, tmp_path):
    """Nothing runs or listens; the run's attempt is crashed, and `up` has it carried on."""
    up = kept.json("up")
    gate = Gate(tmp_path / "gate")
    project = Project(kept, tmp_path / "down")
    flow_run, run_id = begun(project, gate, Server(up))

    stopped = kept.json("down")["stopped"]

    assert stopped == ["worker", "prefect", "postgres", "keeper"]
    assert [process.cmdline() for process in processes_of(kept.home)] == []
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", urlsplit(up["ui"]).port)) != 0
    document = kept.json("runs", "show", run_id)
    statuses = [each["status"] for each in document["steps"][1]["attempts"]]
    assert (document["status"], statuses) == ("running", ["failure"])
    assert document["steps"][1]["attempts"][0]["failure_class"] == "crashed"
    gate.open("code")
    server = Server(kept.json("up"))
    assert server.state(flow_run) == "CRASHED"
    assert_whole(kept, project, ended(kept, run_id), files=())


@pytest.mark.soak
def test_a_run_that_a_person_cancels_in_the_ui_stays_where_it_is(kept, tmp_path):
    """It is not taken up by itself; `resume` goes on with it."""
    server = Server(kept.json("up"))
    gate = Gate(tmp_path / "gate")
    project = Project(kept, tmp_path / "cancelled")
    flow_run, run_id = begun(project, gate, server)
    server.api.post(f"/flow_runs/{flow_run}/set_state", {"state": {"type": "CANCELLING"}})
    wait_for(lambda: server.state(flow_run) == "CANCELLED", LONG)
    gate.open("code")
    reconcile = server.start("reconcile")
    wait_for(lambda: server.state(reconcile) in {"COMPLETED", "CANCELLED"}, LONG)
    assert kept.json("runs", "show", run_id)["status"] == "running"
    assert_whole(kept, project, kept.json("resume", run_id), files=())


def test_a_port_that_is_taken_and_half_an_up_are_told(tmp_path):
    """Nothing stays of an `up` that did not come about."""
    command = Greenline(tmp_path / "home", cold=True)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = command("up", "--port", port)
    assert (done.returncode, done.stdout) == (4, "")
    assert f"Port {port} of 127.0.0.1 is taken" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (command.home / "services" / "pinned").exists()
    assert "stopped" in command.json("down")
    assert processes_of(command.home) == []


def test_a_time_zone_that_is_none_is_told_before_anything_starts(tmp_path):
    """One message with what was given and what would work."""
    command = Greenline(tmp_path / "home", cold=True)
    done = command("up", env={"GREENLINE_TIMEZONE": "Berlin"})
    assert (done.returncode, done.stdout) == (2, "")
    assert "GREENLINE_TIMEZONE='Berlin'" in done.stderr and "Europe/Berlin" in done.stderr
    assert processes_of(command.home) == []
