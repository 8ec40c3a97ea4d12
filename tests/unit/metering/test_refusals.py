"""What providers and agents say of errors, as failure classes."""

import datetime as dt
import json

import pytest

from tasks.metering.refusals import again_in, class_of, refused, unreachable

NOW = dt.datetime(2026, 11, 21, 4, 0, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("litellm.AuthenticationError: OpenAIException - Incorrect API key provided", "auth"),
        ("Invalid API key · Fix external API key", "auth"),
        ("unexpected status 401 Unauthorized: no", "auth"),
        ("This model's maximum context length is 8192 tokens", "context_overflow"),
        ("prompt is too long: 250000 tokens > 200000 maximum", "context_overflow"),
        ("Codex ran out of room in the model's context window.", "context_overflow"),
        ("Your credit balance is too low to access the API", "quota_exhausted"),
        ("You exceeded your current quota, please check your plan", "quota_exhausted"),
        ("litellm.RateLimitError: too many requests", "rate_limited"),
        ('{"type": "rate_limit_error"}', "rate_limited"),
        ("Overloaded", "infra"),
        ("Unable to connect to API (ECONNREFUSED)", "infra"),
        ("stream disconnected before completion", "infra"),
        ("Unable to connect to API (ConnectionRefused)", "infra"),
        ("Cannot connect to API: no route", "infra"),
        ("We're currently experiencing high demand", "infra"),
        ("I added rates and limits to the table; tests pass.", None),
        ("AssertionError: assert 401 == 200", None),
        ("", None),
    ],
)
def test_a_text_says_what_went_wrong(text, expected):
    assert class_of(text) == expected


def error(**fields):
    return json.dumps({"error": fields}).encode()


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (401, error(message="no"), "auth"),
        (403, error(message="not here"), "auth"),
        (402, b"", "quota_exhausted"),
        (404, error(message="no such model"), "agent_error"),
        (408, b"", "infra"),
        (413, error(type="request_too_large"), "context_overflow"),
        (429, error(code="insufficient_quota"), "quota_exhausted"),
        (429, error(message="slow down"), "rate_limited"),
        (400, error(code="context_length_exceeded"), "context_overflow"),
        (400, error(message="Your credit balance is too low"), "quota_exhausted"),
        (400, error(message="unknown parameter"), "agent_error"),
        (500, b"<html>", "infra"),
        (529, error(type="overloaded_error"), "infra"),
    ],
)
def test_a_status_and_its_document_say_what_went_wrong(status, body, expected):
    found = refused(status, {}, body)
    assert (found.failure_class, found.status) == (expected, status)
    assert str(status) in found.message


def test_when_a_limit_resets_is_kept_for_who_waits():
    found = refused(429, {"Retry-After": "20", "x-ratelimit-reset-tokens": "6m0s", "x": "y"}, b"{}")
    assert "Retry-After: 20" in found.message and "6m0s" in found.message
    assert "x: y" not in found.message


@pytest.mark.parametrize("body", [b"", b"\xff", b"[" * 100_000, b"[]", b"null", b'{"error": null}'])
def test_no_body_is_too_strange(body):
    assert refused(500, {}, body).failure_class == "infra"


def test_short_waits_are_sat_out_and_long_ones_are_not():
    assert again_in(unreachable("gone"), 1, NOW) == 0.5
    assert again_in(unreachable("gone"), 3, NOW) is None
    assert again_in(refused(429, {"retry-after": "2"}, b""), 1, NOW) == 2
    assert again_in(refused(429, {"retry-after": "60"}, b""), 1, NOW) is None
    assert again_in(refused(401, {}, b""), 1, NOW) is None
