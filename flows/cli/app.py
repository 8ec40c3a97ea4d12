"""The command line's frame: the commands by name, and how errors end them."""

from __future__ import annotations

import errno
import os
import signal
import sys
from io import TextIOWrapper

import typer

from analytics.errors import AnalyticsError
from flows.cli import (
    analytics_commands,
    hooks_command,
    inbox_commands,
    ledger_commands,
    run_commands,
    service_commands,
    skills_command,
    step_commands,
    write_plan_command,
)
from flows.cli.output import note
from flows.redaction import without_passwords
from storage.exceptions import GreenlineError

INTERRUPTED = 130
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)

app = typer.Typer(
    name="greenline",
    help="Run coding agents through test-driven development, and check every step.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for commands in (
    run_commands, step_commands, inbox_commands, analytics_commands, ledger_commands,
    skills_command, write_plan_command, hooks_command, service_commands,
):  # fmt: skip
    commands.register(app)


def main() -> None:
    """Run the command line; every foreseen error is one message on stderr and an exit code.

    Exit codes: 0 done, 1 the run failed or is partial, 2 wrong usage or bad input, 3 waits for a
    person, 4 a needed service is missing.
    """
    _open_standard_streams()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        try:
            app(standalone_mode=True)
        finally:
            sys.stdout.flush()  # here, where an error can still be told
    except (GreenlineError, AnalyticsError) as error:
        note(f"greenline: {without_passwords(str(error))}")
        sys.exit(error.exit_code)
    except SystemExit as end:
        if end.code == INTERRUPTED:  # the framework ends so at a KeyboardInterrupt, silently
            note("greenline: interrupted")
        raise
    except BrokenPipeError:
        # The reader of a pipe has gone; nobody is left to tell.
        _drop_output()
        sys.exit(128 + signal.SIGPIPE)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        _drop_output()
        where = f": {error.filename}" if error.filename else ""
        note(f"greenline: {error.strerror}{where}; nothing more can be written there")
        sys.exit(GreenlineError.exit_code)


def _open_standard_streams() -> None:
    """Stand in for standard streams that the caller closed.

    Otherwise the next file or socket that is opened gets their number, and what is printed.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    if sys.stdout is None:
        sys.stdout = os.fdopen(os.dup(1), "w")
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.dup(2), "w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files may be any bytes


def _drop_output() -> None:
    """Let what is still to be written go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt
