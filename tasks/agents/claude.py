"""The `claude` agent: Claude Code, without a terminal.

Its own permissions fence it: it is offered no shell and no tool that reaches out, and may edit the
one file. Of what the repository has for it (settings, hooks, servers, skills, instructions) it
reads nothing.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tasks.agents.base import Assignment, ToolCall, Usage
from tasks.agents.program import (
    DUMMY_KEY,
    Call,
    Heard,
    ProgramAgent,
    amount,
    count,
    items,
    json_lines,
    mapping,
)

if TYPE_CHECKING:
    from tasks.process import ProcessResult

_TOOLS: Final = "Read,Edit,Write,Glob,Grep"
#: In a rule all else may mean something; then the scope gate alone is the fence.
_PLAIN: Final = re.compile(r"[\w@+=./-]+")
_ENDLESS_MS: Final = 2_147_483_647


class ClaudeAgent(ProgramAgent):
    """Runs `claude -p`."""

    adapter = "claude"

    def _call(self, assignment: Assignment, home: Path) -> Call:  # noqa: ARG002 - the base's
        base_url = (assignment.base_url or "").removesuffix("/v1")  # it adds the version itself
        path = assignment.file_path
        editing = f"Edit(/{path})" if _PLAIN.fullmatch(path) else "Edit"
        wait_ms = min(int(assignment.timeout_s * 1000), _ENDLESS_MS)
        model = self.asked_model
        return Call(
            (
                "-p", "--output-format", "stream-json", "--verbose",
                *(("--model", model) if model else ()),
                # Neither the project's settings, hooks and instructions nor its servers.
                "--setting-sources", "user", "--strict-mcp-config",
                # The list of tools closes what permissions leave open: git worktrees, timers.
                "--permission-mode", "default", "--tools", _TOOLS,
                "--allowedTools", f"Read,Glob,Grep,{editing}",
            ),
            cwd=assignment.worktree,
            env={
                "ANTHROPIC_BASE_URL": base_url,
                "ANTHROPIC_API_KEY": DUMMY_KEY,
                "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
                "CLAUDE_CODE_MAX_RETRIES": "0",  # the proxy asks again, and says when it is no use
                "DISABLE_AUTOUPDATER": "1",
                "API_TIMEOUT_MS": str(wait_ms),
            },
            stdin=assignment.prompt,
        )  # fmt: skip

    def _heard(self, done: ProcessResult, assignment: Assignment) -> Heard:  # noqa: ARG002 - the base's
        return heard(done.stdout)


def heard(stdout: str) -> Heard:
    """Make of its stream of events what it tells.

    Assistant events repeat a guess of the usage; only the last event has what was used.
    """
    uses: dict[str, ToolCall] = {}
    reason = ""
    result: dict[str, Any] | None = None
    for event in json_lines(stdout):
        content = items(mapping(event.get("message")).get("content"))
        match event.get("type"):
            case "assistant":
                reason = str(event.get("error") or "")
                for block in content:
                    if block.get("type") == "tool_use":
                        use = ToolCall(
                            str(block.get("id")),
                            str(block.get("name")),
                            mapping(block.get("input")),
                        )
                        uses[use.tool_call_id] = use
            case "user":
                for block in content:
                    if block.get("type") == "tool_result":
                        _answer(uses, block)
            case "result":
                result = event
    calls = tuple(uses.values())
    if result is None:
        return Heard(("it ended without a result",), tool_calls=calls)
    errors = (_error(result, reason),) if result.get("is_error") else ()
    return Heard(errors, _denied(result), _usage(result), calls)


def _answer(uses: dict[str, ToolCall], block: dict[str, Any]) -> None:
    """Put what a tool said beside its use."""
    use = uses.get(str(block.get("tool_use_id")))
    if use is None:
        return
    said = block.get("content")
    failed = block.get("is_error") is True
    uses[use.tool_call_id] = ToolCall(
        use.tool_call_id,
        use.tool_name,
        use.input,
        output=said,
        output_type="error-text" if failed else "text",
        error=str(said)[:1000] if failed else None,
    )


def _error(result: dict[str, Any], reason: str) -> str:
    """Return why it failed: its words first, then how it classes that itself."""
    status = result.get("api_error_status")
    ended = result.get("terminal_reason")
    marks = [
        reason,
        f"status {status}" if status else "",
        str(ended) if ended not in (None, "completed") else "",
        str(result.get("subtype")) if result.get("subtype") != "success" else "",
    ]
    said = str(result.get("result") or "").strip()
    marked = ", ".join(mark for mark in marks if mark)
    return f"{said} ({marked})" if said and marked else said or marked or "it does not say why"


def _denied(result: dict[str, Any]) -> tuple[str, ...]:
    denied = []
    for one in items(result.get("permission_denials")):
        given = mapping(one.get("tool_input"))
        what = given.get("file_path") or given.get("path") or given.get("command") or ""
        denied.append(f"it was denied {one.get('tool_name')} {what}".rstrip())
    return tuple(dict.fromkeys(denied))


def _usage(result: dict[str, Any]) -> Usage:
    used = mapping(result.get("usage"))
    parts = [
        count(used.get(key))
        for key in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    ]
    known = [part for part in parts if part is not None]
    models = list(mapping(result.get("modelUsage")))
    return Usage(
        model=models[0] if models else None,
        input_tokens=sum(known) if parts[0] is not None else None,
        output_tokens=count(used.get("output_tokens")),
        cache_read_tokens=parts[1],
        cost_usd=amount(result.get("total_cost_usd")),
    )
