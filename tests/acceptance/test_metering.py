"""What agents ask of models: counted whatever happens, ended by budgets, and no secret kept."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from flows.demo import DEMO_PLAN, build_demo_repository, demo_settings
from tests.acceptance.plans_model import USAGE, PlansModel, small_plan
from tests.acceptance.support import settings, write_files
from tests.model_server.replies import Delivery, Reply, refuse
from tests.model_server.server import ModelServer

KEY = "the-real-key-000111"
EACH = USAGE.input_tokens + USAGE.output_tokens


@pytest.fixture
def ask(greenline, tmp_path):
    """Run a plan of the demo's with the `direct` agent on a scripted model; (document, server)."""

    def run(script, *arguments, plan=None, limits="", ok=(0,), env=None):
        repository = build_demo_repository(tmp_path / "sample")
        with ModelServer(script, api_key=KEY) as server:
            config = demo_settings(tmp_path / "greenline.toml")
            config.write_text(
                config.read_text() + '\n[agents.model]\nadapter = "direct"\nmodel = "gpt-4o"\n'
                f'base_url = "{server.url}/v1"\napi_key_env = "MODEL_KEY"\n[limits]\n{limits}\n'
            )
            plan = plan or small_plan(tmp_path)
            given = ("run", plan, "--repo", repository, "--config", config, "--agent", "model")
            options = {"env": {"MODEL_KEY": KEY} | (env or {})}
            document = greenline.json(*given, *arguments, ok=ok, **options)
        return document, server

    return run


def used(greenline, run_id):
    (row,) = greenline.sql(
        "SELECT sum(i.input_tokens), sum(i.output_tokens), sum(i.input_tokens_cache_read),"
        " sum(i.step_count), sum(i.cost_computed) FROM agent.agent_invocations i"
        f" JOIN step_attempts a ON a.id = i.attempt_id WHERE a.run_id = '{run_id}'"
    )
    return row


def test_a_budget_ends_the_run_within_one_request_and_asks_a_person(greenline, ask):
    """Over all steps and retries together; whoever answers lets it spend as much again."""
    budget = 3 * EACH + 1
    document, server = ask(
        PlansModel(structured=True), plan=DEMO_PLAN, limits=f"run_tokens = {budget}", ok=(3,)
    )
    assert len(server.exchanges) == 4
    assert document["pending_cta"] is not None
    tokens = used(greenline, document["run_id"])
    assert budget <= tokens[0] + tokens[1] < budget + EACH
    last = [a for step in document["steps"] for a in step["attempts"]][-1]
    assert last["failure_class"] == "budget_exceeded"
    (question,) = [one for one in greenline.json("inbox") if one["run_id"] == document["run_id"]]
    assert "limits.run_tokens" in question["message"]
    assert any("limits.run_tokens once more" in one["label"] for one in question["options"])


def test_attempts_that_use_a_budget_up_together_are_counted_together(greenline, ask):
    """A step that fails and is tried again does not begin with an empty purse."""
    document, _ = ask(PlansModel(structured=True), limits=f"step_tokens = {EACH}", ok=(3,))
    by_step = {step["file_path"]: step["attempts"] for step in document["steps"]}
    classes = [attempt["failure_class"] for attempt in by_step["src/tally/rates.py"]]
    assert classes == ["not_green", "budget_exceeded"]


