"""The webhook receiver as a process: started once, answering, ended, and what keeps it from it."""

import http.client
import json
import socket

import pytest

from flows.webhooks import service as webhook_service
from flows.webhooks.receiver import LARGEST_BODY
from storage import detached
from storage.exceptions import ServiceError
from storage.home import Home
from storage.supervision import free_port
from tasks.pushes import spool
from tasks.pushes.signatures import github_signature

SECRET = "0123456789abcdef-secret"
BODY = json.dumps({
    "ref": "refs/heads/main", "before": "0" * 40, "after": "a" * 40,
    "repository": {"html_url": "https://github.com/acme/roman"},
}).encode()  # fmt: skip


@pytest.fixture
def home(tmp_path, monkeypatch):
    home = Home(tmp_path / "home").ensure()
    (home.path / "webhooks.toml").write_text(
        '[repositories."github.com/acme/roman"]\nurl = "https://github.com/acme/roman"\n'
    )
    monkeypatch.setenv("GREENLINE_HOME", str(home.path))
    monkeypatch.setenv("GREENLINE_WEBHOOK_SECRET", SECRET)
    monkeypatch.setenv("GREENLINE_WEBHOOK_PORT", str(free_port()))
    yield home
    detached.stop(home, webhook_service.NAME)


def post(port, secret, body=BODY):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {
        "Content-Type": "application/json",
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": "d1",
        "X-Hub-Signature-256": github_signature(secret.encode(), body).decode(),
    }
    connection.request("POST", "/github", body, headers)
    return connection.getresponse().status


def test_the_receiver_is_one_process_that_takes_pushes(home):
    """Started twice it is one; a forged request is refused and logged, a right one is kept."""
    assert webhook_service.configured()
    found = webhook_service.start(home)
    assert webhook_service.start(home) == found
    assert post(found.port, "another secret") == 401
    # Who sends all of it before reading hears the answer, too.
    assert post(found.port, SECRET, b" " * (LARGEST_BODY + 1_000_000)) == 413
    assert post(found.port, SECRET) == 202
    assert [push.name for file in spool.waiting(home) for push in spool.pushes_in(file)] == [
        "roman"
    ]
    assert detached.stop(home, webhook_service.NAME)
    log = (home.logs / webhook_service.LOG).read_text()
    assert "refused (401)" in log and "refused (413)" in log and "taken" in log
    written = [path.read_bytes() for path in home.path.rglob("*") if path.is_file()]
    assert not any(SECRET.encode() in content for content in written)


def test_a_port_that_is_taken(home, monkeypatch):
    """Where somebody else listens on the port, the message names it and how to have another."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setenv("GREENLINE_WEBHOOK_PORT", str(port))
        with pytest.raises(ServiceError, match=f"{port}.*GREENLINE_WEBHOOK_PORT"):
            webhook_service.start(home)
    assert detached.running(home, webhook_service.NAME) is None
