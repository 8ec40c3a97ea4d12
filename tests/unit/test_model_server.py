"""The scripted model server: what tests of agents stand on has to be as models are."""

from __future__ import annotations

import json
import ssl

import httpx
import pytest

from tests.model_server.edits import answer, run_shell, works_in, write
from tests.model_server.replies import NOTHING, Call, Delivery, Reply, Served, call, refuse, say
from tests.model_server.script import ByConversation, InTurn, first
from tests.model_server.server import ModelServer
from tests.model_server.told import told, usage_documents

USER = [{"role": "user", "content": "Write src/roman.py"}]
ASKING = {
    "/chat/completions": {"model": "m", "messages": USER},
    "/responses": {"model": "m", "input": USER},
    "/messages": {"model": "m", "max_tokens": 9, "messages": USER},
}
EVERYWHERE = pytest.mark.parametrize("path", list(ASKING))
#: One for all clients: to make it takes longer than most tests.
TLS = ssl.create_default_context()
OLD, NEW = (
    "def to_roman(n):\n    raise NotImplementedError\n",
    "def to_roman(n):\n    return 'I' * n\n",
)


def ask(server, path, *, prefix="/token/v1", headers=None, timeout=30, **more):
    """One request, with what `more` adds to the smallest possible body."""
    return httpx.post(
        server.url + prefix + path,
        json=ASKING[path] | more,
        headers=headers,
        timeout=timeout,
        verify=TLS,
    )


@EVERYWHERE
@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("piece", [None, 7])
def test_a_client_gets_the_text_and_the_calls_of_the_script(path, streamed, piece):
    """However the answer is cut into pieces, through characters of several bytes too."""
    text, arguments = (
        "Ich schreibe römische Zahlen – MMXXVI. " * 3,
        {"path": "ä.py", "lines": [1, 2]},
    )
    reply = Reply(
        text, (Call("save", arguments), Call("run", {})), delivery=Delivery(piece_bytes=piece)
    )
    with ModelServer([reply]) as server:
        response = ask(server, path, stream=streamed)
    ending = {"/chat/completions": "tool_calls", "/responses": "completed", "/messages": "tool_use"}
    assert told(path, response, streamed=streamed) == (
        text,
        [("save", arguments), ("run", {})],
        ending[path],
    )


@EVERYWHERE
@pytest.mark.parametrize("streamed", [True, False])
def test_an_answer_cut_at_its_length_says_so_as_the_dialect_does(path, streamed):
    with ModelServer([say("Half an", finish="length")]) as server:
        response = ask(server, path, stream=streamed)
    ending = {"/chat/completions": "length", "/responses": "incomplete", "/messages": "max_tokens"}
    assert told(path, response, streamed=streamed) == ("Half an", [], ending[path])


@EVERYWHERE
@pytest.mark.parametrize("streamed", [True, False])
def test_the_last_usage_of_an_answer_is_all_of_it_in_the_words_of_the_dialect(path, streamed):
    """Anthropic's input leaves out what caches had to do with; OpenAI's does not."""
    served = Served(1000, 50, cache_read_tokens=300, cache_write_tokens=200, reasoning_tokens=10)
    more = {"stream_options": {"include_usage": True}} if path == "/chat/completions" else {}
    with ModelServer([say("Yes.", usage=served)]) as server:
        last = usage_documents(ask(server, path, stream=streamed, **more), streamed=streamed)[-1]
    if path == "/messages":
        assert last == {
            "input_tokens": 500,
            "cache_creation_input_tokens": 200,
            "cache_read_input_tokens": 300,
            "output_tokens": 50,
        }
    else:
        chat = path.startswith("/chat")
        prompt, said = ("prompt", "completion") if chat else ("input", "output")
        assert last == {
            f"{prompt}_tokens": 1000,
            f"{said}_tokens": 50,
            "total_tokens": 1050,
            f"{prompt}_tokens_details": {"cached_tokens": 300}
            | ({} if chat else {"cache_write_tokens": 200}),
            f"{said}_tokens_details": {"reasoning_tokens": 10},
        }


def test_a_chat_stream_has_usage_only_for_those_who_ask():
    """So it is with OpenAI: who meters streams has to ask for it."""
    with ModelServer([say("Yes.")]) as server:
        response = ask(server, "/chat/completions", stream=True)
        assert usage_documents(response, streamed=True) == []
        assert server.served == Served()