def test_what_was_used_before_a_kill_is_known(greenline, tmp_path):
    """Each request is in the ledger once it is over, whatever becomes of the attempt."""
    repository = build_demo_repository(tmp_path / "sample")
    plan = PlansModel(structured=True)
    hanging = []

    def script(asked) -> Reply:
        if len(hanging) == 1:
            hanging.append(1)
            return Reply(delivery=Delivery(hang_after=0))
        hanging.append(1)
        # No write plan at first: the model is asked again in the same invocation.
        return plan(asked) if len(hanging) > 2 else Reply(text="I would rather talk.", usage=USAGE)

    with ModelServer(script, api_key=KEY) as server:
        config = demo_settings(tmp_path / "greenline.toml")
        config.write_text(
            config.read_text() + '\n[agents.model]\nadapter = "direct"\nmodel = "gpt-4o"\n'
            f'base_url = "{server.url}/v1"\napi_key_env = "MODEL_KEY"\n'
        )
        run = subprocess.Popen(
            [sys.executable, "-m", "flows.cli", "run", small_plan(tmp_path), "--repo", repository,
             "--config", config, "--agent", "model", "--json"],
            env=greenline.env | {"MODEL_KEY": KEY}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        deadline = time.monotonic() + 120
        while len(server.exchanges) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(server.exchanges) == 2
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate()
        ((run_id,),) = greenline.sql(
            "SELECT run_id FROM runs WHERE status = 'running' ORDER BY created_at DESC LIMIT 1"
        )
        done = greenline.json("resume", run_id, env={"MODEL_KEY": KEY})
    first = done["steps"][0]["attempts"][0]
    assert first["failure_class"] == "crashed"
    assert first["token_usage"]["total_tokens"] == EACH
    counted = used(greenline, run_id)
    assert counted[0] == server.served.input_tokens
    assert counted[1] == server.served.output_tokens


@pytest.mark.parametrize(
    ("trouble", "expected"), [("auth", "auth"), ("overflow", "context_overflow")]
)
def test_the_models_refusal_is_the_attempts_failure(ask, trouble, expected):
    document, _ = ask(
        lambda _asked: refuse(trouble),
        limits="attempts = 1\ntransient = 1",
        ok=(1,),
    )
    tried = [a for step in document["steps"] for a in step["attempts"]]
    assert {attempt["failure_class"] for attempt in tried} == {expected}


def test_a_limit_that_resets_is_waited_for_and_uses_up_no_attempt(greenline, ask):
    plan, refused = PlansModel(structured=True), []

    def script(asked):
        if len(refused) < 1:
            refused.append(1)
            return refuse("rate_limit", headers={"retry-after": "7"})
        return plan(asked)

    document, _ = ask(script, limits="attempts = 2")
    assert document["status"] == "completed"
    first, second = document["steps"][0]["attempts"]
    assert (first["failure_class"], second["status"]) == ("rate_limited", "success")
    (waited,) = greenline.sql(
        "SELECT (payload_json ->> 'wait_s')::float FROM events WHERE event_type = 'step_retried'"
        f" AND run_id = '{document['run_id']}' AND (payload_json ->> 'attempt')::int ="
        f" {first['number']}"
    )
    assert 5 <= waited[0] <= 7


def test_a_missing_key_is_told_before_a_run(ask):
    with pytest.raises(AssertionError) as failed:
        ask(PlansModel(structured=True), env={"MODEL_KEY": ""})
    assert "exit code 2" in str(failed.value) and "MODEL_KEY" in str(failed.value)


ONE_TEST = """
    feature: Talk
    tasks:
      - title: t
        subtasks:
          - key: a
            title: A
            steps:
              - {step_type: test, assigned_to: TaraAider, file_path: tests/test_new.py,
                 instructions: Write a test., context_files: []}
"""


def test_a_price_table_that_cannot_be_used_is_told_before_a_run(greenline, ask):
    table = greenline.home / "prices.toml"
    table.write_text('version = "1"\n[models.m]\ninput = -1\noutput = 1\n')
    try:
        with pytest.raises(AssertionError) as failed:
            ask(PlansModel(structured=True))
    finally:
        table.unlink()
    assert "exit code 2" in str(failed.value) and "models.m.input" in str(failed.value)


SECRETS = {
    "OPENAI_API_KEY": "sk-proj-AbCdEfGhIjKlMnOpQrStUvWx0123456789",
    "HUB": "ghp_0123456789abcdefghijABCDEFGHIJ012345",
    "OWN_SERVICE_TOKEN": "quite-an-ordinary-word-77",
}
CHATTY = """
    import json, os, sys
    said = " ".join(json.load(open(%r)).values())
    print("stdout", said, file=sys.stdout)
    print("stderr", said, file=sys.stderr)
    with open(os.environ["GREENLINE_USAGE_FILE"], "w") as usage:
        json.dump({"model": "m " + said[:60], "input_tokens": 1}, usage)
    with open(os.environ["GREENLINE_FILE"], "w") as file:
        file.write("raise RuntimeError(" + repr(said) + ")\\n")
    if os.environ["GREENLINE_ATTEMPT_NO"] == "1":
        with open("elsewhere.txt", "w") as file:
            file.write(said)
    sys.exit("the end " + said)
"""


def test_no_secret_of_an_agents_output_is_kept(greenline, tmp_path):
    """In no table, log, state of Prefect's, export or report, whatever the agent says."""
    told = tmp_path / "told.json"
    told.write_text(json.dumps(SECRETS))
    agent = tmp_path / "agent.py"
    write_files(tmp_path, {"agent.py": CHATTY % str(told)})
    repository = build_demo_repository(tmp_path / "sample")
    config = tmp_path / "greenline.toml"
    config.write_text(settings(agent, attempts=2))
    plan = tmp_path / "plan.yaml"
    write_files(tmp_path, {"plan.yaml": ONE_TEST})
    done = greenline(
        "run", plan, "--repo", repository, "--config", config, "--json",
        env={"OWN_SERVICE_TOKEN": SECRETS["OWN_SERVICE_TOKEN"]},
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    greenline.json("export")
    hidden = [value.encode() for value in SECRETS.values()]
    assert not [one for one in hidden if one in (done.stdout + done.stderr).encode()]
    assert "[redacted]" in done.stdout + done.stderr
    tables = greenline.sql(
        "SELECT format('%I.%I', table_schema, table_name) FROM information_schema.tables"
        " WHERE table_schema IN ('public', 'agent')"
    )
    for (table,) in tables:
        for (row,) in greenline.sql(f"SELECT t::text FROM {table} t"):
            assert not [one for one in SECRETS.values() if one in row], table
    searched = 0
    for path in greenline.home.rglob("*"):
        inside = path.relative_to(greenline.home).parts[0]
        # What the agent wrote into its worktree is there, and in git; nowhere else.
        if inside in {"postgres", "clones", "sandboxes"} or not path.is_file():
            continue
        content = path.read_bytes()
        searched += 1
        assert not [one for one in hidden if one in content], path
    assert searched > 10


DUMPING = """
    import json, os, urllib.request
    with open(%r, "w") as file:
        json.dump(dict(os.environ), file)
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}
    request = urllib.request.Request(
        os.environ["GREENLINE_BASE_URL"] + "/chat/completions", json.dumps(body).encode(),
        {"content-type": "application/json"},
    )
    urllib.request.urlopen(request).read()
    with open(os.environ["GREENLINE_FILE"], "w") as file:
        file.write("def test_new():\\n    assert False\\n")
"""
CONTRACT = {
    "PROMPT_FILE", "FILE", "STEP_TYPE", "STEP_ID", "SUBTASK", "ATTEMPT_NO", "CONTEXT_FILES",
    "USAGE_FILE", "BASE_URL",
}  # fmt: skip


def test_an_agents_environment_holds_no_key_and_nothing_of_greenlines_own(greenline, tmp_path):
    """The contract's variables and the ordinary ones; its requests are metered all the same."""
    dumped = tmp_path / "environment.json"
    write_files(tmp_path, {"agent.py": DUMPING % str(dumped)})
    repository = build_demo_repository(tmp_path / "sample")
    plan = tmp_path / "plan.yaml"
    write_files(tmp_path, {"plan.yaml": ONE_TEST})
    with ModelServer([Reply(text="hi", usage=USAGE)], api_key=KEY) as server:
        config = tmp_path / "greenline.toml"
        made = settings(tmp_path / "agent.py").replace(
            "[roles]", f'base_url = "{server.url}/v1"\napi_key_env = "MODEL_KEY"\n[roles]'
        )
        config.write_text(f"fence_writable = [{json.dumps(str(tmp_path))}]\n{made}")
        document = greenline.json(
            "run", plan, "--repo", repository, "--config", config,
            env={"MODEL_KEY": KEY, "AWS_SECRET_ACCESS_KEY": "abcdefgh12345678"},
            ok=(1,),  # nothing makes its test pass
        )  # fmt: skip
    environment = json.loads(dumped.read_text())
    own = {name for name in environment if name.startswith(("GREENLINE_", "PREFECT_"))}
    assert own == {f"GREENLINE_{name}" for name in CONTRACT}
    assert environment.keys() - own <= {"PATH", "HOME", "LANG", "TERM", "LC_CTYPE", "PWD"}
    assert KEY not in dumped.read_text()
    assert environment["GREENLINE_BASE_URL"].startswith("http://127.0.0.1:")
    (attempt,) = document["steps"][0]["attempts"]
    assert attempt["token_usage"]["total_tokens"] == EACH
