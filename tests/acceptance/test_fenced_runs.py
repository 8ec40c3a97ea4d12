"""A run in the fence: what is refused there is told with what allows it, and recorded as it was."""

from __future__ import annotations

import json
import socket

import pytest

from tasks.fence.available import Unavailable, bubblewrap
from tests.acceptance.scripted import SUB, Project, attempts, step, subtask

FOUND = bubblewrap()
NEEDS_IT = pytest.mark.skipif(
    isinstance(FOUND, Unavailable), reason=f"no fence here: {getattr(FOUND, 'why', '')}"
)

CALLS = """
import socket
from calc import sub


def test_sub():
    assert sub(3, 1) == 2


def test_service():
    assert sub(1, 1) == 0
    socket.create_connection(("127.0.0.1", {port}), timeout=20).close()
"""


@NEEDS_IT
@pytest.mark.prefect
def test_what_the_fence_refuses_is_told_with_what_allows_it(greenline, tmp_path):
    """A test that needs a service fails in the fence, and says so, until the settings allow it.

    An agent that writes outside of its sandbox changes nothing there; what its sandbox's programs
    could reach is in the ledger.
    """
    outside = greenline.home / "written"
    escapes = f"""
for place in ({str(outside)!r}, "../written", "/etc/written"):
    try:
        open(place, "w").write("x")
    except OSError:
        continue
    raise SystemExit(f"could write {{place}}")
"""
    with socket.create_server(("127.0.0.1", 0)) as server:
        test = CALLS.format(port=server.getsockname()[1])
        steps = subtask(
            "sub",
            step("test", "tests/test_sub.py", f"{escapes}write({test!r})"),
            step("implementation", "calc.py", f"append({SUB!r})"),
        )
        project = Project(greenline, tmp_path, rest='[limits]\nattempts = 1\nfence = "on"\n')
        refused = project.run(steps, ok=(1,))
        assert attempts(refused) == [
            ("test", "success", None),
            ("implementation", "failure", "not_green"),
        ]
        number = refused["steps"][1]["attempts"][0]["number"]
        shown = greenline("step", "info", number, cwd=project.path).stdout
        assert "test_network = true" in " ".join(shown.split())
        allowed = project.run(steps, env={"GREENLINE_PROJECT_TEST_NETWORK": "true"})
    assert not outside.exists()
    ids = json.dumps([refused["run_id"], allowed["run_id"]]).replace('"', "'")[1:-1]
    rows = greenline.sql(
        "SELECT runtime, network_policy FROM agent.sandboxes "
        f"WHERE run_id IN ({ids}) ORDER BY created_at"
    )
    assert [runtime for runtime, _ in rows] == ["bubblewrap"] * 2
    assert [policy["tests"] for _, policy in rows] == ["none", "host"]
    assert [policy["agents"] for _, policy in rows] == [{"scripted": "none"}] * 2


def test_a_demanded_fence_that_is_not_there_is_a_missing_service(greenline, tmp_path):
    """`fence = "on"` without bubblewrap ends with exit code 4 before anything is done."""
    project = Project(greenline, tmp_path, rest='[limits]\nfence = "on"\n')
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "git").symlink_to("/usr/bin/git")
    plan = project.plan(subtask("sub", step("test", "tests/test_sub.py", "write('')")))
    words = ("--repo", project.path, "--config", project.config)
    done = greenline("run", plan, *words, env={"PATH": str(tools)})
    assert (done.returncode, done.stdout) == (4, "")
    assert "bubblewrap is not installed" in done.stderr
    assert "apt-get install bubblewrap" in done.stderr
    assert 'fence = "auto"' in done.stderr