@EVERYWHERE
def test_what_was_asked_is_remembered_in_the_same_words_for_all_dialects(path):
    with ModelServer([say("Yes.")]) as server:
        ask(server, path, headers={"authorization": "Bearer sk-1"}, stream=True)
        asked = server.exchanges[0].asked
    assert (asked.prompts, asked.model, asked.is_streamed) == (("Write src/roman.py",), "m", True)
    assert (asked.api_key, asked.path) == ("sk-1", f"/token/v1{path}")
    assert asked.mentions("src/roman.py") and not asked.mentions("src/other.py")


def test_a_conversation_with_tools_reads_alike_in_all_dialects():
    """Scripts look at the calls so far and at what they gave, and need not know the dialect."""
    chat = [
        {"role": "system", "content": "Be brief."},
        *USER,
        {
            "role": "assistant",
            "tool_calls": [
                {
                    "id": "1",
                    "type": "function",
                    "function": {"name": "save", "arguments": '{"a": 1}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "1", "content": "saved"},
    ]
    items = [
        *USER,
        {"type": "function_call", "call_id": "1", "name": "save", "arguments": '{"a": 1}'},
        {"type": "function_call_output", "call_id": "1", "output": "saved"},
    ]
    blocks = [
        *USER,
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "1", "name": "save", "input": {"a": 1}}],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "1", "content": "saved"}],
        },
    ]
    schema = {"type": "object"}
    with ModelServer([say("Yes.")] * 3) as server:
        ask(
            server,
            "/chat/completions",
            messages=chat,
            tools=[{"type": "function", "function": {"name": "save", "parameters": schema}}],
        )
        ask(
            server,
            "/responses",
            input=items,
            instructions="Be brief.",
            tools=[{"type": "function", "name": "save", "parameters": schema}],
        )
        ask(
            server,
            "/messages",
            messages=blocks,
            system="Be brief.",
            tools=[{"name": "save", "input_schema": schema}],
        )
        seen = [exchange.asked for exchange in server.exchanges]
    for asked in seen:
        assert asked.calls == (Call("save", {"a": 1}),)
        assert asked.results == ("saved",)
        assert asked.tools == {"save": schema}
        assert asked.system.strip() == "Be brief."
        assert asked.prompts[0] == "Write src/roman.py"


@EVERYWHERE
def test_after_the_last_reply_of_a_script_comes_an_error_that_nobody_retries(path):
    with ModelServer([say("Yes.")]) as server:
        assert ask(server, path).status_code == 200
        assert ask(server, path).status_code == 400


@pytest.mark.parametrize(
    ("trouble", "openai", "anthropic"),
    [
        ("auth", (401, "invalid_api_key"), (401, "authentication_error")),
        ("not_found", (404, "model_not_found"), (404, "not_found_error")),
        ("rate_limit", (429, "rate_limit_exceeded"), (429, "rate_limit_error")),
        ("quota", (429, "insufficient_quota"), (400, "invalid_request_error")),
        ("overflow", (400, "context_length_exceeded"), (400, "invalid_request_error")),
        ("overloaded", (503, None), (529, "overloaded_error")),
        ("server", (500, None), (500, "api_error")),
    ],
)
def test_refusals_have_the_status_and_the_code_of_the_provider(trouble, openai, anthropic):
    with ModelServer([refuse(trouble, headers={"retry-after": "2"})] * 3) as server:
        for path in ("/chat/completions", "/responses"):
            response = ask(server, path)
            assert (response.status_code, response.json()["error"]["code"]) == openai
        response = ask(server, "/messages")
        assert (response.status_code, response.json()["error"]["type"]) == anthropic
        assert response.headers["retry-after"] == "2"
        assert server.served == NOTHING


def test_a_refusal_can_be_any_status_and_any_text():
    page = refuse(
        "invalid", status=402, body="<html>pay</html>", headers={"content-type": "text/html"}
    )
    with ModelServer([page]) as server:
        response = ask(server, "/messages")
    assert (response.status_code, response.text) == (402, "<html>pay</html>")


@EVERYWHERE
@pytest.mark.parametrize("streamed", [True, False])
def test_a_dropped_connection_is_no_end_of_the_answer(path, streamed):
    """A client must be able to tell it from an answer that is complete; its usage is not served."""
    with ModelServer([say("A longer text, cut off.", delivery=Delivery(drop_after=2))]) as server:
        with pytest.raises(httpx.RemoteProtocolError):
            ask(server, path, stream=streamed)
        assert server.served == NOTHING


