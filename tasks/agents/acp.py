"""The `acp` agent: any program that speaks the Agent Client Protocol (opencode, gemini, goose …).

`acp_client` speaks it, as a process of its own under Greenline's guard. It grants edits of the one
file and what changes nothing; opencode is fenced by its own permissions besides.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from storage.exceptions import InputError
from tasks.agents.base import Assignment, ToolCall, Usage
from tasks.agents.program import (
    DUMMY_KEY,
    Call,
    Heard,
    ProgramAgent,
    amount,
    json_lines,
    mapping,
)

if TYPE_CHECKING:
    from tasks.process import ProcessResult

CLIENT: Final = Path(__file__).with_name("acp_client.py")
#: What agents take orders from in a repository. It is not there while one works: opencode runs the
#: plugins in `.opencode` whatever its switches say (1.18), and others have no such switches.
_ORDERS: Final = (
    ".opencode", "opencode.json", "opencode.jsonc", ".claude", ".mcp.json", ".agents", ".codex",
    ".cursor", ".gemini", ".goose", ".goosehints", ".qwen",
    "AGENTS.md", "CLAUDE.md", "GEMINI.md", "QWEN.md",
)  # fmt: skip
_DENIED: Final = ("bash", "task", "webfetch", "websearch", "external_directory", "doom_loop")
_ALLOWED: Final = ("read", "glob", "grep", "list", "todowrite", "todoread")
_OFF: Final = (
    "AUTOUPDATE", "MODELS_FETCH", "LSP_DOWNLOAD", "DEFAULT_PLUGINS", "PROJECT_CONFIG",
    "CLAUDE_CODE", "AUTOCOMPACT",
)  # fmt: skip


class AcpAgent(ProgramAgent):
    """Runs an agent as a server of the protocol."""

    adapter = "acp"

    @contextmanager
    def _prepared(self, assignment: Assignment) -> Iterator[list[str]]:
        """Keep what the repository orders agents to do away from it while it works."""
        aside = assignment.private / "aside"
        aside.mkdir(mode=0o700)
        notes: list[str] = []
        moved = [name for name in _ORDERS if os.path.lexists(assignment.worktree / name)]
        try:
            for name in moved:
                shutil.move(assignment.worktree / name, aside / name)
            yield notes
        finally:
            for name in moved:
                if os.path.lexists(aside / name):
                    notes += _put_back(aside / name, assignment.worktree / name)

    def _call(self, assignment: Assignment, home: Path) -> Call:  # noqa: ARG002 - the base's
        if Path(assignment.file_path).parts[0] in _ORDERS:
            raise InputError(f"{assignment.file_path} would give the agent orders while it works")
        opencode = Path(self.command[0]).name == "opencode"
        request = {
            "command": [str(self.require_program()), *self.command[1:]],
            "cwd": str(assignment.worktree),
            "file": assignment.file_path,
            "prompt": assignment.prompt,
            "model": self.asked_model,
        }
        return Call(
            (),
            cwd=assignment.worktree,
            env=self._for_opencode(assignment) if opencode else self._for_any(assignment),
            stdin=json.dumps(request),
            program=(sys.executable, "-I", "-S", str(CLIENT)),
        )

    def _for_any(self, assignment: Assignment) -> dict[str, str]:
        """Return what most programs take their model's address from."""
        url, model = assignment.base_url or "", self.asked_model or ""
        if self.speaks_anthropic:
            return {
                "ANTHROPIC_BASE_URL": url.removesuffix("/v1"),
                "ANTHROPIC_API_KEY": DUMMY_KEY,
                "ANTHROPIC_MODEL": model,
            }
        return {
            "OPENAI_BASE_URL": url,
            "OPENAI_API_BASE": url,
            "OPENAI_API_KEY": DUMMY_KEY,
            "OPENAI_MODEL": model,
        }

    def _for_opencode(self, assignment: Assignment) -> dict[str, str]:
        """Return its configuration: the model behind the proxy, and its permissions as a fence."""
        model = self.asked_model or ""
        named = f"greenline/{model}"
        provider = {
            "npm": "@ai-sdk/anthropic" if self.speaks_anthropic else "@ai-sdk/openai-compatible",
            "name": "greenline",
            "options": {"baseURL": assignment.base_url, "apiKey": DUMMY_KEY},
            "models": {model: {"name": model, "limit": {"context": 200_000, "output": 32_000}}},
        }
        configuration = {
            "$schema": "https://opencode.ai/config.json",
            "model": named,
            "small_model": named,
            "autoupdate": False,
            "share": "disabled",
            "snapshot": False,
            "enabled_providers": ["greenline"],
            "provider": {"greenline": provider},
            "agent": {"title": {"disable": True}},  # it would ask the model for one
            "permission": {
                "*": "ask",
                **dict.fromkeys(_ALLOWED, "allow"),
                **dict.fromkeys(_DENIED, "deny"),
                # A denial here is told to its model; one by the client would end its turn.
                "edit": {"*": "deny", assignment.file_path: "allow"},
            },
        }
        return {
            "OPENCODE_CONFIG_CONTENT": json.dumps(configuration),
            **{f"OPENCODE_DISABLE_{what}": "1" for what in _OFF},
            "OPENCODE_PURE": "1",
            # At each start it would fetch packages.
            "npm_config_offline": "true",
            "NPM_CONFIG_REGISTRY": "http://127.0.0.1:1",
        }

    def _heard(self, done: ProcessResult, assignment: Assignment) -> Heard:  # noqa: ARG002 - the base's
        return heard(done.stdout, model=self.model)


