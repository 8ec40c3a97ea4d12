"""`python -m flows.cli` is the `greenline` command."""

from flows.cli import main

main()