@EVERYWHERE
@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("events", [0, 2])
def test_a_server_that_hangs_lets_go_of_neither_the_client_nor_the_test(path, streamed, events):
    """The client's own patience ends it; closing the server needs nobody's."""
    with ModelServer([say("A longer text.", delivery=Delivery(hang_after=events))]) as server:
        with pytest.raises(httpx.ReadTimeout):
            ask(server, path, stream=streamed, timeout=0.2)
        assert server.served == NOTHING


@EVERYWHERE
@pytest.mark.parametrize("streamed", [True, False])
def test_a_broken_answer_does_not_parse(path, streamed):
    with ModelServer([say("Yes.", delivery=Delivery(broken=True))]) as server:
        response = ask(server, path, stream=streamed)
        with pytest.raises(json.JSONDecodeError):
            json.loads(response.text.split("data: ")[1] if streamed else response.text)
        assert server.served == NOTHING


def test_delays_change_nothing_else():
    slow = say("Yes.", delivery=Delivery(before_s=0.01, between_s=0.001))
    with ModelServer([slow]) as server:
        response = ask(server, "/messages", stream=True)
    assert told("/messages", response, streamed=True) == ("Yes.", [], "end_turn")


def test_only_the_right_key_is_let_in():
    """So that a test sees whose key reaches the provider."""
    with ModelServer([say("Yes.")], api_key="sk-real") as server:
        assert ask(server, "/messages", headers={"x-api-key": "sk-other"}).status_code == 401
        assert ask(server, "/messages", headers={"x-api-key": "sk-real"}).status_code == 200
        assert [exchange.asked.api_key for exchange in server.exchanges] == ["sk-other", "sk-real"]


def test_what_agents_ask_beside_answers_uses_up_no_reply():
    with ModelServer([say("Yes.")], models=["gpt-x"], counted_tokens=7) as server:
        counted = httpx.post(f"{server.url}/v1/messages/count_tokens", json={}, verify=TLS)
        models = httpx.get(f"{server.url}/v1/models", verify=TLS)
        nothing = httpx.get(f"{server.url}/favicon.ico", verify=TLS)
        assert ask(server, "/messages").status_code == 200
    assert counted.json() == {"input_tokens": 7}
    assert [one["id"] for one in models.json()["data"]] == ["gpt-x"]
    assert nothing.status_code == 404
    assert server.others == ["POST /v1/messages/count_tokens", "GET /v1/models", "GET /favicon.ico"]


def test_conversations_at_the_same_time_have_scripts_of_their_own():
    """The longest text that a request mentions decides; who mentions none gets the rest's."""
    script = ByConversation(
        {"roman.py": [say("short")], "src/roman.py": [say("one"), say("two")]},
        otherwise=InTurn([say("else")]),
    )
    with ModelServer(script) as server:

        def says(prompt):
            messages = [{"role": "user", "content": prompt}]
            return ask(server, "/messages", messages=messages).json()["content"][0]["text"]

        said = [
            says("edit src/roman.py"),
            says("hello"),
            says("edit lib/roman.py"),
            says("src/roman.py"),
        ]
    assert said == ["one", "else", "short", "two"]


def test_a_first_failure_is_followed_by_the_real_script():
    with ModelServer(first([refuse("rate_limit")], say_again)) as server:
        assert [ask(server, "/messages").status_code for _ in range(3)] == [429, 200, 200]


def say_again(asked):
    return say(f"again, {asked.model}")


def asked_with(path, tools, **more):
    """What the server makes of a request that offers tools."""
    with ModelServer([say("Yes.")]) as server:
        ask(server, path, tools=tools, **more)
        return server.exchanges[0].asked


def function(name, **schema):
    return {"type": "function", "name": name, "parameters": schema}


def test_aider_gets_its_edit_in_the_format_that_its_prompt_explains():
    whole = asked_with("/chat/completions", [])
    blocks = asked_with(
        "/chat/completions",
        [],
        messages=[{"role": "system", "content": "Use a *SEARCH/REPLACE block*"}],
    )
    script = write("src/roman.py", NEW, replacing=OLD)
    assert script(whole).text == f"src/roman.py\n```\n{NEW}```\n"
    assert f"<<<<<<< SEARCH\n{OLD}=======\n{NEW}>>>>>>> REPLACE" in script(blocks).text


