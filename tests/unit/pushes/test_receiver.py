"""The webhook receiver, asked as an ASGI server asks it: what is taken, and what is refused."""

import asyncio
import json
import logging
import re
from contextlib import suppress

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.webhooks.receiver import LARGEST_BODY, Receiver
from storage.exceptions import InputError
from storage.home import Home
from tasks.pushes import spool
from tasks.pushes.payloads import push_of
from tasks.pushes.push import Push
from tasks.pushes.seen import Seen
from tasks.pushes.signatures import Secrets, github_signature

SECRET = b"0123456789abcdef-secret"
A, B = "a" * 40, "b" * 40
PUSH = {
    "ref": "refs/heads/main",
    "before": A,
    "after": B,
    "repository": {"full_name": "Acme/Roman", "html_url": "https://github.com/Acme/Roman"},
    "pusher": {"name": "ann"},
}
GITLAB_PUSH = {
    "object_kind": "push",
    "ref": "refs/heads/main",
    "before": A,
    "after": B,
    "project": {"web_url": "https://gitlab.com/acme/roman"},
    "user_username": "ann",
}
LIST = """
[repositories."github.com/acme/roman"]
url = "https://github.com/acme/roman.git"
[repositories."gitlab.com/acme/roman"]
url = "https://gitlab.com/acme/roman.git"
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("receiver") / "home").ensure()
    (home.path / "webhooks.toml").write_text(LIST)
    return home


@pytest.fixture
def receiver(home):
    for file in (home.path / "pushes").glob("**/*"):
        if file.is_file():
            file.unlink()
    return Receiver.of(home, Secrets(SECRET, SECRET))


def send(receiver, path="/github", body=b"", headers=None, method="POST"):
    """Ask over ASGI; whatever the application raises comes out here."""

    async def asked():
        transport = httpx.ASGITransport(receiver.app(), raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.request(method, path, content=body, headers=headers)

    return asyncio.run(asked())


def headers(body, delivery="d1", event="push", **more):
    return {
        "Content-Type": "application/json",
        "X-GitHub-Event": event,
        "X-GitHub-Delivery": delivery,
        "X-Hub-Signature-256": github_signature(SECRET, body).decode(),
    } | more


def of_push(**changes):
    return json.dumps(PUSH | changes).encode()


def kept(receiver):
    return [push for file in spool.waiting(receiver.home) for push in spool.pushes_in(file)]


def test_a_push_of_github_is_kept(receiver):
    """A signed push of a listed repository is answered with 202 and kept for the flow."""
    body = of_push()
    assert send(receiver, body=body, headers=headers(body)).status_code == 202
    assert [push.payload() for push in kept(receiver)] == [
        {
            "repository": "github.com/acme/roman",
            "ref": "refs/heads/main",
            "before": A,
            "after": B,
            "pusher": "ann",
        }
    ]


def test_a_push_of_gitlab_is_kept(receiver):
    """GitLab's token and its names for the same things do as well."""
    answer = send(
        receiver,
        "/gitlab",
        json.dumps(GITLAB_PUSH).encode(),
        {
            "Content-Type": "application/json; charset=utf-8",
            "X-Gitlab-Event": "Push Hook",
            "X-Gitlab-Token": SECRET.decode(),
            "Idempotency-Key": "k1",
        },
    )
    assert answer.status_code == 202
    assert [push.repository for push in kept(receiver)] == ["gitlab.com/acme/roman"]


def test_a_replay_is_refused_over_restarts(receiver):
    """Neither the id nor the body of a delivery is taken twice, by another receiver neither."""
    first, other = of_push(), of_push(after="c" * 40)
    assert send(receiver, body=first, headers=headers(first, "d1")).status_code == 202
    again = Receiver.of(receiver.home, receiver.secrets)
    assert send(again, body=first, headers=headers(first, "d1")).status_code == 409
    assert send(again, body=first, headers=headers(first, "d2")).status_code == 409
    assert send(again, body=other, headers=headers(other, "d1")).status_code == 409
    assert send(again, body=other, headers=headers(other, "d3")).status_code == 202


def test_a_delivery_that_could_not_be_kept_can_come_again(receiver):
    """What was not kept is not known as taken: delivered again, it is taken."""
    body = of_push()
    folder = receiver.home.folder(receiver.home.path / "pushes")
    (folder / "waiting").rmdir()
    (folder / "waiting").write_text("a file where the folder is to be")
    assert send(receiver, body=body, headers=headers(body)).status_code == 503
    (folder / "waiting").unlink()
    assert send(receiver, body=body, headers=headers(body)).status_code == 202


