"""Real agents take a plan from red to green, through the command line, metered to the token."""

from __future__ import annotations

import json
import sys

import pytest
import yaml

from tests.acceptance.plans_model import USAGE, PlansModel
from tests.acceptance.real_agents import KEY, KEY_VARIABLE, PATH, agents, in_toml
from tests.model_server.server import ModelServer

pytestmark = pytest.mark.prefect

#: Test and implementation of three subtasks; the second's first try is wrong.
WRITTEN = {
    "tests/test_area.py": [
        "from shapes.area import area\n\n\ndef test_area():\n    assert area(2, 3) == 6\n"
    ],
    "shapes/area.py": ["def area(a, b):\n    return a * b\n"],
    "tests/test_edge.py": [
        "from shapes.edge import edge\n\n\ndef test_edge():\n    assert edge(2, 3) == 10\n"
    ],
    "shapes/edge.py": [
        "def edge(a, b):\n    return a + b\n",
        "def edge(a, b):\n    return 2 * (a + b)\n",
    ],
    "tests/test_name.py": [
        "from shapes.name import name\n\n\ndef test_name():\n    assert name(2, 2) == 'square'\n"
    ],
    "shapes/name.py": ["def name(a, b):\n    return 'square' if a == b else 'rectangle'\n"],
}


def plan():
    subtasks = []
    for word in ("area", "edge", "name"):
        test, code = f"tests/test_{word}.py", f"shapes/{word}.py"
        steps = [
            {
                "step_type": "test",
                "assigned_to": "TaraAider",
                "file_path": test,
                "instructions": f"Test {word}(a, b).",
            },
            {
                "step_type": "implementation",
                "assigned_to": "DevonAider",
                "file_path": code,
                "instructions": f"Write {word}(a, b).",
                "context_files": [test],
            },
        ]
        subtasks.append(
            {
                "key": word,
                "title": f"The {word}",
                "acceptance_criteria": [f"{word} is right"],
                "steps": steps,
            }
        )
    return {
        "feature": "Shapes",
        "description": "Rectangles.",
        "tasks": [{"title": "Rectangles", "subtasks": subtasks}],
    }


@pytest.mark.parametrize("adapter", agents("direct", "claude", "codex", "aider", "acp"))
def test_a_plan_from_red_to_green(greenline, make_repository, tmp_path, adapter):
    """Each agent does three subtasks, one attempt fails and is recovered, and the ledger has every token that the model served and every use of a tool."""
    repository = make_repository(
        {
            "shapes/__init__.py": "",
            "conftest.py": "",
            "tests/test_it.py": "def test_it():\n    assert True\n",
        }
    )
    model = PlansModel(structured=adapter == "direct", repository=repository)
    model.entries = {}
    for path, contents in WRITTEN.items():
        model.entries[path] = [
            tmp_path / f"{number}-{path.replace('/', '-')}" for number in range(len(contents))
        ]
        for entry, content in zip(model.entries[path], contents, strict=True):
            entry.write_text(content)
    planned = tmp_path / "plan.yaml"
    planned.write_text(yaml.safe_dump(plan()))
    with ModelServer(model, api_key=KEY) as server:
        settings = tmp_path / "greenline.toml"
        settings.write_text(
            f"[project]\ntest = '{json.dumps(sys.executable)} -m pytest -q --junitxml={{report}}'\n"
            f"[limits]\nagent_timeout_s = 60.0\n[agents.real]\n{in_toml(adapter)}\n"
            f'base_url = "{server.url}/v1"\napi_key_env = "{KEY_VARIABLE}"\n'
        )
        document = greenline.json(
            "run", planned, "--repo", repository, "--config", settings, "--agent", "real",
            env={"PATH": PATH, KEY_VARIABLE: KEY},
        )  # fmt: skip
    assert document["status"] == "completed"
    tries = {
        step["file_path"]: [one["failure_class"] for one in step["attempts"]]
        for step in document["steps"]
    }
    assert tries == {path: [None] for path in WRITTEN} | {"shapes/edge.py": ["not_green", None]}

    served = server.served
    assert served.input_tokens == len(server.exchanges) * USAGE.input_tokens > 0
    run = document["run_id"]
    invocations = (
        "from agent.agent_invocations i join step_attempts a on a.id = i.attempt_id "
        f"where a.run_id = '{run}'"
    )
    (sums,) = greenline.sql(
        f"select sum(i.input_tokens), sum(i.output_tokens), sum(i.input_tokens_cache_read), count(*) {invocations}"
    )
    assert sums == (served.input_tokens, served.output_tokens, served.cache_read_tokens, 7)
    uses = sum(len(one.reply.calls) for one in server.exchanges)
    ((listed,),) = greenline.sql(
        f"select count(*) from agent.tool_calls where invocation_id in (select i.id {invocations})"
    )
    assert listed == uses
    assert (uses > 0) == (adapter != "aider")  # its edits are text
    described = greenline.sql(f"select agent_config from step_attempts a where a.run_id = '{run}'")
    assert KEY not in json.dumps(described)
    if adapter != "direct":
        assert all(config["version"] for (config,) in described)
