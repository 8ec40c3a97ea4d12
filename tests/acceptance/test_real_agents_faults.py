"""What goes wrong with a model or an agent is recorded as what it is, and nobody waits for long."""

from __future__ import annotations

import time

import pytest

from tasks.process.strays import end_programs_in
from tests.acceptance.real_agents import (
    AFTER,
    BEFORE,
    FILE,
    KEY,
    KEY_VARIABLE,
    PATH,
    Bench,
    agents,
    needs,
)
from tests.model_server import edits
from tests.model_server.asked import Asked
from tests.model_server.replies import Call, Delivery, Reply, refuse, say

CHEAP = ("direct", "claude")
#: Longer than the proxy sits out a disturbance, with room for a program's start on a busy machine.
BOUND_S = 45

REFUSALS = {
    "401": (refuse("auth"), "auth"),
    "404": (refuse("not_found"), "agent_error"),
    "429": (refuse("rate_limit", headers={"retry-after": "120"}), "rate_limited"),
    "quota": (refuse("quota"), "quota_exhausted"),
    "500": (refuse("server"), "infra"),
    "overflow": (refuse("overflow"), "context_overflow"),
    "length": (say("Half of", finish="length"), "agent_error"),
}


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", PATH)
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    return Bench(tmp_path)


def writing(adapter, content=AFTER):
    """The script that has an agent write the one file."""
    if adapter == "direct":
        one = {"operation": "overwrite", "path": FILE, "content": content}
        return edits.answer({"plan": {"operations": [one]}})
    return edits.write(FILE, content, replacing=BEFORE)


def malformed(asked: Asked) -> Reply:
    """An edit that does not fit the file, in the way of each agent."""
    if asked.calls:
        return say("Done.")
    for tool, given in {
        "Edit": {"file_path": FILE, "old_string": "nowhere", "new_string": "x"},
        "edit": {"filePath": FILE, "oldString": "nowhere", "newString": "x"},
        "apply_patch": f"*** Begin Patch\n*** Update File: {FILE}\n@@\n-nowhere\n+x\n*** End Patch\n",
    }.items():
        if tool in asked.tools:
            return Reply(calls=(Call(tool, given),))
    return say(f"{FILE}\n```\n<<<<<<< SEARCH\nnowhere\n=======\nx\n>>>>>>> REPLACE\n```\n")


def cases():
    """All faults for the agents that are quick, the telling ones for those that are slow."""
    chosen = {
        "direct": set(REFUSALS),
        "claude": set(REFUSALS),
        "codex": {"401", "500", "length", "overflow"},
        "aider": {"401", "500"},
        "acp": {"401", "429", "500", "length"},
    }
    return [
        pytest.param(adapter, fault, marks=needs(adapter), id=f"{adapter}-{fault}")
        for adapter, faults in chosen.items()
        for fault in REFUSALS
        if fault in faults
    ]


@pytest.mark.parametrize(("adapter", "fault"), cases())
def test_a_refusal_is_recorded_as_what_it_is(bench, adapter, fault):
    """Nothing is edited, the class is the model's reason, and no agent waits by itself."""
    reply, expected = REFUSALS[fault]
    began = time.monotonic()
    tried = bench.run(adapter, lambda _: reply)
    assert tried.result.failure_class == expected, tried.result.error
    assert tried.edited == BEFORE
    assert time.monotonic() - began < BOUND_S
    if fault == "429":
        assert "retry-after: 120" in tried.result.error
    if fault != "length":
        assert len(tried.model.exchanges) <= 3  # the proxy's own tries


@pytest.mark.parametrize("adapter", agents("direct", "claude", "codex"))
def test_a_model_that_is_not_there_is_infra(bench, adapter):
    """Connection refused: the proxy says so, and no agent waits until somebody is there."""
    began = time.monotonic()
    tried = bench.run(adapter, [], refused=True)
    assert tried.result.failure_class == "infra", tried.result.error
    assert not tried.result.timed_out
    assert time.monotonic() - began < BOUND_S


@pytest.mark.parametrize("adapter", agents("direct", "claude"))
def test_a_slow_model_is_waited_for(bench, adapter):
    """Slow is not wrong."""
    script = writing(adapter)

    def slowly(asked):
        reply = script(asked)
        return Reply(text=reply.text, calls=reply.calls, delivery=Delivery(before_s=2))

    tried = bench.run(adapter, slowly)
    assert tried.result.failure_class is None, tried.result.error
    assert tried.edited == AFTER


@pytest.mark.parametrize("adapter", agents("direct", "claude", "codex", "acp"))
def test_a_model_that_hangs_is_ended_at_the_time_limit(bench, adapter):
    """The limit holds, with all processes gone."""
    limit = {"acp": 12}.get(adapter, 4)
    tried = bench.run(adapter, lambda _: say("", delivery=Delivery(hang_after=0)), timeout_s=limit)
    assert (tried.result.failure_class, tried.result.timed_out) == ("agent_timeout", True)
    assert tried.result.duration_ms < (limit + 5) * 1000
    assert end_programs_in(bench.root) == 0


@pytest.mark.parametrize("adapter", agents("claude", "codex", "aider"))
def test_an_agent_that_is_killed_failed_by_itself(bench, adapter):
    """Whoever kills an agent in its work: the attempt fails as the agent's."""

    def kill(_asked):
        assert end_programs_in(bench.private) > 0
        return say("too late")

    tried = bench.run(adapter, kill)
    assert tried.result.failure_class == "agent_error", tried.result.error
    assert tried.result.exit_code != 0


@pytest.mark.parametrize("adapter", agents("claude", "codex", "aider"))
def test_an_edit_that_does_not_fit_changes_nothing(bench, adapter):
    """Its model's mistake is no failure of the agent's: the gates say `no_change`."""
    tried = bench.run(adapter, malformed)
    assert tried.result.failure_class is None, tried.result.error
    assert tried.edited == BEFORE


@pytest.mark.parametrize("adapter", agents("claude", "codex", "aider"))
def test_an_empty_answer_changes_nothing(bench, adapter):
    """Likewise."""
    tried = bench.run(adapter, lambda _: say(""))
    assert tried.result.failure_class is None, tried.result.error
    assert tried.edited == BEFORE
