"""Scripts that have a real agent write one file, each in the way it wants that from its model.

They look at the tools that a request offers and at what was done so far, and remember nothing: an
agent that asks twice gets the same answer twice.
"""

from __future__ import annotations

import json
import re
from typing import Any

from tests.model_server.asked import Asked
from tests.model_server.replies import Call, Reply, Served, call, say
from tests.model_server.script import Script

#: How agents tell their model where they work.
WORKS_IN = re.compile(
    r"(?:Primary working directory|Working directory): (?P<line>.+)|<cwd>(?P<tag>[^<]+)</cwd>"
)
DONE = "Done."


def write(
    path: str, content: str, *, replacing: str | None = None, usage: Served | None = None
) -> Script:
    """Have an agent write a file, then say that it is done.

    Args:
        path: relative to where the agent works.
        content: all of the file, with a line break at its end.
        replacing: what is in the file now, all of it; None for a new file. It serves the ways of
            editing that need to know it.
        usage: of each answer.
    """
    served = usage or Served()

    def script(asked: Asked) -> Reply:
        rounds = _rounds(asked, path, content, replacing)
        if not rounds:
            return say(_listing(asked, path, content, replacing), usage=served)
        done = len(asked.calls)
        if done >= len(rounds):
            return say(DONE, usage=served)
        return Reply(calls=(rounds[done],), usage=served)

    return script


def answer(document: dict[str, Any], *, usage: Served | None = None) -> Script:
    """Give a structured answer: by the tool that the request has for it, or as JSON text."""
    served = usage or Served()

    def script(asked: Asked) -> Reply:
        tool = next((name for name in asked.tools if name.startswith("final_result")), None)
        if tool is not None:
            return call(tool, document, usage=served)
        return say(json.dumps(document, ensure_ascii=False), usage=served)

    return script


def run_shell(command: str, *, usage: Served | None = None) -> Script:
    """Have an agent run a command in its shell, then say that it is done."""
    served = usage or Served()

    def script(asked: Asked) -> Reply:
        if asked.calls:
            return say(DONE, usage=served)
        for tool, name in (("exec_command", "cmd"), ("Bash", "command"), ("bash", "command")):
            if tool in asked.tools:
                more = {} if tool == "exec_command" else {"description": "Run a command"}
                return call(tool, {name: command} | more, usage=served)
        raise LookupError(f"no shell among the tools {sorted(asked.tools)}")

    return script


def works_in(asked: Asked) -> str | None:
    """The folder that the agent says it works in."""
    for text in (*asked.prompts, asked.system):
        if found := WORKS_IN.search(text):
            return (found["line"] or found["tag"]).strip()
    return None


def _rounds(asked: Asked, path: str, content: str, replacing: str | None) -> list[Call]:
    """The uses of tools that write the file, by the tools on offer; none without tools."""
    root = works_in(asked)
    absolute = path if root is None or path.startswith("/") else f"{root}/{path}"
    patch = _patch(path, content, replacing)
    if "apply_patch" in asked.tools:
        takes = asked.tools["apply_patch"]
        return [Call("apply_patch", patch if takes is None else {"patchText": patch})]
    if asked.tools.get("exec", {}) is None:  # Codex with its newest models: a program of calls
        return [Call("exec", f"await tools.apply_patch({json.dumps(patch)});\n")]
    if "exec_command" in asked.tools:
        return [Call("exec_command", {"cmd": f"apply_patch <<'EOF'\n{patch}EOF\n"})]
    name = "file_path" if "Read" in asked.tools else "filePath"
    reading = [Call(one, {name: absolute}) for one in ("Read", "read") if one in asked.tools]
    if replacing is None:
        reading = []
    for one in {"Write", "write"} & set(asked.tools):
        return [*reading, Call(one, {name: absolute, "content": content})]
    if "Edit" in asked.tools:  # Claude Code with `--bare` has no `Write`
        change = {"old_string": replacing or "", "new_string": content}
        return [*reading, Call("Edit", {name: absolute, **change})]
    return []


def _patch(path: str, content: str, replacing: str | None) -> str:
    """The change in the format of `apply_patch`."""
    added = _prefixed("+", content)
    if not replacing:  # a patch cannot update what has no lines
        return f"*** Begin Patch\n*** Add File: {path}\n{added}*** End Patch\n"
    removed = _prefixed("-", replacing)
    return f"*** Begin Patch\n*** Update File: {path}\n@@\n{removed}{added}*** End Patch\n"


def _prefixed(mark: str, text: str) -> str:
    return "".join(f"{mark}{line}\n" for line in text.splitlines())


def _listing(asked: Asked, path: str, content: str, replacing: str | None) -> str:
    """The change as aider wants it, in the edit format that its prompt explains."""
    fence = "````" if "```" in content else "```"
    if not asked.mentions("*SEARCH/REPLACE block*"):
        return f"{path}\n{fence}\n{content}{fence}\n"
    return (
        f"{path}\n{fence}python\n<<<<<<< SEARCH\n{replacing or ''}=======\n{content}"
        f">>>>>>> REPLACE\n{fence}\n"
    )