def test_claude_code_reads_a_file_before_it_writes_it_and_names_it_absolutely():
    tools = [{"name": name, "input_schema": {}} for name in ("Read", "Edit", "Write", "Bash")]
    system = "Here:\n - Primary working directory: /w/my project\n - Platform: linux"
    start = asked_with("/messages", tools, system=system)
    after = [
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "1", "name": "Read", "input": {}}],
        }
    ]
    script = write("src/roman.py", NEW, replacing=OLD)
    assert works_in(start) == "/w/my project"
    assert script(start).calls == (Call("Read", {"file_path": "/w/my project/src/roman.py"}),)
    then = asked_with("/messages", tools, system=system, messages=[*USER, *after])
    assert script(then).calls == (
        Call("Write", {"file_path": "/w/my project/src/roman.py", "content": NEW}),
    )
    assert [one.name for one in write("new.py", NEW)(start).calls] == ["Write"]


@pytest.mark.parametrize("tool", ["apply_patch", "exec_command"])
def test_codex_gets_a_patch_by_whichever_tool_it_offers(tool):
    tools = [function("exec_command")]
    tools += [{"type": "custom", "name": "apply_patch"}] if tool == "apply_patch" else []
    asked = asked_with("/responses", tools)
    (one,) = write("src/roman.py", NEW, replacing=OLD)(asked).calls
    patch = one.input if tool == "apply_patch" else one.input["cmd"]
    assert one.name == tool
    assert "*** Update File: src/roman.py\n@@\n-def to_roman(n):\n" in patch
    (new,) = write("src/new.py", NEW)(asked).calls
    assert "*** Add File: src/new.py\n+def to_roman(n):\n" in str(new.input).replace("\\n", "\n")


def test_codex_with_its_newest_models_gets_a_program_that_patches():
    """They offer one tool that runs programs, in a namespace, among the items of the input."""
    tool = {"type": "custom", "name": "exec"}
    offer = {"type": "additional_tools", "tools": [{"type": "namespace", "tools": [tool]}]}
    asked = asked_with("/responses", [], input=[offer, *USER])
    (one,) = write("src/roman.py", NEW, replacing=OLD)(asked).calls
    assert one.name == "exec"
    assert str(one.input).startswith('await tools.apply_patch("*** Begin Patch\\n')


def test_claude_code_without_a_tool_to_write_edits():
    tools = [{"name": name, "input_schema": {}} for name in ("Read", "Edit")]
    (one,) = write("/w/new.py", NEW)(asked_with("/messages", tools)).calls
    assert one == Call("Edit", {"file_path": "/w/new.py", "old_string": "", "new_string": NEW})


def test_a_free_form_tool_is_called_with_a_text():
    """Codex takes nothing else for its `apply_patch`."""
    tools = [{"type": "custom", "name": "apply_patch"}]
    with ModelServer([call("apply_patch", "*** Begin Patch\n")]) as server:
        item = ask(server, "/responses", tools=tools).json()["output"][0]
    assert (item["type"], item["input"]) == ("custom_tool_call", "*** Begin Patch\n")


def test_an_agent_that_is_done_is_told_to_stop_and_asking_twice_changes_nothing():
    tools = [{"name": "Write", "input_schema": {}}]
    after = [
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "1", "name": "Write", "input": {}}],
        }
    ]
    script = write("src/roman.py", NEW)
    done = asked_with("/messages", tools, messages=[*USER, *after])
    assert script(done) == script(done) == say("Done.")


def test_a_structured_answer_comes_by_the_tool_for_it_or_as_json():
    document = {"operations": [{"path": "ä.py"}]}
    tool = asked_with("/responses", [function("final_result")])
    assert answer(document)(tool).calls == (Call("final_result", document),)
    assert json.loads(answer(document)(asked_with("/responses", [])).text) == document


def test_a_shell_is_used_by_the_name_that_the_agent_has_for_it():
    (one,) = run_shell("ls")(asked_with("/responses", [function("exec_command")])).calls
    assert (one.name, one.input) == ("exec_command", {"cmd": "ls"})
    with pytest.raises(LookupError, match="no shell"):
        run_shell("ls")(asked_with("/responses", [function("save")]))
