"""The project's own commands as its settings have them: the tests, and setting a sandbox up."""

from __future__ import annotations

import shlex
from pathlib import Path

from storage.exceptions import InputError
from tasks.config import Settings
from tasks.config.commands import expand_command
from tasks.process import run_guarded
from tasks.sandbox import Sandbox
from tasks.verify import TestCommand, suite_environment


def project_tests(settings: Settings, home: Path, exit_code: int | None = None) -> TestCommand:
    """Return the project's test command.

    Raises:
        InputError: none is set.
    """
    focused = settings.project.test_files
    return TestCommand(
        argv=tuple(shlex.split(settings.require_test_command())),
        focused_argv=tuple(shlex.split(focused)) if focused else None,
        timeout_s=settings.project.timeout_s,
        home=home,
        tolerated_exit=exit_code,
    )


def run_setup(settings: Settings, sandbox: Sandbox, command: TestCommand) -> None:
    """Run the project's set-up command once in a new sandbox; what git ignores of it stays.

    Raises:
        InputError: the command failed.
    """
    if settings.project.setup is None:
        return
    command.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    result = run_guarded(
        expand_command(settings.project.setup),
        cwd=sandbox.path,
        # Hard links into a cache that others share could be written through.
        env=suite_environment(command.home) | {"UV_LINK_MODE": "copy"},
        timeout_s=settings.limits.agent_timeout_s,
    )
    if result.exit_code != 0 or result.timed_out:
        tail = "\n".join((result.stdout + result.stderr).strip().splitlines()[-8:])
        ended = "did not end in time" if result.timed_out else f"exit code {result.exit_code}"
        raise InputError(
            f"the set-up command failed ({ended}): {settings.project.setup}\n"
            f"  what works: a command that ends with 0, as project.setup\n{tail}"
        )
    sandbox.set_up()
