"""docs/cli.md says what the commands' help says, in any terminal and any language."""

from __future__ import annotations

import os
import subprocess
import sys

from flows.cli.docs import DOCUMENT, command_line, main


def test_the_published_page_is_up_to_date():
    assert DOCUMENT.read_text(encoding="utf-8") == command_line()
    assert main(["--check"]) == 0


def test_a_page_that_is_not_up_to_date_is_told_and_written(tmp_path, capsys):
    path = tmp_path / "cli.md"
    assert main(["--check", "--file", str(path)]) == 1
    path.write_text(command_line() + "more\n", encoding="utf-8")
    assert main(["--check", "--file", str(path)]) == 1
    assert "python -m flows.cli.docs" in capsys.readouterr().err
    assert main(["--file", str(path)]) == 0
    assert main(["--check", "--file", str(path)]) == 0


def test_commands_and_subcommands_have_a_section_each_with_their_own_usage():
    page = command_line()
    for command in ("run", "runs", "runs show", "step", "step diff", "ledger url", "schema plan"):
        section = page.split(f"\n## greenline {command}\n")[1].split("\n## ")[0]
        assert f"Usage: greenline {command} " in section
        assert "-h, --help" in section


def test_neither_terminal_nor_language_nor_colours_change_the_page(tmp_path):
    path = tmp_path / "cli.md"
    for told in (
        {"COLUMNS": "40", "TERM": "dumb", "LANG": "C"},
        {"COLUMNS": "250", "TERM": "xterm-256color", "LANG": "de_DE.UTF-8", "FORCE_COLOR": "1"},
        {"GREENLINE_HOME": str(tmp_path / "home"), "NO_COLOR": "1"},
    ):
        subprocess.run(
            [sys.executable, "-m", "flows.cli.docs", "--file", str(path)],
            cwd=DOCUMENT.parents[1],
            env=os.environ | told,
            check=True,
        )
        assert path.read_text(encoding="utf-8") == command_line()
    assert not (tmp_path / "home").exists()
