"""The command line's frame: the commands by name, and how errors end them."""

from __future__ import annotations

import os
import signal
import sys

import typer

from flows.cli import ledger_commands, run_commands, service_commands, step_commands
from flows.cli.output import note
from storage.exceptions import GreenlineError

INTERRUPTED = 130

app = typer.Typer(
    name="greenline",
    help="Run coding agents through test-driven development, and check every step.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for commands in (run_commands, step_commands, ledger_commands, service_commands):
    commands.register(app)


def main() -> None:
    """Run the command line; every foreseen error is one message on stderr and an exit code.

    Exit codes: 0 done, 1 the run failed or is partial, 2 wrong usage or bad input, 3 waits for a
    person, 4 a needed service is missing.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app(standalone_mode=True)
    except GreenlineError as error:
        note(f"greenline: {error}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        note("greenline: interrupted")
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader of a pipe has gone; nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt
