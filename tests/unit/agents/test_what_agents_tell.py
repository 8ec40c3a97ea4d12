"""What the programs of agents say of their work, as they said it to a scripted model."""

from __future__ import annotations

import json

import pytest

from tasks.agents import acp, aider, claude, codex
from tasks.agents.base import Usage
from tasks.agents.program import _judged
from tasks.process import ProcessResult


def ended(exit_code=0, *, stderr="", timed_out=False):
    return ProcessResult(exit_code, timed_out, 10, "", stderr, truncated=False, leftovers=0)


def class_of(heard, exit_code=0):
    return _judged(ended(exit_code), heard, 60)[1]


def lines(*events):
    return "".join(f"{json.dumps(event)}\n" for event in events)


def claude_ended(result, **more):
    event = {"type": "result", "subtype": "success", "is_error": True, "result": result}
    return lines({"type": "system", "subtype": "init"}, event | more)


CLAUDE = {
    "401": (claude_ended("Invalid API key · Fix external API key", api_error_status=401), "auth"),
    "404": (claude_ended("There's an issue with the selected model (m). It may not exist", api_error_status=404), "agent_error"),
    "429": (claude_ended("API Error: Request rejected (429) · This request would exceed your rate limit", api_error_status=429), "rate_limited"),
    "quota": (claude_ended("Credit balance is too low", api_error_status=400), "quota_exhausted"),
    "500": (claude_ended("API Error: 500 Internal server error", api_error_status=500), "infra"),
    "reset": (claude_ended("API Error: Connection to the API was lost (ECONNRESET)"), "infra"),
    "length": (claude_ended("API Error: Claude's response exceeded the 32000 output token maximum."), "agent_error"),
    "overflow": (claude_ended("Prompt is too long · Remove something", terminal_reason="prompt_too_long"), "context_overflow"),
}  # fmt: skip


def codex_failed(message):
    error = {"type": "error", "message": message}
    return lines(
        {"type": "turn.started"}, error, {"type": "turn.failed", "error": {"message": message}}
    )


CODEX = {
    "401": ("unexpected status 401 Unauthorized: Incorrect API key provided., url: http://x/v1", "auth"),
    "404": ("The model does not exist or you do not have access to it.", "agent_error"),
    "429": ("exceeded retry limit, last status: 429 Too Many Requests", "rate_limited"),
    "402": ("unexpected status 402 Payment Required: no more, url: http://x/v1", "quota_exhausted"),
    "dropped": ("stream disconnected before completion: Transport error: network error", "infra"),
    "length": ("Incomplete response returned, reason: max_output_tokens", "agent_error"),
    "overflow": ("Codex ran out of room in the model's context window. Start a new thread.", "context_overflow"),
}  # fmt: skip

AIDER = {
    "401": ("litellm.AuthenticationError: AuthenticationError: OpenAIException - Incorrect \nAPI key provided.\nThe API provider is not able to authenticate you.\n", "auth"),
    "404": ("litellm.NotFoundError: OpenAIException - The model does not exist\n", "agent_error"),
    "429": ("litellm.RateLimitError: RateLimitError: OpenAIException - Slow down\nRetrying in 0.2 seconds...\n", "rate_limited"),
    "quota": ("litellm.RateLimitError: RateLimitError: OpenAIException - You exceeded \nyour current quota.\n", "quota_exhausted"),
    "500": ("litellm.InternalServerError: OpenAIException - The server had an error\n", "infra"),
    "length": ("Model openai/m has hit a token limit!\nInput tokens: ~755 of 0 -- possibly exhausted context window!\n", "agent_error"),
    "prose": ("The test expects litellm.AuthenticationError: it is raised.\n\nApplied edit to a.py\n", None),
    "empty": ("Empty response received from LLM. Check your provider account?\n", None),
    "malformed": ("Only 3 reflections allowed, stopping.\n", None),
}  # fmt: skip


def acp_failed(error):
    return lines({"event": "agent", "what": {}}, {"event": "error", "what": json.dumps(error)})


ACP = {
    "401": ({"code": -32603, "message": "Internal error: Incorrect API key provided."}, "auth"),
    "overflow": ({"code": -32603, "message": "Internal error: too much", "data": {"errorName": "This model's maximum context length"}}, "context_overflow"),
    "refused": ({"code": -32603, "message": "Internal error: Cannot connect to API: connection refused"}, "infra"),
    "login": ({"code": -32000, "message": "Authentication required: not logged in"}, "auth"),
}  # fmt: skip


@pytest.mark.parametrize(("said", "expected"), CLAUDE.values(), ids=CLAUDE)
def test_claude_says_why(said, expected):
    """Its event is called a success whatever happens: `is_error` counts."""
    assert class_of(claude.heard(said), 1) == expected


@pytest.mark.parametrize(("said", "expected"), CODEX.values(), ids=CODEX)
def test_codex_says_why(said, expected):
    assert class_of(codex.heard(codex_failed(said)), 1) == expected


@pytest.mark.parametrize(("said", "expected"), AIDER.values(), ids=AIDER)
def test_aider_says_why(said, expected):
    """Its exit code is 0 whatever happens; what its model says is not taken for its own words."""
    assert class_of(aider.heard(said, "")) == expected


@pytest.mark.parametrize(("said", "expected"), ACP.values(), ids=ACP)
def test_an_agent_of_the_protocol_says_why(said, expected):
    assert class_of(acp.heard(acp_failed(said)), 1) == expected


@pytest.mark.parametrize(
    "heard", [claude.heard, codex.heard, acp.heard], ids=["claude", "codex", "acp"]
)
def test_output_that_is_cut_off_is_no_success(heard):
    """An agent that was killed ends without its last event; what is left may end in a line's middle."""
    assert class_of(heard('{"type": "system"}\n{"type": "resu'), 137) == "agent_error"


@pytest.mark.parametrize("strange", ["[]", '{"type": 1}', '{"message": []}', '{"type": "result", "usage": 7, "is_error": 0}', '{"type": "turn.completed", "usage": []}', '{"event": "update", "what": [1]}', '{"event": "end", "what": null}', '{"type": "assistant", "message": {"content": "text"}}', "{" * 5000])  # fmt: skip
def test_output_that_nobody_foresaw_breaks_nothing(strange):
    for heard in (claude.heard, codex.heard, acp.heard):
        heard(strange + "\n")
    aider.heard(strange, strange)


def test_prose_in_a_good_answer_is_no_failure():
    """An agent that writes about rate limits and logins was not refused."""
    text = "I handled the rate limit error, 401 Unauthorized and 'not logged in'."
    result = {"type": "result", "is_error": False, "result": text}
    assert class_of(claude.heard(lines(result))) is None
    message = {"type": "item.completed", "item": {"type": "agent_message", "text": text}}
    assert class_of(codex.heard(lines(message, {"type": "turn.completed"}))) is None


def test_a_disturbance_that_codex_got_over_is_no_failure():
    """Its `error` events are told along the way; the turn's end decides."""
    said = lines(
        {"type": "error", "message": "Reconnecting... 1/5"},
        {
            "type": "item.completed",
            "item": {"type": "error", "message": "Model metadata not found"},
        },
        {"type": "turn.completed", "usage": {"input_tokens": 5, "output_tokens": 1}},
    )
    assert class_of(codex.heard(said)) is None


def test_usage_is_what_each_says_at_its_end():
    """All input, cached among it; claude's events along the way repeat guesses, which do not count."""
    said = lines(
        {"type": "assistant", "message": {"id": "1", "usage": {"output_tokens": 1}, "content": []}},
        {
            "type": "result", "is_error": False, "total_cost_usd": 0.00927,
            "modelUsage": {"claude-x": {}},
            "usage": {"input_tokens": 1500, "cache_read_input_tokens": 900, "cache_creation_input_tokens": 600, "output_tokens": 150},
        },
    )  # fmt: skip
    assert claude.heard(said).usage == Usage("claude-x", 3000, 150, 900, 0.00927)
    used = {"input_tokens": 2000, "cached_input_tokens": 600, "output_tokens": 100}
    said = lines({"type": "turn.completed", "usage": used})
    assert codex.heard(said, model="m").usage == Usage("m", 2000, 100, 600)
    sent = {
        "event": "message_send",
        "properties": {"prompt_tokens": 1000, "completion_tokens": 50, "cost": 0.0011},
    }
    assert aider.heard("", lines(sent, sent)).usage == Usage(None, 2000, 100, None, 0.0022)
    assert aider.heard("", "").usage == Usage()
    update = {"sessionUpdate": "usage_update", "cost": {"amount": 0.00249, "currency": "USD"}}
    said = lines(
        {"event": "update", "what": update}, {"event": "end", "what": {"stopReason": "end_turn"}}
    )
    assert acp.heard(said, model="m").usage == Usage("m", cost_usd=0.00249)


def test_uses_of_tools_come_with_their_results_and_denials_are_told():
    use = {"type": "tool_use", "id": "t1", "name": "Edit", "input": {"file_path": "tests/a.py"}}
    denied = {"type": "tool_result", "tool_use_id": "t1", "is_error": True, "content": "denied"}
    heard = claude.heard(
        lines(
            {"type": "assistant", "message": {"content": [use]}},
            {"type": "user", "message": {"content": [denied]}},
            {
                "type": "result",
                "is_error": False,
                "permission_denials": [
                    {"tool_name": "Edit", "tool_input": {"file_path": "tests/a.py"}}
                ],
            },
        )
    )
    (call,) = heard.tool_calls
    assert (call.tool_name, call.output_type, call.error) == ("Edit", "error-text", "denied")
    assert heard.notes == ("it was denied Edit tests/a.py",)
    command = {
        "id": "i",
        "type": "command_execution",
        "command": "ls",
        "aggregated_output": "a",
        "exit_code": 0,
        "status": "completed",
    }
    (call,) = codex.heard(lines({"type": "item.completed", "item": command})).tool_calls
    assert (call.tool_name, call.input["command"], call.output) == ("command_execution", "ls", "a")
    updates = [
        {"sessionUpdate": "tool_call", "toolCallId": "c", "title": "write", "kind": "edit"},
        {"sessionUpdate": "tool_call_update", "toolCallId": "c", "title": "src/a.py", "status": "failed", "rawInput": {"filePath": "a"}, "rawOutput": {"error": "no"}},
    ]  # fmt: skip
    (call,) = acp.heard(lines(*({"event": "update", "what": one} for one in updates))).tool_calls
    assert (call.tool_name, call.input, call.output_type) == (
        "write",
        {"filePath": "a"},
        "error-json",
    )


def test_a_time_limit_says_what_was_said_before_it():
    problem, failure_class = _judged(ended(None, timed_out=True), codex.heard(""), 5)
    assert failure_class == "agent_timeout"
    assert "5 s" in problem


def test_an_exit_code_alone_is_the_agents_failure_by_what_it_wrote():
    """A program that says nothing in its protocol may say it on standard error."""
    assert _judged(ended(1, stderr="Error: not logged in"), claude.Heard(), 5)[1] == "auth"
    assert _judged(ended(1, stderr="boom"), claude.Heard(), 5) == (
        "the agent exited with 1: boom",
        "agent_error",
    )
