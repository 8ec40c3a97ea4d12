"""Who sends a webhook."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.exceptions import InputError
from tasks.pushes.signatures import (
    Secrets,
    github_signature,
    gitlab_signature,
    is_from_github,
    is_from_gitlab,
    read_secrets,
)

SECRET = b"0123456789abcdef-secret"
SIGNING = b"whsec_" + base64.b64encode(b"k" * 32)
NOW = 1_800_000_000


def signed(body, *, secret=SIGNING, at=NOW, name=b"msg_1"):
    time = str(at).encode()
    return {
        b"webhook-id": name,
        b"webhook-timestamp": time,
        b"webhook-signature": gitlab_signature(secret, name, time, body),
    }


def test_the_example_of_githubs_documentation():
    """The signature is the one that GitHub's documentation gives for its example."""
    found = github_signature(b"It's a Secret to Everybody", b"Hello, World!")
    assert found == (b"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")


def test_the_example_of_standard_webhooks():
    """The signature is the one that the Standard Webhooks specification gives for its example."""
    found = gitlab_signature(
        b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        b"msg_p5jXN8AQM9LWM0D4loKWxJek",
        b"1614265330",
        b'{"test": 2432232314}',
    )
    assert found == b"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(st.binary(max_size=200), st.binary(min_size=1, max_size=200))
def test_only_the_signed_body_is_believed(body, other):
    """A signature holds for its body and its secret, and for no other body or secret."""
    headers = {b"x-hub-signature-256": github_signature(SECRET, body)}
    assert is_from_github(SECRET, headers, body)
    assert not is_from_github(SECRET, headers, body + other)
    assert not is_from_github(b"another" + SECRET, headers, body)
    assert is_from_gitlab(SIGNING, signed(body), body, at=NOW)
    assert not is_from_gitlab(SIGNING, signed(body), body + other, at=NOW)


@given(st.binary(max_size=100), st.binary(max_size=20))
def test_no_other_signature_is_believed(signature, body):
    """Whatever bytes a signature consists of, it is not believed and raises nothing."""
    names = (b"x-hub-signature-256", b"x-gitlab-token", b"webhook-signature")
    headers = dict.fromkeys(names, signature) | {b"webhook-timestamp": str(NOW).encode()}
    assert not is_from_github(SECRET, headers, body)
    assert not is_from_gitlab(SECRET, headers, body)
    assert not is_from_gitlab(SIGNING, headers, body, at=NOW)


@pytest.mark.parametrize("late", [-301, 301, 86_400])
def test_an_old_signature_is_not_believed(late):
    """A signed message from another time than now is refused, be its signature right."""
    assert is_from_gitlab(SIGNING, signed(b"{}"), b"{}", at=NOW + 299)
    assert not is_from_gitlab(SIGNING, signed(b"{}"), b"{}", at=NOW + late)


def test_what_is_signed_is_the_id_and_the_time_too():
    """Neither the id nor the time of a signed message can be another one."""
    for name, value in ((b"webhook-id", b"msg_2"), (b"webhook-timestamp", str(NOW + 1).encode())):
        assert not is_from_gitlab(SIGNING, signed(b"{}") | {name: value}, b"{}", at=NOW)


@pytest.mark.parametrize("time", [b"", b"1e9", b"-5", b"9" * 30, "١٢٣".encode()])
def test_a_time_that_is_none(time):
    """A timestamp that is no time is no signature, not an error."""
    assert not is_from_gitlab(SIGNING, signed(b"{}") | {b"webhook-timestamp": time}, b"{}", at=NOW)


def test_the_plain_token_does_not_do_where_there_is_a_signing_token():
    """Somebody who overheard the token itself is not believed where signatures are asked for."""
    assert is_from_gitlab(SECRET, {b"x-gitlab-token": SECRET}, b"{}")
    assert not is_from_gitlab(SIGNING, {b"x-gitlab-token": SIGNING}, b"{}", at=NOW)


def test_a_key_that_is_being_changed():
    """Of several signatures one that is right will do."""
    headers = signed(b"{}")
    headers[b"webhook-signature"] = b"v1,AAAA " + headers[b"webhook-signature"]
    assert is_from_gitlab(SIGNING, headers, b"{}", at=NOW)


def test_where_secrets_come_from(tmp_path):
    """A forge's own variable comes before the common one, a file is read without its last line end."""
    file = tmp_path / "secret"
    file.write_bytes(SECRET + b"\n")
    found = read_secrets(
        {"GREENLINE_WEBHOOK_SECRET_FILE": str(file), "GREENLINE_GITLAB_WEBHOOK_SECRET": "x" * 20}
    )
    assert (found.github, found.gitlab) == (SECRET, b"x" * 20)
    assert "secret" not in repr(found) and "xxx" not in repr(found) and found
    assert not read_secrets({})


@pytest.mark.parametrize(
    "environ",
    [
        {"GREENLINE_WEBHOOK_SECRET": "short"},
        {"GREENLINE_WEBHOOK_SECRET_FILE": "/nowhere/secret"},
        {"GREENLINE_WEBHOOK_SECRET": "whsec_no base64 at all!"},
    ],
)
def test_a_secret_that_is_none(environ):
    """A secret that can be guessed, or cannot be read, is refused by the variable's name."""
    with pytest.raises(InputError, match="GREENLINE_WEBHOOK_SECRET") as raised:
        read_secrets(environ)
    assert "short" not in str(raised.value).replace("shorter", "")


def test_without_a_secret_nobody_is_believed():
    """No secret means that nobody knows it, not that everybody does."""
    assert not Secrets()
    assert not is_from_github(None, {b"x-hub-signature-256": github_signature(b"", b"")}, b"")
    assert not is_from_gitlab(None, {b"x-gitlab-token": b""}, b"")
