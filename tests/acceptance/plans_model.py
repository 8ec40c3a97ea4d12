"""A model that knows the demo's plan: whatever agent asks, it is told to write what the plan has."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from flows.demo import DEMO_PLAN
from tests.model_server import edits
from tests.model_server.asked import Asked
from tests.model_server.replies import Reply, Served, say

EDITED = re.compile(r"Edit exactly one file: `(?P<path>[^`]+)`(?P<new> \(it does not exist yet\))?")
AGAIN = "The attempt before failed"
USAGE = Served(input_tokens=1000, output_tokens=200, cache_read_tokens=300)


def small_plan(folder: Path) -> Path:
    """Write a plan that is one subtask of the demo's, whose second step succeeds at its second try.

    Most of what models and agents are to show, they show in it; the whole plan takes three times
    as long.
    """
    plan = yaml.safe_load(DEMO_PLAN.read_text())
    (small,) = [one for one in plan["tasks"][0]["subtasks"] if one["key"] == "rates"]
    for step in small["steps"]:
        del step["replay"]  # no replay agent plays it
    path = folder / "rates.json"
    path.write_text(json.dumps(plan | {"tasks": [{"title": "Rates", "subtasks": [small]}]}))
    return path


@dataclass
class PlansModel:
    """Answers by the plan: the replay entry of the step's file, the next one after a failure.

    Attributes:
        structured: answers are wanted as write plans, and not as an agent's edits.
        repository: where the files are as they were, for edits that need to know it.
    """

    structured: bool = False
    repository: Path | None = None
    entries: dict[str, list[Path]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        plan = yaml.safe_load(DEMO_PLAN.read_text())
        for task in plan["tasks"]:
            for subtask in task["subtasks"]:
                for step in [*subtask.get("steps", []), *subtask.get("integration", [])]:
                    files = [DEMO_PLAN.parent / entry["file"] for entry in step["replay"]]
                    self.entries[step["file_path"]] = files

    def __call__(self, asked: Asked) -> Reply:
        said = "\n".join((*asked.prompts, asked.system))
        found = EDITED.search(said)
        if found is None:
            return say("A title", usage=USAGE)  # what agents ask besides
        path = found["path"]
        files = self.entries[path]
        content = files[min(int(AGAIN in said), len(files) - 1)].read_text()
        if self.structured:
            operation = "create" if found["new"] else "overwrite"
            one = {"operation": operation, "path": path, "content": content}
            return edits.answer({"plan": {"operations": [one]}}, usage=USAGE)(asked)
        before = None
        if not found["new"] and self.repository is not None:
            before = (self.repository / path).read_text()
        return edits.write(path, content, replacing=before, usage=USAGE)(asked)
