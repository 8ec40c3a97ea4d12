"""The `greenline` command. Modules of commands are loaded by the command that needs them."""

from flows.cli.app import main

__all__ = ["main"]
