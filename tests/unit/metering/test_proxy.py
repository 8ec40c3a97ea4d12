"""The metering proxy: agents get what their model says, Greenline gets what it used."""

import json
import threading
import time

import httpx
import pytest

from tasks.metering.endpoint import Endpoint
from tasks.metering.meter import Meter
from tasks.metering.prices import Price, Prices
from tasks.metering.proxy import proxy
from tests.model_server.replies import Delivery, Reply, Served, call, refuse, say
from tests.model_server.script import ran_out
from tests.model_server.server import ModelServer
from tests.model_server.told import told

KEY = "the-real-key-000111"
USED = Served(input_tokens=120, output_tokens=30, cache_read_tokens=50, reasoning_tokens=7)
WORKING = Reply(text="I will read it.", calls=(call("read", {"path": "ä b.py"}).calls), usage=USED)
PATHS = ("/chat/completions", "/responses", "/messages")
OWN = Prices(own={"scripted*": Price(input=10, output=100)}, own_version="mine")


def asking(path, *, stream=False, text="hello"):
    said = [{"role": "user", "content": text}]
    body = {"model": "scripted-1", "stream": stream}
    return body | ({"input": said} if path == "/responses" else {"messages": said})


@pytest.fixture
def serve(monkeypatch):
    """A model and a meter on it, with the proxy between: (server, meter, base URL)."""
    monkeypatch.setenv("MODEL_KEY", KEY)
    open_ones = []

    def started(script, **more):
        server = ModelServer(script, api_key=KEY)
        server.__enter__()
        meter = Meter(Endpoint(server.url + "/v1", "MODEL_KEY"), prices=OWN, **more)
        metered = proxy().metered(meter)
        open_ones.extend((metered, server))
        return server, meter, metered.__enter__()

    yield started
    for one in open_ones:
        one.__exit__(None, None, None)


def post(url, path, body, **more):
    return httpx.post(url + path, json=body, timeout=30, **more)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("path", PATHS)
def test_an_answer_comes_through_and_is_counted(serve, path, stream):
    """Whatever the dialect: text, tool calls and ending as without the proxy, usage as served."""
    server, meter, url = serve([WORKING, WORKING])
    direct = httpx.post(
        server.url + "/v1" + path,
        json=asking(path, stream=stream),
        headers={"authorization": f"Bearer {KEY}", "x-api-key": KEY},
    )
    answer = post(url, path, asking(path, stream=stream))
    assert answer.status_code == 200
    assert told(path, answer, streamed=stream) == told(path, direct, streamed=stream)
    (request,) = meter.requests
    assert request.refusal is None
    assert request.answered.text == "I will read it."
    (use,) = request.answered.tool_uses
    assert (use.name, use.input, use.is_invalid) == ("read", {"path": "ä b.py"}, False)
    assert request.answered.finish_reason == "tool-calls"
    usage = meter.usage
    assert (usage.input_tokens, usage.output_tokens) == (120, 30)
    assert usage.cache_read_tokens == 50
    if path != "/messages":  # Anthropic does not tell them apart
        assert usage.reasoning_tokens == 7
    assert meter.cost_usd == pytest.approx((120 * 10 + 30 * 100) / 1e6)


@pytest.mark.parametrize("pieces", [1, 3, 7])
@pytest.mark.parametrize("path", PATHS)
def test_a_stream_cut_anywhere_is_put_together(serve, path, pieces):
    """Events and characters come in pieces, as networks have it."""
    whole = say("größe 🐘 " * 5, usage=USED, delivery=Delivery(piece_bytes=pieces))
    _, meter, url = serve([whole])
    answer = post(url, path, asking(path, stream=True))
    assert told(path, answer, streamed=True)[0] == "größe 🐘 " * 5
    assert meter.requests[0].answered.text == "größe 🐘 " * 5
    assert meter.usage.total_tokens == 150


def test_who_did_not_ask_for_usage_is_not_told(serve):
    """Some clients stumble over the chunk without choices that the proxy asks for."""
    _, meter, url = serve([say("a", usage=USED), say("b", usage=USED)])
    plain = post(url, "/chat/completions", asking("/chat/completions", stream=True))
    asked = asking("/chat/completions", stream=True) | {"stream_options": {"include_usage": True}}
    wanted = post(url, "/chat/completions", asked)
    assert '"choices": []' not in plain.text and "[DONE]" in plain.text
    assert '"choices": []' in wanted.text
    assert meter.usage.total_tokens == 300