def heard(stdout: str, *, model: str | None = None) -> Heard:
    """Make of the client's events what the agent tells."""
    failed: list[str] = []
    notes: list[str] = []
    updates: list[dict[str, Any]] = []
    ended = False
    for event in json_lines(stdout):
        what = event.get("what")
        match event.get("event"):
            case "update":
                updates.append(mapping(what))
            case "denied":
                notes.append(f"it was denied {what}")
            case "note":
                notes.append(str(what))
            case "error":
                ended = True
                failed.append(_error(str(what)))
            case "end":
                ended, reason = True, mapping(what).get("stopReason")
                if reason not in ("end_turn", None):
                    failed.append(f"it stopped because of {reason}")
    if not ended:
        failed.append("it ended in the middle of its turn")
    # Its tokens are told as each agent likes; opencode tells those of its last answer alone.
    usage = Usage(model=model, cost_usd=_cost(updates))
    return Heard(tuple(failed), tuple(dict.fromkeys(notes)), usage, _uses(updates))


def _cost(updates: list[dict[str, Any]]) -> float | None:
    """Return what the session cost, by the last update that tells it; 0 is a price not known."""
    told = [mapping(one.get("cost")) for one in updates]
    costs = [amount(one.get("amount")) for one in told if one.get("currency") == "USD"]
    return (costs[-1] or None) if costs else None


def _uses(updates: list[dict[str, Any]]) -> tuple[ToolCall, ...]:
    """Put together what is told of each use of a tool; its first title is the tool's name."""
    uses: dict[str, dict[str, Any]] = {}
    for update in updates:
        if update.get("sessionUpdate") in ("tool_call", "tool_call_update"):
            known = uses.setdefault(str(update.get("toolCallId")), {"name": update.get("title")})
            known |= {key: value for key, value in update.items() if value is not None}
    return tuple(_use(identity, one) for identity, one in uses.items())


def _put_back(kept: Path, place: Path) -> list[str]:
    """Put back what was kept away; what the agent made in its place gives way, and that is told."""
    notes = []
    if os.path.lexists(place):
        notes = [f"it wrote {place.name}, which is not its file; that is gone"]
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink()
    shutil.move(kept, place)
    return notes


def _error(text: str) -> str:
    """Return what an error says, with the names that the agent has for it."""
    for error in json_lines(text):
        data = error.get("data")
        named = data if isinstance(data, str) else mapping(data).get("errorName")
        said = str(error.get("message"))
        return f"{said} ({named})" if named else said
    return text


def _use(identity: str, told: dict[str, Any]) -> ToolCall:
    failed = told.get("status") == "failed"
    output = told.get("rawOutput", told.get("content"))
    kind = "error-json" if failed else "json"
    return ToolCall(
        identity,
        str(told.get("name") or told.get("kind") or "tool"),
        mapping(told.get("rawInput")),
        output=output,
        output_type=None if output is None else kind,
        error=json.dumps(output, ensure_ascii=False)[:1000] if failed else None,
    )