REFUSED = {
    "no signature": (401, of_push(), {"X-Hub-Signature-256": None}),
    "another's signature": (401, of_push(), {"X-Hub-Signature-256": "sha256=" + "0" * 64}),
    "a signature that is no ASCII": (
        401,
        of_push(),
        {"X-Hub-Signature-256": "sha256=é".encode("latin-1")},
    ),
    "an old signature of GitHub's": (
        401,
        of_push(),
        {"X-Hub-Signature-256": None, "X-Hub-Signature": "sha1=x"},
    ),
    "a form": (415, of_push(), {"Content-Type": "application/x-www-form-urlencoded"}),
    "compressed": (415, of_push(), {"Content-Encoding": "gzip"}),
    "no JSON": (400, b"{", {}),
    "JSON that is too deep": (400, b"[" * 100_000, {}),
    "no object": (400, b"[1]", {}),
    "no commit": (400, of_push(after="HEAD"), {}),
    "no ref": (400, of_push(ref=["refs/heads/main"]), {}),
    "no delivery id": (400, of_push(), {"X-GitHub-Delivery": None}),
    "not on the list": (403, of_push(repository={"html_url": "https://github.com/acme/other"}), {}),
    "another host": (403, of_push(repository={"html_url": "https://evil.example/acme/roman"}), {}),
    "an address that is none": (400, of_push(repository={"html_url": "http://[::1"}), {}),
    "too long": (413, b" " * (LARGEST_BODY + 1), {}),
}