def test_the_real_key_stays_here(serve):
    """The agent's own key goes nowhere, and the real one to nobody but the model."""
    server, _, url = serve([say("hi")])
    sent = {"authorization": "Bearer agents-own", "x-api-key": "agents-own", "cookie": "c=1"}
    answer = post(url, "/messages", asking("/messages"), headers=sent)
    (exchange,) = server.exchanges
    assert exchange.asked.headers["x-api-key"] == KEY
    assert not {"cookie", "authorization"} & exchange.asked.headers.keys()
    assert KEY not in answer.text and KEY not in str(answer.headers)


def test_an_address_is_good_for_its_invocation_only(serve):
    server, _, url = serve(ran_out)
    token = url.rsplit("/", 2)[1]
    other = url.replace(token, token[:-1] + ("A" if token[-1] != "A" else "B"))
    assert post(other, "/messages", asking("/messages")).status_code == 404
    meter = Meter(Endpoint(server.url), prices=OWN)
    with proxy().metered(meter) as gone:
        pass
    assert post(gone, "/messages", asking("/messages")).status_code == 404
    assert server.exchanges == [] and meter.requests == []


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/files"), ("GET", "/files/f1/content"), ("POST", "/batches"), ("GET", "/messages"),
     ("POST", "/messages/batches"), ("GET", "/models/../files"),
     ("GET", "/models/%2e%2e/files"), ("GET", "/models/x%2f..%2f..%2ffiles"),
     ("GET", "/models/x%3fy"), ("GET", "/models/%23"), ("POST", "/../admin"), ("POST", "/fine_tuning/jobs")],
)  # fmt: skip
def test_only_what_asks_a_model_is_passed_on(serve, method, path):
    """Nothing else can be done with a key that is not the agent's."""
    server, _, url = serve(ran_out)
    assert httpx.request(method, url + path, json={}).status_code in {404, 405}
    assert server.exchanges == [] and server.others == []


def test_lists_of_models_and_counts_of_tokens_are_passed_on_and_cost_nothing(serve):
    server, meter, url = serve(ran_out)
    assert httpx.get(url + "/models").json()["data"]
    counted = post(url, "/messages/count_tokens", asking("/messages"))
    assert counted.json() == {"input_tokens": 100}
    assert len(server.others) == 2 and meter.requests == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_what_is_no_request_is_refused_and_not_counted(serve, body):
    server, meter, url = serve(ran_out)
    answer = httpx.post(url + "/messages", content=body)
    assert answer.status_code == 400
    assert "error" in answer.json()
    assert server.exchanges == [] and meter.requests == []


FAULTS = [
    ("auth", {}, "auth", 401),
    ("not_found", {}, "agent_error", 404),
    ("rate_limit", {"headers": {"retry-after": "1800"}}, "rate_limited", 402),
    ("quota", {}, "quota_exhausted", 402),
    ("overflow", {}, "context_overflow", 400),
    ("invalid", {}, "agent_error", 400),
    ("server", {}, "infra", 402),
    ("overloaded", {}, "infra", 402),
]


@pytest.mark.parametrize(
    ("path", "trouble", "more", "expected", "status"),
    [
        (path, *fault)
        for fault in FAULTS
        for path in (PATHS[:1] if fault[2] == "infra" else PATHS)  # those are sat out for a while
    ],
)
def test_why_there_was_no_answer(serve, path, trouble, more, expected, status):
    """The class is right, nothing was used, and what passes is answered so that nobody asks on."""
    if (path, trouble) == ("/messages", "quota"):
        status = 400  # as Anthropic has it; agents take it as final
    _, meter, url = serve([refuse(trouble, **more)] * 5)
    answer = post(url, path, asking(path))
    assert meter.ended_with.failure_class == expected
    assert answer.status_code == (402 if expected == "quota_exhausted" else status)
    assert "error" in answer.json()
    assert (meter.usage.input_tokens, meter.usage.output_tokens) == (0, 0)
    if trouble == "rate_limit":
        assert "retry-after: 1800" in meter.ended_with.message


def test_a_short_disturbance_is_sat_out(serve):
    """An agent keeps what it has done so far."""
    server, meter, url = serve([refuse("overloaded"), say("here I am", usage=USED)])
    answer = post(url, "/messages", asking("/messages"))
    assert answer.status_code == 200
    assert len(server.exchanges) == 2
    assert [one.refusal for one in meter.requests] == [None]


