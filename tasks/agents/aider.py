"""The `aider` agent: aider, with one message and no terminal.

Aider has no fence, and reads settings from where it works. So it works in a folder of its own that
holds the one file and nothing else of the repository. What it has changed there is then put into
the worktree, all of it: what was not asked for is for the scope gate to see.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from storage.exceptions import InputError
from tasks.agents.base import Assignment, Usage
from tasks.agents.program import (
    DUMMY_KEY,
    Call,
    Heard,
    ProgramAgent,
    amount,
    count,
    json_lines,
    mapping,
)
from tasks.git import Git

if TYPE_CHECKING:
    from tasks.process import ProcessResult

_FOLDER: Final = "work"
_LOG: Final = "analytics.jsonl"
#: In front of the prompt: a message that begins with `/` or `!` would be a command.
_TASK: Final = "Task:\n"
_NO: Final = (
    "stream", "pretty", "fancy-input", "gitignore", "auto-commits", "dirty-commits", "auto-lint",
    "auto-test", "check-update", "show-release-notes", "show-model-warnings",
    "suggest-shell-commands", "detect-urls",
)  # fmt: skip
#: Beyond fewer tokens than a prompt has it would have its model sum the talk up at its end.
_NO_SUMMARY: Final = "10000000"
_LITELLM: Final = re.compile(r"^litellm\.\w+: (?:.+\n?)+", re.MULTILINE)
_LIMIT: Final = re.compile(r"^Model \S+ has hit a token limit!", re.MULTILINE)
_MISTAKES: Final = (
    "Empty response received from LLM",
    "Only 3 reflections allowed, stopping.",
)
_APPLIED: Final = re.compile(r"^Applied edit to ", re.MULTILINE)


class AiderAgent(ProgramAgent):
    """Runs `aider --message`."""

    adapter = "aider"

    def _call(self, assignment: Assignment, home: Path) -> Call:
        folder = assignment.private / _FOLDER
        _copy_there(assignment, folder)
        own = home / "greenline.yml"
        own.write_text("verbose: false\n", encoding="utf-8")
        _no_downloads(home)
        message = home / "message.md"
        message.write_text(_TASK + assignment.prompt, "utf-8", "surrogateescape")
        base_url, name = assignment.base_url or "", self.asked_model or ""
        provider = "anthropic" if self.speaks_anthropic else "openai"
        model = f"{provider}/{name}"
        env = {
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            f"{provider.upper()}_API_KEY": DUMMY_KEY,
        }
        if provider == "anthropic":
            env["ANTHROPIC_API_BASE"] = base_url.removesuffix("/v1")  # it adds the version itself
        else:
            env["OPENAI_API_BASE"] = base_url
        return Call(
            (
                "--model", model, "--weak-model", model, "--editor-model", model,
                "--config", str(own), "--env-file", "/dev/null", "--load", "/dev/null",
                "--model-settings-file", "/dev/null", "--model-metadata-file", "/dev/null",
                "--yes-always", *(f"--no-{what}" for what in _NO), "--map-tokens", "0",
                "--max-chat-history-tokens", _NO_SUMMARY,
                "--timeout", f"{assignment.timeout_s:g}",
                "--analytics-disable", "--analytics-log", str(home / _LOG),
                "--input-history-file", str(home / "input"),
                "--chat-history-file", str(home / "chat.md"),
                "--file", str(folder / assignment.file_path), "--message-file", str(message),
            ),
            cwd=folder,
            env=env,
        )  # fmt: skip

    def _heard(self, done: ProcessResult, assignment: Assignment) -> Heard:
        refused = _copy_back(assignment, assignment.private / _FOLDER)
        log = assignment.private / "home" / _LOG
        told = heard(done.stdout, log.read_text("utf-8", "replace") if log.is_file() else "")
        usage = replace(told.usage, model=self.model)  # it is not told of all models
        return Heard(told.errors, (*told.notes, *refused), usage)


def heard(stdout: str, log: str) -> Heard:
    """Make of its output and its log what it tells; its exit code is 0 whatever happens.

    Args:
        stdout: what it wrote for people.
        log: its analytics, which go nowhere else.
    """
    failed: list[str] = []
    if not _APPLIED.search(stdout):
        failed += [" ".join(found.group().split()) for found in _LITELLM.finditer(stdout)][-1:]
        # The text goes on about context windows, whichever limit it was.
        failed += [found.group() for found in _LIMIT.finditer(stdout)][:1]
    notes = tuple(mistake for mistake in _MISTAKES if mistake in stdout)
    return Heard(tuple(failed), notes, _usage(log))


def _usage(log: str) -> Usage:
    sent = [
        mapping(event.get("properties"))
        for event in json_lines(log)
        if event.get("event") == "message_send"
    ]
    if not sent:
        return Usage()
    read = [count(one.get("prompt_tokens")) for one in sent]
    said = [count(one.get("completion_tokens")) for one in sent]
    costs = [amount(one.get("cost")) for one in sent]
    return Usage(
        input_tokens=None if None in read else sum(one or 0 for one in read),
        output_tokens=None if None in said else sum(one or 0 for one in said),
        # 0 is what it says of models whose prices it does not know.
        cost_usd=None if None in costs else sum(one or 0 for one in costs) or None,
    )


def _no_downloads(home: Path) -> None:
    """Have aider take model prices from its own package, and not from the network."""
    caches = home / ".aider" / "caches"
    caches.mkdir(parents=True)
    nothing = json.dumps({"greenline": {}})
    (caches / "model_prices_and_context_window.json").write_text(nothing, encoding="utf-8")


def _copy_there(assignment: Assignment, folder: Path) -> None:
    """Make the folder: a repository, so that aider names the file as the prompt does.

    Raises:
        InputError: the file is aider's own configuration.
    """
    if _is_aiders(Path(assignment.file_path)):
        raise InputError(f"{assignment.file_path} is aider's own configuration: it would obey it")
    folder.mkdir(mode=0o700)
    Git(folder / ".git", work_tree=folder).run("init", "--quiet", "--template=")
    source, copy = assignment.worktree / assignment.file_path, folder / assignment.file_path
    copy.parent.mkdir(parents=True, exist_ok=True)
    if source.is_file() and not source.is_symlink():
        copy.write_bytes(source.read_bytes())


def _copy_back(assignment: Assignment, folder: Path) -> tuple[str, ...]:
    """Put what was changed into the worktree; return what could not be, as sentences.

    An empty file where none was is no change: aider makes one before it asks its model.
    """
    refused = []
    if not folder.is_dir():
        return ()
    root = assignment.worktree.resolve()
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if relative.parts[0] == ".git" or not path.is_file() or path.is_symlink():
            continue
        if relative.parts[0].startswith(".aider") and str(relative) != assignment.file_path:
            continue  # its caches
        target, content = assignment.worktree / relative, path.read_bytes()
        if target.is_symlink() or not target.parent.resolve().is_relative_to(root):
            refused.append(f"it wrote {relative}, which is a link")
            continue
        before = target.read_bytes() if target.is_file() else b""
        if content == before:
            continue
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        except OSError as error:
            refused.append(f"it wrote {relative}, which cannot be: {error.strerror}")
    return tuple(refused)


def _is_aiders(path: Path) -> bool:
    return path.parts[0].startswith(".aider") or path.parts == (".env",)
