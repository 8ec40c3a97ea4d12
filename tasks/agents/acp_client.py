"""A client of the Agent Client Protocol: asks one agent for one piece of work, in one process.

Run by the `acp` adapter under Greenline's guard, which kills it with all that the agent started
when its time is over. Reads one document from stdin: {command, cwd, file, prompt, model}. Writes
what it hears as JSON lines. Needs nothing but Python.

Source: https://agentclientprotocol.com/protocol/overview
"""

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PROTOCOL = 1
ENDS_WITHIN_S = 3.0
#: Kinds of tool that change nothing.
HARMLESS = frozenset({"read", "search", "think"})
NOT_FOUND, NOT_ALLOWED = -32601, -32602


class RefusedError(Exception):
    """What is answered to a request that is not granted."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class CallError(Exception):
    """The agent answered with an error, or not at all."""


class Client:
    """One connection to an agent; it may do to one file what it likes."""

    def __init__(self, process: "subprocess.Popen[bytes]", root: Path, file: str) -> None:
        self.process = process
        self.root = root
        self.only = root / file
        self.asked = 0

    def call(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Ask the agent; what it wants meanwhile is answered."""
        self.asked += 1
        number = self.asked
        self.send({"id": number, "method": method, "params": params})
        for message in self.messages():
            if "method" in message:
                self.handle(message)
            elif message.get("id") == number:
                if "error" in message:
                    raise CallError(json.dumps(message["error"]))
                return message.get("result") or {}
        raise CallError(f"the agent ended before it answered {method}")

    def messages(self) -> Any:
        """Read what the agent says until it ends; what is no message is passed over."""
        assert self.process.stdout is not None  # noqa: S101 - it is a pipe
        for line in self.process.stdout:
            try:
                message = json.loads(line)
            except ValueError:
                continue
            if isinstance(message, dict):
                yield message

    def send(self, message: dict[str, Any]) -> None:
        """Write a message."""
        assert self.process.stdin is not None  # noqa: S101 - it is a pipe
        line = json.dumps({"jsonrpc": "2.0", **message}) + "\n"
        try:
            self.process.stdin.write(line.encode())
            self.process.stdin.flush()
        except BrokenPipeError:
            raise CallError("the agent ended") from None

    def handle(self, message: dict[str, Any]) -> None:
        """Answer a request of the agent's, or take a notification."""
        method, params = message["method"], message.get("params") or {}
        if method == "session/update":
            tell("update", params.get("update"))
        if "id" not in message:
            return
        try:
            answer = {"result": self.answer(method, params)}
        except RefusedError as error:
            tell("denied", str(error))
            answer = {"error": {"code": error.code, "message": str(error)}}
        self.send({"id": message["id"], **answer})

    def answer(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a request."""
        if method == "session/request_permission":
            return self.permit(params)
        path = Path(str(params.get("path")))
        if method == "fs/read_text_file":
            return {"content": self.read(path, params)}
        if method == "fs/write_text_file":
            if not self.is_the_file(path):
                raise RefusedError(NOT_ALLOWED, f"write of {path}: only {self.only} may be")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(str(params.get("content")), encoding="utf-8")
            return {}
        raise RefusedError(NOT_FOUND, f"{method}: there is no such method here")

    def read(self, path: Path, params: dict[str, Any]) -> str:
        """Return the lines of a file of the worktree that are asked for."""
        if not path.resolve().is_relative_to(self.root):
            raise RefusedError(NOT_ALLOWED, f"read of {path}: it is outside {self.root}")
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        except OSError as error:
            raise RefusedError(NOT_ALLOWED, f"read of {path}: {error.strerror}") from error
        begin = max(int(params.get("line") or 1) - 1, 0)
        limit = params.get("limit")
        return "".join(lines[begin : None if limit is None else begin + int(limit)])

    def permit(self, params: dict[str, Any]) -> dict[str, Any]:
        """Grant what changes nothing, and edits of the one file."""
        tool = params.get("toolCall") or {}
        kind, paths = tool.get("kind"), paths_of(tool)
        granted = kind in HARMLESS or (
            kind == "edit" and bool(paths) and all(self.is_the_file(path) for path in paths)
        )
        if not granted:
            named = ", ".join(map(str, paths)) or tool.get("title") or ""
            tell("denied", f"{kind or 'tool'} {named}".strip())
        wanted = ("allow_once", "allow_always") if granted else ("reject_once", "reject_always")
        options = {one.get("kind"): one.get("optionId") for one in params.get("options") or []}
        chosen = next((options[one] for one in wanted if one in options), None)
        if chosen is None:
            return {"outcome": {"outcome": "cancelled"}}
        return {"outcome": {"outcome": "selected", "optionId": chosen}}

    def is_the_file(self, path: Path) -> bool:
        """Say whether a path, links in it followed, is that of the one file."""
        whole = path if path.is_absolute() else self.root / path
        return not whole.is_symlink() and whole.resolve() == self.only


def paths_of(tool: dict[str, Any]) -> list[Path]:
    """Return the files that a use of a tool is about."""
    named = [one.get("path") for one in tool.get("locations") or []]
    named += [one.get("path") for one in tool.get("content") or [] if one.get("type") == "diff"]
    return [Path(path) for path in dict.fromkeys(named) if isinstance(path, str)]


def tell(kind: str, what: Any) -> None:
    """Write an event for Greenline."""
    sys.stdout.write(json.dumps({"event": kind, "what": what}) + "\n")
    sys.stdout.flush()


def choose_model(client: Client, session: dict[str, Any], wanted: str) -> None:
    """Have the agent use a model, where it offers it under that name."""
    identity = session.get("sessionId")
    for one in session.get("configOptions") or []:
        offered = [option.get("value") for option in one.get("options") or []]
        if one.get("id") == "model" and (name := the_one(wanted, offered)) is not None:
            if name != one.get("currentValue"):
                given = {"sessionId": identity, "configId": "model", "value": name}
                client.call("session/set_config_option", given)
            return
    models = session.get("models") or {}
    offered = [one.get("modelId") for one in models.get("availableModels") or []]
    if (name := the_one(wanted, offered)) is not None:
        if name != models.get("currentModelId"):
            client.call("session/set_model", {"sessionId": identity, "modelId": name})
        return
    tell("note", f"the agent offers no model {wanted!r}; which it uses is its own choice")


def the_one(wanted: str, offered: list[Any]) -> str | None:
    """Return the offered model that is meant: by its whole name, or by what follows a provider."""
    names = [name for name in offered if isinstance(name, str)]
    return next((name for name in names if name == wanted or name.endswith(f"/{wanted}")), None)


def work(client: Client, request: dict[str, Any]) -> None:
    """Hand the work over and see it through."""
    able = {"fs": {"readTextFile": True, "writeTextFile": True}, "terminal": False}
    hello = {"protocolVersion": PROTOCOL, "clientCapabilities": able}
    tell("agent", client.call("initialize", hello).get("agentInfo"))
    session = client.call("session/new", {"cwd": str(client.root), "mcpServers": []})
    if request.get("model"):
        choose_model(client, session, request["model"])
    prompt = [{"type": "text", "text": request["prompt"]}]
    ended = client.call("session/prompt", {"sessionId": session.get("sessionId"), "prompt": prompt})
    tell("end", ended)


def main() -> int:
    """Do what the document on stdin says."""
    request = json.load(sys.stdin)
    root = Path(request["cwd"]).resolve()
    with subprocess.Popen(
        request["command"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root
    ) as process:
        client = Client(process, root, request["file"])
        status = 0
        try:
            work(client, request)
        except CallError as error:
            tell("error", str(error))
            status = 1
        finally:
            end(client)
    return status


def end(client: Client) -> None:
    """End the agent, which would wait for the next piece of work, and hear its last words."""
    process = client.process
    with contextlib.suppress(BrokenPipeError):
        if process.stdin is not None:
            process.stdin.close()
    process.terminate()
    try:
        process.wait(ENDS_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
    tell("exit", process.wait())


if __name__ == "__main__":
    sys.exit(main())