@pytest.mark.parametrize(("status", "body", "changed"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_refused(receiver, caplog, status, body, changed):
    """Each wrong request gets its answer, leaves nothing behind, and is logged without the secret."""
    caplog.set_level(logging.INFO, "tasks.pushes")
    given_ = {name: value for name, value in (headers(body) | changed).items() if value is not None}
    answer = send(receiver, body=body, headers=given_)
    assert answer.status_code == status, answer.text
    assert kept(receiver) == []
    (line,) = [record.getMessage() for record in caplog.records]
    assert f"refused ({status})" in line
    assert SECRET.decode() not in line + answer.text


@pytest.mark.parametrize(
    "name", ["X-Hub-Signature-256", "X-GitHub-Event", "X-GitHub-Delivery", "Content-Type"]
)
def test_a_header_that_is_there_twice(receiver, name):
    """Where two headers disagree nobody guesses which one a proxy in front has judged."""
    body = of_push()
    doubled = [*headers(body).items(), (name, "other")]
    assert send(receiver, body=body, headers=doubled).status_code == 400
    assert kept(receiver) == []


@pytest.mark.parametrize(("event", "status"), [("ping", 200), ("issues", 204), ("", 204)])
def test_other_events_begin_nothing(receiver, event, status):
    """A ping is answered, all that is no push is taken note of, and nothing is kept."""
    body = of_push()
    assert send(receiver, body=body, headers=headers(body, event=event)).status_code == status
    assert kept(receiver) == []


def test_a_body_without_a_length_is_bounded_while_it_is_read(receiver):
    """A body that goes on and on is refused once it is too long, not once it has ended."""
    sent = 0

    async def endless():
        nonlocal sent
        while True:
            sent += 1_000_000
            yield b" " * 1_000_000

    assert send(receiver, body=endless(), headers=headers(b"")).status_code == 413
    # httpx hands a body over in its own pieces, one ahead of what the application reads.
    assert sent <= 5 * LARGEST_BODY + 2_000_000


def test_a_body_that_does_not_come_in_time(receiver):
    """A sender that stops in the middle is let go after some seconds."""
    impatient = Receiver(receiver.home, receiver.secrets, receiver.seen, body_timeout_s=0.05)

    async def asked():
        answers = []

        async def receive():
            await asyncio.sleep(30)

        async def answer(message):
            answers.append(message)

        scope = {
            "type": "http", "method": "POST", "path": "/github", "query_string": b"",
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers(b"").items()],
            "client": ("192.0.2.1", 4711),
        }  # fmt: skip
        await impatient.app()(scope, receive, answer)
        return answers[0]["status"]

    assert asyncio.run(asyncio.wait_for(asked(), 20)) == 408


def test_other_paths_and_methods(receiver):
    """There is nothing else to be had."""
    assert send(receiver, "/", method="GET").status_code == 404
    assert send(receiver, "/github", method="GET").status_code == 405
    assert send(receiver, "/health", method="GET").json() == {"ok": True}


def test_no_line_is_forged_in_the_log(receiver, caplog):
    """Whatever a sender writes, it is one line of printable characters in the log."""
    caplog.set_level(logging.INFO, "tasks.pushes")
    body = of_push(ref="refs/heads/x\n2026-01-01 INFO github: taken \x1b[2J\u202e")
    send(receiver, body=body, headers=headers(body))
    send(receiver, body=body, headers=headers(body) | {"X-GitHub-Event": b"x\x85\xffy"})
    for record in caplog.records:
        assert re.fullmatch(r"[\x20-\x7e]{1,300}", record.getMessage())


TEXTS = st.text(max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS | st.sampled_from([A, B, "refs/heads/main"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(
    ["ref", "before", "after", "repository", "project", "pusher", "user_username"]
)
DOCUMENTS = st.dictionaries(KEYS, VALUES) | VALUES


@given(DOCUMENTS, st.sampled_from(["github", "gitlab"]))
def test_any_document_is_a_push_or_wrong(document, forge):
    """Whatever JSON comes, it is a push or one message, and nothing else is raised."""
    for base in (PUSH, GITLAB_PUSH):
        mixed = base | document if isinstance(document, dict) else document
        with suppress(InputError):
            assert isinstance(push_of(forge, json.dumps(mixed).encode()), Push)


NAMES = st.sampled_from([
    "content-type", "content-length", "content-encoding", "x-github-event", "x-gitlab-event",
    "x-github-delivery", "idempotency-key", "webhook-id", "webhook-timestamp", "webhook-signature",
    "x-gitlab-token", "x-hub-signature-256",
])  # fmt: skip
WORDS = st.binary(max_size=30) | st.sampled_from([
    b"application/json", b"push", b"Push Hook", b"sha256=", b"99999999999999999999", b"-1", b"ping",
])  # fmt: skip


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from(["/github", "/gitlab", "/health", "/x"]),
    st.lists(st.tuples(NAMES, WORDS), max_size=8),
    st.binary(max_size=60) | DOCUMENTS.map(lambda value: json.dumps(value).encode()),
    st.booleans(),
)
def test_nothing_gets_in_without_the_secret(receiver, path, given_, body, almost):
    """Random requests, nearly right ones among them, never fail the receiver and leave nothing."""
    raw = [(name.encode(), value) for name, value in given_]
    if almost:
        raw = [*((name.lower().encode(), value.encode()) for name, value in headers(body).items()
                 if name != "X-Hub-Signature-256"), *raw]  # fmt: skip

    async def asked():
        statuses = []

        async def receive():
            return {"type": "http.request", "body": body, "more_body": False}

        async def answer(message):
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        scope = {"type": "http", "method": "POST", "path": path, "query_string": b"",
                 "headers": raw, "client": None}  # fmt: skip
        await receiver.app()(scope, receive, answer)
        return statuses[0]

    assert 400 <= asyncio.run(asked()) < 500
    assert kept(receiver) == []


def test_the_known_deliveries_are_bounded(tmp_path):
    """The newest deliveries are known, however many came; a failed one is not among them."""
    seen = Seen(tmp_path / "seen.sqlite", most=10)
    for number in range(30):
        with seen.first(b"%d" % number) as first:
            assert first
    with pytest.raises(OSError, match="full"), seen.first(b"failed"):
        raise OSError("full")
    for mark, first_time in ((b"29", False), (b"21", False), (b"failed", True), (b"3", True)):
        with seen.first(mark) as first:
            assert first is first_time


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[repositories", "no TOML"),
        ('[repositories."roman"]\nurl = "https://x/y"', "host/owner/name"),
        ('[repositories."github.com/a/.."]\nurl = "https://x/y"', "host/owner/name"),
        ('[repositories."github.com/a/b"]\npush = true', "neither a url"),
        ('[repositories."github.com/a/b"]\nurl = "ext::sh -c touch"', "no address"),
        ('[repositories."github.com/a/b"]\nurl = "--upload-pack=touch"', "no address"),
        ('[repositories."github.com/a/b"]\npath = "relative"', "absolute"),
        ('[repositories."github.com/a/b"]\nurl = "https://x/y"\nbranch = "x"', "branch"),
    ],
)
def test_a_list_that_is_wrong_is_told_at_the_start(tmp_path, text, told):
    """The receiver does not start with a list it cannot read, and says what is wrong in it."""
    home = Home(tmp_path / "home").ensure()
    (home.path / "webhooks.toml").write_text(text)
    with pytest.raises(InputError, match=told) as raised:
        Receiver.of(home, Secrets(SECRET))
    assert "webhooks.toml" in str(raised.value)


def test_no_receiver_without_a_secret(home):
    """A receiver that would believe nobody, or everybody, does not start."""
    with pytest.raises(InputError, match="GREENLINE_WEBHOOK_SECRET"):
        Receiver.of(home, Secrets())
