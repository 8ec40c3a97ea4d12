"""The `codex` agent: Codex, without a terminal.

Its sandbox fences it to folders: it can write nothing outside the worktree and reach no network.
In Greenline's own fence, which does the same, it cannot put that up and goes without.
Inside, the scope gate sees to it that only the one file is changed. Of what the repository has for
it (configuration, instructions, skills) it reads nothing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tasks.agents.base import Assignment, ToolCall, Usage
from tasks.agents.program import (
    DUMMY_KEY,
    Call,
    Heard,
    ProgramAgent,
    count,
    items,
    json_lines,
    mapping,
)

if TYPE_CHECKING:
    from tasks.process import ProcessResult

_KEY: Final = "CODEX_MODEL_KEY"
_ENDLESS_MS: Final = 2_147_483_647


class CodexAgent(ProgramAgent):
    """Runs `codex exec`."""

    adapter = "codex"

    def _call(self, assignment: Assignment, home: Path) -> Call:
        own = home / ".codex"
        own.mkdir(mode=0o700, exist_ok=True)
        model = self.asked_model
        sandbox = "workspace-write" if assignment.fence is None else "danger-full-access"
        settings: dict[str, str | float] = {
            "approval_policy": "never",
            "model_provider": "greenline",
            "model_providers.greenline.name": "greenline",
            "model_providers.greenline.base_url": assignment.base_url or "",
            "model_providers.greenline.wire_api": "responses",
            "model_providers.greenline.env_key": _KEY,
            # The proxy asks again, and says when it is no use.
            "model_providers.greenline.request_max_retries": 0,
            "model_providers.greenline.stream_max_retries": 0,
            "model_providers.greenline.stream_idle_timeout_ms": min(
                int(assignment.timeout_s * 1000), _ENDLESS_MS
            ),
            # Nothing of the repository is an instruction to it.
            "project_doc_max_bytes": 0,
            "skills.include_instructions": False,
            "web_search": "disabled",
            # The worktree alone may be written: others, and Greenline's clone, may lie in /tmp.
            "sandbox_workspace_write.exclude_slash_tmp": True,
            "sandbox_workspace_write.exclude_tmpdir_env_var": True,
            "shell_environment_policy.inherit": "core",
            "analytics.enabled": False,
            "check_for_update_on_startup": False,
        }
        return Call(
            (
                "exec", "--json", "--ignore-user-config", "--ephemeral", "--skip-git-repo-check",
                "--sandbox", sandbox, "--cd", str(assignment.worktree),
                *(("--model", model) if model else ()),
                # JSON's texts, numbers and truth values are TOML's too.
                *(word for key, value in settings.items() for word in ("-c", _set(key, value))),
                "-",
            ),
            cwd=assignment.worktree,
            env={_KEY: DUMMY_KEY, "CODEX_HOME": str(own)},
            stdin=assignment.prompt,
        )  # fmt: skip

    def _heard(self, done: ProcessResult, assignment: Assignment) -> Heard:  # noqa: ARG002 - the base's
        return heard(done.stdout, model=self.model)


def _set(key: str, value: str | float) -> str:
    return f"{key}={json.dumps(value)}"


def heard(stdout: str, *, model: str | None = None) -> Heard:
    """Make of its events what it tells. An `error` event alone is none: it may go on after it."""
    said: list[str] = []
    failed: list[str] = []
    uses: list[ToolCall] = []
    usage = Usage()
    ended = False
    for event in json_lines(stdout):
        match event.get("type"):
            case "item.completed":
                uses += _uses(mapping(event.get("item")))
            case "turn.completed":
                ended, used = True, mapping(event.get("usage"))
                usage = Usage(
                    model=model,
                    input_tokens=count(used.get("input_tokens")),
                    output_tokens=count(used.get("output_tokens")),
                    cache_read_tokens=count(used.get("cached_input_tokens")),
                )
            case "turn.failed":
                ended, why = True, mapping(event.get("error")).get("message")
                failed.append(str(why or "it does not say why"))
            case "error":
                said.append(str(event.get("message") or ""))
    if not ended:
        failed = [*said[-1:], "it ended in the middle of its turn"]
    return Heard(tuple(failed), usage=usage, tool_calls=tuple(uses))


def _uses(item: dict[str, Any]) -> list[ToolCall]:
    """Return the use of a tool that an item tells, as a list of one; of its talk none."""
    identity, kind = str(item.get("id")), str(item.get("type"))
    failed = item.get("status") == "failed"
    match kind:
        case "command_execution":
            given = {"command": item.get("command"), "exit_code": item.get("exit_code")}
            output: Any = item.get("aggregated_output")
        case "file_change":
            given, output = {"changes": items(item.get("changes"))}, item.get("status")
        case "mcp_tool_call" | "web_search":
            given, output = mapping(item.get("arguments")) or {"query": item.get("query")}, None
        case _:
            return []
    kind_of_output = "error-text" if failed else "text"
    return [
        ToolCall(
            identity,
            kind,
            given,
            output=output,
            output_type=None if output is None else kind_of_output,
            error=str(output)[:1000] if failed else None,
        )
    ]