def test_after_a_longer_one_the_agent_is_told_to_end(serve):
    server, meter, url = serve([refuse("server")] * 20)
    for _ in range(3):
        answer = post(url, "/chat/completions", asking("/chat/completions"))
        assert answer.status_code == 402
        assert answer.headers["x-should-retry"] == "false"
    assert len(server.exchanges) == 3, "three tries at the first request, none at the others"
    assert meter.ended_with.failure_class == "infra"


def test_nobody_there():
    meter = Meter(Endpoint("http://127.0.0.1:9/v1"), prices=OWN)
    with proxy().metered(meter) as url:
        assert post(url, "/responses", asking("/responses")).status_code == 402
    assert meter.ended_with.failure_class == "infra"
    assert "did not answer" in meter.ended_with.message


@pytest.mark.parametrize("path", PATHS)
def test_an_answer_that_breaks_off_is_not_taken_for_whole(serve, path):
    """The agent sees it break off too, and what was used is not known."""
    _, meter, url = serve([say("x" * 500, usage=USED, delivery=Delivery(drop_after=4))])
    with pytest.raises(httpx.RemoteProtocolError):
        post(url, path, asking(path, stream=True))
    deadline = time.monotonic() + 10
    while not meter.requests and time.monotonic() < deadline:
        time.sleep(0.02)
    (request,) = meter.requests
    assert request.refusal.failure_class == "infra"
    assert request.answered.usage.output_tokens is None
    assert meter.usage.total_tokens is None


def test_an_agent_that_leaves_is_counted_too(serve):
    """Its own end is no fault of the model's."""
    _, meter, url = serve([say("x" * 500, usage=USED, delivery=Delivery(hang_after=4))])
    with httpx.stream("POST", url + "/messages", json=asking("/messages", stream=True)) as answer:
        next(answer.iter_bytes())
    deadline = time.monotonic() + 10
    while not meter.requests and time.monotonic() < deadline:
        time.sleep(0.02)
    (request,) = meter.requests
    assert request.refusal.failure_class == "agent_error"
    assert request.answered.usage.input_tokens == 120
    assert request.answered.usage.output_tokens is None


def test_the_end_of_an_invocation_ends_its_requests(monkeypatch):
    """A killed agent's request would otherwise go on, and be counted nowhere."""
    monkeypatch.setenv("MODEL_KEY", KEY)
    with ModelServer([say("x", delivery=Delivery(hang_after=0))], api_key=KEY) as server:
        meter = Meter(Endpoint(server.url + "/v1", "MODEL_KEY"), prices=OWN)
        with proxy().metered(meter) as url:
            body = asking("/messages")
            failed = []

            def ask():
                try:
                    post(url, "/messages", body)
                except httpx.HTTPError as error:
                    failed.append(error)

            thread = threading.Thread(target=ask)
            thread.start()
            while not server.exchanges:
                time.sleep(0.01)
        assert len(meter.requests) == 1
        thread.join(10)
        assert not thread.is_alive()


def test_a_budget_ends_an_invocation_within_one_request(serve):
    """What a request uses is known when it is over: the next one is refused, for good."""
    used = []
    server, meter, url = serve(
        lambda _asked: say("more", usage=USED),
        over_budget=lambda: "limits.run_tokens is 300" if sum(used) >= 300 else None,
        record=lambda request, _results: used.append(request.answered.usage.total_tokens),
    )
    statuses = [post(url, "/messages", asking("/messages")).status_code for _ in range(5)]
    assert statuses == [200, 200, 402, 402, 402]
    assert len(server.exchanges) == 2
    assert meter.ended_with.failure_class == "budget_exceeded"


def test_what_tools_said_is_told_once_and_in_order():
    """Agents send the whole conversation each time; only what is new in it is written down."""
    told_ = []
    meter = Meter(
        Endpoint("http://127.0.0.1:9"), prices=OWN,
        record=lambda request, results: told_.append((request.new_messages, results)),
    )  # fmt: skip
    from tasks.metering.dialects import anthropic_messages as dialect

    first = {"role": "user", "content": "do it"}
    used = {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "r"}]}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "done", "is_error": True}
    for messages in ([first], [first, used, {"role": "user", "content": [result]}]):
        begun = meter.begin("anthropic", dialect.read({"messages": messages}))
        meter.end(begun, dialect.answer(json.loads("{}")), None)()
    assert told_[0] == ((first,), ())
    assert [len(part) for part in told_[1]] == [2, 1]
    (said,) = told_[1][1]
    assert (said.id, said.output, said.is_error) == ("t1", "done", True)
