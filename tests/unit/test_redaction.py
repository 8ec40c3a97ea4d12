"""Secrets are taken out of texts, and nothing else is."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.logs import keep_secrets_out_of_logs
from storage import redaction
from storage.redaction import HIDDEN, hide, redact, redact_json
from storage.text import clean_json, clean_text

KEYS = [
    "sk-ant-api03-AbCdEfGhIjKlMnOpQrSt_-uvWxYz",
    "sk-proj-AbCdEfGhIjKlMnOpQrStUvWx0123456789",
    "sk-or-v1-0123456789abcdef0123456789abcdef",
    "ghp_0123456789abcdefghijABCDEFGHIJ012345",
    "github_pat_11ABCDEFG0123456789_abcdefghijklmnop",
    "glpat-AbCdEfGhIjKlMnOpQrSt",
    "AKIAIOSFODNN7EXAMPLE",
    "AIzaSyA0123456789abcdefghijklmnopqrstuv",
    "xoxb-123456789012-abcdefABCDEF",
    "hf_abcdefghijklmnopqrstuvwxyzABCDEFGH",
    "npm_abcdefghijklmnopqrstuvwxyz0123456789",
    "sk_live_0123456789abcdefghijABCD",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    "around", ["{}", "key={}.", '{{"k": "{}"}}', "a {} b\nc", "({})", "x:{},y"]
)
def test_what_looks_like_a_providers_key_is_hidden(key, around):
    told = redact(around.format(key))
    assert key not in told and HIDDEN in told
    assert redact(told) == told


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("Authorization: Bearer abc.def-ghi_jkl", "abc.def-ghi_jkl"),
        ('{"authorization": "Basic dXNlcjpwYXNzd29yZA=="}', "dXNlcjpwYXNzd29yZA"),
        ("x-api-key: 0123456789abcdef", "0123456789abcdef"),
        ("export MY_SERVICE_TOKEN=hunter2hunter2", "hunter2hunter2"),
        ("DB_PASSWORD = 'correct-horse'", "correct-horse"),
        ('{"client_secret": "s3cr3t!"}', "s3cr3t!"),
        ("postgresql://user:pa55@host/db", "pa55"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIB\n-----END RSA PRIVATE KEY-----", "MIIEpAIB"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNz", "b3BlbnNz"),
    ],
)
def test_what_stands_where_secrets_stand_is_hidden(text, secret):
    told = redact(text)
    assert secret not in told
    assert redact(told) == told


@pytest.mark.parametrize(
    "text",
    [
        "commit 4f2a9d0c4f2a9d0c4f2a9d0c4f2a9d0c4f2a9d0c",
        "01a1fe75-ddd8-7a5f-8499-f8641cebd7c7",
        "assert token == parse(password=make())",
        "TOKEN_LIMIT = 5; KEY == 3; task-list, sk-learn, desk-top-publishing-of-things",
        "see https://example.org/a:b@c and user@example.org",
        "give one like postgresql://user:password@host:5432/database",
        "tests/test_key.py::test_the_secret_garden[password-1]",
        "def __init__(self, api_key: str) -> None:",
        "",
    ],
)
def test_ordinary_text_stays_as_it_is(text):
    assert redact(text) == text


def test_values_of_this_process_are_hidden_wherever_they_stand(monkeypatch):
    monkeypatch.setenv("COMPANY_API_KEY", "plain looking words")
    monkeypatch.setenv("PLAIN_VARIABLE", "not hidden at all")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/tmp/agent.sock")
    redaction._values.cache_clear()
    told = redact("he said plain looking words, not hidden at all, /tmp/agent.sock")
    assert told == f"he said {HIDDEN}, not hidden at all, /tmp/agent.sock"
    redaction._values.cache_clear()


def test_a_value_can_be_told_to_be_hidden():
    hide("the-very-own-word-99", None, "short")
    assert redact("a the-very-own-word-99 b short") == f"a {HIDDEN} b short"


@given(
    st.recursive(
        st.none() | st.text() | st.integers(),
        lambda kids: st.lists(kids) | st.dictionaries(st.text(), kids),
    )
)
def test_redacting_once_is_enough(value):
    once = redact_json(value)
    assert redact_json(once) == once


def test_all_that_is_stored_comes_through_it():
    """Texts and JSON, keys and values: `storage.text` is the one way into the ledger."""
    key = KEYS[0]
    assert key not in clean_text(f"a {key}")
    assert key not in str(clean_json({"a": [key, {key: key}], "b": (1, key)}))


def test_logs_are_redacted_whoever_handles_them(caplog):
    keep_secrets_out_of_logs()
    with caplog.at_level(logging.INFO):
        logging.getLogger("tasks.any").info("key %s and %d", KEYS[0], 7)
        try:
            int(KEYS[1])
        except ValueError:
            logging.getLogger("flows.any").exception("it failed")
    said = caplog.text + "".join(record.exc_text or "" for record in caplog.records)
    assert KEYS[0] not in said and KEYS[1] not in said
    assert f"key {HIDDEN} and 7" in said
