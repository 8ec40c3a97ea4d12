"""The project's own commands as its settings have them: the tests, and setting a sandbox up."""

from __future__ import annotations

import shlex
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from storage.exceptions import InputError
from tasks.config import Settings
from tasks.config.commands import expand_command
from tasks.fence.hints import hint
from tasks.fence.policy import fence_of
from tasks.process import ProgramNotFound, run_guarded
from tasks.sandbox import ProjectClone, Sandbox
from tasks.verify import TestCommand, suite_environment

_PROBE_TIMEOUT_S: Final = 30.0


def project_tests(
    settings: Settings, home: Path, clone: ProjectClone, exit_code: int | None = None
) -> TestCommand:
    """Return the project's test command.

    Args:
        settings: the project's.
        home: the private HOME that it gets.
        clone: the project's clone, which the sandboxes are worktrees of.
        exit_code: the one to be tolerated although nothing failed.

    Raises:
        InputError: none is set.
        ServiceError: the settings demand a fence, and there can be none here.
    """
    focused = settings.project.test_files
    return TestCommand(
        argv=tuple(shlex.split(settings.require_test_command())),
        focused_argv=tuple(shlex.split(focused)) if focused else None,
        timeout_s=settings.project.timeout_s,
        home=home,
        tolerated_exit=exit_code,
        fence=fence_of(settings, clone),
    )


def run_setup(settings: Settings, sandbox: Sandbox, command: TestCommand) -> None:
    """Run the project's set-up command once in a new sandbox; what git ignores of it stays.

    In its fence it has the network: fetching packages is what it is for.

    Raises:
        InputError: the command is not there or failed.
    """
    if settings.project.setup is None:
        return
    _require_program("setup", settings.project.setup, command.home)
    command.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    fence = command.fence and command.fence.opened(sandbox.path, command.home, network=True)
    result = run_guarded(
        expand_command(settings.project.setup),
        cwd=sandbox.path,
        # Hard links into a cache that others share could be written through.
        env=suite_environment(command.home) | {"UV_LINK_MODE": "copy"},
        timeout_s=settings.limits.agent_timeout_s,
        fence=fence,
    )
    if result.exit_code != 0 or result.timed_out:
        why = hint(result.stdout + result.stderr, fence, "")
        tail = "\n".join((result.stdout + result.stderr).strip().splitlines()[-8:])
        ended = "did not end in time" if result.timed_out else f"exit code {result.exit_code}"
        raise InputError(
            f"the set-up command failed ({ended}): {settings.project.setup}\n"
            "  what works: a command that ends with 0, as project.setup"
            + (f"; {why}" if why else "")
            + f"\n{tail}"
        )
    sandbox.set_up()


def require_programs(settings: Settings, home: Path) -> None:
    """Make sure, once a sandbox is set up, that the project's checks can be run in it.

    A program that is named by a path may be the work of a step or of an earlier command; it is
    not looked for.

    Raises:
        InputError: a program of lint, typecheck or build is not on PATH.
    """
    for name, command in _checks(settings):
        _require_program(name, command, home)


def _checks(settings: Settings) -> Iterator[tuple[str, str]]:
    for name in ("lint", "typecheck", "build"):
        for command in getattr(settings.project, name):
            yield name, command


def _require_program(name: str, command: str, home: Path) -> None:
    program = shlex.split(command)[0]
    if not program_found(program, home):
        raise InputError(
            f"project.{name}: the program {program!r} of `{command}` was not found on PATH; "
            "install it, let project.setup do so and give its path, or take the command out"
        )


def program_found(program: str, home: Path) -> bool:
    """Whether a program is on the PATH that the project's commands get; paths are taken as found.

    Args:
        program: its name, as the first word of a command.
        home: the private HOME that the commands get; need not be there.
    """
    return "/" in program or shutil.which(program, path=suite_environment(home)["PATH"]) is not None


def lacks_pytest(command: Sequence[str], folder: Path) -> str | None:
    """Say how to mend a test command whose Python has no pytest; None where that is not so.

    Args:
        command: the words of the test command; looked at if `<python> -m pytest` is in them.
        folder: the project, where the Python is chosen; nothing in it is run.
    """
    pairs = list(zip(command, command[1:], command[2:], strict=False))
    python = next((one for one, *rest in pairs if rest == ["-m", "pytest"]), None)
    if python is None:
        return None
    with tempfile.TemporaryDirectory(prefix="greenline-") as home:
        try:
            asked = run_guarded(
                [python, "-I", "-c", "import pytest"],
                cwd=folder,
                env=suite_environment(Path(home)),
                timeout_s=_PROBE_TIMEOUT_S,
            )
        except ProgramNotFound:
            return None  # there are messages for that
    return None if asked.exit_code == 0 else NO_PYTEST.format(python=python)


def runs_here(program: str, folder: Path) -> bool:
    """Whether a program is there for the project's commands; a Python must have pytest."""
    if not program_found(program, folder):
        return False
    is_python = program in {"python", "python3"}
    return not (is_python and lacks_pytest([program, "-m", "pytest"], folder))


NO_PYTEST: Final = (
    "`{python}` has no pytest where the tests run (with a HOME of their own, so what was installed "
    "with --user is not there); what works: {python} -m pip install pytest, or in project.test the "
    "path of a Python that has it (such as .venv/bin/python of your checkout, in full), or "
    "`pytest` alone as the program, which is Greenline's own if there is no other"
)
