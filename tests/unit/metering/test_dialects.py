"""The dialects: agents and providers may send anything, and what is understood of it is bounded."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.metering.dialects import DIALECTS
from tasks.metering.events import Events
from tasks.metering.requests import TokenUsage, total

WORDS = st.sampled_from(
    [
        "messages", "input", "content", "role", "type", "text", "tool_calls", "function", "name",
        "arguments", "id", "index", "delta", "choices", "message", "usage", "output", "response",
        "response.completed", "response.output_item.done", "item", "content_block_start",
        "content_block", "content_block_delta", "message_start", "message_delta", "tool_use",
        "tool_result", "system", "model", "stream", "input_tokens", "prompt_tokens", "error",
        "finish_reason", "stop_reason", "instructions", "call_id", "function_call", "thinking",
    ]
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**12) | st.floats() | st.text(max_size=8) | WORDS,
    lambda kids: st.lists(kids, max_size=4) | st.dictionaries(WORDS, kids, max_size=6),
    max_leaves=30,
)
OBJECTS = st.dictionaries(WORDS, JSON, max_size=8)
each_dialect = pytest.mark.parametrize(
    "dialect", DIALECTS, ids=lambda one: one.__name__.rsplit(".", 1)[1]
)


@each_dialect
@given(document=OBJECTS)
def test_any_request_and_any_answer_can_be_read(dialect, document):
    """Nothing that an agent or a server sends breaks the proxy."""
    asked, answered = dialect.read(document), dialect.answer(document)
    assert isinstance(asked.messages, tuple) and isinstance(answered.text, str)
    for count in vars(answered.usage).values():
        assert count is None or count >= 0


@each_dialect
@given(events=st.lists(OBJECTS, max_size=8))
def test_any_stream_can_be_put_together(dialect, events):
    stream = dialect.Stream()
    for event in events:
        stream.take(event)
    assert isinstance(stream.answered().text, str)
    assert stream.is_whole in {True, False}


@given(
    documents=st.lists(st.dictionaries(st.text(), st.text(), min_size=1), max_size=6),
    size=st.integers(1, 20),
    ending=st.sampled_from([b"\n\n", b"\r\n\r\n", b"\r\r"]),
)
def test_events_come_out_as_they_went_in_wherever_the_stream_is_cut(documents, size, ending):
    raw = b"".join(b"data: " + json.dumps(one).encode() + ending for one in documents)
    events, passed, found = Events(), b"", []
    for start in range(0, len(raw), size):
        for part, document in events.take(raw[start : start + size]):
            passed += part
            found.append(document)
    assert passed + events.rest == raw
    assert found == documents


@given(st.lists(st.builds(TokenUsage, *[st.none() | st.integers(0, 10**9)] * 5), max_size=6))
def test_a_sum_with_something_unknown_is_unknown(usages):
    added = total(usages)
    for name in vars(added):
        parts = [getattr(one, name) for one in usages]
        known = parts and None not in parts
        assert getattr(added, name) == (sum(parts) if known else None)
